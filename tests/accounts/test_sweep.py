"""Each day accounts end whose last day is past or that nobody uses; with their tokens, and never the last key."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from hozi.accounts import lifecycle, tokens
from hozi.accounts.authorise import Who
from hozi.accounts.models import Person
from hozi.accounts.sweep import sweep
from hozi.audit.models import Event
from tests.accounts.conftest import OPERATOR, Somebody, row

pytestmark = pytest.mark.django_db


def last_used(who: Who, days: float) -> None:
    at = timezone.now() - timedelta(days=days)
    Person.objects.filter(pk=who.person).update(last_seen_at=at, state_at=at, requested_at=at)


def test_an_account_ends_the_day_after_its_last(somebody: Somebody) -> None:
    student = somebody("sihle", "student")
    last = row(student).ends_on
    assert last is not None
    assert sweep(last).ended == ()
    assert sweep(last + timedelta(days=1)).ended == ("sihle",)
    assert (row(student).state, row(student).is_active) == ("disabled", False)
    assert sweep(last + timedelta(days=1)).ended == ()
    told = Event.objects.filter(detail__person="sihle", detail__to="disabled").get()
    assert (told.actor, told.detail["reason"]) == ("hozi", "the last day is past")


def test_after_91_idle_days_account_and_token_are_dead(somebody: Somebody, admin: Who) -> None:
    rumbi = somebody("rumbi", "radiographer")
    made = tokens.make(admin, rumbi.person, "script", scopes=["read"])  # type: ignore[arg-type]
    last_used(rumbi, 89.9)
    assert sweep().idle == ()
    last_used(rumbi, 91)
    assert sweep().idle == ("rumbi",)
    assert row(rumbi).state == "disabled"
    assert tokens.of_token(made.secret, "10.0.0.1") is None
    [ended] = tokens.listed(admin, rumbi.person)  # type: ignore[arg-type]
    assert ended.ended_at is not None


@pytest.mark.parametrize("field", ["last_seen_at", "last_login", "state_at"])
def test_any_sign_of_life_counts(somebody: Somebody, field: str) -> None:
    rumbi = somebody("rumbi", "radiographer")
    last_used(rumbi, 200)
    Person.objects.filter(pk=rumbi.person).update(**{field: timezone.now() - timedelta(days=5)})
    assert sweep().idle == ()


def test_a_program_that_uses_its_token_is_not_idle(somebody: Somebody, admin: Who) -> None:
    ris = somebody("ris", "service")
    made = tokens.make(admin, ris.person, "ris", scopes=["read"])  # type: ignore[arg-type]
    last_used(ris, 200)
    assert tokens.of_token(made.secret, "10.0.0.1") is not None
    assert sweep().idle == ()


def test_what_is_kept_for_emergencies_may_be_idle_but_not_beyond_its_last_day(somebody: Somebody) -> None:
    rescue = somebody("rescue", "radiologist")
    Person.objects.filter(pk=rescue.person).update(never_idle=True)
    last_used(rescue, 400)
    assert sweep().idle == ()
    Person.objects.filter(pk=rescue.person).update(ends_on=timezone.localdate() - timedelta(days=1))
    assert sweep().ended == ("rescue",)


def test_an_invitation_that_nobody_took_ends_and_a_request_waits(admin: Who) -> None:
    asked = lifecycle.request(OPERATOR, full_name="Waits Long")
    invited = lifecycle.admit(admin, lifecycle.request(OPERATOR, full_name="Never Came", role="radiologist").id)
    old = timezone.now() - timedelta(days=91)
    Person.objects.filter(pk__in=(asked.id, invited.id)).update(requested_at=old, state_at=old)
    assert sweep().idle == ("never.came",)
    assert row(asked.id).state == "requested"


def test_the_last_who_can_give_roles_is_kept_however_idle(admin: Who, other_admin: Who) -> None:
    last_used(admin, 200)
    last_used(other_admin, 200)
    swept = sweep()
    assert (swept.idle, swept.kept) == (("alois",), ("beauty",))
    assert row(other_admin).is_active


def test_whoever_is_given_back_does_not_fall_to_the_next_sweep(somebody: Somebody, admin: Who) -> None:
    rumbi = somebody("rumbi", "radiographer")
    last_used(rumbi, 91)
    sweep()
    lifecycle.reactivate(admin, rumbi.person)  # type: ignore[arg-type]
    assert sweep().idle == ()
