"""Decodes one compressed frame into an array.

The decoders are C libraries that crash and hang on hostile bytes. Call this only in a process that may be killed:
`hozi.core.pixels.worker` is one. Which library does what was chosen by trying each with damaged streams:

* JPEG, DCT and lossless, 8 to 16 bits: libjpeg-turbo. It paints a stream that is cut short grey without an error, so
  `codestream.jpeg` looks for the end first.
* JPEG-LS: CharLS. JPEG 2000 and HTJ2K: OpenJPEG, in its strict mode. OpenJPH is twice as fast, but hangs on some
  damaged streams, gives back half a picture for others without an error, and wraps bright pixels to black.
* RLE: the segments are cut here; imagecodecs' own decoder reads where a segment's offset points to, unchecked.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from hozi.core.errors import Unreadable
from hozi.core.pixels import codestream
from hozi.core.pixels.codestream import Codestream

Frame = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a dataset says that its pixel data is laid out (PS3.3 §C.7.6.3)."""

    rows: int
    columns: int
    samples: int = 1
    frames: int = 1
    bits_allocated: int = 8
    bits_stored: int = 8
    signed: bool = False
    photometric: str = "MONOCHROME2"
    planar: bool = False

    @property
    def container(self) -> np.dtype[Any]:
        """The number type of a sample of one byte or more, in the machine's byte order."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def frame_bits(self) -> int:
        """What one frame takes natively, frames of single bits not padded (PS3.5 §8.1.1)."""
        return self.rows * self.columns * self.samples * self.bits_allocated

    @property
    def native_bytes(self) -> int:
        """What all frames together take natively, before padding to an even length."""
        return (self.frame_bits * self.frames + 7) // 8

    def check(self) -> None:
        """Raises `Unreadable` when no pixels can be laid out like this."""
        if not (0 < self.rows <= 0xFFFF and 0 < self.columns <= 0xFFFF and self.frames > 0):
            raise Unreadable("The dataset does not say how many rows, columns and frames it has.")
        if self.samples not in (1, 3) or self.bits_allocated not in (1, 8, 16, 32):
            raise Unreadable(f"{self.samples} samples of {self.bits_allocated} bits per pixel cannot be decoded.")
        if self.bits_allocated == 1 and self.samples != 1:
            raise Unreadable("Colour in single bits cannot be decoded.")


def can_decode(transfer_syntax: str) -> bool:
    """Whether there is a decoder for the frames of this encapsulated transfer syntax."""
    return transfer_syntax in _DECODERS


def decode(transfer_syntax: str, stream: bytes, layout: Layout) -> Frame:
    """The pixels of one compressed frame.

    Returns an array of shape (rows, columns) or (rows, columns, samples) in ``layout.container`` (uint8 of 0 and 1
    for single bits). Signed samples have their sign in every bit. Colours are what `photometric` says.

    Raises `Unreadable` when the stream is damaged, cut short, or does not fit ``layout``; the text names no content.
    """
    decoder = _DECODERS.get(transfer_syntax)
    if decoder is None:
        raise Unreadable("There is no decoder for this transfer syntax.")
    layout.check()
    try:
        frame = decoder(stream, layout)
    except (RuntimeError, ValueError, TypeError, IndexError, OverflowError, zlib.error, struct.error) as error:
        raise Unreadable(f"A frame cannot be decoded ({type(error).__name__}).") from None
    shape = (layout.rows, layout.columns, layout.samples)[: 2 if layout.samples == 1 else 3]
    if layout.samples == 1 and frame.ndim == 3 and frame.shape[2] == 1:
        frame = frame[:, :, 0]
    if frame.shape != shape:
        raise Unreadable("A frame's size differs from what the dataset says.")
    return frame


def photometric(transfer_syntax: str, stream: bytes, layout: Layout) -> str:
    """The Photometric Interpretation of what `decode` gives back for this frame (PS3.3 §C.7.6.3.1.2).

    Colour that was compressed with loss as luminance and chrominance (JPEG, JPEG 2000, JPEG XL) comes out as RGB.
    Without loss nothing is converted, since that would change values: YBR_FULL stays what it is, and YBR_FULL_422
    becomes YBR_FULL, since no sample is left out any more.
    """
    if layout.samples == 1:
        return layout.photometric
    if layout.photometric in ("YBR_RCT", "YBR_ICT", "XYB") or transfer_syntax == _JPEG_XL_RECOMPRESSED:
        return "RGB"
    if transfer_syntax in _JPEG and _is_dct(stream):
        return "RGB"
    return "YBR_FULL" if layout.photometric == "YBR_FULL_422" else layout.photometric


def lossy(transfer_syntax: str, stream: bytes) -> bool | None:
    """Whether compression changed this frame's pixels: yes, no, or (None) not to be seen from the stream."""
    if transfer_syntax in _JPEG or transfer_syntax in _JPEG_LS:
        return codestream.jpeg(stream).lossy
    if transfer_syntax in _JPEG_2000:
        found = codestream.jpeg2000(codestream.unwrapped(stream)).lossy
        return False if found is None and transfer_syntax in _LOSSLESS_JPEG_2000 else found
    return {_JPEG_XL_RECOMPRESSED: True, _JPEG_XL: None}.get(transfer_syntax, False)


def _jpeg(stream: bytes, layout: Layout) -> Frame:
    header = _fitting(codestream.jpeg(stream), layout)
    if layout.samples == 1:
        return _fitted(imagecodecs.jpeg8_decode(stream), header, layout)
    ycc = header.lossy and not (header.rgb if header.rgb is not None else layout.photometric == "RGB")
    frame = imagecodecs.jpeg8_decode(stream, colorspace="YCBCR" if ycc else "RGB", outcolorspace="RGB")
    return _fitted(frame, header, layout)


def _jpeg_ls(stream: bytes, layout: Layout) -> Frame:
    header = _fitting(codestream.jpeg(stream), layout)
    return _fitted(imagecodecs.jpegls_decode(stream), header, layout)


def _jpeg_2000(stream: bytes, layout: Layout) -> Frame:
    stream = codestream.unwrapped(stream)
    header = _fitting(codestream.jpeg2000(stream), layout)
    return _fitted(imagecodecs.jpeg2k_decode(stream, numthreads=1), header, layout)


def _jpeg_xl(stream: bytes, layout: Layout) -> Frame:
    frame = imagecodecs.jpegxl_decode(stream, numthreads=1)
    if frame.ndim not in (2, 3):
        raise Unreadable("A frame's size differs from what the dataset says.")
    signed, bits = frame.dtype.kind == "i", frame.dtype.itemsize * 8
    # The array's number type is the next wider one; how many bits were coded does not come with it.
    precision = layout.bits_stored if bits == layout.bits_allocated and not signed else bits
    samples = frame.shape[2] if frame.ndim == 3 else 1
    header = Codestream(frame.shape[0], frame.shape[1], samples, precision, signed)
    return _fitted(frame, _fitting(header, layout), layout)


def _rle(stream: bytes, layout: Layout) -> Frame:
    """Byte planes, most significant first, sample by sample (PS3.5 §G.2)."""
    width = max(layout.bits_allocated // 8, 1)
    planes = layout.samples * width
    count, *offsets = struct.unpack_from("<16I", stream)
    ends = [*offsets[1:planes], len(stream)]
    if count != planes or any(not 64 <= low <= high for low, high in zip(offsets, ends, strict=False)):
        raise Unreadable("A frame's RLE header does not fit the dataset.")
    size = (layout.rows * layout.columns * min(layout.bits_allocated, 8) + 7) // 8
    pixels = np.empty((planes, size), np.uint8)
    for plane, (low, high) in enumerate(zip(offsets, ends, strict=False)):
        segment = imagecodecs.packbits_decode(stream[low:high])
        if len(segment) < size:
            raise Unreadable("A frame's RLE segment is cut short.")
        pixels[plane] = np.frombuffer(segment, np.uint8, size)
    if layout.bits_allocated == 1:
        return _unpacked(pixels[0], layout)
    shape = (layout.samples, width, layout.rows, layout.columns)
    words = np.ascontiguousarray(pixels.reshape(shape).transpose(2, 3, 0, 1))
    return words.view(layout.container.newbyteorder(">"))[..., 0].astype(layout.container)


def _deflated(stream: bytes, layout: Layout) -> Frame:
    """A native frame, deflated (PS3.5 §A.4.13)."""
    size = (layout.frame_bits + 7) // 8
    return _native(zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream, size), layout)


def _native(frame: bytes, layout: Layout) -> Frame:
    """A native frame, little endian (PS3.5 §A.4.11)."""
    size = (layout.frame_bits + 7) // 8
    if layout.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        raise Unreadable("Encapsulated uncompressed frames with sub-sampled colour cannot be decoded.")
    if len(frame) < size:
        raise Unreadable("A frame is cut short.")
    if layout.bits_allocated == 1:
        return _unpacked(np.frombuffer(frame, np.uint8, size), layout)
    count = layout.rows * layout.columns * layout.samples
    samples = np.frombuffer(frame, layout.container.newbyteorder("<"), count).astype(layout.container)
    if layout.samples == 1:
        return samples.reshape(layout.rows, layout.columns)
    if layout.planar:
        return samples.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    return samples.reshape(layout.rows, layout.columns, layout.samples)


def _unpacked(packed: NDArray[np.uint8], layout: Layout) -> Frame:
    """Single bits, the first pixel in the least significant one (PS3.5 §8.1.1), as a byte each."""
    bits = np.unpackbits(packed, count=layout.rows * layout.columns, bitorder="little")
    return bits.reshape(layout.rows, layout.columns)


def _fitting(header: Codestream, layout: Layout) -> Codestream:
    """``header``, if it fits the dataset. Raises `Unreadable` before a decoder has allocated anything."""
    if (header.rows, header.columns, header.samples) != (layout.rows, layout.columns, layout.samples):
        raise Unreadable("A frame's size differs from what the dataset says.")
    if header.precision > layout.bits_allocated and not (layout.bits_allocated == 1 and header.precision <= 8):
        raise Unreadable("A frame has more bits per sample than the dataset has room for.")
    return header


def _fitted(frame: Frame, header: Codestream, layout: Layout) -> Frame:
    """``frame`` in the dataset's number type, its sign put right.

    JPEG and JPEG-LS know no sign, and some JPEG 2000 encoders name the wrong one: the bits of a negative sample then
    are two's complement in the stream's precision.
    """
    if layout.bits_allocated == 1:
        if frame.size and frame.max() > 1:
            raise Unreadable("A frame has more bits per sample than the dataset has room for.")
        return frame.astype(np.uint8)
    if frame.dtype.kind not in "iu":
        raise Unreadable("A frame does not hold whole numbers.")
    if header.signed == layout.signed:
        return frame.astype(layout.container)
    unused = layout.bits_allocated - header.precision
    raw = frame.astype(np.dtype(f"u{layout.bits_allocated // 8}")) << unused
    return (raw.view(layout.container) >> unused).astype(layout.container)


def _is_dct(stream: bytes) -> bool:
    return codestream.jpeg(stream).lossy is True


_UID: Final = "1.2.840.10008.1.2."
_JPEG: Final = frozenset(f"{_UID}4.{process}" for process in (50, 51, 53, 55, 57, 70))
_JPEG_LS: Final = frozenset({f"{_UID}4.80", f"{_UID}4.81"})
_LOSSLESS_JPEG_2000: Final = frozenset({f"{_UID}4.90", f"{_UID}4.201", f"{_UID}4.202"})
_JPEG_2000: Final = _LOSSLESS_JPEG_2000 | {f"{_UID}4.91", f"{_UID}4.203"}
_JPEG_XL_LOSSLESS: Final = f"{_UID}4.110"
_JPEG_XL_RECOMPRESSED: Final = f"{_UID}4.111"
_JPEG_XL: Final = f"{_UID}4.112"

_DECODERS: Final[dict[str, Callable[[bytes, Layout], Frame]]] = {
    **dict.fromkeys(_JPEG, _jpeg),
    **dict.fromkeys(_JPEG_LS, _jpeg_ls),
    **dict.fromkeys(_JPEG_2000, _jpeg_2000),
    **dict.fromkeys((_JPEG_XL_LOSSLESS, _JPEG_XL_RECOMPRESSED, _JPEG_XL), _jpeg_xl),
    f"{_UID}5": _rle,
    f"{_UID}8.1": _deflated,
    f"{_UID}1.98": _native,
}
