"""What the header of a compressed frame says, read without decoding it.

Two things depend on it: a frame that does not fit its dataset is refused before a decoder allocates anything, and
what the dataset leaves open (colour space, sign, lossy or not) is taken from the stream.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from hozi.core.errors import Unreadable

_SOI: Final = b"\xff\xd8"
_EOI: Final = b"\xff\xd9"
_SOC: Final = b"\xff\x4f\xff\x51"
_JP2: Final = b"\x00\x00\x00\x0cjP  "
_LOSSLESS_SOF: Final = frozenset({0xC3, 0xF7})
_HUFFMAN_SOF: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xF7})
_SOF: Final = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_RGB_IDS: Final = frozenset({b"RGB", b"rgb"})


@dataclass(frozen=True, slots=True)
class Codestream:
    """A frame's own statement about itself.

    ``lossy``: pixels were changed by the compression (True), were not (False), or that cannot be seen (None).
    ``rgb``: the samples are red, green and blue (True), luminance and chrominance (False), or it does not say (None).
    """

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool = False
    lossy: bool | None = None
    rgb: bool | None = None


def starts(data: bytes) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 stream begins with these first bytes of a fragment."""
    return data.startswith((_SOI + b"\xff", _SOC, _JP2))


def jpeg(stream: bytes) -> Codestream:
    """Reads the markers of a JPEG or JPEG-LS stream up to its first scan (ITU-T T.81 §B.2, T.87 §C.2).

    Raises `Unreadable` when it is none, when it is of a kind that no decoder here takes (hierarchical, arithmetic
    coding), and when it has no end: a decoder would make up the rest of the picture without a word.
    """
    if not stream.startswith(_SOI):
        raise Unreadable("A frame does not begin as a JPEG stream.")
    frame: tuple[int, int, int, int, bytes] | None = None
    rgb: bool | None = None
    position = 2
    while True:
        marker, segment, position = _segment(stream, position)
        if marker in _SOF:
            frame = _sof(marker, segment)
        elif marker == 0xE0 and segment.startswith(b"JFIF"):
            rgb = False if rgb is None else rgb
        elif marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
            rgb = segment[11] == 0
        elif marker == 0xDA:
            break
    if frame is None:
        raise Unreadable("A frame's JPEG stream has no frame header.")
    if stream.find(_EOI, position) < 0:
        raise Unreadable("A frame's JPEG stream is cut short.")
    sof, precision, rows, columns, ids = frame
    near = segment[1 + 2 * segment[0]] if sof == 0xF7 and len(segment) > 1 + 2 * segment[0] else 0
    lossy = near > 0 if sof in _LOSSLESS_SOF else True
    return Codestream(rows, columns, len(ids), precision, lossy=lossy, rgb=True if ids in _RGB_IDS else rgb)


def jpeg2000(stream: bytes) -> Codestream:
    """Reads the main header of a JPEG 2000 or HTJ2K codestream (ITU-T T.800 §A.5.1, §A.6.1; T.814).

    Raises `Unreadable` when it is none, or has components of different sizes or kinds.
    """
    if not stream.startswith(_SOC):
        raise Unreadable("A frame does not begin as a JPEG 2000 codestream.")
    try:
        right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
        (samples,) = struct.unpack_from(">H", stream, 40)
        components = {stream[42 + 3 * index : 45 + 3 * index] for index in range(samples)}
        if len(components) != 1:
            raise Unreadable("A frame's components differ in size or depth.")
        depth, *step = components.pop()
        if step != [1, 1]:
            raise Unreadable("A frame's components are sub-sampled.")
        reversible = _reversible(stream, 42 + 3 * samples)
    except (struct.error, ValueError):
        raise Unreadable("A frame's JPEG 2000 header is cut short.") from None
    return Codestream(
        bottom - top,
        right - left,
        samples,
        (depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        # The reversible transform loses nothing, but an encoder may have left bits out after it.
        lossy=None if reversible else True,
    )


def unwrapped(stream: bytes) -> bytes:
    """The JPEG 2000 codestream in ``stream``, without the JP2 file around it that some encoders leave there.

    PS3.5 §A.4.4 forbids it; what its boxes say about colours contradicts the dataset, which counts.
    """
    if not stream.startswith(_JP2):
        return stream
    begin = stream.find(b"jp2c" + _SOC)
    if begin < 0:
        raise Unreadable("A frame's JP2 file holds no codestream.")
    return stream[begin + 4 :]


def _segment(stream: bytes, position: int) -> tuple[int, bytes, int]:
    """The next marker with parameters: its code, its parameters, and where the bytes after it begin."""
    while True:
        position = stream.find(b"\xff", position)
        if position < 0 or position + 4 > len(stream):
            raise Unreadable("A frame's JPEG header is cut short.")
        marker = stream[position + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            position += 1
        elif marker in _ALONE or marker == 0:
            position += 2
        else:
            break
    length = int.from_bytes(stream[position + 2 : position + 4], "big")
    end = position + 2 + length
    if length < 2 or end > len(stream):
        raise Unreadable("A frame's JPEG header is cut short.")
    return marker, stream[position + 4 : end], end


def _sof(marker: int, segment: bytes) -> tuple[int, int, int, int, bytes]:
    """Marker, precision, rows, columns and the components' identifiers of a frame header (T.81 §B.2.2)."""
    if marker not in _HUFFMAN_SOF:
        raise Unreadable("A frame is compressed by a JPEG process that cannot be decoded (hierarchical or arithmetic).")
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise Unreadable("A frame's JPEG header is cut short.")
    precision, rows, columns, samples = struct.unpack_from(">BHHB", segment)
    return marker, precision, rows, columns, segment[6 : 6 + 3 * samples : 3]


def _reversible(stream: bytes, position: int) -> bool:
    """Whether the COD marker names the reversible 5-3 wavelet transform."""
    while True:
        marker, length = struct.unpack_from(">HH", stream, position)
        if marker == 0xFF52:
            return stream[position + 13] == 1
        if marker in (0xFF90, 0xFF93) or length < 2:
            raise Unreadable("A frame's JPEG 2000 header is not complete.")
        position += 2 + length
