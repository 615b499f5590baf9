"""Departments: the parts of a facility to which devices belong and for which people are given roles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Count, ProtectedError

from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import rows
from hozi.facilities.models import Department, Facility
from hozi.facilities.names import name as _name

_CODE: Final = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,15}")


@dataclass(frozen=True, slots=True)
class Part:
    """A department of a facility (both by code); ``devices`` counts those that belong to it."""

    facility: str
    code: str
    name: str
    devices: int = 0


def add(facility: str, code: str, name: str, *, actor: str, address: str = "") -> Part:
    """Adds a department. Raises NotThere (no such facility); Refused when the code is malformed or taken."""
    with transaction.atomic():
        return insert(rows.facility(facility), code, name, actor=actor, address=address)


def insert(facility: Facility, code: str, name: str, *, actor: str, address: str = "") -> Part:
    """`add` for this room, within the transaction that is open."""
    code = code.strip().upper()
    if not _CODE.fullmatch(code):
        raise Refused(f"{code!r} is no department code: 1 to 16 letters, digits, - or _, for example CT", field="code")
    row = Department(facility=facility, code=code, name=_name(name, "A department"))
    taken = Refused(f"{facility.code} has a department {code} already", field="code")
    if facility.departments.filter(code=code).exists():
        raise taken
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise taken from None
    _audit("C", row, {"name": row.name}, actor, address)
    return Part(facility.code, row.code, row.name)


def rename(facility: str, code: str, name: str, *, was: str, actor: str, address: str = "") -> Part:
    """Gives a department another name; ``was`` is the name that the caller has looked at.

    Raises NotThere, Changed when it has another name by now, Refused when the new one is malformed.
    """
    new = _name(name, "A department")
    with transaction.atomic():
        row = _row(facility, code)
        if row.name != was.strip():
            raise Changed(f"Somebody else has renamed {row.code} to {row.name!r} since you looked: look again")
        if new != row.name:
            _audit("U", row, {"changed": {"name": [row.name, new]}}, actor, address)
            row.name = new
            row.save()
        return Part(row.facility.code, row.code, row.name, row.devices.count())


def remove(facility: str, code: str, *, actor: str, address: str = "") -> None:
    """Takes a department away. Raises NotThere; Refused while something belongs to it, or somebody's role ever did."""
    with transaction.atomic():
        row = _row(facility, code)
        if count := row.devices.count():
            devices = "1 device belongs" if count == 1 else f"{count} devices belong"
            raise Refused(f"{devices} to {row.code}: move them to another department first")
        _audit("D", row, {"name": row.name}, actor, address)
        try:
            with transaction.atomic():
                row.delete()
        except ProtectedError:
            raise Refused(
                f"People have, or had, roles in {row.code}: it stays, so that the past can be told. Rename it instead"
            ) from None


def listed(facility: str) -> list[Part]:
    """The departments of a facility, by code. Raises NotThere when there is no such facility."""
    owner = rows.facility(facility)
    found = owner.departments.annotate(count=Count("devices")).order_by("code")
    return [Part(owner.code, row.code, row.name, row.count) for row in found]


def _row(facility: str, code: str) -> Department:
    found = Department.objects.select_for_update(of=("self",)).select_related("facility")
    row = found.filter(facility__code=facility.strip().upper(), code=code.strip().upper()).first()
    if row is None:
        raise NotThere(f"There is no department {code!r} in {facility}")
    return row


def _audit(action: str, row: Department, detail: dict[str, Any], actor: str, address: str) -> None:
    rows.audit(action, row.facility, {"department": row.code, **detail}, actor, address)
