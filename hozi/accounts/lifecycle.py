"""The life of an account: requested, approved, invited, active; suspended and disabled; and back.

Each act asks the permission of who acts and how far it reaches, looks whether somebody else was quicker (``version``),
and stands in the audit. Nobody acts on their own account, nobody approves what they asked for (unless nobody else can),
and the last one who can give roles stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from django.db import transaction
from django.utils import timezone

from hozi.accounts import grants, invitations, names, oversight, states
from hozi.accounts.authorise import Who, has_ended, may
from hozi.accounts.models import Invitation, Person, Role
from hozi.core.errors import Refused
from hozi.facilities import places

State = Person.State
APPROVE = "people.approve"


@dataclass(frozen=True, slots=True)
class Account:
    """An account after something was done to it. ``secret``: of a one-time link that was made; shown this once."""

    id: int
    username: str
    full_name: str
    state: str
    version: int
    secret: str = ""


def request(
    who: Who,
    *,
    full_name: str,
    username: str = "",
    email: str = "",
    phone: str = "",
    role: str = "",
    facility: str = "",
    note: str = "",
    ends_on: date | None = None,
    referring_names: Iterable[str] = (),
    is_program: bool = False,
) -> Account:
    """Asks for an account; the 24-hour clock begins. ``role`` and ``facility`` (their keys) are what it is wanted for.

    Raises Denied without ``people.request``, Refused when something will not do.
    """
    code = facility.strip().upper()
    oversight.facility_in_reach(who, "people.request", code)
    now = timezone.now()
    with transaction.atomic():
        wanted = grants.role_of(role) if role else None
        if wanted is not None and wanted.needs_end and ends_on is None:
            raise Refused(f"Whoever becomes {wanted.name} needs a last day", field="ends_on")
        name = names.full_name(full_name)
        person = Person(
            username=names.username(username or names.username_for(name)),
            full_name=name,
            email=names.email(email),
            phone=names.phone(phone),
            facility=places.choose(code) if code else None,
            wanted_role=wanted,
            request_note=names.note(note, longest=500, field="note"),
            ends_on=names.last_day(ends_on),
            referring_names=names.referring(referring_names),
            is_program=is_program,
            requested_at=now,
            requested_by=who.actor[:128],
            state_at=now,
        )
        person.set_unusable_password()
        person.save()
        states.tell(person, "C", who.actor, who.address, to=person.state, role=role)
    return _account(person)


def approve(who: Who, number: int, *, version: int | None = None) -> Account:
    """Approves a request. Raises Refused when who acts asked for it themselves, unless nobody else could approve."""
    with transaction.atomic():
        person = _approved(who, number, version)
    return _account(person)


def decline(who: Who, number: int, reason: str, *, version: int | None = None) -> Account:
    """Turns a request down; its name stays taken, and it can be asked for again (`reactivate`)."""
    return _end(who, number, State.DISABLED, reason, version, only=(State.REQUESTED, State.APPROVED))


def invite(who: Who, number: int, *, version: int | None = None) -> Account:
    """Makes the one-time link of an approved person, or a new one of an invited; the clock of the request stops.

    A program, which never signs in, becomes active instead. Raises Refused without any role, or without an end date
    that one of the roles asks for.
    """
    with transaction.atomic():
        person = oversight.person(who, APPROVE, number, version=version)
        secret = _invited(who, person)
    return _account(person, secret)


def admit(
    who: Who,
    number: int,
    *,
    version: int | None = None,
    role: str = "",
    facility: str | None = None,
    department: str = "",
) -> Account:
    """Approves, gives the role that was asked for (or this one, there), and invites: all of it, or nothing."""
    with transaction.atomic():
        oversight.hold_still()
        person = oversight.person(who, APPROVE, number, version=version)
        if person.state == State.REQUESTED:
            person = _approved(who, number, None)
        key = role or (person.wanted_role.key if person.wanted_role else "")
        if key:
            own = person.facility.code if person.facility else ""
            grants.grant(who, number, key, facility=own if facility is None else facility, department=department)
        elif not person.grants.filter(ended_at=None).exists():
            raise Refused(f"Say which role {person.username} gets", field="role")
        person.refresh_from_db()
        secret = _invited(who, person)
    return _account(person, secret)


def link(who: Who, number: int) -> Account:
    """A new one-time link: for whoever was invited and has lost it, or whoever has forgotten the password."""
    with transaction.atomic():
        person = oversight.person(who, APPROVE, number)
        if person.state != State.ACTIVE:
            secret = _invited(who, person)
        else:
            _check_hands(who, person)
            if person.is_program:
                raise Refused(f"{person.username} is a program: it has tokens, and no password", field="name")
            secret = invitations.mint(person, Invitation.Purpose.RESET, who.actor)
            states.tell(person, "U", who.actor, who.address, made="link for a new password")
    return _account(person, secret)


def suspend(who: Who, number: int, reason: str, *, version: int | None = None) -> Account:
    """Takes the use of an account away for a time: no sign-in, no session, no token works."""
    return _end(who, number, State.SUSPENDED, reason, version, only=(State.ACTIVE, State.INVITED))


def disable(who: Who, number: int, reason: str, *, version: int | None = None) -> Account:
    """Ends an account: like `suspend`, and its tokens and links are ended for good. It is never deleted."""
    return _end(who, number, State.DISABLED, reason, version)


def reactivate(who: Who, number: int, *, version: int | None = None) -> Account:
    """Gives a suspended or disabled account back: active if it ever was, else approved; or waiting again."""
    with transaction.atomic():
        person = oversight.person(who, APPROVE, number, version=version)
        oversight.check_other(who, person, "give themselves an account back")
        oversight.check_within(who, APPROVE, person)
        if person.state not in (State.SUSPENDED, State.DISABLED):
            raise Refused(f"{person.username} {states.WORDS[person.state]} already")
        if has_ended(person):
            raise Refused(f"The last day of {person.username} is past: change it first", field="ends_on")
        if person.activated_at is not None:
            _move(who, person, State.ACTIVE)
        elif person.approved_at is not None:
            _move(who, person, State.APPROVED)
        else:
            now = timezone.now()
            _move(who, person, State.REQUESTED, requested_at=now, requested_by=who.actor[:128])
    return _account(person)


def _approved(who: Who, number: int, version: int | None) -> Person:
    person = oversight.person(who, APPROVE, number, version=version)
    oversight.check_other(who, person, "approve their own account")
    oversight.check_within(who, APPROVE, person)
    alone = False
    if who.kind != "system" and person.requested_by == who.actor:
        others = oversight.holders(APPROVE, facility=person.facility_id).exclude(pk=who.person or 0)
        if others.exists():
            raise Refused("You asked for this account: somebody else who may approve accounts must do it")
        alone = True
    told = {"reason": "nobody else could approve it"} if alone else {}
    _move(who, person, State.APPROVED, approved_at=timezone.now(), approved_by=who.actor[:128], **told)
    return person


def _invited(who: Who, person: Person) -> str:
    if person.state not in (State.APPROVED, State.INVITED):
        raise Refused(f"{person.username} {states.WORDS[person.state]}: only who is approved can be invited")
    _check_hands(who, person)
    roles = Role.objects.filter(grants__person=person, grants__ended_at=None)
    if not roles.exists():
        raise Refused(f"{person.username} has no role yet: give one first")
    if person.ends_on is None and roles.filter(needs_end=True).exists():
        raise Refused(f"{person.username} needs a last day for this role", field="ends_on")
    if has_ended(person):
        raise Refused(f"The last day of {person.username} is past: change it first", field="ends_on")
    now = timezone.now()
    usable = {"usable_at": person.usable_at or now}
    if person.is_program:
        _move(who, person, State.ACTIVE, activated_at=now, **usable)
        return ""
    secret = invitations.mint(person, Invitation.Purpose.FIRST, who.actor)
    _move(who, person, State.INVITED, **usable)
    return secret


def _check_hands(who: Who, person: Person) -> None:
    """A link gives the use of the account to whoever holds it."""
    oversight.check_other(who, person, "make a link for themselves")
    oversight.check_within(who, APPROVE, person)
    oversight.check_covers(who, person)


def _end(who: Who, number: int, state: str, reason: str, version: int | None, *, only: tuple[str, ...] = ()) -> Account:
    words = names.note(reason, longest=200, field="reason")
    if not words:
        raise Refused("Say why: it stands in the audit, and others will ask", field="reason")
    with transaction.atomic():
        oversight.hold_still()
        person = oversight.person(who, APPROVE, number, version=version)
        oversight.check_other(who, person, "suspend or disable themselves")
        oversight.check_within(who, APPROVE, person)
        if only and person.state not in only:
            raise Refused(f"{person.username} {states.WORDS[person.state]}; that cannot follow now")
        if person.is_active:
            oversight.check_not_last(person)
        states.move(person, state, actor=who.actor, address=who.address, reason=words)
    return _account(person)


def _move(who: Who, person: Person, state: str, **changes: object) -> None:
    states.move(person, state, actor=who.actor, address=who.address, **changes)  # type: ignore[arg-type]


def _account(person: Person, secret: str = "") -> Account:
    return Account(person.pk, person.username, person.full_name, person.state, person.version, secret)


def may_decide_alone(who: Who) -> bool:
    """Whether who asks can take somebody in from request to link: approve and give roles."""
    return may(who, APPROVE) and may(who, oversight.GRANT)
