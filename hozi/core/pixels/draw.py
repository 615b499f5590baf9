"""Draws one small picture of an object: what people recognise a series by, of a few kilobytes.

Runs in a worker process: see `worker`. One frame is in memory: the middle one. What a reading workstation does to
grey values (modality transformation, window, inversion: PS3.4 §N.2) is done with the first choice that the object
offers; where it offers none, or one that shows nothing, the values themselves choose.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from hozi.core.dicom import scan
from hozi.core.dicom.keys import tag_of
from hozi.core.dicom.limits import Limits
from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.errors import Unreadable
from hozi.core.pixels import decode, frames
from hozi.core.pixels.decode import Layout

Array = NDArray[Any]

MOST_BYTES: Final = 7_000
"""A picture has at most so many bytes; it loses quality until it does."""
_QUALITIES: Final = (70, 55, 40, 20, 8)
_STEP_PIXELS: Final = 4
"""A first, cheap reduction leaves so many times the pixels that are wanted, a side."""

_WINDOW_CENTER: Final = tag_of("WindowCenter")
_WINDOW_WIDTH: Final = tag_of("WindowWidth")
_WINDOW_FUNCTION: Final = tag_of("VOILUTFunction")
_SLOPE: Final = tag_of("RescaleSlope")
_INTERCEPT: Final = tag_of("RescaleIntercept")
_PADDING: Final = tag_of("PixelPaddingValue")
_SHAPE: Final = tag_of("PresentationLUTShape")
_ASPECT: Final = tag_of("PixelAspectRatio")
_SPACINGS: Final = (tag_of("PixelSpacing"), tag_of("ImagerPixelSpacing"))
_MODALITY_LUT: Final = tag_of("ModalityLUTSequence")
_VOI_LUT: Final = tag_of("VOILUTSequence")
_LUT_DESCRIPTOR: Final = tag_of("LUTDescriptor")
_LUT_DATA: Final = tag_of("LUTData")
_COLOURS: Final = ("Red", "Green", "Blue")
_PALETTES: Final = tuple(
    (tag_of(f"{colour}PaletteColorLookupTableDescriptor"), tag_of(f"{colour}PaletteColorLookupTableData"))
    for colour in _COLOURS
)
_WANTED: Final = frozenset(
    {
        *(_WINDOW_CENTER, _WINDOW_WIDTH, _WINDOW_FUNCTION, _SLOPE, _INTERCEPT, _PADDING, _SHAPE, _ASPECT, *_SPACINGS),
        *(tag for pair in _PALETTES for tag in pair),
    }
)
_SEQUENCES: Final = dict.fromkeys((_MODALITY_LUT, _VOI_LUT), frozenset({_LUT_DESCRIPTOR, _LUT_DATA}))
_LIMITS: Final = Limits(value_bytes=256 << 10)
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def draw(path: Path, offset: int, syntax: TransferSyntax, size: int) -> bytes:
    """A JPEG of the middle frame of the dataset that begins at ``offset``, at most ``size`` pixels wide and high.

    Raises `Unreadable` when there is no picture in it, or none that can be decoded.
    """
    length = path.stat().st_size - offset
    with path.open("rb") as file:
        found = frames.look(file, offset, length, syntax)
        if not found.has_pixel_data:
            raise Unreadable("The object has no pixels.")
        layout = frames.layout_of(found)
        about = _About(_scanned(file, offset, found, syntax), layout)
        if found.encapsulated:
            pixels, photometric = _decoded(file, offset, found, syntax, layout)
        else:
            pixels, photometric = _native(file, offset, length, found, syntax, layout), layout.photometric
    height, width = about.size(size)
    if pixels.ndim == 3:
        picture = _coloured(pixels, photometric, layout, height, width)
    elif photometric == "PALETTE COLOR":
        picture = _reduced(about.painted(pixels), height, width)
    else:
        picture = about.windowed(pixels, photometric, height, width)
    return _jpeg(np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def _jpeg(picture: Array) -> bytes:
    best = b""
    for quality in _QUALITIES:
        best = bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(picture), level=quality))
        if len(best) <= MOST_BYTES:
            break
    return best


def _scanned(file: BinaryIO, offset: int, found: frames.Found, syntax: TransferSyntax) -> scan.Scan:
    """What stands before the pixels: to map all of a long loop would take more memory than a worker may have."""
    end = 0 if syntax.deflated else offset + found.begins_at
    mapped = mmap.mmap(file.fileno(), end, access=mmap.ACCESS_READ)
    with mapped, memoryview(mapped) as view, view[offset:] as dataset:
        return scan.scan(dataset, syntax, _LIMITS, _WANTED, _SEQUENCES)


# Where the pixels come from -----------------------------------------------------------------------------


def _decoded(
    file: BinaryIO, offset: int, found: frames.Found, syntax: TransferSyntax, layout: Layout
) -> tuple[Array, str]:
    """The middle frame of encapsulated pixel data, and what its colours are."""
    stream = frames.read(file, offset, frames.frames_of(file, offset, found, layout.frames)[layout.frames // 2])
    return decode.decode(syntax.uid, stream, layout), decode.photometric(syntax.uid, stream, layout)


def _native(
    file: BinaryIO, offset: int, length: int, found: frames.Found, syntax: TransferSyntax, layout: Layout
) -> Array:
    """The middle frame of native pixel data."""
    subsampled = layout.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422") and layout.samples == 3
    bits = layout.rows * layout.columns * 16 if subsampled else layout.frame_bits
    first = bits * (layout.frames // 2)
    if (first + bits + 7) // 8 > found.native_bytes:
        raise Unreadable("The pixel data is shorter than the dataset says.")
    source, _ = frames.opened(file, offset, length, syntax)
    source.skip(found.native_at - source.position)
    swap = found.order == ">" and found.in_words and layout.bits_allocated <= 8
    start = first // 8 & ~1 if swap else first // 8
    end = (first + bits + 7) // 8
    source.skip(start)
    raw = source.take(min(end + (swap and end % 2), found.native_bytes) - start)
    data = np.frombuffer(raw, np.uint8)
    if swap:
        data = data[: len(data) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
    if layout.bits_allocated == 1:
        flat = np.unpackbits(data, bitorder="little")[first - start * 8 :]
        return flat[: layout.rows * layout.columns].reshape(layout.rows, layout.columns)
    data = data[first // 8 - start :]
    if subsampled:
        return _spread(data[: bits // 8], layout)
    samples = np.frombuffer(
        data[: bits // 8].tobytes(), layout.container.newbyteorder(">" if found.order == ">" else "<")
    )
    if layout.samples == 1:
        return samples.reshape(layout.rows, layout.columns)
    if layout.planar:
        return samples.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    return samples.reshape(layout.rows, layout.columns, layout.samples)


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


# What is made of them -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Lut:
    """A lookup table: the value that its first entry is for, its entries, and how many bits they have."""

    first: int
    entries: Array
    bits: int

    def of(self, values: Array) -> Array:
        """The entries for these values; beyond the table, its first and last one count."""
        places = np.clip(np.rint(values).astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[places]


class _About:
    """What the dataset says about how its pixels are to be shown."""

    def __init__(self, told: scan.Scan, layout: Layout) -> None:
        self._told = told
        self._layout = layout

    def size(self, most: int) -> tuple[int, int]:
        """Height and width of the picture: in the proportions of the body, never more pixels than there are."""
        tall = self._aspect()
        rows, columns = self._layout.rows * max(tall, 1.0), self._layout.columns * max(1 / tall, 1.0)
        scale = min(1.0, most / max(rows, columns))
        return max(round(rows * scale), 1), max(round(columns * scale), 1)

    def _aspect(self) -> float:
        """How much taller than wide a pixel is (vertical by horizontal: PS3.3 §C.7.6.3.1.7)."""
        for tag in (_ASPECT, *_SPACINGS):
            pair = self._numbers(tag)
            if len(pair) >= 2 and min(pair[:2]) > 0 and 0.1 <= pair[0] / pair[1] <= 10:
                return pair[0] / pair[1]
        return 1.0

    def windowed(self, pixels: Array, photometric: str, height: int, width: int) -> Array:
        """Grey values from 0 to 255, as the object wants to be shown."""
        small, seen = self._small(pixels, height, width)
        values, lut = self._rescaled(small), self._lut(_VOI_LUT)
        window = self._window()
        shown: Array | None = None
        if window is not None:
            shown = _through_window(values, *window)
        elif lut is not None:
            shown = lut.of(values) * (255.0 / ((1 << lut.bits) - 1))
        if shown is None or np.ptp(shown[seen] if seen.any() else shown) < 8:
            shown = _stretched(values, seen)
        shape = self._text(_SHAPE)
        inverse = shape == "INVERSE" or (photometric == "MONOCHROME1" and shape != "IDENTITY")
        return 255.0 - shown if inverse else shown

    def _small(self, pixels: Array, height: int, width: int) -> tuple[Array, NDArray[np.bool_]]:
        """The picture's values, and which of them are not padding."""
        layout = self._layout
        if layout.bits_stored < layout.bits_allocated:  # what stands above may be overlays
            unused = layout.bits_allocated - layout.bits_stored
            pixels = (pixels.astype(layout.container) << unused) >> unused
        padding = self._integer(_PADDING)
        mask = np.ones(pixels.shape, bool) if padding is None else pixels != padding
        seen = _reduced(mask.astype(np.float32), height, width) > 0.5
        return _reduced(pixels, height, width), seen

    def _rescaled(self, values: Array) -> Array:
        lut = self._lut(_MODALITY_LUT)
        if lut is not None:
            return lut.of(values)
        slope, intercept = (self._numbers(tag)[:1] for tag in (_SLOPE, _INTERCEPT))
        return values * (slope[0] if slope and slope[0] else 1.0) + (intercept[0] if intercept else 0.0)

    def _window(self) -> tuple[float, float, str] | None:
        center, width = self._numbers(_WINDOW_CENTER), self._numbers(_WINDOW_WIDTH)
        if not center or not width or width[0] <= 0:
            return None
        return center[0], width[0], self._text(_WINDOW_FUNCTION)

    def painted(self, pixels: Array) -> Array:
        """Colours by palette."""
        tables = []
        for descriptor, data in _PALETTES:
            lut = self._table(self._told.values.get(descriptor, b""), self._told.values.get(data, b""))
            if lut is None:
                raise Unreadable("The object's palette cannot be read.")
            wide = lut.bits > 8 and lut.entries.max(initial=0) > 255
            tables.append((lut.of(pixels) / (257.0 if wide else 1.0)).astype(np.float32))
        return np.stack(tables, axis=-1)

    def _lut(self, sequence: int) -> _Lut | None:
        items = self._told.sequences.get(sequence)
        return self._table(items[0].get(_LUT_DESCRIPTOR, b""), items[0].get(_LUT_DATA, b"")) if items else None

    def _table(self, descriptor: bytes, data: bytes) -> _Lut | None:
        """A lookup table (PS3.3 §C.11.1.1): number of entries, first value, bits of an entry."""
        order = "<" if self._told.little_endian else ">"
        if len(descriptor) != 6 or not data:
            return None
        count, first, bits = (int(number) for number in np.frombuffer(descriptor, f"{order}u2"))
        if self._layout.signed and first > 0x7FFF:
            first -= 0x10000
        count = count or 0x10000
        narrow = bits <= 8 and len(data) < 2 * count
        entries = np.frombuffer(data if narrow else data[: len(data) // 2 * 2], "u1" if narrow else f"{order}u2")
        if len(entries) < count or not 1 <= bits <= 16:
            return None
        return _Lut(first, entries[:count].astype(np.float64), bits)

    def _text(self, tag: int) -> str:
        return self._told.values.get(tag, b"").decode("latin_1").strip(" \0")

    def _numbers(self, tag: int) -> list[float]:
        parts = [part.strip() for part in self._text(tag).split("\\")]
        numbers = [float(part) for part in parts if _NUMBER.fullmatch(part)]
        return numbers if len(numbers) == len(parts) and all(map(np.isfinite, numbers)) else []

    def _integer(self, tag: int) -> int | None:
        number = self._told.unsigned(tag)
        if number is not None and self._layout.signed and number > 0x7FFF and len(self._told.values[tag]) == 2:
            number -= 0x10000
        return number


def _through_window(values: Array, center: float, width: float, function: str) -> Array:
    """Values from 0 to 255 through a window (PS3.3 §C.11.2.1.2 and 1.3)."""
    if function == "SIGMOID":
        return np.asarray(255.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -50, 50))))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1) * 255.0
    return np.asarray(np.clip((values - (center - 0.5)) / max(width - 1, 1e-6) + 0.5, 0, 1) * 255.0)


def _stretched(values: Array, seen: NDArray[np.bool_]) -> Array:
    """Values from 0 to 255: nearly all of those that are no padding have room between black and white."""
    low, high = np.percentile(values[seen] if seen.any() else values, (0.5, 99.5))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return np.asarray(np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255.0)


def _coloured(pixels: Array, photometric: str, layout: Layout, height: int, width: int) -> Array:
    """Red, green and blue from 0 to 255."""
    values = _reduced(pixels, height, width)
    if layout.bits_stored > 8:
        values = values * (255.0 / ((1 << layout.bits_stored) - 1))
    if not photometric.startswith("YBR"):
        return values
    luminance, blue, red = values[..., 0], values[..., 1] - 128.0, values[..., 2] - 128.0
    green = luminance - 0.344136 * blue - 0.714136 * red
    return np.stack((luminance + 1.402 * red, green, luminance + 1.772 * blue), axis=-1)


def _reduced(frame: Array, height: int, width: int) -> Array:
    """The frame in ``height`` by ``width`` pixels, each the mean of what it covers."""
    steps = [
        max(full // (_STEP_PIXELS * wanted), 1) for full, wanted in zip(frame.shape, (height, width), strict=False)
    ]
    if max(steps) > 1:
        down, across = steps
        rows, columns = frame.shape[0] // down * down, frame.shape[1] // across * across
        blocks = frame[:rows, :columns].reshape(rows // down, down, columns // across, across, *frame.shape[2:])
        frame = blocks.mean(axis=(1, 3), dtype=np.float32)
    down_to, across_to = _weights(frame.shape[0], height), _weights(frame.shape[1], width)
    values = frame.astype(np.float64)
    if values.ndim == 2:
        return np.asarray(down_to @ values @ across_to.T)
    return np.stack([down_to @ values[..., channel] @ across_to.T for channel in range(values.shape[2])], axis=-1)


def _weights(full: int, wanted: int) -> Array:
    """How much each of ``full`` pixels counts for each of ``wanted``; the rows add up to one."""
    edges = np.arange(wanted + 1) * (full / wanted)
    places = np.arange(full)
    covered = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    covered = np.clip(covered, 0, None)
    return np.asarray(covered / covered.sum(axis=1, keepdims=True))
