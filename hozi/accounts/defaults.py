"""The roles that every archive begins with (requirement R298). Roles are data: each can be changed, others be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hozi.accounts.permissions import PERMISSIONS

_ALL: Final = frozenset(permission.key for permission in PERMISSIONS)


@dataclass(frozen=True, slots=True)
class DefaultRole:
    """A role as delivered. ``needs_end``: whoever holds it must have an end date."""

    key: str
    name: str
    description: str
    permissions: frozenset[str]
    own_referrals: bool = False
    deidentified: bool = False
    needs_end: bool = False


def _of(text: str) -> frozenset[str]:
    return frozenset(text.split())


DEFAULT_ROLES: Final[tuple[DefaultRole, ...]] = (
    DefaultRole(
        "radiologist",
        "Radiologist",
        "Reads studies and their priors.",
        _of(
            "studies.find studies.open studies.download studies.export studies.print studies.mark exceptions.see"
            " emergency.use totals.see"
        ),
    ),
    DefaultRole(
        "radiographer",
        "Radiographer",
        "Makes studies, and sees that they arrive complete.",
        _of(
            "studies.find studies.open studies.store studies.export studies.print studies.mark exceptions.see"
            " devices.see emergency.use"
        ),
    ),
    DefaultRole(
        "referrer",
        "Referring clinician",
        "Sees the studies that they asked for.",
        _of("studies.find studies.open studies.print emergency.use"),
        own_referrals=True,
    ),
    DefaultRole(
        "records_officer",
        "Records officer",
        "Keeps patients and studies straight; gives copies out.",
        _of(
            "studies.find studies.correct studies.export studies.print exceptions.see exceptions.decide people.request"
        ),
    ),
    DefaultRole(
        "pacs_admin",
        "PACS administrator",
        "Looks after the archive, its devices and its people.",
        _ALL - {"studies.receive"},
    ),
    DefaultRole(
        "it_support",
        "IT support and helpdesk",
        "Keeps the system running; sees no patients.",
        _of("exceptions.see devices.see facilities.see settings.see system.see people.see people.request totals.see"),
    ),
    DefaultRole(
        "dpo",
        "Data protection officer and auditor",
        "Sees who did what; reviews access.",
        _of(
            "audit.read audit.export emergency.review reviews.decide people.see facilities.see settings.see totals.see"
            " system.see"
        ),
    ),
    DefaultRole(
        "manager",
        "Manager",
        "Sees figures, people and facilities; requests accounts and attests them.",
        _of("totals.see people.see people.request facilities.see reviews.decide system.see"),
    ),
    DefaultRole(
        "student",
        "Student",
        "Learns from studies in which nobody can be recognised.",
        _of("studies.find studies.open"),
        deidentified=True,
        needs_end=True,
    ),
    DefaultRole(
        "researcher",
        "Researcher",
        "Works with studies in which nobody can be recognised.",
        _of("studies.find studies.open studies.download"),
        deidentified=True,
        needs_end=True,
    ),
    DefaultRole(
        "ministry",
        "Ministry",
        "Oversees many facilities by totals; sees no patients.",
        _of("totals.see facilities.see system.see"),
    ),
    DefaultRole(
        "vendor",
        "Vendor",
        "Helps with devices and settings for a time; sees no patients.",
        _of("devices.see settings.see system.see"),
        needs_end=True,
    ),
    DefaultRole(
        "service",
        "Program",
        "Another system that stores and fetches with a token.",
        _of("studies.find studies.open studies.download studies.store"),
    ),
)
