"""The page of one study: its series with pictures, what has happened to it, its objects and their elements."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.html import escape
from django.utils.translation import gettext as _

from hozi.accounts.authorise import may
from hozi.archive import key_images, printing, sending, study_page, thumbnail
from hozi.archive.download import PERMISSION as DOWNLOAD
from hozi.archive.download import download as downloaded
from hozi.archive.readable import readable
from hozi.archive.study_page import LOOK, SEE, StudyHead
from hozi.archive.tags import tags_of
from hozi.archive.thumbnail import Thumbnail
from hozi.core.dicom import syntaxes
from hozi.core.errors import NotThere, Refused, Unavailable
from hozi.doors.console import acts, marking, paged
from hozi.doors.console.access import Request, page

_SERIES: Final = 16
"""Series on one page: as many pictures as a slow link brings in a second or two."""
_OBJECTS: Final = 60
_MOST_CHOSEN: Final = 500
"""Series among which some are chosen for a download."""
_STILL_COMING: Final = timedelta(minutes=10)
"""So long after the last arrival the page asks whether more has come."""

_STOP_POLLING: Final = 286


@page(SEE)
def study(request: Request, pk: int) -> HttpResponse:
    """The study."""
    head = study_page.open_study(request.who, pk)
    lines = study_page.series_lines(request.who, pk, most=_SERIES + 1)
    others, count = study_page.other_studies(request.who, pk)
    context = _about(request, head) | {
        "others": others,
        "others_count": count,
        "series": lines[:_SERIES],
        "more": lines[_SERIES - 1].key if len(lines) > _SERIES else "",
    }
    return render(request, "console/study/study.html", context)


@page(SEE)
def now(request: Request, pk: int) -> HttpResponse:
    """What has come meanwhile; says when there is nothing to wait for."""
    head = study_page.open_study(request.who, pk)
    context = _about(request, head)
    response = render(request, "console/study/now.html", context)
    if str(head.instance_count) != request.GET.get("seen", str(head.instance_count)):
        response.headers["HX-Trigger"] = "hz-arrived"
    if not context["coming"]:
        response.status_code = _STOP_POLLING
    return response


@page(SEE)
def series(request: Request, pk: int) -> HttpResponse:
    """The next series of a study, or its first ones again."""
    lines = study_page.series_lines(request.who, pk, after=request.GET.get("after", ""), most=_SERIES + 1)
    context = {
        "pk": pk,
        "series": lines[:_SERIES],
        "more": lines[_SERIES - 1].key if len(lines) > _SERIES else "",
        "may_look": may(request.who, LOOK),
    }
    return render(request, "console/study/series.html", context)


@page(SEE)
def history(request: Request, pk: int) -> HttpResponse:
    """What has happened to a study, as a part of its page or as one of its own."""
    lines = study_page.history(request.who, pk)
    context = _about(request, study_page.open_study(request.who, pk)) | {"lines": lines}
    part = acts.is_part(request)
    return render(request, "console/study/history_part.html" if part else "console/study/history.html", context)


@page(SEE)
def one_series(request: Request, pk: int) -> HttpResponse:
    """The objects of a series."""
    one = study_page.series_line(request.who, pk)
    head = study_page.open_study(request.who, one.study)
    lines = study_page.instance_lines(request.who, pk, after=request.GET.get("after", ""), most=_OBJECTS + 1)
    context = _about(request, head) | {
        "one": one,
        "titles": marking.titles(),
        "objects": lines[:_OBJECTS],
        "more": lines[_OBJECTS - 1].key if len(lines) > _OBJECTS else "",
    }
    part = acts.is_part(request)
    return render(request, "console/study/objects.html" if part else "console/study/one_series.html", context)


@page(LOOK, post=LOOK)
def elements(request: Request, pk: int) -> HttpResponse:
    """The elements of an object. What is searched for may name a patient: it comes by POST."""
    stored, wanted = request.POST.get("as") == "stored", paged.wanted(request)
    instance = study_page.instance_of(request.who, LOOK, pk)
    tags = tags_of(request.who, pk, stored=stored, wanted=wanted.text, first=wanted.first, most=paged.MOST)
    syntax = syntaxes.get(tags.transfer_syntax)
    context = _about(request, study_page.open_study(request.who, instance.series.study_id)) | {
        "instance": instance,
        "tags": tags,
        "kind": study_page.kind_of(tags.sop_class),
        "readable": readable(tags.sop_class),
        "syntax": syntax.name if syntax else tags.transfer_syntax,
        "stored": stored,
        **wanted.shown(tags.listing),
    }
    part = acts.is_part(request)
    return render(request, "console/study/elements_part.html" if part else "console/study/elements.html", context)


@page(LOOK)
def series_picture(request: Request, pk: int) -> HttpResponse:
    """A small picture of a series."""
    return answer_picture(request, lambda: thumbnail.of_series(request.who, pk))


@page(LOOK)
def picture(request: Request, pk: int) -> HttpResponse:
    """A small picture of an object."""
    return answer_picture(request, lambda: thumbnail.of_instance(request.who, pk))


@page(DOWNLOAD, post=DOWNLOAD)
def download(request: Request, pk: int) -> HttpResponseBase:
    """The study, or some series of it, as a ZIP archive; with an index to look at when that is wanted."""
    if request.method != "POST":
        head = study_page.open_study(request.who, pk)
        context = _about(request, head) | {"series": study_page.series_lines(request.who, pk, most=_MOST_CHOSEN)}
        part = acts.is_part(request)
        return render(request, "console/study/download_part.html" if part else "console/study/download.html", context)
    chosen = [paged.number(text) for text in request.POST.getlist("series")]
    made = downloaded(request.who, pk, series=chosen, index="index" in request.POST)
    response = StreamingHttpResponse(made.pieces, content_type="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{made.name}"'
    return response


@page(sending.PERMISSION, post=sending.PERMISSION)
def send(request: Request, pk: int) -> HttpResponse:
    """To which device the study shall be sent, and how it went lately, as a part of its page or as one of its own."""
    if request.method == "POST":
        return _ask(request, pk)
    lines = sending.lately(request.who, pk)
    context = {
        "pk": pk,
        "devices": sending.destinations(request.who),
        "lines": lines,
        "waits": any(line.state == "waiting" for line in lines),
    }
    if acts.is_part(request):
        return render(request, "console/study/send_part.html", context)
    context |= _about(request, study_page.open_study(request.who, pk))
    return render(request, "console/study/send.html", context)


def _ask(request: Request, pk: int) -> HttpResponse:
    number = paged.number(request.POST.get("device"))
    try:
        device = sending.ask(request.who, pk, number)
    except NotThere:
        raise
    except Refused as refused:
        return acts.not_done(request, str(refused), "study", pk)
    if device is None:
        return acts.done(request, _("This study waits to be sent to that device already."), "study", pk)
    return acts.done(request, _("The study will be sent to %(device)s.") % {"device": device.name}, "study", pk)


def _about(request: Request, head: StudyHead) -> dict[str, Any]:
    """What every page of a study needs."""
    who = request.who
    return {
        "place": "studies",
        "study": head,
        "patient": head.patient,
        "coming": timezone.now() - head.last_received_at < _STILL_COMING,
        "may_look": may(who, LOOK),
        "may_download": may(who, DOWNLOAD),
        "may_export": may(who, "studies.export"),
        "may_print": may(who, printing.PERMISSION),
        "may_mark": may(who, key_images.PERMISSION),
        "may_choose": may(who, LOOK) and (may(who, printing.PERMISSION) or may(who, key_images.PERMISSION)),
        "may_see_exceptions": may(who, "exceptions.see"),
        "may_read_audit": may(who, "audit.read"),
        "may_reject": may(who, "studies.reject"),
    }


# Pictures ---------------------------------------------------------------------------------------------


def answer_picture(request: Request, make: Any) -> HttpResponse:
    """A picture as an answer: kept by the browser of whoever looks, and by nobody between; never a failure."""
    try:
        found: Thumbnail = make()
    except NotThere:
        raise
    except Unavailable:
        response = HttpResponse(_sign(_("busy")), content_type="image/svg+xml", headers={"Cache-Control": "no-store"})
        response.status_code = 503
        return response
    tag = f'"{found.name[:40]}"'
    if request.headers.get("If-None-Match") == tag:
        response = HttpResponse(status=304)
    elif found.picture:
        response = HttpResponse(found.picture, content_type="image/jpeg")
    else:
        response = HttpResponse(_sign(_words(found)), content_type="image/svg+xml")
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, max-age=600"
    patch_vary_headers(response, ["Cookie"])
    return response


def _words(found: Thumbnail) -> str:
    return {
        "damaged": _("cannot be shown"),
        "video": _("video"),
        "report": _("report"),
        "document": _("document"),
        "waveform": _("waveform"),
    }.get(found.kind, _("no picture"))


def _sign(words: str) -> str:
    """A small drawing that says in words what there is instead of a picture."""
    size = thumbnail.SIZE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 {size} {size}">'
        f'<rect width="{size}" height="{size}" fill="#2a2d33"/>'
        '<path d="M56 36h24l12 12v36H56z M80 36v12h12" fill="none" stroke="#c4c9d1" stroke-width="3"/>'
        f'<text x="50%" y="112" fill="#e6e8ec" font-family="system-ui,sans-serif" font-size="14" text-anchor="middle">'
        f"{escape(words)}</text></svg>"
    )


urlpatterns = [
    path("studies/<int:pk>/", study, name="study"),
    path("studies/<int:pk>/now/", now, name="study_now"),
    path("studies/<int:pk>/series/", series, name="study_series"),
    path("studies/<int:pk>/history/", history, name="study_history"),
    path("studies/<int:pk>/download/", download, name="study_download"),
    path("studies/<int:pk>/send/", send, name="study_send"),
    path("series/<int:pk>/", one_series, name="series"),
    path("series/<int:pk>/picture/", series_picture, name="series_picture"),
    path("objects/<int:pk>/", elements, name="elements"),
    path("objects/<int:pk>/picture/", picture, name="object_picture"),
]
