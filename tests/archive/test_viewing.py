"""What Quick view is told of a study: images in order, only what is within reach; who looked is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hozi.accounts.authorise import Who
from hozi.archive import viewing
from hozi.archive.models import Instance, Series, Study
from hozi.audit.models import Event
from hozi.core.errors import NotThere
from tests.archive.asking import somebody
from tests.archive.conftest import Counter
from tests.dicom_files import write

STUDY = "1.2.826.93.1"
RUDO = somebody("radiologist")
STRANGER = somebody("radiologist", "ELSEWHERE", actor="olga")
AXIAL = [1, 0, 0, 0, 1, 0]


def slices(folder: Path, places: list[float], **more: Any) -> None:
    for number, place in enumerate(places, start=1):
        told: dict[str, Any] = {
            "StudyInstanceUID": STUDY,
            "SeriesInstanceUID": f"{STUDY}.1",
            "SOPInstanceUID": f"{STUDY}.1.{number}",
            "InstanceNumber": number,
            "ImagePositionPatient": [0, 0, place],
            "ImageOrientationPatient": AXIAL,
            "PixelSpacing": [0.5, 0.5],
            **more,
        }
        write(folder / f"{told['SOPInstanceUID']}.dcm", **told)


def numbers(who: Who, series: int | None = None) -> list[int]:
    pk = series or Series.objects.get().pk
    return [image["number"] for image in viewing.open_series(who, pk)["images"]]


@pytest.mark.parametrize(
    ("places", "order"),
    [
        ([0, 10, 5], [1, 3, 2]),  # by place, in the direction in which most are numbered
        ([9, 6, 7, 1], [1, 3, 2, 4]),
        ([5, 5, 7], [1, 2, 3]),  # the same place twice: a film of one slice
    ],
)
def test_images_come_by_place_in_the_direction_of_their_numbers(
    places: list[float], order: list[int], counter: Counter, tmp_path: Path
) -> None:
    slices(tmp_path / "disc", places)
    counter.bring(tmp_path / "disc")
    assert numbers(RUDO) == order


def test_what_all_images_say_is_told_once(counter: Counter, tmp_path: Path) -> None:
    slices(tmp_path / "disc", [0, 5, 10])
    slices(tmp_path / "disc", [15], SOPInstanceUID=f"{STUDY}.1.4", InstanceNumber=4, PixelSpacing=[2, 2])
    slices(tmp_path / "disc", [20], SOPInstanceUID=f"{STUDY}.1.5", InstanceNumber=5, PixelSpacing=None)
    counter.bring(tmp_path / "disc")
    told = viewing.open_series(RUDO, Series.objects.get().pk)
    assert told["base"]["spacing"] == [0.5, 0.5]
    assert [image.get("spacing", "as the others") for image in told["images"]] == ["as the others"] * 3 + [[2, 2], None]
    again = viewing.open_series(RUDO, Series.objects.get().pk)
    assert again == told


def test_what_is_no_image_is_told_apart(counter: Counter, tmp_path: Path) -> None:
    slices(tmp_path / "disc", [0])
    slices(
        tmp_path / "disc",
        [0],
        SOPInstanceUID=f"{STUDY}.2",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11",
        PixelData=None,
        Rows=None,
    )
    counter.bring(tmp_path / "disc")
    told = viewing.open_series(RUDO, Series.objects.get().pk)
    assert len(told["images"]) == 1
    assert [(one["kind"], one["title"]) for one in told["others"]] == [("report", "Basic Text SR")]


def test_a_study_is_opened_with_its_priors_and_somebody_has_looked(counter: Counter, tmp_path: Path) -> None:
    slices(tmp_path / "disc", [0, 5])
    slices(
        tmp_path / "disc",
        [0],
        StudyInstanceUID=f"{STUDY}.8",
        SeriesInstanceUID=f"{STUDY}.8.1",
        SOPInstanceUID=f"{STUDY}.8.2",
        StudyDate="20240101",
    )
    counter.bring(tmp_path / "disc")
    study = Study.objects.get(uid=STUDY)
    told = viewing.open_study(RUDO, study.pk)
    assert [(one.kind, one.count) for one in told.series] == [("image", 2)]
    assert told.series[0].first == Instance.objects.get(uid=f"{STUDY}.1.1").pk
    assert [(one.date, one.modalities) for one in told.priors] == [("20240101", ("CT",))]
    assert Event.objects.filter(code="110103", study_uid=STUDY).count() == 1


def test_what_is_out_of_reach_is_not_there(counter: Counter, tmp_path: Path) -> None:
    slices(tmp_path / "disc", [0])
    counter.bring(tmp_path / "disc")
    for ask in (
        lambda: viewing.open_study(STRANGER, Study.objects.get().pk),
        lambda: viewing.open_series(STRANGER, Series.objects.get().pk),
        lambda: viewing.image_of(STRANGER, Instance.objects.get().pk),
    ):
        with pytest.raises(NotThere):
            ask()
