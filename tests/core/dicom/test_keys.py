"""The table of keys: what the standard wants is in it, and the parts that use it get what they need."""

from __future__ import annotations

import pytest
from pydicom.datadict import dictionary_VR

from hozi.core.dicom import keys

# PS3.4 Tables C.6-1 to C.6-4 (unique and required keys) and PS3.18 Table 10.6.1-5.
REQUIRED = {
    "PATIENT": "PatientID PatientName",
    "STUDY": "StudyInstanceUID StudyDate StudyTime AccessionNumber StudyID ReferringPhysicianName ModalitiesInStudy"
    " NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances",
    "SERIES": "SeriesInstanceUID Modality SeriesNumber PerformedProcedureStepStartDate PerformedProcedureStepStartTime"
    " RequestAttributesSequence NumberOfSeriesRelatedInstances",
    "IMAGE": "SOPInstanceUID InstanceNumber SOPClassUID",
}


@pytest.mark.parametrize("level", keys.LEVELS)
def test_every_level_has_the_keys_that_the_standard_wants(level: str) -> None:
    assert set(REQUIRED[level].split()) <= {key.keyword for key in keys.at_level(level)}
    assert [key.usage for key in keys.at_level(level)].count("U") == 1
    assert keys.unique_key(level).keyword in REQUIRED[level]


def test_no_key_stands_in_the_table_twice() -> None:
    assert len(keys.BY_TAG) == len(keys.BY_KEYWORD) == len(keys.KEYS)


def test_vr_and_tag_belong_to_the_keyword() -> None:
    assert all(key.vr == dictionary_VR(key.tag) for key in keys.KEYS)
    assert keys.BY_KEYWORD["PatientName"].tag == 0x00100010
    assert keys.BY_KEYWORD["PatientName"].name == "00100010"
    with pytest.raises(KeyError):
        keys.tag_of("NoSuchElement")


def test_the_scanner_is_asked_for_what_the_index_needs() -> None:
    for keyword in ("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        assert keys.tag_of(keyword) in keys.WANTED
    assert keys.tag_of("ModalitiesInStudy") not in keys.WANTED
    assert keys.WANTED_SEQUENCES <= keys.WANTED
    assert all(keys.BY_TAG[tag].sequence_elements for tag in keys.WANTED_SEQUENCES)


def test_several_values_are_known_where_they_are_allowed() -> None:
    assert keys.BY_KEYWORD["OtherPatientNames"].multiple
    assert not keys.BY_KEYWORD["PatientName"].multiple
    assert keys.element(keys.tag_of("CodeValue")).vr == "SH"


def test_dates_know_their_times() -> None:
    pairs = {(keys.BY_TAG[date].keyword, keys.BY_TAG[time].keyword) for date, time in keys.DATE_AND_TIME}
    assert {("StudyDate", "StudyTime"), ("PatientBirthDate", "PatientBirthTime")} <= pairs
