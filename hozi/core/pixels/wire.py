"""Samples at full depth in the form in which Quick view takes them ("HZV1"), small for slow links.

24 bytes of header, then each row's differences from its left neighbour: of 8 bits interleaved by channel, of 16 bits
the plane of all low bytes, then that of all high bytes. Then deflated (gzip): browsers undo that themselves.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from hozi.core.errors import Unreadable
from hozi.core.pixels import samples, tables
from hozi.core.pixels.samples import Image

_HEADER: Final = struct.Struct("<4sHHBBBB12x")
_LEVEL: Final = 6
"""Of libdeflate, which is four times as fast as zlib for the same size; more takes long and gains one in a hundred."""


def values(image: Image, index: int) -> bytes:
    """One frame as HZV1, gzip-compressed: grey values as they are stored, colours as red, green and blue.

    Values of more than 16 bits and fractions are scaled to 16: the header of the dataset does not fit them any more,
    `scale` says how.
    """
    found, layout = image.frame(index), image.layout
    if layout.samples == 3:
        return packed(samples.rgb(found, layout), signed=False)
    if found.photometric == "PALETTE COLOR":
        return packed(tables.painted(found.pixels, image.head, layout), signed=False)
    pixels = samples.stored(found.pixels, layout)
    if pixels.dtype.kind == "f" or pixels.dtype.itemsize > 2:
        low, step = scale(pixels)
        pixels = np.rint((np.nan_to_num(pixels.astype(np.float64)) - low) / step).astype(np.uint16)
    signed = pixels.dtype.kind == "i"
    if pixels.dtype.itemsize == 1:
        return packed(pixels.view(np.uint8), signed=signed)
    return packed(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).view("<u2"), signed=signed)


def scale(pixels: NDArray[Any]) -> tuple[float, float]:
    """What the number 0 means and how much one step is worth, where values are brought into 16 bits."""
    sound = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    if not sound.size:
        return 0.0, 1.0
    low, high = float(sound.min()), float(sound.max())
    return low, (high - low) / 65535 or 1.0


def packed(pixels: NDArray[Any], *, signed: bool) -> bytes:
    """HZV1 of an array of bytes, (rows, columns) or (rows, columns, 3), or of 16-bit numbers."""
    rows, columns = pixels.shape[:2]
    if rows > 0xFFFF or columns > 0xFFFF:
        raise Unreadable("The frame is too large to be shown.")
    bits = pixels.dtype.itemsize * 8
    header = _HEADER.pack(b"HZV1", rows, columns, 3 if pixels.ndim == 3 else 1, bits, signed, 0)
    differences = np.empty(pixels.shape, pixels.dtype.newbyteorder("="))
    differences[:, 0] = pixels[:, 0]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=differences[:, 1:])
    if bits == 16:
        planes = differences.astype("<u2", copy=False).reshape(-1).view(np.uint8)
        body = planes[0::2].tobytes() + planes[1::2].tobytes()
    else:
        body = differences.tobytes()
    return bytes(imagecodecs.gzip_encode(header + body, level=_LEVEL))


HTJ2K: Final = frozenset({"1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"})
"""High-Throughput JPEG 2000 without loss; what is made here keeps to both (RPCL, with tile-part lengths)."""


def frame(image: Image, index: int, syntax: str) -> bytes:
    """One frame decoded, and encoded for the wire: in HTJ2K, or else as plain little endian samples.

    Raises `Unreadable` where the pixels cannot be so.
    """
    pixels, layout = image.frame(index).pixels, image.layout
    if syntax not in HTJ2K:
        if layout.bits_allocated == 1:
            return np.packbits(pixels.reshape(-1), bitorder="little").tobytes()
        return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()
    if pixels.dtype.kind == "f" or pixels.dtype.itemsize > 2 or layout.bits_allocated == 1:
        raise Unreadable("Pixels of this depth are not given in High-Throughput JPEG 2000.")
    plain = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    return bytes(imagecodecs.htj2k_encode(plain, reversible=True, rgb=False, planar=False, tlm=True))
