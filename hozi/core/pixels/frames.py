"""Finds the compressed frames of a dataset, and turns the dataset into a native one (PS3.5 §A.4).

Runs in a worker process: see `worker`. One frame is in memory at a time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from hozi.core.dicom import values
from hozi.core.dicom.elements import (
    ITEM,
    SEQUENCE_END,
    SWAP_BYTES,
    Encoding,
    FileSource,
    Header,
    Source,
    blocks,
    deflated,
    header,
    inflated,
    swapped,
)
from hozi.core.dicom.recode import Recoding
from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.errors import Unreadable
from hozi.core.pixels import codestream, decode
from hozi.core.pixels.decode import Layout

SAMPLES: Final = 0x00280002
PHOTOMETRIC: Final = 0x00280004
PLANAR: Final = 0x00280006
FRAMES: Final = 0x00280008
ROWS: Final = 0x00280010
COLUMNS: Final = 0x00280011
BITS_ALLOCATED: Final = 0x00280100
BITS_STORED: Final = 0x00280101
PIXEL_REPRESENTATION: Final = 0x00280103
_LOSSY: Final = 0x00282110
_EXTENDED_OFFSETS: Final = 0x7FE00001
_EXTENDED_LENGTHS: Final = 0x7FE00002
PIXEL_DATA: Final = 0x7FE00010

_WANTED: Final = frozenset(
    {
        *(SAMPLES, PHOTOMETRIC, PLANAR, FRAMES, ROWS, COLUMNS, BITS_ALLOCATED, BITS_STORED),
        *(PIXEL_REPRESENTATION, _LOSSY, _EXTENDED_OFFSETS),
    }
)
_ICON: Final = 0x00880200
_COUNT: Final = re.compile(r"\+?[0-9]{1,9}")
#: The longest value that is looked at: the offset table of a million frames.
_VALUE_BYTES: Final = 8 << 20
_LONGEST: Final = 0xFFFFFFFE
_INFLATED_BYTES: Final = 4 << 30

Fragment = tuple[int, int]
"""Where a fragment's bytes begin in the dataset, and how many they are."""


@dataclass
class Found:
    """What a dataset says about its pixel data. ``fragments``: the items of encapsulated pixel data, the offset table
    first; none where it is not encapsulated, and then ``native_bytes`` is its length, ``native_at`` where it begins in
    the dataset (inflated, if need be), and ``in_words`` says that its VR is OW. ``has_pixel_data``: it is not empty.
    ``begins_at``: where the element begins in the dataset.
    """

    order: str
    values: dict[int, bytes] = field(default_factory=dict)
    fragments: list[Fragment] = field(default_factory=list)
    has_pixel_data: bool = False
    native_bytes: int = 0
    native_at: int = 0
    in_words: bool = False
    begins_at: int = 0

    @property
    def encapsulated(self) -> bool:
        """Whether there is encapsulated pixel data, be it empty."""
        return bool(self.fragments)

    def number(self, tag: int) -> int | None:
        """The number in a US element; other lengths as some devices write it."""
        raw = self.values.get(tag, b"")
        return int.from_bytes(raw, "little" if self.order == "<" else "big") if len(raw) in (2, 4, 8) else None

    def text(self, tag: int) -> str:
        """The text in an element, without padding."""
        return self.values.get(tag, b"").decode("latin_1").strip(" \0")


def convert(
    source: Path, offset: int, from_syntax: TransferSyntax, to_syntax: TransferSyntax, target: BinaryIO
) -> None:
    """Writes the dataset that begins at ``offset`` of ``source`` to ``target``, in a native transfer syntax.

    Raises `Unreadable` when it is damaged, or has pixel data that cannot be decoded.
    """
    length = source.stat().st_size - offset
    with source.open("rb") as file:
        pieces = _Conversion(file, offset, length, from_syntax, Encoding.of(to_syntax)).pieces()
        for piece in deflated(pieces) if to_syntax.deflated else pieces:
            target.write(piece)


def opened(file: BinaryIO, offset: int, length: int, syntax: TransferSyntax) -> tuple[Source, Encoding]:
    """The dataset of ``length`` bytes from ``offset`` on, from its first element on, and its encoding."""
    file.seek(offset)
    source = Source(inflated(blocks(file, length), _INFLATED_BYTES)) if syntax.deflated else FileSource(file, length)
    _, encoding = source.begin(Encoding.of(syntax))
    return source, encoding


def look(file: BinaryIO, offset: int, length: int, syntax: TransferSyntax, wanted: Collection[int] = _WANTED) -> Found:
    """What the header says, and where the pixel data is. Raises `Unreadable`."""
    source, encoding = opened(file, offset, length, syntax)
    walk = Recoding(source, encoding, encoding, {})
    found = Found(order=encoding.order)
    at = source.position
    while head := source.header(encoding):
        if head.tag == PIXEL_DATA:
            found.begins_at = at
        if head.tag == PIXEL_DATA and head.undefined:
            found.fragments = list(fragments_of(source, encoding)) or [(0, 0)]
            found.has_pixel_data = any(length for _, length in found.fragments[1:])
            break
        if head.tag == PIXEL_DATA:
            found.native_bytes = head.length
            found.native_at = source.position
            found.in_words = head.vr == "OW"
            found.has_pixel_data = head.length > 0
        if head.tag in wanted and head.length <= _VALUE_BYTES:
            found.values[head.tag] = source.take(head.length)
        elif head.undefined:
            for _ in walk.copied(head, encoding):
                pass
        else:
            source.skip(head.length)
        at = source.position
    return found


class _Conversion:
    """One dataset on its way out of its transfer syntax."""

    def __init__(self, file: BinaryIO, offset: int, length: int, syntax: TransferSyntax, target: Encoding) -> None:
        self._file = file
        self._offset = offset
        self._length = length
        self._syntax = syntax
        self._target = target
        self._layout = Layout(0, 0)
        self._frames: list[list[Fragment]] = []

    def pieces(self) -> Iterator[bytes]:
        """The converted dataset."""
        changes: dict[int, bytes | None] = {}
        found = look(self._file, self._offset, self._length, self._syntax) if self._syntax.encapsulated else None
        if found is not None and found.has_pixel_data:
            self._layout = layout_of(found)
            if found.encapsulated:
                self._frames = frames_of(self._file, self._offset, found, self._layout.frames)
                changes = self._changes(found)
            elif found.native_bytes < self._layout.native_bytes:
                raise Unreadable("The pixel data is neither encapsulated, as its transfer syntax says, nor complete.")
        elif found is not None and found.encapsulated:
            changes = {PIXEL_DATA: header(PIXEL_DATA, "OW", 0, self._target)}
        # A reader of its own: the frames are read through the file's position meanwhile.
        with Path(self._file.name).open("rb") as again:
            source, encoding = opened(again, self._offset, self._length, self._syntax)
            recoding = Recoding(
                source,
                encoding,
                self._target,
                changes,
                restructure=found is not None,
                instead={
                    _ICON: lambda head: _icon(recoding, head),
                    **({PIXEL_DATA: lambda head: self._pixel_data(head, source, encoding)} if self._frames else {}),
                },
            )
            yield from recoding.dataset()
        if recoding.met_fragments:
            raise Unreadable("The dataset has compressed pixel data where none can be decoded.")

    def _changes(self, found: Found) -> dict[int, bytes | None]:
        """What the header says differently afterwards."""
        first = read(self._file, self._offset, self._frames[0])
        uid, layout = self._syntax.uid, self._layout
        changes: dict[int, bytes | None] = {_EXTENDED_OFFSETS: None, _EXTENDED_LENGTHS: None}
        photometric = decode.photometric(uid, first, layout)
        if photometric != layout.photometric:
            changes[PHOTOMETRIC] = values.element(PHOTOMETRIC, "CS", [photometric], self._target, "")
        if layout.samples > 1:
            changes[PLANAR] = values.element(PLANAR, "US", [0], self._target, "")
        lossy, told = decode.lossy(uid, first), found.text(_LOSSY)
        # Where neither stream nor dataset tells, the reader is warned: a mark too many harms nobody.
        if (lossy and told != "01") or (lossy is None and not told):
            changes[_LOSSY] = values.element(_LOSSY, "CS", ["01"], self._target, "")
        return changes

    def _pixel_data(self, found: Header, source: Source, encoding: Encoding) -> Iterator[bytes]:
        """The element of the native pixel data, in place of the encapsulated one, which is stepped over."""
        layout = self._layout
        if not found.undefined:
            raise Unreadable("The dataset has pixel data twice.")
        for _ in fragments_of(source, encoding):
            pass
        size = layout.native_bytes
        padded = size + size % 2
        if padded > _LONGEST:
            raise Unreadable("The pixel data is too long for a native transfer syntax.")
        if layout.bits_allocated > 16 and not self._target.little_endian:
            raise Unreadable("Pixels of more than 16 bits cannot be converted between byte orders.")  # see `recode`
        vr = "OB" if layout.bits_allocated <= 8 and self._target.explicit else "OW"
        yield header(PIXEL_DATA, vr, padded, self._target)
        bits: NDArray[np.uint8] = np.empty(0, np.uint8)
        for frame in self._frames:
            pixels = decode.decode(self._syntax.uid, read(self._file, self._offset, frame), layout)
            if layout.bits_allocated == 1:
                bits = np.concatenate((bits, pixels.reshape(-1)))
                whole = bits.size - bits.size % 8
                yield np.packbits(bits[:whole], bitorder="little").tobytes()
                bits = bits[whole:]
            else:
                data = pixels.astype(layout.container.newbyteorder("<")).tobytes()
                yield data if vr == "OB" or self._target.little_endian else swapped(data, SWAP_BYTES["OW"])
        if bits.size:
            yield np.packbits(bits, bitorder="little").tobytes()
        yield b"\0" * (size % 2)


def fragments_of(source: Source, encoding: Encoding) -> Iterator[Fragment]:
    """The items of a pixel data element whose header was read; leaves ``source`` behind its delimiter."""
    while item := source.header(encoding):
        if item.tag == SEQUENCE_END:
            return
        if item.tag != ITEM or item.undefined:
            raise Unreadable("The encapsulated pixel data holds something else than fragments.")
        yield source.position, item.length
        source.skip(item.length)
    raise Unreadable("The encapsulated pixel data has no end.")


def _icon(recoding: Recoding, head: Header) -> Iterator[bytes]:
    """The Icon Image Sequence; nothing when its pixels are compressed. It is optional (PS3.3 §C.7.6.1.1.6)."""
    icon = list(recoding.recoded(head))
    if not recoding.met_fragments:
        yield from icon
    recoding.met_fragments = False


def layout_of(found: Found) -> Layout:
    """How the dataset says that its pixels are laid out. Raises `Unreadable` when no pixels can be so."""
    frames = found.text(FRAMES) or "1"
    layout = Layout(
        rows=found.number(ROWS) or 0,
        columns=found.number(COLUMNS) or 0,
        samples=found.number(SAMPLES) or 1,
        frames=int(frames) if _COUNT.fullmatch(frames) else 0,
        bits_allocated=found.number(BITS_ALLOCATED) or 8,
        bits_stored=found.number(BITS_STORED) or found.number(BITS_ALLOCATED) or 8,
        signed=found.number(PIXEL_REPRESENTATION) == 1,
        photometric=found.text(PHOTOMETRIC) or "MONOCHROME2",
        planar=found.number(PLANAR) == 1,
    )
    layout.check()
    return layout


def frames_of(file: BinaryIO, offset: int, found: Found, count: int) -> list[list[Fragment]]:
    """The fragments of each frame (PS3.5 §A.4: Basic and Extended Offset Table; and what is done without them)."""
    table, *fragments = found.fragments
    if count == 1:
        if len(_beginnings(file, offset, fragments)) > 1:
            raise Unreadable("The encapsulated pixel data has more frames than the dataset says.")
        return [list(fragments)]
    if count == len(fragments):
        return [[fragment] for fragment in fragments]
    starts = _starts(file, offset, table, fragments, count, found)
    if starts is None or len(starts) != count or starts[0] != 0:
        raise Unreadable("The fragments of the encapsulated pixel data cannot be told apart into frames.")
    return [list(fragments[low:high]) for low, high in zip(starts, [*starts[1:], len(fragments)], strict=True)]


def _starts(
    file: BinaryIO, offset: int, table: Fragment, fragments: Sequence[Fragment], count: int, found: Found
) -> list[int] | None:
    """The index of each frame's first fragment, by an offset table or by how the fragments begin."""
    first = fragments[0][0] - 8
    index_of = {position - 8 - first: index for index, (position, _) in enumerate(fragments)}
    for raw, width in ((found.values.get(_EXTENDED_OFFSETS, b""), "<u8"), (read(file, offset, [table]), "<u4")):
        if len(raw) == count * np.dtype(width).itemsize:
            listed: list[Any] = np.frombuffer(raw, width).tolist()
            if all(one in index_of for one in listed):
                return [index_of[one] for one in listed]
    return _beginnings(file, offset, fragments)


def _beginnings(file: BinaryIO, offset: int, fragments: Sequence[Fragment]) -> list[int]:
    """The index of each fragment that begins as a compressed stream does."""
    return [
        index
        for index, (position, length) in enumerate(fragments)
        if codestream.starts(read(file, offset, [(position, min(length, 16))]))
    ]


def read(file: BinaryIO, offset: int, fragments: Sequence[Fragment]) -> bytes:
    """The bytes of these fragments together, of the dataset that begins at ``offset``."""
    parts = []
    for position, length in fragments:
        file.seek(offset + position)
        parts.append(file.read(length))
    return b"".join(parts)
