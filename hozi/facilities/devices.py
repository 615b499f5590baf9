"""Devices: who may talk to the archive. Everybody else is refused and listed as having knocked.

Who is calling is found out in `recognise`, who was refused stands in `knocks`; both are to be had here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final, TypedDict, Unpack

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction

from hozi.audit.record import Code, Entry, Type, record
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import addresses, liveness
from hozi.facilities.knocks import knocked, recent
from hozi.facilities.models import Department, Device, Facility, Knock
from hozi.facilities.places import choose
from hozi.facilities.recognise import (
    MAY,
    NotRecognised,
    Permit,
    destination,
    forget,
    listed,
    permit_by_name,
    permit_by_number,
    permit_of,
    recognise,
    verify_identity,
    with_place,
)

__all__ = [
    "MAY",
    "Changes",
    "NotRecognised",
    "Permit",
    "add",
    "admit",
    "change",
    "destination",
    "forget",
    "knocked",
    "listed",
    "permit_by_name",
    "permit_by_number",
    "recent",
    "recognise",
    "remove",
    "verify_identity",
]

_MODALITY: Final = re.compile(r"[A-Z0-9_]{0,16}")


class Changes(TypedDict, total=False):
    """What can be changed of a device. Its name cannot: the audit and what was promised to it go by that.

    ``department`` is a code, empty for none; without a ``passcode`` the old one stays, unless ``username`` is emptied.
    """

    ae_title: str
    host: str
    port: int | None
    may: Collection[str]
    facility: str
    department: str
    modality: str
    tls: bool
    tls_subject: str
    sees_all: bool
    username: str
    passcode: str
    called_as: str


def add(
    name: str,
    *,
    ae_title: str,
    host: str,
    port: int | None = None,
    may: Collection[str] | None = None,
    facility: str | None = None,
    department: str = "",
    modality: str = "",
    tls: bool = False,
    tls_subject: str = "",
    sees_all: bool = False,
    username: str = "",
    passcode: str = "",
    called_as: str = "",
    actor: str,
    address: str = "",
) -> Permit:
    """Admits a device. ``host`` is an address or a network (CIDR); ``passcode`` is kept as a hash only.

    Without ``may``: store, query and retrieve, and receive when it has a port. ``department`` is the code of one of
    its facility's, ``modality`` what kind of images it makes (CT).
    Raises Refused, saying what to change, when something is malformed or taken.
    """
    row = Device(name=_name(name), facility=choose(facility))
    changes: Changes = {
        "ae_title": ae_title,
        "host": host,
        "port": port,
        "may": (MAY if port else MAY[:3]) if may is None else may,
        "department": department,
        "modality": modality,
        "tls": tls,
        "tls_subject": tls_subject,
        "sees_all": sees_all,
        "username": username,
        "passcode": passcode,
        "called_as": called_as,
    }
    _apply(row, changes)
    _check(row)
    with transaction.atomic():
        _save(row)
        _audit("C", row, actor, address)
    forget()
    return permit_of(row)


def change(
    name: str, /, *, version: int | None = None, actor: str, address: str = "", **changes: Unpack[Changes]
) -> Permit:
    """Changes what is named in ``changes`` and leaves the rest as it is; the audit keeps what it was before.

    ``version`` is that of the permit that the caller saw. Raises Changed when somebody else has changed the device
    since, NotThere when there is none, Refused, saying what to change, when something is malformed or taken.
    """
    with transaction.atomic():
        row = _row(name)
        if version is not None and row.version != version:
            raise Changed(f"{row.name} was changed by somebody else meanwhile: look at it again, then change it")
        before = _told(row)
        _apply(row, changes)
        permit = _changed(row, before, actor, address)
    forget()
    return permit


def admit(
    knock: Knock, name: str = "", *, own_ae: str, may: Collection[str] | None = None, port: int | None = None,
    facility: str | None = None, department: str = "", modality: str = "", tls: bool = False, sees_all: bool = False,
    actor: str, address: str = "",
) -> Permit:  # fmt: skip
    """Admits somebody who knocked, and takes the knock off the list.

    - A known device that used another name for the archive: it may use that name.
    - A known device with another certificate: that certificate's subject is its own from now on.
    - Anybody else becomes the new device ``name``; or, where ``name`` is a device with the same AE title,
      that device has moved to the address from which it knocked.

    Without ``name`` it is called by its AE title. Raises Refused when it no longer applies, or when it must be said
    whether a device has moved or is another one.
    """
    with transaction.atomic():
        if knock.reason in ("called-ae", "certificate"):
            row = _nearest(knock)
            before = _told(row)
            if knock.reason == "called-ae":
                row.called_as = knock.called_ae
            elif knock.tls_subject:
                row.tls_subject = knock.tls_subject
            else:
                raise Refused(f"{row.name} must call over TLS and did not: switch TLS on at the device")
            permit = _changed(row, before, actor, address)
        elif not name.strip() and knock.reason == "address":
            raise Refused(
                f"{knock.calling_ae} is admitted at another address: give that device's name if it has moved, "
                "or a new name if this is another one",
                field="name",
            )
        elif moved := with_place().filter(name=name.strip() or None, ae_title=knock.calling_ae).first():
            before = _told(moved)
            moved.host = addresses.written(addresses.network_given(knock.address))
            permit = _changed(moved, before, actor, address)
        else:
            permit = add(
                name.strip() or knock.calling_ae,
                ae_title=knock.calling_ae,
                host=knock.address,
                port=port,
                may=may,
                facility=facility,
                department=department,
                modality=modality,
                tls=tls,
                tls_subject=knock.tls_subject,
                sees_all=sees_all,
                called_as=knock.called_ae if knock.called_ae != own_ae else "",
                actor=actor,
                address=address,
            )
        Knock.objects.filter(calling_ae=knock.calling_ae, address=knock.address).delete()
    forget()
    return permit


def remove(name: str, *, actor: str, address: str = "") -> Permit:
    """Takes a device off the list: within two seconds it is refused. What it did stays in the audit, its images stay.

    Raises NotThere when there is none.
    """
    with transaction.atomic():
        row = _row(name)
        permit = permit_of(row)
        _audit("D", row, actor, address)
        row.delete()
    forget()
    return permit


def _apply(row: Device, changes: Changes) -> None:
    """Writes the changes into the row, each in the form in which it is kept. Raises Refused."""
    if "ae_title" in changes:
        row.ae_title = addresses.ae_title(changes["ae_title"])
    if "host" in changes:
        row.host = addresses.written(addresses.network_given(changes["host"]))
    if "port" in changes:
        row.port = changes["port"]
    if "called_as" in changes:
        text = changes["called_as"]
        row.called_as = addresses.ae_title(text, "called_as") if text.strip() else ""
    if "may" in changes:
        _allow(row, changes["may"])
    if "modality" in changes:
        row.modality = _modality(changes["modality"])
    row.tls = changes.get("tls", row.tls)
    row.tls_subject = changes.get("tls_subject", row.tls_subject).strip()
    row.sees_all = changes.get("sees_all", row.sees_all)
    row.username = changes.get("username", row.username)
    if passcode := changes.get("passcode", ""):
        row.passcode = make_password(passcode)
    elif not row.username:
        row.passcode = ""
    _put(row, changes)


def _put(row: Device, changes: Changes) -> None:
    """Into its facility and its department; one that moves to another facility leaves its department behind."""
    if facility := changes.get("facility"):
        found = choose(facility)
        if found.pk != row.facility.pk:
            row.facility, row.department = found, None
    if "department" in changes:
        row.department = _department(row.facility, changes["department"])


def _allow(row: Device, may: Collection[str]) -> None:
    for word in may:
        if word not in MAY:
            raise Refused(f"{word!r} is no permission (there are: {', '.join(MAY)})", field="may")
    for word in MAY:
        setattr(row, f"may_{word}", word in may)


def _department(facility: Facility, code: str) -> Department | None:
    wanted = code.strip()
    if not wanted:
        return None
    departments = {row.code.casefold(): row for row in Department.objects.filter(facility=facility).order_by("code")}
    found = departments.get(wanted.casefold())
    if found is None:
        known = ", ".join(row.code for row in departments.values()) or "none yet"
        raise Refused(f"{facility.code} has no department {code!r} (known: {known})", field="department")
    return found


def _changed(row: Device, before: dict[str, Any], actor: str, address: str) -> Permit:
    _check(row)
    row.version += 1
    _save(row)
    now = _told(row)
    was = {key: value for key, value in before.items() if now[key] != value}
    if was.keys() & {"ae_title", "host", "port", "tls"}:
        liveness.forget(row)
    _audit("U", row, actor, address, was)
    return permit_of(row)


def _save(row: Device) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        if Device.objects.filter(name=row.name).exclude(pk=row.pk).exists():
            raise Refused(f"There is a device {row.name!r} already", field="name") from None
        raise Refused(
            f"A device with AE title {row.ae_title} at {row.host} is admitted already", field="ae_title"
        ) from None


def _check(row: Device) -> None:
    """What must hold between a device's fields."""
    if row.port is not None and not 1 <= row.port <= 65535:
        raise Refused("A port is a number from 1 to 65535", field="port")
    if row.port is not None and addresses.network(row.host).num_addresses > 1:
        raise Refused(
            f"{row.host} is a network: a port needs the one address at which the device listens", field="host"
        )
    if row.passcode and not row.username:
        raise Refused("A passcode needs a user name", field="username")
    if len(row.username) > 128:
        raise Refused("A user name has at most 128 characters", field="username")
    if len(row.tls_subject) > 256:
        raise Refused("A certificate's subject has at most 256 characters", field="tls_subject")
    if row.may_receive:
        if row.port is None:
            raise Refused("To receive images, a device needs the port at which it listens", field="port")
        others = Device.objects.filter(ae_title=row.ae_title, may_receive=True).exclude(pk=row.pk)
        if other := others.first():
            raise Refused(
                f"Images for {row.ae_title} go to {other.name} at {other.host} already: "
                "two destinations cannot have the same AE title",
                field="ae_title",
            )


def _nearest(knock: Knock) -> Device:
    """The row of the device that `recognise` found for this knock."""
    peer = addresses.address(knock.address)
    rows = [
        row
        for row in with_place().filter(ae_title=knock.calling_ae)
        if peer is not None and peer in addresses.network(row.host)
    ]
    if not rows:
        raise Refused(f"{knock.calling_ae} at {knock.address} is no admitted device any more")
    return max(rows, key=lambda row: addresses.network(row.host).prefixlen)


def _row(name: str) -> Device:
    # Locked (where the database can): of two changes at the same time, the second sees what the first wrote.
    row = with_place().select_for_update(of=("self",)).filter(name=name.strip()).first()
    if row is None:
        raise NotThere(f"There is no device {name!r}")
    return row


def _name(text: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise Refused("A device has a name of 1 to 64 printable characters", field="name")
    return name


def _modality(text: str) -> str:
    modality = text.strip().upper()
    if not _MODALITY.fullmatch(modality):
        raise Refused(f"{text!r} is no modality: write CT, MR, US, CR, DX ... (PS3.3 §C.7.3.1.1.1)", field="modality")
    return modality


def _told(row: Device) -> dict[str, Any]:
    """What the audit keeps of a device."""
    permit = permit_of(row)
    return {
        "device": permit.name,
        "ae_title": permit.ae_title,
        "host": permit.host,
        "port": permit.port,
        "facility": permit.facility,
        "department": permit.department,
        "modality": permit.modality,
        "may": list(permit.may),
        "tls": permit.tls,
        "tls_subject": permit.tls_subject,
        "called_as": permit.called_as,
        "sees_all": permit.sees_all,
        "identity": bool(permit.username),
    }


def _audit(action: str, row: Device, actor: str, address: str, before: dict[str, Any] | None = None) -> None:
    """PS3.15 A.5.3.11, Security Alert; Network Configuration."""
    detail = {"type": Type.NETWORK_CONFIGURATION, **_told(row)}
    if before is not None:
        detail["before"] = before
    record(Entry(Code.SECURITY_ALERT, action, actor, address=address, facility=row.facility.code, detail=detail))
