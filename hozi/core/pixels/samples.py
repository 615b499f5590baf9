"""The samples of one frame of a dataset, whatever its transfer syntax, layout and colours (PS3.3 §C.7.6.3, PS3.5 §8).

Runs in a worker process: see `worker`. One frame is in memory at a time.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hozi.core.dicom import syntaxes
from hozi.core.dicom.elements import Encoding, FileSource
from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.errors import Unreadable
from hozi.core.pixels import decode, frames, tree
from hozi.core.pixels.decode import Layout

Array = NDArray[Any]

_FLOATS: Final = {0x7FE00008: ("f4", 32), 0x7FE00009: ("f8", 64)}
_COUNT: Final = re.compile(r"\+?[0-9]{1,9}")
_SUBSAMPLED: Final = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})
_SHUTTER_SHAPE: Final = 0x00181600
_MOST_PIXELS: Final = 1 << 29


class NoFrame(Unreadable):
    """The object has no frame of that number."""


class Samples(NamedTuple):
    """One frame: an array of (rows, columns) or (rows, columns, 3), and what its numbers mean."""

    pixels: Array
    photometric: str


@dataclass(slots=True)
class _Known:
    """What was read of a dataset before, since its functional groups and fragments may be many."""

    head: tree.Head
    fragments: list[list[frames.Fragment]] | None = None


_KNOWN: Final[dict[tuple[str, int, int, int, str], _Known]] = {}
_MOST_KNOWN: Final = 3


class Image:
    """A dataset with pixels. Use it as a context manager. Raises `Unreadable` when it has none that can be shown."""

    def __init__(self, path: Path, offset: int, syntax: TransferSyntax) -> None:
        self._file: BinaryIO = path.open("rb")
        try:
            self._open(path, offset, syntax)
        except BaseException:
            self._file.close()
            raise

    def _open(self, path: Path, offset: int, syntax: TransferSyntax) -> None:
        self._offset = offset
        self._length = path.stat().st_size - offset
        self.syntax = syntax
        status = os.fstat(self._file.fileno())
        key = (str(path), offset, status.st_mtime_ns, status.st_size, syntax.uid)
        self._known = _KNOWN.get(key) or _Known(tree.read(self._file, offset, self._length, syntax))
        self.head = self._known.head
        self.is_float = self.head.pixels in _FLOATS
        if not self.head.pixels:
            raise Unreadable("The object has no pixels.")
        if syntax.video:
            raise Unreadable("The object is a video.")
        self.layout = self._layout()
        if self.layout.frames > 1:  # somebody who looks at one frame looks at the next one
            _KNOWN.pop(key, None)
            _KNOWN[key] = self._known
            while len(_KNOWN) > _MOST_KNOWN:
                del _KNOWN[next(iter(_KNOWN))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _layout(self) -> Layout:
        head = self.head
        count = head.text(frames.FRAMES) or "1"
        allocated = head.number(frames.BITS_ALLOCATED) or 8
        layout = Layout(
            rows=head.number(frames.ROWS) or 0,
            columns=head.number(frames.COLUMNS) or 0,
            samples=head.number(frames.SAMPLES) or 1,
            frames=int(count) if _COUNT.fullmatch(count) else 0,
            bits_allocated=_FLOATS[head.pixels][1] if self.is_float else allocated,
            bits_stored=head.number(frames.BITS_STORED) or allocated,
            signed=head.number(frames.PIXEL_REPRESENTATION) == 1,
            photometric=head.text(frames.PHOTOMETRIC) or "MONOCHROME2",
            planar=head.number(frames.PLANAR) == 1,
        )
        if not self.is_float and allocated != 12:
            layout.check()
        elif layout.samples != 1 or not (layout.rows > 0 and layout.columns > 0 and layout.frames > 0):
            raise Unreadable("The dataset does not say how many rows, columns and frames it has.")
        if not 0 < layout.bits_stored <= layout.bits_allocated and not self.is_float:
            raise Unreadable("The dataset says that more bits are stored than there is room for.")
        if layout.rows * layout.columns * layout.samples > _MOST_PIXELS:
            raise Unreadable("A frame has more pixels than can be shown.")
        return layout

    @property
    def count(self) -> int:
        """How many frames there are."""
        return self.layout.frames

    @property
    def has_overlays(self) -> bool:
        """Whether anything lies over the pixels in overlay planes."""
        return any(tag >> 24 == 0x60 for tag in self.head.values)

    @property
    def has_shutter(self) -> bool:
        """Whether the dataset covers a part of its pixels."""
        return _SHUTTER_SHAPE in self.head.values

    def stream(self, index: int) -> bytes:
        """The compressed bytes of a frame, counted from 0. Raises `Unreadable` when the pixels are native."""
        self._check(index)
        if self._known.fragments is None:
            self._known.fragments = self._found()
        return frames.read(self._file, self._offset, self._known.fragments[index])

    def frame(self, index: int) -> Samples:
        """The samples of a frame, counted from 0; of integers all bits that were stored and no others."""
        self._check(index)
        layout = self.layout
        if self.head.encapsulated:
            stream = self.stream(index)
            pixels = decode.decode(self.syntax.uid, stream, layout)
            photometric = decode.photometric(self.syntax.uid, stream, layout)
        else:
            pixels, photometric = self._native(index), layout.photometric
            if photometric in _SUBSAMPLED:
                photometric = photometric.removesuffix("_422") + ("" if "PARTIAL" not in photometric else "_422")
        return Samples(pixels, photometric)

    def _check(self, index: int) -> None:
        if not 0 <= index < self.layout.frames:
            raise NoFrame(f"The object has {self.layout.frames} frames, and not the one that was asked for.")

    def _found(self) -> list[list[frames.Fragment]]:
        head = self.head
        if not head.encapsulated:
            raise Unreadable("The pixels are not compressed.")
        self._file.seek(self._offset + head.at)
        source = FileSource(self._file, self._length - head.at)
        encoding = Encoding(explicit=True, little_endian=head.order == "<")
        # Positions count from where the value begins.
        fragments = [(head.at + at, size) for at, size in frames.fragments_of(source, encoding)]
        found = frames.Found(order=head.order, values=head.values, fragments=fragments)
        if not any(size for _, size in fragments[1:]):
            raise Unreadable("The object has no pixels.")
        return frames.frames_of(self._file, self._offset, found, self.layout.frames)

    def _bytes(self, start: int, end: int) -> bytes:
        """Bytes of the native pixel data. Raises `Unreadable` when there are fewer."""
        head = self.head
        if end > head.length:
            raise Unreadable("The pixel data is shorter than the dataset says.")
        if not self.syntax.deflated:
            if head.at + end > self._length:
                raise Unreadable("The pixel data is shorter than the dataset says.")
            self._file.seek(self._offset + head.at + start)
            return self._file.read(end - start)
        source, _ = frames.opened(self._file, self._offset, self._length, self.syntax)
        source.skip(head.at + start - source.position)
        return source.take(end - start)

    def _native(self, index: int) -> Array:
        layout, head = self.layout, self.head
        subsampled = layout.photometric in _SUBSAMPLED and layout.samples == 3
        bits = layout.rows * layout.columns * 16 if subsampled else layout.frame_bits
        first = bits * index
        end = (first + bits + 7) // 8
        swap = head.order == ">" and head.vr != b"OB" and layout.bits_allocated <= 8
        start = first // 8 & ~1 if swap else first // 8
        data = np.frombuffer(self._bytes(start, min(end + (swap and end % 2), max(head.length, end))), np.uint8)
        if swap:
            data = data[: len(data) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
        if layout.bits_allocated == 1:
            flat = np.unpackbits(data, bitorder="little")[first - start * 8 :]
            return flat[: layout.rows * layout.columns].reshape(layout.rows, layout.columns)
        if layout.bits_allocated == 12:
            return _packed(data, first % 8 // 4, layout)
        data = data[first // 8 - start :][: bits // 8]
        if len(data) < bits // 8:
            raise Unreadable("The pixel data is shorter than the dataset says.")
        if subsampled:
            return _spread(data, layout)
        kind = np.dtype(_FLOATS[head.pixels][0]) if self.is_float else layout.container
        samples: Array = data.view(kind.newbyteorder(">" if head.order == ">" else "<"))
        if layout.samples == 1:
            return samples.reshape(layout.rows, layout.columns)
        if layout.planar:
            return samples.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
        return samples.reshape(layout.rows, layout.columns, layout.samples)


def opened(path: Path, offset: int, syntax: str) -> Image:
    """The image in the dataset that begins at ``offset`` of a file."""
    return Image(path, offset, syntaxes.for_unknown(syntax))


def stored(pixels: Array, layout: Layout) -> Array:
    """Pixels without what stands above their stored bits (overlays may), the sign in every bit."""
    unused = layout.bits_allocated - layout.bits_stored
    if unused <= 0 or layout.bits_allocated in (1, 12) or pixels.dtype.kind == "f":
        return pixels
    return (pixels.astype(layout.container, copy=False) << unused) >> unused


def rgb(samples: Samples, layout: Layout) -> NDArray[np.uint8]:
    """Red, green and blue from 0 to 255 of a colour frame (PS3.3 §C.7.6.3.1.2)."""
    values = samples.pixels
    if layout.bits_stored > 8:
        values = np.asarray(values >> (layout.bits_stored - 8), np.uint8)
    values = values.astype(np.uint8, copy=False)
    if not samples.photometric.startswith("YBR"):
        return values
    numbers = values.astype(np.float32)
    luminance, blue, red = numbers[..., 0], numbers[..., 1] - 128, numbers[..., 2] - 128
    if "PARTIAL" in samples.photometric:  # ITU-R BT.601 with head and foot room
        luminance, blue, red = (luminance - 16) * (255 / 219), blue * (255 / 224), red * (255 / 224)
    green = luminance - np.float32(0.344136) * blue - np.float32(0.714136) * red
    mixed = np.stack((luminance + np.float32(1.402) * red, green, luminance + np.float32(1.772) * blue), axis=-1)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def _spread(data: Array, layout: Layout) -> Array:
    """Two luminances, then the two chrominances that they share (PS3.3 §C.7.6.3.1.2, YBR_FULL_422)."""
    if layout.columns % 2 or layout.bits_allocated != 8:
        raise Unreadable("The sub-sampled colours do not fit the dataset.")
    groups = data.reshape(layout.rows, layout.columns // 2, 4)
    frame = np.empty((layout.rows, layout.columns, 3), np.uint8)
    frame[:, 0::2, 0], frame[:, 1::2, 0] = groups[..., 0], groups[..., 1]
    for channel in (1, 2):
        frame[:, 0::2, channel] = frame[:, 1::2, channel] = groups[..., channel + 1]
    return frame


def _packed(data: Array, half: int, layout: Layout) -> Array:
    """Samples of twelve bits without room between them, two in three bytes (retired; PS3.5 §D)."""
    count = layout.rows * layout.columns
    nibbles = np.empty(len(data) * 2, np.uint16)
    nibbles[0::2], nibbles[1::2] = data & 15, data >> 4
    nibbles = nibbles[half : half + 3 * count]
    if len(nibbles) < 3 * count:
        raise Unreadable("The pixel data is shorter than the dataset says.")
    numbers = (nibbles[0::3] | nibbles[1::3] << 4 | nibbles[2::3] << 8).reshape(layout.rows, layout.columns)
    return (numbers << 4).view(np.int16) >> 4 if layout.signed else numbers
