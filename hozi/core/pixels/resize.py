"""Pictures in another size: each pixel the mean of what it covers, or between its neighbours where there are more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def reduced(frame: Array, height: int, width: int) -> Array:
    """The frame in ``height`` by ``width`` pixels, as fractions; smaller where it shrinks, smooth where it grows."""
    values = frame.astype(np.float64 if frame.dtype.itemsize > 4 else np.float32, copy=False)
    for axis, wanted in sorted(enumerate((height, width)), key=lambda pair: pair[1] / values.shape[pair[0]]):
        full = values.shape[axis]
        if wanted < full:
            values = _shrunk(values, axis, wanted)
        elif wanted > full:
            values = _grown(values, axis, wanted)
    return values


def to_bytes(frame: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """An 8-bit picture in another size."""
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(np.clip(np.rint(reduced(frame, height, width)), 0, 255), np.uint8)


def _shrunk(values: Array, axis: int, wanted: int) -> Array:
    """Fewer rows (axis 0) or columns (axis 1), each the mean of what it covers, parts of pixels counting as parts."""
    # Whole rows are copied and added many times faster than columns.
    rows = values if axis == 0 else np.ascontiguousarray(values.swapaxes(0, 1))
    full = len(rows)
    edges = np.arange(wanted + 1) * (full / wanted)
    first = np.minimum(np.floor(edges[:-1] + 1e-9).astype(np.int64), full - 1)
    total = np.zeros((wanted, *rows.shape[1:]), rows.dtype)
    for step in range(int(np.ceil(full / wanted)) + 1):
        places = first + step
        covered = np.minimum(edges[1:], places + 1) - np.maximum(edges[:-1], places)
        shares = np.clip(covered, 0, None) * (wanted / full)
        if not shares.any():
            break
        part = rows.take(np.minimum(places, full - 1), axis=0)
        part *= _along(shares.astype(rows.dtype), 0, rows.ndim)
        total += part
    return total if axis == 0 else total.swapaxes(0, 1)


def _grown(values: Array, axis: int, wanted: int) -> Array:
    full = values.shape[axis]
    places = np.clip((np.arange(wanted) + 0.5) * (full / wanted) - 0.5, 0, full - 1)
    floors = places.astype(np.int64)
    parts = _along(places - floors, axis, values.ndim).astype(values.dtype)
    low, high = np.take(values, floors, axis), np.take(values, np.minimum(floors + 1, full - 1), axis)
    return np.asarray(low + (high - low) * parts)


def _along(numbers: Array, axis: int, dimensions: int) -> Array:
    """Numbers that count along one axis of an array of so many."""
    return numbers.reshape([-1 if place == axis else 1 for place in range(dimensions)])
