"""Emergency access opens one patient, for an hour, with a reason, before the eyes of the audit and of a reviewer."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from hozi.accounts import authorise, emergency
from hozi.accounts.authorise import Denied, Scope, Who
from hozi.accounts.models import EmergencyAccess, Grant, Person, Role
from hozi.audit.models import Event
from hozi.choices import answers
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import places
from hozi.facilities.models import Facility

pytestmark = pytest.mark.django_db

ISSUER, NUMBER = "ELSEWHERE-HOSPITAL", "E-4711"
REASON = "Brought in unconscious; the priors lie elsewhere"


def somebody(name: str, role: str, facility: str | None = None) -> int:
    now = timezone.now()
    person = Person.objects.create(username=name, full_name=name, state="active", is_active=True, requested_at=now)
    place = Facility.objects.get(code=facility) if facility else None
    Grant.objects.create(
        person=person, role=Role.objects.get(key=role), facility=place, granted_at=now, granted_by="test"
    )
    return int(person.pk)


def asks(person: int) -> Who:
    who = authorise.of_person(person, "10.0.0.7")
    assert who is not None
    return who


@pytest.fixture(autouse=True)
def hospitals() -> None:
    places.add("GRANARY", "Granary Hospital", "GRANARY-HOSPITAL", actor="test")
    places.add("ELSEWHERE", "Elsewhere Hospital", ISSUER, actor="test")
    Event.objects.all().delete()


@pytest.fixture
def radiologist() -> int:
    return somebody("rudo", "radiologist", "GRANARY")


@pytest.fixture
def protector() -> int:
    return somebody("dadirai", "dpo")


def opened(person: int, number: str = NUMBER) -> emergency.Opened:
    return emergency.open(asks(person), issuer=ISSUER, patient_id=number, reason=REASON)


def test_it_reaches_that_patient_and_nobody_else_s_studies_beyond_the_own_facility(radiologist: int) -> None:
    before = authorise.reach(asks(radiologist), "studies.open")
    opened(radiologist)
    for permission in ("studies.find", "studies.open", "studies.print"):
        scopes = authorise.reach(asks(radiologist), permission).scopes
        assert scopes == (*before.scopes, Scope(patient=(ISSUER, NUMBER)))


@pytest.mark.parametrize("permission", ["studies.download", "studies.export", "exceptions.see", "totals.see"])
def test_it_gives_nothing_but_finding_opening_and_printing(radiologist: int, permission: str) -> None:
    before = authorise.reach(asks(radiologist), permission)
    opened(radiologist)
    assert authorise.reach(asks(radiologist), permission) == before


def test_it_gives_nothing_that_the_person_may_do_with_no_patient(radiologist: int) -> None:
    role = Role.objects.get(key="radiologist")
    role.permissions = ["studies.find", "emergency.use"]
    role.save()
    opened(radiologist)
    assert not authorise.may(asks(radiologist), "studies.open")
    assert not authorise.may(asks(radiologist), "studies.print")


def test_it_gives_no_facility_that_the_person_does_not_have(radiologist: int) -> None:
    opened(radiologist)
    assert authorise.facilities(asks(radiologist), "studies.find") == {"GRANARY"}


def test_it_ends_when_its_time_is_over_whether_or_not_anybody_writes_that_down(radiologist: int) -> None:
    access = opened(radiologist)
    assert access.until - access.opened_at == answers.emergency_length()
    EmergencyAccess.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert len(authorise.reach(asks(radiologist), "studies.open").scopes) == 1
    assert emergency.mine(asks(radiologist)) == []


def test_it_ends_with_the_permission_to_use_it(radiologist: int) -> None:
    opened(radiologist)
    role = Role.objects.get(key="radiologist")
    role.permissions = [key for key in role.permissions if key != "emergency.use"]
    role.save()
    assert len(authorise.reach(asks(radiologist), "studies.open").scopes) == 1


def test_its_end_is_written_into_the_audit_once(radiologist: int) -> None:
    access = opened(radiologist)
    assert emergency.expire() == 0
    late = access.until + timedelta(minutes=3)
    assert emergency.expire(late) == 1
    assert emergency.expire(late) == 0
    stopped = Event.objects.get(detail__type="110138")
    assert (stopped.issuer, stopped.patient_id, stopped.actor) == (ISSUER, NUMBER, "hozi")
    assert EmergencyAccess.objects.get().ended_at == access.until


def test_who_opened_it_can_end_it_and_it_is_over_at_once(radiologist: int) -> None:
    access = opened(radiologist)
    assert [entry.id for entry in emergency.mine(asks(radiologist))] == [access.id]
    emergency.end(asks(radiologist), access.id)
    assert len(authorise.reach(asks(radiologist), "studies.open").scopes) == 1
    assert Event.objects.filter(detail__type="110138").count() == 1
    with pytest.raises(Changed):
        emergency.end(asks(radiologist), access.id)


def test_a_colleague_can_neither_see_nor_end_it(radiologist: int) -> None:
    access = opened(radiologist)
    colleague = asks(somebody("rejoice", "radiologist", "GRANARY"))
    assert emergency.mine(colleague) == []
    assert len(authorise.reach(colleague, "studies.open").scopes) == 1
    with pytest.raises(NotThere):
        emergency.end(colleague, access.id)


def test_the_audit_says_who_opened_whom_from_where_and_why(radiologist: int) -> None:
    access = opened(radiologist)
    event = Event.objects.get()
    assert (event.code, event.detail["type"], event.outcome) == ("110113", "110127", 0)
    assert (event.actor, event.address, event.facility) == ("rudo", "10.0.0.7", "ELSEWHERE")
    assert (event.issuer, event.patient_id, event.detail["reason"]) == (ISSUER, NUMBER, REASON)
    assert event.detail["emergency"] == access.id


def test_a_patient_that_is_not_there_looks_the_same_and_is_audited_too(radiologist: int) -> None:
    access = opened(radiologist, "NOBODY-HAS-THIS")
    assert access.lasts()
    assert Event.objects.get(detail__type="110127").patient_id == "NOBODY-HAS-THIS"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": "urgent"}, "reason"),
        ({"reason": "         \n "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"patient_id": "  "}, "patient_id"),
        ({"patient_id": "A\\B"}, "patient_id"),
        ({"patient_id": "A\0B"}, "patient_id"),
        ({"patient_id": "9" * 257}, "patient_id"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": "I" * 65}, "issuer"),
    ],
)
def test_it_says_beside_the_field_what_is_wrong(radiologist: int, changes: dict[str, str], field: str) -> None:
    with pytest.raises(Refused) as refused:
        emergency.open(asks(radiologist), **{"issuer": ISSUER, "patient_id": NUMBER, "reason": REASON, **changes})
    assert refused.value.field == field
    assert not EmergencyAccess.objects.exists()


def test_the_same_patient_is_not_opened_twice_at_a_time(radiologist: int) -> None:
    access = opened(radiologist)
    with pytest.raises(Refused, match="open to you already"):
        opened(radiologist)
    emergency.end(asks(radiologist), access.id)
    assert opened(radiologist).id != access.id


def test_after_ten_patients_a_day_it_is_refused_and_the_audit_knows(radiologist: int) -> None:
    for number in range(emergency.MOST_A_DAY):
        opened(radiologist, f"E-{number}")
    with pytest.raises(emergency.TooMany):
        opened(radiologist, "E-99")
    refusal = Event.objects.get(outcome=4)
    assert (refusal.patient_id, refusal.detail["type"]) == ("E-99", "110127")
    oldest = EmergencyAccess.objects.earliest("pk")
    EmergencyAccess.objects.filter(pk=oldest.pk).update(opened_at=timezone.now() - timedelta(hours=25))
    assert opened(radiologist, "E-99").lasts()


def test_nobody_opens_without_the_permission_nor_with_a_token(radiologist: int, protector: int) -> None:
    with pytest.raises(Denied):
        opened(protector)
    who = asks(radiologist)
    token = Who("token", who.actor, who.address, who.held, who.person)
    for one in (token, authorise.of_operator()):
        with pytest.raises(Denied):
            emergency.open(one, issuer=ISSUER, patient_id=NUMBER, reason=REASON)
    assert not EmergencyAccess.objects.exists()


def test_a_reviewer_sees_what_nobody_has_reviewed_and_reading_it_is_audited(radiologist: int, protector: int) -> None:
    access = opened(radiologist)
    assert emergency.waiting(asks(protector)) == emergency.Waiting(lasting=1, to_review=1)
    [waits] = emergency.to_review(asks(protector))
    assert (waits.id, waits.username, waits.reason) == (access.id, "rudo", REASON)
    assert Event.objects.filter(code="110101", actor="dadirai").count() == 1
    with pytest.raises(Denied):
        emergency.to_review(asks(radiologist))
    with pytest.raises(Denied):
        emergency.waiting(asks(radiologist))


def test_a_review_is_said_once(radiologist: int, protector: int) -> None:
    access = opened(radiologist)
    said = emergency.review(asks(protector), access.id, "justified")
    assert (said.verdict, said.reviewed_by) == ("justified", "dadirai")
    assert said.lasts(), "what was justified goes on until its time is over"
    assert emergency.waiting(asks(protector)).to_review == 0
    with pytest.raises(Changed):
        emergency.review(asks(protector), access.id, "not-justified", "No emergency at all")
    assert Event.objects.get(detail__verdict="justified").patient_id == NUMBER


def test_what_was_not_justified_ends_at_once_and_needs_words(radiologist: int, protector: int) -> None:
    access = opened(radiologist)
    with pytest.raises(Refused) as refused:
        emergency.review(asks(protector), access.id, "not-justified")
    assert refused.value.field == "note"
    said = emergency.review(asks(protector), access.id, "not-justified", "A neighbour, out of curiosity")
    assert not said.lasts()
    assert len(authorise.reach(asks(radiologist), "studies.open").scopes) == 1
    assert Event.objects.filter(detail__type="110138").count() == 1


def test_nobody_reviews_what_they_opened_themselves() -> None:
    administrator = somebody("alois", "pacs_admin")
    access = opened(administrator)
    with pytest.raises(Refused, match="themselves"):
        emergency.review(asks(administrator), access.id, "justified")


def test_a_verdict_is_one_of_two(radiologist: int, protector: int) -> None:
    access = opened(radiologist)
    for verdict in ("open", "", "fine"):
        with pytest.raises(Refused) as refused:
            emergency.review(asks(protector), access.id, verdict)
        assert refused.value.field == "verdict"


def test_a_reviewer_can_end_it(radiologist: int, protector: int) -> None:
    emergency.end(asks(protector), opened(radiologist).id)
    assert emergency.mine(asks(radiologist)) == []
    local = asks(somebody("localdpo", "dpo", "ELSEWHERE"))
    emergency.end(local, opened(radiologist).id)
    assert emergency.mine(asks(radiologist)) == []


def test_a_reviewer_of_a_facility_sees_its_patients_and_its_people_only(radiologist: int) -> None:
    access = opened(radiologist)
    places.add("THIRD", "Third Hospital", actor="test")
    of_patient, of_person = (asks(somebody(f"dpo{code}", "dpo", code)) for code in ("ELSEWHERE", "GRANARY"))
    third = asks(somebody("dpothird", "dpo", "THIRD"))
    assert [entry.id for entry in emergency.to_review(of_patient)] == [access.id]
    assert [entry.id for entry in emergency.to_review(of_person)] == [access.id]
    assert emergency.to_review(third) == [] == emergency.log(third)
    assert emergency.waiting(third) == emergency.Waiting(0, 0)
    assert emergency.one(of_patient, access.id).username == "rudo"
    for act in (
        lambda: emergency.one(third, access.id),
        lambda: emergency.review(third, access.id, "justified"),
        lambda: emergency.end(third, access.id),
    ):
        with pytest.raises(NotThere):
            act()


def test_the_log_is_read_page_by_page_the_newest_first(radiologist: int, protector: int) -> None:
    numbers = [opened(radiologist, f"E-{number}").id for number in range(5)]
    first = emergency.log(asks(protector), limit=3)
    then = emergency.log(asks(protector), before=first[-1].id, limit=3)
    assert [entry.id for entry in (*first, *then)] == numbers[::-1]


@pytest.mark.django_db(transaction=True)
def test_of_two_clicks_at_the_same_moment_one_opens(radiologist: int) -> None:
    start, ends = threading.Barrier(2), []

    def click() -> None:
        start.wait()
        try:
            opened(radiologist)
            ends.append("opened")
        except Refused:
            ends.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=click) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["opened", "refused"]
    assert EmergencyAccess.objects.count() == 1
    assert Event.objects.filter(detail__type="110127", outcome=0).count() == 1
