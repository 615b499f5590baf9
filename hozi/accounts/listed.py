"""People in lists: filtered, sorted, page by page, as far as who asks may see people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

from django.db.models import Count, F, Prefetch, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Lower

from hozi.accounts import clock, oversight
from hozi.accounts.authorise import Who
from hozi.accounts.clock import Clock
from hozi.accounts.models import Grant, Person

SEE: Final = "people.see"
Sort = Literal["name", "seen", "idle", "end", "new"]

_EVER: Final = Value(datetime(1970, 1, 1, tzinfo=UTC))
_NEVER: Final = Value(date(9999, 12, 31))

#: How a list is sorted: the value, and whether the greatest comes first.
_SORTS: Final[dict[str, tuple[Any, bool]]] = {
    "name": (Lower("full_name"), False),
    "seen": (Coalesce("last_seen_at", "last_login", _EVER), True),
    "idle": (Coalesce("last_seen_at", "last_login", _EVER), False),
    "end": (Coalesce("ends_on", _NEVER), False),
    "new": (F("requested_at"), True),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One person in a list. ``roles``: those in force, in words. ``clock``: of a request that is waited for."""

    id: int
    username: str
    full_name: str
    email: str
    state: str
    is_program: bool
    facility: str
    roles: tuple[str, ...]
    last_seen_at: datetime | None
    ends_on: date | None
    never_idle: bool
    version: int
    clock: Clock | None


@dataclass(frozen=True, slots=True)
class Page:
    """Lines of a list. ``next``: what ``after`` must be for the next page; None: this is the last."""

    lines: tuple[Line, ...]
    next: int | None


def people(
    who: Who,
    *,
    state: str = "",
    role: str = "",
    facility: str = "",
    text: str = "",
    sort: Sort = "name",
    after: int | None = None,
    limit: int = 50,
) -> Page:
    """The people whom who asks may see. Empty filters do not filter; ``text`` is part of a name or an address.

    Raises Denied without ``people.see``.
    """
    key, descending = _SORTS[sort]
    rows = _filtered(who, state, role, facility, text).annotate(key=key)
    if after is not None:
        last = Person.objects.filter(pk=after).annotate(key=key).values_list("key", flat=True).first()
        if last is not None:
            beyond = Q(key__lt=last) if descending else Q(key__gt=last)
            rows = rows.filter(beyond | Q(key=last, pk__gt=after))
    in_force = Grant.objects.filter(ended_at=None).select_related("role", "facility").order_by("pk")
    ordered = rows.order_by("-key" if descending else "key", "pk").select_related("facility")
    found = list(ordered.prefetch_related(Prefetch("grants", in_force, to_attr="held"))[: limit + 1])
    lines = tuple(_line(row) for row in found[:limit])
    return Page(lines, lines[-1].id if len(found) > limit else None)


def counts(who: Who) -> dict[str, int]:
    """How many people there are in each state, as far as who asks may see them."""
    rows = Person.objects.filter(oversight.reached(who, SEE)).values_list("state").annotate(count=Count("pk"))
    return {state.value: 0 for state in Person.State} | dict(rows)


def role_in_words(row: Grant) -> str:
    """``Radiographer at NORTH``; a role without limits of place is only named."""
    return f"{row.role.name} at {row.facility.code}" if row.facility else row.role.name


def _filtered(who: Who, state: str, role: str, facility: str, text: str) -> QuerySet[Person]:
    rows = Person.objects.filter(oversight.reached(who, SEE))
    if state:
        rows = rows.filter(state=state)
    if role:
        rows = rows.filter(pk__in=Grant.objects.filter(ended_at=None, role__key=role).values("person"))
    if facility:
        here = Grant.objects.filter(ended_at=None, facility__code=facility).values("person")
        rows = rows.filter(Q(facility__code=facility) | Q(pk__in=here))
    for word in _words(text):
        rows = rows.filter(Q(full_name__icontains=word) | Q(username__icontains=word) | Q(email__icontains=word))
    return rows


def _words(text: str) -> Iterable[str]:
    return text.replace("\x00", " ").split()[:5]


def _line(row: Any) -> Line:
    return Line(
        row.pk,
        row.username,
        row.full_name,
        row.email,
        row.state,
        row.is_program,
        row.facility.code if row.facility else "",
        tuple(role_in_words(grant) for grant in row.held),
        row.last_seen_at or row.last_login,
        row.ends_on,
        row.never_idle,
        row.version,
        clock.of(row) if row.usable_at is None else None,
    )
