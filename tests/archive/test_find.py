"""Queries keep the rules of their model, answer what was asked, and stay small and quick however much there is."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pydicom.dataset import Dataset

from hozi.accounts.authorise import EVERYTHING
from hozi.archive.find import InvalidQuery, Match, Query, Results, answer, find, query_from, supported
from hozi.core.dicom import identifier
from hozi.core.dicom.keys import BY_KEYWORD, LEVELS, Key, tag_of
from tests.archive.stock import CT_IMAGE, Value, keep, of_facilities
from tests.people import RADIOGRAPHER, STRANGER

pytestmark = [pytest.mark.django_db, pytest.mark.database]

CODE = tag_of("CodeValue")


def query(level: str, *, model: str = "STUDY_ROOT", relational: bool = True, **keys: Value) -> Query:
    asked = {tag_of(keyword): value for keyword, value in keys.items()}
    return Query(level, model, asked, relational=relational)  # type: ignore[arg-type]


def results(asked: Query, *, facilities: Collection[str] | None = None, limit: int = 1000, page: int = 500) -> Results:
    return find(asked, reach=of_facilities(facilities), limit=limit, retrieve_ae="HOZI", page=page)


def values(found: Results, keyword: str) -> list[Value]:
    return [match.values[tag_of(keyword)] for match in found]


def identifier_of(**elements: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


# The rules of the models -------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["", "STUDIES", "STUDY LEVEL"])
def test_a_level_that_is_missing_or_unknown_is_refused_e38(level: str) -> None:
    with pytest.raises(InvalidQuery):
        query_from(identifier_of(QueryRetrieveLevel=level, PatientID="*"), "STUDY_ROOT")
    with pytest.raises(InvalidQuery):
        query_from(identifier_of(PatientID="*"), "STUDY_ROOT")


def test_study_root_has_no_patient_level_and_images_is_an_old_name_of_image_e40() -> None:
    with pytest.raises(InvalidQuery):
        query_from(identifier_of(QueryRetrieveLevel="PATIENT", PatientID="*"), "STUDY_ROOT")
    asked = identifier_of(QueryRetrieveLevel="IMAGES", StudyInstanceUID="1.2", SeriesInstanceUID="1.3")
    assert query_from(asked, "STUDY_ROOT").level == "IMAGE"


@pytest.mark.parametrize(
    ("model", "level", "keys"),
    [
        ("PATIENT_ROOT", "STUDY", {}),
        ("PATIENT_ROOT", "STUDY", {"PatientID": "*"}),
        ("PATIENT_ROOT", "STUDY", {"PatientID": "P?"}),
        ("PATIENT_ROOT", "SERIES", {"StudyInstanceUID": "1.2"}),
        ("STUDY_ROOT", "SERIES", {}),
        ("STUDY_ROOT", "SERIES", {"StudyInstanceUID": ""}),
        ("STUDY_ROOT", "IMAGE", {"StudyInstanceUID": "1.2"}),
        ("STUDY_ROOT", "IMAGE", {"SOPInstanceUID": "*"}),
    ],
)
def test_unique_keys_above_the_level_are_needed_unless_relational_was_agreed_e39(
    model: str, level: str, keys: dict[str, Value]
) -> None:
    with pytest.raises(InvalidQuery):
        list(results(query(level, model=model, relational=False, **keys)))
    assert list(results(query(level, model=model, relational=True, **keys))) == []


def test_unique_keys_above_the_level_are_enough_e39() -> None:
    keep(1, {})
    asked = query("IMAGE", relational=False, StudyInstanceUID="1.1.1", SeriesInstanceUID="1.2.1", SOPInstanceUID="")
    assert values(results(asked), "SOPInstanceUID") == ["1.3.1"]
    whole = query("IMAGE", model="PATIENT_ROOT", relational=False, PatientID="P1", **_named(asked))
    assert values(results(whole), "SOPInstanceUID") == ["1.3.1"]


def _named(asked: Query) -> dict[str, Value]:
    return {key.keyword: asked.keys[key.tag] for key in BY_KEYWORD.values() if key.tag in asked.keys}


def test_a_refusal_names_the_element_and_never_its_value() -> None:
    with pytest.raises(InvalidQuery) as refusal:
        list(results(query("STUDY", model="PATIENT_ROOT", relational=False, PatientID="SECRET*")))
    assert "PatientID" in str(refusal.value)
    assert "SECRET" not in str(refusal.value)


def test_a_pattern_that_is_too_long_is_refused_as_an_invalid_query_a25() -> None:
    with pytest.raises(InvalidQuery):
        list(results(query("STUDY", PatientName="*a" * 600)))


def test_an_identifier_is_understood_without_its_oddities_e16_e17() -> None:
    asked = identifier_of(
        SpecificCharacterSet="ISO_IR 101",
        QueryRetrieveLevel="STUDY",
        TimezoneOffsetFromUTC="+0200",
        PatientName="Moyo*",
        StudyInstanceUID=["1.2", "1.3"],
    )
    asked.add_new(0x00080000, "UL", 4)
    asked.add_new(0x00020010, "UI", "1.2.840.10008.1.2")
    item = identifier_of(CodeValue="T1")
    asked.ProcedureCodeSequence = [item]
    understood = query_from(asked, "STUDY_ROOT", relational=True, fuzzy=True)
    assert understood.keys == {
        tag_of("PatientName"): "Moyo*",
        tag_of("StudyInstanceUID"): "1.2\\1.3",
        tag_of("ProcedureCodeSequence"): [{CODE: "T1"}],
    }
    assert (understood.charset, understood.relational, understood.fuzzy) == ("ISO_IR 101", True, True)
    assert query_from(identifier_of(QueryRetrieveLevel="STUDY"), "STUDY_ROOT", "ISO_IR 126").charset == "ISO_IR 126"


def test_keys_that_are_ignored_are_known_to_be_ignored_e37() -> None:
    assert supported(query("STUDY", PatientName="", StudyDate="", ModalitiesInStudy="", RetrieveAETitle=""))
    assert supported(query("SERIES", RequestAttributesSequence=[{tag_of("RequestedProcedureID"): ""}]))
    assert not supported(query("SERIES", RequestAttributesSequence=[{tag_of("PatientWeight"): ""}]))
    assert not supported(query("STUDY", PixelSpacing=""))
    assert not supported(query("STUDY", Modality=""))
    assert not supported(Query("STUDY", "STUDY_ROOT", {0x00091001: ""}))


def test_an_ignored_key_is_not_answered_and_does_not_narrow_e37() -> None:
    keep(1, {})
    [match] = results(query("STUDY", StudyInstanceUID="", PixelSpacing="1\\1", Modality="MR"))
    assert match.values[tag_of("StudyInstanceUID")] == "1.1.1"
    assert tag_of("PixelSpacing") not in match.values
    assert tag_of("Modality") not in match.values


# What is found -----------------------------------------------------------------------------------------


def test_no_match_is_no_answer_e43() -> None:
    keep(1, {})
    assert list(results(query("STUDY", PatientID="P2"))) == []


def test_what_is_asked_is_answered_and_what_is_unknown_is_empty() -> None:
    keep(1, {"PatientName": "Moyo^Tendai", "StudyDate": "2026.01.24", "InstanceNumber": "007", "Rows": "512"})
    [match] = results(
        query("IMAGE", PatientName="", StudyDate="", StudyTime="", InstanceNumber="", Rows="", Columns="")
    )
    assert match.values == {
        tag_of("PatientName"): "Moyo^Tendai",
        tag_of("StudyDate"): "20260124",
        tag_of("StudyTime"): "",
        tag_of("InstanceNumber"): "7",
        tag_of("Rows"): "512",
        tag_of("Columns"): "",
        tag_of("RetrieveAETitle"): "HOZI",
        tag_of("InstanceAvailability"): "ONLINE",
    }


def test_where_it_is_can_be_asked_for_too() -> None:
    keep(1, {})
    assert len(list(results(query("STUDY", RetrieveAETitle="HOZI", InstanceAvailability="ONLINE\\NEARLINE")))) == 1
    assert list(results(query("STUDY", RetrieveAETitle="OTHER"))) == []
    assert list(results(query("STUDY", InstanceAvailability="OFFLINE"))) == []


def test_one_series_of_the_modality_finds_the_study_and_all_modalities_are_told_e41() -> None:
    keep(1, {"Modality": "CT", "ModalitiesInStudy": "PR\\SR"})
    keep(2, {"Modality": "", "ModalitiesInStudy": "MR"})
    keep(3, {"Modality": "", "ModalitiesInStudy": ""})
    assert values(results(query("STUDY", ModalitiesInStudy="SR")), "ModalitiesInStudy") == ["CT\\PR\\SR"]
    assert values(results(query("STUDY", ModalitiesInStudy="MR\\PT")), "ModalitiesInStudy") == ["MR"]
    assert values(results(query("STUDY", ModalitiesInStudy="")), "ModalitiesInStudy") == ["", "MR", "CT\\PR\\SR"]


def test_sop_classes_of_a_study_are_found_and_told() -> None:
    keep(1, {"SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.88.22"})
    keep(2, {})
    found = values(results(query("STUDY", SOPClassesInStudy="1.2.840.10008.5.1.4.1.1.88.22")), "SOPClassesInStudy")
    assert found == [f"{CT_IMAGE}\\1.2.840.10008.5.1.4.1.1.88.22"]


COUNTS = ("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances")


def test_counts_of_a_patient_are_those_of_what_the_asker_may_see() -> None:
    same = {"PatientID": "P", "IssuerOfPatientID": "I"}
    keep(1, {**same, "NumberOfStudyRelatedSeries": "2", "NumberOfStudyRelatedInstances": "30"}, RADIOGRAPHER.facility)
    keep(2, {**same, "NumberOfStudyRelatedSeries": "1", "NumberOfStudyRelatedInstances": "4"}, STRANGER.facility)
    asked = query("PATIENT", model="PATIENT_ROOT", PatientID="P", **dict.fromkeys(COUNTS, ""))
    [all_of_it] = results(asked)
    assert [all_of_it.values[tag_of(count)] for count in COUNTS] == ["2", "3", "34"]
    [a_part] = results(asked, facilities=[RADIOGRAPHER.facility])
    assert [a_part.values[tag_of(count)] for count in COUNTS] == ["1", "2", "30"]
    assert len(list(results(query("PATIENT", model="PATIENT_ROOT", NumberOfPatientRelatedStudies="2")))) == 1
    assert list(results(query("PATIENT", model="PATIENT_ROOT", NumberOfPatientRelatedStudies="3"))) == []


@pytest.mark.parametrize("level", LEVELS)
def test_nobody_finds_what_belongs_to_another_hospital_a28(level: str) -> None:
    keep(1, {}, RADIOGRAPHER.facility)
    keep(2, {}, STRANGER.facility)
    asked = query(level, model="PATIENT_ROOT", PatientID="")
    assert sorted(map(str, values(results(asked), "PatientID"))) == ["P1", "P2"]
    assert values(results(asked, facilities=[RADIOGRAPHER.facility]), "PatientID") == ["P1"]
    assert values(results(asked, facilities=[STRANGER.facility, "NOWHERE"]), "PatientID") == ["P2"]
    assert list(results(asked, facilities=[])) == []


def test_patients_of_two_issuers_with_the_same_number_are_two_e47() -> None:
    keep(1, {"PatientID": "P", "IssuerOfPatientID": "A"})
    keep(2, {"PatientID": "P", "IssuerOfPatientID": "B"})
    assert values(
        results(query("PATIENT", model="PATIENT_ROOT", PatientID="P", IssuerOfPatientID="")), "IssuerOfPatientID"
    ) == ["B", "A"]
    assert values(results(query("STUDY", PatientID="P", IssuerOfPatientID="A")), "IssuerOfPatientID") == ["A"]


def test_items_of_a_sequence_are_answered_with_the_elements_that_were_asked_for_e35() -> None:
    meaning = tag_of("CodeMeaning")
    keep(1, {"ProcedureCodeSequence": [{CODE: "T1", meaning: "Thorax"}, {CODE: "T2"}]})
    [one] = values(results(query("STUDY", ProcedureCodeSequence=[{CODE: "T*"}])), "ProcedureCodeSequence")
    assert one == [{CODE: "T1"}, {CODE: "T2"}]
    [whole] = values(results(query("STUDY", ProcedureCodeSequence=[])), "ProcedureCodeSequence")
    assert isinstance(whole, list)
    assert whole[0][meaning] == "Thorax"


def test_a_list_of_uids_may_be_longer_than_a_database_takes_parameters_e33() -> None:
    keep(1, {})
    uids = "\\".join(["1.1.1", *(f"9.{number}" for number in range(40_000))])
    assert values(results(query("STUDY", StudyInstanceUID=uids)), "StudyInstanceUID") == ["1.1.1"]
    assert list(results(query("STUDY", StudyInstanceUID=uids.removeprefix("1.1.1")))) == []


HOSTILE = [
    "'",
    '"',
    "'; DROP TABLE archive_study; --",
    "%",
    "_",
    "[",
    "]",
    "\\",
    "{}",
    "%s",
    ":1",
    "$1",
    "\x1b",
    "�",
    "𝄞",
]


@pytest.mark.parametrize("key", [key for key in BY_KEYWORD.values() if key.usage != "-"], ids=lambda key: key.keyword)
def test_no_character_in_any_key_breaks_a_query_a24(key: Key) -> None:
    keep(1, {})
    for text in HOSTILE:
        value: Value = [{key.sequence_elements[0]: text}] if key.vr == "SQ" else text
        assert list(results(query("IMAGE", **{key.keyword: value}))) == [] or not text.strip("\\")


def test_wildcards_of_a_thousand_stars_are_answered_a25() -> None:
    keep(1, {"PatientName": "a" * 200, "StudyDescription": "b" * 200})
    # 512 letters are more than the 200 that stand there; any number of stars matches.
    for pattern, found in (("*a" * 512, 0), ("?*" * 512, 0), ("*a" * 100, 1), ("*" * 1024, 1)):
        assert len(list(results(query("STUDY", PatientName=pattern)))) == found
        described = pattern.replace("a", "b")
        assert len(list(results(query("STUDY", StudyDescription=described)))) == found


# Many ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("page", [1, 2, 3, 7, 500])
def test_pages_neither_lose_nor_repeat_a_match(level: str, page: int) -> None:
    for number in range(7):
        keep(number, {"StudyDate": f"2026010{number // 3 + 1}"})
    found = values(results(query(level, model="PATIENT_ROOT", PatientID=""), page=page), "PatientID")
    assert sorted(map(str, found)) == [f"P{number}" for number in range(7)]
    if level != "PATIENT":
        some = results(query(level, PatientID="", StudyDate="20260101-20260102"), page=page)
        assert sorted(map(str, values(some, "PatientID"))) == [f"P{number}" for number in range(6)]


def test_studies_come_newest_first() -> None:
    for number, day in enumerate(["20260103", "20260101", "20260102"]):
        keep(number, {"StudyDate": day})
    assert values(results(query("STUDY", StudyDate=""), page=1), "StudyDate") == ["20260102", "20260101", "20260103"]
    found = values(results(query("STUDY", StudyDate="20260101-"), page=1), "StudyDate")
    assert found == ["20260103", "20260102", "20260101"]


@pytest.mark.parametrize("page", [1, 2, 500])
@pytest.mark.parametrize("keys", [{}, {"SeriesDescription": "Thorax"}], ids=["in SQL", "looked at"])
def test_it_says_when_there_would_have_been_more_a26(page: int, keys: dict[str, Value]) -> None:
    for number in range(4):
        keep(number, {"SeriesDescription": "Thorax"})
    some = results(query("SERIES", **keys), limit=3, page=page)
    assert len(list(some)) == 3
    assert some.limit_reached
    whole = results(query("SERIES", **keys), limit=4, page=page)
    assert len(list(whole)) == 4
    assert not whole.limit_reached


def test_the_first_answers_do_not_wait_for_the_last() -> None:
    for number in range(4):
        keep(number, {})
    with CaptureQueriesContext(connection) as queries:
        answers = iter(results(query("STUDY", PatientID=""), page=2))
        next(answers)
        assert len(queries) == 1
        assert len(list(answers)) == 3


def test_a_search_stops_between_pages_when_nobody_wants_it_any_more_e42() -> None:
    for number in range(4):
        keep(number, {"SeriesDescription": "Thorax"})
    asked: list[int] = []
    found = find(
        query("SERIES", SeriesDescription="Abdomen"),
        reach=EVERYTHING,
        limit=10,
        retrieve_ae="HOZI",
        page=1,
        stop=lambda: bool(asked.append(1)) or len(asked) == 2,
    )
    assert list(found) == []
    assert found.stopped
    assert len(asked) == 2


def test_a_page_is_one_query_and_one_for_each_kind_of_related_value() -> None:
    for number in range(20):
        keep(number, {"ProcedureCodeSequence": [{CODE: "T"}]})
    plain = dict.fromkeys(("PatientName", "StudyDate", "StudyInstanceUID", "Modality", "SeriesDescription", "Rows"), "")
    for related, expected in [
        ((), 1),
        (("ModalitiesInStudy",), 2),
        (("ModalitiesInStudy", "SOPClassesInStudy"), 3),
        (("ModalitiesInStudy", *COUNTS), 3),
    ]:
        with CaptureQueriesContext(connection) as queries:
            assert len(list(results(query("IMAGE", **plain, **dict.fromkeys(related, ""))))) == 20
        assert len(queries) == expected, related


SELECTIVE: list[tuple[str, dict[str, Value]]] = [
    ("PATIENT", {"PatientID": "P7"}),
    ("PATIENT", {"PatientID": "P7*"}),
    ("STUDY", {"PatientID": "P7"}),
    ("STUDY", {"StudyInstanceUID": "1.1.7"}),
    ("STUDY", {"StudyInstanceUID": "1.1.7\\1.1.8"}),
    ("STUDY", {"AccessionNumber": "A7"}),
    ("STUDY", {"AccessionNumber": "A7*"}),
    ("STUDY", {"StudyDate": "20260101"}),
    ("STUDY", {"StudyDate": "20260101-20260102"}),
    ("STUDY", {"StudyDate": "20260101", "ModalitiesInStudy": "CT"}),
    ("SERIES", {"StudyInstanceUID": "1.1.7"}),
    ("SERIES", {"RequestAttributesSequence": [{tag_of("RequestedProcedureID"): "RP7"}]}),
    ("IMAGE", {"SeriesInstanceUID": "1.2.7"}),
    ("IMAGE", {"SOPInstanceUID": "1.3.7"}),
    ("IMAGE", {"AccessionNumber": "A7"}),
    ("IMAGE", {"PatientID": "P7"}),
]


@pytest.mark.parametrize(("level", "keys"), SELECTIVE, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("facilities", [None, ["GRANARY"]], ids=["everybody", "one hospital"])
def test_a_selective_key_reads_no_table_from_end_to_end(
    level: str, keys: dict[str, Value], facilities: list[str] | None
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("not meant for PostgreSQL, which plans by how much there is")
    with CaptureQueriesContext(connection) as queries:
        list(results(query(level, model="PATIENT_ROOT", **keys), facilities=facilities))
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {queries[0]['sql']}")
        plan = [row[-1] for row in cursor.fetchall()]
    assert not [step for step in plan if step.startswith("SCAN") and "json_each" not in step], plan


# Answers ------------------------------------------------------------------------------------------------


def _answer(name: str, asked: str) -> Dataset:
    match = Match({tag_of("PatientName"): name, tag_of("StudyInstanceUID"): "1.2", tag_of("RetrieveAETitle"): "HOZI"})
    return answer(match, Query("STUDY", "STUDY_ROOT", {tag_of("PatientName"): ""}, charset=asked))


@pytest.mark.parametrize(
    ("name", "asked", "answered"),
    [
        ("Moyo^Tendai", "ISO_IR 192", ""),
        ("Müller", "", "ISO_IR 100"),
        ("Müller", "ISO_IR 101", "ISO_IR 101"),
        ("Müller", "NONSENSE", "ISO_IR 192"),
        ("山田^太郎", "ISO_IR 100", "ISO_IR 192"),
        ("山田^太郎", "\\ISO 2022 IR 87", "\\ISO 2022 IR 87"),
    ],
)
def test_it_answers_in_the_askers_character_set_if_that_is_enough(name: str, asked: str, answered: str) -> None:
    dataset = _answer(name, asked)
    declared = identifier.text_of(dataset["SpecificCharacterSet"]) if "SpecificCharacterSet" in dataset else ""
    assert declared == answered
    assert dataset.PatientName == name
    assert dataset.QueryRetrieveLevel == "STUDY"


def test_an_answer_holds_numbers_lists_and_items_as_their_vr_wants() -> None:
    match = Match(
        {
            tag_of("Rows"): "512",
            tag_of("Columns"): "",
            tag_of("ImageType"): "ORIGINAL\\PRIMARY",
            tag_of("ConceptNameCodeSequence"): [{CODE: "T1"}],
            tag_of("ReferencedRequestSequence"): [],
        }
    )
    dataset = answer(match, Query("IMAGE", "STUDY_ROOT", {}))
    assert dataset.Rows == 512
    assert dataset.Columns is None
    assert dataset.ImageType == ["ORIGINAL", "PRIMARY"]
    assert dataset.ConceptNameCodeSequence[0].CodeValue == "T1"
    assert len(dataset.ReferencedRequestSequence) == 0
    assert dataset.QueryRetrieveLevel == "IMAGE"
