"""OHIF, the viewer of others, below /ohif/: its files and its page, for whoever may open studies.

Which study it opens stands in the page, not in its address: addresses are kept by browsers and proxies, and name no
patient, no examination. The page tells OHIF the UIDs of studies that it was asked for by their row numbers. From there
on OHIF speaks DICOMweb to this host, with the session of whoever is signed in, and to no other: the policy of its page
holds that.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.conf import settings
from django.http import FileResponse, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import path, re_path
from django.utils.cache import patch_vary_headers

from hozi.archive.study_page import LOOK, study_of
from hozi.core.errors import NotThere
from hozi.doors.console import paged
from hozi.doors.console.access import Request, page

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        "connect-src 'self' blob: data:",
        "worker-src 'self' blob:",
        "frame-src 'self' blob:",
        "object-src 'self' blob:",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""The Content-Security-Policy of OHIF's page and of its workers: it styles itself, decodes with WebAssembly and in
workers, and reaches this host only."""

_MOST_STUDIES: Final = 8
_FOR_EVER: Final = "private, max-age=31536000, immutable"


@dataclass(frozen=True)
class Taken:
    """What `hozi assets` took of OHIF."""

    version: str
    stamp: str
    program: str
    files: dict[str, str]


def taken() -> Taken | None:
    """The OHIF that is here; None where npm did not bring it."""
    file = Path(settings.OHIF_ROOT) / "manifest.json"
    try:
        return _read(file, file.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=2)
def _read(file: Path, _: int) -> Taken:
    return Taken(**json.loads(file.read_text(encoding="utf-8")))


@page(LOOK)
def ohif(request: Request) -> HttpResponse:
    """The page that OHIF lives in; ``?study=`` and ``?prior=``: row numbers of the studies that it opens."""
    found = taken()
    if found is None:
        return render(request, "console/ohif/missing.html", {"place": "studies"}, status=503)
    numbers = [paged.number(text) for name in ("study", "prior") for text in request.GET.getlist(name)]
    studies = [study_of(request.who, LOOK, number).uid for number in numbers[:_MOST_STUDIES]]
    response = render(request, "console/ohif/ohif.html", {"ohif": found, "opens": {"studies": studies}})
    response.headers["Content-Security-Policy"] = POLICY
    return response


@page(LOOK)
def ohif_file(request: Request, stamp: str, name: str) -> HttpResponseBase:
    """One of OHIF's files, as compressed as the browser takes it."""
    found = taken()
    kind = found.files.get(name) if found is not None and found.stamp == stamp else None
    if kind is None:
        raise NotThere("There is no such file of OHIF.")
    response = _file(Path(settings.OHIF_ROOT) / name, kind, request.headers.get("Accept-Encoding", ""))
    response.headers["Cache-Control"] = _FOR_EVER
    response.headers["Content-Security-Policy"] = POLICY
    patch_vary_headers(response, ["Accept-Encoding", "Cookie"])
    return response


def _file(file: Path, kind: str, accepted: str) -> HttpResponseBase:
    taken_as = {part.partition(";")[0].strip() for part in accepted.lower().split(",") if "q=0" not in part}
    for coding, suffix in (("br", ".br"), ("gzip", ".gz")):
        packed = file.with_name(file.name + suffix)
        if coding in taken_as and packed.is_file():
            response = FileResponse(packed.open("rb"), content_type=kind)
            response.headers["Content-Encoding"] = coding
            return response
    packed = file.with_name(file.name + ".gz")
    if packed.is_file():
        return FileResponse(gzip.open(packed, "rb"), content_type=kind)
    return FileResponse(file.open("rb"), content_type=kind)


urlpatterns = [
    path("ohif/viewer", ohif, name="ohif_viewer"),
    re_path(r"^ohif/(?:[a-z-]{1,40}/?)?$", ohif, name="ohif"),
    path("ohif/files/<str:stamp>/<path:name>", ohif_file, name="ohif_file"),
]
