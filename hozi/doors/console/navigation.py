"""The places of the console: what stands in its navigation, for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hozi.accounts import authorise
from hozi.accounts.authorise import Who


@dataclass(frozen=True, slots=True)
class Place:
    """One entry: ``name`` is that of its URL, and what pages of it give as ``place``; ``keys``: g and that letter."""

    name: str
    label: str | Promise
    icon: str
    permissions: tuple[str, ...] = ()
    keys: str = ""


PLACES: Final[tuple[Place, ...]] = (
    Place("home", _("Home"), "home", keys="h"),
    Place("studies", _("Studies"), "photo", ("studies.find",), "s"),
    Place("upload", _("Upload"), "upload", ("studies.store",), "u"),
    Place("exceptions", _("Exceptions"), "alert-triangle", ("exceptions.see",), "e"),
    Place("devices", _("Devices"), "device-desktop", ("devices.see",), "d"),
    Place("people", _("People"), "users", ("people.see",), "p"),
    Place("facilities", _("Facilities"), "building-hospital", ("facilities.see",), "f"),
    Place("audit", _("Audit"), "list-search", ("audit.read",), "a"),
    Place("settings", _("Settings"), "settings", ("settings.see",), "o"),
    Place("about", _("About"), "info-circle"),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A place as the page shows it."""

    place: Place
    url: str
    current: bool


def shown(request: HttpRequest, current: str) -> list[Shown]:
    """The places that whoever asks may open; ``current`` names the one where they are."""
    who: Who = request.who  # type: ignore[attr-defined]
    entries = []
    for place in PLACES:
        if place.permissions and not any(authorise.may(who, permission) for permission in place.permissions):
            continue
        try:
            entries.append(Shown(place, reverse(place.name), place.name == current))
        except NoReverseMatch:
            continue
    return entries
