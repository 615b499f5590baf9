"""Reads what stands before the pixels of a dataset into a tree, sequences inside one another too, under limits.

`frames.look` reads flat headers; functional groups, lookup tables, overlays and presentation states need the
sequences. Works on a buffer of the dataset's beginning, since pixel data is the last thing that matters.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import numpy as np

from hozi.core.dicom import encodings, part10
from hozi.core.dicom.encodings import IMPLICIT_LITTLE, UNDEFINED, Encoding
from hozi.core.dicom.inflate import Whole
from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.errors import Unreadable

PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, double float and plain pixel data."""
_MOST_HEAD: Final = 256 << 20
_FIRST_HEAD: Final = 32 << 10
_MOST_ELEMENTS: Final = 1_000_000
_DEPTH: Final = 32
_KEPT_BYTES: Final = 64 << 20
#: Text that no picture depends on is stepped over; the rest is kept as bytes.
_GROUPS: Final = frozenset({0x0008, 0x0018, 0x0020, 0x0028, 0x0040, 0x0048, 0x0062, 0x0070, 0x2050, 0x3004, 0x5200})
_ITEM_TAG: Final = 0xFFFEE000
_ITEM_END_TAG: Final = 0xFFFEE00D
_SEQUENCE_END_TAG: Final = 0xFFFEE0DD
#: Sequences that implicit VR does not mark as such, where an item begins like this.
_ITEM_BYTES: Final = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")


@dataclass
class Tree:
    """The elements of a dataset or of an item: bytes by tag, and lists of trees for sequences.

    ``order``: the byte order of numbers, as `struct` writes it.
    """

    order: str = "<"
    values: dict[int, bytes] = field(default_factory=dict)
    items: dict[int, list[Tree]] = field(default_factory=dict)

    def text(self, tag: int) -> str:
        """The text in an element, without padding; empty where there is none."""
        return self.values.get(tag, b"").decode("latin_1").strip(" \0")

    def texts(self, tag: int) -> list[str]:
        """The values of a text element of several values."""
        text = self.text(tag)
        return [part.strip() for part in text.split("\\")] if text else []

    def number(self, tag: int) -> int | None:
        """The first number in a US element; other lengths as some devices write it."""
        raw = self.values.get(tag, b"")
        if len(raw) not in (2, 4, 8):
            return None
        return int.from_bytes(raw, "little" if self.order == "<" else "big")

    def numbers(self, tag: int, kind: str = "u2") -> list[int]:
        """The numbers in a binary element, of a number type as numpy writes it without its byte order."""
        raw = self.values.get(tag, b"")
        size = np.dtype(kind).itemsize
        found: list[int] = np.frombuffer(raw[: len(raw) // size * size], f"{self.order}{kind}").tolist()
        return found

    def decimals(self, tag: int) -> list[float]:
        """The numbers in a DS element; none when one of them is not a finite number."""
        numbers = []
        for part in self.texts(tag):
            try:
                numbers.append(float(part))
            except ValueError:
                return []
            if not np.isfinite(numbers[-1]):
                return []
        return numbers

    def first(self, tag: int) -> Tree | None:
        """The first item of a sequence; None where there is none."""
        found = self.items.get(tag)
        return found[0] if found else None


@dataclass
class Head(Tree):
    """A dataset up to its pixel data. ``pixels``: the tag of the element that holds them (0: there are none);
    ``vr``, ``length`` and ``at`` are its, and where its value begins (in the inflated dataset, if it is deflated).
    """

    pixels: int = 0
    vr: bytes = b""
    length: int = 0
    at: int = 0

    @property
    def encapsulated(self) -> bool:
        """Whether the pixel data is a sequence of fragments."""
        return self.length == UNDEFINED


class _MoreError(Exception):
    """The buffer ends before the pixel data."""


def read(file: BinaryIO, offset: int, length: int, syntax: TransferSyntax) -> Head:
    """The head of the dataset of ``length`` bytes that begins at ``offset``. Raises `Unreadable`."""
    size = _FIRST_HEAD
    while True:
        buffer, complete = _beginning(file, offset, length, syntax, size)
        try:
            return _Reading(buffer, complete).head(encodings.of(syntax))
        except _MoreError:
            if complete:
                raise Unreadable("The dataset is cut short before its pixels.") from None
            if size >= _MOST_HEAD:
                raise Unreadable("The dataset has more before its pixels than can be looked at.") from None
            size *= 8


def _beginning(file: BinaryIO, offset: int, length: int, syntax: TransferSyntax, size: int) -> tuple[bytes, bool]:
    file.seek(offset)
    if not syntax.deflated:
        return file.read(min(size, length)), size >= length
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    total, left = 0, length
    try:
        while total < size and not inflate.eof and left:
            block = file.read(min(64 << 10, left))
            if not block:
                break
            left -= len(block)
            while block and total < size:
                parts.append(inflate.decompress(block, size - total))
                total += len(parts[-1])
                block = inflate.unconsumed_tail
    except zlib.error:
        raise Unreadable("The deflated dataset is damaged.") from None
    return b"".join(parts), total < size


class _Reading:
    """One pass over the beginning of a dataset."""

    def __init__(self, buffer: bytes, complete: bool) -> None:
        self._buffer = buffer
        self._whole = Whole(buffer)
        self._complete = complete
        self._left = _MOST_ELEMENTS
        self._room = _KEPT_BYTES

    def head(self, encoding: Encoding) -> Head:
        position = 0
        if self._buffer[:2] == b"\x02\0":
            _, position = part10.read_meta(self._buffer, 0)
        start = self._buffer[position : position + 8]
        if len(start) == 8:
            vr = start[4:6]
            if encoding is IMPLICIT_LITTLE and vr in encodings.VRS:
                encoding = encodings.EXPLICIT_LITTLE
            elif encoding is encodings.EXPLICIT_LITTLE and not encodings.is_vr_like(vr):
                encoding = IMPLICIT_LITTLE
        head = Head(order=">" if encoding is encodings.EXPLICIT_BIG else "<")
        try:
            self._elements(head, encoding, position, len(self._buffer), 0)
        except (struct.error, IndexError):
            if not self._complete:
                raise _MoreError from None
        return head

    def _header(self, encoding: Encoding, position: int) -> tuple[int, bytes, int, int]:
        """Tag, VR (empty where none is written), length, and where the value begins."""
        buffer = self._buffer
        if not encoding.explicit:
            group, element, length = encoding.header(buffer, position)
            return group << 16 | element, b"", length, position + 8
        group, element, vr, length = encoding.header(buffer, position)
        if vr in encodings.SHORT_VRS:
            return group << 16 | element, vr, length, position + 8
        if vr in encodings.LONG_VRS:
            return group << 16 | element, vr, encoding.long(buffer, position + 8)[0], position + 12
        if group == encodings.DELIMITERS:
            return group << 16 | element, b"", encoding.item(buffer, position)[2], position + 8
        start, length, implicit = encodings.read_unknown(self._whole, encoding, position, len(buffer))
        return group << 16 | element, b"" if implicit else b"UN", length, start

    def _elements(self, tree: Tree, encoding: Encoding, position: int, end: int, depth: int) -> int:
        """Reads elements into ``tree`` until ``end``, a delimiter or the pixels; where the next thing begins."""
        buffer, size = self._buffer, len(self._buffer)
        explicit, header, shorts = encoding.explicit, encoding.header, encodings.SHORT_VRS
        while position + 8 <= end:
            if explicit:  # most elements have a short header: the way through `_header` would take twice as long
                high, low, vr, length = header(buffer, position)
                if vr in shorts:
                    tag, start = high << 16 | low, position + 8
                else:
                    tag, vr, length, start = self._header(encoding, position)
            else:
                tag, vr, length, start = self._header(encoding, position)
            self._left -= 1
            if self._left < 0:
                raise Unreadable("The dataset has more elements than can be looked at.")
            if tag >> 16 == encodings.DELIMITERS:
                return start if tag == _ITEM_END_TAG else position
            if depth == 0:
                if tag in PIXELS and isinstance(tree, Head) and length:
                    tree.pixels, tree.vr, tree.length, tree.at = tag, vr, length, start
                    return start
                if tag == 0 and vr == b"" and length == 0:
                    return position  # padding behind the dataset
            if length == UNDEFINED or vr == b"SQ" or (vr in (b"", b"UN") and buffer[start : start + 4] in _ITEM_BYTES):
                position = self._sequence(tree, tag, vr, encoding, start, length, end, depth)
                continue
            position = start + length
            group = tag >> 16
            if group in _GROUPS or group & 0xFF01 == 0x6000 or tag in _OFFSET_TABLES:
                if position > size and not self._complete:
                    raise _MoreError
                self._room -= length
                if self._room < 0:
                    raise Unreadable("The dataset has more before its pixels than can be looked at.")
                tree.values[tag] = buffer[start:position]
        if depth == 0 and not self._complete:
            raise _MoreError
        return position

    def _sequence(
        self, tree: Tree, tag: int, vr: bytes, encoding: Encoding, position: int, length: int, outer: int, depth: int
    ) -> int:
        """Reads the items of a sequence; where the next thing begins."""
        if depth >= _DEPTH:
            raise Unreadable("The dataset has sequences too deep inside one another.")
        end = outer if length == UNDEFINED else min(position + length, outer)
        if length != UNDEFINED and position + length > len(self._buffer) and not self._complete:
            raise _MoreError
        inner = IMPLICIT_LITTLE if vr == b"UN" else encoding
        items: list[Tree] = []
        while position + 8 <= end:
            group, element, size = encoding.item(self._buffer, position)
            found = group << 16 | element
            position += 8
            if found == _SEQUENCE_END_TAG:
                break
            if found != _ITEM_TAG:
                if length == UNDEFINED:
                    raise Unreadable("A sequence holds something else than items.")
                position = end
                break
            item = Tree(order=tree.order)
            stop = end if size == UNDEFINED else min(position + size, end)
            after = self._elements(item, inner, position, stop, depth + 1)
            position = after if size == UNDEFINED else stop
            items.append(item)
        else:
            if length == UNDEFINED and not self._complete:
                raise _MoreError
        if tag >> 16 in _GROUPS:
            tree.items[tag] = items
        return position if length == UNDEFINED else max(end, position)


_OFFSET_TABLES: Final = frozenset({0x7FE00001, 0x7FE00002})
