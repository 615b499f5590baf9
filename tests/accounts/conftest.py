"""People for the tests of accounts: made through the room's own doors, by the operator at the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from hozi.accounts import authorise, failures, grants, lifecycle
from hozi.accounts.authorise import Who
from hozi.accounts.models import Person
from hozi.facilities import places

OPERATOR = authorise.of_operator("root")
PASSWORD = "a granary keeps the harvest dry"

Somebody = Callable[..., Who]


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    failures.forget()
    yield


@pytest.fixture
def north(db: None) -> str:
    return places.add("NORTH", "North Clinic", actor="test").code


@pytest.fixture
def south(db: None) -> str:
    return places.add("SOUTH", "South Clinic", actor="test").code


def asks(number: int) -> Who:
    who = authorise.of_person(number, "10.0.0.7")
    assert who is not None
    return who


def row(number: int | Who) -> Person:
    return Person.objects.get(pk=number.person if isinstance(number, Who) else number)


@pytest.fixture
def somebody(db: None) -> Somebody:
    """An active person with a role (none: without any), everywhere or at a facility, as one who asks."""

    def make(username: str, role: str = "", facility: str = "", **scope: object) -> Who:
        asked = lifecycle.request(
            OPERATOR,
            username=username,
            full_name=f"{username.title()} Invented",
            facility=facility,
            ends_on=timezone.localdate() + timedelta(days=90) if role in ("student", "vendor") else None,
        )
        lifecycle.approve(OPERATOR, asked.id)
        if role:
            grants.grant(OPERATOR, asked.id, role, facility=facility, **scope)  # type: ignore[arg-type]
        now = timezone.now()
        Person.objects.filter(pk=asked.id).update(
            state="active", is_active=True, activated_at=now, usable_at=now, state_at=now
        )
        return asks(asked.id)

    return make


@pytest.fixture
def admin(somebody: Somebody) -> Who:
    """A PACS administrator of all facilities."""
    return somebody("alois", "pacs_admin")


@pytest.fixture
def other_admin(somebody: Somebody) -> Who:
    """Another one."""
    return somebody("beauty", "pacs_admin")


@pytest.fixture
def local(somebody: Somebody, north: str) -> Who:
    """Looks after the people of one facility, with everything that may be done there."""
    return somebody("lindiwe", "pacs_admin", north)
