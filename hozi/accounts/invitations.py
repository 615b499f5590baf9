"""One-time links: with one, a person sets the first password or a new one, and the first administrator comes in.

A link holds 256 random bits, of which only a hash is kept; it works once, for three days. A door shows it as
``/enter/<secret>/``.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone

from hozi.accounts import authorise, failures, names, oversight, passwords, sessions, states
from hozi.accounts.models import Grant, Invitation, Person, Role
from hozi.core.errors import NotThere

VALID: Final = timedelta(hours=72)
"""How long a link works."""

_FIRST_ROLE: Final = "pacs_admin"
_DEAD: Final = "This link has been used, is too old, or is not complete: ask for a new one"
_STATE_FOR: Final = {
    Invitation.Purpose.FIRST.value: Person.State.INVITED,
    Invitation.Purpose.RESET.value: Person.State.ACTIVE,
}


@dataclass(frozen=True, slots=True)
class Link:
    """What a link is for: ``purpose`` is first, reset or setup; the names are empty for setup."""

    purpose: str
    username: str
    full_name: str
    expires_at: datetime


def setup_link() -> str | None:
    """A link with which the first administrator comes in; None as soon as anybody ever could give roles.

    Only the last one that was made works.
    """
    with transaction.atomic():
        oversight.hold_still()
        if not _nobody_yet():
            return None
        now = timezone.now()
        Invitation.objects.filter(purpose=Invitation.Purpose.SETUP, used_at=None, expires_at__gt=now).update(
            expires_at=now
        )
        return mint(None, Invitation.Purpose.SETUP, "hozi")


def look(token: str, address: str = "") -> Link | None:
    """What the link is for, without using it; None when it does not work (any more)."""
    row = _alive(token)
    if row is None:
        failures.tell("link", address)
        return None
    if row.person is None:
        return Link(row.purpose, "", "", row.expires_at)
    return Link(row.purpose, row.person.username, row.person.full_name, row.expires_at)


def accept(
    *, token: str, password: str, full_name: str = "", username: str = "", email: str = "", address: str = ""
) -> int:
    """Uses the link: sets the password, and makes the account active; returns the person's id.

    The names count for the first administrator's link only. Of two who use a link at the same moment one gets through.
    Raises NotThere when the link does not work (any more), Refused when a name or the password will not do.
    """
    row = _alive(token)
    if row is None:
        failures.tell("link", address)
        raise NotThere(_DEAD)
    person = row.person or Person(
        username=names.username(username), full_name=names.full_name(full_name), email=names.email(email)
    )
    passwords.check(password, person)
    hashed = make_password(password)  # slow on purpose: not while the database waits
    with transaction.atomic():
        oversight.hold_still()
        now = timezone.now()
        used = Invitation.objects.filter(pk=row.pk, used_at=None, expires_at__gt=now).update(used_at=now)
        if not used:
            raise NotThere(_DEAD)
        if row.purpose == Invitation.Purpose.SETUP:
            return _set_up(person, hashed, address)
        return _enter(person.pk, row.purpose, hashed, address)


def mint(person: Person | None, purpose: str, actor: str) -> str:
    """A new link, within the transaction that is open; the person's earlier ones end. Returns the secret, this once."""
    now = timezone.now()
    if person is not None:
        Invitation.objects.filter(person=person, used_at=None, expires_at__gt=now).update(expires_at=now)
    row, secret = made(person, purpose, actor, now)
    row.save()
    return secret


def made(person: Person | None, purpose: str, actor: str, now: datetime) -> tuple[Invitation, str]:
    """A new link as a row that is not written yet, and its secret."""
    secret = secrets.token_urlsafe(32)
    row = Invitation(
        person=person, purpose=purpose, hash=_hash(secret), made_at=now, made_by=actor[:128], expires_at=now + VALID
    )
    return row, secret


def path(secret: str) -> str:
    """Where the console takes the link."""
    return f"/enter/{secret}/"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _alive(token: str) -> Invitation | None:
    """The invitation, if it can be used. Found by its hash: how long that takes says nothing about the secret."""
    row = Invitation.objects.filter(hash=_hash(token)).select_related("person").first()
    if row is None or row.used_at is not None or row.expires_at <= timezone.now():
        return None
    if row.purpose == Invitation.Purpose.SETUP:
        return row if _nobody_yet() else None
    if row.person is None or row.person.state != _STATE_FOR[row.purpose] or authorise.has_ended(row.person):
        return None
    return row


def _nobody_yet() -> bool:
    """Whether nobody could ever sign in and give roles: also a link that was used once closes this way for good."""
    if Invitation.objects.filter(purpose=Invitation.Purpose.SETUP, used_at__isnull=False).exists():
        return False
    able = [role.pk for role in Role.objects.all() if oversight.GRANT in role.permissions]
    grants = Grant.objects.filter(role__in=able, person__activated_at__isnull=False, person__is_program=False)
    return not grants.exists()


def _set_up(person: Person, hashed: str, address: str) -> int:
    if Invitation.objects.filter(purpose=Invitation.Purpose.SETUP, used_at__isnull=False).count() > 1:
        raise NotThere(_DEAD)
    now = timezone.now()
    person.password, person.state, person.is_active = hashed, Person.State.ACTIVE, True
    person.requested_at = person.approved_at = person.usable_at = person.activated_at = person.state_at = now
    person.requested_by = person.approved_by = "first administrator"
    person.save()
    role = Role.objects.get(key=_FIRST_ROLE)
    Grant.objects.create(person=person, role=role, granted_at=now, granted_by="first administrator")
    told = {"to": person.state, "granted": {"role": role.key}, "by": "link of the first administrator"}
    states.tell(person, "C", person.username, address, **told)
    return person.pk


def _enter(number: int, purpose: str, hashed: str, address: str) -> int:
    person = Person.objects.select_for_update().get(pk=number)
    if person.state != _STATE_FOR[purpose]:
        raise NotThere(_DEAD)
    now = timezone.now()
    if purpose == Invitation.Purpose.FIRST:
        states.move(
            person, Person.State.ACTIVE, actor=person.username, address=address, password=hashed, activated_at=now
        )
    else:
        states.change(person, password=hashed)
        sessions.end_all(person.pk)
        states.tell(person, "U", person.username, address, changed=["password"], by="link")
    return person.pk
