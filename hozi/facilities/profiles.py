"""The five kinds of customer, and what each begins with: departments, and the roles that can be given there.

A profile is a beginning, not a cage: applying one only ever adds. Departments and roles that are not in it stay.
Roles are named by their keys; what they may do stands in `hozi.accounts`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hozi.audit.record import Type
from hozi.core.errors import Refused
from hozi.facilities import departments, rows
from hozi.facilities.models import Facility


@dataclass(frozen=True, slots=True)
class Start:
    """A department that a profile begins with, and the keys of the roles that people in it usually have."""

    code: str
    name: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of customer. ``others``: roles of people who belong to no department of it."""

    key: str
    label: str | Promise
    description: str | Promise
    departments: tuple[Start, ...]
    others: tuple[str, ...]

    @property
    def roles(self) -> tuple[str, ...]:
        """The keys of all roles that it switches on, each once."""
        of_departments = (role for start in self.departments for role in start.roles)
        return tuple(dict.fromkeys((*of_departments, *self.others)))


_RADIOLOGY: Final = Start("RADIOLOGY", "Radiology", ("radiologist", "radiographer"))
_IT: Final = Start("IT", "IT", ("pacs_admin", "it_support"))

PROFILES: Final[tuple[Profile, ...]] = (
    Profile(
        "public_central",
        _("Public or central referral hospital"),
        _("Many patients, critical care, one IT team; records are an office of their own."),
        (
            _RADIOLOGY,
            _IT,
            Start("RECORDS", "Medical Records", ("records_officer",)),
            Start("ADMIN", "Administration", ("manager", "dpo")),
        ),
        ("referrer", "vendor", "service"),
    ),
    Profile(
        "private_hospital",
        _("Private hospital or clinic"),
        _("Throughput counts; the administration keeps the records, too."),
        (_RADIOLOGY, _IT, Start("ADMIN", "Administration", ("manager", "dpo", "records_officer"))),
        ("referrer", "vendor", "service"),
    ),
    Profile(
        "specialty",
        _("Specialty imaging centre"),
        _("Cardiology, oncology, neurology: MRI, CT and PET, and studies for research."),
        (
            _RADIOLOGY,
            Start("CARDIOLOGY", "Cardiology", ("referrer",)),
            Start("ONCOLOGY", "Oncology", ("referrer",)),
            Start("NEUROLOGY", "Neurology", ("referrer",)),
            _IT,
        ),
        ("records_officer", "manager", "dpo", "researcher", "vendor", "service"),
    ),
    Profile(
        "teaching",
        _("University teaching hospital or medical school"),
        _("Care and teaching under one roof: students and researchers see nobody's name."),
        (
            _RADIOLOGY,
            _IT,
            Start("EDUCATION", "Medical Education", ("student",)),
            Start("RESEARCH", "Research", ("researcher",)),
        ),
        ("referrer", "records_officer", "manager", "dpo", "vendor", "service"),
    ),
    Profile(
        "ministry",
        _("Government ministry or regional authority"),
        _("Oversees many hospitals by totals; sees no patients."),
        (
            Start("INFORMATICS", "Health Informatics Unit", ("ministry", "dpo")),
            _IT,
            Start("PLANNING", "Planning & Monitoring", ("ministry", "manager")),
        ),
        ("vendor",),
    ),
)

BY_KEY: Final = {profile.key: profile for profile in PROFILES}


@dataclass(frozen=True, slots=True)
class Preview:
    """What applying a profile would do. ``version`` is the facility's, for `apply`.

    ``adds`` are departments to come and ``has`` codes of those that are there already. ``roles`` are the keys that are
    switched on afterwards; ``switched_on`` those of them that are not now. ``narrows``: until now every role could be
    given there, afterwards only ``roles``; ``kept`` are roles outside the profile that stay on because they were
    switched on, or somebody holds them.
    """

    profile: Profile
    adds: tuple[Start, ...]
    has: tuple[str, ...]
    roles: tuple[str, ...]
    switched_on: tuple[str, ...]
    kept: tuple[str, ...]
    narrows: bool
    version: int


def key(profile: str) -> str:
    """The key of a profile as it is stored; empty stays empty. Raises Refused when there is no such profile."""
    profile = profile.strip()
    if profile and profile not in BY_KEY:
        raise Refused(f"There is no profile {profile!r} (there are: {', '.join(BY_KEY)})", field="profile")
    return profile


def preview(facility: str, profile: str, *, held: Collection[str]) -> Preview:
    """What `apply` would do; changes nothing. Raises NotThere and Refused as it does."""
    return _preview(rows.facility(facility), profile, held)


def apply(
    facility: str, profile: str, *, held: Collection[str], expected: int, actor: str, address: str = ""
) -> Preview:  # fmt: skip
    """Makes a facility begin as its profile says: adds the departments that it lacks, switches roles on.

    Nothing that is there is changed or taken away. ``held`` are the keys of the roles that people have at the facility
    (the rooms of people stand above this one, so the caller says it): they stay on whatever the profile says.
    ``expected`` is the version that the caller has looked at. Returns what was done.

    Raises NotThere when there is no such facility, Refused when there is no such profile, Changed when somebody was
    faster.
    """
    with transaction.atomic():
        row = rows.to_change(facility, expected)
        plan = _preview(row, profile, held)
        for start in plan.adds:
            departments.insert(row, start.code, start.name, actor=actor, address=address)
        if row.profile == plan.profile.key and set(row.roles) == set(plan.roles):
            return plan
        detail = {"profile": [row.profile, plan.profile.key], "roles": [row.roles, list(plan.roles)]}
        row.profile, row.roles = plan.profile.key, list(plan.roles)
        row.version += 1
        row.save()
        rows.audit("U", row, detail, actor, address, Type.SECURITY_ROLES_CHANGED)
    return plan


def switch_roles(
    facility: str, roles: Collection[str], *, held: Collection[str], expected: int, actor: str, address: str = ""
) -> None:
    """Says which roles can be given at a facility from now on; none: all of them.

    Raises Refused when one is to be switched off that somebody holds there (``held``): take it from them first.
    Raises NotThere and Changed as `apply` does.
    """
    with transaction.atomic():
        row = rows.to_change(facility, expected)
        if roles and (still := sorted(set(held) - set(roles))):
            raise Refused(f"People hold these roles at {row.code}: {', '.join(still)}. Take them first", field="roles")
        new = sorted(set(roles))
        if new != sorted(row.roles):
            detail = {"roles": [row.roles, new]}
            row.roles = new
            row.version += 1
            row.save()
            rows.audit("U", row, detail, actor, address, Type.SECURITY_ROLES_CHANGED)


def roles_on(facility: str) -> frozenset[str] | None:
    """The keys of the roles that can be given at a facility (its code); None: all. Raises NotThere."""
    return frozenset(rows.facility(facility).roles) or None


def _preview(row: Facility, profile: str, held: Collection[str]) -> Preview:
    chosen = BY_KEY.get(key(profile))
    if chosen is None:
        raise Refused(f"Choose a profile: {', '.join(BY_KEY)}", field="profile")
    there = set(row.departments.values_list("code", flat=True))
    before = set(row.roles)
    kept = sorted((before | set(held)) - set(chosen.roles))
    roles = (*chosen.roles, *kept)
    return Preview(
        profile=chosen,
        adds=tuple(start for start in chosen.departments if start.code not in there),
        has=tuple(start.code for start in chosen.departments if start.code in there),
        roles=roles,
        switched_on=tuple(role for role in roles if before and role not in before),
        kept=tuple(kept),
        narrows=not before,
        version=row.version,
    )
