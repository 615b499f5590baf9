"""The area in which arriving objects are written, hashed and flushed before they are known to be whole.

Each process has a folder of its own in it, held by a lock that dies with the process. What lies in a folder whose
lock is free was left by a crash; `Incoming.left_behind` hands it over to whoever starts next.

Files are made some at a time, before they are needed, and their names are flushed then: an arrival needs one flush.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import logging
import mmap
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final

from hozi.core.errors import Unavailable
from hozi.core.storage.volume import sync_folder

log = logging.getLogger(__name__)

_LOCK: Final = "lock"
_SPARE_FILES: Final = 32
_NEW_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_BUFFER: Final = 1 << 16  # pieces that are larger go to the kernel without being copied
_WRITE_OUT_EVERY: Final = 1 << 18
_SYNC_FILE_RANGE_WRITE: Final = 2  # linux/fs.h
_QUIET_SECONDS: Final = 60.0  # a full disk is met with every image, and need not be told of each time


def _find_sync_file_range() -> Callable[[int], object]:
    """What makes the kernel begin to write a file out without waiting for it; does nothing where there is no such."""
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is None:
        return lambda handle: None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda handle: function(handle, 0, 0, _SYNC_FILE_RANGE_WRITE)


begin_to_write_out = _find_sync_file_range()


def mapped_file(path: Path) -> mmap.mmap:
    """A file (an empty one raises ValueError) as memory to read from; to be closed."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class Arrival:
    """One object that is arriving: a file that grows, and the SHA-256 of what came.

    The file begins with a header (not hashed with the rest); then come the bytes given to `write`. Of these the kernel
    writes most to the disk while the rest is still coming.
    """

    __slots__ = ("_file", "_hash", "_map", "_unwritten", "header_sha256", "length", "name", "offset")

    def __init__(self, name: str, file: BinaryIO, header: bytes) -> None:
        self.name = name
        self.offset = len(header)
        self.header_sha256 = ""
        self.length = 0
        self._hash = hashlib.sha256()
        self._unwritten = 0
        self._file: BinaryIO | None = file
        self._map: mmap.mmap | None = None
        file.write(header)

    def write(self, chunk: bytes | memoryview) -> None:
        """Appends bytes of the dataset."""
        if self._file is None:
            raise ValueError("this arrival has ended")
        self._file.write(chunk)
        self._hash.update(chunk)
        self.length += len(chunk)
        self._unwritten += len(chunk)
        if self._unwritten >= _WRITE_OUT_EVERY:
            self._unwritten = 0
            begin_to_write_out(self._file.fileno())

    def complete(self, header: bytes) -> None:
        """Everything has come: the file can be read now, and begins with this header, as long as the first one."""
        if self._file is None or len(header) != self.offset:
            raise ValueError("this arrival has ended, or its header has another length")
        self._file.flush()
        os.pwrite(self._file.fileno(), header, 0)
        self.header_sha256 = hashlib.sha256(header).hexdigest()
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def mapped(self) -> mmap.mmap:
        """The whole file, header and dataset, as memory to read from; to be closed."""
        mapped, self._map = self._map, None
        return mapped or mapped_file(self.path)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.name)

    def flush(self) -> None:
        """After this, the file survives a power cut. May be called in another thread, once, after `complete`.

        Raises OSError when the disk cannot do it: then it is to be discarded.
        """
        if self._file is None:
            raise ValueError("this arrival has ended")
        os.fdatasync(self._file.fileno())
        self._file.close()
        self._file = None

    @property
    def sha256(self) -> str:
        """Hash of the dataset so far, in hexadecimal digits."""
        return self._hash.hexdigest()

    def discard(self) -> None:
        """Removes what came of an object that was never acknowledged, or that the archive has already."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._map is not None:
            self._map.close()
            self._map = None
        self.path.unlink(missing_ok=True)


class Incoming:
    """This process's folder in the area, and the folders that dead processes left."""

    def __init__(self, area: Path) -> None:
        self._area = area
        area.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock: int | None = None
        while self._lock is None:  # a process that is cleaning up may take hold of a folder before we do
            self.folder = area / uuid.uuid4().hex
            self.folder.mkdir(mode=0o700)
            self._lock = _locked(self.folder)
        self._spare: list[tuple[str, int]] = []
        self._spare_lock = threading.Lock()
        self._making = False
        self._warn_after = 0.0
        self._closed = False
        self._names = count()
        self._maker = ThreadPoolExecutor(1, "spare files")
        sync_folder(area)

    def begin(self, header: bytes) -> Arrival:
        """A new arrival whose file starts with ``header``. Raises `Unavailable` when the area is closed."""
        name, handle = self._spare_file()
        return Arrival(name, os.fdopen(handle, "wb", buffering=_BUFFER), header)

    def _spare_file(self) -> tuple[str, int]:
        with self._spare_lock:
            if self._closed:
                raise Unavailable("nothing more is taken in: the program is being stopped")
            if len(self._spare) <= _SPARE_FILES // 2 and not self._making:
                self._making = True
                self._maker.submit(self._make_ahead)
            if self._spare:
                return self._spare.pop()
        return self._new_files(1)[0]

    def _make_ahead(self) -> None:
        """So that hardly anybody waits for a file to be made. What the disk refuses, who needs a file will hear."""
        made: list[tuple[str, int]] = []
        try:
            made = self._new_files(_SPARE_FILES)
        except OSError as error:
            if time.monotonic() >= self._warn_after:  # only this one thread comes here
                self._warn_after = time.monotonic() + _QUIET_SECONDS
                log.warning("no file can be made ahead in the incoming area: %s", error.strerror)
        finally:
            with self._spare_lock:
                self._spare += made
                self._making = False

    def _new_files(self, number: int) -> list[tuple[str, int]]:
        folder = os.fspath(self.folder)  # names, not paths: every image comes this way
        made: list[tuple[str, int]] = []
        try:
            for _ in range(number):
                name = f"{folder}/{next(self._names):x}"
                made.append((name, os.open(name, _NEW_FILE, 0o600)))
            sync_folder(self.folder)
        except OSError:
            for name, handle in made:
                os.close(handle)
                Path(name).unlink(missing_ok=True)
            raise
        return made

    def left_behind(self) -> Iterator[Path]:
        """The files that dead processes left. Their emptied folders are removed when the iteration is through."""
        for folder in sorted(path for path in self._area.iterdir() if path.is_dir() and path != self.folder):
            lock = _locked(folder) or _locked_later(folder)
            if lock is None:
                continue
            try:
                yield from _used(folder)
                _remove_if_empty(folder)
            finally:
                os.close(lock)

    def close(self) -> None:
        """Gives the folder up; it is removed when nothing of an object is in it."""
        if self._lock is None:
            return
        with self._spare_lock:
            self._closed = True
        self._maker.shutdown()
        with self._spare_lock:  # a handle that is closed may be another file's at once: nobody may still be given it
            spare, self._spare = self._spare, []
        for _, handle in spare:
            os.close(handle)
        for _ in _used(self.folder):
            pass
        _remove_if_empty(self.folder)
        os.close(self._lock)
        self._lock = None


def abandoned(area: Path) -> list[Path]:
    """The files with something in them that stopped processes left in an area. Only looks."""
    found: list[Path] = []
    for folder in sorted(area.iterdir()) if area.is_dir() else ():
        lock = _locked(folder) if (folder / _LOCK).exists() else None
        if lock is not None:
            found += [path for path in sorted(folder.iterdir()) if path.name != _LOCK and path.stat().st_size]
            os.close(lock)
    return found


def _used(folder: Path) -> Iterator[Path]:
    """The files in which something was written; the others are removed."""
    for path in sorted(folder.iterdir()):
        if path.name == _LOCK:
            continue
        if path.stat().st_size:
            yield path
        else:
            path.unlink()


def _remove_if_empty(folder: Path) -> None:
    if not any(path.name != _LOCK for path in folder.iterdir()):
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _locked_later(folder: Path) -> int | None:
    """Tries again: somebody may only have looked (`abandoned`)."""
    time.sleep(0.2)
    return _locked(folder)


def _locked(folder: Path) -> int | None:
    """An open, locked handle on the folder's lock file; None while a living process holds it."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:  # its owner has just removed it
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
