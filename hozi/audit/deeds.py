"""What a device has done lately, read from the audit: for its own page, and as evidence that it works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet

from hozi.audit.models import Event
from hozi.audit.record import Code, Outcome


@dataclass(frozen=True, slots=True)
class Deed:
    """One event of one actor. ``ok``: it ended well. Holds patient data: UIDs."""

    at: datetime
    code: str
    action: str
    ok: bool
    address: str
    study_uid: str
    object_uid: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many times something was done, and when first and last."""

    count: int
    first: datetime
    last: datetime


def of(
    actor: str, since: datetime, *, code: Code | None = None, action: str = "", ok: bool | None = None, most: int = 50
) -> list[Deed]:
    """What the actor did since, the last first: of one kind, of one outcome, where that is asked for."""
    return _deeds(_rows(Q(actor=actor), since, code, action, ok), most)


def tally(actor: str, since: datetime, *, code: Code, action: str, ok: bool = True) -> Tally | None:
    """How many times the actor did that since; None when never."""
    rows = _rows(Q(actor=actor), since, code, action, ok)
    found = rows.aggregate(count=Count("pk"), first=Min("at"), last=Max("at"))
    return Tally(**found) if found["count"] else None


def given(receiver: str, study_uid: str, since: datetime, most: int = 10) -> list[Deed]:
    """What of that study was sent to a device since, whoever asked for it; the last first."""
    who = Q(study_uid=study_uid, detail__receiver=receiver)
    return _deeds(_rows(who, since, Code.INSTANCES_TRANSFERRED, "R", None), most)


def _deeds(rows: QuerySet[Event], most: int) -> list[Deed]:
    fields = ("at", "code", "action", "outcome", "address", "study_uid", "object_uid", "detail")
    return [
        Deed(at, code, action, outcome == Outcome.SUCCESS, *rest)
        for at, code, action, outcome, *rest in rows.order_by("-at", "-pk").values_list(*fields)[:most]
    ]


def _rows(who: Q, since: datetime, code: Code | None, action: str, ok: bool | None) -> QuerySet[Event]:
    rows = Event.objects.filter(who, at__gte=since)
    if code is not None:
        rows = rows.filter(code=code)
    if action:
        rows = rows.filter(action=action)
    if ok is not None:
        rows = rows.filter(outcome=Outcome.SUCCESS) if ok else rows.exclude(outcome=Outcome.SUCCESS)
    return rows
