"""Where the metadata of series lie, ready to be sent: one file for each series, below the storage of all nodes.

A file holds a line that says what it is of, and then one gzip stream as it is sent. It goes to its place whole, by a
rename; whoever finds another stamp in it than in the database makes it anew. All of them can be removed at any time.
Holds patient data: what the objects say.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from hozi.core.gzip_parts import Part, stream
from hozi.settings import HOZI

VERSION: Final = 1
"""Another number for another way of telling the same: files that were kept are not used any more."""

_KEPT_BYTES: Final = 16 << 20
_LARGEST_KEPT: Final = 4 << 20
"""What a process keeps of them in memory, and as much again uncompressed; larger ones are read each time."""
_LOCKS: Final = 64
_LONGEST_HEAD: Final = 16 << 20
_LEFT_SECONDS: Final = 86_400.0
_NEW: Final = ".new-"

Stamps = tuple[int, int]
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some objects of a series, one after the other. ``name`` says what they are and what was corrected in them."""

    first: str
    count: int
    name: str
    part: Part


@dataclass(frozen=True, slots=True)
class Copy:
    """The metadata of a series. ``base`` is the address that their bulk data is told at; ``body`` is gzip."""

    series: str
    stamps: Stamps
    base: str
    pieces: tuple[Piece, ...]
    body: bytes

    @classmethod
    def of(cls, series: str, stamps: Stamps, base: str, pieces: tuple[Piece, ...]) -> Copy:
        """Puts the pieces together."""
        return cls(series, stamps, base, pieces, body_of(pieces)[0])

    @property
    def count(self) -> int:
        """How many objects there are."""
        return sum(piece.count for piece in self.pieces)


def body_of(pieces: Iterator[Piece] | tuple[Piece, ...] | list[Piece]) -> tuple[bytes, list[int]]:
    """A JSON array of the objects in all pieces, as gzip, and where each piece begins."""
    return stream(b"[", b",", b"]", [piece.part for piece in pieces])


def find(series: str, stamps: Stamps, base: str) -> Copy | None:
    """The copy of a series with these stamps; None when there is none, or an older one.

    Its bulk data may be told at another address than ``base``.
    """
    for address in (base, ""):
        kept = _COPIES.get((series, address))
        if kept is not None and kept.stamps == stamps:
            return kept
    kept = read(series)
    return kept if kept is not None and kept.stamps == stamps else None


def remember(copy: Copy) -> None:
    """Keeps a copy in this process only: with an address that few ask at."""
    _COPIES.put((copy.series, copy.base), copy, _size(copy))


def plain(copy: Copy, base: str, make: Callable[[], bytes]) -> bytes:
    """What is in a copy, as it is read, with its bulk data at ``base``: kept in this process, or made."""
    key = (copy.series, base)
    kept = _PLAIN.get(key)
    if kept is None or kept[0] is not copy:
        kept = copy, make()
        _PLAIN.put(key, kept, len(kept[1]))
    return kept[1]


def read(series: str) -> Copy | None:
    """The copy that lies there, whatever its stamps; None when there is none that can be read."""
    try:
        with _path(series).open("rb") as file:
            head = file.readline(_LONGEST_HEAD)
            copy = _understood(json.loads(head), file.read())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if copy is None or copy.series != series:
        return None
    _COPIES.put((series, ""), copy, _size(copy))
    return copy


def keep(copy: Copy) -> None:
    """Keeps the copy if that is possible: without, it is only slower."""
    body, places = body_of(copy.pieces)
    head = {
        "version": VERSION,
        "series": copy.series,
        "stamps": copy.stamps,
        "base": copy.base,
        "size": len(body),
        "pieces": [
            (piece.first, piece.count, piece.name, place, len(piece.part.data), piece.part.crc, piece.part.length)
            for piece, place in zip(copy.pieces, places, strict=True)
        ],
    }
    _COPIES.put((copy.series, ""), copy, _size(copy))
    with suppress(OSError):
        _write(_path(copy.series), json.dumps(head).encode() + b"\n" + body)


def forget() -> None:
    """Nothing is kept in this process any more: the next request reads the files."""
    _COPIES.clear()
    _PLAIN.clear()


@contextmanager
def making(series: str) -> Iterator[None]:
    """For one at a time, of all processes and nodes; the others wait, and then find what was made."""
    handle = -1
    try:
        with suppress(OSError):
            folder().mkdir(mode=0o700, parents=True, exist_ok=True)
            number = int(_name(series)[:8], 16) % _LOCKS
            handle = os.open(folder() / f"lock-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def everything() -> Iterator[tuple[str, Path]]:
    """Every file that lies there, with the UID of its series; empty where that cannot be told."""
    for place, _, names in os.walk(folder()):
        for name in names:
            path = Path(place) / name
            if name.startswith(_NEW):
                with suppress(OSError):
                    if time.time() - path.stat().st_mtime > _LEFT_SECONDS:
                        path.unlink()
            elif name.endswith(".json.gz"):
                yield _series_of(path), path


def base() -> str:
    """The address for which copies are made ahead; empty while nobody has asked for any."""
    try:
        return _base_path().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def asked_at(address: str) -> str:
    """Somebody asked at that address. Returns the one for which copies are made: the first, while it is in use."""
    known = base()
    with suppress(OSError):
        if known == address:
            if time.time() - _base_path().stat().st_mtime > _LEFT_SECONDS / 24:
                os.utime(_base_path())
        elif not known or time.time() - _base_path().stat().st_mtime > _LEFT_SECONDS:
            _write(_base_path(), address.encode())
            known = address
    return known or address


def folder() -> Path:
    """Where they lie."""
    return HOZI.storage / "metadata"


def _base_path() -> Path:
    return folder() / "address"


def _name(series: str) -> str:
    return hashlib.sha256(series.encode()).hexdigest()[:40]


def _path(series: str) -> Path:
    name = _name(series)
    return folder() / name[:2] / f"{name}.json.gz"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_NEW)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _understood(head: dict[str, Any], body: bytes) -> Copy | None:
    if head["version"] != VERSION or head["size"] != len(body):
        return None  # made by another release, or cut short when the power failed
    first, second = head["stamps"]
    pieces = tuple(
        Piece(uid, count, name, Part(body[place : place + size], crc, length))
        for uid, count, name, place, size, crc, length in head["pieces"]
    )
    return Copy(head["series"], (first, second), head["base"], pieces, body)


def _series_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return str(json.loads(file.readline(_LONGEST_HEAD))["series"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _size(copy: Copy) -> int:
    return 2 * len(copy.body) + 1024 * (1 + len(copy.pieces))


class _Memory(Generic[Kept]):
    """What this process sent last, by series and address (none: as it lies there), within a bound."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], tuple[Kept, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str]) -> Kept | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: tuple[str, str], what: Kept, size: int) -> None:
        with self._lock:
            self._forget(key)
            if size > _LARGEST_KEPT:
                return
            self._kept[key] = what, size
            self._bytes += size
            while self._bytes > _KEPT_BYTES:
                self._forget(next(iter(self._kept)))

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _forget(self, key: tuple[str, str]) -> None:
        self._bytes -= self._kept.pop(key, (None, 0))[1]


_COPIES: Final = _Memory[Copy]()
_PLAIN: Final = _Memory[tuple[Copy, bytes]]()
