"""Quick view: a study's images in the browser, soon over any link. What the browser runs stands in `static/viewer`.

The page names the first picture before any script, so that it is there at once; what is known of a series comes as
JSON; pictures come small and lossy, then whole, as values (`archive.pictures`). Addresses hold row ids only.
"""

from __future__ import annotations

import re
from typing import Any, Final

from django.http import HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views.decorators.gzip import gzip_page

from hozi.accounts.authorise import may
from hozi.archive import key_images, pictures, viewing
from hozi.archive.film import film_of
from hozi.archive.pictures import Look
from hozi.archive.study_page import LOOK
from hozi.archive.viewing import SeriesTold, StudyTold
from hozi.core.dicom.key_objects import TITLES
from hozi.core.errors import HoziError, NotThere, Unavailable
from hozi.doors.console import paged, viewer_words
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.templatetags.console import dicom_date, person_name

_FIRST: Final = 512
"""Pixels of the first picture, the longer side: 10 to 20 kB, and enough to see what it is."""
_SMALLEST, _LARGEST = 64, 2048
_QUALITY: Final = 70
_KEPT: Final = "private, max-age=600"


@page(LOOK)
@gzip_page
def view(request: Request, pk: int) -> HttpResponse:
    """The viewer, with a study in it; ``?series=`` and ``?object=`` say where to begin."""
    study = viewing.open_study(request.who, pk)
    first = _begin(study, paged.number(request.GET.get("series")))
    first_object = paged.number(request.GET.get("object")) or (first.first if first else 0)
    begin = {"series": first.pk if first else 0, "object": first_object, "frame": 1}
    context = {
        "study": study,
        "patient": study.patient,
        "first": first,
        "picture": _picture_address(first_object) if first and first.kind == "image" else "",
        "told": _told(study) | {"begin": begin} | _marks(request, pk),
        "titles": sorted(_TITLES.items()),
        "may_mark": may(request.who, key_images.PERMISSION),
        "words": viewer_words.words(),
        "buttons": viewer_words.buttons(),
        "keys": viewer_words.keys(),
        "scripts": SCRIPTS,
    }
    response = render(request, "console/viewer/view.html", context)
    # Reports and waveforms are read in a frame, films by the browser itself: from here, like everything.
    response._csp_update = {"frame-src": ["'self'"], "media-src": ["'self'"], "img-src": ["blob:"]}  # type: ignore[attr-defined]
    return response


_TITLES: Final = {code: TITLES[code] for code in ("113000", "113002", "113003", "113004", "113005", "113009", "113018")}


def _marks(request: Request, pk: int) -> dict[str, Any]:
    """Which images are key images already, and with what they are sent when somebody marks others."""
    told: dict[str, Any] = {"keys": key_images.frames(request.who, pk)}
    if may(request.who, key_images.PERMISSION):
        told |= {"mark": reverse("viewer_mark", args=(pk,)), "csrf": get_token(request)}
    return told


@action(key_images.PERMISSION)
def mark(request: Request, pk: int) -> HttpResponse:
    """Saves images of the study as key images: ``images`` reads ``object.frame`` for each."""
    chosen = []
    for one in request.POST.get("images", "")[:20_000].split():
        instance, _dot, frame = one.partition(".")
        chosen.append((paged.number(instance), paged.number(frame)))
    title = request.POST.get("title", "")
    try:
        key_images.keep(request.who, pk, chosen, title, observer=request.user.full_name)  # type: ignore[union-attr]
    except NotThere:
        raise
    except HoziError as error:
        return _why(str(error), 422)
    return JsonResponse({"keys": key_images.frames(request.who, pk)})


SCRIPTS: Final = tuple(
    f"viewer/{name}.js"
    for name in (
        *("main", "page", "link", "decode", "frames", "geometry", "paint", "pane", "texts", "measure", "hands"),
        *("stack", "stage", "strip", "cine", "tools", "special", "marks", "cross"),
    )
)
"""The modules that the viewer begins with: the browser asks for all at once."""


def _begin(study: StudyTold, wanted: int | None) -> SeriesTold | None:
    """The series that was asked for, else the first one with images, else the first."""
    asked = [one for one in study.series if one.pk == wanted]
    images = [one for one in study.series if one.kind == "image"]
    return next(iter(asked or images or study.series), None)


def _picture_address(pk: int) -> str:
    return f"{reverse('viewer_picture', args=(pk, 1))}?size={_FIRST}"


def _told(study: StudyTold) -> dict[str, Any]:
    """The study, for scripts."""
    patient = study.patient
    return {
        "study": study.pk,
        "patient": {
            "name": person_name(patient.name),
            "id": patient.patient_id,
            "issuer": patient.issuer,
            "born": dicom_date(patient.birth_date),
            "sex": patient.sex,
        },
        "date": study.date,
        "description": study.description,
        "series": [_series_told(one) for one in study.series],
        "priors": [
            {
                "pk": one.pk,
                "date": one.date,
                "description": one.description,
                "modalities": one.modalities,
                "facility": one.facility,
            }
            for one in study.priors
        ],
        "first_size": _FIRST,
    }


def _series_told(one: SeriesTold) -> dict[str, Any]:
    return {
        "pk": one.pk,
        "number": one.number,
        "modality": one.modality,
        "description": one.description,
        "count": one.count,
        "kind": one.kind,
        "first": one.first,
    }


@page(LOOK)
@gzip_page
def series_list(request: Request, pk: int) -> HttpResponse:
    """The series of another study of the patient, for the strip."""
    return _json(_told(viewing.open_study(request.who, pk)))


@page(LOOK)
@gzip_page
def series(request: Request, pk: int) -> HttpResponse:
    """What there is to know of a series and its images."""
    return _json(viewing.open_series(request.who, pk))


@page(LOOK)
def picture(request: Request, pk: int, frame: int) -> HttpResponse:
    """One image as a picture: small and lossy with ``size``; without, as PNG, nothing lost but what its window hides.

    ``center`` and ``width`` say another window than the image's own.
    """
    size = paged.number(request.GET.get("size"))
    window = _window(request)
    if size:
        most = min(max(size, _SMALLEST), _LARGEST)
        look = Look(frame=frame, window=window, width=most, height=most, quality=_QUALITY, kind="webp")
    else:
        look = Look(frame=frame, window=window, kind="png")
    return _answer(request, lambda: pictures.picture(viewing.image_of(request.who, pk), look))


@page(LOOK)
def values(request: Request, pk: int, frame: int) -> HttpResponse:
    """The values of one image, as they were stored: what a browser makes pictures of itself."""
    response = _answer(request, lambda: pictures.values(viewing.image_of(request.who, pk), frame))
    if response.status_code == 200:
        response.headers["Content-Encoding"] = "gzip"
    return response


@page(LOOK)
def video(request: Request, pk: int) -> HttpResponseBase:
    """A film, or the part of it for which a browser asks (RFC 9110 §14: one range of bytes)."""
    try:
        found = film_of(request.who, pk)
    except NotThere:
        raise
    except HoziError as error:
        return _why(str(error), 422)
    first, last, status = _part(request.headers.get("Range", ""), found.length)
    if status == 416:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{found.length}"})
    response = StreamingHttpResponse(found.pieces(first, last), content_type=found.content_type, status=status)
    response.headers["Content-Length"] = str(last - first + 1)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = f'"{found.etag}"'
    response.headers["Cache-Control"] = _KEPT
    if status == 206:
        response.headers["Content-Range"] = f"bytes {first}-{last}/{found.length}"
    return response


_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def _part(wanted: str, length: int) -> tuple[int, int, int]:
    """The first and the last byte, and the status of the answer."""
    told = _RANGE.fullmatch(wanted.strip())
    if not told or told.group() == "bytes=-" or not length:
        return 0, length - 1, 200
    if not told[1]:
        first, last = max(length - int(told[2]), 0), length - 1
    else:
        first, last = int(told[1]), min(int(told[2] or length - 1), length - 1)
    return (first, last, 206) if first <= last else (0, 0, 416)


def _window(request: Request) -> tuple[float, float, str] | None:
    try:
        center, width = float(request.GET["center"]), float(request.GET["width"])
    except (KeyError, ValueError):
        return None
    return (center, width, "LINEAR") if 0 < width < 1e9 and abs(center) < 1e9 else None


def _json(told: dict[str, Any]) -> JsonResponse:
    response = JsonResponse(told, json_dumps_params={"separators": (",", ":"), "ensure_ascii": False})
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _answer(request: Request, make: Any) -> HttpResponse:
    """A picture or values; or why there are none, in words."""
    try:
        made = make()
    except NotThere:
        raise
    except Unavailable:
        response = _why(_("busy"), 503)
        response.headers["Retry-After"] = "2"
        return response
    except HoziError as error:
        return _why(str(error), 422)
    tag = f'"{made.etag[:40]}"'
    if request.headers.get("If-None-Match") == tag:
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(made.data, content_type=getattr(made, "content_type", "application/octet-stream"))
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = _KEPT
    patch_vary_headers(response, ["Cookie"])
    return response


def _why(text: str, status: int) -> HttpResponse:
    return HttpResponse(text, content_type="text/plain; charset=utf-8", status=status)


urlpatterns = [
    path("view/<int:pk>/", view, name="viewer"),
    path("view/<int:pk>/key-images/", mark, name="viewer_mark"),
    path("view/<int:pk>/series/", series_list, name="viewer_study"),
    path("view/series/<int:pk>/", series, name="viewer_series"),
    path("view/objects/<int:pk>/<int:frame>/picture/", picture, name="viewer_picture"),
    path("view/objects/<int:pk>/<int:frame>/values/", values, name="viewer_values"),
    path("view/objects/<int:pk>/video/", video, name="viewer_video"),
]
