"""Makes pictures that browsers show of the frames of a dataset: window, colours, size.

Runs in a worker process: see `worker`. The order is that of PS3.4 §N.2: modality, window, presentation, then overlays,
then size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hozi.core.errors import Unreadable
from hozi.core.pixels import encoded, overlays, resize, samples, tables, told
from hozi.core.pixels.encoded import Kind
from hozi.core.pixels.grey import Window
from hozi.core.pixels.presentation import State
from hozi.core.pixels.samples import Image, Samples, opened

Picture = NDArray[np.uint8]

MOST_SIDE: Final = 8192
"""No picture is made larger than this, a side."""
MOST_CINE_FRAMES: Final = 120
_CINE_SECONDS: Final = 10.0
_CINE_SIDE: Final = 512
_FRAME_TIME: Final = 0x00181063
_DISPLAY_RATE: Final = 0x00082144
_CINE_RATE: Final = 0x00180040


@dataclass(frozen=True, slots=True)
class Wish:
    """How a picture is wanted. ``frame`` counts from 1; 0: all of them, as a loop (GIF), or the first one.

    ``width`` and ``height``: the room that there is for it; its proportions stay. ``enlarge``: it fills that room.
    ``region``: left, top, width, height of the part that is wanted, in pixels of the frame; negative ones are flipped.
    """

    frame: int = 1
    window: Window | None = None
    width: int | None = None
    height: int | None = None
    enlarge: bool = False
    region: tuple[float, float, float, float] | None = None
    quality: int = 80
    kind: Kind = "jpeg"
    overlays: bool = True

    @classmethod
    def of(cls, told: dict[str, Any]) -> Wish:
        """The wish in a worker's request."""
        window, region = told.pop("window", None), told.pop("region", None)
        return cls(window=tuple(window) if window else None, region=tuple(region) if region else None, **told)


@dataclass(frozen=True, slots=True)
class Stored:
    """A dataset in a file: where it begins, and its transfer syntax."""

    path: Path
    offset: int
    syntax: str


def picture(stored: Stored, wish: Wish, presentation: Stored | None = None) -> bytes:
    """The file of one picture, as a presentation state wants it if one is given. Raises `Unreadable` when it cannot
    be made.
    """
    with opened(stored.path, stored.offset, stored.syntax) as image:
        if wish.frame == 0 and wish.kind == "gif" and image.count > 1:
            return _cine(image, wish, presentation)
        return encoded.encoded(one(image, max(wish.frame, 1) - 1, wish, presentation), wish.kind, wish.quality)


def one(image: Image, index: int, wish: Wish, presentation: Stored | None = None) -> Picture:
    """A frame as it is to be seen, counted from 0, with what lies over it if that is wanted."""
    found = image.frame(index)
    if presentation is not None:
        state = State(presentation.path, presentation.offset, presentation.syntax, image, index)
        if found.pixels.ndim == 2 and found.photometric != "PALETTE COLOR":
            seen = state.grey(wish.window).shown(found.pixels, image.layout)
        else:
            seen = shown(image, index, found)
        return sized(state.covered(_own(seen), found.pixels), state.aspect(), wish)
    seen = shown(image, index, found, wish.window)
    if wish.overlays and image.has_overlays:
        seen = _own(seen)
        for plane in overlays.planes(image.head, image, index, found.pixels):
            seen[plane.astype(bool)] = 255
    if image.has_shutter:
        seen = _own(seen)
        overlays.shutter(image.head, seen, image, index, found.pixels)
    return sized(seen, told.aspect(image.head, index), wish)


def _own(picture: Picture) -> Picture:
    """A picture that may be drawn on."""
    return picture if picture.flags.writeable and picture.flags.c_contiguous else picture.copy()


def shown(image: Image, index: int, found: Samples, window: Window | None = None) -> Picture:
    """The samples of a frame as they are to be seen, in their own size: grey, or red, green and blue."""
    if image.layout.samples == 3:
        return samples.rgb(found, image.layout)
    if found.photometric == "PALETTE COLOR":
        return tables.painted(found.pixels, image.head, image.layout)
    grey = told.grey(image, index, found.photometric, window).shown(found.pixels, image.layout)
    return told.coloured(image, index, found.pixels, grey)


def _cine(image: Image, wish: Wish, presentation: Stored | None) -> bytes:
    """A loop, of no more frames and no more work than is bearable: a longer one is shown up to there."""
    begun = time.monotonic()
    room = Wish(
        window=wish.window,
        width=min(wish.width or _CINE_SIDE, _CINE_SIDE),
        height=min(wish.height or _CINE_SIDE, _CINE_SIDE),
        overlays=wish.overlays,
    )
    pictures: list[Picture] = []
    for index in range(min(image.count, MOST_CINE_FRAMES)):
        pictures.append(one(image, index, room, presentation))
        if time.monotonic() - begun > _CINE_SECONDS:
            break
    return encoded.animated(pictures, delay(image))


def delay(image: Image) -> float:
    """Seconds from one frame of a loop to the next, as the dataset wants it; a tenth where it does not say."""
    head = image.head
    if (each := head.decimals(_FRAME_TIME)[:1]) and each[0] > 0:
        return min(max(each[0] / 1000, 0.02), 5.0)
    for tag in (_DISPLAY_RATE, _CINE_RATE):
        if (rate := head.decimals(tag)[:1]) and rate[0] > 0:
            return min(max(1 / rate[0], 0.02), 5.0)
    return 0.1


def sized(picture: Picture, tall: float, wish: Wish) -> Picture:
    """The wanted part in the wanted room; ``tall``: how much taller than wide its pixels are."""
    if wish.region is not None:
        picture = _part(picture, wish.region)
    rows, columns = picture.shape[0] * max(tall, 1.0), picture.shape[1] * max(1 / tall, 1.0)
    room = min((wish.height or MOST_SIDE) / rows, (wish.width or MOST_SIDE) / columns)
    scale = min(room, MOST_SIDE / max(rows, columns))
    if not wish.enlarge or (wish.width is None and wish.height is None):
        scale = min(scale, 1.0)
    return resize.to_bytes(picture, max(round(rows * scale), 1), max(round(columns * scale), 1))


def _part(shown: Picture, region: tuple[float, float, float, float]) -> Picture:
    left, top, width, height = (round(number) for number in region)
    across, down = abs(width), abs(height)
    part = shown[max(top, 0) : max(top + down, 0), max(left, 0) : max(left + across, 0)]
    if not part.size:
        raise Unreadable("The part that was asked for lies beside the image.")
    if width < 0:
        part = part[:, ::-1]
    return part[::-1] if height < 0 else part
