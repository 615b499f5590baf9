"""Axial computed tomography of a chest, in Hounsfield units, made of ellipsoids, tubes and noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from hozi.core.phantoms.shapes import Plane, dab, ellipse, grain, grid, paint, soft

SLICES: Final = 60
SIZE: Final = 512
SPACING: Final = 0.75
"""Millimetres between the middles of neighbouring pixels."""
THICKNESS: Final = 5.0
"""Millimetres of one slice, and from one to the next."""

_AIR, _LUNG, _FAT, _SOFT, _BLOOD, _BONE = -1000.0, -860.0, -100.0, 45.0, 210.0, 420.0
_SEED: Final = 1985
_RIB_DISTANCE: Final = 27.0


@dataclass(frozen=True)
class _Vessel:
    """A straight piece of a vessel of the lungs, between two points (x, y, z in mm)."""

    begin: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float


def slices() -> Iterator[Plane]:
    """`SLICES` pictures of `SIZE` x `SIZE` pixels, from the neck downwards; always the same ones."""
    random = np.random.default_rng(_SEED)
    vessels = list(_vessels(random))
    x, y = grid(SIZE, SIZE, SPACING)
    for number in range(SLICES):
        picture = _slice(x, y, number * THICKNESS, vessels)
        centre = np.exp(-(x**2 + (y / 0.75) ** 2) / 130**2)
        picture += grain(random, (SIZE, SIZE), 0.08, 0.30) * (6 + 9 * centre)
        yield picture


def _slice(x: Plane, y: Plane, z: float, vessels: list[_Vessel]) -> Plane:
    picture = np.full((SIZE, SIZE), _AIR, np.float32)
    _table(picture, x, y)
    shoulders = max(0.0, 1 - z / 70)
    width, depth = 158 + 22 * shoulders, 112 - 14 * shoulders
    for inset, value in ((0, 20.0), (2, _FAT), (13, _SOFT)):
        dab(picture, x, y, (0, 0), (width - inset, depth - inset), value, power=2.4)
    dab(picture, x, y, (0, -depth + 9), (26, 7), _FAT, edge=4)
    _ribs(picture, x, y, z)
    _lungs(picture, x, y, z, vessels)
    _mediastinum(picture, x, y, z)
    _abdomen(picture, x, y, z)
    _spine(picture, x, y, z)
    return picture


def _table(picture: Plane, x: Plane, y: Plane) -> None:
    curve = 118 - (x / 40) ** 2
    inside = soft(np.abs(x) - 185, 4)
    paint(picture, soft(np.abs(y - curve - 8) - 8, 1.5) * inside, -880)
    for edge in (0, 16):
        paint(picture, soft(np.abs(y - curve - edge) - 1.2, 1.5) * inside, -150)


def _chest(z: float) -> tuple[float, float]:
    """Half width and half depth of the cage of ribs at a height."""
    narrowing = math.exp(-((z / 75) ** 2))
    return 134 - 62 * narrowing, 88 - 36 * narrowing


def _ribs(picture: Plane, x: Plane, y: Plane, z: float) -> None:
    """Ribs run down to the front: a slice shows pieces of several, on a ring."""
    width, depth = _chest(z)
    reach = np.sqrt((x / (width + 5)) ** 2 + (y / (depth + 5)) ** 2)
    ring = (reach - 1) * min(width, depth)
    beside = soft(np.abs(np.remainder(z + 0.55 * y + 300, _RIB_DISTANCE) - _RIB_DISTANCE / 2) - 6.5, 3)
    away_from_the_sternum = soft(18 - np.abs(x), 6) + soft(40 - y, 10)
    rib = beside * np.clip(away_from_the_sternum, 0, 1)
    paint(picture, rib * soft(np.abs(ring) - 4.2, 1.5), _BONE + 250)
    paint(picture, rib * soft(np.abs(ring) - 2.2, 1.5), 170)
    if z > 45:
        dab(picture, x, y, (0, -depth - 6), (17, 6), _BONE)
        dab(picture, x, y, (0, -depth - 6), (14, 3.5), 160)
    if z < 60:
        for side in (-1, 1):
            bone = (side * (112 + z / 4), 62 - z / 3)
            dab(picture, x, y, bone, (30, 5), _BONE, edge=2)
            dab(picture, x, y, bone, (27, 2.6), 180, edge=2)


def _lungs(picture: Plane, x: Plane, y: Plane, z: float, vessels: list[_Vessel]) -> None:
    width, depth = _chest(z)
    cage = ellipse(x, y, (0, 0), (width - 2, depth - 2), power=2.3)
    hilum = math.exp(-(((z - 145) / 50) ** 2))
    gap = 13 + (17 + 14 * hilum) * np.exp(-(((y + 8) / 34) ** 2)) + 12 * soft(52 - y, 30)
    inner = np.abs(x - 5 * np.exp(-(((y - 20) / 40) ** 2)))
    # Fat lies between the lungs, and around what stands in it.
    paint(picture, cage * soft(np.abs(x) - 48, 10) * soft(y - 48, 12), _FAT + 25)
    lungs = cage * soft(gap - inner, 3) * soft(y - 82 + np.abs(x) / 14, 8)
    if z < 10:
        lungs *= z / 10
    tissue = _LUNG + 70 * soft(-y - 40, 150)  # denser at the back, where the blood sinks
    paint(picture, lungs, tissue)
    for vessel in vessels:
        _draw_vessel(picture, lungs, x, y, z, vessel)
    nodule = 7.5**2 - (z - 120) ** 2
    if nodule > 0:
        dab(picture, x, y, (-84, -22), (math.sqrt(nodule),) * 2, 40)


def _draw_vessel(picture: Plane, lungs: Plane, x: Plane, y: Plane, z: float, vessel: _Vessel) -> None:
    """A disc where the vessel crosses the slice, a stripe where it lies in it."""
    (x0, y0, z0), (x1, y1, z1) = vessel.begin, vessel.end
    half = THICKNESS / 2
    low, high = sorted((z0, z1))
    if high < z - half or low > z + half:
        return
    steep = (z1 - z0) or 0.01
    first, last = sorted(min(max((edge - z0) / steep, 0), 1) for edge in (z - half, z + half))
    ax, ay = x0 + first * (x1 - x0), y0 + first * (y1 - y0)
    bx, by = x0 + last * (x1 - x0), y0 + last * (y1 - y0)
    margin = vessel.radius + 2
    columns = _between(min(ax, bx) - margin, max(ax, bx) + margin)
    rows = _between(min(ay, by) - margin, max(ay, by) + margin)
    px, py = x[:, columns], y[rows]
    length = (bx - ax) ** 2 + (by - ay) ** 2 or 1e-6
    along = np.clip(((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / length, 0, 1)
    distance = np.hypot(px - ax - along * (bx - ax), py - ay - along * (by - ay))
    paint(picture[rows, columns], soft(distance - vessel.radius, 1.5) * lungs[rows, columns], 60)


def _between(low: float, high: float) -> slice:
    """Indices of the pixels between two places, in mm from the middle."""
    first = int((low / SPACING) + SIZE / 2)
    return slice(min(max(first, 0), SIZE - 2), min(max(int(high / SPACING + SIZE / 2) + 1, 1), SIZE))


def _vessels(random: np.random.Generator) -> Iterator[_Vessel]:
    """Trees that branch from the roots of the lungs outwards."""
    for side in (-1, 1):
        for _ in range(15):
            root = (side * 34.0, float(random.uniform(-12, 22)), float(random.uniform(130, 160)))
            aim = np.array([side * random.uniform(0.5, 1), random.normal(0, 0.7), random.normal(0, 0.9)])
            yield from _branches(random, root, aim / np.linalg.norm(aim), float(random.uniform(3, 4.6)))


def _branches(
    random: np.random.Generator, begin: tuple[float, float, float], aim: np.ndarray, radius: float
) -> Iterator[_Vessel]:
    if radius < 0.7:
        return
    length = random.uniform(4, 6) * radius + 7
    end = (begin[0] + aim[0] * length, begin[1] + aim[1] * length, begin[2] + aim[2] * length)
    yield _Vessel(begin, end, radius)
    for shrink in (random.uniform(0.72, 0.9), random.uniform(0.5, 0.75)):
        turned = aim + random.normal(0, 0.42, 3)
        yield from _branches(random, end, turned / np.linalg.norm(turned), radius * shrink)


def _mediastinum(picture: Plane, x: Plane, y: Plane, z: float) -> None:
    heart = 1 - ((z - 205) / 62) ** 2
    if heart > 0:
        size = math.sqrt(heart)
        turned_x, turned_y = x * 0.86 + y * 0.5, y * 0.86 - x * 0.5
        paint(picture, ellipse(turned_x, turned_y, (8, -34), (64 * size, 50 * size), edge=2.5), _FAT + 20)
        paint(picture, ellipse(turned_x, turned_y, (8, -33), (60 * size, 46 * size), edge=2.5), 95)
        for cx, cy, rx, ry in ((22, -28, 24, 19), (-20, -44, 22, 14), (-26, -14, 19, 17), (14, -4, 22, 12)):
            chamber = ellipse(turned_x, turned_y, (cx, cy), (rx * size, ry * size), edge=3)
            paint(picture, chamber, _BLOOD - 4 * abs(cy + 28))
    if 75 < z < 190:
        dab(picture, x, y, (-14, -26), (16, 16), _BLOOD + 40)  # ascending aorta
        dab(picture, x, y, (-34, -22), (9, 10), _BLOOD + 90)  # superior vena cava
    if 62 < z < 90:
        paint(picture, ellipse(x + y * 0.35, y, (4, 4), (15, 40), edge=2), _BLOOD + 40)  # aortic arch
    if z >= 75:
        dab(picture, x, y, (25, 38), (12.5, 12.5), _BLOOD + 40)  # descending aorta
    if 128 < z < 158:
        paint(picture, ellipse(x + y * 0.3, y, (14, -12), (34, 11), edge=2), _BLOOD + 60)  # pulmonary arteries
    if z < 62:
        for cx, cy, wide in ((-22, -6, 8), (24, -2, 6), (-10, -22, 6), (14, -20, 5)):
            dab(picture, x, y, (cx, cy), (wide, wide), _BLOOD + 40)
    spread = max(0.0, z - 120) * 0.62
    if z < 185:
        for side in (-1, 1) if spread else (1,):
            radius = 9.5 if not spread else max(7.5 - spread / 18, 4)
            centre = (side * spread, 8 + z / 14)
            dab(picture, x, y, centre, (radius + 1.6, radius * 0.9 + 1.6), 30)
            dab(picture, x, y, centre, (radius, radius * 0.9), _AIR)
    for cx, cy in ((-22, 20), (18, 6), (-6, -52), (12, -46)):
        dab(picture, x, y, (cx + z / 40, cy), (3.5, 2.5), 50)  # lymph nodes and small vessels in the fat
    dab(picture, x, y, (7, 32), (8, 5), 40)  # oesophagus
    dab(picture, x, y, (7, 32), (2.5, 1.5), -500)


def _abdomen(picture: Plane, x: Plane, y: Plane, z: float) -> None:
    """The domes under the diaphragm rise into the lungs: liver on the right, stomach and spleen on the left."""
    width, depth = _chest(z)
    cage = ellipse(x, y, (0, 0), (width - 3, depth - 3), power=2.3)
    for centre, radii, value in (
        ((-62.0, 0.0, 330.0), (88.0, 80.0, 112.0), 105.0),
        ((66.0, 4.0, 345.0), (68.0, 76.0, 112.0), -70.0),
        ((92.0, 38.0, 330.0), (32.0, 34.0, 82.0), 125.0),
        ((60.0, -24.0, 330.0), (44.0, 40.0, 88.0), 30.0),
    ):
        rest = 1 - ((z - centre[2]) / radii[2]) ** 2
        if rest > 0:
            size = math.sqrt(rest)
            dome = ellipse(x, y, centre[:2], (radii[0] * size, radii[1] * size), edge=3)
            paint(picture, dome * cage, value)
    if z > 285:
        filled = np.float32(min(1.0, (z - 285) / 25))
        paint(picture, cage * (picture < -300) * filled, _FAT)
    if z > 262:
        bubble = math.sqrt(min(1.0, (z - 262) / 20))
        level = soft(y + 30, 1.5)  # gas above, fluid below: the patient lies on the back
        paint(picture, ellipse(x, y, (60, -28), (34 * bubble, 28 * bubble)) * level * cage, _AIR + 20)


def _spine(picture: Plane, x: Plane, y: Plane, z: float) -> None:
    within = (z % 26) / 26
    disc = within > 0.8
    dab(picture, x, y, (0, 64), (19, 15), 90 if disc else _BONE + 130, power=2.4)
    if not disc:
        dab(picture, x, y, (0, 64), (17, 13), 185 + 40 * math.cos(within * 8), power=2.4)
        for side in (-1, 1):
            dab(picture, x, y, (side * 13, 82), (5, 8), _BONE)
            paint(picture, ellipse(x + side * y * 0.5, y, (side * 70, 88), (16, 4), edge=2), _BONE)
    dab(picture, x, y, (0, 95), (5, 13), _BONE if within < 0.6 else 120, edge=2)
    dab(picture, x, y, (0, 83), (11, 9.5), _FAT if disc else 20)
    dab(picture, x, y, (0, 83), (6, 5), 40)
