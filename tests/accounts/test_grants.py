"""Roles are given as far as the giver holds them, never to oneself, and ended, never changed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from hozi.accounts import authorise, grants, lifecycle, roles
from hozi.accounts.authorise import Denied, Scope, Who
from hozi.accounts.models import Grant, Person
from hozi.audit.models import Event
from hozi.core.dicom.names import fold
from hozi.core.errors import NotThere, Refused
from hozi.facilities.models import Department, Facility
from tests.accounts.conftest import OPERATOR, Somebody, asks, row

pytestmark = pytest.mark.django_db


@pytest.fixture
def tendai(somebody: Somebody) -> int:
    number = somebody("tendai").person
    assert number is not None
    return number


def test_a_role_reaches_as_far_as_it_was_given(admin: Who, tendai: int, north: str) -> None:
    Department.objects.create(facility=Facility.objects.get(code=north), code="XRAY", name="X-ray")
    Person.objects.filter(pk=tendai).update(referring_names=["Moyo^Tendai"])
    given = grants.grant(
        admin, tendai, "radiologist", facility=north, department="xray", modality="ct", own_referrals=True
    )
    assert (given.facility, given.department, given.modality, given.own_referrals) == (north, "XRAY", "CT", True)
    [scope] = authorise.reach(asks(tendai), "studies.open").scopes
    assert scope == Scope("NORTH", "XRAY", "CT", frozenset({fold("Moyo^Tendai")}))
    told = Event.objects.filter(detail__person="tendai", detail__granted__role="radiologist").get()
    assert told.detail["granted"] == {
        "role": "radiologist",
        "facility": north,
        "department": "XRAY",
        "modality": "CT",
        "own_referrals": "yes",
    }


def test_what_was_ended_gives_nothing_and_stays_known(admin: Who, tendai: int) -> None:
    given = grants.grant(admin, tendai, "radiologist")
    ended = grants.end(admin, given.id)
    assert (ended.ended_by, ended.ended_at is not None) == ("alois", True)
    assert not authorise.may(asks(tendai), "studies.open")
    with pytest.raises(Refused, match="already"):
        grants.end(admin, given.id)
    again = grants.grant(admin, tendai, "radiologist")
    assert again.id != given.id
    assert Grant.objects.filter(person=tendai).count() == 2


def test_the_same_is_not_given_twice(admin: Who, tendai: int, north: str) -> None:
    grants.grant(admin, tendai, "radiologist")
    with pytest.raises(Refused, match="already"):
        grants.grant(admin, tendai, "radiologist")
    grants.grant(admin, tendai, "radiologist", facility=north)


def test_a37_whoever_gives_roles_in_one_facility_gives_them_there_only(
    local: Who, north: str, south: str, somebody: Somebody
) -> None:
    here = somebody("rumbi", "", north).person
    assert here is not None
    assert grants.grant(local, here, "radiologist", facility=north).facility == north
    for where in (south, ""):
        with pytest.raises(Refused) as refused:
            grants.grant(local, here, "radiologist", facility=where)
        assert refused.value.field == "facility"
    with pytest.raises(NotThere):
        grants.grant(local, somebody("sipho", "", south).person, "radiologist", facility=north)  # type: ignore[arg-type]


def test_a37_nobody_gives_what_they_do_not_hold(north: str, somebody: Somebody) -> None:
    roles.create(OPERATOR, "desk", name="Desk", permissions=["people.see", "people.grant", "people.approve"])
    desk, rumbi = somebody("desk", "desk"), somebody("rumbi", "", north)
    for role in ("pacs_admin", "radiologist", "ministry"):
        with pytest.raises(Refused, match="may do what you may not") as refused:
            grants.grant(desk, rumbi.person, role)  # type: ignore[arg-type]
        assert refused.value.field == "role"
    assert grants.grant(desk, rumbi.person, "desk", facility=north).role == "desk"  # type: ignore[arg-type]


def test_a37_a_narrow_reach_cannot_be_widened_by_giving_it_on(somebody: Somebody, north: str) -> None:
    everything = frozenset({"people.see", "people.grant", "studies.open"})
    roles.create(OPERATOR, "narrow", name="Narrow", permissions=everything)
    giver = somebody("giver", "narrow", north, modality="CT")
    taker = somebody("taker", "", north).person
    assert taker is not None
    for scope in ({}, {"modality": "MR"}):
        with pytest.raises(Refused):
            grants.grant(giver, taker, "narrow", facility=north, **scope)  # type: ignore[arg-type]
    grants.grant(giver, taker, "narrow", facility=north, modality="CT", deidentified=True)


def test_one_who_may_not_give_roles_does_not(somebody: Somebody, tendai: int, admin: Who) -> None:
    given = grants.grant(admin, tendai, "radiologist")
    for role in ("manager", "dpo", "it_support"):
        who = somebody(role.replace("_", ""), role)
        with pytest.raises(Denied):
            grants.grant(who, tendai, "student")
        with pytest.raises(Denied):
            grants.end(who, given.id)


def test_a_role_that_is_not_used_at_a_facility_is_not_given_there(admin: Who, tendai: int, north: str) -> None:
    Facility.objects.filter(code=north).update(roles=["radiographer"])
    with pytest.raises(Refused, match="not used at NORTH"):
        grants.grant(admin, tendai, "radiologist", facility=north)
    grants.grant(admin, tendai, "radiographer", facility=north)


def test_it_says_which_roles_are_held_at_a_facility(admin: Who, tendai: int, north: str) -> None:
    given = grants.grant(admin, tendai, "radiologist", facility=north)
    grants.grant(admin, tendai, "radiographer")
    assert grants.held_at("north") == {"radiologist"}
    grants.end(admin, given.id)
    assert grants.held_at(north) == frozenset()


def test_a_role_for_a_time_needs_a_last_day(admin: Who, tendai: int) -> None:
    with pytest.raises(Refused) as refused:
        grants.grant(admin, tendai, "student")
    assert refused.value.field == "ends_on"
    last = timezone.localdate() + timedelta(days=30)
    grants.grant(admin, tendai, "student", ends_on=last)
    assert row(tendai).ends_on == last


def test_the_last_who_can_give_roles_keeps_the_role(admin: Who, local: Who, somebody: Somebody) -> None:
    own = Grant.objects.get(person=admin.person)
    with pytest.raises(Refused, match="last one"):
        grants.end(OPERATOR, own.pk)
    with pytest.raises(Refused, match="last one"):
        grants.grant(OPERATOR, admin.person, "student", ends_on=timezone.localdate())  # type: ignore[arg-type]
    other = somebody("beauty", "pacs_admin")
    grants.end(other, own.pk)
    assert row(admin).grants.filter(ended_at=None).count() == 0


def test_a_role_held_twice_can_be_ended_once(admin: Who, north: str) -> None:
    second = grants.grant(OPERATOR, admin.person, "pacs_admin", modality="CT")  # type: ignore[arg-type]
    grants.end(OPERATOR, second.id)
    own = Grant.objects.get(person=admin.person, ended_at=None)
    with pytest.raises(Refused, match="last one"):
        grants.end(OPERATOR, own.pk)


def test_a_disabled_account_gets_no_role(admin: Who, tendai: int) -> None:
    lifecycle.disable(admin, tendai, "left")
    with pytest.raises(Refused, match="disabled"):
        grants.grant(admin, tendai, "radiologist")


@pytest.mark.parametrize(
    ("scope", "field"),
    [
        ({"role": "king"}, "role"),
        ({"facility": "NOWHERE"}, "facility"),
        ({"department": "XRAY"}, "department"),
        ({"facility": "NORTH", "department": "XRAY"}, "department"),
        ({"modality": "'; drop"}, "modality"),
        ({"modality": "X" * 17}, "modality"),
    ],
)
def test_wrong_input_is_said_beside_its_field(
    admin: Who, tendai: int, north: str, scope: dict[str, str], field: str
) -> None:
    with pytest.raises(Refused) as refused:
        grants.grant(admin, tendai, **{"role": "radiologist", **scope})  # type: ignore[arg-type]
    assert refused.value.field == field
    assert not Grant.objects.filter(person=tendai).exists()
