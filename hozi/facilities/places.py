"""Facilities: the hospitals and clinics whose devices and patient numbers this archive knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, TypedDict, Unpack

from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet

from hozi.audit.record import Type
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import levels, rows
from hozi.facilities.models import Facility
from hozi.facilities.names import name as _name
from hozi.facilities.organisations import row_of

_CODE: Final = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,15}")


@dataclass(frozen=True, slots=True)
class Place:
    """A facility. ``issuer`` names its patient numbers; ``devices`` and ``departments`` count those that it has.

    ``organisation`` is the name of who runs it; ``profile``, ``level`` and ``province`` are keys (`profiles`,
    `levels`); ``roles`` are the keys of the roles that are switched on, none: all. ``version`` counts its changes.
    """

    code: str
    name: str
    issuer: str
    devices: int = 0
    departments: int = 0
    organisation: str = ""
    profile: str = ""
    level: str = ""
    province: str = ""
    district: str = ""
    registry_code: str = ""
    roles: tuple[str, ...] = ()
    version: int = 1


class About(TypedDict, total=False):
    """What else can be said of a facility. Left out: empty in a new one, as it was in one that is changed."""

    organisation: str
    level: str
    province: str
    district: str
    registry_code: str


def add(
    code: str, name: str, issuer: str = "", *, actor: str, address: str = "", **about: Unpack[About]
) -> Place:  # fmt: skip
    """Adds a facility; ``issuer`` is its code when none is given, the province that of its ``registry_code``.

    Raises Refused when something is malformed, or the code, issuer or registry code taken: two facilities with one
    issuer would have their patients mixed.
    """
    code = code.strip().upper()
    if not _CODE.fullmatch(code):
        raise Refused(f"{code!r} is no facility code: 1 to 16 letters, digits, - or _, for example NORTH", field="code")
    row = Facility(code=code, name=_name(name, "A facility"), issuer=_issuer(issuer.strip() or code))
    with transaction.atomic():
        if Facility.objects.filter(code=code).exists():
            raise Refused(f"There is a facility {code} already", field="code")
        _describe(row, about)
        _save(row)
        rows.audit("C", row, _told(row, about), actor, address, Type.SECURITY_CONFIGURATION)
    return get(code)


def change(
    code: str,
    *,
    expected: int,
    name: str | None = None,
    issuer: str | None = None,
    issuer_is_free: Callable[[str], bool] | None = None,
    actor: str,
    address: str = "",
    **about: Unpack[About],
) -> Place:
    """Changes what is said of a facility; ``expected`` is the version that the caller has looked at.

    Its issuer is part of who its patients are. It changes only while the archive has no patient of it, which
    ``issuer_is_free`` says (the archive stands above this room, so the caller brings its answer; without it the issuer
    stays), and while no device belongs to the facility that could be sending right now.

    Raises NotThere, Changed when somebody was faster, Refused as `add` does.
    """
    with transaction.atomic():
        row = rows.to_change(code, expected)
        before = _described(row)
        if name is not None:
            row.name = _name(name, "A facility")
        if issuer is not None and (issuer.strip() or row.code) != row.issuer:
            _issuer_may_change(row, issuer_is_free)
            row.issuer = _issuer(issuer.strip() or row.code)
        _describe(row, about)
        after = _described(row)
        changed = {key: [before[key], value] for key, value in after.items() if before[key] != value}
        if changed:
            row.version += 1
            _save(row)
            rows.audit("U", row, {"changed": changed}, actor, address, Type.SECURITY_CONFIGURATION)
    return get(row.code)


def listed(
    within: Collection[str] | None = None,
    *,
    search: str = "",
    level: str = "",
    province: str = "",
    after: str = "",
    most: int | None = None,
) -> list[Place]:
    """Facilities, by code; ``within`` (codes): only those of them.

    ``search`` is a part of the code, name, district or registry code; ``level`` and ``province`` are keys. A page
    begins behind the code ``after`` and has at most ``most``.
    """
    found = _rows() if within is None else _rows().filter(code__in=within)
    if search.strip():
        part = search.strip()
        named = Q(code__icontains=part) | Q(name__icontains=part)
        found = found.filter(named | Q(district__icontains=part) | Q(registry_code__icontains=part))
    if level:
        found = found.filter(level=level)
    if province:
        found = found.filter(province=province)
    rows = found.filter(code__gt=after).order_by("code")
    return [_place(row) for row in (rows if most is None else rows[:most])]


def bare(within: Collection[str] | None = None, most: int = 2) -> list[tuple[str, str]]:
    """Code and name of facilities that have neither a profile nor departments yet: nobody has set them up."""
    found = Facility.objects.filter(profile="", departments=None)
    found = found if within is None else found.filter(code__in=within)
    return list(found.order_by("code").values_list("code", "name")[:most])


def get(code: str, within: Collection[str] | None = None) -> Place:
    """The facility of that code. Raises NotThere when there is none, or when ``within`` (codes) leaves it out."""
    row = _rows().filter(code=code.strip().upper()).first()
    if row is None or (within is not None and row.code not in within):
        raise NotThere(f"There is no facility {code!r}")
    return _place(row)


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
        raise Refused(f"There is no facility {code!r} (known: {codes})", field="facility")
    if len(known) == 1:
        return known[0]
    raise Refused(f"Say to which facility it belongs (known: {codes})", field="facility")


# Rows ----------------------------------------------------------------------------------------------


def _rows() -> QuerySet[Facility]:
    return Facility.objects.select_related("organisation").annotate(
        device_count=Count("devices", distinct=True), department_count=Count("departments", distinct=True)
    )


def _place(row: Any) -> Place:
    return Place(
        row.code,
        row.name,
        row.issuer,
        row.device_count,
        row.department_count,
        organisation=row.organisation.name if row.organisation else "",
        profile=row.profile,
        level=row.level,
        province=row.province,
        district=row.district,
        registry_code=row.registry_code,
        roles=tuple(row.roles),
        version=row.version,
    )


def _describe(row: Facility, about: About) -> None:
    """Enters what is said into the row. Raises Refused when something of it cannot be."""
    if "organisation" in about:
        row.organisation = row_of(about["organisation"]) if about["organisation"].strip() else None
    row.level = levels.level(about.get("level", row.level))
    row.province = levels.province(about.get("province", row.province))
    row.district = _name(about.get("district", row.district), "A district", "district", least=0, most=64)
    row.registry_code = levels.registry_code(about.get("registry_code", row.registry_code), row.province)
    if row.registry_code and not row.province:
        row.province = levels.province_of(row.registry_code)


def _described(row: Facility) -> dict[str, str]:
    return {
        "name": row.name,
        "issuer": row.issuer,
        "organisation": row.organisation.name if row.organisation else "",
        "level": row.level,
        "province": row.province,
        "district": row.district,
        "registry_code": row.registry_code,
    }


def _told(row: Facility, about: About) -> dict[str, str]:
    described = _described(row)
    return {key: described[key] for key in ("name", "issuer", *sorted(about))}


def _issuer(text: str) -> str:
    if len(text) > 64 or not text.isprintable() or "\\" in text:
        raise Refused("The issuer of patient numbers has 1 to 64 printable characters and no backslash", field="issuer")
    return text


def _issuer_may_change(row: Facility, is_free: Callable[[str], bool] | None) -> None:
    if is_free is None or not is_free(row.issuer):
        raise Refused(
            f"The archive has patients whose numbers {row.issuer} issued: with another issuer they would be other"
            " people. The issuer stays",
            field="issuer",
        )
    if row.devices.exists():
        raise Refused(
            f"Devices of {row.code} may be sending images at this moment, under {row.issuer}: remove them first, or"
            " keep the issuer",
            field="issuer",
        )


def _save(row: Facility) -> None:
    others = Facility.objects.exclude(pk=row.pk)
    if others.filter(issuer=row.issuer).exists():
        raise Refused(f"Another facility's patient numbers are issued by {row.issuer!r} already", field="issuer")
    if row.registry_code and (other := others.filter(registry_code=row.registry_code).first()):
        raise Refused(f"{row.registry_code} is the code of {other.code} already", field="registry_code")
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise Changed("Somebody else has just taken this code or issuer: look again") from None
