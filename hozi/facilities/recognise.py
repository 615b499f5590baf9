"""Who is calling: an admitted device, or somebody of whom something does not fit."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from django.contrib.auth.hashers import check_password
from django.db.models import QuerySet
from django.utils.crypto import constant_time_compare

from hozi.core.errors import NotThere
from hozi.facilities import addresses
from hozi.facilities.models import Device

MAY = ("store", "query", "retrieve", "receive")
"""What a device can be allowed to do; `receive`: images may be sent to it (C-MOVE destination)."""

Reason = Literal["calling-ae", "called-ae", "address", "certificate"]


@dataclass(frozen=True, slots=True)
class Permit:
    """A device and what it may do, as the doors need it.

    ``facility`` and ``department`` (of that facility; empty: none) are codes; ``version`` counts the changes to it;
    ``number`` names it in addresses of pages.
    """

    name: str
    ae_title: str
    host: str
    facility: str
    issuer: str
    department: str = ""
    modality: str = ""
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
    version: int = 1
    number: int = 0

    @property
    def may(self) -> tuple[str, ...]:
        """The permissions that it has, in the words of `MAY`."""
        return tuple(word for word in MAY if getattr(self, f"may_{word}"))


@dataclass(frozen=True, slots=True)
class NotRecognised:
    """Somebody who is not admitted, and the first thing about it that does not fit."""

    reason: Reason


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
    peer = addresses.address(address)
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
        self._entries: dict[str, list[tuple[addresses.Network, Permit]]] = {}

    def by_ae_title(self) -> dict[str, list[tuple[addresses.Network, Permit]]]:
        with self._lock:
            now = time.monotonic()
            if self._read_at is None or now - self._read_at >= self.SECONDS:
                entries = defaultdict(list)
                for permit in listed():
                    entries[permit.ae_title].append((addresses.network(permit.host), permit))
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
    return [permit_of(row) for row in with_place().order_by("name")]


def permit_by_name(name: str) -> Permit | None:
    """The device of that name, as it is now; None when there is none (any more)."""
    row = with_place().filter(name=name.strip()).first()
    return permit_of(row) if row else None


def permit_by_number(number: int, within: Collection[str] | None = None) -> Permit:
    """The device of that number, in one of these facilities (None: any), as it is now. Raises NotThere."""
    row = with_place().filter(pk=number).first()
    if row is None or (within is not None and row.facility.code not in within):
        raise NotThere("There is no such device (any more)")
    return permit_of(row)


def with_place() -> QuerySet[Device]:
    """The rows of all devices, each with its facility and department."""
    return Device.objects.select_related("facility", "department")


def permit_of(row: Device) -> Permit:
    """What the row says, as the doors need it."""
    return Permit(
        name=row.name,
        ae_title=row.ae_title,
        host=row.host,
        facility=row.facility.code,
        issuer=row.facility.issuer,
        department=row.department.code if row.department else "",
        modality=row.modality,
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
        version=row.version,
        number=row.pk,
    )
