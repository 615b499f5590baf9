"""Pictures as files that browsers show: JPEG, PNG, WebP and GIF."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

Kind = Literal["jpeg", "png", "webp", "gif"]
KINDS: Final[tuple[Kind, ...]] = ("jpeg", "png", "webp", "gif")
TYPES: Final[dict[str, str]] = {kind: f"image/{kind}" for kind in KINDS}
LOSSY: Final = frozenset({"jpeg", "webp", "gif"})
#: No decoder of WebP takes more a side.
WEBP_SIDE: Final = 16383

Picture = NDArray[np.uint8]


def encoded(picture: Picture, kind: Kind, quality: int) -> bytes:
    """One picture, grey (rows, columns) or colour (rows, columns, 3)."""
    picture = np.ascontiguousarray(picture)
    if kind == "jpeg":
        return bytes(imagecodecs.jpeg8_encode(picture, level=quality))
    if kind == "png":
        return bytes(imagecodecs.png_encode(picture, level=4))
    if kind == "webp":
        colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        return bytes(imagecodecs.webp_encode(colour, level=quality, method=2, lossless=False))
    return animated([picture], 0)


def animated(pictures: Sequence[Picture], delay_seconds: float) -> bytes:
    """Pictures of one size as a GIF that repeats for ever; one picture alone stands still.

    Grey keeps all of its 256 steps; colours are brought to 252, ordered so that no bands are seen.
    """
    colours = _GREYS if pictures[0].ndim == 2 else _CUBE
    height, width = pictures[0].shape[:2]
    parts = [struct.pack("<6sHHBBB", b"GIF89a", width, height, 0xF7, 0, 0), colours.tobytes()]
    if len(pictures) > 1:
        parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
    for picture in pictures:
        if len(pictures) > 1:
            parts.append(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 4, round(delay_seconds * 100), 0, 0))
        parts.append(_lzw(picture if picture.ndim == 2 else _quantised(picture)))
    return b"".join([*parts, b";"])


_GREYS: Final = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
_LEVELS: Final = (6, 7, 6)


def _cube() -> NDArray[np.uint8]:
    axes = [np.rint(np.linspace(0, 255, levels)) for levels in _LEVELS]
    cube = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.concatenate((cube, np.zeros((256 - len(cube), 3)))).astype(np.uint8)


_CUBE: Final = _cube()
_BAYER: Final = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16 - 0.5


def _quantised(picture: Picture) -> Picture:
    """The places in `_CUBE` of a picture's colours, dithered in a fixed pattern that does not flicker."""
    height, width = picture.shape[:2]
    noise = np.tile(_BAYER, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    steps = np.array(_LEVELS, np.float32) - 1
    places = np.clip(np.rint(picture * (steps / 255) + noise * 0.9), 0, steps).astype(np.uint8)
    return np.asarray((places[..., 0] * 7 + places[..., 1]) * 6 + places[..., 2], np.uint8)


def _lzw(picture: Picture) -> bytes:
    """A picture's image block, with its compressed places in the colour table (GIF89a §20, §22)."""
    found = bytes(imagecodecs.gif_encode(np.ascontiguousarray(picture), out=picture.size * 2 + 4096))
    at = 13 + (3 << (found[10] & 7) + 1 if found[10] & 0x80 else 0)
    while found[at] == 0x21:  # extensions
        at += 2
        while found[at]:
            at += found[at] + 1
        at += 1
    return found[at:-1]
