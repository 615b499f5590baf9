"""Draws one small picture of an object: what people recognise a series by, of a few kilobytes.

Runs in a worker process: see `worker`. One frame is in memory: the middle one. What a reading workstation does to
grey values is done with the first choice that the object offers; where it offers none, or one that shows nothing, the
values themselves choose.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.pixels import encoded, render, told
from hozi.core.pixels.render import Picture
from hozi.core.pixels.samples import Image

MOST_BYTES: Final = 7_000
"""A picture has at most so many bytes; it loses quality until it does."""
_QUALITIES: Final = (70, 55, 40, 20, 8)
_LEAST_CONTRAST: Final = 8


def draw(path: Path, offset: int, syntax: TransferSyntax, size: int) -> bytes:
    """A JPEG of the middle frame of the dataset that begins at ``offset``, at most ``size`` pixels wide and high.

    Raises `Unreadable` when there is no picture in it, or none that can be decoded.
    """
    with Image(path, offset, syntax) as image:
        picture = _small(image, image.count // 2, size)
    best = b""
    for quality in _QUALITIES:
        best = encoded.encoded(picture, "jpeg", quality)
        if len(best) <= MOST_BYTES:
            break
    return best


def _small(image: Image, index: int, size: int) -> Picture:
    wish = render.Wish(width=size, height=size)
    found, tall = image.frame(index), told.aspect(image.head, index)
    if found.pixels.ndim == 3 or found.photometric == "PALETTE COLOR":
        return render.sized(render.shown(image, index, found), tall, wish)
    grey = told.grey(image, index, found.photometric)
    if image.layout.bits_allocated > 1:
        grey = replace(grey, range=None)
    picture = render.sized(grey.shown(found.pixels, image.layout), tall, wish)
    if np.ptp(picture) < _LEAST_CONTRAST and grey.voi is not None:
        picture = render.sized(replace(grey, voi=None).shown(found.pixels, image.layout), tall, wish)
    return picture
