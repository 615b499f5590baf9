"""Images come from a browser: a page onto which files and folders are dropped, and what its script asks for.

The script asks how far each file has come (`state`), then sends each from there on (`send`), piece by piece over
whatever the link bears; `archive/uploads.py` keeps what came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts.authorise import may
from hozi.archive import bringing, uploads
from hozi.archive.bringing import PERMISSION
from hozi.archive.uploads import Fate, Standing, Why
from hozi.core.errors import Changed, Refused, Unavailable
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.exceptions import REASONS
from hozi.doors.http.inflow import BrokenOff
from hozi.settings import HOZI

_ADDRESS: Final = "/upload/send/"
_PIECE: Final = 128 << 10
_LONGEST_NUMBER: Final = 15

_TEXTS: Final = {
    "waiting": gettext_lazy("waits"),
    "sending": gettext_lazy("on its way"),
    "working": gettext_lazy("is taken in"),
    "stored": gettext_lazy("stored"),
    "duplicate": gettext_lazy("was there already"),
    "quarantined": gettext_lazy("kept aside"),
    "refused": gettext_lazy("not an image"),
    "failed": gettext_lazy("not sent"),
    "skipped": gettext_lazy("left out"),
    "directory": gettext_lazy("The list of a disc: its images are taken, the list itself is not needed."),
    "not_dicom": gettext_lazy("No DICOM file: nothing of it was sent."),
    "empty": gettext_lazy("The file is empty."),
    "unreadable": gettext_lazy("This computer cannot read the file."),
    "too_large": gettext_lazy("Larger than the archive takes."),
    "offline": gettext_lazy(
        "The connection is gone. It goes on by itself when it is back; you may also come back later and choose the same"
        " files."
    ),
    "paused": gettext_lazy("Paused."),
    "signed_out": gettext_lazy("You are signed out. Sign in again in another window, then go on."),
    "progress": gettext_lazy("{done} of {all} files, {sent} of {size}"),
    "left": gettext_lazy("about {time} left"),
    "done": gettext_lazy("Done: {all} files."),
    "pause": gettext_lazy("Pause"),
    "go_on": gettext_lazy("Go on"),
    "study": gettext_lazy("Open the study"),
    "exception": gettext_lazy("See why"),
    "of_zip": gettext_lazy("{stored} stored, {duplicate} there already, {quarantined} kept aside, {refused} no images"),
    "leave": gettext_lazy("Files are still on their way."),
    "more": gettext_lazy("and {count} more"),
}
"""What the script says, in the language of the page."""


def streams_in(method: str, path: str) -> bool:
    """Whether this is a request whose body is a file, of any size."""
    return method == "POST" and path == _ADDRESS


@page(PERMISSION)
def upload(request: Request) -> HttpResponse:
    """The page onto which files are dropped."""
    context = {
        "place": "upload",
        "facilities": bringing.facilities(request.who),
        "days": uploads.DAYS,
        "told": {
            "texts": {name: str(text) for name, text in _TEXTS.items()},
            "state": reverse("upload_state"),
            "send": reverse("upload_send"),
            "forget": reverse("upload_forget"),
            "person": request.who.person,
            "most": HOZI.max_object_bytes,
        },
    }
    return render(request, "console/upload/upload.html", context)


@action(PERMISSION)
def state(request: Request) -> HttpResponse:
    """How far each of some files has come."""
    return _told(
        request, lambda: {"files": [_shown(request, one) for one in uploads.standing(request.who, _asked(request))]}
    )


@action(PERMISSION)
def send(request: Request) -> HttpResponse:
    """What comes of one file, from a byte on."""

    def work() -> dict[str, Any]:
        key = request.headers.get("Upload-Key", "")
        length, offset = (_number(request.headers.get(name, ""), name) for name in ("Upload-Length", "Upload-Offset"))
        facility = request.headers.get("Upload-Facility", "")
        try:
            standing = uploads.take(request.who, key, length, offset, _pieces(request), facility=facility)
        except BrokenOff:
            [standing] = uploads.standing(request.who, [(key, length)])
        return _shown(request, standing)

    return _told(request, work)


@action(PERMISSION)
def forget(request: Request) -> HttpResponse:
    """What came of some files is not wanted any more."""

    def work() -> dict[str, Any]:
        for key, length in _asked(request):
            uploads.give_up(request.who, key, length)
        return {}

    return _told(request, work)


def _told(request: Request, work: Callable[[], dict[str, Any]]) -> HttpResponse:
    """The answer to the script: what ``work`` says, or why not, in words for people."""
    try:
        return JsonResponse(work())
    except Changed as error:
        return JsonResponse({"again": True, "text": str(error)}, status=409)
    except uploads.Busy as error:
        return JsonResponse({"again": True, "text": str(error)}, status=423)
    except Refused as error:
        return JsonResponse({"text": str(error)}, status=400)
    except Unavailable as error:
        return JsonResponse({"again": True, "text": str(error)}, status=503)


def _asked(request: Request) -> list[tuple[str, int]]:
    try:
        files = json.loads(request.body)["files"]
        return [(str(key), int(length)) for key, length in files]
    except (ValueError, KeyError, TypeError):
        raise Refused("That is no list of files") from None


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
        raise Refused(f"{name} is no number")
    return int(text)


def _pieces(request: Request) -> Iterator[bytes]:
    while piece := request.read(_PIECE):
        yield piece


def _shown(request: Request, standing: Standing) -> dict[str, Any]:
    told: dict[str, Any] = {"offset": standing.offset}
    if standing.fate is not None:
        told["fate"] = _fate(request, standing.fate)
    return told


def _fate(request: Request, fate: Fate) -> dict[str, Any]:
    studies = [reverse("study", args=[pk]) for pk in fate.studies] if may(request.who, "studies.find") else []
    return {"counts": fate.counts, "whys": [_why(request, why) for why in fate.whys], "studies": studies}


def _why(request: Request, why: Why) -> dict[str, str]:
    text = str(REASONS.get(why.reason, "")) if why.reason else _plain(why.text)
    seen = why.case is not None and may(request.who, "exceptions.see")
    return {"text": text or why.text, "url": reverse("exception", args=[why.case]) if seen else ""}


def _plain(text: str) -> str:
    """Why a file was refused, in the words of the page; what is rare stays as it is."""
    return {
        "not DICOM": _("No DICOM file."),
        "media directory, not an image": str(_TEXTS["directory"]),
        "empty file": str(_TEXTS["empty"]),
    }.get(text, text)


urlpatterns = [
    path("upload/", upload, name="upload"),
    path("upload/state/", state, name="upload_state"),
    path("upload/send/", send, name="upload_send"),
    path("upload/forget/", forget, name="upload_forget"),
]
