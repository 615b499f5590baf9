"""A volume keeps whole objects under keys and never changes one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Protocol

from hozi.core.errors import Unavailable

#: Keys are made by us from hashes and random numbers, never from what a sender names: a path cannot be smuggled in.
_KEY = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)*")

_COPY_BYTES = 1 << 20


class Missing(Unavailable):
    """The volume does not have an object that it should have."""


class Volume(Protocol):
    """The contract of every store of objects. `tests/contracts/test_volume.py` holds each one to it."""

    def put(self, source: str | Path, key: str) -> None:
        """Moves the durable local file ``source`` under ``key``, whole or not at all.

        Whatever moment the power fails at, the object is afterwards under ``key`` or still at ``source``.
        Putting the same key again replaces the object.
        """

    def open(self, key: str) -> BinaryIO:
        """Opens the object for reading. Raises `Missing`."""

    def local(self, key: str) -> AbstractContextManager[Path]:
        """A local file with the object's bytes, for as long as the context lasts. Raises `Missing`."""

    def size(self, key: str) -> int | None:
        """The object's length in bytes, or None when there is no such object."""

    def keys(self) -> Iterator[str]:
        """Every key that the volume holds, in no order."""

    def free_bytes(self) -> int | None:
        """How much room is left, or None where that is not known."""


class FolderVolume:
    """A `Volume` in a folder of a local disk.

    ``put`` renames: with ``incoming`` on the same file system nothing is copied. The rename itself is not flushed:
    a journaling file system keeps either the old or the new name, and what is still under the old one is taken
    in at the next start (see `hozi.archive.receive`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._root = os.fspath(folder)

    def _path(self, key: str) -> Path:
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        if not _KEY.fullmatch(key) or ".." in key:
            raise ValueError("not a key of this volume")
        return f"{self._root}/{key}"

    def put(self, source: str | Path, key: str) -> None:
        """See `Volume.put`."""
        target = self._name(key)
        try:
            os.rename(source, target)  # noqa: PTH104 - every image comes this way: names, not paths
        except FileNotFoundError:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            _rename_or_copy(Path(source), Path(target))
        except OSError:
            _rename_or_copy(Path(source), Path(target))

    def open(self, key: str) -> BinaryIO:
        """See `Volume.open`."""
        try:
            return self._path(key).open("rb", buffering=0)
        except FileNotFoundError:
            raise Missing(f"{key} is not in the store") from None

    def local(self, key: str) -> AbstractContextManager[Path]:
        """See `Volume.local`."""
        path = self._path(key)
        if not path.exists():
            raise Missing(f"{key} is not in the store")
        return nullcontext(path)

    def size(self, key: str) -> int | None:
        """See `Volume.size`."""
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            return None

    def keys(self) -> Iterator[str]:
        """See `Volume.keys`."""
        root = os.fspath(self.folder)
        for folder, _, names in os.walk(root):
            prefix = os.path.relpath(folder, root)
            for name in names:
                yield name if prefix == "." else f"{prefix}/{name}".replace(os.sep, "/")

    def free_bytes(self) -> int | None:
        """See `Volume.free_bytes`."""
        room = os.statvfs(self._root)
        return room.f_bavail * room.f_frsize


def _rename_or_copy(source: Path, target: Path) -> None:
    """Renames; across file systems copies, flushes and then renames, so that a half object never has its key."""
    try:
        source.rename(target)
    except OSError as error:
        if not source.exists() or error.errno != 18:  # EXDEV: another file system
            raise
        partial = target.with_name(target.name + ".copying")
        with source.open("rb") as reading, partial.open("wb") as writing:
            shutil.copyfileobj(reading, writing, _COPY_BYTES)
            writing.flush()
            os.fsync(writing.fileno())
        partial.rename(target)
        sync_folder(target.parent)
        source.unlink()


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable (`fsync` of the directory)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
