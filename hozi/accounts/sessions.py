"""Where somebody is signed in: listed, and ended from elsewhere."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.apps import apps
from django.utils import timezone

from hozi.accounts.models import Person

_PAUSE: Final = 300.0
_MOST_NOTED: Final = 10_000

_lock = threading.Lock()
_noted: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Session:
    """One browser in which somebody is signed in."""

    id: int
    key: str
    address: str
    browser: str
    began_at: datetime
    last_seen_at: datetime


def listed(person: int) -> list[Session]:
    """Where the person is signed in, the last used first. What ended by itself is left out."""
    rows = _rows()
    if rows is None:
        return []
    found = sorted(rows.purge_and_list(Person(pk=person)), key=lambda row: row.last_seen_at, reverse=True)
    return [Session(row.pk, row.session_key, row.ip, row.user_agent, row.created_at, row.last_seen_at) for row in found]


def seen(person: int, key: str, address: str, browser: str) -> None:
    """The person is here now, in that session (``key``): written once in five minutes at most."""
    now = time.monotonic()
    with _lock:
        if now - _noted.get(key, -_PAUSE) < _PAUSE:
            return
        if len(_noted) >= _MOST_NOTED:
            _noted.clear()
        _noted[key] = now
    rows, at = _rows(), timezone.now()
    Person.objects.filter(pk=person).exclude(last_seen_at__gt=at - timedelta(seconds=_PAUSE)).update(last_seen_at=at)
    if rows is not None:
        about = {"user_id": person, "ip": address, "user_agent": browser[:200], "last_seen_at": at}
        rows.update_or_create(session_key=key, defaults=about)


def end(person: int, session: int) -> bool:
    """Signs the person out there; False when there is no such session of theirs."""
    rows = _rows()
    row = None if rows is None else rows.filter(user_id=person, pk=session).first()
    if row is None:
        return False
    row.end()
    return True


def end_all(person: int, *, but: str = "") -> int:
    """Signs the person out everywhere (``but``: the key of a session that stays); returns of how many sessions."""
    rows = _rows()
    ended = [] if rows is None else list(rows.filter(user_id=person).exclude(session_key=but or None))
    for row in ended:
        row.end()
    return len(ended)


def _rows() -> Any:
    """The table of sessions; None where no console is installed."""
    if not apps.is_installed("allauth.usersessions"):
        return None
    table: Any = apps.get_model("usersessions.UserSession")
    return table.objects
