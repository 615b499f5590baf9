"""What an image's flushes cost on a disk, in the ways that decision 10 compares: `python -m bench.flushes FOLDER`."""

from __future__ import annotations

import os
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hozi.core.storage.incoming import begin_to_write_out
from hozi.core.storage.volume import sync_folder

_RUNS: Final = 60
_CHUNK: Final = 1 << 17
_CHUNKS: Final = 4
_PAUSE: Final = 0.0003  # between the chunks, as they come over the network

_Times = tuple[float, float]


def _write(handle: int, chunk: bytes, *, out: bool) -> None:
    for _ in range(_CHUNKS):
        os.write(handle, chunk)
        if out:
            begin_to_write_out(handle)
        time.sleep(_PAUSE)


def _measure(folder: Path, chunk: bytes, *, made_before: bool, out: bool) -> _Times:
    """Seconds of the flush of a file, and of that of its folder (0 where the name was flushed before)."""
    path = folder / uuid.uuid4().hex
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        if made_before:
            sync_folder(folder)
        _write(handle, chunk, out=out)
        start = time.perf_counter()
        os.fdatasync(handle)
        file = time.perf_counter() - start
        if not made_before:
            sync_folder(folder)
        return file, 0.0 if made_before else time.perf_counter() - start - file
    finally:
        os.close(handle)
        path.unlink()


def main() -> None:
    """Prints the medians of interleaved runs, in milliseconds."""
    folder, chunk = Path(sys.argv[1]), os.urandom(_CHUNK)
    ways: dict[str, Callable[[], _Times]] = {
        "new file, and its folder": lambda: _measure(folder, chunk, made_before=False, out=False),
        "file made before": lambda: _measure(folder, chunk, made_before=True, out=False),
        "file made before, written out on the way": lambda: _measure(folder, chunk, made_before=True, out=True),
    }
    times: dict[str, list[_Times]] = {way: [] for way in ways}
    for _ in range(_RUNS):
        for way, measure in ways.items():
            times[way].append(measure())
    for way, seconds in times.items():
        file, names = (1000 * statistics.median(part) for part in zip(*seconds, strict=True))
        print(f"{way}: {file:.2f} + {names:.2f} ms")


if __name__ == "__main__":
    main()
