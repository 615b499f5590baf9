"""An answer in one piece, of known length: asked for in ranges, and whether it has changed (RFC 9110)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias

from hozi.archive.fetch import Damaged
from hozi.doors.dicomweb.exchange import PRIVATE, Request, Response

AT_ONCE: Final = 1 << 20
"""Up to this many bytes are answered at once, more in pieces."""

_PIECE: Final = 256 << 10
"""A piece of this length comes to lie where the last one lay, and is in the processor's cache still."""
_RANGE: Final = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


@dataclass(frozen=True, slots=True)
class Slice:
    """Some bytes of a file."""

    file: BinaryIO
    at: int
    length: int


Body: TypeAlias = Sequence[bytes | Slice]


def etag(*parts: str) -> str:
    """A strong ETag of what is made of these."""
    return f'"{hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]}"'


def headers(content_type: str, tag: str = "") -> list[tuple[str, str]]:
    """What every answer with pixels or datasets says."""
    said = [("content-type", content_type), ("cache-control", PRIVATE), ("vary", "Accept, Authorization, Cookie")]
    return [*said, ("etag", tag)] if tag else said


def unchanged(request: Request, tag: str) -> Response | None:
    """The answer to who has this already."""
    told = request.headers.get("if-none-match", "")
    if not told:
        return None
    known = {one.strip().removeprefix("W/") for one in told[:4096].split(",")}
    return Response(304, headers("", tag)[1:]) if tag in known or "*" in known else None


def answer(request: Request, content_type: str, body: Body, tag: str, close: Callable[[], None]) -> Response:
    """The body, or the range of it that is asked for. ``close`` is called when nothing more is read from its files."""
    total = sum(_length(part) for part in body)
    said = [*headers(content_type, tag), ("accept-ranges", "bytes")]
    status, begin, end = 200, 0, total
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    if wanted and request.headers.get("if-range", tag) == tag and (wanted[1] or wanted[2]):
        if wanted[1]:
            begin, end = int(wanted[1]), min(int(wanted[2]) + 1, total) if wanted[2] else total
        else:
            begin = max(0, total - int(wanted[2]))
        if wanted[1] and wanted[2] and int(wanted[2]) < int(wanted[1]):
            begin, end = 0, total  # not a range at all (RFC 9110 §14.1.1)
        elif begin >= end:
            close()
            return Response(416, [*said, ("content-range", f"bytes */{total}")])
        else:
            status = 206
            said.append(("content-range", f"bytes {begin}-{end - 1}/{total}"))
    said.append(("content-length", str(end - begin)))
    pieces = Closing(_pieces(body, begin, end), close)
    if end - begin > AT_ONCE:
        return Response(status, said, pieces=pieces)
    return Response(status, said, b"".join(pieces))


def _length(part: bytes | Slice) -> int:
    return part.length if isinstance(part, Slice) else len(part)


def _pieces(body: Body, begin: int, end: int) -> Iterator[bytes]:
    """The bytes from ``begin`` up to ``end``."""
    at = 0
    for part in body:
        length = _length(part)
        first, last = max(begin - at, 0), min(end - at, length)
        at += length
        if first >= last:
            continue
        if isinstance(part, Slice):
            yield from read(part.file, part.at + first, last - first)
        else:
            yield part[first:last]


def read(file: BinaryIO, at: int, length: int) -> Iterator[bytes]:
    """So many bytes of a file from there on, in pieces. Raises `Damaged` when there are fewer."""
    file.seek(at)
    while length:
        piece = file.read(min(length, _PIECE))
        if not piece:
            raise Damaged("a stored file is shorter than the index says; run `hozi verify`")
        length -= len(piece)
        yield piece


class Closing:
    """Pieces that come from something that is closed when nobody wants more of them, be it that nobody wanted any."""

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], None]) -> None:
        self._pieces = pieces
        self._close = close

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        finally:
            self.close()

    def close(self) -> None:
        """Closes it."""
        self._close()
