"""Organisations: who runs the facilities. For those who look after all of them."""

from __future__ import annotations

from typing import Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.facilities import CHANGE, SEE, check_everywhere, everywhere
from hozi.doors.console.forms import Form
from hozi.facilities import organisations as room
from hozi.facilities import profiles

_PROFILES: Final = [("", "–"), *((profile.key, profile.label) for profile in profiles.PROFILES)]


class New(Form):
    """An organisation that is to come."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=128)
    profile = forms.ChoiceField(label=gettext_lazy("Kind"), choices=_PROFILES, required=False)


class Change(Form):
    """An organisation that is there."""

    new_name = forms.CharField(label=gettext_lazy("Name"), max_length=128)
    profile = forms.ChoiceField(label=gettext_lazy("Kind"), choices=_PROFILES, required=False)
    expected = forms.IntegerField(widget=forms.HiddenInput)


@page(SEE)
def organisations(request: Request) -> HttpResponse:
    """All organisations."""
    check_everywhere(request.who, SEE)
    context = {
        "place": "facilities",
        "runners": [(runner, profiles.BY_KEY.get(runner.profile)) for runner in room.listed()],
        "may_change": everywhere(request.who, CHANGE),
    }
    return render(request, "console/facilities/organisations.html", context)


@page(CHANGE, post=CHANGE)
def add(request: Request) -> HttpResponse:
    """Adds an organisation."""
    check_everywhere(request.who, CHANGE)
    form = New(request.POST or None)
    if request.method == "POST":
        made = form.take(room.add, actor=request.who.actor, address=request.address)
        if made is not None:
            return acts.done(request, _("%(name)s is added.") % {"name": made.name}, "organisations")
    return render(request, "console/facilities/organisation.html", {"place": "facilities", "form": form})


@page(CHANGE, post=CHANGE)
def organisation(request: Request, number: int) -> HttpResponse:
    """Changes an organisation."""
    check_everywhere(request.who, CHANGE)
    runner = room.get(number)
    start = {"new_name": runner.name, "profile": runner.profile, "expected": runner.version}
    form = Change(request.POST or None, initial=start)
    if request.method == "POST":
        made = form.take(room.change, name=runner.name, actor=request.who.actor, address=request.address)
        if made is not None:
            return acts.done(request, _("%(name)s is changed.") % {"name": made.name}, "organisations")
    context = {"place": "facilities", "form": form, "runner": runner}
    return render(request, "console/facilities/organisation.html", context)


@action(CHANGE)
def remove(request: Request, number: int) -> HttpResponse:
    """Takes an organisation off the list that runs nothing."""
    check_everywhere(request.who, CHANGE)
    runner = room.get(number)
    try:
        room.remove(runner.name, actor=request.who.actor, address=request.address)
    except NotThere:
        raise
    except Refused as refused:
        return acts.not_done(request, str(refused), "organisation", number)
    return acts.done(request, _("%(name)s is taken off the list.") % {"name": runner.name}, "organisations")


urlpatterns: list[URLPattern] = [
    path("facilities/organisations/", organisations, name="organisations"),
    path("facilities/organisations/add/", add, name="organisation-add"),
    path("facilities/organisations/<int:number>/", organisation, name="organisation"),
    path("facilities/organisations/<int:number>/remove/", remove, name="organisation-remove"),
]
