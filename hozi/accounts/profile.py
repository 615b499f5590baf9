"""One person: everything that is known, what can be changed of it, and what people choose for themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.db import transaction

from hozi.accounts import clock, grants, names, oversight, sessions, states
from hozi.accounts.authorise import Who
from hozi.accounts.clock import Clock
from hozi.accounts.grants import Given
from hozi.accounts.models import Person
from hozi.accounts.sessions import Session
from hozi.core.errors import NotThere, Refused
from hozi.facilities import places

APPROVE: Final = "people.approve"
LANGUAGES: Final = ("", "en", "sn", "nd")
THEMES: Final = ("", "auto", "light", "dark")


@dataclass(frozen=True, slots=True)
class Profile:
    """A person. ``held`` are roles in force, ``ended`` those of the past, the last ended first."""

    id: int
    username: str
    full_name: str
    email: str
    phone: str
    state: str
    state_reason: str
    state_at: datetime | None
    is_program: bool
    facility: str
    wanted_role: str
    wanted_role_name: str
    referring_names: tuple[str, ...]
    requested_at: datetime
    requested_by: str
    request_note: str
    approved_at: datetime | None
    approved_by: str
    activated_at: datetime | None
    ends_on: date | None
    last_seen_at: datetime | None
    never_idle: bool
    language: str
    theme: str
    version: int
    clock: Clock | None
    held: tuple[Given, ...]
    ended: tuple[Given, ...]


def of(who: Who, number: int) -> Profile:
    """One person, for whoever may see them. Raises Denied, NotThere."""
    row = Person.objects.filter(oversight.reached(who, "people.see"), pk=number).first()
    if row is None:
        raise NotThere("There is no such person here")
    return _profile(row)


def number_of(username: str) -> int:
    """The id of whoever signs in by that name, whatever its case. For the operator: it says that somebody exists."""
    found = Person.objects.filter(username__iexact=username.strip()).values_list("pk", flat=True).first()
    if found is None:
        raise NotThere(f"Nobody signs in as {username[:64]!r}; `hozi user list` shows who does")
    return found


def own(who: Who) -> Profile:
    """Whoever asks, as a person. Raises NotThere when it is none."""
    row = Person.objects.filter(pk=who.person or 0).first()
    if row is None:
        raise NotThere("Only people have an account")
    return _profile(row)


def change(
    who: Who,
    number: int,
    *,
    version: int,
    full_name: str,
    email: str = "",
    phone: str = "",
    facility: str = "",
    referring_names: Iterable[str] = (),
    ends_on: date | None = None,
    never_idle: bool = False,
) -> Profile:
    """Changes what is known of somebody else. Raises Changed, NotThere, Refused.

    Another e-mail address, other names as a referrer and a later last day give more than there was: who changes them
    must hold all that the person holds.
    """
    code = facility.strip().upper()
    with transaction.atomic():
        oversight.hold_still()
        row = oversight.person(who, APPROVE, number, version=version)
        oversight.check_other(who, row, "change their own account")
        oversight.check_within(who, APPROVE, row)
        oversight.facility_in_reach(who, APPROVE, code)
        wanted = {
            "full_name": names.full_name(full_name),
            "email": names.email(email, taken_by=row.pk),
            "phone": names.phone(phone),
            "facility": places.choose(code) if code else None,
            "referring_names": names.referring(referring_names),
            "ends_on": ends_on,
            "never_idle": never_idle,
        }
        changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
        if changed.keys() & {"email", "referring_names", "ends_on", "never_idle"}:
            oversight.check_covers(who, row)
        if "ends_on" in changed:
            _check_end(row, ends_on)
        if changed:
            states.change(row, **changed)
            states.tell(row, "U", who.actor, who.address, changed=sorted(changed))
    return of(who, number)


def choose(who: Who, *, language: str | None = None, theme: str | None = None) -> None:
    """What people choose for themselves: the language of the console, and how it looks. Raises Refused."""
    if language is not None and language not in LANGUAGES:
        raise Refused("There is no such language", field="language")
    if theme is not None and theme not in THEMES:
        raise Refused("There is no such look", field="theme")
    chosen = {name: value for name, value in (("language", language), ("theme", theme)) if value is not None}
    if chosen:
        Person.objects.filter(pk=who.person or 0).update(**chosen)


def signed_in_at(who: Who, number: int) -> list[Session]:
    """Where somebody is signed in: oneself, or somebody whom who asks looks after."""
    _looked_after(who, number)
    return sessions.listed(number)


def sign_out(who: Who, number: int, session: int | None = None, *, but: str = "") -> int:
    """Ends one session of a person, or all (``but`` the one with this key); returns how many. Raises NotThere."""
    with transaction.atomic():
        row = _looked_after(who, number)
        if session is None:
            count = sessions.end_all(number, but=but)
        elif sessions.end(number, session):
            count = 1
        else:
            raise NotThere("That session has ended already")
        if count:
            states.tell(row, "U", who.actor, who.address, signed_out=count)
    return count


def _looked_after(who: Who, number: int) -> Person:
    if who.person == number and who.kind == "person":
        return Person.objects.get(pk=number)
    return oversight.person(who, APPROVE, number)


def _check_end(row: Person, ends_on: date | None) -> None:
    if ends_on is not None:
        names.last_day(ends_on)
        oversight.check_not_last(row)
    elif row.grants.filter(ended_at=None, role__needs_end=True).exists():
        raise Refused(f"{row.username} needs a last day for this role", field="ends_on")


def _profile(row: Person) -> Profile:
    given = row.grants.select_related("role", "facility", "department").order_by("pk")
    all_given = [grants.of(grant) for grant in given]
    past = [one for one in all_given if one.ended_at is not None]
    return Profile(
        id=row.pk,
        username=row.username,
        full_name=row.full_name,
        email=row.email,
        phone=row.phone,
        state=row.state,
        state_reason=row.state_reason,
        state_at=row.state_at,
        is_program=row.is_program,
        facility=row.facility.code if row.facility else "",
        wanted_role=row.wanted_role.key if row.wanted_role else "",
        wanted_role_name=row.wanted_role.name if row.wanted_role else "",
        referring_names=tuple(row.referring_names),
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        request_note=row.request_note,
        approved_at=row.approved_at,
        approved_by=row.approved_by,
        activated_at=row.activated_at,
        ends_on=row.ends_on,
        last_seen_at=row.last_seen_at or row.last_login,
        never_idle=row.never_idle,
        language=row.language,
        theme=row.theme,
        version=row.version,
        clock=clock.of(row),
        held=tuple(one for one in all_given if one.ended_at is None),
        ended=tuple(sorted(past, key=lambda one: one.ended_at or one.granted_at, reverse=True)),
    )
