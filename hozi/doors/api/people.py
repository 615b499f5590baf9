"""People: their accounts, what they hold, and their tokens."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from ninja import Query, Schema, Status
from pydantic import Field

from hozi.accounts import grants, lifecycle, listed, profile, tokens
from hozi.accounts.invitations import path as way_in
from hozi.doors.api.gate import ANYBODY, Area, Request
from hozi.doors.api.schemas import Chars, Day, In, Number, Page, Paging, number_after, page

area = Area("people")


State = Literal["requested", "approved", "invited", "active", "suspended", "disabled"]


class Clock(Schema):
    """The 24 hours of a request; ``runs``: the account cannot be used yet."""

    due_at: datetime
    runs: bool
    breached: bool


class Line(Schema):
    """One person of a list; ``roles``: those in force, in words."""

    id: int
    username: str
    full_name: str
    email: str
    state: State
    is_program: bool
    facility: str
    roles: list[str]
    last_seen_at: datetime | None
    ends_on: date | None
    never_idle: bool
    version: int
    clock: Clock | None


class Asked(Paging):
    """Which people; what is empty does not matter. ``text``: part of a name or an e-mail address."""

    state: Literal["", "requested", "approved", "invited", "active", "suspended", "disabled"] = ""
    role: Annotated[str, Chars(32)] = ""
    facility: Annotated[str, Chars(16)] = ""
    text: Annotated[str, Chars(128)] = ""
    sort: Literal["name", "seen", "idle", "end", "new"] = "name"


class Account(Schema):
    """An account after something was done to it.

    ``link``: the one-time link with which the person sets a password; it is shown this once.
    """

    id: int
    username: str
    full_name: str
    state: State
    version: int
    link: str = ""


class NewAccount(In):
    """Somebody who needs an account; the 24-hour clock begins."""

    full_name: Annotated[str, Chars(128, 1)]
    username: Annotated[str, Chars(64)] = ""
    email: Annotated[str, Chars(254)] = ""
    phone: Annotated[str, Chars(32)] = ""
    role: Annotated[str, Chars(32)] = ""
    facility: Annotated[str, Chars(16)] = ""
    note: Annotated[str, Chars(500)] = ""
    ends_on: Day | None = None
    referring_names: list[Annotated[str, Chars(64)]] = Field([], max_length=20)
    is_program: bool = False


class Version(In):
    """The version of the account that the caller has looked at."""

    version: Number


class Why(Version):
    """... and why."""

    reason: Annotated[str, Chars(200, 1)]


class Grant(Schema):
    """A role that somebody holds or held, and how far it reaches: empty is no limit."""

    id: int
    role: str
    role_name: str
    facility: str
    department: str
    modality: str
    own_referrals: bool
    deidentified: bool
    granted_at: datetime
    granted_by: str
    ended_at: datetime | None
    ended_by: str


class NewGrant(In):
    """A role to be given; everywhere, when no facility is named. ``ends_on``: the person's last day from now on."""

    role: Annotated[str, Chars(32, 1)]
    facility: Annotated[str, Chars(16)] = ""
    department: Annotated[str, Chars(16)] = ""
    modality: Annotated[str, Chars(16)] = ""
    own_referrals: bool = False
    deidentified: bool = False
    ends_on: Day | None = None


class Person(Schema):
    """Everything that is known of a person. ``held``: roles in force; ``ended``: those of the past."""

    id: int
    username: str
    full_name: str
    email: str
    phone: str
    state: State
    state_reason: str
    state_at: datetime | None
    is_program: bool
    facility: str
    wanted_role: str
    referring_names: list[str]
    requested_at: datetime
    requested_by: str
    request_note: str
    approved_at: datetime | None
    approved_by: str
    activated_at: datetime | None
    ends_on: date | None
    last_seen_at: datetime | None
    never_idle: bool
    version: int
    clock: Clock | None
    held: list[Grant]
    ended: list[Grant]


class PersonShape(In):
    """A person as they are to be known: all of it."""

    version: Number
    full_name: Annotated[str, Chars(128, 1)]
    email: Annotated[str, Chars(254)] = ""
    phone: Annotated[str, Chars(32)] = ""
    facility: Annotated[str, Chars(16)] = ""
    referring_names: list[Annotated[str, Chars(64)]] = Field([], max_length=20)
    ends_on: Day | None = None
    never_idle: bool = False


class Token(Schema):
    """A bearer token; ``secret`` is there once: when it was made."""

    id: int
    name: str
    begins: str
    scopes: list[str]
    networks: list[str]
    made_at: datetime
    made_by: str
    expires_at: datetime
    last_used_at: datetime | None
    last_address: str
    ended_at: datetime | None
    secret: str = ""


class NewToken(In):
    """A token to be made; ``networks``: addresses and networks from which it works, none: from anywhere."""

    name: Annotated[str, Chars(64, 1)]
    scopes: list[Literal["read", "write", "admin"]] = Field(min_length=1, max_length=3)
    days: int = Field(90, ge=1, le=tokens.LONGEST_DAYS)
    networks: list[Annotated[str, Chars(64)]] = Field([], max_length=20)


def _shown(account: lifecycle.Account) -> Account:
    link = way_in(account.secret) if account.secret else ""
    return Account(
        id=account.id,
        username=account.username,
        full_name=account.full_name,
        state=account.state,  # type: ignore[arg-type]
        version=account.version,
        link=link,
    )


@area.get("/people", Page[Line], listed.SEE)
def list_people(request: Request, asked: Query[Asked]) -> object:
    """The people whom you may see."""
    filters = asked.model_dump(exclude={"after"})
    found = listed.people(request.auth, after=number_after(asked.after) or None, **filters)
    return {"items": found.lines, "next": str(found.next) if found.next else None}


@area.get("/people/{number}", Person, listed.SEE)
def get_person(request: Request, number: Number) -> object:
    """One person."""
    return profile.of(request.auth, number)


@area.post("/people/{number}", Person, profile.APPROVE)
def change_person(request: Request, number: Number, data: PersonShape) -> object:
    """Changes what is known of somebody else: all of it, as it is to be."""
    return profile.change(request.auth, number, **data.model_dump())


@area.post("/people", Account, "people.request", status=201)
def request_account(request: Request, data: NewAccount) -> object:
    """Asks for an account."""
    return Status(201, _shown(lifecycle.request(request.auth, **data.model_dump())))


@area.post("/people/{number}/approve", Account, "people.approve")
def approve_account(request: Request, number: Number, data: Version) -> object:
    """Approves a request."""
    return _shown(lifecycle.approve(request.auth, number, version=data.version))


@area.post("/people/{number}/decline", Account, "people.approve")
def decline_account(request: Request, number: Number, data: Why) -> object:
    """Turns a request down."""
    return _shown(lifecycle.decline(request.auth, number, data.reason, version=data.version))


@area.post("/people/{number}/invite", Account, "people.approve")
def invite_account(request: Request, number: Number, data: Version) -> object:
    """Makes the one-time link of an approved person; a program becomes active."""
    return _shown(lifecycle.invite(request.auth, number, version=data.version))


@area.post("/people/{number}/suspend", Account, "people.approve")
def suspend_account(request: Request, number: Number, data: Why) -> object:
    """Takes the use of an account away for a time."""
    return _shown(lifecycle.suspend(request.auth, number, data.reason, version=data.version))


@area.post("/people/{number}/disable", Account, "people.approve")
def disable_account(request: Request, number: Number, data: Why) -> object:
    """Ends an account, with its tokens."""
    return _shown(lifecycle.disable(request.auth, number, data.reason, version=data.version))


@area.post("/people/{number}/reactivate", Account, "people.approve")
def reactivate_account(request: Request, number: Number, data: Version) -> object:
    """Gives a suspended or disabled account back."""
    return _shown(lifecycle.reactivate(request.auth, number, version=data.version))


@area.post("/people/{number}/grants", Grant, "people.grant", status=201)
def add_grant(request: Request, number: Number, data: NewGrant) -> object:
    """Gives a person a role."""
    fields = data.model_dump(exclude={"role"})
    return Status(201, grants.grant(request.auth, number, data.role, **fields))


@area.post("/grants/{number}/end", Grant, "people.grant")
def end_grant(request: Request, number: Number) -> object:
    """Takes a role away."""
    return grants.end(request.auth, number)


@area.get("/people/{number}/tokens", Page[Token], ANYBODY)
def list_tokens(request: Request, number: Number, paging: Query[Paging]) -> object:
    """The tokens of a person: your own, or of somebody whom you may see."""
    return page(tokens.listed(request.auth, number), paging, lambda made: str(made.id))


@area.post("/people/{number}/tokens", Token, ANYBODY, status=201)
def add_token(request: Request, number: Number, data: NewToken) -> object:
    """Makes a token: your own from the console's session, or of somebody whom you look after."""
    made = tokens.make(request.auth, number, data.name, **data.model_dump(exclude={"name"}))
    return Status(201, made)


@area.post("/tokens/{number}/end", Schema, ANYBODY)
def end_token(request: Request, number: Number) -> object:
    """Ends a token, at once and for good."""
    tokens.end(request.auth, number)
    return {}
