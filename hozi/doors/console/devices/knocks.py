"""Who knocked: why it was refused, and one click that admits it as what it seems to be."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.core.errors import Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.devices.changing import Admission, reached
from hozi.facilities import knocks as room
from hozi.facilities.devices import Permit
from hozi.facilities.models import Knock
from hozi.facilities.suggest import Suggestion, Why, accept, suggest, why
from hozi.settings import HOZI

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """A knock as a page shows it."""

    knock: Knock
    why: Why
    suggestions: tuple[Suggestion, ...]


def shown(who: Who) -> list[Shown]:
    """Who knocked last, for whoever sees devices; with suggestions for whoever may admit."""
    may = authorise.may(who, "devices.change")
    codes = authorise.facilities(who, "devices.change") if may else None
    return [
        Shown(knock, why(knock, HOZI.ae_title), suggest(knock, codes) if may else ())
        for knock in room.recent()[:_SHOWN]
    ]


@page("devices.change", post="devices.change")
def knock(request: Request, number: int) -> HttpResponse:
    """Admits somebody who knocked as a new device, with details that are typed."""
    knocked = room.by_number(number)
    codes = authorise.facilities(request.who, "devices.change")
    suggestions = suggest(knocked, codes)
    new = next((one for one in suggestions if one.kind == "new"), None)
    form = Admission(request.who, new, request.POST or None)
    if request.method == "POST" and new is not None:
        admitted = form.take(form.admit, knock=knocked, own_ae=HOZI.ae_title, who=request.who)
        if admitted is not None:
            return _admitted(request, admitted)
    context = {
        "place": "devices",
        "shown": Shown(knocked, why(knocked, HOZI.ae_title), suggestions),
        "form": form if new is not None else None,
    }
    return render(request, "console/devices/knock.html", context)


@action("devices.change")
def admit(request: Request, number: int) -> HttpResponse:
    """Admits somebody who knocked as it was suggested."""
    knocked = room.by_number(number)
    wanted = (request.POST.get("kind", ""), request.POST.get("name", ""))
    codes = authorise.facilities(request.who, "devices.change")
    chosen = next((one for one in suggest(knocked, codes) if (one.kind, one.name) == wanted), None)
    if chosen is None:
        return acts.not_done(request, _("That no longer applies: look again."), "devices")
    if not chosen.facility:
        return acts.there(request, "knock", number)
    reached(request.who, chosen.facility)
    try:
        actor, address = request.who.actor, request.address
        permit = accept(knocked, chosen, own_ae=HOZI.ae_title, actor=actor, address=address)
    except Refused as refused:
        return acts.not_done(request, str(refused), "knock", number)
    return _admitted(request, permit)


@action("devices.change")
def dismiss(request: Request, number: int) -> HttpResponse:
    """Takes a knock off the list."""
    dismissed = room.dismiss(number, actor=request.who.actor, address=request.address)
    text = _("%(name)s is dismissed and stays refused. When it knocks again, it is listed again.")
    return acts.done(request, text % {"name": dismissed.calling_ae}, "devices")


def _admitted(request: Request, permit: Permit) -> HttpResponse:
    text = _("%(name)s is admitted. Let it call again; then try it, step by step.") % {"name": permit.name}
    return acts.done(request, text, "device", permit.number)
