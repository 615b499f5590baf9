"""Whatever somebody changes in the tables, past Hozi, is found; whatever is done through Hozi is not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from hozi.accounts import drift, grants, lifecycle, reviews, roles, tokens
from hozi.accounts.authorise import Who
from hozi.accounts.models import Grant, Person, Role, Token
from hozi.audit.models import Event
from tests.accounts.conftest import OPERATOR, Somebody

pytestmark = pytest.mark.django_db


@pytest.fixture
def tendai(north: str) -> int:
    """A radiographer of one hospital, all of whose life stands in the audit."""
    asked = lifecycle.request(OPERATOR, username="tendai", full_name="Tendai Moyo", facility=north)
    lifecycle.approve(OPERATOR, asked.id)
    grants.grant(OPERATOR, asked.id, "radiographer", facility=north, modality="CT")
    return lifecycle.invite(OPERATOR, asked.id).id


@pytest.fixture
def program() -> int:
    asked = lifecycle.request(OPERATOR, username="ris", full_name="The RIS", is_program=True)
    lifecycle.approve(OPERATOR, asked.id)
    grants.grant(OPERATOR, asked.id, "service")
    return lifecycle.invite(OPERATOR, asked.id).id


def texts() -> list[str]:
    return [finding.text for finding in drift.findings()]


def test_a_new_archive_is_as_it_was_delivered() -> None:
    assert texts() == []


def test_whatever_is_done_through_hozi_is_no_drift(tendai: int, program: int, admin: Who) -> None:
    given = grants.grant(OPERATOR, tendai, "referrer", own_referrals=True, deidentified=True)
    grants.end(OPERATOR, given.id)
    grants.grant(OPERATOR, tendai, "referrer", own_referrals=True, deidentified=True)
    made = tokens.make(OPERATOR, program, "sends", scopes=["read", "write"], networks=["10.0.0.0/8"], days=30)
    tokens.make(OPERATOR, program, "stays", scopes=["read"])
    tokens.end(OPERATOR, made.id)
    shape = roles.create(OPERATOR, "night_reader", name="Night reader", permissions=["studies.find", "studies.open"])
    roles.change(
        OPERATOR,
        "night_reader",
        version=shape.version,
        name="Night",
        permissions=["studies.find", "studies.print"],
        deidentified=True,
    )
    gone = roles.create(OPERATOR, "gone", name="Gone", permissions=["studies.find"])
    roles.delete(OPERATOR, "gone", version=gone.version)
    lifecycle.suspend(OPERATOR, program, "a rest")
    lifecycle.reactivate(OPERATOR, program)
    lifecycle.disable(OPERATOR, program, "no longer needed")
    lifecycle.reactivate(OPERATOR, program)
    # The fixtures' people become active past Hozi.
    assert [text for text in texts() if "alois" not in text] == []


def test_reviews_are_no_drift(tendai: int, program: int) -> None:
    reviews.open(OPERATOR)
    items = {item.username: item for item in reviews.to_decide(OPERATOR)}
    reviews.revoke(OPERATOR, items["tendai"].id, note="has left")
    reviews.close_due(timezone.now() + timedelta(days=29))
    assert Person.objects.get(pk=program).state == "suspended"
    assert texts() == []


def test_a_grant_that_somebody_put_into_the_table_is_found(tendai: int) -> None:
    person, role = Person.objects.get(pk=tendai), Role.objects.get(key="pacs_admin")
    Grant.objects.create(person=person, role=role, granted_at=timezone.now(), granted_by="root")
    assert texts() == [
        "tendai holds the role pacs_admin at all facilities, and the audit does not say who gave it"
    ]  # fmt: skip


def test_a_grant_that_was_widened_is_found(tendai: int) -> None:
    Grant.objects.update(facility=None)
    assert texts() == [
        "tendai has lost the role radiographer at NORTH, modality: CT, and the audit does not say who took it",
        "tendai holds the role radiographer at all facilities, modality: CT, and the audit does not say who gave it",
    ]


def test_a_grant_that_was_brought_back_to_life_is_found(tendai: int) -> None:
    [given] = Grant.objects.all()
    grants.end(OPERATOR, given.pk)
    assert texts() == []
    Grant.objects.update(ended_at=None)
    assert len(texts()) == 1


@pytest.mark.parametrize("permission", ["audit.export", "people.grant"])
def test_a_permission_that_was_added_to_a_role_is_found(permission: str) -> None:
    role = Role.objects.get(key="student")
    Role.objects.filter(pk=role.pk).update(permissions=[*role.permissions, permission])
    assert texts() == [f"The role student may {permission}, and the audit does not say who decided that"]


def test_a_permission_that_was_taken_and_a_limit_that_was_lifted_are_found() -> None:
    Role.objects.filter(key="student").update(permissions=["studies.find"], deidentified=False)
    assert texts() == [
        "The role student has lost studies.open, and the audit does not say who took it",
        "The limit deidentified of the role student was changed outside of Hozi",
    ]


def test_a_role_that_came_or_went_past_hozi_is_found() -> None:
    Role.objects.filter(key="vendor").delete()
    Role.objects.create(key="ghost", name="Ghost", permissions=[])
    assert texts() == [
        "The role vendor is gone, and the audit does not say who removed it",
        "The role ghost is there, and the audit does not say who made it",
    ]


def test_an_account_that_nobody_made_active_is_found(tendai: int) -> None:
    Person.objects.update(state="active", is_active=True)
    assert texts() == ["The account tendai is active; by the audit it is invited"]


def test_an_account_that_nobody_made_is_found() -> None:
    Person.objects.create(username="ghost", full_name="Ghost", requested_at=timezone.now())
    assert texts() == ["The account ghost is there, and the audit does not say who made it"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="not meant for databases that cannot ignore a constraint")
def test_an_account_that_works_although_it_is_suspended_is_found(program: int) -> None:
    lifecycle.suspend(OPERATOR, program, "a rest")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints=ON")
        try:
            Person.objects.filter(pk=program).update(is_active=True)
        finally:
            cursor.execute("PRAGMA ignore_check_constraints=OFF")
    assert texts() == ["The account ris is suspended, and yet works: is_active was changed outside of Hozi"]
    Person.objects.filter(pk=program).update(is_active=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scopes": ["read", "write", "admin"]}, "may do something else"),
        ({"networks": []}, "or from elsewhere"),
        ({"expires_at": timezone.now() + timedelta(days=900)}, "works longer"),
        ({"begins": "hozi_other00"}, "does not say who made it"),
    ],
)
def test_a_token_that_was_changed_is_found(program: int, changes: dict[str, object], words: str) -> None:
    tokens.make(OPERATOR, program, "sends", scopes=["read"], networks=["10.0.0.0/8"], days=30)
    assert texts() == []
    Token.objects.update(**changes)
    [text] = texts()
    assert words in text


def test_a_token_that_was_brought_back_to_life_is_found(program: int) -> None:
    made = tokens.make(OPERATOR, program, "sends", scopes=["read"])
    tokens.end(OPERATOR, made.id)
    Token.objects.update(ended_at=None)
    [text] = texts()
    assert "says that it was ended" in text


def test_the_check_stands_in_the_audit_with_what_it_found(tendai: int) -> None:
    assert drift.last() is None
    assert drift.run() == []
    last = drift.last()
    assert last is not None and (last.count, last.texts) == (0, ())
    Grant.objects.update(facility=None)
    drift.run()
    last = drift.last()
    assert last is not None and last.count == 2
    assert "has lost the role radiographer" in last.texts[0]
    assert Event.objects.latest("pk").outcome == 8


def test_it_changes_nothing(tendai: int, somebody: Somebody) -> None:
    Grant.objects.update(facility=None)
    events = Event.objects.count()
    drift.findings()
    assert Event.objects.count() == events
    assert Grant.objects.filter(ended_at=None, facility=None).count() == 1
