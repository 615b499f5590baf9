"""What the audit was told, read back for those whose work it is to compare it with what is. Reads, never judges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hozi.audit.models import Event
from hozi.audit.record import Code, Outcome, Type


@dataclass(frozen=True, slots=True)
class Told:
    """One event: when, what was done (an action's letter), and the rest in its own words."""

    at: datetime
    action: str
    detail: dict[str, Any]


def acts(*types: Type) -> Iterator[Told]:
    """Every successful act of these types on the system itself, the first first; read page by page."""
    rows = Event.objects.filter(
        code=Code.SECURITY_ALERT, outcome=Outcome.SUCCESS, type__in=[kind.value for kind in types]
    )
    for at, action, detail in rows.order_by("pk").values_list("at", "action", "detail").iterator(1000):
        yield Told(at, action, detail)


def last_check(name: str) -> Told | None:
    """The last event that says how the check of that name (``detail["check"]``) ended; None when it never ran."""
    kind = Type.SECURITY_CONFIGURATION.value
    rows = Event.objects.filter(code=Code.SECURITY_ALERT, type=kind, detail__check=name).order_by("-at", "-pk")
    row = rows.values_list("at", "action", "detail").first()
    return Told(*row) if row else None
