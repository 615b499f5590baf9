"""Settings: what people choose here, with its history; and what the environment says, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts.authorise import Denied, Scope, Who, covers
from hozi.choices import environment, values
from hozi.choices.declared import GROUPS, Choice
from hozi.choices.values import Past, Standing
from hozi.core.errors import Refused
from hozi.doors.console import acts, needs
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.forms import Form
from hozi.doors.console.needs import Need


@dataclass(frozen=True, slots=True)
class Row:
    """A choice as the page shows it, its value in words."""

    standing: Standing
    value: str
    default: str


@dataclass(frozen=True, slots=True)
class Line:
    """One change as the history shows it."""

    past: Past
    before: str
    after: str


class Change(Form):
    """Another value for a choice. Which field that is depends on what the choice takes."""

    expected_version = forms.IntegerField(widget=forms.HiddenInput)
    reason = forms.CharField(
        label=gettext_lazy("Why"), max_length=200, required=False, help_text=gettext_lazy("Stays in the history.")
    )
    field_order = ["expected_version", "value", "reason"]

    def __init__(self, standing: Standing, *args: Any, **kwargs: Any) -> None:
        start = {"value": standing.value, "expected_version": standing.version}
        super().__init__(*args, initial=start, **kwargs)
        self.fields["value"] = _field(standing.choice)
        self.fields["reason"].required = standing.choice.security
        self.order_fields(self.field_order)


@page("settings.see")
def settings(request: Request) -> HttpResponse:
    """Everything that can be chosen, by group."""
    rows = [_row(standing) for standing in values.listed()]
    groups = [(name, [row for row in rows if row.standing.choice.group == key]) for key, name in GROUPS]
    changed = sum(row.standing.source != "default" for row in rows)
    context = {"place": "settings", "groups": groups, "changed": changed, "may_change": _may_change(request.who)}
    return render(request, "console/settings/list.html", context)


@page("settings.see", post="settings.change")
def setting(request: Request, key: str) -> HttpResponse:
    """One choice: what it means, what holds, how it came to be, and another value."""
    standing = values.standing(key)
    form = Change(standing, request.POST or None)
    if request.method == "POST":
        _check_may_change(request.who)
        done = form.take(values.change, key=key, actor=request.who.actor, address=request.address)
        if done is not None:
            return acts.done(request, _("“%(label)s” is changed.") % {"label": done.choice.label}, "settings")
        now = values.standing(key)
        if str(now.version) != request.POST.get("expected_version"):
            # Somebody was faster: the page shows what they chose; what was typed stays, and counts when sent again.
            typed = request.POST.copy()
            typed["expected_version"] = str(now.version)
            form.data = typed
        standing = now
    context = {
        "place": "settings",
        "row": _row(standing),
        "form": form,
        "history": [_line(standing.choice, past) for past in values.history(key)],
        "may_change": _may_change(request.who) and not standing.fixed,
    }
    return render(request, "console/settings/one.html", context)


@action("settings.change")
def undo(request: Request, key: str) -> HttpResponse:
    """Takes the last change of a choice back."""
    _check_may_change(request.who)
    try:
        version = int(request.POST.get("version", ""))
        values.undo(key, expected_version=version, actor=request.who.actor, address=request.address)
    except ValueError:
        return acts.not_done(request, _("Nothing was taken back: look again."), "setting", key)
    except Refused as refused:
        return acts.not_done(request, str(refused), "setting", key)
    return acts.done(request, _("Taken back."), "setting", key)


@page("settings.see")
def of_environment(request: Request) -> HttpResponse:
    """All settings of this process, from where they come, and what they mean. No secret is shown."""
    shown = environment.shown(chosen={standing.choice.key: standing.value for standing in values.listed()})
    set_there = sum(row.source == "environment" for row in shown)
    context = {"place": "settings", "shown": shown, "set_there": set_there}
    return render(request, "console/settings/environment.html", context)


urlpatterns: list[URLPattern] = [
    path("settings/", settings, name="settings"),
    path("settings/environment/", of_environment, name="settings-environment"),
    path("settings/<str:key>/", setting, name="setting"),
    path("settings/<str:key>/undo/", undo, name="setting-undo"),
]


def _may_change(who: Who) -> bool:
    """Settings hold for all facilities: whoever changes them must be allowed to everywhere."""
    return covers(who, "settings.change", Scope())


def _check_may_change(who: Who) -> None:
    if not _may_change(who):
        raise Denied("settings.change, for all facilities")


def _field(choice: Choice) -> forms.Field:
    common: dict[str, Any] = {"label": choice.label}
    bounds = choice.bounds
    if choice.options:
        return forms.ChoiceField(choices=choice.options, **common)
    if choice.kind == "whole":
        label = f"{choice.label} ({choice.unit})" if choice.unit else choice.label
        return forms.IntegerField(
            min_value=None if bounds.least is None else int(bounds.least),
            max_value=None if bounds.most is None else int(bounds.most),
            **{**common, "label": label},
        )
    return forms.CharField(required=False, max_length=bounds.longest, **common)


def _row(standing: Standing) -> Row:
    choice = standing.choice
    return Row(standing, _in_words(choice, standing.value), _in_words(choice, choice.default))


def _line(choice: Choice, past: Past) -> Line:
    def told(value: Any) -> str:
        default = _("the default (%(value)s)") % {"value": _in_words(choice, choice.default)}
        return default if value is None else _in_words(choice, value)

    return Line(past, told(past.before), told(past.after))


def _in_words(choice: Choice, value: Any) -> str:
    if choice.options:
        return str(dict(choice.options).get(value, value))
    if value == "":
        return "–"
    return f"{value} {choice.unit}" if choice.unit else str(value)


def _waiting(who: Who) -> list[Need]:
    """An archive without a name is mistaken for another."""
    if not _may_change(who) or values.get("console.hospital_name"):
        return []
    return [
        Need(
            "sometime",
            _("This archive has no name: nobody sees on a page whose it is."),
            _("Name it"),
            reverse("setting", args=["console.hospital_name"]),
        )
    ]


needs.register("settings.change", _waiting)
