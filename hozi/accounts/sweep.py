"""The daily look at all accounts: whose last day is past, or who has not been here for long, is disabled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from hozi.accounts import oversight, states
from hozi.accounts.models import Person
from hozi.choices import answers
from hozi.core.errors import Refused

log = structlog.get_logger(__name__)

ACTOR: Final = "hozi"


@dataclass(frozen=True, slots=True)
class Swept:
    """Names to sign in with: whose last day was past, who was idle, and who was kept as the last who can give roles."""

    ended: tuple[str, ...]
    idle: tuple[str, ...]
    kept: tuple[str, ...]


def sweep(today: date | None = None, *, now: datetime | None = None) -> Swept:
    """Disables accounts whose last day is before ``today``, and those not used for as long as was chosen.

    Accounts that are kept for emergencies (``never_idle``) may be idle. Tokens and sessions end with the account.
    Each account is a transaction of its own; done twice, nothing happens the second time.
    """
    now = now or timezone.now()
    today = today or timezone.localdate(now)
    days = answers.inactive_days()
    kept: list[str] = []
    ended = _disable_all(Q(ends_on__lt=today), "the last day is past", kept)
    idle = _disable_all(idle_at(now - timedelta(days=days)), f"not used for {days} days", kept)
    for name in kept:
        log.warning("account kept: the last one who can give roles", person=name)
    return Swept(tuple(ended), tuple(idle), tuple(kept))


def idle_at(since: datetime) -> Q:
    """The accounts that have not been used since: neither seen, nor signed in, nor changed in their state."""
    never_since = Q()
    for field in ("last_seen_at", "last_login", "state_at"):
        never_since &= Q(**{field: None}) | Q(**{f"{field}__lt": since})
    waiting = Q(state=Person.State.REQUESTED)
    return never_since & Q(never_idle=False, requested_at__lt=since) & ~waiting


def _disable_all(which: Q, reason: str, kept: list[str]) -> list[str]:
    done = []
    open_ones = Person.objects.filter(which).exclude(state=Person.State.DISABLED).order_by("pk")
    for number in list(open_ones.values_list("pk", flat=True)):
        with transaction.atomic():
            oversight.hold_still()
            person = Person.objects.select_for_update().filter(which, pk=number).first()
            if person is None or person.state == Person.State.DISABLED:
                continue
            try:
                if person.is_active:
                    oversight.check_not_last(person)
            except Refused:
                kept.append(person.username)
                continue
            states.move(person, Person.State.DISABLED, actor=ACTOR, reason=reason)
            done.append(person.username)
    return done
