"""Devices, as far as whoever asks may see and change them: those of the facilities that the permission reaches.

`facilities.devices` knows what a device is; who may touch which is known here, for every door that people use. Only
who looks after all facilities makes a device that sees the studies of others than its own.
"""

from __future__ import annotations

from typing import Any

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.core.errors import NotThere, Refused
from hozi.facilities import devices, knocks
from hozi.facilities.devices import Changes, Permit
from hozi.facilities.models import Knock
from hozi.settings import HOZI

SEE = "devices.see"
CHANGE = "devices.change"


def listed(who: Who) -> list[Permit]:
    """The devices that who asks may see, by name. Raises Denied."""
    codes = authorise.facilities(who, SEE)
    return [device for device in devices.listed() if codes is None or device.facility in codes]


def of(who: Who, name: str, permission: str = SEE) -> Permit:
    """The device of that name. Raises Denied; NotThere when there is none, or when it is not theirs."""
    codes = authorise.facilities(who, permission)
    device = devices.permit_by_name(name)
    if device is None or (codes is not None and device.facility not in codes):
        raise NotThere("There is no such device here")
    return device


def add(who: Who, name: str, *, facility: str | None = None, **fields: Any) -> Permit:
    """Admits a device (`facilities.devices.add`). Raises Denied; Refused beyond the reach of who adds it."""
    facility = _place(who, facility)
    _check_sight(who, bool(fields.get("sees_all")))
    return devices.add(name, facility=facility, actor=who.actor, address=who.address, **fields)


def change(who: Who, name: str, *, version: int, **changes: Any) -> Permit:
    """Changes a device (`facilities.devices.change`). Raises Denied, NotThere, Changed; Refused beyond the reach."""
    device = of(who, name, CHANGE)
    if "facility" in changes:
        changes["facility"] = _place(who, changes["facility"])
    _check_sight(who, bool(changes.get("sees_all")) and not device.sees_all)
    given: Changes = changes  # type: ignore[assignment]
    return devices.change(device.name, version=version, actor=who.actor, address=who.address, **given)


def remove(who: Who, name: str) -> Permit:
    """Takes a device off the list. Raises Denied; NotThere."""
    return devices.remove(of(who, name, CHANGE).name, actor=who.actor, address=who.address)


def knocked(who: Who) -> list[Knock]:
    """Who knocked, the last first; not those that are devices of other facilities only. Raises Denied."""
    codes = authorise.facilities(who, SEE)
    rows = devices.recent()
    if codes is None:
        return rows
    theirs = {device.ae_title for device in devices.listed() if device.facility in codes}
    others = {device.ae_title for device in devices.listed()} - theirs
    return [row for row in rows if row.calling_ae not in others]


def knock(who: Who, number: int, permission: str = CHANGE) -> Knock:
    """One of those who knocked. Raises Denied; NotThere."""
    authorise.check(who, permission)
    for row in knocked(who):
        if row.pk == number:
            return row
    raise NotThere("Nobody of that number knocked, or it has been dealt with")


def admit(
    who: Who, number: int, name: str = "", *, facility: str | None = None, sees_all: bool = False, **fields: Any
) -> Permit:  # fmt: skip
    """Admits somebody who knocked (`facilities.devices.admit`). Raises Denied, NotThere; Refused beyond the reach."""
    row = knock(who, number)
    codes = authorise.facilities(who, CHANGE)
    _check_sight(who, sees_all)
    for device in devices.listed():
        # What the knock would change may be a device that is there already, and somebody else's.
        if codes is not None and device.ae_title == row.calling_ae and device.facility not in codes:
            raise Refused("A device of another facility has this AE title: whoever looks after all must admit it")
    return devices.admit(
        row,
        name,
        own_ae=HOZI.ae_title,
        facility=_place(who, facility),
        sees_all=sees_all,
        actor=who.actor,
        address=who.address,
        **fields,
    )


def dismiss(who: Who, number: int) -> Knock:
    """Takes a knock off the list without admitting anybody. Raises Denied; NotThere."""
    return knocks.dismiss(knock(who, number).pk, actor=who.actor, address=who.address)


def _place(who: Who, facility: str | None) -> str | None:
    """The facility, where it is in reach; the only one in reach where none is named."""
    codes = authorise.facilities(who, CHANGE)
    if codes is None:
        return facility
    if not facility and len(codes) == 1:
        return next(iter(codes))
    if not facility or facility.strip().upper() not in codes:
        raise Refused(f"You look after the devices of {', '.join(sorted(codes))}: choose from these", field="facility")
    return facility


def _check_sight(who: Who, sees_all: bool) -> None:
    if sees_all and authorise.facilities(who, CHANGE) is not None:
        raise Refused(
            "A device that sees the studies of all facilities is admitted by whoever looks after all of them",
            field="sees_all",
        )
