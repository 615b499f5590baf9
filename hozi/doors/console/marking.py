"""Key images on the page of a study: which are marked and what for; marking more, and taking marks back."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from hozi.accounts.authorise import may
from hozi.archive import key_images, study_page
from hozi.archive.key_images import PERMISSION
from hozi.archive.receive import Result
from hozi.archive.study_page import LOOK
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.printing import named

TITLES = {
    "113000": gettext_noop("Of Interest"),
    "113002": gettext_noop("For Referring Provider"),
    "113003": gettext_noop("For Surgery"),
    "113004": gettext_noop("For Teaching"),
    "113005": gettext_noop("For Conference"),
    "113006": gettext_noop("For Therapy"),
    "113007": gettext_noop("For Patient"),
    "113008": gettext_noop("For Peer Review"),
    "113009": gettext_noop("For Research"),
    "113010": gettext_noop("Quality Issue"),
    "113013": gettext_noop("Best In Set"),
    "113018": gettext_noop("For Printing"),
    "113020": gettext_noop("For Report Attachment"),
}
"""What images may be marked for, in words that are translated; the document has those of the standard."""


@page(LOOK, post=PERMISSION)
def marks(request: Request, pk: int) -> HttpResponse:
    """Which images of a study are marked, as a part of its page or as one of its own; sent: some more are.

    A program of our own pages that sends it with ``Accept: application/json`` is answered so.
    """
    if request.method == "POST":
        return _mark(request, pk)
    context = {
        "selections": key_images.marks(request.who, pk),
        "pk": pk,
        "may_mark": may(request.who, PERMISSION),
    }
    if acts.is_part(request):
        return render(request, "console/study/marks_part.html", context)
    head = study_page.open_study(request.who, pk)
    context |= {"place": "studies", "study": head, "patient": head.patient}
    return render(request, "console/study/marks.html", context)


@action(PERMISSION)
def take_back(request: Request, pk: int) -> HttpResponse:
    """Takes a selection of key images back."""
    try:
        study = key_images.take_back(request.who, pk)
    except NotThere:
        raise
    except Refused as refused:
        instance = study_page.instance_of(request.who, LOOK, pk)
        return acts.not_done(request, str(refused), "study", instance.series.study_id)
    return acts.done(request, _("These marks are taken back; the images stay."), "study", study)


def titles() -> list[tuple[str, str]]:
    """What images may be marked for: code, and what people call it."""
    return [(code, _(name)) for code, name in TITLES.items()]


def _mark(request: Request, pk: int) -> HttpResponse:
    told = request.POST
    images = named(told.getlist("image"))
    wants_json = "application/json" in request.headers.get("Accept", "")
    try:
        receipt = key_images.keep(
            request.who,
            pk,
            images,
            told.get("title", ""),
            told.get("description", ""),
            observer=getattr(request.user, "full_name", ""),
        )
    except NotThere:
        raise
    except Refused as refused:
        return _answer(request, pk, str(refused), wants_json, {"refused": str(refused)}, 422)
    if receipt.result is not Result.STORED:
        words = _("The marks were set aside as an exception: %(why)s") % {"why": receipt.explanation}
        return _answer(request, pk, words, wants_json, {"refused": words}, 409)
    count = len(images)
    words = ngettext("%(count)d image is marked.", "%(count)d images are marked.", count) % {"count": count}
    return _answer(request, pk, words, wants_json, {"marked": count, "text": words}, 201)


def _answer(request: Request, pk: int, words: str, wants_json: bool, told: dict[str, Any], status: int) -> HttpResponse:
    if wants_json:
        return JsonResponse(told, status=status)
    if status == 201:
        return acts.done(request, words, "study", pk)
    return acts.not_done(request, words, "study", pk)


urlpatterns = [
    path("studies/<int:pk>/key-images/", marks, name="study_marks"),
    path("objects/<int:pk>/take-back/", take_back, name="study_unmark"),
]
