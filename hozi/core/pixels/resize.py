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
    full = values.shape[axis]
    step, left = divmod(full, wanted)
    if not left:
        shape = (*values.shape[:axis], wanted, step, *values.shape[axis + 1 :])
        if step <= 8:  # sums of whole planes are faster than a mean along an axis
            parts = values.reshape(shape)
            total = np.take(parts, 0, axis + 1)
            for place in range(1, step):
                total = total + np.take(parts, place, axis + 1)
            return np.asarray(total * total.dtype.type(1 / step))
        return np.asarray(values.reshape(shape).mean(axis=axis + 1, dtype=values.dtype))
    # The integral at the fractional edges: what lies between two of them is what a pixel covers.
    sums = np.zeros((*values.shape[:axis], full + 1, *values.shape[axis + 1 :]), np.float64)
    np.cumsum(values, axis=axis, out=sums[(slice(None),) * axis + (slice(1, None),)])
    edges = np.arange(wanted + 1) * (full / wanted)
    floors = np.minimum(edges.astype(np.int64), full)
    parts = _along(edges - floors, axis, values.ndim)
    below, above = np.take(sums, floors, axis), np.take(sums, np.minimum(floors + 1, full), axis)
    at = below + (above - below) * parts
    return np.asarray(np.diff(at, axis=axis) * (wanted / full), values.dtype)


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
