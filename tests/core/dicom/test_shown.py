"""What an image says about how it is shown and measured."""

from __future__ import annotations

import copy
import struct
from typing import Any

import pytest
from pydicom import Dataset

from hozi.core.dicom import shown, syntaxes
from hozi.core.dicom.keys import tag_of
from tests.doors.dimse.images import BIG, EXPLICIT, IMPLICIT, encoded, image


def told(dataset: Dataset, syntax: str = EXPLICIT, **changes: Any) -> dict[str, Any]:
    by_tag = {tag_of(name): value for name, value in changes.items()}
    return shown.of_dataset(encoded(dataset, syntax), syntaxes.for_unknown(syntax), by_tag)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_it_says_where_an_image_lies_and_how_it_is_shown(syntax: str) -> None:
    found = told(
        image(
            ImagePositionPatient=[-191.5, 10, 2.5],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0.75, 0.5],
            RescaleSlope=1,
            RescaleIntercept=-1024,
            WindowCenter=[40, -600],
            WindowWidth=[400, 1500],
            WindowCenterWidthExplanation=["Soft", "Lung"],
            FrameOfReferenceUID="1.2.3",
            PixelRepresentation=1,
            PixelPaddingValue=-2000,
        ),
        syntax,
    )
    assert found["position"] == [-191.5, 10, 2.5]
    assert found["orientation"] == [1, 0, 0, 0, 1, 0]
    assert found["spacing"] == [0.75, 0.5]
    assert found["windows"] == [[40, 400, "Soft"], [-600, 1500, "Lung"]]
    assert (found["slope"], found["intercept"], found["space"]) == (1, -1024, "1.2.3")
    assert (found["rows"], found["columns"], found["padding"]) == (8, 8, [-2000, -2000])


def test_numbers_that_are_none_are_left_out() -> None:
    dataset = image(ImagePositionPatient=[1, 2, 3], WindowCenter=40, WindowWidth=0, RescaleSlope=2)
    raw = encoded(dataset).replace(b"\\2", b"\\x")
    found = shown.of_dataset(raw, syntaxes.for_unknown(EXPLICIT))
    assert "position" not in found
    assert "windows" not in found
    assert found["slope"] == 2


def test_what_was_corrected_counts() -> None:
    found = told(image(BodyPartExamined="CHEST", PixelSpacing=[1, 1]), BodyPartExamined=["HEAD"], PixelSpacing=None)
    assert found["part"] == "HEAD"
    assert "spacing" not in found


def test_regions_of_an_ultrasound_image_say_how_large_their_pixels_are() -> None:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType = 1, 1
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 10, 20
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 300, 400
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, -0.03
    doppler = copy.deepcopy(region)
    doppler.RegionSpatialFormat, doppler.PhysicalUnitsXDirection = 3, 4
    assert told(image(SequenceOfUltrasoundRegions=[doppler, region]))["regions"] == [[10, 20, 300, 400, 0.2, 0.3]]


def _item(name: str, **elements: Any) -> Dataset:
    """An item with one sequence of one item."""
    inner, outer = Dataset(), Dataset()
    for keyword, value in elements.items():
        setattr(inner, keyword, value)
    setattr(outer, name, [inner])
    return outer


def test_frames_of_an_enhanced_image_have_their_own_places() -> None:
    frames = [_item("PlanePositionSequence", ImagePositionPatient=[0, 0, place]) for place in (1, 3.5)]
    frames[1].update(_item("FrameVOILUTSequence", WindowCenter=5, WindowWidth=9, WindowCenterWidthExplanation="X"))
    shared = _item("PixelMeasuresSequence", PixelSpacing=[0.5, 0.5], SliceThickness=2.5)
    found = told(
        image(
            NumberOfFrames=2,
            SharedFunctionalGroupsSequence=[shared],
            PerFrameFunctionalGroupsSequence=frames,
            PixelData=bytes(128),
        )
    )
    assert (found["spacing"], found["thick"], found["frames"]) == ([0.5, 0.5], 2.5, 2)
    assert found["each"] == [{"position": [0, 0, 1]}, {"position": [0, 0, 3.5], "windows": [[5, 9, "X"]]}]


def test_groups_that_cannot_be_read_cost_the_places_only() -> None:
    groups = [_item("PlanePositionSequence", ImagePositionPatient=[1, 2, 3])]
    dataset = image(NumberOfFrames=2, PerFrameFunctionalGroupsSequence=groups, PixelData=bytes(128))
    raw = encoded(dataset)
    at = raw.index(struct.pack("<HH", 0x0020, 0x0032))
    found = shown.of_dataset(
        raw[:at] + struct.pack("<HH", 0x0020, 0x0033) + raw[at + 4 :], syntaxes.for_unknown(EXPLICIT)
    )
    assert found["frames"] == 2
    assert "position" not in found
