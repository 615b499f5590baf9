"""What can be chosen in forms about people: facilities and departments in reach, roles, and how states look."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts import authorise, roles
from hozi.accounts.authorise import Who
from hozi.facilities import departments, places

Choices = list[tuple[str, str]]

STATES: Final[dict[str, tuple[str, str | Promise]]] = {
    "requested": ("wait", gettext_lazy("Requested")),
    "approved": ("wait", gettext_lazy("Approved")),
    "invited": ("wait", gettext_lazy("Invited")),
    "active": ("ok", gettext_lazy("Active")),
    "suspended": ("warn", gettext_lazy("Suspended")),
    "disabled": ("off", gettext_lazy("Disabled")),
}
"""How each state of an account looks: the kind of `state`, and the word."""


class Day(forms.DateInput):
    """A day, with the browser's own calendar."""

    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


def facilities(who: Who, permission: str) -> Choices:
    """The facilities that the permission reaches; *all* comes last, as it is what is seldom meant."""
    within = authorise.facilities(who, permission)
    every: Choices = [("", _("All facilities"))] if within is None else []
    return [*((place.code, f"{place.name} ({place.code})") for place in places.listed(within)), *every]


def scopes(who: Who, permission: str) -> Choices:
    """`facilities`, each followed by its departments as ``CODE/PART``."""
    within = authorise.facilities(who, permission)
    found: Choices = []
    for place in places.listed(within):
        found.append((place.code, f"{place.name} ({place.code})"))
        if place.departments:
            found += [
                (f"{place.code}/{part.code}", f"{place.code}: {part.name}") for part in departments.listed(place.code)
            ]
    return [*found, ("", _("All facilities"))] if within is None else found


def roles_to_give(who: Who) -> Choices:
    """The roles of which who asks holds every permission somewhere; how far, the room asks."""
    return [
        (role.key, role.name)
        for role in roles.listed()
        if all(authorise.may(who, permission) for permission in role.permissions)
    ]


def all_roles() -> Choices:
    """All roles, by name."""
    return [(role.key, role.name) for role in roles.listed()]


def set_choices(form: forms.Form, name: str, choices: Choices, *, empty: str | None = None) -> None:
    """Gives a field of the form its choices; ``empty``: a first one for none."""
    field: Any = form.fields[name]
    field.choices = choices if empty is None else [("", empty), *choices]
