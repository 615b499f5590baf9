"""The 24-hour clock runs from the request until the account can be used, round the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hozi.accounts import clock, lifecycle
from hozi.accounts.authorise import Denied, Who
from hozi.accounts.models import Person
from tests.accounts.conftest import OPERATOR, Somebody, row

pytestmark = pytest.mark.django_db

#: A Friday evening: the clock does not wait for Monday.
FRIDAY = datetime(2025, 11, 28, 16, 0, tzinfo=UTC)


@pytest.fixture
def asked(db: None) -> int:
    account = lifecycle.request(OPERATOR, full_name="Tendai Moyo", role="radiographer")
    Person.objects.filter(pk=account.id).update(requested_at=FRIDAY)
    return account.id


@pytest.mark.parametrize(
    ("after", "breached"),
    [
        (timedelta(0), False),
        (timedelta(hours=24), False),
        (timedelta(hours=24, minutes=1), True),
        (timedelta(days=9), True),
    ],
)
def test_more_than_24_hours_is_a_breach_be_it_running_or_over(asked: int, after: timedelta, breached: bool) -> None:
    running = clock.of(row(asked), FRIDAY + after)
    assert running is not None
    assert (running.used, running.breached, running.runs) == (after, breached, True)
    assert running.due_at == FRIDAY + timedelta(hours=24)
    assert running.left == timedelta(hours=24) - after
    Person.objects.filter(pk=asked).update(usable_at=FRIDAY + after)
    over = clock.of(row(asked), FRIDAY + timedelta(days=30))
    assert over is not None
    assert (over.used, over.breached, over.runs) == (after, breached, False)


def test_approving_does_not_stop_it_and_inviting_does(asked: int, admin: Who) -> None:
    lifecycle.approve(admin, asked)
    [waited] = clock.waiting(admin)
    assert (waited.approved, waited.role) == (True, "Radiographer")
    lifecycle.admit(admin, asked)
    assert clock.waiting(admin) == []
    stopped = clock.of(row(asked))
    assert stopped is not None
    assert not stopped.runs


def test_those_due_first_come_first_and_only_as_far_as_one_sees(
    asked: int, local: Who, north: str, admin: Who, somebody: Somebody
) -> None:
    late = lifecycle.request(local, full_name="Later One", facility=north)
    assert [one.id for one in clock.waiting(admin)] == [asked, late.id]
    assert [one.id for one in clock.waiting(local)] == [late.id]
    with pytest.raises(Denied):
        clock.waiting(somebody("rudo", "radiologist"))


def test_breaches_are_counted(asked: int, somebody: Somebody) -> None:
    somebody("rudo", "radiologist")
    lifecycle.decline(OPERATOR, lifecycle.request(OPERATOR, full_name="Declined One").id, "not known here")
    assert clock.breaches(OPERATOR, FRIDAY - timedelta(days=999), FRIDAY + timedelta(hours=25)) == (1, 2)
    assert clock.breaches(OPERATOR, FRIDAY + timedelta(days=999)) == (0, 0)
