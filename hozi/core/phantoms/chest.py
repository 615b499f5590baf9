"""A chest radiograph: how much each ray was weakened by invented lungs, bones and vessels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from hozi.core.phantoms.shapes import Plane, grain, grid, soft

ROWS: Final = 2500
COLUMNS: Final = 2048
SPACING: Final = 0.168
"""Millimetres between the middles of neighbouring pixels, on the detector."""

BITS: Final = 12
WINDOW: Final = (2270, 3240)
"""Centre and width of the window in which the picture looks its best."""

_SEED: Final = 1895
_WATER: Final = 0.021
"""Attenuation of soft tissue for these rays, per mm."""

Point = tuple[float, float]
"""A place on the detector: mm to the right and downwards from its middle."""


@dataclass
class _Shadow:
    """What the rays have passed so far, in mm of water, on the whole detector."""

    x: Plane
    z: Plane
    water: Plane

    def window(self, low_x: float, high_x: float, low_z: float, high_z: float) -> tuple[slice, slice]:
        """The part of the picture within these bounds, in mm."""
        columns = [int(place / SPACING + COLUMNS / 2) for place in (low_x, high_x)]
        rows = [int(place / SPACING + ROWS / 2) for place in (low_z, high_z)]
        return (
            slice(min(max(rows[0], 0), ROWS - 1), min(max(rows[1] + 2, 1), ROWS)),
            slice(min(max(columns[0], 0), COLUMNS - 1), min(max(columns[1] + 2, 1), COLUMNS)),
        )

    def ellipsoid(self, centre: tuple[float, float], radii: tuple[float, float, float], density: float) -> None:
        """Adds the chords through an ellipsoid; the third radius is along the rays."""
        (cx, cz), (rx, rz, ry) = centre, radii
        part = self.window(cx - rx, cx + rx, cz - rz, cz + rz)
        x, z = self.x[:, part[1]], self.z[part[0]]
        inside = 1 - ((x - cx) / rx) ** 2 - ((z - cz) / rz) ** 2
        self.water[part] += np.sqrt(np.maximum(inside, 0)) * np.float32(2 * ry * density)

    def tube(self, points: Sequence[Point], radii: tuple[float, float], density: float, wall: float) -> None:
        """Adds the chords through a bent tube whose radius goes from one to the other; its walls count more."""
        margin = max(radii)
        across, down = zip(*points, strict=True)
        whole = self.window(min(across) - margin, max(across) + margin, min(down) - margin, max(down) + margin)
        chord = np.zeros((whole[0].stop - whole[0].start, whole[1].stop - whole[1].start), np.float32)
        pieces = list(pairwise(points))
        for number, (begin, end) in enumerate(pieces):
            radius = radii[0] + (radii[1] - radii[0]) * (number + 0.5) / len(pieces)
            (low_x, high_x), (low_z, high_z) = (sorted((begin[axis], end[axis])) for axis in (0, 1))
            part = self.window(low_x - margin, high_x + margin, low_z - margin, high_z + margin)
            local = tuple(
                slice(one.start - all_.start, one.stop - all_.start) for one, all_ in zip(part, whole, strict=True)
            )
            off = _distance(self.x[:, part[1]], self.z[part[0]], begin, end) / np.float32(radius)
            full = np.sqrt(np.maximum(1 - off**2, 0)) * np.float32(2 * radius)
            hollow = np.sqrt(np.maximum(0.75**2 - off**2, 0)) * np.float32(2 * radius)
            # Where pieces meet, the larger chord counts: their sum would show the joints.
            passed = full * np.float32(abs(density) + wall) - hollow * np.float32(wall)
            np.maximum(chord[local], passed, out=chord[local])
        self.water[whole] += chord * np.float32(math.copysign(1, density))


def _distance(x: Plane, z: Plane, begin: Point, end: Point) -> Plane:
    """How far each pixel is from a stretch of line."""
    step_x, step_z = end[0] - begin[0], end[1] - begin[1]
    square = step_x**2 + step_z**2 or 1e-6
    along = np.clip(((x - begin[0]) * step_x + (z - begin[1]) * step_z) / square, 0, 1).astype(np.float32)
    return np.hypot(x - begin[0] - along * step_x, z - begin[1] - along * step_z)


def radiograph() -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    """The picture, `ROWS` x `COLUMNS` pixels of `BITS` bits; the more rays came through, the larger the value.

    So low values are to be shown bright (MONOCHROME1), as detectors give them. Seen from behind: the left of the body
    is on the right. Always the same one.
    """
    random = np.random.default_rng(_SEED)
    x, z = grid(ROWS, COLUMNS, SPACING)
    shadow = _Shadow(x, z, np.zeros((ROWS, COLUMNS), np.float32))
    _trunk(shadow)
    _lungs(shadow, random)
    _heart(shadow)
    _airways(shadow)
    _spine(shadow)
    _ribs(shadow)
    _shoulders(shadow)
    _marker(shadow)
    rays = np.exp(-_WATER * shadow.water)
    rays += 0.012 + 0.035 * _blurred(rays)  # what is scattered in the body
    rays += grain(random, (ROWS, COLUMNS), 0.01, 0.4) * np.sqrt(rays) * 0.0055
    exposure = np.log10(np.maximum(rays, 1e-4)) / 2.0 + 1
    return np.asarray(np.clip(exposure * 3600 + 250, 0, (1 << BITS) - 1), np.uint16)


def _blurred(rays: Plane) -> Plane:
    """The picture without detail: means of blocks, spread out again smoothly."""
    block = 64
    rows, columns = ROWS // block, COLUMNS // block
    means = rays[: rows * block, : columns * block].reshape(rows, block, columns, block).mean(axis=(1, 3))
    down = np.interp(np.arange(ROWS) / block - 0.5, np.arange(rows), np.arange(rows))
    across = np.interp(np.arange(COLUMNS) / block - 0.5, np.arange(columns), np.arange(columns))
    low, part = np.divmod(down, 1)
    low = np.minimum(low.astype(int), rows - 2)
    tall = means[low] + (part[:, None] + (down - part - low)[:, None]) * (means[low + 1] - means[low])
    left, part = np.divmod(across, 1)
    left = np.minimum(left.astype(int), columns - 2)
    wide = tall[:, left] + (part + (across - part - left)) * (tall[:, left + 1] - tall[:, left])
    return np.asarray(wide, np.float32)


def _trunk(shadow: _Shadow) -> None:
    """Neck, shoulders and trunk: an outline whose width changes with the height, round along the rays."""
    heights = np.array([-215, -190, -165, -140, -110, -60, 20, 120, 215], np.float32)
    halves = np.array([58, 60, 96, 168, 210, 206, 200, 164, 168], np.float32)
    depths = np.array([48, 52, 66, 88, 104, 110, 112, 112, 114], np.float32)
    half = np.interp(shadow.z[:, 0], heights, halves)[:, np.newaxis].astype(np.float32)
    depth = np.interp(shadow.z[:, 0], heights, depths)[:, np.newaxis].astype(np.float32)
    inside = np.maximum(1 - np.abs(shadow.x / half) ** 2.6, 0)
    shadow.water += inside ** np.float32(1 / 2.2) * depth * np.float32(1.32)


def _dome(x: Plane, side: int) -> Plane:
    """Height of the diaphragm beside the spine; the right dome (left in the picture) stands higher."""
    summit, top = (-62, 92) if side < 0 else (66, 104)
    return np.asarray(top + ((x - summit) / 13.5) ** 2 * 0.9 + np.maximum(np.abs(x - summit) - 48, 0) ** 2 * 0.035)


def _lungs(shadow: _Shadow, random: np.random.Generator) -> None:
    x, z = shadow.x, shadow.z
    for side in (-1, 1):
        top, reach = -158.0, 150.0
        height = np.clip((z - top) / (reach - top), 0, 1)
        outer = 34 + 104 * np.sqrt(np.maximum(1 - (1 - np.minimum(height / 0.62, 1)) ** 2, 0)) + 4 * height
        inner = 20 + 4 * height
        across = (side * x - inner) / np.maximum(outer - inner, 1)
        profile = np.maximum(1 - np.abs(2 * across - 1) ** 2.4, 0) ** np.float32(0.55)
        air = profile * (z > top) * soft(z - _dome(x, side), 1.2)
        depth = 60 + 62 * np.sin(np.clip(height * 1.25, 0, 1) * math.pi / 2)
        shadow.water -= air * depth.astype(np.float32) * np.float32(1.12)
        vessels = _Shadow(x, z, np.zeros((ROWS, COLUMNS), np.float32))
        for number in range(15):
            angle = (number + random.uniform(-0.4, 0.4)) / 15 * 2.5 - 1.15
            root = (side * random.uniform(26, 38), random.uniform(-22, 22))
            aim = (side * math.cos(angle), math.sin(angle))
            _vessel(vessels, random, root, aim, random.uniform(3.6, 5.2))
        shadow.water += vessels.water * np.minimum(air * 3, 1)
    shadow.ellipsoid((70, 128), (46, 30, 26), -1.0)  # air in the stomach


def _vessel(
    shadow: _Shadow,
    random: np.random.Generator,
    begin: tuple[float, float],
    aim: tuple[float, float],
    radius: float,
) -> None:
    """A vessel and those that branch from it, while they can be seen."""
    if radius < 0.45:
        return
    length = random.uniform(4.5, 7) * radius + 6
    end = (begin[0] + aim[0] * length, begin[1] + aim[1] * length)
    shadow.tube([begin, end], (radius, radius * 0.88), 0.95, 0.0)
    for shrink in (random.uniform(0.74, 0.9), random.uniform(0.45, 0.7)):
        turn = random.normal(0, 0.36)
        turned = (aim[0] * math.cos(turn) - aim[1] * math.sin(turn), aim[0] * math.sin(turn) + aim[1] * math.cos(turn))
        _vessel(shadow, random, end, turned, radius * shrink)


def _heart(shadow: _Shadow) -> None:
    shadow.ellipsoid((20, 60), (62, 60, 50), 0.42)
    shadow.ellipsoid((-8, 50), (44, 50, 40), 0.36)
    shadow.ellipsoid((38, 80), (48, 40, 38), 0.36)
    shadow.ellipsoid((26, -52), (17, 16, 22), 0.85)  # arch of the aorta
    shadow.ellipsoid((29, -18), (13, 14, 22), 0.7)  # trunk of the pulmonary artery
    shadow.tube([(24, -50), (28, 0), (26, 60), (16, 150)], (13, 12), 0.7, 0)  # descending aorta
    shadow.tube([(-22, -110), (-24, -50), (-23, 20)], (10, 13), 0.6, 0)  # superior vena cava
    for side in (-1, 1):
        shadow.ellipsoid((side * 36, -2), (16, 24, 20), 0.42)
    across = soft(np.abs(shadow.x) - 24, 14) * soft(-shadow.z - 190, 40)
    shadow.water += across * np.float32(26)


def _airways(shadow: _Shadow) -> None:
    shadow.tube([(0, -215), (0, -140), (2, -62)], (9.5, 8.5), -0.95, -0.2)
    shadow.tube([(2, -64), (-16, -40), (-30, -16)], (7, 5.5), -0.85, -0.2)
    shadow.tube([(2, -64), (26, -36), (44, -22)], (6.5, 5), -0.8, -0.2)


def _spine(shadow: _Shadow) -> None:
    for number in range(-8, 9):
        middle = number * 25.5 + 6
        width = 17 + (middle + 215) / 62
        box = soft(np.abs(shadow.x) - width + 2 * np.cos((shadow.z - middle) / 9.5), 2.5)
        box = box * soft(np.abs(shadow.z - middle) - 10.6, 2.2)
        rim = soft(np.abs(np.abs(shadow.z - middle) - 10.2) - 0.9, 1.2) * soft(np.abs(shadow.x) - width, 2)
        shadow.water += box * np.float32(14) + rim * np.float32(6)
        for side in (-1, 1):
            shadow.tube(
                [(side * (width - 7), middle - 3), (side * (width - 6.9), middle + 3)], (4.2, 4.2), 0.5, 1.6
            )  # pedicles
            shadow.tube([(side * width, middle - 4), (side * (width + 16), middle - 8)], (4.5, 3), 0.5, 0.5)
        shadow.tube([(0, middle + 2), (0, middle + 13)], (3, 4), 0.5, 1.2)


def _ribs(shadow: _Shadow) -> None:
    for number in range(10):
        start = -150 + number * 27.5
        reach = min(72 + 30 * math.sqrt(number + 0.3), 142)
        drop = 16 + 5.5 * number
        for side in (-1, 1):
            back = [
                (side * (20 + (reach - 20) * _quarter(t)), start + drop * t**1.7 - 9 * math.sin(t * math.pi))
                for t in np.linspace(0, 1, 26)
            ]
            shadow.tube(back, (5.4, 6.4), 0.62, 0.95)
            if number < 8:
                front = [
                    (
                        side * (reach - (reach - 40 - 5 * number) * (1 - math.cos(t * math.pi / 2))),
                        start + drop + (50 + 3 * number) * math.sin(t * math.pi / 2),
                    )
                    for t in np.linspace(0, 1, 22)
                ]
                shadow.tube(front, (6.2, 6.6), 0.42, 0.5)


def _quarter(part: float) -> float:
    """How high a quarter of a wave has risen."""
    return math.sin(part * math.pi / 2)


def _shoulders(shadow: _Shadow) -> None:
    for side in (-1, 1):
        collar = [
            (side * (13 + 125 * t), -118 - 12 * math.sin(t * math.pi / 2) + 6 * math.sin(t * 2 * math.pi))
            for t in np.linspace(0, 1, 26)
        ]
        shadow.tube(collar, (7.5, 5.5), 0.6, 0.9)
        shadow.tube([(side * 150, -110), (side * 150, -60), (side * 140, -6), (side * 134, 14)], (9, 4), 0.25, 0.5)
        shadow.tube([(side * 148, -108), (side * 118, -106), (side * 96, -86)], (6, 4), 0.3, 0.4)
        shadow.ellipsoid((side * 172, -102), (21, 22, 22), 0.8)
        shadow.tube([(side * 178, -96), (side * 186, -20), (side * 192, 60)], (14, 11), 0.5, 0.6)


def _marker(shadow: _Shadow) -> None:
    """A lead letter L at the patient's left shoulder."""
    for low_x, high_x, low_z, high_z in ((146, 149, -200, -184), (146, 156, -187, -184)):
        shadow.water[shadow.window(low_x, high_x, low_z, high_z)] += np.float32(500)
