"""Grayscale softcopy presentation states: how somebody wanted an image to be seen (PS3.3 §A.33, PS3.4 §N.2).

What is done: modality and window (or their tables), presentation table and its inversion, shutters, overlays, figures
(points, lines, circles, ellipses, filled or not), rotation and flip, displayed area, pixel aspect. Texts are not
drawn, nor compound graphics, colours of layers, and blending.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hozi.core.dicom import syntaxes
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import Unreadable
from hozi.core.pixels import overlays, tables, told, tree
from hozi.core.pixels.grey import Grey, Window
from hozi.core.pixels.samples import Image
from hozi.core.pixels.tables import Lut
from hozi.core.pixels.tree import Tree

Picture = NDArray[np.uint8]

_SOP_INSTANCE: Final = tag_of("SOPInstanceUID")
_SERIES: Final = tag_of("ReferencedSeriesSequence")
_IMAGES: Final = tag_of("ReferencedImageSequence")
_UID: Final = tag_of("ReferencedSOPInstanceUID")
_FRAMES: Final = tag_of("ReferencedFrameNumber")
_VOI: Final = tag_of("SoftcopyVOILUTSequence")
_VOI_LUT: Final = tag_of("VOILUTSequence")
_PRESENTATION: Final = tag_of("PresentationLUTSequence")
_SHAPE: Final = tag_of("PresentationLUTShape")
_ROTATION: Final = tag_of("ImageRotation")
_FLIP: Final = tag_of("ImageHorizontalFlip")
_AREAS: Final = tag_of("DisplayedAreaSelectionSequence")
_TOP_LEFT: Final = tag_of("DisplayedAreaTopLeftHandCorner")
_BOTTOM_RIGHT: Final = tag_of("DisplayedAreaBottomRightHandCorner")
_SPACING: Final = tag_of("PresentationPixelSpacing")
_RATIO: Final = tag_of("PresentationPixelAspectRatio")
_ANNOTATIONS: Final = tag_of("GraphicAnnotationSequence")
_GRAPHICS: Final = tag_of("GraphicObjectSequence")
_UNITS: Final = tag_of("GraphicAnnotationUnits")
_KIND: Final = tag_of("GraphicType")
_DATA: Final = tag_of("GraphicData")
_FILLED: Final = tag_of("GraphicFilled")
_ACTIVATION: Final = 0x1001
_MOST_OBJECTS: Final = 2000


class State:
    """A presentation state, for one frame (counted from 0) of an image that it refers to."""

    def __init__(self, path: Path, offset: int, syntax: str, image: Image, index: int) -> None:
        """Raises `Unreadable` when it cannot be read or is about something else."""
        with path.open("rb") as file:
            self.head = tree.read(file, offset, path.stat().st_size - offset, syntaxes.for_unknown(syntax))
        self._uid = image.head.text(_SOP_INSTANCE)
        self._frame = str(index + 1)
        self._image, self._index = image, index
        series = self.head.items.get(_SERIES, [])
        if not any(self._means(item) for item in series):
            raise Unreadable("The presentation state is not about this image.")

    def _means(self, item: Tree) -> bool:
        """Whether an item is about this frame: it names it, or nothing at all."""
        named = item.items.get(_IMAGES)
        if not named:
            return True
        return any(
            one.text(_UID) == self._uid and (not one.text(_FRAMES) or self._frame in one.texts(_FRAMES))
            for one in named
        )

    def grey(self, window: Window | None) -> Grey:
        """The grey values as the state wants them: what the image says itself does not count (PS3.4 §N.2.1)."""
        head, layout = self.head, self._image.layout
        units = told.modality(head, layout, self._index)
        voi: Window | Lut | None = window
        for item in self.head.items.get(_VOI, []) if voi is None else []:
            if self._means(item):
                offered = told.windows(item, self._index)
                voi = offered[0] if offered else tables.lut(item.first(_VOI_LUT), signed=layout.signed)
                break
        presentation = tables.lut(head.first(_PRESENTATION), signed=False)
        return Grey(
            modality=units,
            voi=voi,
            range=_whole(units, layout.bits_stored, signed=layout.signed) if voi is None else None,
            presentation=presentation,
            inverse=head.text(_SHAPE) == "INVERSE",
            padding=told.padding(self._image.head, layout),
        )

    def covered(self, picture: Picture, raw: NDArray[Any]) -> Picture:
        """The picture with shutters, overlays and figures, in its displayed area, turned as the state wants it."""
        overlays.shutter(self.head, picture, self._image, self._index, raw)
        active = [group for group in range(0x6000, 0x6020, 2) if self.head.text(group << 16 | _ACTIVATION)]
        for about in (self.head, self._image.head):
            for plane in overlays.planes(about, self._image, self._index, raw, iter(active)):
                picture[plane.astype(bool)] = 255
        self._draw(picture, "PIXEL")
        picture = _turned(self._area(picture), self.head.number(_ROTATION) or 0, self.head.text(_FLIP) == "Y")
        picture = np.ascontiguousarray(picture)
        self._draw(picture, "DISPLAY")
        return picture

    def aspect(self) -> float:
        """How much taller than wide a pixel of the turned picture is."""
        area = self._selected()
        turned = (self.head.number(_ROTATION) or 0) % 180 == 90
        for tag in (_SPACING, _RATIO):
            pair = area.decimals(tag) if area is not None else []
            if len(pair) >= 2 and min(pair) > 0 and 0.1 <= pair[0] / pair[1] <= 10:
                return pair[1] / pair[0] if turned else pair[0] / pair[1]
        tall = told.aspect(self._image.head, self._index)
        return 1 / tall if turned else tall

    def _selected(self) -> Tree | None:
        return next((item for item in self.head.items.get(_AREAS, []) if self._means(item)), None)

    def _area(self, picture: Picture) -> Picture:
        area = self._selected()
        first, second = (area.numbers(tag, "i4") if area else [] for tag in (_TOP_LEFT, _BOTTOM_RIGHT))
        if len(first) < 2 or len(second) < 2:
            return picture
        (left, right), (top, bottom) = sorted((first[0], second[0])), sorted((first[1], second[1]))
        rows, columns = picture.shape[:2]
        height, width = bottom - top + 1, right - left + 1
        if height * width > 4 * rows * columns + 1024 or min(height, width) < 1:
            raise Unreadable("The presentation state shows an area that cannot be made.")
        whole = np.zeros((height, width, *picture.shape[2:]), np.uint8)
        top, left = top - 1, left - 1
        part = picture[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
        down, across = max(-top, 0), max(-left, 0)
        whole[down : down + part.shape[0], across : across + part.shape[1]] = part
        return whole

    def _draw(self, picture: Picture, units: str) -> None:
        """Draws the figures that are placed in these units (PS3.3 §C.10.5)."""
        rows, columns = picture.shape[:2]
        thick = max(max(rows, columns) // 1000, 1)
        objects = [
            item
            for annotation in self.head.items.get(_ANNOTATIONS, [])
            if self._means(annotation)
            for item in annotation.items.get(_GRAPHICS, [])
            if (item.text(_UNITS) or "PIXEL") == units
        ]
        for item in objects[:_MOST_OBJECTS]:
            data = item.values.get(_DATA, b"")
            numbers = np.frombuffer(data[: len(data) // 8 * 8], f"{item.order}f4").astype(np.float64).reshape(-1, 2)
            # Pixels count from the outer corner of the first one, whose middle is at a half (PS3.3 §C.10.5.1.2).
            points = numbers - 0.5 if units == "PIXEL" else numbers * (columns, rows) - 0.5
            line = overlays.figure(item.text(_KIND), points)
            if line is None:
                continue
            if item.text(_FILLED) == "Y" and item.text(_KIND) != "POINT":
                picture[overlays.inside(line, rows, columns)] = 255
            overlays.stroke(picture, line, thick=thick)


def _turned(picture: Picture, degrees: int, flip: bool) -> Picture:
    """Turned clockwise, then flipped (PS3.3 §C.10.6)."""
    turned = np.rot90(picture, -(degrees // 90) % 4)
    return turned[:, ::-1] if flip else turned


def _whole(units: tuple[float, float] | Lut, bits: int, *, signed: bool) -> tuple[float, float]:
    """All that can come out of the modality transformation: what is shown where no window is wanted."""
    if isinstance(units, Lut):
        return 0.0, units.highest
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    ends = sorted(number * units[0] + units[1] for number in (low, high))
    return ends[0], ends[1]
