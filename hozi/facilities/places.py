"""Facilities: the hospitals and clinics whose devices and patient numbers this archive knows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count

from hozi.audit.record import Code, Entry, record
from hozi.core.errors import Refused
from hozi.facilities.models import Facility

_CODE = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,15}")


@dataclass(frozen=True, slots=True)
class Place:
    """A facility. ``issuer`` names its patient numbers; ``devices`` counts those that belong to it."""

    code: str
    name: str
    issuer: str
    devices: int = 0


def add(code: str, name: str, issuer: str = "", *, actor: str) -> Place:
    """Adds a facility; ``issuer`` is its code when none is given.

    Raises Refused when the code or the issuer is malformed or taken: two facilities with one issuer
    would have their patients mixed.
    """
    code, name, issuer = code.strip().upper(), name.strip(), issuer.strip() or code.strip().upper()
    if not _CODE.fullmatch(code):
        raise Refused(f"{code!r} is no facility code: 1 to 16 letters, digits, - or _, for example NORTH")
    if not 1 <= len(name) <= 128 or not name.isprintable():
        raise Refused("A facility has a name of 1 to 128 characters")
    if len(issuer) > 64 or not issuer.isprintable() or "\\" in issuer:
        raise Refused("The issuer of patient numbers has 1 to 64 printable characters and no backslash")
    with transaction.atomic():
        if Facility.objects.filter(code=code).exists():
            raise Refused(f"There is a facility {code} already")
        if Facility.objects.filter(issuer=issuer).exists():
            raise Refused(f"Another facility's patient numbers are issued by {issuer!r} already")
        Facility.objects.create(code=code, name=name, issuer=issuer)
        record(Entry(Code.SECURITY_ALERT, "C", actor, detail={"facility": code, "name": name, "issuer": issuer}))
    return Place(code, name, issuer)


def listed() -> list[Place]:
    """All facilities, by code."""
    rows = Facility.objects.annotate(count=Count("devices")).order_by("code")
    return [Place(row.code, row.name, row.issuer, row.count) for row in rows]


def choose(code: str | None) -> Facility:
    """The facility of that code; without a code, the only one that there is.

    Raises Refused when it does not exist, or when none was named and there are several: patient numbers
    of different hospitals must not be mixed by a forgotten option.
    """
    known = list(Facility.objects.order_by("code"))
    codes = ", ".join(facility.code for facility in known) or "none yet"
    if code:
        for facility in known:
            if facility.code == code.strip().upper():
                return facility
        raise Refused(f"There is no facility {code!r} (known: {codes})")
    if len(known) == 1:
        return known[0]
    raise Refused(f"Say to which facility it belongs (known: {codes})")
