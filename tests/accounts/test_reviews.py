"""Everybody's access is looked at four times a year: attested, or ended; whom nobody attests is suspended."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from hozi.accounts import authorise, grants, lifecycle, reviews, tokens
from hozi.accounts.authorise import Denied, Who
from hozi.accounts.models import Person, ReviewItem
from hozi.audit.models import Event
from hozi.core.errors import Changed, NotThere, Refused
from tests.accounts.conftest import OPERATOR, Somebody, asks, row

pytestmark = pytest.mark.django_db


@pytest.fixture
def dpo(somebody: Somebody) -> Who:
    return somebody("dadirai", "dpo")


@pytest.fixture
def rumbi(somebody: Somebody, north: str) -> Who:
    return somebody("rumbi", "radiographer", north, modality="CT")


def item_of(who: Who, username: str) -> reviews.Item:
    [item] = [item for item in reviews.to_decide(who) if item.username == username]
    return item


def test_a_review_has_one_item_for_everybody_who_has_access(
    dpo: Who, rumbi: Who, admin: Who, somebody: Somebody
) -> None:
    lifecycle.suspend(OPERATOR, somebody("suspended", "manager").person or 0, "a rest")
    lifecycle.disable(OPERATOR, somebody("disabled", "manager").person or 0, "left")
    lifecycle.request(OPERATOR, username="requested", full_name="Requested")
    opened = reviews.open(dpo)
    assert (opened.total, opened.waiting) == (3, 3)
    assert opened.due_at - opened.opened_at == timedelta(days=14)
    assert opened.grace_until - opened.due_at == timedelta(days=14)
    assert sorted(ReviewItem.objects.values_list("person__username", flat=True)) == ["alois", "dadirai", "rumbi"]
    assert Event.objects.get(detail__review=opened.id).detail["people"] == 3


def test_it_says_in_words_what_somebody_may_do(dpo: Who, rumbi: Who, program: int) -> None:
    grants.grant(OPERATOR, rumbi.person or 0, "referrer", deidentified=True)
    tokens.make(OPERATOR, program, "sends", scopes=["read"])
    reviews.open(dpo)
    assert item_of(dpo, "rumbi").access == (
        "Radiographer at NORTH, CT only",
        "Referring clinician at all facilities, own referrals only, de-identified only",
    )
    assert item_of(dpo, "ris").access == ("Program at all facilities", "1 token")


@pytest.fixture
def program() -> int:
    asked = lifecycle.request(OPERATOR, username="ris", full_name="The RIS", is_program=True)
    lifecycle.approve(OPERATOR, asked.id)
    grants.grant(OPERATOR, asked.id, "service")
    return lifecycle.invite(OPERATOR, asked.id).id


def test_what_is_attested_stays(dpo: Who, rumbi: Who) -> None:
    opened = reviews.open(dpo)
    said = reviews.attest(dpo, item_of(dpo, "rumbi").id, note="still on the roster")
    assert (said.decision, said.decided_by, said.note) == ("attested", "dadirai", "still on the roster")
    assert authorise.may(asks(rumbi.person or 0), "studies.find")
    assert reviews.of(dpo, opened.id).attested == 1
    event = Event.objects.get(detail__decision="attested")
    assert (event.actor, event.detail["person"], event.detail["type"]) == ("dadirai", "rumbi", "110136")
    assert event.detail["access"] == ["Radiographer at NORTH, CT only"]


def test_what_is_revoked_is_gone_at_once_and_the_audit_has_each_role(dpo: Who, rumbi: Who) -> None:
    grants.grant(OPERATOR, rumbi.person or 0, "referrer")
    reviews.open(dpo)
    item = item_of(dpo, "rumbi")
    with pytest.raises(Refused) as refused:
        reviews.revoke(dpo, item.id, note="")
    assert refused.value.field == "note"
    assert reviews.revoke(dpo, item.id, note="moved to another hospital").decision == "revoked"
    assert asks(rumbi.person or 0).held == ()
    assert row(rumbi).is_active
    assert Event.objects.filter(detail__person="rumbi", detail__ended__role__isnull=False).count() == 2


def test_nobody_decides_about_themselves(dpo: Who, rumbi: Who) -> None:
    reviews.open(dpo)
    own = ReviewItem.objects.get(person=dpo.person).pk
    assert own not in [item.id for item in reviews.to_decide(dpo)]
    for act in (lambda: reviews.attest(dpo, own), lambda: reviews.revoke(dpo, own, note="because I can")):
        with pytest.raises(Refused, match="their own access"):
            act()
    assert ReviewItem.objects.get(pk=own).decision == "open"


def test_nobody_decides_without_the_permission(dpo: Who, rumbi: Who) -> None:
    reviews.open(dpo)
    item = item_of(dpo, "rumbi")
    for act in (
        lambda: reviews.attest(rumbi, item.id),
        lambda: reviews.to_decide(rumbi),
        lambda: reviews.listed(rumbi),
        lambda: reviews.open(rumbi),
        lambda: reviews.waiting(rumbi),
    ):
        with pytest.raises(Denied):
            act()


def test_a_decision_is_made_once(dpo: Who, admin: Who, rumbi: Who) -> None:
    reviews.open(dpo)
    item = item_of(dpo, "rumbi")
    reviews.attest(admin, item.id)
    with pytest.raises(Changed):
        reviews.revoke(dpo, item.id, note="too late for that")
    assert asks(rumbi.person or 0).held


@pytest.mark.django_db(transaction=True)
def test_of_two_who_decide_at_the_same_moment_one_gets_through(dpo: Who, admin: Who, rumbi: Who) -> None:
    reviews.open(dpo)
    item, start, ends = item_of(dpo, "rumbi"), threading.Barrier(2), []

    def decide(who: Who) -> None:
        start.wait()
        try:
            reviews.attest(who, item.id)
            ends.append("done")
        except Changed:
            ends.append("changed")
        finally:
            connection.close()

    threads = [threading.Thread(target=decide, args=(who,)) for who in (dpo, admin)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["changed", "done"]
    assert Event.objects.filter(detail__decision="attested").count() == 1


def test_nobody_attests_what_they_have_not_seen(dpo: Who, rumbi: Who) -> None:
    reviews.open(dpo)
    item = item_of(dpo, "rumbi")
    grants.grant(OPERATOR, rumbi.person or 0, "pacs_admin")
    with pytest.raises(Changed, match="has changed since you looked"):
        reviews.attest(dpo, item.id, seen=item.seen)
    again = item_of(dpo, "rumbi")
    assert "PACS administrator at all facilities" in again.access
    assert reviews.attest(dpo, again.id, seen=again.seen).access == again.access


def test_a_reviewer_of_one_facility_decides_about_those_whose_access_ends_there(
    dpo: Who, rumbi: Who, south: str, somebody: Somebody
) -> None:
    everywhere, both = somebody("everywhere", "radiologist"), somebody("both", "radiographer", "NORTH")
    grants.grant(OPERATOR, both.person or 0, "radiographer", facility=south)
    local, elsewhere = somebody("localdpo", "dpo", "NORTH"), somebody("southdpo", "dpo", south)
    opened = reviews.open(dpo)
    assert [item.username for item in reviews.to_decide(local)] == ["rumbi"]
    assert reviews.to_decide(elsewhere) == []
    assert reviews.waiting(local) == (1, opened.due_at)
    assert reviews.waiting(elsewhere) == (0, None)
    for person in (everywhere, both, dpo):
        number = ReviewItem.objects.get(person=person.person).pk
        with pytest.raises(NotThere):
            reviews.attest(local, number)
        with pytest.raises(NotThere):
            reviews.one(local, number)
    with pytest.raises(Refused, match="all facilities"):
        reviews.open(local)
    reviews.revoke(local, item_of(local, "rumbi").id, note="has left us")
    decided = reviews.items(local, opened.id, decision="revoked")
    assert [item.username for item in decided] == ["rumbi"]


def test_one_review_at_a_time(dpo: Who) -> None:
    reviews.open(dpo)
    with pytest.raises(Refused, match="open already"):
        reviews.open(dpo)


def test_before_the_grace_is_over_nobody_is_suspended(dpo: Who, rumbi: Who) -> None:
    opened = reviews.open(dpo)
    assert reviews.close_due(opened.grace_until - timedelta(seconds=1)) == 0
    assert row(rumbi).is_active


def test_whom_nobody_attested_is_suspended_with_the_reason_and_the_review_closes(
    dpo: Who, admin: Who, rumbi: Who, program: int
) -> None:
    token = tokens.make(OPERATOR, program, "sends", scopes=["read"])
    opened = reviews.open(dpo)
    for name in ("alois",):
        reviews.attest(dpo, item_of(dpo, name).id)
    reviews.attest(admin, item_of(admin, "dadirai").id)
    assert reviews.close_due(opened.grace_until) == 2
    assert row(rumbi).state == "suspended"
    assert "nobody attested" in row(rumbi).state_reason
    assert authorise.of_person(rumbi.person or 0) is None
    assert tokens.of_token(token.secret, "10.0.0.7") is None
    closed = reviews.of(dpo, opened.id)
    assert (closed.total, closed.waiting, closed.attested, closed.suspended) == (4, 0, 2, 2)
    assert closed.closed_at == opened.grace_until
    assert reviews.close_due(opened.grace_until + timedelta(days=1)) == 0
    assert Event.objects.filter(detail__person="rumbi", detail__to="suspended").count() == 1


def test_who_lost_the_account_meanwhile_is_not_touched(dpo: Who, admin: Who, rumbi: Who) -> None:
    opened = reviews.open(dpo)
    lifecycle.disable(OPERATOR, rumbi.person or 0, "left")
    reviews.attest(dpo, item_of(dpo, "alois").id)
    reviews.attest(admin, item_of(admin, "dadirai").id)
    assert reviews.close_due(opened.grace_until) == 0
    assert row(rumbi).state_reason == "left"
    assert ReviewItem.objects.get(person=rumbi.person).note == "the account is disabled already"


def test_the_last_one_who_can_give_roles_stays_and_the_review_stays_open(dpo: Who, admin: Who) -> None:
    opened = reviews.open(dpo)
    assert reviews.close_due(opened.grace_until) == 1, "the data protection officer"
    assert row(admin).is_active
    still = reviews.of(admin, opened.id)
    assert (still.closed_at, still.waiting) == (None, 1)
    with pytest.raises(Refused, match="last one"):
        reviews.revoke(OPERATOR, ReviewItem.objects.get(person=admin.person).pk, note="should not be possible")
    reviews.attest(OPERATOR, ReviewItem.objects.get(person=admin.person).pk)
    reviews.close_due(opened.grace_until + timedelta(hours=1))
    assert reviews.of(admin, opened.id).closed_at is not None


def test_a_review_opens_by_itself_once_a_quarter(admin: Who) -> None:
    Person.objects.update(activated_at=datetime(2026, 2, 10, tzinfo=UTC))
    assert reviews.open_due(datetime(2026, 3, 31, 12, tzinfo=UTC)) is None, "not in the quarter in which it began"
    first = reviews.open_due(datetime(2026, 3, 31, 22, 30, tzinfo=UTC))
    assert first is not None, "in Harare it is April already"
    assert first.opened_by == "hozi"
    assert reviews.open_due(datetime(2026, 4, 2, tzinfo=UTC)) is None
    assert reviews.open_due(datetime(2026, 6, 30, tzinfo=UTC)) is None
    reviews.look(datetime(2026, 7, 1, tzinfo=UTC))
    reviews.look(datetime(2026, 7, 2, tzinfo=UTC))
    assert [review.opened_at.month for review in reviews.listed(admin)] == [7, 3]


def test_an_archive_without_people_has_no_review() -> None:
    assert reviews.open_due(timezone.now() + timedelta(days=400)) is None


def test_lists_go_page_by_page(dpo: Who, somebody: Somebody) -> None:
    for number in range(5):
        somebody(f"person{number}", "manager")
    opened = reviews.open(dpo)
    first = reviews.to_decide(dpo, limit=3)
    then = reviews.to_decide(dpo, after=first[-1].id, limit=3)
    assert [item.username for item in (*first, *then)] == [f"person{number}" for number in range(5)]
    assert [review.id for review in reviews.listed(dpo)] == [opened.id]
    with pytest.raises(NotThere):
        reviews.of(dpo, opened.id + 1)
