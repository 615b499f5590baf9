"""The trial of a new device: its steps move forward by themselves while somebody stands at the scanner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts import authorise
from hozi.archive import brought
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.devices.looking import seen, within
from hozi.doors.console.forms import Form
from hozi.doors.dimse import acceptance as trying
from hozi.facilities import acceptance as room
from hozi.facilities import sheet as paper
from hozi.facilities.acceptance import STEPS, Trial
from hozi.facilities.devices import permit_by_number
from hozi.settings import HOZI

HOW: Final[dict[str, str | Promise]] = {
    "names": gettext_lazy("Enter the archive on the device, and the device here, each by the other's name."),
    "echo": gettext_lazy("Let the archive call the device."),
    "call": gettext_lazy("Press echo, verify or test on the device."),
    "store": gettext_lazy("Send an image from the device: a phantom, or an old study."),
    "send": gettext_lazy("Let the archive send it an image of an invented patient."),
    "query": gettext_lazy("Search for a patient or a study on the device."),
    "retrieve": gettext_lazy("Open a study of the archive on the device."),
    "commitment": gettext_lazy("Switch storage commitment on at the device, and send an image again."),
}
"""What a person does for each step."""


class Reason(Form):
    """Why a step is left out."""

    reason = forms.CharField(
        label=gettext_lazy("Why it is left out"),
        max_length=300,
        help_text=gettext_lazy("Stands on the sheet, with your name. For example: it has no search."),
    )


class Remark(Form):
    """What should stand on the sheet besides."""

    version = forms.IntegerField(widget=forms.HiddenInput)
    remark = forms.CharField(
        label=gettext_lazy("Remark"), required=False, max_length=600, widget=forms.Textarea(attrs={"rows": 3})
    )


@action("devices.change")
def begin(request: Request, number: int) -> HttpResponse:
    """Begins the trial of a device, or goes on with the one that is there."""
    device = permit_by_number(number, authorise.facilities(request.who, "devices.change"))
    going_on = room.going_on(device.name)
    if going_on is None:
        going_on = room.begin(device.name, actor=request.who.actor, address=request.address)
    return acts.there(request, "trial", going_on.number)


@page("devices.see")
def trial(request: Request, number: int) -> HttpResponse:
    """How a trial stands; the steps alone, if they have changed, when they are asked for again."""
    room.get(number, within(request.who))
    looked_at = trying.look(number)
    context = {"place": "devices", **_context(request, looked_at)}
    if not acts.is_part(request):
        return render(request, "console/devices/trial.html", context)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204 if looked_at.open else 286)
    return render(request, "console/devices/steps.html", context)


@action("devices.change")
def call(request: Request, number: int) -> HttpResponse:
    """Calls the device now."""
    _mine(request, number)
    return _did(request, number, lambda: trying.call(number))


@action("devices.change")
def send(request: Request, number: int) -> HttpResponse:
    """Sends the device a test image now."""
    _mine(request, number)
    return _did(request, number, lambda: trying.send(number, actor=request.who.actor))


@page("devices.change", post="devices.change")
def leave_out(request: Request, number: int, key: str) -> HttpResponse:
    """Leaves a step out, with the reason."""
    mine = _mine(request, number)
    if key not in STEPS:
        raise NotThere("There is no such step")
    form = Reason(request.POST or None)
    if request.method == "POST":
        actor, address = request.who.actor, request.address
        left = form.take(room.leave_out, number=number, key=key, actor=actor, address=address)
        if left is not None:
            return acts.there(request, "trial", number)
    context = {"place": "devices", "trial": mine, "title": STEPS[key], "how": HOW[key], "form": form}
    return render(request, "console/devices/leave_out.html", context)


@action("devices.change")
def take_up(request: Request, number: int, key: str) -> HttpResponse:
    """Takes a step up again that was left out."""
    _mine(request, number)
    room.take_up(number, key, actor=request.who.actor, address=request.address)
    return acts.there(request, "trial", number)


@page("devices.change", post="devices.change")
def accept(request: Request, number: int) -> HttpResponse:
    """Shows what is accepted, and accepts it."""
    _mine(request, number)
    looked_at = trying.look(number)
    form = Remark(request.POST or None, initial={"version": looked_at.version})
    if request.method == "POST":
        actor, address = request.who.actor, request.address
        signer = f"{getattr(request.user, 'full_name', '')} ({actor})".strip()
        signed = form.take(trying.sign, number=number, signer=signer, actor=actor, address=address)
        if signed is not None:
            text = _("%(name)s is accepted. Print the sheet and have it signed.") % {"name": signed.name}
            return acts.done(request, text, "trial", number)
    context = {"place": "devices", "form": form, **_context(request, looked_at)}
    return render(request, "console/devices/accept.html", context)


@page("devices.change", post="devices.change")
def give_up(request: Request, number: int) -> HttpResponse:
    """Ends a trial without accepting the device."""
    mine = _mine(request, number)
    form = Remark(request.POST or None, initial={"version": mine.version})
    if request.method == "POST" and form.is_valid():
        try:
            remark = form.cleaned_data["remark"]
            room.give_up(number, remark, actor=request.who.actor, address=request.address)
            text = _("The trial of %(name)s is ended; the device was not accepted.") % {"name": mine.name}
            return acts.done(request, text, "trial", number)
        except Refused as refused:
            form.refuse(refused)
    return render(request, "console/devices/give_up.html", {"place": "devices", "trial": mine, "form": form})


@page("devices.see")
def sheet(request: Request, number: int) -> HttpResponse:
    """The sheet of a trial as a PDF."""
    seen = room.get(number, within(request.who))
    looked_at = trying.look(number)
    made = paper.pdf(looked_at, room.device_of(looked_at))
    name = slugify(seen.name) or "device"
    headers = {"Content-Disposition": f'inline; filename="acceptance-{name}-{number}.pdf"'}
    return HttpResponse(made, content_type="application/pdf", headers=headers)


def _mine(request: Request, number: int) -> Trial:
    return room.get(number, authorise.facilities(request.who, "devices.change"))


def _did(request: Request, number: int, act: Callable[[], object]) -> HttpResponse:
    try:
        act()
    except Refused as refused:
        return acts.not_done(request, str(refused), "trial", number)
    return acts.there(request, "trial", number)


def _context(request: Request, looked_at: Trial) -> dict[str, object]:
    device = room.device_of(looked_at)
    steps = [(step, HOW[step.key]) for step in looked_at.steps]
    may = device is not None and looked_at.open and authorise.may(request.who, "devices.change")
    if may:
        codes = authorise.facilities(request.who, "devices.change")
        may = codes is None or looked_at.facility in codes
    done = sum(step.done for step in looked_at.steps)
    study, picture = _arrived(request, looked_at)
    return {
        "trial": looked_at,
        "device": device,
        "steps": steps,
        "done": done,
        "may_change": may,
        "own": HOZI,
        "study": study,
        "picture": picture,
        "seen": seen(looked_at, may, study),
        "next": next((step.key for step in looked_at.steps if not step.done), ""),
    }


def _arrived(request: Request, looked_at: Trial) -> tuple[str, str]:
    """Addresses of the study that the device has stored, and of a small picture; empty for who may not look."""
    for permission, kind in (("studies.open", True), ("studies.find", False)):
        if authorise.may(request.who, permission):
            found = brought.by(request.who, permission, looked_at.name, looked_at.since)
            if found is not None:
                study, image = found
                picture = _address("object_picture", image) if kind else ""
                return _address("study", study), picture
    return "", ""


def _address(name: str, number: int) -> str:
    try:
        return reverse(name, args=[number])
    except NoReverseMatch:  # that area is not part of this console
        return ""
