"""The people of the tests, all invented. Each stands for what somebody may, and may not, do."""

from __future__ import annotations

import functools
from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """Somebody who works with the archive, at which hospital, and through which device.

    ``facility`` is the hospital's code, ``issuer`` the authority that numbers its patients, ``ae_title`` the name
    of the device at which they sit.
    """

    name: str
    role: str
    facility: str
    issuer: str
    ae_title: str


RADIOGRAPHER = Person("Rumbi Radiographer", "radiographer", "GRANARY", "GRANARY-HOSPITAL", "CT1")
"""Sends images from the scanner of the hospital that runs the archive."""

ADMINISTRATOR = Person("Alois Administrator", "pacs_admin", "GRANARY", "GRANARY-HOSPITAL", "ADMIN1")
"""Looks after the archive and sees everything in it."""

STRANGER = Person("Olga Otherhospital", "radiologist", "ELSEWHERE", "ELSEWHERE-HOSPITAL", "VIEW9")
"""Works at another hospital and must never see the patients of this one."""

EVERYBODY = (RADIOGRAPHER, ADMINISTRATOR, STRANGER)


@dataclass(frozen=True)
class Account:
    """Somebody with an account for the console and the API: one for each role, at one hospital (None: all)."""

    username: str
    full_name: str
    role: str
    facility: str | None = None
    referring_names: tuple[str, ...] = ()


ACCOUNTS: dict[str, Account] = {
    account.role: account
    for account in (
        Account("rradiologist", "Rudo Radiologist", "radiologist"),
        Account("rradiographer", "Rumbi Radiographer", "radiographer"),
        Account("rreferrer", "Ruth Referrer", "referrer", referring_names=("Referrer^Ruth",)),
        Account("orecords", "Onai Records", "records_officer"),
        Account("aadministrator", "Alois Administrator", "pacs_admin"),
        Account("iitperson", "Itai Itperson", "it_support"),
        Account("dprotector", "Dadirai Protector", "dpo"),
        Account("mmanager", "Mandla Manager", "manager"),
        Account("sstudent", "Sihle Student", "student"),
        Account("rresearcher", "Rejoice Researcher", "researcher"),
        Account("mministry", "Melusi Ministry", "ministry"),
        Account("vvendor", "Vimbai Vendor", "vendor"),
        Account("sservice", "Some Service", "service"),
    )
}
"""One person for each role that every archive begins with, by the role; all invented."""

PASSWORD = "a granary keeps the harvest dry"


def settle(account: Account, *, facility: str | None = None, **grant: object) -> int:
    """Gives somebody an active account with the role, at a facility (made when new) or everywhere; returns its id.

    Straight into the tables: for tests of what people may do, not of how they come in.
    """
    from datetime import timedelta

    from allauth.mfa.models import Authenticator
    from allauth.mfa.totp.internal.auth import TOTP
    from django.utils import timezone

    from hozi.accounts import models
    from hozi.facilities.models import Facility

    code = facility or account.facility
    username = account.username if code is None else f"{account.username}.{code.lower()}"
    now = timezone.now()
    person, new = models.Person.objects.get_or_create(
        username=username,
        defaults={
            "full_name": account.full_name,
            "state": "active",
            "is_active": True,
            "password": _hashed(),
            "referring_names": list(account.referring_names),
            "requested_at": now,
            "activated_at": now,
            "ends_on": (now + timedelta(days=90)).date()
            if account.role in ("student", "researcher", "vendor")
            else None,
        },
    )
    if new:
        TOTP.activate(person, TOTP_SECRET)
        assert Authenticator.objects.filter(user=person).count() == 1
    place = None
    if code is not None:
        place, _ = Facility.objects.get_or_create(
            code=code, defaults={"name": code.title(), "issuer": f"{code}-HOSPITAL"}
        )
    models.Grant.objects.create(
        person=person,
        role=models.Role.objects.get(key=account.role),
        facility=place,
        granted_at=now,
        granted_by="test",
        **grant,
    )
    return int(person.pk)


TOTP_SECRET = "JBSWY3DPEHPK3PXP"


@functools.cache
def _hashed() -> str:
    """`PASSWORD` as it is kept: made once, since making it is slow on purpose."""
    from django.contrib.auth.hashers import make_password

    return make_password(PASSWORD)
