"""Facilities: the list, one of them with its departments, and adding and changing one."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from hozi.accounts import authorise, roles
from hozi.accounts.authorise import Denied, Scope, Who, covers
from hozi.archive import issuers
from hozi.doors.console import acts, needs
from hozi.doors.console.access import Request, page
from hozi.doors.console.forms import Form
from hozi.doors.console.needs import Need
from hozi.facilities import departments, levels, organisations, places, profiles
from hozi.facilities.places import Place

PAGE: Final = 50
SEE: Final = "facilities.see"
CHANGE: Final = "facilities.change"

_LEVELS: Final = [("", "–"), *((level.key, level.label) for level in levels.LEVELS)]
_PROVINCES: Final = [("", "–"), *((province.key, province.name) for province in levels.PROVINCES)]


class Search(Form):
    """What is looked for in the list."""

    search = forms.CharField(label=gettext_lazy("Name, code or district"), required=False, max_length=64)
    level = forms.ChoiceField(label=gettext_lazy("Level"), choices=_LEVELS, required=False)
    province = forms.ChoiceField(label=gettext_lazy("Province"), choices=_PROVINCES, required=False)


class About(Form):
    """What is said of a facility."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=128)
    issuer = forms.CharField(
        label=gettext_lazy("Issuer of its patient numbers"),
        max_length=64,
        required=False,
        help_text=gettext_lazy(
            "Two hospitals may both have a patient 1001: this name tells them apart. Left empty, it is the code."
            " It stays as it is from the first patient on."
        ),
    )
    organisation = forms.ChoiceField(label=gettext_lazy("Run by"), required=False)
    level = forms.ChoiceField(label=gettext_lazy("Level of care"), choices=_LEVELS, required=False)
    province = forms.ChoiceField(label=gettext_lazy("Province"), choices=_PROVINCES, required=False)
    district = forms.CharField(label=gettext_lazy("District"), max_length=64, required=False)
    registry_code = forms.CharField(
        label=gettext_lazy("Facility code of the ministry"),
        max_length=16,
        required=False,
        help_text=gettext_lazy("ZW, then province, district and facility with two characters each, as in ZW010245."),
    )

    def __init__(self, who: Who, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [runner.name for runner in organisations.listed()]
        if not everywhere(who, CHANGE):
            # Whoever looks after one facility neither gives it away nor changes who its patients are.
            names = [name for name in names if name == self.initial.get("organisation")]
            self.fields["organisation"].disabled = self.fields["issuer"].disabled = True
        self.fields["organisation"].choices = [("", "–"), *((name, name) for name in names)]  # type: ignore[attr-defined]


class New(About):
    """A facility that is to come."""

    field_order = ["code"]
    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=16,
        help_text=gettext_lazy("Short, as people say it: NORTH. It never changes."),
    )


class Change(About):
    """A facility that is there."""

    expected = forms.IntegerField(widget=forms.HiddenInput)


def everywhere(who: Who, permission: str) -> bool:
    """Whether who asks holds the permission for all facilities."""
    return covers(who, permission, Scope())


def check_everywhere(who: Who, permission: str) -> None:
    """Raises Denied unless `everywhere`."""
    if not everywhere(who, permission):
        raise Denied(f"{permission}, for all facilities")


def to_see(who: Who, code: str) -> Place:
    """The facility, when who asks may see it. Raises NotThere."""
    return places.get(code, authorise.facilities(who, SEE))


def to_change(who: Who, code: str) -> Place:
    """The facility, when who asks may change it. Raises NotThere when they may not see it, Denied."""
    place = to_see(who, code)
    if not may_change(who, place):
        raise Denied(f"{CHANGE} at {place.code}")
    return place


def may_change(who: Who, place: Place) -> bool:
    """Whether who asks may change the facility."""
    return covers(who, CHANGE, Scope(facility=place.code))


@page(SEE)
def facilities(request: Request) -> HttpResponse:
    """The facilities that whoever looks may see."""
    form = Search(request.GET or None)
    wanted: dict[str, str] = form.cleaned_data if form.is_valid() else {}
    within = authorise.facilities(request.who, SEE)
    after = request.GET.get("after", "")
    found = places.listed(within, **wanted, after=after, most=PAGE + 1)
    shown = found[:PAGE]
    context = {
        "place": "facilities",
        "form": form,
        "places": [(place, levels.LEVEL_BY_KEY.get(place.level)) for place in shown],
        "provinces": {key: province.name for key, province in levels.PROVINCE_BY_KEY.items()},
        "more": shown[-1].code if len(found) > PAGE else "",
        "searched": any(wanted.values()),
        "may_add": everywhere(request.who, CHANGE),
        "sees_all": within is None,
    }
    return render(request, "console/facilities/list.html", context)


@page(SEE)
def facility(request: Request, code: str) -> HttpResponse:
    """One facility: what is said of it, its departments, its profile and the roles that are used there."""
    place = to_see(request.who, code)
    shape = {role.key: role.name for role in roles.listed()}
    context = {
        "place": "facilities",
        "facility": place,
        "level": levels.LEVEL_BY_KEY.get(place.level),
        "province": levels.PROVINCE_BY_KEY.get(place.province),
        "profile": profiles.BY_KEY.get(place.profile),
        "departments": departments.listed(place.code),
        "roles": [shape.get(key, key) for key in place.roles],
        "may_change": may_change(request.who, place),
    }
    return render(request, "console/facilities/one.html", context)


@page(CHANGE, post=CHANGE)
def add(request: Request) -> HttpResponse:
    """Adds a facility, then asks what kind of place it is."""
    check_everywhere(request.who, CHANGE)
    form = New(request.who, request.POST or None)
    if request.method == "POST":
        made = form.take(places.add, actor=request.who.actor, address=request.address)
        if made is not None:
            said = _("%(name)s is added. Choose what it begins with.") % {"name": made.name}
            return acts.done(request, said, "facility-profile", made.code)
    return render(request, "console/facilities/form.html", {"place": "facilities", "form": form})


@page(CHANGE, post=CHANGE)
def change(request: Request, code: str) -> HttpResponse:
    """Changes what is said of a facility."""
    place = to_change(request.who, code)
    start = {name: getattr(place, name) for name in About.base_fields} | {"expected": place.version}
    form = Change(request.who, request.POST or None, initial=start)
    if request.method == "POST":
        act = {"code": place.code, "issuer_is_free": issuers.is_free}
        made = form.take(places.change, **act, actor=request.who.actor, address=request.address)
        if made is not None:
            return acts.done(request, _("%(name)s is changed.") % {"name": made.name}, "facility", made.code)
    context = {"place": "facilities", "form": form, "facility": place}
    return render(request, "console/facilities/form.html", context)


urlpatterns: list[URLPattern] = [
    path("facilities/", facilities, name="facilities"),
    path("facilities/add/", add, name="facility-add"),
    path("facilities/at/<str:code>/", facility, name="facility"),
    path("facilities/at/<str:code>/change/", change, name="facility-change"),
]


def _waiting(who: Who) -> list[Need]:
    """A facility that nobody has set up."""
    bare = places.bare(authorise.facilities(who, CHANGE), most=100)
    if not bare:
        return []
    code, name = bare[0]
    text = ngettext(
        "%(name)s has no departments yet: choose what kind of place it is.",
        "%(count)d facilities have no departments yet, %(name)s among them.",
        len(bare),
    ) % {"count": len(bare), "name": name}
    return [Need("sometime", text, _("Choose"), reverse("facility-profile", args=[code]))]


needs.register(CHANGE, _waiting)
