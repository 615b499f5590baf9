"""The 24-hour clock: from the request for an account until it can be used; round the clock, not in working hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from hozi.accounts import oversight
from hozi.accounts.authorise import Who
from hozi.accounts.models import Person

ALLOWED: Final = timedelta(hours=24)
"""Within so much time a requested account must be usable."""

_WAITING: Final = (Person.State.REQUESTED, Person.State.APPROVED)


@dataclass(frozen=True, slots=True)
class Clock:
    """How long a request took, or takes so far. ``runs``: the account cannot be used yet."""

    used: timedelta
    due_at: datetime
    runs: bool

    @property
    def breached(self) -> bool:
        """Whether it took longer than allowed."""
        return self.used > ALLOWED

    @property
    def left(self) -> timedelta:
        """What is left of the time that is allowed; negative when it is over."""
        return ALLOWED - self.used


@dataclass(frozen=True, slots=True)
class Waiting:
    """An account that somebody waits for: what has to be done next is to approve it or (``approved``) to invite."""

    id: int
    username: str
    full_name: str
    facility: str
    role: str
    requested_by: str
    approved: bool
    clock: Clock


def of(person: Person, now: datetime | None = None) -> Clock | None:
    """The clock of a person's request; None when it was declined, since nobody waits then."""
    end = person.usable_at
    if end is None and person.state not in _WAITING:
        return None
    used = (end or now or timezone.now()) - person.requested_at
    return Clock(used, person.requested_at + ALLOWED, end is None)


def waiting(who: Who, now: datetime | None = None, *, most: int = 200) -> list[Waiting]:
    """The accounts that are waited for, as far as who asks may see people; those due first come first."""
    rows = (
        Person.objects.filter(oversight.reached(who, "people.see"), state__in=_WAITING, usable_at=None)
        .select_related("facility", "wanted_role")
        .order_by("requested_at", "pk")
    )
    found = []
    for row in rows[:most]:
        if (clock := of(row, now)) is None:
            continue
        found.append(
            Waiting(
                row.pk,
                row.username,
                row.full_name,
                row.facility.code if row.facility else "",
                row.wanted_role.name if row.wanted_role else "",
                row.requested_by,
                row.state == Person.State.APPROVED,
                clock,
            )
        )
    return found


def breaches(who: Who, since: datetime, now: datetime | None = None) -> tuple[int, int]:
    """Of the requests since then, as far as who asks may see people: how many took longer than allowed, and of how
    many in all; declined ones apart.
    """
    late = total = 0
    reached = oversight.reached(who, "people.see")
    for row in Person.objects.filter(reached, requested_at__gte=since).only("state", "requested_at", "usable_at"):
        clock = of(row, now)
        if clock is not None:
            total += 1
            late += clock.breached
    return late, total
