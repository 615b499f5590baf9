"""The audit answers who did what to whose data; asking is itself in the audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.audit import chain, search
from hozi.audit.models import Event
from hozi.audit.record import Code, Entry, Outcome, Type, record, record_many
from hozi.audit.search import Question, who_saw
from hozi.audit.search import search as ask
from hozi.core.errors import NotThere, Refused

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def opened(actor: str, patient: str = "P1", **more: Any) -> Entry:
    given: dict[str, Any] = {"issuer": "GRANARY", "patient_id": patient, "facility": "GRANARY", "at": NOON, **more}
    return Entry(Code.INSTANCES_ACCESSED, "R", actor, **given)


def actors(question: Question, **more: Any) -> list[str]:
    return [line.actor for line in ask(question, actor="dpo", **more).lines]


def test_it_finds_what_was_done_to_a_patient_newest_first_and_nothing_of_others() -> None:
    record(opened("a"), opened("b", at=NOON + timedelta(hours=1)), opened("c", "P2"), opened("d", issuer="ELSEWHERE"))
    assert actors(Question(issuer="GRANARY", patient_id="P1")) == ["b", "a"]
    assert actors(Question(patient_id="P1", kind="opened")) == ["b", "d", "a"]
    assert actors(Question(issuer="GRANARY", patient_id="P1")) == ["dpo", "b", "a"], "asking, too"


@pytest.mark.parametrize(
    ("question", "found"),
    [
        (Question(actor="CT1"), ["CT1"]),
        (Question(kind="brought"), ["CT1"]),
        (Question(kind="opened"), ["rumbi"]),
        (Question(kind="login"), ["olga"]),
        (Question(code="110114"), ["olga"]),
        (Question(type="110122"), ["olga"]),
        (Question(ended="badly"), ["olga"]),
        (Question(ended="well"), ["rumbi", "CT1"]),
        (Question(study_uid="1.2.3"), ["CT1"]),
        (Question(address="192.0.2."), ["olga", "CT1"]),
        (Question(facility="ELSEWHERE"), ["olga"]),
        (Question(since=NOON), ["olga", "rumbi"]),
        (Question(until=NOON), ["CT1"]),
        (Question(since=NOON, until=NOON + timedelta(seconds=1)), ["rumbi"]),
        (Question(actor="CT1", kind="opened"), []),
    ],
)
def test_it_finds_by_everything_that_can_be_asked_for(question: Question, found: list[str]) -> None:
    record(
        Entry(
            Code.INSTANCES_TRANSFERRED, "C", "CT1", address="192.0.2.1", study_uid="1.2.3", facility="GRANARY",
            at=NOON - timedelta(seconds=1),
        ),
        opened("rumbi", address="198.51.100.7"),
        Entry(
            Code.USER_AUTHENTICATION, "E", "olga", Outcome.MINOR_FAILURE, address="192.0.2.2", facility="ELSEWHERE",
            detail={"type": Type.LOGIN}, at=NOON + timedelta(seconds=1),
        ),
    )  # fmt: skip
    assert actors(question) == found


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 7))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_hold_every_row_once_however_many_came_at_the_same_moment(seconds: list[int], limit: int) -> None:
    Event.objects.all().delete()
    record_many(opened(f"{number}", at=NOON + timedelta(seconds=second)) for number, second in enumerate(seconds))
    expected = sorted(((second, number) for number, second in enumerate(seconds)), reverse=True)
    found: list[str] = []
    before = ""
    while True:
        page = ask(Question(patient_id="P1", kind="opened"), actor="dpo", before=before, limit=limit)
        assert len(page.lines) <= limit
        found += [line.actor for line in page.lines]
        before = page.older
        if not before:
            break
    assert found == [str(number) for _, number in expected]


def test_rows_of_other_facilities_are_not_there() -> None:
    record(opened("ours"), opened("theirs", facility="ELSEWHERE"), opened("nobody's", facility=""))
    assert actors(Question(patient_id="P1"), facilities={"GRANARY"}) == ["ours"]
    assert actors(Question(patient_id="P1"), facilities=set()) == []
    assert actors(Question(patient_id="P1", facility="ELSEWHERE"), facilities={"GRANARY"}) == []
    theirs = Event.objects.get(actor="theirs").pk
    with pytest.raises(NotThere):
        search.one(theirs, actor="dpo", facilities={"GRANARY"})
    with pytest.raises(NotThere):
        search.one(0, actor="dpo")
    assert search.one(theirs, actor="dpo").actor == "theirs"
    assert [one.actor for one in who_saw("GRANARY", "P1", actor="dpo", facilities={"GRANARY"})] == ["ours"]


def test_asking_is_in_the_audit_with_what_was_asked() -> None:
    ask(Question(patient_id="P1", issuer="GRANARY", kind="opened", since=NOON), actor="dpo", address="192.0.2.9")
    told = Event.objects.get()
    assert (told.code, told.action, told.actor, told.address) == ("110101", "R", "dpo", "192.0.2.9")
    assert (told.issuer, told.patient_id) == ("GRANARY", "P1")
    assert told.detail == {"read": "search", "found": 0, "question": {"kind": "opened", "since": NOON.isoformat()}}
    record(opened("rumbi"))
    search.one(Event.objects.latest("pk").pk, actor="dpo")
    assert Event.objects.latest("pk").detail["read"] == "row"
    who_saw("GRANARY", "P1", actor="dpo")
    assert Event.objects.latest("pk").detail == {"read": "who saw", "found": 2}


@pytest.mark.parametrize(
    ("question", "field"),
    [(Question(kind="nonsense"), "kind"), (Question(since=NOON, until=NOON), "until")],
)
def test_what_cannot_be_asked_is_refused_beside_its_field(question: Question, field: str) -> None:
    with pytest.raises(Refused) as refused:
        ask(question, actor="dpo")
    assert refused.value.field == field


@pytest.mark.parametrize("before", ["x", "1.x", ".", "9" * 40 + ".1"])
def test_a_page_that_cannot_be_is_refused(before: str) -> None:
    with pytest.raises(Refused):
        ask(Question(), actor="dpo", before=before)


# Who saw this patient ------------------------------------------------------------------------------


def test_it_says_who_saw_a_patient_how_often_when_from_where_and_how() -> None:
    later = NOON + timedelta(days=1)
    emergency = {"type": Type.EMERGENCY_OVERRIDE_STARTED}
    record(
        opened("rumbi", address="192.0.2.1"),
        opened("rumbi", address="192.0.2.1", at=later),
        opened("rumbi", address="192.0.2.2", outcome=Outcome.MINOR_FAILURE),
        Entry(Code.EXPORT, "R", "rumbi", issuer="GRANARY", patient_id="P1", at=NOON),
        Entry(Code.INSTANCES_TRANSFERRED, "C", "CT1", issuer="GRANARY", patient_id="P1", at=later),
        Entry(Code.SECURITY_ALERT, "E", "olga", issuer="GRANARY", patient_id="P1", detail=emergency, at=NOON),
        opened("somebody", "P2"),
    )
    rumbi, ct1, olga = who_saw("GRANARY", "P1", actor="dpo")
    assert (rumbi.actor, rumbi.saw, rumbi.times, rumbi.refused) == ("rumbi", 3, 4, 1)
    assert (rumbi.first, rumbi.last, sorted(rumbi.addresses)) == (NOON, later, ["192.0.2.1", "192.0.2.2"])
    assert rumbi.ways == {"opened": 3, "exported": 1}
    assert (ct1.actor, ct1.saw, ct1.ways) == ("CT1", 0, {"brought": 1})
    assert (olga.actor, olga.saw, olga.emergency) == ("olga", 0, 1)


def test_rows_that_name_only_a_study_of_the_patient_count() -> None:
    record(opened("rumbi", study_uid="1.2.3"), Entry(Code.EXPORT, "R", "olga", study_uid="1.2.3", at=NOON))
    record(Entry(Code.EXPORT, "R", "stranger", study_uid="1.2.4", at=NOON))
    assert {one.actor for one in who_saw("GRANARY", "P1", actor="dpo")} == {"rumbi", "olga"}


def test_the_time_can_be_narrowed() -> None:
    record(opened("early"), opened("late", at=NOON + timedelta(days=2)))
    assert [one.actor for one in who_saw("GRANARY", "P1", actor="dpo", since=NOON + timedelta(days=1), until=NOON + timedelta(days=3))] == ["late"]  # noqa: E501 # fmt: skip


def test_a_row_knows_its_place_in_the_chain() -> None:
    record(opened("a", at=NOON), opened("b", at=NOON))
    number = Event.objects.latest("pk").pk
    assert search.place(number) is None
    chain.link_and_seal()
    place = search.place(number)
    assert place == search.Place("2026-11-23", 2, 1, True)
