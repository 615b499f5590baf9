"""Lookup tables: modality and VOI tables, palettes, segmented ones too (PS3.3 §C.11.1, C.11.2, C.7.6.3.1.5, C.7.9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hozi.core.dicom.keys import tag_of
from hozi.core.errors import Unreadable
from hozi.core.pixels.decode import Layout
from hozi.core.pixels.tree import Tree

Array = NDArray[Any]

_DESCRIPTOR: Final = tag_of("LUTDescriptor")
_DATA: Final = tag_of("LUTData")
_PALETTE: Final = tuple(
    tuple(
        tag_of(name.format(colour))
        for name in (
            "{}PaletteColorLookupTableDescriptor",
            "{}PaletteColorLookupTableData",
            "Segmented{}PaletteColorLookupTableData",
        )
    )
    for colour in ("Red", "Green", "Blue")
)


@dataclass(frozen=True, slots=True, eq=False)
class Lut:
    """A lookup table: the value that its first entry is for, its entries, and how many bits they have."""

    first: int
    entries: Array
    bits: int

    def of(self, values: Array) -> Array:
        """The entries for these values; beyond the table, its first and last one count."""
        places = np.clip(np.rint(values), self.first, self.first + len(self.entries) - 1).astype(np.int64)
        found: Array = self.entries[places - self.first]
        return found

    @property
    def highest(self) -> float:
        """The value that stands for white."""
        return float((1 << self.bits) - 1)


def lut(item: Tree | None, *, signed: bool) -> Lut | None:
    """The table in an item of a Modality, VOI or Presentation LUT Sequence; None where none can be read."""
    if item is None:
        return None
    return _table(item, item.values.get(_DESCRIPTOR, b""), item.values.get(_DATA, b""), signed=signed)


def _table(item: Tree, descriptor: bytes, data: bytes, *, signed: bool) -> Lut | None:
    """A lookup table (PS3.3 §C.11.1.1): number of entries, first value, bits of an entry."""
    if len(descriptor) < 6 or not data:
        return None
    count, first, bits = (int(number) for number in np.frombuffer(descriptor[:6], f"{item.order}u2"))
    if signed and first > 0x7FFF:
        first -= 0x10000
    count = count or 0x10000
    narrow = bits <= 8 and len(data) < 2 * count
    entries = np.frombuffer(data if narrow else data[: len(data) // 2 * 2], "u1" if narrow else f"{item.order}u2")
    if len(entries) < count or not 1 <= bits <= 16:
        return None
    if not narrow and bits <= 8 and entries[:count].max(initial=0) > 0xFF:
        bits = 16  # some devices say 8 and write 16
    return Lut(first, entries[:count].astype(np.float64), bits)


def has_palette(head: Tree) -> bool:
    """Whether the dataset brings colours for its values."""
    return bool(head.values.get(_PALETTE[0][0]))


def palette(head: Tree, *, signed: bool) -> tuple[int, NDArray[np.uint8]]:
    """The value of the first entry, and the colours as (entries, 3). Raises `Unreadable`."""
    columns = []
    first = 0
    for descriptor, data, segmented in _PALETTE:
        told, plain = head.values.get(descriptor, b""), head.values.get(data, b"")
        if not plain and head.values.get(segmented):
            plain = _expanded(head, told, head.values[segmented])
        found = _table(head, told, plain, signed=signed)
        if found is None:
            raise Unreadable("The object's palette cannot be read.")
        first = found.first
        # Some devices write 8 bits as 16, with the value in either byte.
        wide = found.entries.max(initial=0) > 255
        columns.append((found.entries / 256 if wide else found.entries).astype(np.uint8))
    if len({len(column) for column in columns}) != 1:
        raise Unreadable("The object's palette cannot be read.")
    return first, np.stack(columns, axis=-1)


def painted(pixels: Array, head: Tree, layout: Layout) -> NDArray[np.uint8]:
    """Colours by palette."""
    first, colours = palette(head, signed=layout.signed)
    places = np.clip(pixels.astype(np.int64) - first, 0, len(colours) - 1)
    return colours[places]


def _expanded(head: Tree, descriptor: bytes, data: bytes) -> bytes:
    """A segmented table written out (PS3.3 §C.7.9.2). Raises `Unreadable`, and never makes more than was announced."""
    if len(descriptor) < 6:
        raise Unreadable("The object's palette cannot be read.")
    count, _, bits = (int(number) for number in np.frombuffer(descriptor[:6], f"{head.order}u2"))
    kind = "u1" if bits <= 8 else f"{head.order}u2"
    codes: list[int] = np.frombuffer(data[: len(data) // 2 * 2], kind).tolist()
    entries = _segments(codes, 0, len(codes), [], count or 0x10000, indirect=True, offsets=2 if bits > 8 else 4)
    return np.array(entries, np.uint8 if bits <= 8 else f"{head.order}u2").tobytes()


def _segments(
    codes: list[int], at: int, end: int, entries: list[int], most: int, *, indirect: bool, offsets: int, limit: int = -1
) -> list[int]:
    """Discrete, linear and indirect segments (PS3.3 §C.7.9.2.2)."""
    done = 0
    try:
        while at < end and len(entries) < most and done != limit:
            done += 1
            code, length = codes[at], codes[at + 1]
            if code == 0:
                entries += codes[at + 2 : at + 2 + length][: most - len(entries)]
                at += 2 + length
            elif code == 1 and entries and length:
                begin, target = entries[-1], codes[at + 2]
                steps = np.arange(1, min(length, most - len(entries)) + 1) / length
                entries += np.rint(begin + (target - begin) * steps).astype(int).tolist()
                at += 3
            elif code == 2 and indirect:
                parts = codes[at + 2 : at + 2 + offsets]
                width = 16 if offsets == 2 else 8
                start = sum(part << (width * place) for place, part in enumerate(parts)) // (1 if offsets == 4 else 2)
                _segments(codes, start, end, entries, most, indirect=False, offsets=offsets, limit=length)
                at += 2 + offsets
            else:
                raise Unreadable("The object's palette cannot be read.")
    except IndexError:
        raise Unreadable("The object's palette cannot be read.") from None
    return entries
