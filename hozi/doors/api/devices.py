"""Devices: who may talk to the archive, and who knocked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

from ninja import Query, Router, Schema, Status
from pydantic import Field

from hozi.accounts import devices
from hozi.core.errors import NotThere
from hozi.doors.api.gate import Area, Request
from hozi.doors.api.schemas import Chars, In, Name, Number, Page, Paging, number_after, of_rows, page
from hozi.facilities import liveness
from hozi.facilities.devices import Permit

May = Literal["store", "query", "retrieve", "receive"]
Port = Annotated[int, Field(ge=1, le=65535)]


class Device(Schema):
    """A device and what it may do. ``state`` says whether it answered when it was called last."""

    name: str
    ae_title: str
    host: str
    port: int | None
    facility: str
    department: str
    modality: str
    may: list[May]
    sees_all: bool
    tls: bool
    tls_subject: str
    called_as: str
    username: str
    version: int
    state: Literal["up", "unsteady", "down", "unknown"] = "unknown"


class _Fields(In):
    port: Port | None = None
    may: list[May] | None = Field(None, max_length=4)
    department: Annotated[str, Chars(16)] = ""
    modality: Annotated[str, Chars(16)] = ""
    tls: bool = False
    sees_all: bool = False


class NewDevice(_Fields):
    """A device to be admitted; without ``may``: store, query and retrieve, and receive when it has a port."""

    name: Annotated[str, Chars(64, 1)]
    ae_title: Annotated[str, Chars(16, 1)]
    host: Annotated[str, Chars(64, 1)]
    facility: Annotated[str, Chars(16)] = ""
    tls_subject: Annotated[str, Chars(256)] = ""
    called_as: Annotated[str, Chars(16)] = ""
    username: Annotated[str, Chars(128)] = ""
    passcode: Annotated[str, Chars(128)] = ""


class DeviceChanges(_Fields):
    """What is to be changed; what is not named stays."""

    version: Number
    ae_title: Annotated[str, Chars(16, 1)] = ""
    host: Annotated[str, Chars(64, 1)] = ""
    facility: Annotated[str, Chars(16, 1)] = ""
    may: list[May] = Field([], max_length=4)
    tls_subject: Annotated[str, Chars(256)] = ""
    called_as: Annotated[str, Chars(16)] = ""
    username: Annotated[str, Chars(128)] = ""
    passcode: Annotated[str, Chars(128)] = ""


class Knock(Schema):
    """Somebody who tried to associate and was refused."""

    id: int
    calling_ae: str
    called_ae: str
    address: str
    tls_subject: str
    reason: str
    count: int
    first_at: datetime
    last_at: datetime


class Admission(_Fields):
    """How to admit somebody who knocked; without ``name`` it is called by its AE title."""

    name: Annotated[str, Chars(64)] = ""
    facility: Annotated[str, Chars(16)] = ""


class Echo(Schema):
    """How a call to a device went, in words."""

    ok: bool
    summary: str
    advice: str
    technical: str
    milliseconds: int | None


def _shown(permit: Permit, state: str | None = None) -> Device:
    if state is None:
        alive = liveness.of(permit.name)
        state = alive.state if alive else "unknown"
    fields = {name: getattr(permit, name) for name in Device.model_fields if name not in ("state", "may")}
    return Device(**fields, may=list(permit.may), state=state)  # type: ignore[arg-type]


def routes(call: Callable[[Permit], object]) -> Router:
    """The routes. ``call`` calls a device and says how that went: another door's work, so it is given."""
    area = Area("devices")

    @area.get("/devices", Page[Device], "devices.see")
    def list_devices(request: Request, paging: Query[Paging]) -> object:
        """The devices of your facilities, by name."""
        part = page(devices.listed(request.auth), paging, lambda device: device.name)
        standing = liveness.standing()
        part["items"] = [
            _shown(device, standing[device.name].state if device.name in standing else "unknown")
            for device in part["items"]
        ]
        return part

    @area.post("/devices", Device, "devices.change", status=201)
    def add_device(request: Request, data: NewDevice) -> object:
        """Admits a device."""
        fields = data.model_dump(exclude={"name", "facility"})
        made = devices.add(request.auth, data.name, facility=data.facility or None, **fields)
        return Status(201, _shown(made))

    @area.get("/devices/{name}", Device, "devices.see")
    def get_device(request: Request, name: Name) -> object:
        """One device."""
        return _shown(devices.of(request.auth, name))

    @area.patch("/devices/{name}", Device, "devices.change")
    def change_device(request: Request, name: Name, data: DeviceChanges) -> object:
        """Changes a device; its name stays."""
        changes = data.model_dump(exclude_unset=True, exclude={"version"})
        return _shown(devices.change(request.auth, name, version=data.version, **changes))

    @area.delete("/devices/{name}", "devices.change")
    def remove_device(request: Request, name: Name) -> object:
        """Takes a device off the list: from then on it is refused."""
        devices.remove(request.auth, name)
        return Status(204, None)

    @area.post("/devices/{name}/echo", Echo, "devices.see")
    def echo_device(request: Request, name: Name) -> object:
        """Calls a device to see whether it answers (C-ECHO)."""
        return call(devices.of(request.auth, name))

    @area.get("/knocks", Page[Knock], "devices.see")
    def list_knocks(request: Request, paging: Query[Paging]) -> object:
        """Who knocked and was refused, the last first."""
        behind, rows = number_after(paging.after), devices.knocked(request.auth)
        if behind:
            place = next((place for place, row in enumerate(rows, 1) if row.pk == behind), None)
            if place is None:
                raise NotThere("There is no such page any more: begin again without `after`", field="after")
            rows = rows[place:]
        return of_rows(rows, paging, lambda row: str(row.pk))

    @area.post("/knocks/{number}/admit", Device, "devices.change")
    def admit_knock(request: Request, number: Number, data: Admission) -> object:
        """Admits somebody who knocked."""
        fields = data.model_dump(exclude={"name", "facility"})
        return _shown(devices.admit(request.auth, number, data.name, facility=data.facility or None, **fields))

    @area.delete("/knocks/{number}", "devices.change")
    def dismiss_knock(request: Request, number: Number) -> object:
        """Takes a knock off the list without admitting anybody."""
        devices.dismiss(request.auth, number)
        return Status(204, None)

    return area.router
