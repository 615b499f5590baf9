"""Where the frames of a dataset are, found without reading its pixels (PS3.5 §8, §A.4).

The elements before the pixel data are walked over, some of which say how long a frame is; compressed frames are found
by their offset table where that can be right, else by their fragments. What the quick walk does not understand (an
encoding other than the transfer syntax says, unknown VRs) is left to the thorough one of `core.pixels.frames`.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, Final

from hozi.core.dicom import encodings
from hozi.core.dicom.elements import swapped
from hozi.core.dicom.encodings import UNDEFINED
from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.dicom.window import Odd, Window, begin, behind, header, item
from hozi.core.errors import NotThere, Unreadable

FLOAT_PIXEL_DATA: Final = 0x7FE00008
DOUBLE_PIXEL_DATA: Final = 0x7FE00009
PIXEL_DATA: Final = 0x7FE00010

_SAMPLES: Final = 0x00280002
_PHOTOMETRIC: Final = 0x00280004
_FRAMES: Final = 0x00280008
_ROWS: Final = 0x00280010
_COLUMNS: Final = 0x00280011
_ALLOCATED: Final = 0x00280100
_EXTENDED_OFFSETS: Final = 0x7FE00001
_WANTED: Final = frozenset({_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _ALLOCATED, _EXTENDED_OFFSETS})
_PIXELS: Final = frozenset({FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA, PIXEL_DATA})
_NUMBER: Final = re.compile(rb"\s*\+?([0-9]{1,9})[\s\0]*")
_LONGEST_TABLE: Final = 8 << 20
MOST_FRAMES: Final = 1 << 24
_ITEM: Final = 0xFFFEE000
_END: Final = 0xFFFEE0DD

Fragment = tuple[int, int]
"""Where bytes begin in the dataset, and how many they are."""


@dataclass(frozen=True, slots=True)
class PixelData:
    """Where the pixel data of a dataset is: ``count`` frames of it.

    ``at``: its value's first byte, counted from the dataset's; ``length``: of a native value. ``frame_bits``: of one
    native frame. ``swap``: that many bytes change places to become little endian. ``starts``: where the first item of
    each compressed frame begins, by the offset table (empty: there is none). ``frames``: the fragments of each, where
    they had to be looked for.
    """

    tag: int
    count: int
    encapsulated: bool
    at: int
    length: int = 0
    frame_bits: int = 0
    swap: int = 0
    starts: Sequence[int] = ()
    frames: Sequence[Sequence[Fragment]] = ()

    @property
    def plain(self) -> bool:
        """Whether a frame goes out as its bytes stand in the dataset."""
        return not self.swap and not self.frame_bits % 8

    @property
    def weight(self) -> int:
        """About how much memory this takes, in bytes."""
        return 500 + 8 * len(self.starts) + sum(64 + 100 * len(frame) for frame in self.frames)

    def frame(self, file: BinaryIO, offset: int, number: int) -> list[Fragment]:
        """Where the bytes of a frame are, the first one being 1, in the dataset that begins at ``offset`` of ``file``.

        Raises `NotThere` when there is no such frame, `Unreadable` when it cannot be found.
        """
        if not 1 <= number <= self.count:
            raise NotThere("There is no such frame.")
        if self.encapsulated:
            if self.frames:
                return list(self.frames[number - 1])
            begin = self.starts[number - 1]
            end = self.starts[number] if number < len(self.starts) else 0
            return _items(Window(file, offset), begin, end)
        first = (number - 1) * self.frame_bits
        begin, last = first // 8, (first + self.frame_bits + 7) // 8
        if last > self.length:
            raise Unreadable("The pixel data is shorter than its frames.")
        return [(self.at + begin, last - begin)]

    def read(self, file: BinaryIO, offset: int, number: int) -> bytes:
        """The bytes of a frame: a compressed one as it is stored, a native one in little endian."""
        parts = []
        for position, length in self.frame(file, offset, number):
            file.seek(offset + position)
            part = file.read(length)
            if len(part) < length:
                raise Unreadable("The file is shorter than its dataset.")
            parts.append(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if self.encapsulated:
            return data
        shift = (number - 1) * self.frame_bits % 8
        if shift or self.frame_bits % 8:
            # Frames of single bits follow each other without a gap (PS3.5 §8.1.1); alone, each begins with a byte.
            bits = (int.from_bytes(data, "little") >> shift) & ((1 << self.frame_bits) - 1)
            return bits.to_bytes((self.frame_bits + 7) // 8, "little")
        return swapped(data, self.swap) if self.swap else data


def find(file: BinaryIO, offset: int, length: int, syntax: TransferSyntax) -> PixelData | None:
    """Where the pixel data is of the dataset of ``length`` bytes at ``offset`` of ``file``; None: it has none.

    Raises `Unreadable` when the dataset is damaged, or is deflated: then nothing in it has a place.
    """
    if syntax.deflated:
        raise Unreadable("The dataset is deflated.")
    window = Window(file, offset, length)
    try:
        found = _Walk(window, encodings.of(syntax))
        if not found.run():
            return None
        if not found.undefined:
            return found.native(syntax.little_endian)
        return found.video() if syntax.video else found.encapsulated()
    except (Odd, struct.error):
        return _thorough(file, offset, length, syntax)


class _Walk:
    """The elements of the top level, up to the pixel data."""

    def __init__(self, window: Window, encoding: encodings.Encoding) -> None:
        self._window = window
        self._encoding = encoding
        self._values: dict[int, bytes] = {}
        self.tag = 0
        self.at = 0
        self.length = 0
        self.vr = b""

    @property
    def undefined(self) -> bool:
        """Whether the pixel data is encapsulated."""
        return self.length == UNDEFINED

    def run(self) -> bool:
        """Walks; whether there is pixel data."""
        window, encoding, values = self._window, self._encoding, self._values
        begin(window, encoding)
        position = 0
        while True:
            place = window.read(position, 12)
            if len(window.data) - place < 8:
                return False
            tag, vr, length, start = header(window.data, place, encoding)
            start += window.base
            if tag in _PIXELS:
                if length:
                    self.tag, self.vr, self.length, self.at = tag, vr, length, start
                    return True
            elif length == UNDEFINED:
                if vr == b"UN":
                    raise Odd
                position = behind(window, encoding, start)
                continue
            elif tag in _WANTED and length <= _LONGEST_TABLE:
                place = window.read(start, length)
                values[tag] = window.data[place : place + length]
            position = start + length

    def _number(self, tag: int, little_endian: bool) -> int:
        raw = self._values.get(tag, b"")
        return int.from_bytes(raw, "little" if little_endian else "big") if len(raw) in (2, 4, 8) else 0

    @property
    def _count(self) -> int:
        raw = self._values.get(_FRAMES, b"")
        told = _NUMBER.fullmatch(raw)
        count = int(told[1]) if told else 1
        if (raw.strip(b" \0") and not told) or not 0 < count <= MOST_FRAMES:
            raise Unreadable("The dataset does not say how many frames it has.")
        return count

    def native(self, little_endian: bool) -> PixelData:
        """Pixel data that is a plain array."""
        rows, columns = self._number(_ROWS, little_endian), self._number(_COLUMNS, little_endian)
        samples, allocated = self._number(_SAMPLES, little_endian) or 1, self._number(_ALLOCATED, little_endian)
        if self.tag != PIXEL_DATA:
            allocated = 32 if self.tag == FLOAT_PIXEL_DATA else 64
        bits = rows * columns * samples * allocated
        if b"422" in self._values.get(_PHOTOMETRIC, b"") and bits * self._count > 8 * self.length:
            bits = bits // samples * 2  # two pixels share their chrominance (PS3.3 §C.7.6.3.1.2)
        if not bits or bits * self._count > 8 * self.length:
            raise Unreadable("The pixel data is shorter than its frames.")
        swap = 0
        if not little_endian and (allocated > 8 or self.vr == b"OW"):
            swap = max(2, allocated // 8)
        return PixelData(self.tag, self._count, False, self.at, self.length, bits, swap)

    def _table(self) -> tuple[int, int]:
        """How long the offset table is, and where the first fragment's item begins."""
        tag, length, _ = item(self._window, self.at)
        if tag != _ITEM or length == UNDEFINED:
            raise Unreadable("The encapsulated pixel data has no offset table, be it empty.")
        return length, self.at + 8 + length

    def _fragments(self, first: int) -> list[Fragment]:
        fragments = _items(self._window, first, 0)
        if not fragments:
            raise Unreadable("The encapsulated pixel data is empty.")
        return fragments

    def video(self) -> PixelData:
        """One stream for all frames."""
        _, first = self._table()
        return PixelData(self.tag, 1, True, self.at, frames=[self._fragments(first)])

    def encapsulated(self) -> PixelData:
        """Pixel data in fragments."""
        window, count = self._window, self._count
        length, first = self._table()
        if count > 1:
            table = b""
            if length == 4 * count:
                place = window.read(self.at + 8, length)
                table = window.data[place : place + length]
            for code, raw in (("Q", self._values.get(_EXTENDED_OFFSETS, b"")), ("I", table)):
                if starts := _starts(code, raw, count, first):
                    found = PixelData(self.tag, count, True, self.at, starts=starts)
                    if _leads(found, window):
                        return found
        fragments = self._fragments(first)
        if count == 1:
            return PixelData(self.tag, 1, True, self.at, frames=[fragments])
        if count == len(fragments):
            starts = array("Q", (position - 8 for position, _ in fragments))
            return PixelData(self.tag, count, True, self.at, starts=starts)
        raise Odd


def _starts(code: str, raw: bytes, count: int, first: int) -> array[int] | None:
    """Where the frames begin by an offset table; None when that cannot be one."""
    table = array(code)
    if len(raw) != count * table.itemsize:
        return None
    table.frombytes(raw)
    if struct.pack("=H", 1) != struct.pack("<H", 1):
        table.byteswap()
    if table[0] != 0 or any(here >= there for here, there in pairwise(table)):
        return None
    return array("Q", (first + one for one in table))


def _leads(found: PixelData, window: Window) -> bool:
    """Whether the offset table leads to frames: its first, its second and its last one are looked for."""
    try:
        for number in {1, 2, found.count}:
            found.frame(window.file, window.offset, number)
    except Unreadable:
        return False
    return True


def _items(window: Window, position: int, end: int) -> list[Fragment]:
    """The fragments from there on: up to the delimiter, or exactly to ``end``."""
    fragments: list[Fragment] = []
    while position != end or not end:
        tag, length, _ = item(window, position)
        if tag == _END and not end:
            break
        if tag != _ITEM or length == UNDEFINED or (end and position > end):
            raise Unreadable("The encapsulated pixel data holds something else than fragments.")
        fragments.append((position + 8, length))
        position += 8 + length
    return fragments


def _thorough(file: BinaryIO, offset: int, length: int, syntax: TransferSyntax) -> PixelData | None:
    """The same, by the walk that understands everything that was let in."""
    from hozi.core.pixels import frames  # heavy, and hardly ever needed

    found = frames.look(file, offset, length, syntax)
    if not found.has_pixel_data:
        return None
    layout = frames.layout_of(found)
    if found.encapsulated:
        places = frames.frames_of(file, offset, found, layout.frames)
        return PixelData(PIXEL_DATA, layout.frames, True, found.fragments[0][0] - 8, frames=places)
    bits = layout.rows * layout.columns * layout.samples * layout.bits_allocated
    if bits * layout.frames > 8 * found.native_bytes:
        raise Unreadable("The pixel data is shorter than its frames.")
    swap = max(2, layout.bits_allocated // 8) if found.order == ">" and layout.bits_allocated > 8 else 0
    return PixelData(PIXEL_DATA, layout.frames, False, found.native_at, found.native_bytes, bits, swap)
