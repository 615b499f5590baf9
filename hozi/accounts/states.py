"""The one way from one state of an account to another, with everything that goes along with it."""

from __future__ import annotations

from typing import Any, Final

from django.utils import timezone

from hozi.accounts import sessions
from hozi.accounts.models import Invitation, Person, Token
from hozi.audit.record import Code, Entry, Type, record
from hozi.core.errors import Changed, Refused

State = Person.State

_WAYS: Final[dict[str, frozenset[str]]] = {
    State.REQUESTED: frozenset({State.APPROVED, State.DISABLED}),
    State.APPROVED: frozenset({State.INVITED, State.ACTIVE, State.DISABLED}),
    State.INVITED: frozenset({State.INVITED, State.ACTIVE, State.SUSPENDED, State.DISABLED}),
    State.ACTIVE: frozenset({State.SUSPENDED, State.DISABLED}),
    State.SUSPENDED: frozenset({State.APPROVED, State.ACTIVE, State.DISABLED}),
    State.DISABLED: frozenset({State.REQUESTED, State.APPROVED, State.ACTIVE}),
}
"""From which state an account can get into which."""

WORDS: Final[dict[str, str]] = {
    State.REQUESTED: "is requested",
    State.APPROVED: "is approved",
    State.INVITED: "is invited",
    State.ACTIVE: "is active",
    State.SUSPENDED: "is suspended",
    State.DISABLED: "is disabled",
}


def move(person: Person, state: str, *, actor: str, address: str = "", reason: str = "", **changes: Any) -> None:
    """Puts the account into the state, in the transaction that is open, and writes it into the audit.

    Whoever is not active any more has no sessions; a suspended account's links end; a disabled one's links and tokens
    do. Raises Refused when there is no way from one state to the other.
    """
    before, now = person.state, timezone.now()
    if state not in _WAYS[before]:
        raise Refused(f"{person.username} {WORDS[before]}; that cannot follow now")
    change(person, state=state, is_active=state == State.ACTIVE, state_reason=reason, state_at=now, **changes)
    if before == State.ACTIVE:
        sessions.end_all(person.pk)
    if state in (State.SUSPENDED, State.DISABLED):
        Invitation.objects.filter(person=person, used_at=None, expires_at__gt=now).update(expires_at=now)
    if state == State.DISABLED:
        Token.objects.filter(person=person, ended_at=None).update(ended_at=now, ended_by=actor[:128])
    told = {"from": before, "to": state, **({"reason": reason} if reason else {})}
    tell(person, "U", actor, address, **told)


def change(person: Person, **values: Any) -> None:
    """Writes values of the account, unless somebody else was quicker (Changed)."""
    values["version"] = person.version + 1
    if not Person.objects.filter(pk=person.pk, version=person.version).update(**values):
        raise Changed("Somebody else has changed this account meanwhile; look at it again")
    for name, value in values.items():
        setattr(person, name, value)


def tell(person: Person, action: str, actor: str, address: str = "", **detail: Any) -> None:
    """Writes into the audit what was done to the account."""
    record(
        Entry(
            Code.SECURITY_ALERT,
            action,
            actor,
            address=address,
            facility=person.facility.code if person.facility else "",
            detail={"type": Type.USER_ATTRIBUTES_CHANGED, "person": person.username, **detail},
        )
    )
