"""Roles in the browser: the list, one of them to change, a new one, and the matrix of what all may do."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts import authorise, roles
from hozi.accounts.authorise import Scope, Who
from hozi.accounts.permissions import PERMISSIONS
from hozi.core import sheets
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.forms import Form
from hozi.doors.console.people.tables import as_csv

_CHANGE = roles.CHANGE


class Shape(Form):
    """What a role is."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=64)
    description = forms.CharField(label=gettext_lazy("For whom it is"), max_length=200, required=False)
    permissions = forms.MultipleChoiceField(
        label=gettext_lazy("May"),
        choices=[(permission.key, permission.label) for permission in PERMISSIONS],
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    own_referrals = forms.BooleanField(
        label=gettext_lazy("Whoever holds it sees only studies that they asked for"), required=False
    )
    deidentified = forms.BooleanField(
        label=gettext_lazy("Whoever holds it sees only studies in which nobody can be recognised"), required=False
    )
    needs_end = forms.BooleanField(label=gettext_lazy("Whoever holds it needs a last day"), required=False)


class New(Shape):
    """A role that is to come."""

    field_order = ["key"]
    key = forms.CharField(
        label=gettext_lazy("Short name"),
        max_length=32,
        help_text=gettext_lazy("Small letters, digits and _: night_reader. It never changes."),
    )


class Change(Shape):
    """A role that is there."""

    version = forms.IntegerField(widget=forms.HiddenInput)


@page("people.see", _CHANGE)
def listing(request: Request) -> HttpResponse:
    """All roles."""
    context = {"place": "people", "tab": "roles", "roles": roles.listed(), "may_change": _may_change(request.who)}
    return render(request, "console/people/roles.html", context)


@page("people.see", _CHANGE, post=_CHANGE)
def role(request: Request, key: str) -> HttpResponse:
    """One role: what it may do; changed for everybody who holds it."""
    shape = roles.of(key)
    form = Change(request.POST or None, initial=_known(shape))
    may_change = _may_change(request.who)
    if not may_change:
        for field in form.fields.values():
            field.disabled = True
    if request.method == "POST" and form.take(roles.change, who=request.who, key=key) is not None:
        return acts.done(request, _("The role is changed; it counts at once."), "role", key)
    context = {"place": "people", "tab": "roles", "role": shape, "form": form, "may_change": may_change}
    return render(request, "console/people/role.html", context)


@page(_CHANGE, post=_CHANGE)
def new(request: Request) -> HttpResponse:
    """Makes a role; ``like`` is one to begin with."""
    like = request.GET.get("like", "")
    initial: dict[str, Any] = {}
    if like:
        initial = {**_known(roles.of(like)), "name": ""}
    form = New(request.POST or None, initial=initial)
    if request.method == "POST":
        made = form.take(roles.create, who=request.who)
        if made is not None:
            return acts.done(request, _("The role %(name)s is made.") % {"name": made.name}, "role", made.key)
    return render(
        request, "console/people/role.html", {"place": "people", "tab": "roles", "form": form, "may_change": True}
    )


@action(_CHANGE)
def remove(request: Request, key: str) -> HttpResponse:
    """Removes a role that nobody ever held."""
    version = request.POST.get("version", "")
    try:
        roles.delete(request.who, key, version=int(version) if version.isdigit() else 0)
    except NotThere:
        raise
    except Refused as error:
        return acts.not_done(request, str(error), "role", key)
    return acts.done(request, _("The role is removed."), "roles")


@page("people.see", _CHANGE)
def matrix(request: Request) -> HttpResponse:
    """What all roles may do, beside each other."""
    heading, *rows = roles.matrix()
    context = {"place": "people", "tab": "roles", "roles": roles.listed(), "heading": heading, "rows": rows}
    return render(request, "console/people/matrix.html", context)


@page("people.see", _CHANGE)
def matrix_csv(request: Request) -> HttpResponse:
    """The matrix for a spreadsheet."""
    return as_csv(sheets.written(roles.matrix()), "roles.csv")


def _may_change(who: Who) -> bool:
    return authorise.covers(who, _CHANGE, Scope())


def _known(shape: roles.Shape) -> dict[str, Any]:
    return {
        "version": shape.version,
        "name": shape.name,
        "description": shape.description,
        "permissions": sorted(shape.permissions),
        "own_referrals": shape.own_referrals,
        "deidentified": shape.deidentified,
        "needs_end": shape.needs_end,
    }
