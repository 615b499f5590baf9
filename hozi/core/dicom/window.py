"""A dataset in a file, seen through a window: headers are read where they stand, values stepped over (PS3.5 §7).

Quick, and for datasets that are as their transfer syntax says; what is not raises `Odd`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Final

from hozi.core.dicom import encodings
from hozi.core.dicom.encodings import UNDEFINED
from hozi.core.errors import Unreadable

_BYTES: Final = 16 << 10
_DEEPEST: Final = 64


class Odd(Exception):
    """Something that the quick way does not understand."""


class Window:
    """A part of the dataset in memory."""

    def __init__(self, file: BinaryIO, offset: int, length: int = 1 << 62) -> None:
        self.file = file
        self.offset = offset
        self.length = length
        self.base = 0
        self.data = b""

    def read(self, position: int, size: int) -> int:
        """Has the ``size`` bytes from ``position`` on in memory, or as many as there are; returns where in ``data``."""
        place = position - self.base
        if place >= 0 and place + size <= len(self.data):
            return place
        self.base = position
        self.file.seek(self.offset + position)
        self.data = self.file.read(max(0, min(max(size, _BYTES), self.length - position)))
        return 0


def begin(window: Window, encoding: encodings.Encoding) -> None:
    """Raises `Odd` when the dataset does not begin as it is encoded (see `elements.Source.begin`)."""
    window.read(0, 8)
    start = window.data[:8]
    if start[:2] == b"\x02\0" or len(start) < 8 or encodings.is_vr_like(start[4:6]) != encoding.explicit:
        raise Odd


def header(data: bytes, place: int, encoding: encodings.Encoding) -> tuple[int, bytes, int, int]:
    """Tag, VR, length of the element whose header stands there, and where in ``data`` its value begins."""
    if not encoding.explicit:
        group, element, length = encoding.header(data, place)
        return group << 16 | element, b"", length, place + 8
    group, element, vr, length = encoding.header(data, place)
    if vr in encodings.SHORT_VRS:
        return group << 16 | element, vr, length, place + 8
    if vr in encodings.LONG_VRS:
        return group << 16 | element, vr, encoding.long(data, place + 8)[0], place + 12
    raise Odd


def behind(window: Window, encoding: encodings.Encoding, position: int) -> int:
    """Where that ends which begins there and has no length."""
    depth = 1
    while depth:
        place = window.read(position, 12)
        group, element, length = encoding.item(window.data, place)
        if group == encodings.DELIMITERS:
            position += 8
            if element in (encodings.ITEM_END, encodings.SEQUENCE_END):
                depth -= 1
            elif length == UNDEFINED:
                depth += 1
            else:
                position += length
            continue
        _, vr, length, start = header(window.data, place, encoding)
        if length == UNDEFINED:
            if vr == b"UN" or depth > _DEEPEST:
                raise Odd
            depth += 1
            length = 0
        position = window.base + start + length
    return position


def item(window: Window, position: int) -> tuple[int, int, int]:
    """Tag and length of the item that begins there, and where in the window's data its value begins."""
    place = window.read(position, 8)
    if len(window.data) - place < 8:
        raise Unreadable("The encapsulated pixel data has no end.")
    group, element, length = encodings.EXPLICIT_LITTLE.item(window.data, place)
    return group << 16 | element, length, place + 8


def find_value(
    window: Window, encoding: encodings.Encoding, path: Sequence[tuple[int, int]], tag: int
) -> tuple[int, int] | None:
    """Where an element's value begins, and its length; None when there is no such element, or its length is undefined.

    ``path``: the sequences on the way to it, each with the number of the item, the first being 1. Raises `Odd`.
    """
    begin(window, encoding)
    place: tuple[int, int] | None = _element(window, encoding, 0, UNDEFINED, (path[0][0] if path else tag))
    for step, (_, number) in enumerate(path):
        if place is None or number < 1:
            return None
        inner = _numbered(window, encoding, place, number)
        if inner is None:
            return None
        wanted = path[step + 1][0] if step + 1 < len(path) else tag
        place = _element(window, encoding, *inner, wanted)
    return None if place is None or place[1] == UNDEFINED else place


def _element(
    window: Window, encoding: encodings.Encoding, position: int, length: int, wanted: int
) -> tuple[int, int] | None:
    """Where the value of an element of a dataset or of an item begins, and its length, be it undefined."""
    end = window.length if length == UNDEFINED else position + length
    while position < end:
        place = window.read(position, 12)
        if len(window.data) - place < 8:
            return None
        if encoding.item(window.data, place)[:2] == (encodings.DELIMITERS, encodings.ITEM_END):
            return None
        tag, vr, size, start = header(window.data, place, encoding)
        start += window.base
        if tag == wanted:
            return start, size
        if size == UNDEFINED and vr == b"UN":
            raise Odd
        position = behind(window, encoding, start) if size == UNDEFINED else start + size
    return None


def _numbered(
    window: Window, encoding: encodings.Encoding, sequence: tuple[int, int], number: int
) -> tuple[int, int] | None:
    """Where an item of a sequence begins, and its length, be it undefined."""
    position, length = sequence
    end = window.length if length == UNDEFINED else position + length
    while position < end:
        place = window.read(position, 8)
        group, element, size = encoding.item(window.data, place)
        if (group, element) != (encodings.DELIMITERS, encodings.ITEM):
            return None
        number -= 1
        if not number:
            return position + 8, size
        position = behind(window, encoding, position + 8) if size == UNDEFINED else position + 8 + size
    return None
