"""Keeps on disk what was made once and can be made again: pictures and samples, within a bound, for all processes.

Files stand below the home folder under names that say nothing: the name is a hash of the object's content and of how
it is shown. Those that nobody asked for for the longest time go first. Whoever calls has asked whether it may be seen.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hozi.settings import HOZI

_LOOK_ROUND: Final = 200
"""One in so many new files looks whether there are too many."""
_SAMPLE: Final = 16
_AGAIN_SECONDS: Final = 3600.0
_TOUCH_SECONDS: Final = 600.0
_LOCKS: Final = struct.Struct("hhqqi4x")


def folder() -> Path:
    """Where the files are."""
    return HOZI.home / "cache" / "pictures"


def path_of(name: str) -> Path:
    """The file of this name (a hexadecimal hash, and an ending)."""
    return folder() / name[:2] / name


def get(name: str) -> bytes | None:
    """What was kept under this name; empty when it could not be made lately, None when it is to be made."""
    if not HOZI.picture_cache_bytes:
        return None
    path = path_of(name)
    try:
        with path.open("rb", buffering=0) as file:
            data = file.readall()
            changed = time.time() - os.fstat(file.fileno()).st_mtime
            if not data and changed > _AGAIN_SECONDS:
                return None
            if data and changed > _TOUCH_SECONDS:
                os.utime(path)  # those that nobody asks for go first
    except OSError:
        return None
    return data


def keep(name: str, data: bytes) -> None:
    """Keeps ``data`` if that is possible: without, it is only slower. Empty: it cannot be made."""
    if not HOZI.picture_cache_bytes:
        return
    path = path_of(name)
    try:
        temporary = f"{path.parent}/.new-{os.getpid()}-{threading.get_ident()}-{name[:8]}"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                file.write(data)
            os.replace(temporary, path)  # noqa: PTH105 - a path of its own costs as much again
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        if random.randrange(_LOOK_ROUND) == 0 and _guessed() > HOZI.picture_cache_bytes:  # noqa: S311 - no secret
            clear(HOZI.picture_cache_bytes // 10 * 9)
    except OSError:
        pass


def once(name: str, make: Callable[[], bytes]) -> bytes:
    """What is kept under this name, else what ``make`` gives, which is kept then. Whoever asks for the same at the
    same time, in this process or another one, waits for it.
    """
    found = get(name)
    if found is not None:
        return found
    if not HOZI.picture_cache_bytes:
        return make()
    with _alone(name):
        found = get(name)
        if found is None:
            found = make()
            keep(name, found)
    return found


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One at a time for each name: a lock on the one byte of a file that the name picks.

    The lock belongs to the opened file and goes with it, however this process ends.
    """
    try:
        handle = _lock()
    except OSError:  # no room, no folder: then it may be made twice
        yield
        return
    try:
        place = int(name[:15], 16)
        with suppress(OSError, AttributeError):  # AttributeError: not on this system
            fcntl.fcntl(handle, fcntl.F_OFD_SETLKW, _LOCKS.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))
        yield
    finally:
        os.close(handle)


def _lock() -> int:
    path = folder() / ".lock"
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def clear(most_bytes: int) -> int:
    """Removes the files that were not asked for for the longest time, until at most so many bytes are left.

    Returns how many were removed. Each counts with the block of the disk that it takes.
    """
    found = sorted(_files())
    total = sum(size for _, size, _ in found)
    removed = 0
    for _, size, path in found:
        if total <= most_bytes:
            break
        with suppress(OSError):  # somebody else removes it
            path.unlink()
        total -= size
        removed += 1
    return removed


def _guessed() -> float:
    """About how much there is: names are hashes, so a few of the folders stand for all."""
    folders = [place for place in folder().iterdir() if place.is_dir()]
    some = random.sample(folders, min(len(folders), _SAMPLE))
    return sum(size for place in some for _, size, _ in _files(place)) * len(folders) / max(len(some), 1)


def _files(top: Path | None = None) -> Iterator[tuple[float, int, Path]]:
    for place, _, names in os.walk(top or folder()):
        for name in names:
            path = Path(place) / name
            if name == ".lock":
                continue
            with suppress(OSError):
                status = path.stat()
                yield status.st_mtime, max(status.st_blocks * 512, status.st_size), path
