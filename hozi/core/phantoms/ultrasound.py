"""One beat of a heart in ultrasound, seen from its tip, with the flow of the blood in colour."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hozi.core.phantoms.shapes import Plane, ellipse, grain, soft

FRAMES: Final = 40
ROWS: Final = 480
COLUMNS: Final = 640
FRAME_MILLISECONDS: Final = 25.0
DEPTH_MM: Final = 160.0
SPACING: Final = 0.4
"""Millimetres of a pixel, within the sector."""

SECTOR: Final = (116, 30, 523, 431)
"""The sector's box: first column and row, last column and row."""

_SEED: Final = 1954
_APEX: Final = (319.5, 30.0)
_HALF_ANGLE: Final = math.radians(39)
_LINES: Final = 240
_SAMPLES: Final = 520
_FASTEST: Final = 0.62
"""Metres per second at which the colours are at their end."""


_BOX: Final = (-18.0, 54.0, 34.0, 138.0)
"""Where flow is measured: mm to the right (from, to) and away from the probe (from, to)."""


def _pixels(box: tuple[float, float, float, float]) -> Iterator[float]:
    """A box of mm as one of columns and rows."""
    for number, edge in enumerate(box):
        yield _APEX[number // 2] + edge / SPACING


@dataclass(frozen=True)
class _Beat:
    """Where the heart is in its beat: 0 to 1, from one filling to the next."""

    squeeze: float
    valve: float
    inflow: float
    outflow: float


def _beat(phase: float) -> _Beat:
    squeeze = math.sin(math.pi * min(phase / 0.42, 1)) ** 2 if phase < 0.42 else 0.0
    early = math.exp(-(((phase - 0.56) / 0.06) ** 2))
    late = math.exp(-(((phase - 0.88) / 0.045) ** 2)) * 0.7
    return _Beat(squeeze, min(1.0, 1.25 * (early + late)), early + late, math.exp(-(((phase - 0.2) / 0.09) ** 2)))


def frames() -> Iterator[NDArray[np.uint8]]:
    """`FRAMES` pictures of `ROWS` x `COLUMNS` x 3 (RGB), which join end to end; always the same ones."""
    random = np.random.default_rng(_SEED)
    speckle = _speckle(random)
    scan = _Conversion()
    background = _frame_of_everything()
    for number in range(FRAMES):
        phase = number / FRAMES
        beat = _beat(phase)
        x, z = scan.places()
        tissue, cavity = _heart(x, z, beat)
        moved = _displaced(speckle, beat)
        echo = tissue * moved + 0.006 * np.abs(grain(random, (_SAMPLES, _LINES), 0.05, 0.45))
        level = (20 * np.log10(np.maximum(echo, 1e-4)) + 52) / 60
        grey = np.asarray(np.clip(level, 0, 1) ** 1.15, np.float32)
        colour, shown = _flow(x, z, cavity, beat, random)
        picture = background.copy()
        scan.draw(picture, grey, colour, shown)
        _trace(picture, phase)
        yield np.asarray(np.clip(picture * 255, 0, 255), np.uint8)


class _Conversion:
    """From beams (depth x lines) to pixels, and from beams to places in mm."""

    def __init__(self) -> None:
        columns = np.arange(COLUMNS, dtype=np.float32)[np.newaxis, :] - np.float32(_APEX[0])
        rows = np.arange(ROWS, dtype=np.float32)[:, np.newaxis] - np.float32(_APEX[1])
        depth = np.hypot(columns, rows) * np.float32(SPACING)
        angle = np.arctan2(columns, np.maximum(rows, 1e-3))
        self.inside = (np.abs(angle) < _HALF_ANGLE) & (depth < DEPTH_MM) & (rows > 0) & (depth > 3)
        self._line = ((angle / _HALF_ANGLE + 1) / 2 * (_LINES - 1))[self.inside]
        self._sample = (depth / np.float32(DEPTH_MM) * (_SAMPLES - 1))[self.inside]

    def places(self) -> tuple[Plane, Plane]:
        """Millimetres to the right of the middle and away from the probe, for each sample of each line."""
        depth = np.linspace(0, DEPTH_MM, _SAMPLES, dtype=np.float32)[:, np.newaxis]
        angle = np.linspace(-_HALF_ANGLE, _HALF_ANGLE, _LINES, dtype=np.float32)[np.newaxis, :]
        return depth * np.sin(angle), depth * np.cos(angle)

    def draw(self, picture: Plane, grey: Plane, colour: Plane, shown: Plane) -> None:
        """Puts the sector into the picture: grey, with colour over it where it is to be shown."""
        tone = self._at(grey)
        cover = self._at(shown)
        for channel in range(3):
            mixed = tone + cover * (self._at(colour[..., channel]) - tone)
            picture[..., channel][self.inside] = mixed
        # The box in which flow is measured.
        left, right, top, bottom = (round(edge) for edge in _pixels(_BOX))
        outline = np.zeros((ROWS, COLUMNS), bool)
        outline[top : bottom + 1, left : right + 1] = True
        outline[top + 1 : bottom, left + 1 : right] = False
        picture[outline & self.inside] = (0.62, 0.62, 0.5)

    def _at(self, beams: Plane) -> Plane:
        line, sample = self._line.astype(np.intp), self._sample.astype(np.intp)
        across, down = self._line - line, self._sample - sample
        right, below = np.minimum(line + 1, _LINES - 1), np.minimum(sample + 1, _SAMPLES - 1)
        upper = beams[sample, line] * (1 - across) + beams[sample, right] * across
        lower = beams[below, line] * (1 - across) + beams[below, right] * across
        return np.asarray(upper * (1 - down) + lower * down, np.float32)


def _speckle(random: np.random.Generator) -> Plane:
    """The grain of tissue: finer along the beam than across it, as echoes that add up at random give it."""
    shape = (_SAMPLES, _LINES)
    down = np.exp(-((np.fft.fftfreq(_SAMPLES)[:, np.newaxis] / 0.17) ** 2))
    across = np.exp(-((np.fft.fftfreq(_LINES)[np.newaxis, :] / 0.13) ** 2))
    scattered = random.standard_normal(shape) + 1j * random.standard_normal(shape)
    envelope = np.abs(np.fft.ifft2(np.fft.fft2(scattered) * down * across))
    return np.asarray(envelope / envelope.mean(), np.float32)


def _displaced(speckle: Plane, beat: _Beat) -> Plane:
    """The grain moves with the muscle: towards the probe while the heart squeezes, most at the valves."""
    sample = np.arange(_SAMPLES, dtype=np.float32)
    shift = 26 * np.float32(beat.squeeze) * np.exp(-(((sample / _SAMPLES - 0.62) / 0.22) ** 2))
    place = np.clip(sample + shift, 0, _SAMPLES - 1)
    low = np.minimum(place.astype(np.intp), _SAMPLES - 2)
    part = (place - low)[:, np.newaxis]
    return np.asarray(speckle[low] * (1 - part) + speckle[low + 1] * part, np.float32)


def _heart(x: Plane, z: Plane, beat: _Beat) -> tuple[Plane, Plane]:
    """How strongly each place echoes, and where the blood of the left ventricle and atrium is."""
    s = beat.squeeze
    ring = 96 - 11 * s  # depth of the valves
    outside = ellipse(x, z, (0, 84), (66 - 4 * s, 74 - 2 * s), edge=8)
    echo = np.float32(0.035) + 0.16 * outside + 0.25 * soft(np.abs(z - 8) - 6, 8)
    left = ellipse(x, z, (21, 62), (25 - 9 * s, 45 - 8 * s), edge=4, power=2.2) * soft(z - ring, 3)
    right = ellipse(x, z, (-25, 66), (17 - 6 * s, 37 - 6 * s), edge=4, power=2.2) * soft(z - ring, 3)
    left_atrium = ellipse(x, z, (20, 121 - 3 * s), (24 + 3 * s, 24 + 2 * s), edge=4) * soft(ring + 2 - z, 3)
    right_atrium = ellipse(x, z, (-25, 119 - 3 * s), (22 + 3 * s, 23 + 2 * s), edge=4) * soft(ring + 2 - z, 3)
    chambers = np.clip(left + right + left_atrium + right_atrium, 0, 1)
    wall = ellipse(x, z, (21, 62), (35 - 5 * s, 56 - 6 * s), edge=5, power=2.2)
    echo = echo + 0.24 * wall
    echo = echo * (1 - chambers) + 0.0035 * chambers
    # Linings that the beam meets squarely shine.
    for chamber in (left, left_atrium, right, right_atrium):
        rim = np.clip(4 * chamber * (1 - chamber), 0, 1)
        echo = echo + 0.42 * rim
    pericardium = ellipse(x, z, (0, 86), (69, 76), edge=3)
    echo = echo + 0.9 * np.clip(4 * pericardium * (1 - pericardium), 0, 1) * soft(40 - z, 20)
    mitral, tricuspid = (
        min(1.6 * beat.valve, 1) * soft(np.abs(x - centre) - 13, 4) * soft(np.abs(z - ring) - 7, 4)
        for centre in (20, -26)
    )
    opening = np.clip(mitral + tricuspid, 0, 1)
    echo = echo + opening * (0.0035 - echo)
    for hinge, length, way in ((-2.0, 21.0, 1), (43.0, 17.0, -1), (-9.0, 14.0, -1), (-43.0, 15.0, 1)):
        echo = echo + 0.8 * _leaflet(x, z, (hinge, ring), length, way, beat.valve)
    fading = np.exp(-z / 190) * (1 + 0.4 * np.exp(-(((z - 70) / 40) ** 2)))
    return np.asarray(echo * fading, np.float32), np.asarray(np.clip(left + left_atrium + mitral, 0, 1), np.float32)


def _leaflet(x: Plane, z: Plane, hinge: tuple[float, float], length: float, way: int, opened: float) -> Plane:
    """One leaf of a valve: across the opening when closed, hanging into the ventricle when open."""
    angle = math.radians(12 + 62 * opened)
    step = (way * math.cos(angle) * length, -math.sin(angle) * length)
    along = np.clip(((x - hinge[0]) * step[0] + (z - hinge[1]) * step[1]) / length**2, 0, 1)
    away = np.hypot(x - hinge[0] - along * step[0], z - hinge[1] - along * step[1])
    return soft(away - 1.1, 1.6)


def _flow(
    x: Plane, z: Plane, cavity: Plane, beat: _Beat, random: np.random.Generator
) -> tuple[NDArray[np.float32], Plane]:
    """Colours of the flow (red towards the probe, blue away from it), and how far they cover the grey."""
    jet = np.exp(-(((x - 20 - (96 - z) * 0.02) / (8 + np.abs(z - 92) * 0.13)) ** 2))
    filling = beat.inflow * jet * np.exp(-(((z - 84) / 30) ** 2))
    leaving = (
        beat.outflow
        * np.exp(-(((x - 5 - (90 - z) * 0.25) / 9) ** 2))
        * np.exp(-(((z - 76) / 24) ** 2))
        * soft(z - 86, 8)
    )
    whirl = 0.16 * beat.inflow * np.exp(-(((x - 36) / 7) ** 2 + ((z - 66) / 22) ** 2))
    speed = 0.95 * filling - 0.78 * leaving - whirl
    speed = speed * (1 + 0.16 * grain(random, (_SAMPLES, _LINES), 0.02, 0.12))
    window = soft(np.abs(x - 18) - 36, 1) * soft(np.abs(z - 86) - 52, 1)
    shown = cavity * window * soft(0.1 - np.abs(speed), 0.05)
    folded = np.remainder(speed / _FASTEST + 1, 2) - 1  # beyond the end, the colours begin at the other side
    return _colours(np.asarray(folded, np.float32)), np.asarray(np.clip(shown, 0, 1), np.float32)


def _colours(value: Plane) -> NDArray[np.float32]:
    """Dark red to yellow for 0 to 1, dark blue to cyan for 0 to -1."""
    strength = np.abs(value)
    main = np.float32(0.35) + 0.65 * np.sqrt(strength)
    mixed = np.clip(strength * 1.5 - 0.45, 0, 1)
    towards = value >= 0
    return np.stack(
        (np.where(towards, main, 0.05), mixed * np.where(towards, 0.92, 0.9), np.where(towards, 0.04, main)), axis=-1
    ).astype(np.float32)


def _frame_of_everything() -> Plane:
    """What stands around the sector and does not move: scales for grey, colour and depth."""
    picture = np.zeros((ROWS, COLUMNS, 3), np.float32)
    steps = np.linspace(1, 0, 150, dtype=np.float32)[:, np.newaxis]
    picture[60:210, 600:612] = steps[..., np.newaxis]
    picture[240:390, 600:612] = _colours(np.asarray(steps * 2 - 1, np.float32))
    picture[314:316, 600:612] = 0
    for millimetres in range(0, int(DEPTH_MM) + 1, 10):
        row = round(_APEX[1] + millimetres / SPACING)
        picture[row, 566 if millimetres % 50 else 560 : 574] = 0.75
    return picture


def _trace(picture: Plane, phase: float) -> None:
    """The electrocardiogram below, with the moment of this frame on it."""
    columns = np.arange(116, 524)
    moment = (columns - 116) / (523 - 116)
    wave = np.zeros_like(moment)
    for at, width, height in (
        (0.02, 0.006, -3),
        (0.035, 0.009, 24),
        (0.055, 0.008, -6),
        (0.3, 0.04, 6),
        (0.9, 0.02, 4),
    ):
        for turn in (-1, 0, 1):
            wave += height * np.exp(-(((moment - at + turn) / width) ** 2))
    rows = np.round(466 - wave).astype(np.intp)
    for column, begin, end in zip(columns, rows, np.append(rows[1:], rows[-1]), strict=True):
        low, high = sorted((int(begin), int(end)))
        picture[low : high + 1, column] = (0.2, 0.85, 0.35)
    now = 116 + round(phase * (523 - 116))
    picture[438:476, now] = (0.9, 0.75, 0.25)
