"""The area in which arriving objects are written, hashed and flushed before they are known to be whole.

Each process has a folder of its own in it, held by a lock that dies with the process. What lies in a folder whose
lock is free was left by a crash; `Incoming.left_behind` hands it over to whoever starts next.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hozi.core.storage.volume import sync_folder

_LOCK = "lock"
_PARTIAL = ".part"
_WHOLE = ".whole"


class Arrival:
    """One object that is arriving: a file that grows, and the SHA-256 of what came.

    The file begins with ``header`` (not hashed with the rest); then come the bytes given to `write`.
    After `complete` the file is durable and carries a name that says that it is whole.
    """

    __slots__ = ("_file", "_hash", "header_sha256", "length", "offset", "path")

    def __init__(self, path: Path, header: bytes) -> None:
        self.path = path
        self.offset = len(header)
        self.header_sha256 = hashlib.sha256(header).hexdigest()
        self.length = 0
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = path.open("xb", buffering=1 << 17)
        self._file.write(header)

    def write(self, chunk: bytes | memoryview) -> None:
        """Appends bytes of the dataset."""
        if self._file is None:
            raise ValueError("this arrival is complete")
        self._file.write(chunk)
        self._hash.update(chunk)
        self.length += len(chunk)

    def complete(self) -> None:
        """Everything has come: after this, the bytes survive a power cut (their name: see `Incoming.sync`)."""
        if self._file is None:
            raise ValueError("this arrival is complete")
        self._file.flush()
        whole = self.path.with_suffix(_WHOLE)
        self.path.rename(whole)
        self.path = whole
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
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Leftover:
    """A file that a crash left behind; ``whole`` when all of it had come."""

    path: Path
    whole: bool


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
        sync_folder(area)

    def begin(self, header: bytes) -> Arrival:
        """A new arrival whose file starts with ``header``."""
        return Arrival(self.folder / f"{uuid.uuid4().hex}{_PARTIAL}", header)

    def sync(self) -> None:
        """Makes the names of all completed arrivals durable."""
        sync_folder(self.folder)

    def left_behind(self) -> Iterator[Leftover]:
        """What dead processes left. Their emptied folders are removed when the iteration is through."""
        for folder in sorted(path for path in self._area.iterdir() if path.is_dir() and path != self.folder):
            lock = _locked(folder)
            if lock is None:
                continue
            try:
                for path in sorted(folder.iterdir()):
                    if path.suffix in (_PARTIAL, _WHOLE):
                        yield Leftover(path, whole=path.suffix == _WHOLE)
                if not any(path.name != _LOCK for path in folder.iterdir()):
                    (folder / _LOCK).unlink(missing_ok=True)
                    folder.rmdir()
            finally:
                os.close(lock)

    def close(self) -> None:
        """Gives the folder up; it is removed when it is empty."""
        if self._lock is None:
            return
        if not any(path.name != _LOCK for path in self.folder.iterdir()):
            (self.folder / _LOCK).unlink(missing_ok=True)
            self.folder.rmdir()
        os.close(self._lock)
        self._lock = None


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
