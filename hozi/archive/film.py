"""A film that a camera or an endoscope made: the stream that an object holds, as browsers play it, in any part.

Nothing of it is decoded here, and it is never whole in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hozi.accounts.authorise import Who
from hozi.archive.fetch import Holding
from hozi.archive.viewing import image_of
from hozi.core.dicom import pixel_data, syntaxes
from hozi.core.dicom.pixel_data import Fragment
from hozi.core.errors import Unreadable

_PIECE: Final = 256 << 10
_MPEG2: Final = ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.101")


@dataclass(frozen=True, slots=True)
class Film:
    """A stream of ``length`` bytes. ``etag`` changes when it does."""

    length: int
    content_type: str
    etag: str
    _holding: Holding
    _parts: tuple[Fragment, ...]

    def pieces(self, first: int, last: int) -> Iterator[bytes]:
        """The bytes from one place to another, both included, in pieces."""
        with self._holding.stored() as file:
            offset, place = file.tell(), 0
            for position, length in self._parts:
                begin, end = max(first - place, 0), min(last + 1 - place, length)
                place += length
                if begin >= end:
                    continue
                file.seek(offset + position + begin)
                left = end - begin
                while left:
                    piece = file.read(min(left, _PIECE))
                    if not piece:
                        return
                    left -= len(piece)
                    yield piece


def film_of(who: Who, pk: int) -> Film:
    """The film that an object is. Raises `NotThere` when it is out of reach, `Unreadable` when it is none."""
    held = image_of(who, pk)
    syntax = syntaxes.for_unknown(held.transfer_syntax)
    if not syntax.video:
        raise Unreadable("The object is no film.")
    with held.stored() as file:
        offset = file.tell()
        found = pixel_data.find(file, offset, held.length, syntax)
        if found is None:
            raise Unreadable("The object has no pixels.")
        parts = tuple(found.frame(file, offset, 1))
    kind = "video/mpeg" if held.transfer_syntax.removesuffix(".1") in _MPEG2 else "video/mp4"
    return Film(sum(length for _, length in parts), kind, held.sha256[:32], held, parts)
