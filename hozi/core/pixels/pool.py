"""Worker processes that decode: they may hang or crash, and are killed and replaced; whoever asks goes on."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import hozi
from hozi.core.errors import HoziError, Unavailable
from hozi.core.pixels.worker import LENGTH, send

_PIPE_BYTES: Final = 512 << 10
"""So that a worker hands over a picture at once."""
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")


class TranscodeFailed(HoziError):
    """A dataset could not be turned into something else; the text says why, without patient data."""


class FrameMissing(TranscodeFailed):
    """The object has no frame of the number that was asked for."""


class Workers:
    """Some worker processes, started when they are needed; any number of threads may use them.

    ``seconds`` and ``memory_bytes`` are what one request may take; then its worker is killed and another takes its
    place. ``folder`` is where results are written. ``patience``: how many seconds a request waits for a worker
    (None: until there is one).
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        seconds: float = 120,
        memory_bytes: int = 2 << 30,
        folder: Path,
        patience: float | None = None,
    ) -> None:
        self._patience = patience
        self._seconds = seconds
        self._memory = memory_bytes
        self._folder = folder
        self._places: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._count = workers
        for _ in range(workers):
            self._places.put(None)

    def ask(self, request: dict[str, Any], name: str) -> Path:
        """Has a worker write what ``request`` asks for into a new file, whose name begins with ``name``.

        The caller removes the file. Raises `TranscodeFailed`, and `Unavailable` when all workers are busy for too long.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, target = tempfile.mkstemp(dir=self._folder, prefix=f"{name}-")
        os.close(handle)
        try:
            self._answered({**request, "target": target})
        except BaseException:
            Path(target).unlink(missing_ok=True)
            raise
        return Path(target)

    def fetch(self, request: dict[str, Any]) -> bytes:
        """The bytes that a worker makes of ``request``, without a file between. Raises as `ask` does."""
        return self._answered(request)

    def _answered(self, request: dict[str, Any]) -> bytes:
        try:
            worker = self._places.get(timeout=self._patience)
        except queue.Empty:
            raise Unavailable("All processes that decode images are busy: try again.") from None
        try:
            if worker is not None and not worker.is_alive:
                worker.kill()
                worker = None
            if worker is None:
                worker = _Worker(self._memory, self._seconds)
            answer, result = worker.ask(request, self._seconds)
        finally:
            self._places.put(worker)
        if "error" in answer:
            raise (FrameMissing if answer.get("no_frame") else TranscodeFailed)(answer["error"])
        return result

    def close(self) -> None:
        """Stops the workers. Waits for what is under way."""
        for _ in range(self._count):
            worker = self._places.get()
            if worker is not None:
                worker.kill()
        for _ in range(self._count):
            self._places.put(None)


class _Worker:
    """One worker process."""

    def __init__(self, memory_bytes: int, seconds: float) -> None:
        beside = str(Path(hozi.__file__).parents[1])
        path = os.pathsep.join(filter(None, (beside, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            # -P: a file in the current folder that happens to be called like a module must not be run.
            [sys.executable, "-P", "-m", "hozi.core.pixels.worker", str(memory_bytes), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=_PIPE_BYTES,
            # Hostile bytes are decoded there: no password of the server's environment has to be within reach. Each
            # thread of a numerical library reserves memory that counts against the limit.
            env={
                **{name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                "PYTHONPATH": path,
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
            },
        )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], seconds: float) -> tuple[dict[str, Any], bytes]:
        """Raises `TranscodeFailed` when there is no answer in time or at all; the worker is dead then."""
        asking, answering = self._process.stdin, self._process.stdout
        assert asking is not None  # noqa: S101 - both are pipes
        assert answering is not None  # noqa: S101
        deadline = time.monotonic() + seconds
        try:
            send(asking, request)  # type: ignore[arg-type]
            (length,) = LENGTH.unpack(_read(answering.fileno(), LENGTH.size, deadline))
            answer: dict[str, Any] = json.loads(_read(answering.fileno(), length, deadline))
            return answer, _read(answering.fileno(), answer.get("bytes", 0), deadline)
        except _LateError:
            self.kill()
            raise TranscodeFailed("Decoding took too long and was stopped.") from None
        except (OSError, ValueError):
            self.kill()
            raise TranscodeFailed("Decoding crashed; the image is damaged.") from None
        except BaseException:  # what comes of it would be the answer to the next request
            self.kill()
            raise

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass


class _LateError(Exception):
    """There was no answer in time."""


def _read(answering: int, size: int, deadline: float) -> bytes:
    """Exactly so many bytes. Raises `_LateError`, and `OSError` when there are fewer."""
    result = bytearray(size)
    view, done = memoryview(result), 0
    waiting = select.poll()  # select() takes no descriptor above 1023, and a busy server has more
    waiting.register(answering, select.POLLIN)
    while done < size:
        if not waiting.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise _LateError
        got = os.readv(answering, [view[done:]])
        if not got:
            raise OSError("the worker is gone")
        done += got
    return bytes(result)
