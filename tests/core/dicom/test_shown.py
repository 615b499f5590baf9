"""What an image says about how it is shown and measured."""

from __future__ import annotations

import copy
import struct
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.filereader import dcmread

from hozi.core.dicom import shown, syntaxes
from hozi.core.dicom.keys import tag_of
from tests.corpus import CORPUS
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


def _enhanced() -> FileDataset:
    for path in sorted((CORPUS / "dicom").rglob("*.dcm")):
        try:
            dataset = dcmread(path, stop_before_pixels=True)
        except Exception:  # noqa: BLE001 - the corpus has files that nothing can read
            continue
        groups = dataset.get("PerFrameFunctionalGroupsSequence")
        if groups and "PlanePositionSequence" in groups[0]:
            return dataset
    pytest.skip("the corpus is not here")


def test_frames_of_an_enhanced_image_have_their_own_places() -> None:
    dataset = _enhanced()
    groups = dataset.PerFrameFunctionalGroupsSequence
    found = told(dataset)
    assert [one["position"] for one in found["each"]] == [
        [pytest.approx(float(part)) for part in one.PlanePositionSequence[0].ImagePositionPatient] for one in groups
    ]


def test_groups_that_cannot_be_read_cost_the_places_only() -> None:
    dataset = image(NumberOfFrames=2)
    item = Dataset()
    item.PlanePositionSequence = [Dataset()]
    item.PlanePositionSequence[0].ImagePositionPatient = [1, 2, 3]
    dataset.PerFrameFunctionalGroupsSequence = [item]
    raw = encoded(dataset)
    at = raw.index(struct.pack("<HH", 0x0020, 0x0032))
    found = shown.of_dataset(
        raw[:at] + struct.pack("<HH", 0x0020, 0x0033) + raw[at + 4 :], syntaxes.for_unknown(EXPLICIT)
    )
    assert found["frames"] == 2
    assert "position" not in found
