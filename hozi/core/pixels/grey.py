"""From stored values to what a screen shows: modality, window, presentation (PS3.3 §C.11, PS3.4 §N.2).

Whole numbers of up to 16 bits go through one table, made once for an image and kept for the next ones like it; longer
ones and fractions are worked out pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hozi.core.pixels.decode import Layout
from hozi.core.pixels.tables import Lut

Array = NDArray[Any]
Window = tuple[float, float, str]

_LINEAR: Final = "LINEAR"
FUNCTIONS: Final = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True, slots=True)
class Grey:
    """How the grey values of a frame are to be shown.

    ``modality``: slope and intercept, or a table. ``voi``: a window, a table, or None: then ``range`` is shown, and
    without one nearly all values that there are. ``presentation``: a table for what comes out of it. ``inverse``: the
    greatest value is black. ``padding``: stored values from the first to the second one are no image.
    """

    modality: tuple[float, float] | Lut = (1.0, 0.0)
    voi: Window | Lut | None = None
    range: tuple[float, float] | None = None
    presentation: Lut | None = None
    inverse: bool = False
    padding: tuple[int, int] | None = None

    def shown(self, pixels: Array, layout: Layout) -> NDArray[np.uint8]:
        """Grey from 0 to 255 for the samples of a frame, as `samples.Image.frame` gives them."""
        if pixels.dtype.kind == "f" or layout.bits_stored > 16:
            return self._directly(pixels)
        bits = min(layout.bits_stored, pixels.dtype.itemsize * 8)
        index = pixels.view(f"{pixels.dtype.byteorder}u{pixels.dtype.itemsize}") if pixels.dtype.kind == "i" else pixels
        if bits < pixels.dtype.itemsize * 8:
            index = index & index.dtype.type((1 << bits) - 1)
        if self.voi is None and self.range is None:
            table = self._stretching(index, bits, signed=layout.signed)
        else:
            table = _table(self, bits, layout.signed)
        return table.take(index)

    def values(self, raw: Array) -> Array:
        """Stored values in the units of the modality."""
        if isinstance(self.modality, Lut):
            return self.modality.of(raw)
        slope, intercept = self.modality
        return raw * slope + intercept

    def _stretching(self, index: Array, bits: int, *, signed: bool) -> NDArray[np.uint8]:
        counts = np.bincount(index.reshape(-1), minlength=1 << bits)
        raw = _raw(bits, signed)
        if self.padding is not None:
            counts = np.where(self._padded(raw), 0, counts)
        values = self.values(raw)
        rises = not signed and not isinstance(self.modality, Lut) and self.modality[0] >= 0
        order = None if rises else np.argsort(values, kind="stable")
        sums = np.cumsum(counts if order is None else counts[order])
        if not sums[-1]:
            return np.zeros(1 << bits, np.uint8)
        ends = np.searchsorted(sums, (sums[-1] * 0.005, sums[-1] * 0.995))
        if ends[0] == ends[1]:
            ends = np.searchsorted(sums, (1, sums[-1]))
        low, high = (values if order is None else values[order])[ends]
        return self._made(values, raw, between(float(low), float(high)))

    def _directly(self, pixels: Array) -> NDArray[np.uint8]:
        raw = pixels.astype(np.float64)
        sound = np.isfinite(raw)
        values = self.values(np.where(sound, raw, 0))
        if self.voi is None and self.range is None:
            seen = values[sound & ~self._padded(raw)]
            low, high = np.percentile(seen, (0.5, 99.5)) if seen.size else (0.0, 1.0)
            if high <= low and seen.size:
                low, high = seen.min(), seen.max()
            return np.where(sound, self._made(values, raw, between(float(low), float(high))), 0).astype(np.uint8)
        return np.where(sound, self._made(values, raw, self.function()), 0).astype(np.uint8)

    def function(self) -> Callable[[Array], Array]:
        """What makes fractions from 0 to 1 of values in the units of the modality."""
        if isinstance(self.voi, Lut):
            voi = self.voi
            return lambda values: voi.of(values) / voi.highest
        if self.voi is not None:
            return through(self.voi)
        return between(*(self.range or (0.0, 1.0)))

    def ramp(self) -> tuple[float, float] | None:
        """The stored values at which a straight line from black to white begins and ends; None: it is no such line."""
        if isinstance(self.modality, Lut) or isinstance(self.voi, Lut) or self.presentation is not None:
            return None
        slope, intercept = self.modality
        if self.voi is None:
            ends = self.range
        else:
            center, width, function = self.voi
            half = width / 2 + 1
            ends = None if function == "SIGMOID" else (center - half, center + half)
        if ends is None or slope <= 0 or ends[1] <= ends[0]:
            return None
        low, high = ((end - intercept) / slope for end in ends)
        return (low, high) if abs(low) < 1e9 and abs(high) < 1e9 else None

    def _padded(self, raw: Array) -> Array:
        if self.padding is None:
            return np.zeros(raw.shape, bool)
        low, high = sorted(self.padding)
        return (raw >= low) & (raw <= high)

    def _made(self, values: Array, raw: Array, function: Callable[[Array], Array]) -> NDArray[np.uint8]:
        shown = np.clip(function(values), 0, 1)
        if self.presentation is not None:
            lut = self.presentation
            shown = lut.of(lut.first + shown * (len(lut.entries) - 1)) / lut.highest
        if self.inverse:
            shown = 1 - shown
        grey = np.asarray(np.rint(shown * 255), np.uint8)
        if self.padding is not None:
            grey[self._padded(raw)] = 0
        return grey


def through(window: Window) -> Callable[[Array], Array]:
    """What a window makes of values: fractions, below 0 and above 1 beyond it (PS3.3 §C.11.2.1.2 and 1.3)."""
    center, width, function = window
    if function == "SIGMOID":
        return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -50, 50)))
    if function == "LINEAR_EXACT":
        return lambda values: (values - center) / width + 0.5
    if width <= 1:
        return lambda values: np.where(values <= center - 0.5, 0.0, 1.0)
    return lambda values: (values - (center - 0.5)) / (width - 1) + 0.5


def between(low: float, high: float) -> Callable[[Array], Array]:
    """Values from ``low`` (black) to ``high`` (white)."""
    if high <= low:
        return lambda values: np.where(values < low, 0.0, np.where(values > low, 1.0, 0.5))
    return lambda values: (values - low) / (high - low)


@lru_cache(maxsize=32)
def _table(grey: Grey, bits: int, signed: bool) -> NDArray[np.uint8]:
    raw = _raw(bits, signed)
    ramp = grey.ramp()
    if ramp is None:
        return grey._made(grey.values(raw), raw, grey.function())
    # Below it all is black, above it white: only what lies between is worked out.
    least = int(raw.min())
    first, last = (min(max(int(end), least), least + len(raw)) for end in (np.floor(ramp[0]), np.ceil(ramp[1]) + 1))
    table = np.zeros(len(raw), np.uint8)
    table[last - least :] = 255
    steps = np.arange(first, last, dtype=np.float64)
    table[first - least : last - least] = np.rint(np.clip(grey.function()(grey.values(steps)), 0, 1) * 255)
    if grey.inverse:
        table = 255 - table
    if signed:
        table = np.roll(table, len(raw) // 2)  # patterns of bits count from 0 on
    if grey.padding is not None:
        table[grey._padded(raw)] = 0
    return table


@lru_cache(maxsize=8)
def _raw(bits: int, signed: bool) -> Array:
    """The number that each pattern of bits stands for."""
    numbers = np.arange(1 << bits, dtype=np.float64)
    if signed:
        numbers[1 << bits - 1 :] -= 1 << bits
    return numbers
