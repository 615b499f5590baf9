"""Many people at once, from a table: first everything that is wrong with it in words, then all of them, or none.

A cohort of students is one table. The heading names the columns; only ``full_name`` must be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone

from hozi.accounts import authorise, grants, invitations, lifecycle, names, oversight
from hozi.accounts.authorise import Who
from hozi.accounts.lifecycle import Account
from hozi.accounts.models import Grant, Invitation, Person, Role
from hozi.audit.record import Code, Entry, Type, record_many
from hozi.core import sheets
from hozi.core.errors import Refused
from hozi.facilities.models import Facility

COLUMNS: Final = ("full_name", "username", "email", "phone", "role", "facility", "ends_on", "referring_name", "note")
MOST_LINES: Final = 5000

_ALSO: Final = {
    "name": "full_name",
    "e-mail": "email",
    "last_day": "ends_on",
    "end_date": "ends_on",
    "user": "username",
}
_DAYS: Final = ("%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y", "%d %b %Y", "%d %B %Y")


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong in one line of the file, beside which column (empty: with the line)."""

    line: int
    column: str
    text: str


@dataclass(slots=True)
class Newcomer:
    """One person of the file, as they would come in."""

    line: int
    full_name: str = ""
    username: str = ""
    email: str = ""
    phone: str = ""
    role: str = ""
    facility: str = ""
    ends_on: date | None = None
    referring_name: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would come in, and what is wrong; nothing comes in while anything is.

    ``invites``: who asks can take them in at once; else requests are made, which somebody else approves.
    """

    people: tuple[Newcomer, ...]
    wrong: tuple[Wrong, ...]
    ignored: tuple[str, ...]
    invites: bool


@dataclass
class _Known:
    """What the lines are checked against: read once, not for each line."""

    roles: dict[str, Role]
    facilities: dict[str, Facility]
    usernames: set[str]
    emails: set[str]
    grantable: dict[tuple[str, str, str], str] = field(default_factory=dict)


def preview(who: Who, data: bytes) -> Preview:
    """Reads the file and says everything that is wrong with it; changes nothing.

    Raises Denied without ``people.request``, Refused when it is no table with the columns that are needed.
    """
    authorise.check(who, "people.request")
    heading, lines = sheets.read(data, most_lines=MOST_LINES)
    columns = [_ALSO.get(name, name) for name in heading]
    if "full_name" not in columns:
        raise Refused(f"The first line must name the columns: {', '.join(COLUMNS)}", field="file")
    if repeated := sorted({name for name in columns if name in COLUMNS and columns.count(name) > 1}):
        raise Refused(f"There are two columns {repeated[0]}", field="file")
    if not lines:
        raise Refused("There is nobody in the file below its first line", field="file")
    known, invites = _known(), _may_invite(who)
    people: list[Newcomer] = []
    wrong: list[Wrong] = []
    for number, values in lines:
        if len(values) > len(columns):
            wrong.append(Wrong(number, "", f"There are {len(values)} values for {len(columns)} columns"))
            continue
        person, mistakes = _read(number, dict(zip(columns, values, strict=False)), who, known, invites)
        people.append(person)
        wrong += mistakes
    ignored = tuple(name for name in columns if name not in COLUMNS and name)
    return Preview(tuple(people), tuple(wrong), ignored, invites)


def take(who: Who, data: bytes) -> list[Account]:
    """Takes everybody in whom `preview` shows: all, or nobody (Refused) when anything is wrong.

    Whoever may approve and give roles, and need not wait for a second pair of eyes, invites at once: each account has
    the ``secret`` of its one-time link then. Else each is a request.
    """
    with transaction.atomic():
        oversight.hold_still()
        seen = preview(who, data)
        if seen.wrong:
            first = seen.wrong[0]
            raise Refused(
                f"Nobody was taken in: {len(seen.wrong)} mistakes, the first in line {first.line}: {first.text}",
                field="file",
            )
        return _made(who, seen)


def template() -> str:
    """A table with the columns and one example, to begin with."""
    example = ("Tendai Moyo", "", "", "", "student", "", "31/12/2027", "", "Radiography, year 2")
    return sheets.written([COLUMNS, example])


def links(accounts: Iterable[Account], prefix: str) -> str:
    """The one-time links as a table, to hand out; ``prefix`` is the address of the console."""
    rows = [(one.full_name, one.username, prefix + invitations.path(one.secret)) for one in accounts if one.secret]
    return sheets.written([("full_name", "username", "link"), *rows])


def _may_invite(who: Who) -> bool:
    if who.kind == "system":
        return True
    if not lifecycle.may_decide_alone(who):
        return False
    return not oversight.holders(lifecycle.APPROVE).exclude(pk=who.person or 0).exists()


def _known() -> _Known:
    return _Known(
        roles={role.key: role for role in Role.objects.all()},
        facilities={facility.code: facility for facility in Facility.objects.all()},
        usernames={name.lower() for name in Person.objects.values_list("username", flat=True)},
        emails={email.lower() for email in Person.objects.exclude(email="").values_list("email", flat=True)},
    )


def _read(number: int, values: dict[str, str], who: Who, known: _Known, invites: bool) -> tuple[Newcomer, list[Wrong]]:
    person, wrong = Newcomer(number), list[Wrong]()

    def take(column: str, check: Callable[[str], Any]) -> None:
        try:
            setattr(person, column, check(values.get(column, "")))
        except Refused as refused:
            wrong.append(Wrong(number, column, str(refused)))

    take("full_name", names.full_name)
    take("username", lambda text: _username(text, person.full_name, known.usernames))
    take("email", lambda text: _email(text, known.emails))
    take("phone", names.phone)
    take("role", lambda text: _role(text, known))
    take("facility", lambda text: _facility(text, who, known))
    take("ends_on", lambda text: names.last_day(_day(text)))
    take("referring_name", lambda text: (names.referring([text]) or [""])[0])
    take("note", lambda text: names.note(text, longest=500, field="note"))
    if not wrong:
        wrong += _of_role(number, person, who, known, invites)
    return person, wrong


def _username(text: str, full_name: str, taken: set[str]) -> str:
    name = names.shaped_username(text) if text else names.username_for(full_name, taken)
    if name in taken:
        raise Refused(f"Somebody signs in as {name} already, here or further up in the file", field="username")
    taken.add(name)
    return name


def _email(text: str, taken: set[str]) -> str:
    address = names.shaped_email(text)
    if address.lower() in taken:
        raise Refused("Somebody has that e-mail address already, here or further up in the file", field="email")
    if address:
        taken.add(address.lower())
    return address


def _role(text: str, known: _Known) -> str:
    key = text.strip().lower().replace(" ", "_")
    if key and key not in known.roles:
        by_name = {role.name.lower(): role.key for role in known.roles.values()}
        key = by_name.get(text.strip().lower(), "")
        if not key:
            raise Refused(f"There is no role {text[:32]!r} (there are: {', '.join(sorted(known.roles))})", field="role")
    return key


def _facility(text: str, who: Who, known: _Known) -> str:
    code = text.strip().upper()
    if code and code not in known.facilities:
        raise Refused(f"There is no facility {code[:16]!r}", field="facility")
    oversight.facility_in_reach(who, "people.request", code)
    return code


def _day(text: str) -> date | None:
    if not text:
        return None
    for form in _DAYS:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    raise Refused(f"{text[:32]!r} is no date: write it as 31/12/2027", field="ends_on")


def _of_role(number: int, person: Newcomer, who: Who, known: _Known, invites: bool) -> list[Wrong]:
    if not person.role:
        return [Wrong(number, "role", "Say which role they get")] if invites else []
    role = known.roles[person.role]
    if role.needs_end and person.ends_on is None:
        return [Wrong(number, "ends_on", f"Whoever becomes {role.name} needs a last day")]
    if not invites:
        return []
    where = (person.role, person.facility, person.referring_name)
    if where not in known.grantable:
        place, referring = known.facilities.get(person.facility), names.referring([person.referring_name])
        known.grantable[where] = grants.why_not(who, role, place, referring)
    why = known.grantable[where]
    return [Wrong(number, "role", why)] if why else []


def _made(who: Who, seen: Preview) -> list[Account]:
    """Everybody of a preview without mistakes, in few statements: the archive must not wait for a cohort."""
    now, by = timezone.now(), who.actor[:128]
    roles = {role.key: role for role in Role.objects.all()}
    facilities = {facility.code: facility for facility in Facility.objects.all()}
    state = Person.State.INVITED if seen.invites else Person.State.REQUESTED
    decided: dict[str, Any] = {"approved_at": now, "approved_by": by, "usable_at": now} if seen.invites else {}
    rows = [
        Person(
            username=one.username,
            full_name=one.full_name,
            email=one.email,
            phone=one.phone,
            password=make_password(None),
            state=state,
            state_at=now,
            facility=facilities.get(one.facility),
            wanted_role=roles.get(one.role),
            ends_on=one.ends_on,
            referring_names=[one.referring_name] if one.referring_name else [],
            request_note=one.note,
            requested_at=now,
            requested_by=by,
            **decided,
        )
        for one in seen.people
    ]
    Person.objects.bulk_create(rows, batch_size=200)
    secrets = [""] * len(rows)
    if seen.invites:
        given = [
            Grant(person=row, role=row.wanted_role, facility=row.facility, granted_at=now, granted_by=by)
            for row in rows
        ]
        Grant.objects.bulk_create(given, batch_size=200)
        made = [invitations.made(row, Invitation.Purpose.FIRST, by, now) for row in rows]
        Invitation.objects.bulk_create([invitation for invitation, _ in made], batch_size=200)
        secrets = [secret for _, secret in made]
    record_many(_told(who, rows, seen.invites))
    return [
        Account(row.pk, row.username, row.full_name, row.state, row.version, secret)
        for row, secret in zip(rows, secrets, strict=True)
    ]


def _told(who: Who, rows: list[Person], invited: bool) -> Iterable[Entry]:
    """What `lifecycle` would have told, step by step: whoever reads the audit need not know how somebody came in."""
    for row in rows:
        place = row.facility.code if row.facility else ""
        steps: list[tuple[str, dict[str, Any]]] = [
            ("C", {"to": "requested", "role": row.wanted_role.key if row.wanted_role else ""})
        ]
        if invited and row.wanted_role is not None:
            steps += [
                ("U", {"from": "requested", "to": "approved"}),
                ("U", {"granted": {"role": row.wanted_role.key, **({"facility": place} if place else {})}}),
                ("U", {"from": "approved", "to": "invited"}),
            ]
        for action, detail in steps:
            told = {"type": Type.USER_ATTRIBUTES_CHANGED, "person": row.username, "from_file": True, **detail}
            yield Entry(Code.SECURITY_ALERT, action, who.actor, address=who.address, facility=place, detail=told)
