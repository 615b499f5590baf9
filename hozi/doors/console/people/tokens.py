"""Tokens in the browser: one's own, and those of people and programs whom one looks after."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts import profile, tokens
from hozi.accounts.authorise import Who
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, action, page, signed_in
from hozi.doors.console.forms import Form
from hozi.doors.console.people import once

_SCOPES = [
    ("read", gettext_lazy("Read: find, open and download")),
    ("write", gettext_lazy("Write: store, correct and export")),
    ("admin", gettext_lazy("Administer: devices, people, settings, audit")),
]


class NewToken(Form):
    """A token that is to come."""

    name = forms.CharField(
        label=gettext_lazy("What uses it"), max_length=64, help_text=gettext_lazy("For example: RIS interface")
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("What it may do, of what its account may"),
        choices=_SCOPES,
        widget=forms.CheckboxSelectMultiple,
    )
    days = forms.IntegerField(label=gettext_lazy("Days that it lives"), min_value=1, max_value=365, initial=90)
    networks = forms.CharField(
        label=gettext_lazy("From where it works"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("Addresses or networks, one on each line: 192.168.1.0/24. Left empty: from anywhere."),
    )

    def clean_networks(self) -> list[str]:
        """One a line."""
        return str(self.cleaned_data["networks"]).splitlines()


@page("people.approve", post="people.approve")
def new(request: Request, number: int) -> HttpResponse:
    """Makes a token of somebody whom whoever acts looks after."""
    shown = profile.of(request.who, number)
    return _new(request, number, {"place": "people", "person": shown}, ("person", number))


@signed_in(post=True)
def own(request: Request) -> HttpResponse:
    """Makes a token of one's own."""
    shown = profile.own(request.who)
    return _new(request, shown.id, {"place": "", "person": shown, "own": True}, ("me",))


@action("people.approve")
def end(request: Request, number: int, token: int) -> HttpResponse:
    """Ends a token of somebody."""
    return _end(request, token, ("person", number))


@signed_in(post=True, get=False)
def end_own(request: Request, token: int) -> HttpResponse:
    """Ends a token of one's own."""
    if token not in {made.id for made in tokens.listed(request.who, profile.own(request.who).id)}:
        raise NotThere("There is no such token of yours")
    return _end(request, token, ("me",))


def _new(request: Request, number: int, context: dict[str, Any], back: tuple[Any, ...]) -> HttpResponse:
    form = NewToken(request.POST or None)
    if request.method == "POST":
        made = form.take(_make, who=request.who, number=number)
        if made is not None:
            answer = acts.done(request, _("The token %(name)s is made.") % {"name": made.name}, *back)
            return once.hand(answer, request, once.Secret("token", number, made.secret))
    return render(request, "console/people/token.html", {**context, "form": form, "back": back[0]})


def _make(*, who: Who, number: int, name: str, **more: Any) -> tokens.Made:
    return tokens.make(who, number, name, **more)


def _end(request: Request, token: int, back: tuple[Any, ...]) -> HttpResponse:
    try:
        tokens.end(request.who, token)
    except NotThere:
        raise
    except Refused as error:
        return acts.not_done(request, str(error), *back)
    return acts.done(request, _("The token is ended; nothing can use it any more."), *back)
