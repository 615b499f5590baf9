"""Finds the compressed frames of a dataset, and turns the dataset into a native one (PS3.5 §A.4).

Runs in a worker process: see `worker`. One frame is in memory at a time.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from hozi.core.dicom import scan, values
from hozi.core.dicom.elements import ITEM, SEQUENCE_END, Encoding, Header, Source, blocks, deflated, header, inflated
from hozi.core.dicom.recode import Recoding
from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.errors import Unreadable
from hozi.core.pixels import codestream, decode
from hozi.core.pixels.decode import Layout

_SAMPLES: Final = 0x00280002
_PHOTOMETRIC: Final = 0x00280004
_PLANAR: Final = 0x00280006
_FRAMES: Final = 0x00280008
_ROWS: Final = 0x00280010
_COLUMNS: Final = 0x00280011
_BITS_ALLOCATED: Final = 0x00280100
_BITS_STORED: Final = 0x00280101
_PIXEL_REPRESENTATION: Final = 0x00280103
_LOSSY: Final = 0x00282110
_EXTENDED_OFFSETS: Final = 0x7FE00001
_EXTENDED_LENGTHS: Final = 0x7FE00002
_PIXEL_DATA: Final = 0x7FE00010

_WANTED: Final = frozenset(
    {
        *(_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES, _ROWS, _COLUMNS, _BITS_ALLOCATED, _BITS_STORED),
        *(_PIXEL_REPRESENTATION, _LOSSY, _EXTENDED_OFFSETS),
    }
)
_LIMITS: Final = scan.Limits(value_bytes=8 << 20)
_LONGEST: Final = 0xFFFFFFFE
_INFLATED_BYTES: Final = 4 << 30

Fragment = tuple[int, int]
"""Where a fragment's bytes begin in the dataset, and how many they are."""


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


class _Conversion:
    """One dataset on its way out of its transfer syntax."""

    def __init__(self, file: BinaryIO, offset: int, length: int, syntax: TransferSyntax, target: Encoding) -> None:
        self._file = file
        self._offset = offset
        self._length = length
        self._syntax = syntax
        self._encoding = Encoding.of(syntax)
        self._target = target
        self._layout = Layout(0, 0)
        self._frames: list[list[Fragment]] = []

    def pieces(self) -> Iterator[bytes]:
        """The converted dataset."""
        changes: dict[int, bytes | None] = {}
        fragments = self._fragments() if self._syntax.encapsulated else None
        if fragments is not None:
            found = self._scan()
            self._layout = _layout(found)
            self._frames = _frames(self._file, self._offset, fragments, self._layout.frames, found)
            changes = self._changes(found)
        # A reader of its own: the frames are read through the file's position meanwhile.
        with Path(self._file.name).open("rb") as again:
            source = self._source(again)
            instead = {} if fragments is None else {_PIXEL_DATA: lambda head: self._pixel_data(head, source)}
            recoding = Recoding(source, self._encoding, self._target, changes, instead=instead)
            yield from recoding.dataset()
        if recoding.met_fragments:
            raise Unreadable("The dataset has compressed pixel data where none can be decoded.")

    def _source(self, file: BinaryIO) -> Source:
        file.seek(self._offset)
        dataset = blocks(file, self._length)
        return Source(inflated(dataset, _INFLATED_BYTES) if self._syntax.deflated else dataset)

    def _scan(self) -> scan.Scan:
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            dataset = view[self._offset :]
            try:
                return scan.scan(dataset, self._syntax, _LIMITS, _WANTED, {})
            finally:
                dataset.release()
                view.release()

    def _fragments(self) -> list[Fragment] | None:
        """The items of the encapsulated pixel data, the offset table first; None when there is none."""
        source = self._source(self._file)
        walk = Recoding(source, self._encoding, self._encoding, {})
        while found := source.header(self._encoding):
            if found.tag == _PIXEL_DATA and found.undefined:
                return list(_items(source, self._encoding))
            for _ in walk.copied(found, self._encoding):
                pass
        return None

    def _changes(self, found: scan.Scan) -> dict[int, bytes | None]:
        """What the header says differently afterwards."""
        first = _read(self._file, self._offset, self._frames[0])
        uid, layout = self._syntax.uid, self._layout
        changes: dict[int, bytes | None] = {_EXTENDED_OFFSETS: None, _EXTENDED_LENGTHS: None}
        photometric = decode.photometric(uid, first, layout)
        if photometric != layout.photometric:
            changes[_PHOTOMETRIC] = values.element(_PHOTOMETRIC, "CS", [photometric], self._target, "")
        if layout.planar:
            changes[_PLANAR] = values.element(_PLANAR, "US", [0], self._target, "")
        if decode.lossy(uid, first) and found.values.get(_LOSSY, b"").strip() != b"01":
            changes[_LOSSY] = values.element(_LOSSY, "CS", ["01"], self._target, "")
        return changes

    def _pixel_data(self, found: Header, source: Source) -> Iterator[bytes]:
        """The element of the native pixel data, in place of the encapsulated one, which is stepped over."""
        layout = self._layout
        if not found.undefined:
            raise Unreadable("The pixel data is not encapsulated, as its transfer syntax says.")
        for _ in _items(source, self._encoding):
            pass
        size = layout.native_bytes
        padded = size + size % 2
        if padded > _LONGEST:
            raise Unreadable("The pixel data is too long for a native transfer syntax.")
        vr = "OB" if layout.bits_allocated <= 8 and self._target.explicit else "OW"
        yield header(_PIXEL_DATA, vr, padded, self._target)
        bits: NDArray[np.uint8] = np.empty(0, np.uint8)
        for frame in self._frames:
            pixels = decode.decode(self._syntax.uid, _read(self._file, self._offset, frame), layout)
            if layout.bits_allocated == 1:
                bits = np.concatenate((bits, pixels.reshape(-1)))
                whole = bits.size - bits.size % 8
                yield np.packbits(bits[:whole], bitorder="little").tobytes()
                bits = bits[whole:]
            else:
                yield pixels.astype(np.dtype(f"{self._target.order}{layout.container.str[1:]}")).tobytes()
        if bits.size:
            yield np.packbits(bits, bitorder="little").tobytes()
        yield b"\0" * (size % 2)


def _items(source: Source, encoding: Encoding) -> Iterator[Fragment]:
    """The items of a pixel data element whose header was read; leaves ``source`` behind its delimiter."""
    while item := source.header(encoding):
        if item.tag == SEQUENCE_END:
            return
        if item.tag != ITEM or item.undefined:
            raise Unreadable("The encapsulated pixel data holds something else than fragments.")
        yield source.position, item.length
        for _ in source.pieces(item.length):
            pass
    raise Unreadable("The encapsulated pixel data has no end.")


def _layout(found: scan.Scan) -> Layout:
    def text(tag: int) -> str:
        return found.values.get(tag, b"").decode("latin_1").strip(" \0")

    layout = Layout(
        rows=found.unsigned(_ROWS) or 0,
        columns=found.unsigned(_COLUMNS) or 0,
        samples=found.unsigned(_SAMPLES) or 1,
        frames=int(text(_FRAMES)) if text(_FRAMES).isdigit() else 1,
        bits_allocated=found.unsigned(_BITS_ALLOCATED) or 8,
        bits_stored=found.unsigned(_BITS_STORED) or found.unsigned(_BITS_ALLOCATED) or 8,
        signed=found.unsigned(_PIXEL_REPRESENTATION) == 1,
        photometric=text(_PHOTOMETRIC) or "MONOCHROME2",
        planar=found.unsigned(_PLANAR) == 1,
    )
    layout.check()
    return layout


def _frames(
    file: BinaryIO, offset: int, items: Sequence[Fragment], count: int, found: scan.Scan
) -> list[list[Fragment]]:
    """The fragments of each frame (PS3.5 §A.4: Basic and Extended Offset Table; and what is done without them)."""
    if not items or len(items) < 2:
        raise Unreadable("The encapsulated pixel data has no fragment.")
    table, *fragments = items
    if count == 1:
        return [list(fragments)]
    if count == len(fragments):
        return [[fragment] for fragment in fragments]
    starts = _starts(file, offset, table, fragments, count, found)
    if starts is None or len(starts) != count or starts[0] != 0:
        raise Unreadable("The fragments of the encapsulated pixel data cannot be told apart into frames.")
    return [list(fragments[low:high]) for low, high in zip(starts, [*starts[1:], len(fragments)], strict=True)]


def _starts(
    file: BinaryIO, offset: int, table: Fragment, fragments: Sequence[Fragment], count: int, found: scan.Scan
) -> list[int] | None:
    """The index of each frame's first fragment, by an offset table or by how the fragments begin."""
    first = fragments[0][0] - 8
    index_of = {position - 8 - first: index for index, (position, _) in enumerate(fragments)}
    for raw, width in ((found.values.get(_EXTENDED_OFFSETS, b""), "<u8"), (_read(file, offset, [table]), "<u4")):
        if len(raw) == count * np.dtype(width).itemsize:
            listed: list[Any] = np.frombuffer(raw, width).tolist()
            if all(one in index_of for one in listed):
                return [index_of[one] for one in listed]
    begin = []
    for index, (position, length) in enumerate(fragments):
        if codestream.starts(_read(file, offset, [(position, min(length, 16))])):
            begin.append(index)
    return begin


def _read(file: BinaryIO, offset: int, fragments: Sequence[Fragment]) -> bytes:
    parts = []
    for position, length in fragments:
        file.seek(offset + position)
        parts.append(file.read(length))
    return b"".join(parts)
