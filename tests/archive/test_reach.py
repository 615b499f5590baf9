"""What is out of reach is not there: in no answer, in no count, in no retrieve, whatever limits the reach."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from hozi.accounts.authorise import EVERYTHING, Reach, Scope
from hozi.archive import correct
from hozi.archive.fetch import STUDY_INSTANCE_UID, Selection
from hozi.archive.find import Query, find
from hozi.archive.index import add_together
from hozi.archive.lookup import insert_referrals
from hozi.archive.models import StoredObject, Study
from hozi.core.dicom.keys import tag_of
from tests.archive.stock import Value, keep

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")
DESCRIPTION = tag_of("StudyDescription")


def kept(number: int, elements: dict[str, Value] | None = None, facility: str = "GRANARY", **columns: object) -> Study:
    """One object and its file's row; its study has these columns."""
    instance = keep(number, elements or {}, facility)
    StoredObject.objects.create(
        instance=instance, key=f"k/{number}", sha256="", header_sha256="", dataset_offset=0, length=1,
        transfer_syntax="1.2.840.10008.1.2.1",
    )  # fmt: skip
    study = instance.series.study
    Study.objects.filter(pk=study.pk).update(**columns)
    study.refresh_from_db()
    if not study.referrals.exists():
        insert_referrals(study)
    return study


def asked(level: str, reach: Reach, keyword: str, **keys: Value) -> list[Value]:
    """The values of one element in the answers."""
    wanted = {tag_of(keyword): "", **{tag_of(name): value for name, value in keys.items()}}
    query = Query(level, "PATIENT_ROOT", wanted, relational=True)
    return [match.values[tag_of(keyword)] for match in find(query, reach=reach, limit=100, retrieve_ae="HOZI")]


def seen(*scopes: Scope) -> list[set[str]]:
    """By level the numbers of what is seen; whoever can retrieve it sees the same objects."""
    reach = Reach(scopes)
    keywords = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    found = [
        {str(value).lstrip("P").split(".")[-1] for value in asked(level, reach, keyword)}
        for level, keyword in zip(LEVELS, keywords, strict=True)
    ]
    everything = list(Study.objects.values_list("uid", flat=True))
    fetched = {holding.sop_instance.split(".")[-1] for holding in Selection({STUDY_INSTANCE_UID: everything}, reach)}
    assert fetched == found[3]
    return found


def each(*numbers: int) -> list[set[str]]:
    return [{str(number) for number in numbers}] * 4


def test_without_scopes_nothing_is_there_and_without_conditions_everything() -> None:
    kept(1)
    kept(2, facility="NORTH")
    assert seen() == each()
    assert seen(Scope()) == each(1, 2)
    assert seen(Scope(facility="NORTH"), Scope()) == each(1, 2)


def test_a_facility_and_a_department_of_it_are_seen_and_nothing_beside_them() -> None:
    kept(1, department="RAD")
    kept(2, department="CAR")
    kept(3, facility="NORTH", department="RAD")
    assert seen(Scope(facility="GRANARY")) == each(1, 2)
    assert seen(Scope(facility="GRANARY", department="RAD")) == each(1)
    assert seen(Scope(facility="GRANARY", department="RAD"), Scope(facility="NORTH")) == each(1, 3)
    assert seen(Scope(facility="NORTH", department="CAR")) == each()


def test_one_patient_is_seen_by_number_and_issuer_together() -> None:
    kept(1)
    kept(2)
    assert seen(Scope(patient=("ISSUER1", "P1"))) == each(1)
    assert seen(Scope(patient=("ISSUER2", "P1"))) == each()


def referring(name: str, *scope: str) -> bool:
    study = kept(Study.objects.count() + 1, {"ReferringPhysicianName": name})
    return str(study.uid) in asked("STUDY", Reach((Scope(referring=frozenset(scope)),)), "StudyInstanceUID")


@pytest.mark.parametrize(
    "written",
    ["Moyo^Tendai", "MOYO^TENDAI", "Moyo^Tendai^^Dr", "DR MOYO^TENDAI^^^FRCR", "Moyo^Tendai=X", "Ncube^S\\Moyo^Tendai"],
)
def test_own_referrals_are_recognised_however_the_name_is_written(written: str) -> None:
    assert referring(written, "moyo^tendai")
    assert referring(written, "sibanda^t", "dr moyo^tendai")


@pytest.mark.parametrize(
    "written",
    ["", "Moyo", "Moyo^T", "Moyo^Tendai^James", "Tendai^Moyo", "Moyondizvo^Tendai", "Moyo^Tendaishe", "%", "*"],
)
def test_whoever_has_a_name_that_is_alike_has_other_referrals(written: str) -> None:
    assert not referring(written, "moyo^tendai")


@pytest.mark.parametrize("names", [(), ("",), ("^",), ("dr.",), ("*",)])
def test_nobody_is_the_referrer_of_studies_that_name_none(names: Iterable[str]) -> None:
    assert not referring("", *names)
    assert not referring("Moyo^Tendai", *names)


def test_a_corrected_referrer_sees_the_study_and_the_former_one_does_not() -> None:
    study = kept(1, {"ReferringPhysicianName": "Moyo^Tendai"})
    tag = tag_of("ReferringPhysicianName")
    made = correct.edit("STUDY", study.uid, {tag: [{"Alphabetic": "Ncube^Sipho"}]}, reason="typo", actor="clerk")
    assert seen(Scope(referring=frozenset({"moyo^tendai"}))) == each()
    assert seen(Scope(referring=frozenset({"ncube^sipho"}))) == each(1)
    correct.undo(made, actor="clerk")
    assert seen(Scope(referring=frozenset({"moyo^tendai"}))) == each(1)


# One modality of a study that has several ------------------------------------------------------------


@pytest.fixture
def mixed() -> Study:
    """A study of a CT series with two objects and an MR series with one."""
    study = kept(1, {"StudyInstanceUID": "1.1.9", "PatientID": "P9", "IssuerOfPatientID": "I"})
    kept(2, {"StudyInstanceUID": "1.1.9", "PatientID": "P9", "IssuerOfPatientID": "I", "SeriesInstanceUID": "1.2.1"})
    mr = {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}
    kept(3, {"StudyInstanceUID": "1.1.9", "PatientID": "P9", "IssuerOfPatientID": "I", **mr})
    study.series.filter(modality="CT").update(instance_count=2)
    Study.objects.filter(pk=study.pk).update(series_count=2, instance_count=3)
    return study


CT = Reach((Scope(modality="CT"),))


def test_of_a_study_with_several_modalities_the_others_are_not_there(mixed: Study) -> None:
    assert seen(Scope(modality="CT")) == [{"9"}, {"9"}, {"1"}, {"1", "2"}]
    assert seen(Scope(modality="MR")) == [{"9"}, {"9"}, {"3"}, {"3"}]
    assert seen(Scope(modality="US")) == each()
    assert seen(Scope(modality="CT"), Scope(facility="GRANARY")) == [{"9"}, {"9"}, {"1", "3"}, {"1", "2", "3"}]


@pytest.mark.parametrize(
    ("level", "keyword", "told", "whole"),
    [
        ("STUDY", "ModalitiesInStudy", "CT", "CT\\MR"),
        ("STUDY", "NumberOfStudyRelatedSeries", "1", "2"),
        ("STUDY", "NumberOfStudyRelatedInstances", "2", "3"),
        ("PATIENT", "NumberOfPatientRelatedStudies", "1", "1"),
        ("PATIENT", "NumberOfPatientRelatedSeries", "1", "2"),
        ("PATIENT", "NumberOfPatientRelatedInstances", "2", "3"),
    ],
)
def test_what_is_counted_and_named_is_what_is_reached(
    mixed: Study, level: str, keyword: str, told: str, whole: str
) -> None:
    assert asked(level, CT, keyword) == [told]
    assert asked(level, EVERYTHING, keyword) == [whole]


@pytest.mark.parametrize(
    ("keyword", "hidden", "told"),
    [
        ("ModalitiesInStudy", "MR", "CT"),
        ("ModalitiesInStudy", "M*", "C?"),
        ("SOPClassesInStudy", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2"),
        ("NumberOfStudyRelatedSeries", "2", "1"),
        ("NumberOfStudyRelatedInstances", "3", "2"),
    ],
)
@pytest.mark.parametrize("level", LEVELS[1:])
def test_nobody_finds_out_what_is_hidden_by_asking_for_it(
    mixed: Study, level: str, keyword: str, hidden: str, told: str
) -> None:
    assert asked(level, EVERYTHING, "StudyInstanceUID", **{keyword: hidden})
    assert not asked(level, CT, "StudyInstanceUID", **{keyword: hidden})
    assert asked(level, CT, "StudyInstanceUID", **{keyword: told})


# De-identified studies -------------------------------------------------------------------------------

VEILED = Scope(deidentified=True)


def test_only_studies_that_say_so_are_seen_by_those_who_may_see_de_identified_ones_only() -> None:
    kept(1, identity_removed=True)
    kept(2)
    assert seen(VEILED) == each(1)
    assert seen(Scope(deidentified=True, facility="NORTH")) == each()
    assert seen(VEILED, Scope(patient=("ISSUER2", "P2"))) == each(1, 2)


def test_a_patient_of_whom_something_is_named_is_not_listed_among_de_identified_ones() -> None:
    """The patient's own row may have the name from the other study."""
    kept(1, {"PatientID": "P7", "IssuerOfPatientID": "I", "PatientName": "Moyo^Tendai"})
    kept(2, {"PatientID": "P7", "IssuerOfPatientID": "I", "PatientName": "Anon"}, identity_removed=True)
    assert seen(VEILED) == [set(), {"2"}, {"2"}, {"2"}]
    assert asked("STUDY", Reach((VEILED,)), "PatientName") == ["Anon"]
    assert asked("PATIENT", Reach((VEILED, Scope(facility="GRANARY"))), "PatientName") == ["Moyo^Tendai"]


@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
def test_what_somebody_wrote_over_a_study_is_not_shown_as_de_identified(level: str) -> None:
    study = kept(1, identity_removed=True)
    kept(2, identity_removed=True)
    uid = {"PATIENT": str(study.patient_id), "STUDY": study.uid, "SERIES": "1.2.1", "IMAGE": "1.3.1"}[level]
    address = tag_of("PatientAddress")
    made = correct.edit(level, uid, {address: ["12 Samora Machel Avenue"]}, reason="completed", actor="clerk")
    assert seen(VEILED) == each(2)
    correct.undo(made, actor="clerk")
    assert seen(VEILED) == each(1, 2)


def said(*answers: str | None) -> bool:
    """Whether a study is de-identified of which objects came that said so, said no, or said nothing."""
    from tests.archive.test_index import candidate

    for number, one in enumerate(answers):
        more = {} if one is None else {"PatientIdentityRemoved": one}
        add_together([candidate(f"1.2.3.4.{number}", **more)])
    return Study.objects.get().identity_removed


@pytest.mark.parametrize("answers", [["YES"], ["YES ", "YES"]])
def test_a_study_is_de_identified_when_every_object_says_so(answers: list[str]) -> None:
    assert said(*answers)


@pytest.mark.parametrize(
    "answers", [[None], ["NO"], ["yes"], ["YES", None], ["YES", "NO"], [None, "YES"], ["YES", "YES", "", "YES"]]
)
def test_one_object_that_does_not_say_so_names_the_study(answers: list[str | None]) -> None:
    assert not said(*answers)


def test_objects_that_come_together_are_looked_at_each() -> None:
    from tests.archive.test_index import candidate

    yes = {"PatientIdentityRemoved": "YES"}
    add_together([candidate("1.2.3.4.1", **yes), candidate("1.2.3.4.2"), candidate("1.2.3.4.3", **yes)])
    assert not Study.objects.get().identity_removed
