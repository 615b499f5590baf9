"""Does what people may do agree with what was decided (R296, R070)? Compares, reports, and mends nothing.

Everything that is decided through Hozi stands in the audit, in the same transaction. So what a role may do, who holds
it, which state an account is in and which tokens work can be told from the audit alone; where the tables say something
else, somebody has changed them from outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import structlog
from django.utils import timezone

from hozi.accounts import grants
from hozi.accounts.defaults import DEFAULT_ROLES
from hozi.accounts.models import Grant, Person, Role, Token
from hozi.audit import told
from hozi.audit.record import Code, Entry, Outcome, Type, record

log = structlog.get_logger(__name__)

_CHECK: Final = "access"
_MOST_TOLD: Final = 50
_LIMITS: Final = ("own_referrals", "deidentified", "needs_end")
_SLACK: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was decided. ``text`` is for people."""

    kind: Literal["grant", "role", "account", "token"]
    text: str


@dataclass(frozen=True, slots=True)
class Checked:
    """How the last check ended: when, how many findings, and the first of them in words."""

    at: datetime
    count: int
    texts: tuple[str, ...]


def run(now: datetime | None = None) -> list[Finding]:
    """Compares, and writes into the audit and the log what was found, or that nothing was."""
    found = findings(now)
    texts = [finding.text[:300] for finding in found[:_MOST_TOLD]]
    detail = {"type": Type.SECURITY_CONFIGURATION, "check": _CHECK, "count": len(found), "found": texts}
    outcome = Outcome.SERIOUS_FAILURE if found else Outcome.SUCCESS
    record(Entry(Code.SECURITY_ALERT, "E", "hozi", outcome, detail=detail))
    if found:
        log.error("what people may do was changed outside of Hozi", findings=len(found), first=texts[0])
    return found


def last() -> Checked | None:
    """How the last check ended; None when there was none yet."""
    event = told.last_check(_CHECK)
    if event is None:
        return None
    return Checked(event.at, int(event.detail.get("count", 0)), tuple(event.detail.get("found", ())))


def findings(now: datetime | None = None) -> list[Finding]:
    """Everything in which the tables and the audit disagree; none is what it should be. Changes nothing."""
    decided = _decided()
    return [
        *_roles(decided),
        *_grants(decided),
        *_accounts(decided),
        *_tokens(decided, now or timezone.now()),
    ]


# What was decided, from the audit ------------------------------------------------------------------

_Given = frozenset[tuple[str, str]]


@dataclass
class _Shape:
    """What a role may do, and its limits."""

    permissions: set[str]
    limits: dict[str, bool]


@dataclass
class _Made:
    """A token as it was made."""

    person: str
    scopes: list[str]
    networks: list[str]
    until: datetime


@dataclass
class _Decided:
    """By role, person (name to sign in with) and token (its beginning): what the audit says that they are."""

    roles: dict[str, _Shape] = field(default_factory=dict)
    held: dict[str, Counter[_Given]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, _Made] = field(default_factory=dict)


def _decided() -> _Decided:
    # Roles as delivered are where it begins; a migration that changes one must tell the audit, too.
    decided = _Decided(
        roles={
            role.key: _Shape(set(role.permissions), {limit: getattr(role, limit) for limit in _LIMITS})
            for role in DEFAULT_ROLES
        }
    )
    for act in told.acts(Type.USER_ATTRIBUTES_CHANGED, Type.SECURITY_ROLES_CHANGED):
        if "person" in act.detail:
            _of_person(decided, act)
        elif "role" in act.detail:
            _of_role(decided, act)
    return decided


def _of_role(decided: _Decided, act: told.Told) -> None:
    key, detail = act.detail["role"], act.detail
    if act.action == "D":
        decided.roles.pop(key, None)
        return
    shape = decided.roles.setdefault(key, _Shape(set(), {}))
    if act.action == "C":
        shape.permissions = set(detail.get("permissions", ()))
    shape.permissions |= set(detail.get("added", ()))
    shape.permissions -= set(detail.get("removed", ()))
    shape.limits |= {limit: bool(detail[limit]) for limit in _LIMITS if limit in detail}


def _of_person(decided: _Decided, act: told.Told) -> None:
    name, detail = act.detail["person"], act.detail
    held = decided.held.setdefault(name, Counter())
    if given := detail.get("granted"):
        held[frozenset(given.items())] += 1
    ended, made = detail.get("ended"), detail.get("made")
    if isinstance(ended, dict) and "role" in ended:
        held[frozenset(ended.items())] -= 1
    if isinstance(ended, dict) and "token" in ended:
        decided.tokens.pop(ended["token"], None)
    if isinstance(made, dict) and "token" in made:
        until = act.at + timedelta(days=made.get("days", 0))
        decided.tokens[made["token"]] = _Made(name, made.get("scopes", []), made.get("networks", []), until)
    if "to" in detail:
        decided.states[name] = detail["to"]
        if detail["to"] == Person.State.DISABLED:
            decided.tokens = {key: token for key, token in decided.tokens.items() if token.person != name}


# What is, beside it --------------------------------------------------------------------------------


def _roles(decided: _Decided) -> Iterable[Finding]:
    rows = {row.key: row for row in Role.objects.order_by("key")}
    for key in sorted(set(decided.roles) - set(rows)):
        yield Finding("role", f"The role {key} is gone, and the audit does not say who removed it")
    for key, row in rows.items():
        shape = decided.roles.get(key)
        if shape is None:
            yield Finding("role", f"The role {key} is there, and the audit does not say who made it")
            continue
        for permission in sorted(set(row.permissions) - shape.permissions):
            yield Finding("role", f"The role {key} may {permission}, and the audit does not say who decided that")
        for permission in sorted(shape.permissions - set(row.permissions)):
            yield Finding("role", f"The role {key} has lost {permission}, and the audit does not say who took it")
        for limit in _LIMITS:
            if bool(getattr(row, limit)) != shape.limits.get(limit, False):
                yield Finding("role", f"The limit {limit} of the role {key} was changed outside of Hozi")


def _grants(decided: _Decided) -> Iterable[Finding]:
    held: dict[str, Counter[_Given]] = {}
    rows = Grant.objects.filter(ended_at=None).select_related("person", "role", "facility", "department")
    for row in rows.order_by("pk").iterator(1000):
        held.setdefault(row.person.username, Counter())[frozenset(grants.told(row).items())] += 1
    for name in sorted(set(held) | set(decided.held)):
        is_held, was_given = held.get(name, Counter()), decided.held.get(name, Counter())
        for given in sorted(set(is_held) | set(was_given), key=sorted):
            if is_held[given] > was_given[given]:
                text = f"{name} holds {_in_words(given)}, and the audit does not say who gave it"
                yield Finding("grant", text)
            elif is_held[given] < was_given[given]:
                text = f"{name} has lost {_in_words(given)}, and the audit does not say who took it"
                yield Finding("grant", text)


def _accounts(decided: _Decided) -> Iterable[Finding]:
    names = set()
    for row in Person.objects.order_by("username").only("username", "state", "is_active").iterator(1000):
        names.add(row.username)
        state = decided.states.get(row.username)
        if state is None:
            yield Finding("account", f"The account {row.username} is there, and the audit does not say who made it")
        elif state != row.state:
            text = f"The account {row.username} is {row.state}; by the audit it is {state}"
            yield Finding("account", text)
        if row.is_active != (row.state == Person.State.ACTIVE):
            text = f"The account {row.username} is {row.state}, and yet works: is_active was changed outside of Hozi"
            yield Finding(
                "account", text if row.is_active else f"The account {row.username} is active, but cannot work"
            )
    for name in sorted(set(decided.states) - names):
        yield Finding("account", f"The account {name} is gone; Hozi never removes one")


def _tokens(decided: _Decided, now: datetime) -> Iterable[Finding]:
    rows = Token.objects.filter(ended_at=None, expires_at__gt=now).select_related("person").order_by("pk")
    for row in rows.iterator(1000):
        made = decided.tokens.get(row.begins)
        what = f"The token {row.begins}… of {row.person.username}"
        if made is None or made.person != row.person.username:
            yield Finding("token", f"{what} works, and the audit does not say who made it, or says that it was ended")
        elif set(row.scopes) != set(made.scopes) or set(row.networks) != set(made.networks):
            yield Finding("token", f"{what} may do something else, or from elsewhere, than when it was made")
        elif row.expires_at > made.until + _SLACK:
            yield Finding("token", f"{what} works longer than was decided when it was made")


def _in_words(given: Iterable[tuple[str, Any]]) -> str:
    parts = dict(given)
    role = parts.pop("role", "?")
    where = f"at {parts.pop('facility')}" if "facility" in parts else "at all facilities"
    more = "".join(f", {name.replace('_', ' ')}: {value}" for name, value in sorted(parts.items()))
    return f"the role {role} {where}{more}"
