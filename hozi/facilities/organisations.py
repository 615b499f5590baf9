"""Organisations: who runs facilities. A ministry, a mission, a company, a university."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count

from hozi.audit.record import Code, Entry, Type, record
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import profiles
from hozi.facilities.models import Organisation
from hozi.facilities.names import name as _name


@dataclass(frozen=True, slots=True)
class Runner:
    """An organisation. ``profile`` says what kind of customer it is (`profiles.py`); ``facilities`` counts its own.

    ``id`` is the number of its row: names change.
    """

    name: str
    profile: str = ""
    facilities: int = 0
    version: int = 1
    id: int = field(default=0, compare=False)


def add(name: str, profile: str = "", *, actor: str, address: str = "") -> Runner:
    """Adds an organisation. Raises Refused when the name is malformed or taken, or there is no such profile."""
    row = Organisation(name=_name(name, "An organisation"), profile=profiles.key(profile))
    with transaction.atomic():
        _save(row)
        _audit("C", {"organisation": row.name, "profile": row.profile}, actor, address)
    return Runner(row.name, row.profile, id=row.pk)


def change(
    name: str,
    *,
    expected: int,
    new_name: str | None = None,
    profile: str | None = None,
    actor: str,
    address: str = "",
) -> Runner:
    """Changes an organisation; ``expected`` is the version that the caller has looked at.

    Raises NotThere, Changed when somebody was faster, Refused as `add` does.
    """
    with transaction.atomic():
        row = row_of(name, lock=True)
        if row.version != expected:
            raise Changed(f"Somebody else has changed {row.name} since you looked: look again, then change it")
        before = {"name": row.name, "profile": row.profile}
        if new_name is not None:
            row.name = _name(new_name, "An organisation", "new_name")
        if profile is not None:
            row.profile = profiles.key(profile)
        after = {"name": row.name, "profile": row.profile}
        if changed := {key: [before[key], value] for key, value in after.items() if before[key] != value}:
            row.version += 1
            _save(row, "new_name")
            _audit("U", {"organisation": before["name"], "changed": changed}, actor, address)
    return Runner(row.name, row.profile, row.facilities.count(), row.version, row.pk)


def remove(name: str, *, actor: str, address: str = "") -> None:
    """Takes an organisation off the list. Raises NotThere; Refused while it runs a facility."""
    with transaction.atomic():
        row = row_of(name, lock=True)
        if count := row.facilities.count():
            raise Refused(f"{row.name} runs {_facilities(count)}: give them to somebody else first")
        _audit("D", {"organisation": row.name, "profile": row.profile}, actor, address)
        row.delete()


def listed() -> list[Runner]:
    """All organisations, by name."""
    rows = Organisation.objects.annotate(count=Count("facilities")).order_by("name")
    return [Runner(row.name, row.profile, row.count, row.version, row.pk) for row in rows]


def get(number: int) -> Runner:
    """The organisation in the row of that number. Raises NotThere."""
    row = Organisation.objects.filter(pk=number).first()
    if row is None:
        raise NotThere("There is no such organisation")
    return Runner(row.name, row.profile, row.facilities.count(), row.version, row.pk)


def row_of(name: str, *, lock: bool = False) -> Organisation:
    """The row of the organisation of that name, for this room. Raises NotThere."""
    rows = Organisation.objects.select_for_update() if lock else Organisation.objects
    row = rows.filter(name=name.strip()).first()
    if row is None:
        raise NotThere(f"There is no organisation {name!r}: add it first", field="organisation")
    return row


def _facilities(count: int) -> str:
    return "1 facility" if count == 1 else f"{count} facilities"


def _save(row: Organisation, about: str = "name") -> None:
    taken = Refused(f"There is an organisation {row.name!r} already", field=about)
    if Organisation.objects.filter(name=row.name).exclude(pk=row.pk).exists():
        raise taken
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise taken from None


def _audit(action: str, detail: dict[str, Any], actor: str, address: str) -> None:
    told = {"type": Type.SOFTWARE_CONFIGURATION.value, **detail}
    record(Entry(Code.SECURITY_ALERT, action, actor, address=address, detail=told))
