"""Organisations, facilities and departments."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Query, Schema, Status

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.archive import issuers
from hozi.core.errors import NotThere, Refused
from hozi.doors.api.gate import Area, Request
from hozi.doors.api.schemas import Chars, In, Name, Number, Page, Paging, page
from hozi.facilities import departments, organisations, places

area = Area("facilities")

SEE, CHANGE = "facilities.see", "facilities.change"


class Facility(Schema):
    """A hospital or clinic. ``issuer`` names its patient numbers; ``roles`` are switched on (none: all)."""

    code: str
    name: str
    issuer: str
    devices: int
    departments: int
    organisation: str
    profile: str
    level: str
    province: str
    district: str
    registry_code: str
    roles: list[str]
    version: int


class _About(In):
    organisation: Annotated[str, Chars(128)] = ""
    level: Annotated[str, Chars(16)] = ""
    province: Annotated[str, Chars(2)] = ""
    district: Annotated[str, Chars(64)] = ""
    registry_code: Annotated[str, Chars(16)] = ""


class NewFacility(_About):
    """A facility; ``issuer`` is its code when none is given."""

    code: Annotated[str, Chars(16, 1)]
    name: Annotated[str, Chars(128, 1)]
    issuer: Annotated[str, Chars(64)] = ""


class FacilityChanges(_About):
    """What is to be changed; what is not named stays. The issuer changes while the archive has no patient of it."""

    version: Number
    name: Annotated[str, Chars(128, 1)] = ""
    issuer: Annotated[str, Chars(64, 1)] = ""


class Department(Schema):
    """A part of a facility."""

    facility: str
    code: str
    name: str
    devices: int


class NewDepartment(In):
    """A department to be added."""

    code: Annotated[str, Chars(16, 1)]
    name: Annotated[str, Chars(128, 1)]


class DepartmentName(In):
    """Another name; ``was`` is the one that the caller has looked at."""

    name: Annotated[str, Chars(128, 1)]
    was: Annotated[str, Chars(128, 1)]


class Organisation(Schema):
    """Who runs facilities."""

    name: str
    profile: str
    facilities: int
    version: int


class NewOrganisation(In):
    """An organisation to be added."""

    name: Annotated[str, Chars(128, 1)]
    profile: Annotated[str, Chars(32)] = ""


class OrganisationChanges(In):
    """What is to be changed; what is not named stays."""

    version: Number
    name: Annotated[str, Chars(128, 1)] = ""
    profile: Annotated[str, Chars(32)] = ""


@area.get("/facilities", Page[Facility], SEE)
def list_facilities(request: Request, paging: Query[Paging]) -> object:
    """Your facilities, by code."""
    return page(places.listed(authorise.facilities(request.auth, SEE)), paging, lambda place: place.code)


@area.post("/facilities", Facility, CHANGE, status=201)
def add_facility(request: Request, data: NewFacility) -> object:
    """Adds a facility."""
    _everywhere(request.auth)
    about: Any = data.model_dump(exclude_unset=True, exclude={"code", "name", "issuer"})
    return Status(201, places.add(data.code, data.name, data.issuer, **_by(request), **about))


@area.get("/facilities/{code}", Facility, SEE)
def get_facility(request: Request, code: Name) -> object:
    """One facility."""
    return places.get(code, authorise.facilities(request.auth, SEE))


@area.patch("/facilities/{code}", Facility, CHANGE)
def change_facility(request: Request, code: Name, data: FacilityChanges) -> object:
    """Changes what is said of a facility."""
    changes: Any = data.model_dump(exclude_unset=True, exclude={"version"})
    return places.change(
        _within(request.auth, code, CHANGE),
        expected=data.version,
        issuer_is_free=issuers.is_free,
        **_by(request),
        **changes,
    )


@area.get("/facilities/{code}/departments", Page[Department], SEE)
def list_departments(request: Request, code: Name, paging: Query[Paging]) -> object:
    """The departments of a facility, by code."""
    return page(departments.listed(_within(request.auth, code, SEE)), paging, lambda part: part.code)


@area.post("/facilities/{code}/departments", Department, CHANGE, status=201)
def add_department(request: Request, code: Name, data: NewDepartment) -> object:
    """Adds a department."""
    made = departments.add(_within(request.auth, code, CHANGE), data.code, data.name, **_by(request))
    return Status(201, made)


@area.patch("/facilities/{code}/departments/{department}", Department, CHANGE)
def rename_department(
    request: Request,
    code: Name,
    department: Name,
    data: DepartmentName,
) -> object:
    """Gives a department another name."""
    facility = _within(request.auth, code, CHANGE)
    return departments.rename(facility, department, data.name, was=data.was, **_by(request))


@area.delete("/facilities/{code}/departments/{department}", CHANGE)
def remove_department(
    request: Request,
    code: Name,
    department: Name,
) -> object:
    """Takes a department away, while nothing belongs to it."""
    departments.remove(_within(request.auth, code, CHANGE), department, **_by(request))
    return Status(204, None)


@area.get("/organisations", Page[Organisation], SEE)
def list_organisations(request: Request, paging: Query[Paging]) -> object:
    """Who runs facilities, by name."""
    return page(organisations.listed(), paging, lambda runner: runner.name)


@area.post("/organisations", Organisation, CHANGE, status=201)
def add_organisation(request: Request, data: NewOrganisation) -> object:
    """Adds an organisation."""
    _everywhere(request.auth)
    return Status(201, organisations.add(data.name, data.profile, **_by(request)))


@area.patch("/organisations/{name}", Organisation, CHANGE)
def change_organisation(request: Request, name: Name, data: OrganisationChanges) -> object:
    """Changes an organisation."""
    _everywhere(request.auth)
    changes = data.model_dump(exclude_unset=True, exclude={"version"})
    if "name" in changes:
        changes["new_name"] = changes.pop("name")
    return organisations.change(name, expected=data.version, **_by(request), **changes)


@area.delete("/organisations/{name}", CHANGE)
def remove_organisation(request: Request, name: Name) -> object:
    """Takes an organisation off the list, while it runs no facility."""
    _everywhere(request.auth)
    organisations.remove(name, **_by(request))
    return Status(204, None)


def _by(request: Request) -> dict[str, str]:
    return {"actor": request.auth.actor, "address": request.auth.address}


def _within(who: Who, code: str, permission: str) -> str:
    """The code, if the permission reaches that facility. Raises NotThere."""
    codes = authorise.facilities(who, permission)
    if codes is not None and code.strip().upper() not in codes:
        raise NotThere("There is no such facility")
    return code


def _everywhere(who: Who) -> None:
    if authorise.facilities(who, CHANGE) is not None:
        raise Refused("Whoever looks after all facilities must do that")
