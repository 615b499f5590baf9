"""What lies over the pixels: overlay planes, shutters, lines and figures (PS3.3 §C.9.2, C.7.6.11, C.7.6.15, C.10.5).

Everything here works on a picture of one byte a sample in the frame's own size, and changes it in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hozi.core.dicom.keys import tag_of
from hozi.core.pixels.samples import Image
from hozi.core.pixels.tree import Tree

Array = NDArray[Any]
Points = NDArray[np.float64]
"""Columns and rows, counted from 0 at the middle of the first pixel."""

_PLANES: Final = range(0x6000, 0x6020, 2)
_SHUTTER: Final = tag_of("ShutterShape")
_SHUTTER_VALUE: Final = tag_of("ShutterPresentationValue")
_EDGES: Final = tuple(
    tag_of(f"Shutter{name}Edge") for name in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
)
_CENTER: Final = tag_of("CenterOfCircularShutter")
_RADIUS: Final = tag_of("RadiusOfCircularShutter")
_VERTICES: Final = tag_of("VerticesOfThePolygonalShutter")
_SHUTTER_GROUP: Final = tag_of("ShutterOverlayGroup")
_MOST_POINTS: Final = 20_000


def planes(about: Tree, image: Image, index: int, raw: Array, groups: Iterator[int] | None = None) -> Iterator[Array]:
    """The overlay planes of a frame, each as (rows, columns) of 0 and 1; ``raw``: all bits of its samples.

    ``about``: the dataset that has them, ``groups`` which ones count (all without).
    """
    for number in _PLANES if groups is None else groups:
        plane = _plane(about, image, index, raw, number)
        if plane is not None:
            yield plane


def _plane(about: Tree, image: Image, index: int, raw: Array, number: int) -> Array | None:
    group = number << 16
    layout = image.layout
    data = about.values.get(group | 0x3000, b"")
    if not data:
        bit = about.number(group | 0x0102)
        embedded = about is image.head and (about.number(group | 0x0100) or 1) > 1 and bit is not None
        # Within the stored bits there are grey values, whatever the overlay says.
        if not embedded or bit is None or not layout.bits_stored <= bit < layout.bits_allocated or raw.ndim != 2:
            return None
        return (raw >> bit) & 1
    rows, columns = about.number(group | 0x0010) or 0, about.number(group | 0x0011) or 0
    if not rows or not columns:
        return None
    count = int(about.text(group | 0x0015) or 1) if about.text(group | 0x0015).isdigit() else 1
    place = index - ((about.number(group | 0x0051) or 1) - 1)
    if count == 1 and not about.values.get(group | 0x0051):
        place = 0  # one plane for all frames
    if not 0 <= place < count:
        return None
    packed = np.frombuffer(data, np.uint8)
    if about.order == ">":  # words, as nearly everybody writes them
        packed = packed[: len(packed) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
    first = place * rows * columns
    bits = np.unpackbits(packed[first // 8 : (first + rows * columns + 7) // 8], bitorder="little")[first % 8 :]
    if len(bits) < rows * columns:
        return None
    origin = about.numbers(group | 0x0050, "i2")
    top, left = (origin[0] - 1, origin[1] - 1) if len(origin) >= 2 else (0, 0)
    return _placed(bits[: rows * columns].reshape(rows, columns), top, left, layout.rows, layout.columns)


def _placed(plane: Array, top: int, left: int, rows: int, columns: int) -> Array:
    """A plane in a frame of this size, its first bit at ``top`` and ``left``; what stands beyond is cut."""
    whole = np.zeros((rows, columns), np.uint8)
    part = plane[max(-top, 0) : max(rows - top, 0), max(-left, 0) : max(columns - left, 0)]
    whole[max(top, 0) : max(top, 0) + part.shape[0], max(left, 0) : max(left, 0) + part.shape[1]] = part
    return whole


def shutter(about: Tree, picture: NDArray[np.uint8], image: Image, index: int, raw: Array) -> None:
    """Covers what a shutter covers, in the grey that it wants (black where it does not say)."""
    shapes = about.texts(_SHUTTER)
    if not shapes:
        return
    rows, columns = picture.shape[:2]
    covered = np.zeros((rows, columns), bool)
    down, across = np.ogrid[1 : rows + 1, 1 : columns + 1]
    for shape in shapes:
        if shape == "RECTANGULAR":
            edges = [about.decimals(tag)[:1] for tag in _EDGES]
            if all(edges):
                left, right, top, bottom = (edge[0] for edge in edges)
                covered |= (across <= left) | (across >= right) | (down <= top) | (down >= bottom)
        elif shape == "CIRCULAR":
            center, radius = about.decimals(_CENTER), about.decimals(_RADIUS)
            if len(center) == 2 and radius:
                covered |= (down - center[0]) ** 2 + (across - center[1]) ** 2 > radius[0] ** 2
        elif shape == "POLYGONAL":
            numbers = about.decimals(_VERTICES)
            if len(numbers) >= 6:
                corners = np.array(numbers[: len(numbers) // 2 * 2]).reshape(-1, 2)[:, ::-1] - 1
                covered |= ~inside(corners[:_MOST_POINTS], rows, columns)
        elif shape == "BITMAP" and (group := about.number(_SHUTTER_GROUP)):
            for plane in planes(about, image, index, raw, iter([group])):
                covered |= plane.astype(bool)
    picture[covered] = (about.number(_SHUTTER_VALUE) or 0) >> 8


def inside(corners: Points, rows: int, columns: int) -> NDArray[np.bool_]:
    """Which pixels lie in a polygon (even and odd crossings)."""
    crossings = np.zeros((rows, columns + 1), np.int32)
    first, second = corners, np.roll(corners, -1, axis=0)
    for (x1, y1), (x2, y2) in zip(first, second, strict=True):
        if y1 == y2:
            continue
        low, high = (y1, y2) if y1 < y2 else (y2, y1)
        lines = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), rows))
        places = np.ceil(x1 + (lines - y1) * ((x2 - x1) / (y2 - y1))).clip(0, columns).astype(np.int64)
        np.add.at(crossings, (lines, places), 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1)


def stroke(picture: NDArray[np.uint8], line: Points, *, thick: int = 1, value: int = 255) -> None:
    """Draws a line through points."""
    rows, columns = picture.shape[:2]
    for first, second in pairwise(line):
        # What lies far beside the picture is not walked through.
        steps = min(int(np.abs(second - first).max()) + 1, 4 * (rows + columns))
        places = np.rint(np.linspace(first, second, steps + 1)).astype(np.int64)
        for down in range(thick):
            for across in range(thick):
                x, y = places[:, 0] + across - thick // 2, places[:, 1] + down - thick // 2
                seen = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
                picture[y[seen], x[seen]] = value


def figure(kind: str, points: Points) -> Points | None:
    """The line of a graphic object (PS3.3 §C.10.5.1.2); None for one that cannot be drawn."""
    points = points[:_MOST_POINTS]
    if not len(points) or not np.isfinite(points).all() or np.abs(points).max() > 1e6:
        return None
    if kind == "POINT":
        x, y = points[0]
        return np.array([(x - 3, y), (x + 3, y), (x, y), (x, y - 3), (x, y + 3)])
    if kind == "POLYLINE" and len(points) > 1:
        return points
    if kind == "INTERPOLATED" and len(points) > 1:
        return _smooth(points)
    angles = np.linspace(0, 2 * np.pi, 361)[:, None]
    if kind == "CIRCLE" and len(points) == 2:
        radius = float(np.hypot(*(points[1] - points[0])))
        return np.asarray(points[0] + radius * np.concatenate((np.cos(angles), np.sin(angles)), axis=1))
    if kind == "ELLIPSE" and len(points) == 4:
        center = (points[0] + points[1]) / 2
        return np.asarray(
            center + np.cos(angles) * (points[1] - points[0]) / 2 + np.sin(angles) * (points[3] - points[2]) / 2
        )
    return None


def _smooth(points: Points) -> Points:
    """A smooth line through points (Catmull-Rom)."""
    ends = np.concatenate((points[:1], points, points[-1:]))
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(ends[:-3], ends[1:-2], ends[2:-1], ends[3:], strict=True)
    ]
    return np.concatenate((*parts, points[-1:]))
