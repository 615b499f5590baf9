"""Everything that somebody may be allowed to do: one list, and roles choose from it.

A permission that concerns studies (`Permission.studies`) reaches as far as the scope of the grant that gives it: a
facility, a department, a modality, one's own referrals, de-identified studies. Any other reaches as far as its
facility.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TokenScope = Literal["read", "write", "admin"]


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing that can be allowed. ``scope``: what a token must be made for to use it."""

    key: str
    label: str | Promise
    scope: TokenScope
    studies: bool = False


PERMISSIONS: Final[tuple[Permission, ...]] = (
    Permission("studies.find", _("Search studies and see their lists"), "read", studies=True),
    Permission("studies.open", _("Open images and reports"), "read", studies=True),
    Permission("studies.download", _("Download studies"), "read", studies=True),
    Permission("studies.export", _("Export studies to media and other systems"), "write", studies=True),
    Permission("studies.print", _("Print images"), "read", studies=True),
    Permission("studies.mark", _("Mark key images"), "write", studies=True),
    Permission("studies.store", _("Bring studies into the archive"), "write", studies=True),
    Permission("studies.correct", _("Correct patients and studies, and undo corrections"), "write", studies=True),
    Permission("studies.reject", _("Reject images, and take that back"), "write", studies=True),
    Permission("studies.receive", _("Be sent images by the archive"), "read", studies=True),
    Permission("exceptions.see", _("See what lies in quarantine"), "read"),
    Permission("exceptions.decide", _("Take in or discard what lies in quarantine"), "write"),
    Permission("devices.see", _("See devices and who knocked"), "read"),
    Permission("devices.change", _("Admit, change and remove devices"), "admin"),
    Permission("people.see", _("See people and what they may do"), "read"),
    Permission("people.request", _("Request accounts for others"), "write"),
    Permission("people.approve", _("Approve, invite, suspend and disable accounts"), "admin"),
    Permission("people.grant", _("Give and take roles"), "admin"),
    Permission("roles.change", _("Change what roles may do"), "admin"),
    Permission("reviews.decide", _("Decide in access reviews"), "admin"),
    Permission("emergency.use", _("Use emergency access, with a reason"), "write"),
    Permission("emergency.review", _("Review emergency access"), "admin"),
    Permission("facilities.see", _("See facilities and departments"), "read"),
    Permission("facilities.change", _("Change organisations, facilities and departments"), "admin"),
    Permission("audit.read", _("Read the audit"), "admin"),
    Permission("audit.export", _("Export the audit"), "admin"),
    Permission("settings.see", _("See settings"), "read"),
    Permission("settings.change", _("Change settings"), "admin"),
    Permission("totals.see", _("See totals without patients"), "read"),
    Permission("system.see", _("See the state of the system"), "read"),
)

BY_KEY: Final[dict[str, Permission]] = {permission.key: permission for permission in PERMISSIONS}

#: What each word of a device's permissions (`facilities.devices.MAY`) means in this list.
OF_DEVICE: Final[dict[str, str]] = {
    "store": "studies.store",
    "query": "studies.find",
    "retrieve": "studies.open",
    "receive": "studies.receive",
}


def of_token(scopes: frozenset[str] | set[str]) -> frozenset[str]:
    """The permissions that a token made for these scopes can use, of those that its person has."""
    return frozenset(permission.key for permission in PERMISSIONS if permission.scope in scopes)
