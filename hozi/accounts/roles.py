"""Roles: sets of permissions, as data. Nobody puts into one what they do not hold everywhere themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.db.models import Count, Q

from hozi.accounts import authorise, names, oversight
from hozi.accounts.authorise import Scope, Who
from hozi.accounts.models import Grant, Role
from hozi.accounts.permissions import BY_KEY, PERMISSIONS
from hozi.audit.record import Code, Entry, Type, record
from hozi.core.errors import Changed, NotThere, Refused

CHANGE: Final = "roles.change"
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{1,31}")


@dataclass(frozen=True, slots=True)
class Shape:
    """A role. ``holders`` counts the people who hold it now; ``used`` says whether anybody ever did."""

    key: str
    name: str
    description: str
    permissions: frozenset[str]
    own_referrals: bool
    deidentified: bool
    needs_end: bool
    delivered: bool
    version: int
    holders: int
    used: bool


def listed() -> list[Shape]:
    """All roles, those that were delivered first, by name."""
    return [_shape(row) for row in _rows().order_by("-delivered", "name", "key")]


def of(key: str) -> Shape:
    """One role. Raises NotThere."""
    row = _rows().filter(key=key).first()
    if row is None:
        raise NotThere("There is no such role")
    return _shape(row)


def create(
    who: Who,
    key: str,
    *,
    name: str,
    permissions: Iterable[str],
    description: str = "",
    own_referrals: bool = False,
    deidentified: bool = False,
    needs_end: bool = False,
) -> Shape:
    """Makes a role. Raises Refused when it could do what who makes it cannot do everywhere."""
    chosen = _known(permissions)
    if not _KEY.fullmatch(key):
        raise Refused("A short name has 2 to 32 small letters, digits and _, for example night_reader", field="key")
    with transaction.atomic():
        _check_everywhere(who)
        _check_may_add(who, chosen)
        if Role.objects.filter(key=key).exists():
            raise Refused(f"There is a role {key} already", field="key")
        row = Role(
            key=key,
            name=_name(name),
            description=names.note(description, longest=200, field="description"),
            permissions=sorted(chosen),
            own_referrals=own_referrals,
            deidentified=deidentified,
            needs_end=needs_end,
        )
        row.save()
        _tell(who, "C", row, permissions=sorted(chosen), **_narrowed(row))
    return of(key)


def change(
    who: Who,
    key: str,
    *,
    version: int,
    name: str,
    permissions: Iterable[str],
    description: str = "",
    own_referrals: bool = False,
    deidentified: bool = False,
    needs_end: bool = False,
) -> Shape:
    """Changes what a role may do, for everybody who holds it.

    Raises Changed when somebody else was quicker, Refused when it would get anything that who changes it does not hold
    everywhere, or when nobody could give roles any more.
    """
    chosen = _known(permissions)
    with transaction.atomic():
        oversight.hold_still()
        row = _locked(who, key, version)
        wider = (row.own_referrals and not own_referrals) or (row.deidentified and not deidentified)
        before = frozenset(row.permissions)
        _check_may_add(who, chosen if wider else chosen - before)
        was = _narrowed(row)
        row.name = _name(name)
        row.description = names.note(description, longest=200, field="description")
        row.permissions = sorted(chosen)
        row.own_referrals, row.deidentified, row.needs_end = own_referrals, deidentified, needs_end
        row.version += 1
        could = oversight.GRANT in before and oversight.holders(oversight.GRANT).exists()
        row.save()
        if could and not oversight.holders(oversight.GRANT).exists():
            raise Refused("Nobody could give roles any more; leave that with this role, or give it to another first")
        _tell(
            who, "U", row, added=sorted(chosen - before), removed=sorted(before - chosen), before=was, **_narrowed(row)
        )
    return of(key)


def delete(who: Who, key: str, *, version: int) -> None:
    """Removes a role that nobody holds or ever held, and that was not delivered with Hozi."""
    with transaction.atomic():
        oversight.hold_still()
        row = _locked(who, key, version)
        if row.delivered:
            raise Refused(f"The role {row.name} came with Hozi and stays; its permissions can be taken out")
        if Grant.objects.filter(role=row).exists():
            raise Refused(f"The role {row.name} is or was held by people, and who could do what must stay known")
        _tell(who, "D", row)
        row.delete()


def matrix() -> list[list[str]]:
    """Roles by permissions, as rows for a table: a heading, then one row for each permission, ``yes`` or empty.

    At the end stand the limits that a role puts on every grant of it.
    """
    roles = listed()
    rows = [["permission", "meaning", *(role.key for role in roles)]]
    for permission in PERMISSIONS:
        held = ("yes" if permission.key in role.permissions else "" for role in roles)
        rows.append([permission.key, str(permission.label), *held])
    for field, meaning in _LIMITS:
        rows.append([field, meaning, *("yes" if getattr(role, field) else "" for role in roles)])
    return rows


_LIMITS: Final[Sequence[tuple[str, str]]] = (
    ("own_referrals", "limited to one's own referrals"),
    ("deidentified", "limited to de-identified studies"),
    ("needs_end", "needs a last day"),
)


def _rows() -> Any:
    in_force = Q(grants__ended_at=None, grants__person__is_active=True)
    return Role.objects.annotate(
        holders=Count("grants__person", filter=in_force, distinct=True), given=Count("grants", distinct=True)
    )


def _shape(row: Any) -> Shape:
    return Shape(
        row.key,
        row.name,
        row.description,
        frozenset(row.permissions) & frozenset(BY_KEY),
        row.own_referrals,
        row.deidentified,
        row.needs_end,
        row.delivered,
        row.version,
        row.holders,
        row.given > 0,
    )


def _locked(who: Who, key: str, version: int) -> Role:
    _check_everywhere(who)
    row = Role.objects.select_for_update().filter(key=key).first()
    if row is None:
        raise NotThere("There is no such role")
    if row.version != version:
        raise Changed("Somebody else has changed this role meanwhile; look at it again")
    return row


def _check_everywhere(who: Who) -> None:
    if authorise.facilities(who, CHANGE) is not None:
        raise Refused("Roles are the same at all facilities: whoever looks after all of them must change them")


def _check_may_add(who: Who, added: Iterable[str]) -> None:
    for permission in sorted(added):
        if not authorise.covers(who, permission, Scope()):
            raise Refused(
                f"You cannot put into a role what you may not do everywhere yourself ({BY_KEY[permission].label})",
                field="permissions",
            )


def _known(permissions: Iterable[str]) -> frozenset[str]:
    chosen = frozenset(permissions)
    if unknown := sorted(chosen - frozenset(BY_KEY)):
        raise Refused(f"There is no permission {unknown[0][:64]!r}", field="permissions")
    return chosen


def _name(text: str) -> str:
    name = names.note(text, longest=64, field="name")
    if not name:
        raise Refused("A role has a name", field="name")
    return name


def _narrowed(row: Role) -> dict[str, bool]:
    return {field: getattr(row, field) for field, _ in _LIMITS}


def _tell(who: Who, action: str, row: Role, **detail: Any) -> None:
    told = {"type": Type.SECURITY_ROLES_CHANGED, "role": row.key, **detail}
    record(Entry(Code.SECURITY_ALERT, action, who.actor, address=who.address, detail=told))
