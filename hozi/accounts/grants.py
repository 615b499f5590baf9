"""Roles given to people, each as far as it says, and ended: never changed, so that the past can be told.

Nobody gives what they do not hold at least as far themselves, nobody gives anything to themselves, and whoever gives
roles for one facility gives them there only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from hozi.accounts import names, oversight, states
from hozi.accounts.authorise import Who, covers, held_in
from hozi.accounts.models import Grant, Person, Role
from hozi.accounts.permissions import BY_KEY
from hozi.core.errors import NotThere, Refused
from hozi.facilities import places
from hozi.facilities.models import Department, Facility
from hozi.facilities.profiles import roles_on

_MODALITY: Final = 16


@dataclass(frozen=True, slots=True)
class Given:
    """A role that somebody holds or held, and how far it reaches: empty is no limit. Codes, and the role's name."""

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


def grant(
    who: Who,
    number: int,
    role: str,
    *,
    facility: str = "",
    department: str = "",
    modality: str = "",
    own_referrals: bool = False,
    deidentified: bool = False,
    ends_on: date | None = None,
) -> Given:
    """Gives a person a role, in a facility, or everywhere when none is named. ``ends_on``: their last day from now on.

    Raises Refused when the role asks for a last day and none is known, when it may do more than who gives it may there,
    when it is not used at that facility, or when they hold exactly that already.
    """
    code = facility.strip().upper()
    with transaction.atomic():
        oversight.hold_still()
        person = oversight.person(who, oversight.GRANT, number)
        oversight.check_other(who, person, "give themselves a role")
        oversight.facility_in_reach(who, oversight.GRANT, code)
        if person.state == Person.State.DISABLED:
            raise Refused(f"{person.username} is disabled: give the account back first")
        given = role_of(role)
        place, part = _where(code, department)
        _check_used(given, place)
        row = Grant(
            person=person,
            role=given,
            facility=place,
            department=part,
            modality=_modality(modality),
            own_referrals=own_referrals,
            deidentified=deidentified,
            granted_at=timezone.now(),
            granted_by=who.actor[:128],
        )
        _check_not_more(who, row)
        _check_end(who, person, given, ends_on)
        if _same(row).exists():
            raise Refused(f"{person.username} holds that already", field="role")
        row.save()
        states.tell(person, "U", who.actor, who.address, granted=told(row))
    return of(row)


def why_not(who: Who, role: Role, place: Facility | None, referring_names: Collection[str] = ()) -> str:
    """Why who asks could not give somebody new the role there, in words; empty: they could."""
    person = Person(referring_names=list(referring_names))
    try:
        oversight.facility_in_reach(who, oversight.GRANT, place.code if place else "")
        _check_used(role, place)
        _check_not_more(who, Grant(person=person, role=role, facility=place))
    except Refused as refused:
        return str(refused)
    return ""


def end(who: Who, number: int) -> Given:
    """Takes a role away (``number``: of the grant). Raises Refused when nobody else could give roles then."""
    with transaction.atomic():
        oversight.hold_still()
        row = Grant.objects.select_related("role", "facility", "department").filter(pk=number).first()
        if row is None:
            raise NotThere("There is no such role here")
        person = oversight.person(who, oversight.GRANT, row.person_id)
        oversight.facility_in_reach(who, oversight.GRANT, row.facility.code if row.facility else "")
        if row.ended_at is not None:
            raise Refused("That role has been taken away already")
        if person.is_active and row.facility is None and oversight.GRANT in row.role.permissions:
            _check_still_able(person, row)
        row.ended_at, row.ended_by = timezone.now(), who.actor[:128]
        row.save(update_fields=["ended_at", "ended_by"])
        states.tell(person, "U", who.actor, who.address, ended=told(row))
    return of(row)


def held_at(facility: str) -> frozenset[str]:
    """The keys of the roles that people hold at a facility (its code) now; those held everywhere do not count."""
    rows = Grant.objects.filter(facility__code=facility.strip().upper(), ended_at=None)
    return frozenset(rows.values_list("role__key", flat=True).distinct())


def role_of(key: str) -> Role:
    """The role of that key. Raises Refused."""
    found = Role.objects.filter(key=key).first()
    if found is None:
        known = ", ".join(Role.objects.order_by("key").values_list("key", flat=True))
        raise Refused(f"There is no role {key[:32]!r} (there are: {known})", field="role")
    return found


def of(row: Grant) -> Given:
    """A row in the words of this module."""
    return Given(
        row.pk,
        row.role.key,
        row.role.name,
        row.facility.code if row.facility else "",
        row.department.code if row.department else "",
        row.modality,
        row.own_referrals or row.role.own_referrals,
        row.deidentified or row.role.deidentified,
        row.granted_at,
        row.granted_by,
        row.ended_at,
        row.ended_by,
    )


def _where(code: str, department: str) -> tuple[Facility | None, Department | None]:
    place = places.choose(code) if code else None
    part = department.strip().upper()
    if not part:
        return place, None
    found = None if place is None else place.departments.filter(code=part).first()
    if found is None:
        raise Refused(
            "Say to which facility the department belongs" if place is None else f"{place.code} has no such department",
            field="department",
        )
    return place, found


def _modality(text: str) -> str:
    value = text.strip().upper()
    if len(value) > _MODALITY or not (value.isalnum() or not value):
        raise Refused("A modality is a short word, for example CT", field="modality")
    return value


def _check_not_more(who: Who, row: Grant) -> None:
    held = held_in(row, row.person)
    for permission in sorted(held.permissions):
        if not covers(who, permission, held.scope):
            raise Refused(
                f"You cannot give the role {row.role.name} there: it may do what you may not "
                f"({BY_KEY[permission].label})",
                field="role",
            )


def _check_used(role: Role, place: Facility | None) -> None:
    used = None if place is None else roles_on(place.code)
    if place is not None and used is not None and role.key not in used:
        raise Refused(f"The role {role.name} is not used at {place.code}; switch it on there first", field="role")


def _check_end(who: Who, person: Person, role: Role, ends_on: date | None) -> None:
    if ends_on is not None and ends_on != person.ends_on:
        if person.ends_on is not None and ends_on > person.ends_on:
            raise Refused("The last day is earlier already: change it in the account first", field="ends_on")
        oversight.check_not_last(person)
        states.change(person, ends_on=names.last_day(ends_on))
        states.tell(person, "U", who.actor, who.address, changed=["ends_on"], ends_on=ends_on.isoformat())
    if role.needs_end and person.ends_on is None:
        raise Refused(f"Whoever becomes {role.name} needs a last day", field="ends_on")


def _same(row: Grant) -> QuerySet[Grant]:
    return Grant.objects.filter(
        person=row.person,
        role=row.role,
        facility=row.facility,
        department=row.department,
        modality=row.modality,
        own_referrals=row.own_referrals,
        deidentified=row.deidentified,
        ended_at=None,
    )


def _check_still_able(person: Person, without: Grant) -> None:
    others = person.grants.filter(ended_at=None, facility=None).exclude(pk=without.pk).select_related("role")
    if not any(oversight.GRANT in other.role.permissions for other in others):
        oversight.check_not_last(person)


def told(row: Grant) -> dict[str, str]:
    """A grant as the audit has it, given and ended alike: what is given must be found by what is in force (`drift`)."""
    parts = {
        "role": row.role.key,
        "facility": row.facility.code if row.facility else "",
        "department": row.department.code if row.department else "",
        "modality": row.modality,
        "own_referrals": "yes" if row.own_referrals else "",
        "deidentified": "yes" if row.deidentified else "",
    }
    return {name: value for name, value in parts.items() if value}
