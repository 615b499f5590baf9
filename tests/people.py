"""The people of the tests, all invented. Each stands for what somebody may, and may not, do."""

from __future__ import annotations

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
