"""The list of studies: what is looked for is found, page by page, the newest first; what is out of reach is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.accounts.authorise import Denied, Held, Scope, Who
from hozi.archive import browse as browsing
from hozi.archive import correct, narrow
from hozi.archive.browse import Filters, Page, browse, newer, progress
from hozi.archive.models import ExceptionCase, Instance, Study
from hozi.audit.models import Event
from hozi.audit.record import Code
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import NotThere, Refused
from tests.archive.asking import nobody
from tests.archive.stock import keep
from tests.archive.test_reach import kept

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def somebody(*scopes: Scope) -> Who:
    held = tuple(Held(frozenset({"studies.find"}), scope) for scope in scopes or (Scope(),))
    return Who("person", "rudo", "192.168.1.9", held, 7)


def seeing_exceptions(facility: str) -> Who:
    """Finds all studies, and sees the exceptions of a facility (empty: of all)."""
    sees = Held(frozenset({"exceptions.see"}), Scope(facility=facility))
    return replace(EVERYBODY, held=(*EVERYBODY.held, sees))


EVERYBODY = somebody()


def numbers(page: Page) -> list[int]:
    return [int(line.uid.split(".")[-1]) for line in page.lines]


def found(who: Who = EVERYBODY, **filters: Any) -> list[int]:
    return numbers(browse(who, Filters(**filters)))


@pytest.fixture
def people() -> None:
    kept(1, {"PatientName": "Moyo^Tendai", "PatientID": "ZW-0042", "StudyDate": "20260105", "AccessionNumber": "A-77"})
    kept(2, {"PatientName": "Moyondizvo^Rudo", "PatientID": "ZW-0043", "StudyDate": "20260301", "Modality": "MR"})
    kept(3, {"PatientName": "Ncube^Moyo Sipho", "PatientID": "0042", "StudyDate": "20251224", "Modality": "US"})
    kept(4, {"PatientName": "Tembo^Ana", "PatientID": "zw-9", "StudyDate": ""}, facility="NORTH")


@pytest.mark.parametrize(
    ("text", "who_is_found"),
    [
        ("moyo", [3, 2, 1]),
        ("Moyo, Tendai", [1]),
        ("tendai MOYO", [1]),
        ("moy si", [3]),
        ("ZW-0042", [1]),
        ("zw-0042", [1]),
        ("ZW-", [2, 1]),
        ("zw-9", [4]),
        ("0042", [3]),
        ("004", [3]),
        ("00", []),
        ("A-77", [1]),
        ("a-77", [1]),
        ("1.1.2", [2]),
        ("1.1", []),
        ("*", []),
        ("Z*", []),
        ("???", []),
        ("m%", []),
        ("\0\x1b", [4, 3, 2, 1]),
        ("' OR 1=1 --", []),
        ("nobody", []),
        ("  ", [4, 3, 2, 1]),
    ],
)
def test_one_text_looks_for_names_numbers_and_requests(people: None, text: str, who_is_found: list[int]) -> None:
    assert found(text=text) == who_is_found


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"name": "moyo"}, [3, 2, 1]),
        ({"name": "^"}, []),
        ({"patient_id": "ZW-0042"}, [1]),
        ({"patient_id": "ZW-00"}, [2, 1]),
        ({"patient_id": "ZW"}, []),
        ({"accession": "A-77"}, [1]),
        ({"since": "20260101"}, [2, 1]),
        ({"until": "2026-01-05"}, [3, 1]),
        ({"since": "2026-01-05", "until": "20260105"}, [1]),
        ({"modality": "us"}, [3]),
        ({"modality": "CT", "name": "moyo"}, [1]),
        ({"facility": "NORTH"}, [4]),
        ({"facility": "NOWHERE"}, []),
        ({"text": "moyo", "modality": "MR", "since": "20260101"}, [2]),
        ({"order": "date"}, [2, 1, 3, 4]),
    ],
)
def test_filters_hold_together(people: None, filters: dict[str, Any], expected: list[int]) -> None:
    assert found(**filters) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("since", "yesterday"),
        ("until", "20261301"),
        ("status", "lost"),
        ("order", "name"),
        ("text", "x" * 129),
        ("modality", "x" * 129),
    ],
)
def test_a_filter_that_is_none_is_refused_beside_its_field(field: str, value: str) -> None:
    with pytest.raises(Refused) as refused:
        browse(EVERYBODY, Filters(**{field: value}))
    assert refused.value.field == field
    assert value not in str(refused.value)


def test_the_last_day_lies_behind_the_first() -> None:
    with pytest.raises(Refused, match="before the first"):
        browse(EVERYBODY, Filters(since="20260102", until="20260101"))


def test_a_line_says_all_that_the_list_shows(people: None) -> None:
    [line] = browse(EVERYBODY, Filters(text="A-77")).lines
    study = Study.objects.get(uid="1.1.1")
    assert (line.pk, line.patient.name, line.patient.patient_id, line.patient.issuer) == (
        study.pk,
        "Moyo^Tendai",
        "ZW-0042",
        "ISSUER1",
    )
    assert (line.date, line.modalities, line.series_count, line.instance_count) == ("20260105", ("CT",), 1, 1)
    assert (line.facility, line.exceptions, line.corrected) == ("GRANARY", 0, False)


# Reach ------------------------------------------------------------------------------------------------------


def test_whoever_may_not_search_studies_is_denied() -> None:
    with pytest.raises(Denied):
        browse(nobody(), Filters())


@pytest.mark.parametrize(
    "scope",
    [
        Scope(facility="NORTH"),
        Scope(facility="GRANARY", department="X"),
        Scope(referring=frozenset({"moyo^tendai"})),
        Scope(referring=frozenset()),
        Scope(patient=("ISSUER9", "P9")),
        Scope(modality="MG"),
        Scope(deidentified=True),
    ],
    ids=repr,
)
def test_what_is_out_of_reach_is_in_no_list_whatever_is_looked_for(scope: Scope) -> None:
    study = kept(1, {"PatientName": "Banda^Chipo", "StudyDate": "20260105", "AccessionNumber": "A1"})
    who = somebody(scope)
    for filters in ({}, {"text": "banda"}, {"text": "A1"}, {"patient_id": "P1"}, {"since": "20260105"}):
        assert found(who, **filters) == []
        assert newer(who, Filters(**filters), 0) == 0
    assert progress(who, [study.pk]) == []
    with pytest.raises(NotThere):
        browse(who, Filters(), after=study.pk)


def test_of_a_study_that_is_reached_in_part_the_part_is_told() -> None:
    kept(1, {"StudyInstanceUID": "1.1.9"})
    kept(2, {"StudyInstanceUID": "1.1.9", "Modality": "MR"})
    Study.objects.update(series_count=2, instance_count=2)
    [line] = browse(somebody(Scope(modality="CT")), Filters()).lines
    assert (line.modalities, line.series_count, line.instance_count) == (("CT",), 1, 1)
    assert found(somebody(Scope(modality="CT")), modality="MR") == []
    assert found(somebody(Scope(modality="CT"), Scope(facility="GRANARY")), modality="MR") == [9]


# States ------------------------------------------------------------------------------------------------------


def test_a_study_arrives_until_some_minutes_after_its_last_object() -> None:
    old, late, new = kept(1), kept(2), kept(3)
    long_ago = timezone.now() - timedelta(days=1)
    Study.objects.filter(pk__in=[old.pk, late.pk]).update(received_at=long_ago, changed_at=long_ago)
    Instance.objects.filter(series__study__in=[old, late]).update(received_at=long_ago)
    assert found(status="arriving") == [3]
    keep(4, {"StudyInstanceUID": late.uid, "SeriesInstanceUID": "1.2.2"})
    Study.objects.filter(pk=late.pk).update(changed_at=timezone.now())
    assert found(status="arriving") == [3, 2]
    assert [line.arriving for line in browse(EVERYBODY, Filters()).lines] == [True, True, False]
    assert {one.pk: one.arriving for one in progress(EVERYBODY, [old.pk, new.pk])} == {old.pk: False, new.pk: True}


def test_a_correction_is_no_arrival() -> None:
    study = kept(1)
    Instance.objects.update(received_at=timezone.now() - timedelta(days=1))
    correct.edit("STUDY", study.uid, {tag_of("StudyID"): ["9"]}, reason="typo", actor="clerk")
    assert found(status="arriving") == []
    assert not browse(EVERYBODY, Filters()).lines[0].arriving


@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
def test_corrected_studies_are_found_until_the_correction_is_taken_back(level: str) -> None:
    study = kept(1)
    kept(2)
    uid = {"PATIENT": str(study.patient_id), "STUDY": study.uid, "SERIES": "1.2.1", "IMAGE": "1.3.1"}[level]
    made = correct.edit(level, uid, {tag_of("PatientAddress"): ["Harare"]}, reason="completed", actor="clerk")
    assert found(status="corrected") == [1]
    assert [line.corrected for line in browse(EVERYBODY, Filters()).lines] == [False, True]
    correct.undo(made, actor="clerk")
    assert found(status="corrected") == []
    assert [line.corrected for line in browse(EVERYBODY, Filters()).lines] == [False, False]


def test_studies_about_which_something_waits_are_found_until_it_is_decided() -> None:
    study = kept(1)
    kept(2)
    now = timezone.now()
    for number in range(2):
        ExceptionCase.objects.create(
            reason="patient-differs",
            sha256=str(number),
            study_uid=study.uid,
            first_at=now,
            last_at=now,
            facility="GRANARY",
        )
    who = seeing_exceptions("GRANARY")
    assert found(who, status="exceptions") == [1]
    assert [line.exceptions for line in browse(who, Filters()).lines] == [0, 2]
    assert [one.exceptions for one in progress(who, [study.pk])] == [2]
    ExceptionCase.objects.update(state="resolved")
    assert found(who, status="exceptions") == []


def test_of_exceptions_hears_only_who_may_see_those_of_their_facility() -> None:
    study = kept(1)
    now = timezone.now()
    case = {"reason": "patient-differs", "study_uid": study.uid, "first_at": now, "last_at": now}
    ExceptionCase.objects.create(sha256="1", facility="GRANARY", **case)
    for who in (EVERYBODY, seeing_exceptions("NORTH"), somebody(Scope(patient=("GRANARY", "E-0001")))):
        assert found(who, status="exceptions") == []
        assert [line.exceptions for line in browse(who, Filters()).lines if line.pk == study.pk] in ([], [0])
        assert not any(one.exceptions for one in progress(who, [study.pk]))
        assert newer(who, Filters(status="exceptions"), 0) == 0
    ExceptionCase.objects.create(sha256="2", facility="NORTH", **case)
    assert [line.exceptions for line in browse(seeing_exceptions("NORTH"), Filters()).lines] == [1]
    assert [line.exceptions for line in browse(seeing_exceptions(""), Filters()).lines] == [2]


# Pages -------------------------------------------------------------------------------------------------------


def walk(filters: Filters, size: int, who: Who = EVERYBODY) -> list[list[int]]:
    """All pages from the newest to the oldest; walking back gives the same ones."""
    page = browse(who, filters, most=size)
    assert not page.newer
    there = [page]
    while page.older:
        page = browse(who, filters, after=page.lines[-1].pk, most=size)
        assert page.newer
        there.append(page)
    for earlier in reversed(there[:-1]):
        page = browse(who, filters, before=page.lines[0].pk, most=size)
        assert page.older
        assert page.lines == earlier.lines
    assert not page.newer
    return [numbers(page) for page in there]


@pytest.mark.parametrize("order", ["received", "date"])
@pytest.mark.parametrize("few", [0, 1000], ids=["walked", "looked up"])
def test_pages_go_on_where_the_last_one_ended_both_ways(order: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow, "_FEW", few)
    monkeypatch.setattr(narrow, "isqrt", lambda number: 0)
    days = ["20260103", "", "20260101", "20260103", "20260102", "20260103", "junk"]
    for number, day in enumerate(days):
        kept(number, {"StudyDate": day, "PatientName": "Moyo^Tendai", "PatientID": "P1", "IssuerOfPatientID": "I"})
    expected = sorted(range(len(days)), key=lambda n: (days[n] if order == "date" else "", n), reverse=True)
    for filters in (Filters(order=order), Filters(order=order, text="moyo"), Filters(order=order, text="P1")):
        for size in (1, 2, 3, 7, 8):
            pages = walk(filters, size)
            assert [number for page in pages for number in page] == expected
            assert all(len(page) == size for page in pages[:-1])


def test_a_page_is_never_longer_than_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "MOST", 3)
    for number in range(5):
        kept(number)
    assert found() == [4, 3, 2]
    assert numbers(browse(EVERYBODY, Filters(), most=10**9)) == [4, 3, 2]
    assert numbers(browse(EVERYBODY, Filters(), most=-1)) == [4]


def test_it_tells_how_many_have_come_since() -> None:
    first = kept(1)
    assert newer(EVERYBODY, Filters(), first.pk) == 0
    kept(2)
    kept(3, {"Modality": "MR"})
    assert newer(EVERYBODY, Filters(order="date"), first.pk) == 2
    assert newer(EVERYBODY, Filters(modality="MR"), first.pk) == 1
    assert newer(EVERYBODY, Filters(), first.pk, most=1) == 1


NAMES = ("Moyo^Tendai", "Moyo^Rudo", "Ncube^Tendai", "")
STUDIES = st.lists(
    st.fixed_dictionaries(
        {
            "PatientName": st.sampled_from(NAMES),
            "Modality": st.sampled_from(("CT", "MR")),
            "StudyDate": st.sampled_from(("20260101", "20260102", "20260103", "")),
            "AccessionNumber": st.sampled_from(("A1", "A2")),
            "facility": st.sampled_from(("GRANARY", "NORTH")),
        }
    ),
    max_size=12,
)
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "text": st.sampled_from(("moyo", "tendai", "A1", "ru mo", "P1")),
        "modality": st.sampled_from(("CT", "MR")),
        "since": st.sampled_from(("20260101", "20260102")),
        "until": st.sampled_from(("20260102", "20260103")),
        "facility": st.sampled_from(("GRANARY", "NORTH")),
        "order": st.sampled_from(("received", "date")),
    },
)
SCOPES = st.lists(
    st.builds(Scope, facility=st.sampled_from(("", "NORTH")), modality=st.sampled_from(("", "CT"))), max_size=2
)


def expected(studies: list[dict[str, str]], asked: dict[str, str], scopes: list[Scope]) -> list[int]:
    """The same in plain Python."""

    def holds(number: int, study: dict[str, str]) -> bool:
        words = study["PatientName"].lower().split("^")
        text = asked.get("text", "")
        said = (
            all(any(word.startswith(part) for word in words) for part in text.lower().split())
            or study["AccessionNumber"] == text
            or f"P{number}" == text
        )
        return (
            (not text or said)
            and study["Modality"] == asked.get("modality", study["Modality"])
            and study["facility"] == asked.get("facility", study["facility"])
            and ("since" not in asked or study["StudyDate"] >= asked["since"])
            and ("until" not in asked or "" < study["StudyDate"] <= asked["until"])
            and any(s.facility in ("", study["facility"]) and s.modality in ("", study["Modality"]) for s in scopes)
        )

    by_date = asked.get("order") == "date"
    found = [number for number, study in enumerate(studies) if holds(number, study)]
    return sorted(found, key=lambda n: (studies[n]["StudyDate"] if by_date else "", n), reverse=True)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(studies=STUDIES, asked=ASKED, scopes=SCOPES, few=st.sampled_from((0, 2, 1000)), size=st.integers(1, 5))
def test_looking_up_and_walking_find_what_a_plain_search_finds(
    studies: list[dict[str, str]],
    asked: dict[str, str],
    scopes: list[Scope],
    few: int,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django.db import transaction

    with transaction.atomic(), monkeypatch.context() as patch:
        patch.setattr(narrow, "_FEW", few)
        patch.setattr(narrow, "isqrt", lambda number: 0)
        for number, study in enumerate(studies):
            keep(number, {key: value for key, value in study.items() if key != "facility"}, study["facility"])
        who = Who("person", "rudo", "", tuple(Held(frozenset({"studies.find"}), scope) for scope in scopes), 7)
        if scopes:
            pages = walk(Filters(**asked), size, who)
            assert [number for page in pages for number in page] == expected(studies, asked, scopes)
        transaction.set_rollback(True)


# The audit ----------------------------------------------------------------------------------------------------


def test_what_somebody_looked_for_is_in_the_audit_without_the_text_of_it(people: None) -> None:
    browse(EVERYBODY, Filters(text="Tendai Moyo", modality="CT", since="20260101"))
    [row] = Event.objects.filter(code=Code.QUERY)
    assert (row.actor, row.address, row.action) == ("rudo", "192.168.1.9", "E")
    assert (row.issuer, row.patient_id) == ("ISSUER1", "ZW-0042")
    assert row.detail["filters"] == {"modality": "CT", "since": "20260101"}
    assert (row.detail["asked"], row.detail["matches"]) == (["text"], 1)
    assert "oyo" not in str(row.detail)


def test_a_number_that_was_asked_for_is_in_the_audit_also_when_nothing_is_found() -> None:
    browse(EVERYBODY, Filters(patient_id="ZW-1"))
    [row] = Event.objects.filter(code=Code.QUERY)
    assert (row.patient_id, row.detail["matches"]) == ("ZW-1", 0)


def test_a_list_of_several_people_names_none(people: None) -> None:
    browse(EVERYBODY, replace(Filters(), text="moyo"))
    [row] = Event.objects.filter(code=Code.QUERY)
    assert (row.issuer, row.patient_id) == ("", "")
