"""Waveforms (ECG, pressure ...) as lines on a millimetre grid, to be read and printed (PS3.3 §C.10.9).

25 mm are a second and 10 mm a millivolt, as on paper. Nothing is filtered, smoothed or left out: every sample of the
part that is drawn is a point of its line, to the hundredth of a millimetre (a microvolt, 0.4 ms).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from hozi.core.dicom import plain
from hozi.core.errors import Unreadable

MM_A_SECOND: Final = 25.0
MM_A_MILLIVOLT: Final = 10.0
UNITS_A_MM: Final = 100
"""Lines are drawn in units of a hundredth of a millimetre."""

MOST_CHANNELS: Final = 256
_MOST_POINTS: Final = 400_000
"""Points on one page: twelve leads of ten seconds at 1000 Hz are 120,000."""

_LEAST_ROW: Final = 12.0
_MOST_ROW: Final = 120.0
_PLAIN_ROW: Final = 20.0
_KINDS: Final = {
    "SB": "i1",
    "UB": "u1",
    "SS": "<i2",
    "US": "<u2",
    "SL": "<i4",
    "UL": "<u4",
    "SV": "<i8",
    "UV": "<u8",
    "MB": "u1",
    "AB": "u1",
}
_LEAD: Final = re.compile(r"(?:Lead |ECG )?(I{1,3}|aV[RLF]|V[1-9]R?|-?aVR)(?: \(.*\))?")
_LEAST_WIDTH: Final = 150.0
_MILLIVOLTS: Final = {"uV": 0.001, "mV": 1.0, "V": 1000.0, "nV": 1e-6, "µV": 0.001}


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel. A sample's value is ``sample * factor + baseline``, in ``unit``; filters in hertz, as text.

    ``skew``: seconds by which it began later than the first one.
    """

    number: int
    name: str
    unit: str
    sensitivity: float
    correction: float
    baseline: float
    bits: int
    low: str = ""
    high: str = ""
    notch: str = ""
    skew: float = 0.0

    @property
    def factor(self) -> float:
        """What one step of a sample is."""
        return self.sensitivity * self.correction


@dataclass(frozen=True, slots=True)
class Group:
    """Channels that were sampled together (a multiplex group). ``samples``: one row for each channel, as stored.

    ``padding``: the sample that means "nothing was recorded here".
    """

    number: int
    label: str
    originality: str
    frequency: float
    channels: tuple[Channel, ...]
    samples: np.ndarray[Any, Any]
    padding: int | None = None

    @property
    def seconds(self) -> float:
        """How long the recording is."""
        return float(self.samples.shape[1] / self.frequency)

    def values(self, channel: int) -> np.ndarray[Any, Any]:
        """What a channel (from 0) measured, in its unit; NaN where nothing was recorded."""
        one = self.channels[channel]
        values = self.samples[channel] * one.factor + one.baseline
        if self.padding is not None:
            values[self.samples[channel] == self.padding] = np.nan
        return np.asarray(values)


@dataclass(frozen=True, slots=True)
class Annotation:
    """What the device or a person wrote beside it: a text, or a measurement (name, value with unit)."""

    name: str
    value: str


def groups(dataset: Dataset) -> list[Group]:
    """The multiplex groups of a dataset of plain values, numbers in little endian. Raises `Unreadable`."""
    found = [_group(item, number) for number, item in enumerate(plain.items(dataset, "WaveformSequence")[:16], 1)]
    if not found:
        raise Unreadable("There is no waveform in this object.")
    return found


def written_beside(dataset: Dataset, most: int = 200) -> list[Annotation]:
    """What is written beside the waveform; measurements without a value are left out."""
    found = []
    for one in plain.items(dataset, "WaveformAnnotationSequence")[:most]:
        name = plain.meaning(one, "ConceptNameCodeSequence")
        number = plain.text(one, "NumericValue")
        value = plain.text(one, "UnformattedTextValue") or plain.meaning(one, "ConceptCodeSequence")
        if number:
            value = " ".join(filter(None, (number, plain.unit(one))))
        if value:
            found.append(Annotation(name, value))
    return found


def _group(item: Dataset, number: int) -> Group:
    told = plain.text(item, "WaveformSampleInterpretation")
    kind = _KINDS.get(told)
    if kind is None:
        raise Unreadable("The samples of this waveform are of a kind that is not known.")
    count = int(plain.number(item, "NumberOfWaveformChannels"))
    length = int(plain.number(item, "NumberOfWaveformSamples"))
    frequency = plain.number(item, "SamplingFrequency")
    data = plain.value(item, "WaveformData")
    size = np.dtype(kind).itemsize
    if not 0 < count <= MOST_CHANNELS or length < 1 or not 1e-3 <= frequency <= 1e7 or not isinstance(data, bytes):
        raise Unreadable("What this waveform says of its channels and samples cannot be.")
    if len(data) < count * length * size:
        raise Unreadable("The waveform has fewer samples than it says.")
    samples = np.frombuffer(data, kind, count * length).reshape(length, count).T
    if told in ("MB", "AB"):
        samples = _expanded(samples, told)
    definitions = plain.items(item, "ChannelDefinitionSequence")
    channels = tuple(
        _channel(definitions[n] if n < len(definitions) else Dataset(), n, frequency) for n in range(count)
    )
    padding = plain.value(item, "WaveformPaddingValue")
    gap: int | None = None
    if isinstance(padding, bytes) and len(padding) >= size:
        gap = int(np.frombuffer(padding, kind, 1)[0])
    return Group(
        number,
        plain.text(item, "MultiplexGroupLabel"),
        plain.text(item, "WaveformOriginality"),
        frequency,
        channels,
        samples,
        gap,
    )


def _channel(told: Dataset, number: int, frequency: float) -> Channel:
    name = plain.meaning(told, "ChannelSourceSequence") or plain.text(told, "ChannelLabel") or str(number + 1)
    skew = plain.number(told, "ChannelTimeSkew") or plain.number(told, "ChannelSampleSkew") / frequency
    _scheme, code = plain.code(told, "ChannelSensitivityUnitsSequence")
    return Channel(
        number=number,
        name=name,
        unit=code if code in _MILLIVOLTS else plain.unit(told, "ChannelSensitivityUnitsSequence"),
        sensitivity=plain.number(told, "ChannelSensitivity", 1.0),
        correction=plain.number(told, "ChannelSensitivityCorrectionFactor", 1.0),
        baseline=plain.number(told, "ChannelBaseline"),
        bits=int(plain.number(told, "WaveformBitsStored")),
        low=plain.text(told, "FilterLowFrequency"),
        high=plain.text(told, "FilterHighFrequency"),
        notch=plain.text(told, "NotchFilterFrequency"),
        skew=skew if abs(skew) < 60 else 0.0,
    )


def _expanded(samples: np.ndarray[Any, Any], kind: str) -> np.ndarray[Any, Any]:
    """Samples of speech (ITU-T G.711, mu-law and A-law) as the numbers that they stand for."""
    if kind == "MB":
        negated = ~samples.astype(np.uint8)
        exponent, mantissa = ((negated >> 4) & 7).astype(np.int32), (negated & 15).astype(np.int32)
        size = (((mantissa << 3) + 0x84) << exponent) - 0x84
        return np.where(negated & 0x80, -size, size)
    flipped = samples.astype(np.uint8) ^ 0x55
    exponent, mantissa = ((flipped >> 4) & 7).astype(np.int32), (flipped & 15).astype(np.int32)
    size = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(flipped & 0x80, size, -size)


# On paper -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trace:
    """One channel as a line: ``path`` in hundredths of a millimetre, from the left edge of the drawing and its zero.

    ``pulse``: a calibration pulse of ten millimetres stands before it; once for lines of the same scale.
    ``zero``: millimetres from the top at which the value ``level`` lies; ``scale``: millimetres for one ``unit``.
    """

    channel: Channel
    path: str
    zero: float
    scale: float
    level: float
    pulse: bool = True

    @property
    def above(self) -> float:
        """Millimetres from the top at which the channel's name stands: over the beginning of its line."""
        return max(self.zero - 3.5, 3.0)

    @property
    def beside(self) -> float:
        """Millimetres from the top at which a lead's name stands before its line, under a pulse that is there."""
        return self.zero + (4.0 if self.pulse else 1.0)

    @property
    def lead(self) -> str:
        """What a lead of an ECG is called for short: V1 for ``Lead V1``, I for ``Lead I (Einthoven)``."""
        found = _LEAD.fullmatch(self.channel.name)
        return found[1] if found is not None and self.channel.unit in _MILLIVOLTS else ""

    @property
    def ten(self) -> str:
        """What ten millimetres upwards mean."""
        return f"{10 / self.scale:g} {self.channel.unit}".strip()


@dataclass(frozen=True, slots=True)
class Drawing:
    """Some seconds of a group on a grid of ``width`` times ``height`` millimetres; the lines begin at ``left``."""

    group: Group
    first: float
    seconds: float
    width: float
    height: float
    left: float
    traces: tuple[Trace, ...]
    unit: float = 1 / UNITS_A_MM
    """Millimetres of one unit of the paths."""

    @property
    def until(self) -> float:
        """Seconds at which the part ends."""
        return self.first + self.seconds

    @property
    def millivolts(self) -> bool:
        """Whether all lines are voltages of a body."""
        return all(trace.channel.unit in _MILLIVOLTS for trace in self.traces)

    @property
    def foot(self) -> float:
        """Millimetres from the top of the last line of text."""
        return self.height - 1.0


LEFT: Final = 12.0
"""Millimetres for the calibration pulse, before the lines begin."""


def draw(group: Group, *, first: float = 0.0, seconds: float = 10.0) -> Drawing:
    """The part of a group that begins ``first`` seconds in; shorter where there is no more, or too much at once."""
    length = group.samples.shape[1]
    begin = min(max(int(first * group.frequency), 0), max(length - 1, 0))
    most = max(_MOST_POINTS // len(group.channels), 2)
    end = min(length, begin + min(max(int(seconds * group.frequency), 2), most))
    traces: list[Trace] = []
    top = 2.0
    for number, channel in enumerate(group.channels):
        values = group.values(number)[begin:end]
        scale, level = _scale(channel, values)
        heights = (values - level) * scale
        above, below = _extent(heights)
        height = min(max(above + below + 1, _LEAST_ROW), _MOST_ROW)
        zero = top + (height - above - below) / 2 + above
        zero = min(zero, top + height)
        steps = (np.arange(len(values)) / group.frequency + channel.skew) * MM_A_SECOND + LEFT
        path = "".join(_path(steps, zero - heights))
        known = {(one.channel.unit, one.scale) for one in traces}
        traces.append(Trace(channel, path, zero, scale, level, (channel.unit, scale) not in known))
        top += height
    taken = (end - begin) / group.frequency
    width = max(math.ceil((LEFT + taken * MM_A_SECOND) / 5) * 5, _LEAST_WIDTH)
    return Drawing(group, begin / group.frequency, taken, width, math.ceil((top + 4) / 5) * 5, LEFT, tuple(traces))


def _scale(channel: Channel, values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Millimetres for one unit, and the value at the line's zero: 10 mm/mV and 0 where it is a voltage of a body."""
    if channel.unit in _MILLIVOLTS:
        return MM_A_MILLIVOLT * _MILLIVOLTS[channel.unit], 0.0
    known = values[np.isfinite(values)]
    least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    span = max(most - least, 1e-9)
    ten = 10.0 ** math.floor(math.log10(span / (_PLAIN_ROW / 10)))
    ten *= next(step for step in (1, 2, 5, 10) if span / (ten * step) * 10 <= _PLAIN_ROW)
    return 10 / ten, math.floor(least / ten) * ten


def _extent(heights: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Millimetres above and below the zero."""
    known = heights[np.isfinite(heights)]
    if not len(known):
        return 0.0, 0.0
    return min(max(float(known.max()), 0.0), _MOST_ROW), min(max(-float(known.min()), 0.0), _MOST_ROW)


def _path(across: np.ndarray[Any, Any], down: np.ndarray[Any, Any]) -> Iterator[str]:
    """The points as an SVG path of whole numbers, each relative to the one before; a gap lifts the pen."""
    known = np.isfinite(down)
    x = np.rint(across * UNITS_A_MM).astype(np.int64)
    y = np.rint(np.where(known, np.clip(down, -1e4, 1e4), 0) * UNITS_A_MM).astype(np.int64)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield f"M{x[begin]} {y[begin]}"
        if end - begin == 1:
            yield "h1"
            continue
        yield "l"
        right, lower = np.diff(x[begin:end]).tolist(), np.diff(y[begin:end]).tolist()
        yield " ".join(f"{r} {d}" if d >= 0 else f"{r}{d}" for r, d in zip(right, lower, strict=True))
