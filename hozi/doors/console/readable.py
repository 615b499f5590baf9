"""What is no image, shown readably: reports, waveforms on their grid, documents. In a page, or bare inside a viewer.

``?bare=1`` is the same without navigation, for a frame inside our own pages: only these may stand in one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from django.http import FileResponse, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.gzip import gzip_page

from hozi.archive import reports, study_page
from hozi.archive.readable import Readable
from hozi.archive.reports import ShownReport
from hozi.archive.study_page import LOOK
from hozi.core import waveforms
from hozi.core.dicom.structured import Item, Reference
from hozi.core.errors import Unreadable
from hozi.doors.console.access import Request, page

_FRAMED: Final = {"frame-ancestors": ["'self'"], "frame-src": ["'self'"]}
_DOCUMENT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'self'; sandbox"
)
"""Of a document that strangers wrote: whatever it is taken for, it runs nothing and belongs to no origin."""

_SECONDS: Final = 10.0
_LANGUAGE: Final = re.compile(r"[a-z]{2}(?:-[A-Za-z0-9]{2,8}){0,3}")


@page(LOOK)
@gzip_page
def report(request: Request, pk: int) -> HttpResponse:
    """A structured report, or a key object selection."""
    try:
        shown = reports.report_of(request.who, pk)
    except Unreadable as error:
        return _unreadable(request, pk, error)
    context = {
        "report": shown.report,
        "lines": list(_lines(shown)),
        "language": shown.report.language if _LANGUAGE.fullmatch(shown.report.language) else "",
        "before": [shown.places.get(one.sop_instance) for one in shown.report.predecessors],
    }
    return _shown(request, pk, "report", context)


@page(LOOK)
@gzip_page
def waveform(request: Request, pk: int) -> HttpResponse:
    """An ECG or another waveform, some seconds of it at a time."""
    try:
        shown = reports.waveform_of(request.who, pk)
    except Unreadable as error:
        return _unreadable(request, pk, error)
    first = request.GET.get("from", "")
    begin = float(first) if first.isdecimal() and len(first) < 8 else 0.0
    context = {
        "drawings": [waveforms.draw(group, first=begin, seconds=_SECONDS) for group in shown.groups],
        "annotations": shown.annotations,
        "moment": shown.moment,
        **_around(shown.groups, begin),
    }
    return _shown(request, pk, "waveform", context)


@page(LOOK)
def document(request: Request, pk: int) -> HttpResponse:
    """What document an object holds, with the way to it."""
    try:
        found = reports.document_of(request.who, pk)
    except Unreadable as error:
        return _unreadable(request, pk, error)
    found.file.close()
    return _shown(request, pk, "document", {"document": found})


@page(LOOK)
def document_file(request: Request, pk: int) -> HttpResponseBase:
    """The document itself: a PDF to be read by the browser's own reader, anything else to be kept as a file."""
    try:
        found = reports.document_of(request.who, pk)
    except Unreadable as error:
        return _unreadable(request, pk, error)
    inline = found.is_pdf and "keep" not in request.GET
    kind = "application/pdf" if found.is_pdf else "application/octet-stream"
    response = FileResponse(found.file, content_type=kind)
    name = f"document-{pk}.{'pdf' if found.is_pdf else _ENDINGS.get(found.media_type.lower(), 'bin')}"
    response.headers["Content-Disposition"] = f'{"inline" if inline else "attachment"}; filename="{name}"'
    response.headers["Content-Length"] = str(found.bytes)
    response.headers["Content-Security-Policy"] = _DOCUMENT_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Cache-Control"] = "private, no-store"
    return response


_ENDINGS: Final = {"text/xml": "xml", "application/xml": "xml", "model/stl": "stl", "text/plain": "txt"}


def address(kind: Readable, pk: int) -> str:
    """Where an object is read that is no image; its elements, when it is one."""
    return reverse(
        {"report": "report", "waveform": "waveform", "document": "document"}.get(kind, "elements"), args=[pk]
    )


def _shown(request: Request, pk: int, kind: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """The page, in the frame that was asked for."""
    bare = "bare" in request.GET
    instance = study_page.instance_of(request.who, LOOK, pk)
    head = study_page.open_study(request.who, instance.series.study_id)
    about = {
        "place": "studies",
        "frame": "console/readable/bare.html" if bare else "console/base.html",
        "bare": bare,
        "instance": instance,
        "kind": study_page.kind_of(instance.sop_class),
        "study": head,
        "patient": head.patient,
    }
    response = render(request, f"console/readable/{kind}.html", {**about, **context}, status=status)
    if bare:
        response._csp_replace = _FRAMED  # type: ignore[attr-defined]  # what csp's decorators leave, too
        response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


def _unreadable(request: Request, pk: int, error: Unreadable) -> HttpResponse:
    """Why it cannot be shown; the elements and the original are there nevertheless."""
    return _shown(request, pk, "unreadable", {"problem": str(error)}, status=422)


# Reports ----------------------------------------------------------------------------------------------


def _lines(shown: ShownReport) -> Iterator[dict[str, Any]]:
    """Content items as the template writes them; neighbours that only point to objects stand together."""
    together: list[dict[str, Any]] = []
    for item in shown.report.items:
        if item.kind == "reference" and not item.name and item.reference is not None:
            if together and together[-1]["depth"] != item.depth:
                yield {"kind": "references", "depth": together[0]["depth"], "links": together}
                together = []
            link = _link(shown, item.reference) | {"depth": item.depth}
            if together and not link["url"] and {**together[-1], "count": 1} == link:
                together[-1]["count"] += 1  # many that are not here are told by their number
            else:
                together.append(link)
            continue
        if together:
            yield {"kind": "references", "depth": together[0]["depth"], "links": together}
            together = []
        yield _line(shown, item)
    if together:
        yield {"kind": "references", "depth": together[0]["depth"], "links": together}


def _line(shown: ShownReport, item: Item) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "depth": item.depth,
        "level": min(item.depth + 2, 6),
        "item": item,
        "links": [_link(shown, item.reference)] if item.reference is not None else [],
    }


def _link(shown: ShownReport, reference: Reference) -> dict[str, Any]:
    there = shown.places.get(reference.sop_instance)
    frames = ", ".join(map(str, reference.frames))
    return {
        "url": address(there.readable, there.pk) if there is not None else "",
        "picture": there.pk if there is not None and not there.readable else 0,
        "kind": study_page.kind_of(reference.sop_class) if reference.sop_class else _("object"),
        "frames": frames,
        "count": 1,
    }


# Waveforms --------------------------------------------------------------------------------------------


def _around(groups: list[waveforms.Group], begin: float) -> dict[str, Any]:
    """Where the seconds before and after these begin, if there are any."""
    longest = max(group.seconds for group in groups)
    return {
        "longest": longest,
        "earlier": max(int(begin - _SECONDS), 0) if begin > 0 else None,
        "later": int(begin + _SECONDS) if begin + _SECONDS < longest else None,
    }


urlpatterns = [
    path("objects/<int:pk>/report/", report, name="report"),
    path("objects/<int:pk>/waveform/", waveform, name="waveform"),
    path("objects/<int:pk>/document/", document, name="document"),
    path("objects/<int:pk>/document/file/", document_file, name="document_file"),
]
