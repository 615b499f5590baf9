"""Roles: what they may do."""

from __future__ import annotations

from typing import Annotated, Literal

from ninja import Query, Schema, Status
from pydantic import Field

from hozi.accounts import roles
from hozi.accounts.permissions import BY_KEY, PERMISSIONS
from hozi.doors.api.gate import ANYBODY, Area, Request
from hozi.doors.api.schemas import Chars, In, Name, Number, Page, Paging, page

area = Area("roles")


class Role(Schema):
    """A set of permissions with a name. ``holders`` counts the people who hold it; one that was ever ``used`` stays."""

    key: str
    name: str
    description: str
    permissions: list[str]
    own_referrals: bool
    deidentified: bool
    needs_end: bool
    delivered: bool
    version: int
    holders: int
    used: bool


class _Shape(In):
    name: Annotated[str, Chars(64, 1)]
    permissions: list[Annotated[str, Chars(32, 1)]] = Field(max_length=len(BY_KEY))
    description: Annotated[str, Chars(200)] = ""
    own_referrals: bool = False
    deidentified: bool = False
    needs_end: bool = False


class NewRole(_Shape):
    """A role to be made; it can do nothing that who makes it cannot do."""

    key: Annotated[str, Chars(32, 1)]


class RoleShape(_Shape):
    """A role as it is to be, for everybody who holds it."""

    version: Number


class PermissionLine(Schema):
    """One thing that can be allowed. ``scope``: what a token must be made for to use it."""

    key: str
    label: str
    scope: Literal["read", "write", "admin"]
    studies: bool


def _shown(shape: roles.Shape) -> Role:
    fields = {name: getattr(shape, name) for name in Role.model_fields if name != "permissions"}
    return Role(**fields, permissions=sorted(shape.permissions))


@area.get("/permissions", list[PermissionLine], ANYBODY)
def list_permissions(request: Request) -> object:
    """Everything that can be allowed."""
    return [
        PermissionLine(key=entry.key, label=str(entry.label), scope=entry.scope, studies=entry.studies)
        for entry in PERMISSIONS
    ]


@area.get("/roles", Page[Role], "people.see", "roles.change")
def list_roles(request: Request, paging: Query[Paging]) -> object:
    """All roles, those that were delivered first."""
    return page([_shown(shape) for shape in roles.listed()], paging, lambda role: role.key)


@area.post("/roles", Role, "roles.change", status=201)
def add_role(request: Request, data: NewRole) -> object:
    """Makes a role."""
    return Status(201, _shown(roles.create(request.auth, data.key, **data.model_dump(exclude={"key"}))))


@area.get("/roles/{key}", Role, "people.see", "roles.change")
def get_role(request: Request, key: Name) -> object:
    """One role."""
    return _shown(roles.of(key))


@area.post("/roles/{key}", Role, "roles.change")
def change_role(request: Request, key: Name, data: RoleShape) -> object:
    """Changes a role: all of it, as it is to be."""
    return _shown(roles.change(request.auth, key, **data.model_dump()))


@area.delete("/roles/{key}", "roles.change")
def remove_role(request: Request, key: Name, version: Query[Number]) -> object:
    """Removes a role that nobody ever held."""
    roles.delete(request.auth, key, version=version)
    return Status(204, None)
