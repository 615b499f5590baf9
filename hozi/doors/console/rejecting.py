"""Rejecting a study, a series or an object: what would go is shown first, and all of it can be taken back."""

from __future__ import annotations

from typing import Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.archive import reject as archive
from hozi.archive import study_page
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts, paged
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.forms import Form

_MOST_SERIES: Final = 200


class Reason(Form):
    """Why it is rejected."""

    reason = forms.CharField(label=gettext_lazy("Why"), max_length=500)


@page(archive.PERMISSION, post=archive.PERMISSION)
def reject(request: Request, pk: int) -> HttpResponse:
    """What would be rejected of a study; then it is. ``series`` or ``object`` (row ids): that part of it only."""
    who = request.who
    study = study_page.study_of(who, archive.PERMISSION, pk)
    asked = request.POST if request.method == "POST" else request.GET
    names = [study.uid]
    if asked.get("object"):
        one = study_page.instance_of(who, archive.PERMISSION, paged.number(asked["object"]))
        names += [one.series.uid, one.uid]
        within = one.series.study_id
    elif asked.get("series"):
        row = study_page.series_of(who, archive.PERMISSION, paged.number(asked["series"]))
        names += [row.uid]
        within = row.study_id
    else:
        within = pk
    if within != pk:
        raise NotThere("There is no such part of this study.")
    form = Reason(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        made = form.take(lambda reason: archive.reject(who, *names, reason=reason))
        if made is not None:
            return acts.done(request, _("It is not shown any more, to anybody. It can be taken back here."), "rejected")
    context = {
        "place": "studies",
        "pk": pk,
        "patient": study_page.patient_of(study),
        "study": study,
        "form": form,
        "preview": archive.preview(who, *names),
        "series": study_page.series_lines(who, pk, most=_MOST_SERIES),
        "chosen": asked.get("series", ""),
        "object": asked.get("object", ""),
    }
    return render(request, "console/study/reject.html", context)


@page(archive.PERMISSION)
def rejected(request: Request) -> HttpResponse:
    """What is rejected now."""
    return render(request, "console/study/rejected.html", {"place": "studies", "lines": archive.lines(request.who)})


@action(archive.PERMISSION)
def undo(request: Request, pk: int) -> HttpResponse:
    """Takes a rejection back."""
    try:
        archive.undo(request.who, pk)
    except NotThere:
        raise
    except Refused as refused:
        return acts.not_done(request, str(refused), "rejected")
    return acts.done(request, _("It is there again."), "rejected")


urlpatterns = [
    path("studies/<int:pk>/reject/", reject, name="study_reject"),
    path("rejected/", rejected, name="rejected"),
    path("rejected/<int:pk>/undo/", undo, name="rejected_undo"),
]
