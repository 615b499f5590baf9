"""The benchmark's images are valid, repeatable and different where they must be; its questions have known answers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pydicom import dcmread

from bench import images, population
from bench.images import Identity, Template, write_series
from bench.million import percentile
from bench.population import QUESTIONS, Population
from hozi.core.dicom import uids

KINDS = [images.ct(1), images.cr(1), images.us(1, frames=2), images.large(1, 16 << 20)]


@pytest.mark.parametrize("template", KINDS, ids=["ct", "cr", "us", "large"])
def test_every_kind_of_image_is_valid_dicom(template: Template, tmp_path: Path) -> None:
    identity = Identity(images.uid(1), images.uid(2), images.uid(3), number=7)
    template.write(tmp_path / "one.dcm", identity)
    assert (tmp_path / "one.dcm").stat().st_size == template.length
    read = dcmread(tmp_path / "one.dcm")
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID == identity.instance
    assert (read.StudyInstanceUID, read.SeriesInstanceUID) == (identity.study, identity.series)
    assert (read.InstanceNumber, read.PatientID) == (7, identity.patient_id)
    assert read.pixel_array.size == int(read.get("NumberOfFrames", 1)) * read.Rows * read.Columns * read.SamplesPerPixel


def test_the_same_seed_gives_the_same_images_and_another_run_others(tmp_path: Path) -> None:
    first, again, other = (
        write_series(tmp_path / name, images.ct(1), 3, "key", run)
        for name, run in (("first", 0), ("again", 0), ("other", 1))
    )
    content = [sorted(path.read_bytes() for path in one.folder.iterdir()) for one in (first, again, other)]
    assert content[0] == content[1]
    assert not set(content[0]) & set(content[2])
    assert len({dcmread(path).SOPInstanceUID for path in tmp_path.rglob("*.dcm")}) == 6


def test_uids_are_valid_and_of_one_length() -> None:
    made = {images.uid("study", number) for number in range(1000)}
    assert len(made) == 1000
    assert {len(uid) for uid in made} == {44}
    assert all(uids.is_valid(uid) and uids.is_canonical(uid) for uid in made)


def test_a_value_that_is_longer_than_its_place_is_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        Identity("1", "2", "3", patient_id="P" * 40).replaced(images.ct(1).header)


@pytest.mark.parametrize("studies", [20, 60, 20_000])
def test_every_question_has_the_same_number_of_answers_in_a_small_and_a_large_archive(studies: int) -> None:
    people, luck = Population(studies), random.Random(1)
    rows = [
        (
            population.patient_id(patient),
            population.day(study // population.STUDIES_A_DAY),
            population.patient_name(patient),
        )
        for study in range(studies)
        for patient in [people.patient_of(study)]
    ]
    for question in QUESTIONS:
        value = question.value(people, luck)
        column = ("PatientID", "StudyDate", "PatientName").index(question.keyword)
        wanted = value.rstrip("*").partition("-")[0]
        assert sum(row[column].startswith(wanted) for row in rows) == question.answers


def test_the_95th_percentile_leaves_one_in_twenty_above() -> None:
    assert percentile([float(number) for number in range(1, 101)], 0.95) == 95
    assert percentile([3.0], 0.95) == 3.0
