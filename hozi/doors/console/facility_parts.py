"""What a facility consists of: its departments, the profile that it began with, and the roles that are used there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts import grants, roles
from hozi.accounts.roles import Shape
from hozi.core.errors import Changed, NotThere, Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.facilities import CHANGE, to_change
from hozi.doors.console.forms import Form
from hozi.facilities import departments, places, profiles
from hozi.facilities.departments import Part
from hozi.facilities.profiles import Profile


class NewDepartment(Form):
    """A department that is to come."""

    code = forms.CharField(label=gettext_lazy("Code"), max_length=16, help_text=gettext_lazy("Short: CT, WARD3."))
    name = forms.CharField(label=gettext_lazy("Name"), max_length=128)


class Rename(Form):
    """Another name for a department."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=128)
    was = forms.CharField(widget=forms.HiddenInput, max_length=128)


class Roles(Form):
    """The roles that can be given at a facility."""

    roles = forms.MultipleChoiceField(label=gettext_lazy("Roles"), widget=forms.CheckboxSelectMultiple, required=False)
    expected = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, shapes: Iterable[Shape], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(shape.key, f"{shape.name}: {shape.description}") for shape in shapes]
        self.fields["roles"].choices = choices  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Kind:
    """A profile as the page offers it."""

    profile: Profile
    chosen: bool
    current: bool


@page(CHANGE, post=CHANGE)
def department_add(request: Request, code: str) -> HttpResponse:
    """Adds a department."""
    place = to_change(request.who, code)
    form = NewDepartment(request.POST or None)
    if request.method == "POST":

        def make(code: str, name: str) -> Part:
            return departments.add(place.code, code, name, actor=request.who.actor, address=request.address)

        made = form.take(make)
        if made is not None:
            return acts.done(request, _("%(name)s is added.") % {"name": made.name}, "facility", place.code)
    context = {"place": "facilities", "facility": place, "form": form, "title": _("Add a department")}
    return render(request, "console/facilities/department.html", context)


@page(CHANGE, post=CHANGE)
def department(request: Request, code: str, part: str) -> HttpResponse:
    """Gives a department another name, or takes it away."""
    place = to_change(request.who, code)
    found = next((entry for entry in departments.listed(place.code) if entry.code == part.upper()), None)
    if found is None:
        raise NotThere(f"There is no department {part!r}")
    form = Rename(request.POST or None, initial={"name": found.name, "was": found.name})
    if request.method == "POST":
        who = {"actor": request.who.actor, "address": request.address}
        made = form.take(departments.rename, facility=place.code, code=found.code, **who)
        if made is not None:
            return acts.done(request, _("It is called %(name)s now.") % {"name": made.name}, "facility", place.code)
    context = {"place": "facilities", "facility": place, "form": form, "department": found, "title": found.name}
    return render(request, "console/facilities/department.html", context)


@action(CHANGE)
def department_remove(request: Request, code: str, part: str) -> HttpResponse:
    """Takes a department away that nothing belongs to."""
    place = to_change(request.who, code)
    try:
        departments.remove(place.code, part, actor=request.who.actor, address=request.address)
    except NotThere:
        raise
    except Refused as refused:
        return acts.not_done(request, str(refused), "facility-department", place.code, part)
    return acts.done(request, _("The department is taken away."), "facility", place.code)


@page(CHANGE, post=CHANGE)
def profile(request: Request, code: str) -> HttpResponse:
    """Offers the five kinds of customer, shows what choosing one would do, and does it."""
    place = to_change(request.who, code)
    wanted = request.POST.get("profile") or request.GET.get("profile", "")
    held = grants.held_at(place.code)
    plan = profiles.preview(place.code, wanted, held=held) if wanted else None
    refused = ""
    if request.method == "POST" and plan is not None:
        try:
            expected = int(request.POST.get("expected", "0"))
            who = {"actor": request.who.actor, "address": request.address}
            profiles.apply(place.code, wanted, held=held, expected=expected, **who)
        except (Changed, ValueError):
            refused = _("Somebody else has changed it meanwhile: look at what would be now, then choose.")
        else:
            said = _("%(name)s begins as: %(profile)s.") % {"name": place.name, "profile": plan.profile.label}
            return acts.done(request, said, "facility", place.code)
    names = {shape.key: shape.name for shape in roles.listed()}
    context = {
        "place": "facilities",
        "facility": place,
        "kinds": [Kind(entry, entry.key == wanted, entry.key == place.profile) for entry in profiles.PROFILES],
        "plan": plan,
        "switched_on": _named(plan.roles if plan and plan.narrows else plan.switched_on if plan else (), names),
        "kept": _named(plan.kept if plan else (), names),
        "off": _named([key for key in names if plan and plan.narrows and key not in plan.roles], names),
        "refused": refused,
    }
    return render(request, "console/facilities/profile.html", context)


@page(CHANGE, post=CHANGE)
def used_roles(request: Request, code: str) -> HttpResponse:
    """Says which roles can be given at a facility."""
    place = to_change(request.who, code)
    shapes = roles.listed()
    on = list(place.roles) or [shape.key for shape in shapes]
    form = Roles(shapes, request.POST or None, initial={"roles": on, "expected": place.version})
    if request.method == "POST":

        def switch(roles: Collection[str], expected: int) -> bool:
            # All of them is what a facility has that never chose: roles that come later are used, too.
            chosen = [] if len(roles) == len(shapes) else roles
            if not roles:
                raise Refused(_("Leave at least one role: nobody could work there."), field="roles")
            who = {"actor": request.who.actor, "address": request.address}
            profiles.switch_roles(place.code, chosen, held=grants.held_at(place.code), expected=expected, **who)
            return True

        if form.take(switch):
            return acts.done(request, _("The roles are changed."), "facility", place.code)
    context = {"place": "facilities", "facility": places.get(place.code), "form": form}
    return render(request, "console/facilities/roles.html", context)


urlpatterns: list[URLPattern] = [
    path("facilities/at/<str:code>/profile/", profile, name="facility-profile"),
    path("facilities/at/<str:code>/roles/", used_roles, name="facility-roles"),
    path("facilities/at/<str:code>/departments/", department_add, name="facility-department-add"),
    path("facilities/at/<str:code>/departments/<str:part>/", department, name="facility-department"),
    path(
        "facilities/at/<str:code>/departments/<str:part>/remove/", department_remove, name="facility-department-remove"
    ),
]


def _named(keys: Collection[str], names: dict[str, str]) -> list[str]:
    return [names.get(key, key) for key in keys]
