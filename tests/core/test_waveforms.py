"""Waveforms: the amplitudes that the file has, on the millimetres that paper has; nothing filtered, nothing guessed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from hozi.core import waveforms
from hozi.core.dicom import identifier, part10
from hozi.core.errors import Unreadable
from hozi.core.waveforms import LEFT, Group
from tests.corpus import CORPUS
from tests.doors.dimse.images import encoded

ECG = CORPUS / "waveform" / "pydicom__pydicom" / "waveform_ecg.dcm"


def points(path: str) -> np.ndarray[Any, Any]:
    """An SVG path of ours as absolute points, in millimetres."""
    found: list[tuple[int, int]] = []
    for piece in path.split("M")[1:]:
        start, _, rest = piece.partition("l")
        x, y = map(int, re.findall(r"-?\d+", start.split("h")[0]))
        found.append((x, y))
        numbers = list(map(int, re.findall(r"-?\d+", rest)))
        for right, lower in zip(numbers[::2], numbers[1::2], strict=True):
            x, y = x + right, y + lower
            found.append((x, y))
    return np.array(found) / 100


def group(samples: np.ndarray[Any, Any], kind: str = "SS", unit: str = "mV", **more: Any) -> Group:
    """A group as it comes out of a file with these samples: one row for each moment."""
    channel = Dataset()
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "0.5", "2", "1"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", unit
    channel.ChannelSensitivityUnitsSequence = [code]
    item = Dataset()
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = samples.shape[1], samples.shape[0]
    item.SamplingFrequency = "100"
    item.WaveformBitsAllocated = samples.dtype.itemsize * 8
    item.WaveformSampleInterpretation = kind
    item.ChannelDefinitionSequence = [channel] * samples.shape[1]
    item.add_new("WaveformData", "OW", samples.tobytes())
    for keyword, value in more.items():
        item.add_new(keyword, "OW", value) if isinstance(value, bytes) else setattr(item, keyword, value)
    whole = Dataset()
    whole.WaveformSequence = [item]
    return waveforms.groups(identifier.read(encoded(whole), "1.2.840.10008.1.2.1"))[0]


@pytest.mark.skipif(not ECG.exists(), reason="the corpus is not there")
def test_an_ecg_has_the_amplitudes_of_its_file() -> None:
    data = ECG.read_bytes()
    header = part10.read_header(data)
    rhythm, beat = waveforms.groups(identifier.read(data[header.dataset_offset :], header.transfer_syntax))
    expected = dcmread(ECG).waveform_array(0)  # microvolts
    drawn = waveforms.draw(rhythm)
    assert [one.channel.name for one in drawn.traces][:4] == ["Lead I (Einthoven)", "Lead II", "Lead III", "Lead aVR"]
    assert (beat.label, beat.seconds, drawn.seconds, drawn.width) == ("MEDIAN BEAT", 1.2, 10.0, 265)
    for number, trace in enumerate(drawn.traces):
        assert np.allclose(rhythm.values(number), expected[:, number])
        line = points(trace.path)
        assert len(line) == 10_000  # every sample
        microvolts = (trace.zero - line[:, 1]) / 10 * 1000
        assert np.abs(microvolts - expected[:, number]).max() <= 1.0
        seconds = (line[:, 0] - LEFT) / 25
        assert np.abs(seconds - np.arange(10_000) / 1000).max() <= 0.0005
        assert line[:, 1].min() >= 0 and line[:, 1].max() <= drawn.height


def test_sensitivity_correction_and_baseline_make_the_value() -> None:
    one = group(np.array([[0], [2], [-3]], "<i2"))
    assert one.values(0).tolist() == [1.0, 3.0, -2.0]


def test_a_gap_in_the_recording_is_a_gap_in_the_line() -> None:
    one = group(np.array([[1], [1], [-9], [1], [1]], "<i2"), WaveformPaddingValue=np.int16(-9).tobytes())
    assert np.isnan(one.values(0)).tolist() == [False, False, True, False, False]
    assert waveforms.draw(one).traces[0].path.count("M") == 2


def test_what_is_no_voltage_has_a_scale_that_is_told() -> None:
    pressure = group(np.linspace(60, 140, 200).astype("<i2").reshape(-1, 1), unit="mm[Hg]")
    [trace] = waveforms.draw(pressure).traces
    assert trace.ten == "50 mm[Hg]"
    line = points(trace.path)
    assert abs((trace.zero - line[0, 1]) / trace.scale + trace.level - 61) < 0.1


def test_only_some_seconds_are_drawn_at_once_and_never_too_many_points() -> None:
    long = group(np.zeros((100 * 3600, 2), "<i2"))
    drawn = waveforms.draw(long, first=1800)
    assert (drawn.first, drawn.seconds, long.seconds) == (1800.0, 10.0, 3600.0)
    assert waveforms.draw(long, first=10**9).seconds > 0
    assert sum(len(points(one.path)) for one in waveforms.draw(long, seconds=10**9).traces) <= 400_000


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(Unreadable, match="fewer samples"):
        group(np.zeros((4, 1), "<i2"), NumberOfWaveformSamples=500)
    with pytest.raises(Unreadable, match="cannot be"):
        group(np.zeros((4, 1), "<i2"), SamplingFrequency="0")
    with pytest.raises(Unreadable, match="not known"):
        group(np.zeros((4, 1), "<i2"), WaveformSampleInterpretation="XX")
    with pytest.raises(Unreadable, match="no waveform"):
        waveforms.groups(Dataset())


@given(st.lists(st.integers(-32768, 32767), min_size=2, max_size=12))
def test_a_line_never_drifts_from_its_samples(samples: list[int]) -> None:
    one = group(np.array(samples, "<i2").reshape(-1, 1), unit="uV")
    [trace] = waveforms.draw(one).traces
    heights = one.values(0) / 1000 * 10
    assert np.abs(trace.zero - points(trace.path)[:, 1] - heights).max() <= 0.0051
