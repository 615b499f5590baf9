"""Bearer tokens, for doors without a browser: made and shown once, limited, ended; and who asks with one.

A token is ``hozi_`` and 256 random bits, of which only a hash is kept. It can do what its person may do and its scopes
allow, until its last moment, from its networks.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from hozi.accounts import authorise, failures, names, oversight, permissions, states
from hozi.accounts.authorise import Denied, Held, Who
from hozi.accounts.models import Person, Token
from hozi.core.errors import NotThere, Refused

SCOPES: Final = ("read", "write", "admin")
PREFIX: Final = "hozi_"
LONGEST_DAYS: Final = 365
MOST: Final = 20
"""Tokens of one person that work at the same time."""

_SEEN_EVERY: Final = timedelta(minutes=1)
_APPROVE: Final = "people.approve"


@dataclass(frozen=True, slots=True)
class Made:
    """A token. ``secret`` is there once: when it was made."""

    id: int
    name: str
    begins: str
    scopes: tuple[str, ...]
    networks: tuple[str, ...]
    made_at: datetime
    made_by: str
    expires_at: datetime
    last_used_at: datetime | None
    last_address: str
    ended_at: datetime | None
    secret: str = ""

    def works(self, now: datetime | None = None) -> bool:
        """Whether it opens anything at all."""
        return self.ended_at is None and self.expires_at > (now or timezone.now())


def make(
    who: Who,
    number: int,
    name: str,
    *,
    scopes: Iterable[str],
    days: int = 90,
    networks: Iterable[str] = (),
) -> Made:
    """Makes a token of a person: their own, or somebody else's by whoever looks after them and may do as much.

    ``networks``: addresses and networks (CIDR) from which it works; none: from anywhere. Raises Refused.
    """
    if who.kind == "token" and who.person == number:
        # Else whoever finds a token makes another that outlives it and works from anywhere.
        raise Denied(f"{who.actor} may not, with a token: make a token for the same account")
    label = names.note(name, longest=64, field="name")
    if not label:
        raise Refused("Give the token a name by which you know later what uses it", field="name")
    chosen = _scopes(scopes)
    if not 1 <= days <= LONGEST_DAYS:
        raise Refused(f"A token lives for 1 to {LONGEST_DAYS} days", field="days")
    nets = _networks(networks)
    with transaction.atomic():
        person = _person(who, number, make=True)
        if not person.is_active or authorise.has_ended(person):
            raise Refused(f"{person.username} is not active: only active people and programs have tokens")
        now = timezone.now()
        working = Token.objects.filter(person=person, ended_at=None, expires_at__gt=now)
        if working.count() >= MOST:
            raise Refused(f"{person.username} has {MOST} tokens: end one that is not used any more")
        secret = PREFIX + secrets.token_urlsafe(32)
        row = Token.objects.create(
            person=person,
            name=label,
            begins=secret[: len(PREFIX) + 6],
            hash=_hash(secret),
            scopes=list(chosen),
            networks=nets,
            made_at=now,
            made_by=who.actor[:128],
            expires_at=now + timedelta(days=days),
        )
        told = {"token": row.begins, "name": label, "scopes": list(chosen), "days": days, "networks": nets}
        states.tell(person, "U", who.actor, who.address, made=told)
    return _made(row, secret)


def listed(who: Who, number: int) -> list[Made]:
    """The tokens of a person, those that work first, the last made first. Raises NotThere."""
    person = _person(who, number, make=False, permission="people.see")
    rows = Token.objects.filter(person=person).order_by("-made_at")
    return sorted((_made(row) for row in rows), key=lambda made: not made.works())


def end(who: Who, token: int) -> None:
    """Ends a token, at once and for good: one's own, or one of somebody whom who asks looks after."""
    with transaction.atomic():
        row = Token.objects.select_for_update().filter(pk=token).first()
        if row is None:
            raise NotThere("There is no such token here")
        person = _person(who, row.person_id, make=False)
        if row.ended_at is not None:
            raise Refused("That token has been ended already")
        row.ended_at, row.ended_by = timezone.now(), who.actor[:128]
        row.save(update_fields=["ended_at", "ended_by"])
        states.tell(person, "U", who.actor, who.address, ended={"token": row.begins, "name": row.name})


def of_token(secret: str, address: str) -> Who | None:
    """Whoever asks with the token, from that address; None when it does not work (any more), or not from there.

    Found by its hash: how long that takes says nothing about the secret. Failures stand in the audit, at a bounded
    rate; that it was used is written down at most once a minute.
    """
    now = timezone.now()
    row = Token.objects.filter(hash=_hash(secret)).select_related("person").first()
    if row is None or not _opens(row, address, now):
        failures.tell("token", address)
        return None
    person = row.person
    if row.last_used_at is None or row.last_used_at < now - _SEEN_EVERY:
        Token.objects.filter(pk=row.pk).update(last_used_at=now, last_address=address[:64])
        Person.objects.filter(pk=person.pk).update(last_seen_at=now)
    allowed = permissions.of_token(set(row.scopes))
    held = (Held(held.permissions & allowed, held.scope) for held in authorise.held_by(person))
    return Who("token", person.username, address, tuple(held), person.pk)


def rehearse() -> None:
    """Goes the way of `of_token` with a token that nobody has, and notes nothing: the first one then goes faster."""
    Token.objects.filter(hash=_hash("")).select_related("person").first()
    authorise.held_by(Person(pk=0))


def _opens(row: Token, address: str, now: datetime) -> bool:
    person = row.person
    if row.ended_at is not None or row.expires_at <= now or not person.is_active or authorise.has_ended(person):
        return False
    return not row.networks or _inside(address, row.networks)


def _inside(address: str, networks: list[str]) -> bool:
    try:
        caller = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(caller, "ipv4_mapped", None)
    return any((mapped or caller) in ipaddress.ip_network(network) for network in networks)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _person(who: Who, number: int, *, make: bool, permission: str = _APPROVE) -> Person:
    """One's own account, or that of somebody whom who asks looks after."""
    if who.person == number and who.kind == "person":
        return Person.objects.select_for_update().get(pk=number) if make else Person.objects.get(pk=number)
    person = oversight.person(who, permission, number)
    if permission == _APPROVE:
        oversight.check_within(who, permission, person)
    if make:
        oversight.check_covers(who, person)
    return person


def _scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    wanted = {scope.strip() for scope in scopes if scope.strip()}
    if unknown := sorted(wanted - set(SCOPES)):
        raise Refused(f"There is no scope {unknown[0][:32]!r} (there are: {', '.join(SCOPES)})", field="scopes")
    if not wanted:
        raise Refused(f"Say what the token is for: {', '.join(SCOPES)}, or some of them", field="scopes")
    return tuple(scope for scope in SCOPES if scope in wanted)


def _networks(networks: Iterable[str]) -> list[str]:
    kept = []
    for text in networks:
        if not text.strip():
            continue
        try:
            kept.append(str(ipaddress.ip_network(text.strip(), strict=False)))
        except ValueError:
            raise Refused(
                f"{text.strip()[:64]!r} is no address and no network (192.168.1.20, 192.168.1.0/24)", field="networks"
            ) from None
    if len(kept) > 20:
        raise Refused("At most 20 networks", field="networks")
    return list(dict.fromkeys(kept))


def _made(row: Token, secret: str = "") -> Made:
    return Made(
        row.pk,
        row.name,
        row.begins,
        tuple(row.scopes),
        tuple(row.networks),
        row.made_at,
        row.made_by,
        row.expires_at,
        row.last_used_at,
        row.last_address,
        row.ended_at,
        secret,
    )
