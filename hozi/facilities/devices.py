"""Devices: who may talk to the archive. Everybody else is refused and listed as having knocked."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from django.contrib.auth.hashers import check_password, make_password
from django.db import IntegrityError, transaction
from django.utils.crypto import constant_time_compare

from hozi.audit.record import Code, Entry, record
from hozi.core.errors import Refused
from hozi.facilities.knocks import knocked, recent
from hozi.facilities.models import Device, Knock
from hozi.facilities.places import choose

__all__ = [
    "MAY",
    "NotRecognised",
    "Permit",
    "add",
    "admit",
    "destination",
    "forget",
    "knocked",
    "listed",
    "permit_by_name",
    "recent",
    "recognise",
    "remove",
    "verify_identity",
]

MAY = ("store", "query", "retrieve", "receive")
"""What a device can be allowed to do; `receive`: images may be sent to it (C-MOVE destination)."""

Reason = Literal["calling-ae", "called-ae", "address", "certificate"]
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Permit:
    """A device and what it may do, as the doors need it."""

    name: str
    ae_title: str
    host: str
    facility: str
    issuer: str
    port: int | None = None
    tls: bool = False
    tls_subject: str = ""
    called_as: str = ""
    username: str = ""
    passcode: str = field(default="", repr=False)
    may_store: bool = False
    may_query: bool = False
    may_retrieve: bool = False
    may_receive: bool = False
    sees_all: bool = False
    department: str = ""

    @property
    def facilities(self) -> Collection[str] | None:
        """Whose studies it may see; None: everybody's."""
        return None if self.sees_all else (self.facility,)

    @property
    def may(self) -> tuple[str, ...]:
        """The permissions that it has, in the words of `MAY`."""
        return tuple(word for word in MAY if getattr(self, f"may_{word}"))


@dataclass(frozen=True, slots=True)
class NotRecognised:
    """Somebody who is not admitted, and the first thing about it that does not fit."""

    reason: Reason


# Recognising ---------------------------------------------------------------------------------------


def recognise(calling_ae: str, called_ae: str, address: str, tls_subject: str, own_ae: str) -> Permit | NotRecognised:
    """Says which device is calling, by AE title, address and certificate; or what does not fit.

    AE titles are compared exactly, after leading and trailing spaces (PS3.5 §6.2: not significant).
    Several devices may share an AE title; the one with the narrowest network around ``address`` counts,
    and its certificate subject (when it has one) must be ``tls_subject``. ``called_ae`` must be
    ``own_ae`` or the other name that this device may use. A device that has been removed may be known for two seconds
    more; one that has been admitted is known at once.
    """
    known = _recognised(calling_ae, called_ae, address, tls_subject, own_ae)
    if isinstance(known, NotRecognised):
        forget()
        known = _recognised(calling_ae, called_ae, address, tls_subject, own_ae)
    return known


def _recognised(calling_ae: str, called_ae: str, address: str, tls_subject: str, own_ae: str) -> Permit | NotRecognised:
    candidates = _directory.by_ae_title().get(calling_ae.strip())
    if not candidates:
        return NotRecognised("calling-ae")
    peer = _address(address)
    near = [entry for entry in candidates if peer is not None and peer in entry[0]]
    if not near:
        return NotRecognised("address")
    _, permit = max(near, key=lambda entry: entry[0].prefixlen)
    if permit.tls_subject and permit.tls_subject != tls_subject:
        return NotRecognised("certificate")
    if called_ae.strip() not in {own_ae, permit.called_as or own_ae}:
        return NotRecognised("called-ae")
    return permit


def destination(ae_title: str) -> Permit | None:
    """The device to which images for that AE title are sent: it may receive and has a port. Else None."""
    known = _destination(ae_title)
    if known is None:
        forget()
        known = _destination(ae_title)
    return known


def _destination(ae_title: str) -> Permit | None:
    for _, permit in _directory.by_ae_title().get(ae_title.strip(), ()):
        if permit.may_receive and permit.port:
            return permit
    return None


def verify_identity(device: Permit, username: str, passcode: str) -> bool:
    """Whether that is the user identity (PS3.7 §D.3.3.7) that the device must present; True when it need not.

    A device with a user name but no passcode must present the name alone.
    """
    if not device.username:
        return True
    same_name = constant_time_compare(device.username, username)
    # A wrong name costs as much time as a wrong passcode, so that names cannot be found out by the clock.
    same_passcode = not device.passcode or check_password(passcode, device.passcode)
    return same_name and same_passcode


class _Directory:
    """All devices by AE title, read again when older than two seconds: a call of one that is known costs nothing."""

    SECONDS = 2.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._entries: dict[str, list[tuple[_Network, Permit]]] = {}

    def by_ae_title(self) -> dict[str, list[tuple[_Network, Permit]]]:
        with self._lock:
            now = time.monotonic()
            if self._read_at is None or now - self._read_at >= self.SECONDS:
                entries = defaultdict(list)
                for permit in listed():
                    entries[permit.ae_title].append((_network(permit.host), permit))
                self._entries, self._read_at = dict(entries), now
            return self._entries

    def forget(self) -> None:
        with self._lock:
            self._read_at = None


_directory = _Directory()


def forget() -> None:
    """Reads the devices again at the next question, whatever was read before."""
    _directory.forget()


def listed() -> list[Permit]:
    """All devices, by name."""
    return [_permit(row) for row in Device.objects.select_related("facility", "department").order_by("name")]


def permit_by_name(name: str) -> Permit | None:
    """The device of that name, as it is now; None when there is none (any more)."""
    row = Device.objects.select_related("facility", "department").filter(name=name.strip()).first()
    return _permit(row) if row else None


# Changing ------------------------------------------------------------------------------------------


def add(
    name: str,
    *,
    ae_title: str,
    host: str,
    port: int | None = None,
    may: Collection[str] | None = None,
    facility: str | None = None,
    tls: bool = False,
    tls_subject: str = "",
    sees_all: bool = False,
    username: str = "",
    passcode: str = "",
    called_as: str = "",
    actor: str,
) -> Permit:
    """Admits a device. ``host`` is an address or a network (CIDR); ``passcode`` is kept as a hash only.

    Without ``may``: store, query and retrieve, and receive when it has a port.
    Raises Refused, saying what to change, when something is malformed or taken.
    """
    if may is None:
        may = MAY if port else MAY[:3]
    row = Device(
        name=_name(name),
        ae_title=_ae_title(ae_title),
        host=_written(_network_given(host)),
        port=port,
        tls=tls,
        tls_subject=tls_subject.strip(),
        called_as=_ae_title(called_as) if called_as.strip() else "",
        username=username,
        passcode=make_password(passcode) if passcode else "",
        facility=choose(facility),
        sees_all=sees_all,
    )
    for word in may:
        if word not in MAY:
            raise Refused(f"{word!r} is no permission (there are: {', '.join(MAY)})")
        setattr(row, f"may_{word}", True)
    _check(row)
    with transaction.atomic():
        _save(row)
        _audit("C", row, actor)
    forget()
    return _permit(row)


def admit(
    knock: Knock, name: str = "", *, own_ae: str, may: Collection[str] | None = None, port: int | None = None,
    facility: str | None = None, tls: bool = False, sees_all: bool = False, actor: str,
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
            if knock.reason == "called-ae":
                row.called_as = knock.called_ae
            elif knock.tls_subject:
                row.tls_subject = knock.tls_subject
            else:
                raise Refused(f"{row.name} must call over TLS and did not: switch TLS on at the device")
            permit = _change(row, actor)
        elif not name.strip() and knock.reason == "address":
            raise Refused(
                f"{knock.calling_ae} is admitted at another address: give that device's name if it has moved, "
                "or a new name if this is another one"
            )
        elif moved := Device.objects.filter(name=name.strip() or None, ae_title=knock.calling_ae).first():
            moved.host = _written(_network_given(knock.address))
            permit = _change(moved, actor)
        else:
            permit = add(
                name.strip() or knock.calling_ae,
                ae_title=knock.calling_ae,
                host=knock.address,
                port=port,
                may=may,
                facility=facility,
                tls=tls,
                tls_subject=knock.tls_subject,
                sees_all=sees_all,
                called_as=knock.called_ae if knock.called_ae != own_ae else "",
                actor=actor,
            )
        Knock.objects.filter(calling_ae=knock.calling_ae, address=knock.address).delete()
    forget()
    return permit


def remove(name: str, *, actor: str) -> Permit:
    """Takes a device off the list: within two seconds it is refused. Raises Refused when there is none."""
    with transaction.atomic():
        row = _row(name)
        permit = _permit(row)
        _audit("D", row, actor)
        row.delete()
    forget()
    return permit


def _change(row: Device, actor: str) -> Permit:
    _check(row)
    _save(row)
    _audit("U", row, actor)
    return _permit(row)


def _save(row: Device) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        if Device.objects.filter(name=row.name).exclude(pk=row.pk).exists():
            raise Refused(f"There is a device {row.name!r} already") from None
        raise Refused(f"A device with AE title {row.ae_title} at {row.host} is admitted already") from None


def _check(row: Device) -> None:
    """What must hold between a device's fields."""
    if row.port is not None and not 1 <= row.port <= 65535:
        raise Refused("A port is a number from 1 to 65535")
    if row.port is not None and _network(row.host).num_addresses > 1:
        raise Refused(f"{row.host} is a network: a port needs the one address at which the device listens")
    if row.passcode and not row.username:
        raise Refused("A passcode needs a user name")
    if len(row.username) > 128 or len(row.tls_subject) > 256:
        raise Refused("A user name has at most 128 characters, a certificate subject 256")
    if row.may_receive:
        if row.port is None:
            raise Refused("To receive images, a device needs the port at which it listens")
        others = Device.objects.filter(ae_title=row.ae_title, may_receive=True).exclude(pk=row.pk)
        if other := others.first():
            raise Refused(
                f"Images for {row.ae_title} go to {other.name} at {other.host} already: "
                "two destinations cannot have the same AE title"
            )


def _nearest(knock: Knock) -> Device:
    """The row of the device that `recognise` found for this knock."""
    peer = _address(knock.address)
    rows = [
        row
        for row in Device.objects.select_related("facility", "department").filter(ae_title=knock.calling_ae)
        if peer is not None and peer in _network(row.host)
    ]
    if not rows:
        raise Refused(f"{knock.calling_ae} at {knock.address} is no admitted device any more")
    return max(rows, key=lambda row: _network(row.host).prefixlen)


def _row(name: str) -> Device:
    row = Device.objects.select_related("facility", "department").filter(name=name.strip()).first()
    if row is None:
        raise Refused(f"There is no device {name!r}")
    return row


def _permit(row: Device) -> Permit:
    return Permit(
        name=row.name,
        ae_title=row.ae_title,
        host=row.host,
        facility=row.facility.code,
        issuer=row.facility.issuer,
        port=row.port,
        tls=row.tls,
        tls_subject=row.tls_subject,
        called_as=row.called_as,
        username=row.username,
        passcode=row.passcode,
        may_store=row.may_store,
        may_query=row.may_query,
        may_retrieve=row.may_retrieve,
        may_receive=row.may_receive,
        sees_all=row.sees_all,
        department=row.department.code if row.department else "",
    )


def _audit(action: str, row: Device, actor: str) -> None:
    """PS3.15 A.5.3.11, Security Alert; 110128, Network Configuration."""
    permit = _permit(row)
    detail = {
        "type": "110128",
        "device": permit.name,
        "ae_title": permit.ae_title,
        "host": permit.host,
        "port": permit.port,
        "facility": permit.facility,
        "may": list(permit.may),
        "tls_subject": permit.tls_subject,
        "called_as": permit.called_as,
        "sees_all": permit.sees_all,
        "identity": bool(permit.username),
    }
    record(Entry(Code.SECURITY_ALERT, action, actor, detail=detail))


# Names and addresses -------------------------------------------------------------------------------


def _name(text: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise Refused("A device has a name of 1 to 64 printable characters")
    return name


def _ae_title(text: str) -> str:
    """PS3.5 §6.2, AE: 1 to 16 characters of the default repertoire, no control characters, no backslash."""
    title = text.strip()
    if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        raise Refused(f"{text!r} is no AE title: 1 to 16 printable ASCII characters and no backslash")
    return title


def _address(text: str) -> _Address | None:
    """The address, an IPv4 one out of its IPv6 clothes (``::ffff:192.168.1.20``)."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@cache
def _network(text: str) -> _Network:
    return ipaddress.ip_network(text)


def _network_given(text: str) -> _Network:
    """What a person wrote as an address or network. Raises Refused, with what would be right."""
    if address := _address(text):
        return ipaddress.ip_network(str(address).partition("%")[0])
    try:
        given = ipaddress.ip_interface(text.strip())
    except ValueError:
        raise Refused(
            f"{text!r} is no address: write 192.168.1.20, a network such as 192.168.1.0/24, or IPv6"
        ) from None
    if given.ip != given.network.network_address:
        raise Refused(f"{text!r} is both: write {given.network} for the network or {given.ip} for one device")
    return given.network


def _written(network: _Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)
