"""Shapes with soft edges, as arrays of how much of each pixel they cover: 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


def grid(rows: int, columns: int, spacing: float) -> tuple[Plane, Plane]:
    """Millimetres to the right (one row) and downwards (one column) from the middle, for pixels of ``spacing`` mm."""
    x = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) * np.float32(spacing)
    y = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) * np.float32(spacing)
    return x[np.newaxis, :], y[:, np.newaxis]


def soft(distance: NDArray[Any], edge: float) -> Plane:
    """Coverage by the signed distance to a border: 1 well inside (negative), 0 outside, smooth over ``edge`` mm."""
    covered: Plane = np.clip(np.float32(0.5) - distance.astype(np.float32, copy=False) / np.float32(edge), 0, 1)
    return covered


def ellipse(
    x: Plane, y: Plane, centre: tuple[float, float], radii: tuple[float, float], *, edge: float = 1.5, power: float = 2
) -> Plane:
    """An ellipse; with ``power`` above 2 its sides are flatter, as those of a body are."""
    if min(radii) <= 0:
        return np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    reach = np.abs((x - centre[0]) / radii[0]) ** power + np.abs((y - centre[1]) / radii[1]) ** power
    return soft((reach ** (1 / power) - 1) * min(radii), edge)


def paint(picture: Plane, coverage: Plane, value: float | Plane) -> None:
    """Puts a value over what is there, as far as it covers."""
    picture += coverage * (value - picture)


def dab(
    picture: Plane,
    x: Plane,
    y: Plane,
    centre: tuple[float, float],
    radii: tuple[float, float],
    value: float,
    *,
    edge: float = 1.5,
    power: float = 2,
) -> None:
    """Paints an `ellipse`, and touches only the pixels around it; ``x`` is one row and ``y`` one column."""
    rows, columns = (
        slice(*np.searchsorted(axis, (middle - radius - edge, middle + radius + edge)))
        for axis, middle, radius in zip((y[:, 0], x[0]), centre[::-1], radii[::-1], strict=True)
    )
    covered = ellipse(x[:, columns], y[rows], centre, radii, edge=edge, power=power)
    paint(picture[rows, columns], covered, value)


def grain(random: np.random.Generator, shape: tuple[int, int], low: float, high: float) -> Plane:
    """Noise whose spatial frequencies lie between two (in cycles per pixel), with a mean of 0 and a deviation of 1."""
    vertical = np.fft.fftfreq(shape[0])[:, np.newaxis]
    horizontal = np.fft.rfftfreq(shape[1])[np.newaxis, :]
    frequency = np.hypot(vertical, horizontal)
    passed = (frequency / low) ** 2 / (1 + (frequency / low) ** 2) * np.exp(-((frequency / high) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(random.standard_normal(shape)) * passed, s=shape)
    return np.asarray(noise / noise.std(), np.float32)
