"""What objects say, but for their pixels (PS3.18 §10.4.1.1.2): of a study, a series or one object, as JSON or XML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hozi.archive import metadata
from hozi.archive.metadata import Metadata
from hozi.archive.study_page import LOOK
from hozi.core.dicom import xml_model
from hozi.doors.dicomweb import accept, routes
from hozi.doors.dicomweb.accept import Offer
from hozi.doors.dicomweb.exchange import PRIVATE, Piece, Request, Response
from hozi.doors.dicomweb.multipart import Parts

_XML: Final = "application/dicom+xml"
_OFFERS: Final = (Offer("application/dicom+json"), Offer("application/json"), Offer(_XML, multipart=True))
_WHOLE: Final = 8 << 20
"""What is longer than this is sent in pieces to who does not take it compressed."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How it is sent. Each way has an ETag of its own (RFC 9110 §8.8.3.3)."""

    offer: Offer
    packed: bool

    @property
    def end(self) -> str:
        return "-xml" if self.offer.multipart else "-gzip" if self.packed else "-json"


def register() -> None:
    """Enters the routes of metadata."""
    routes.enter("GET", "/studies/{study}/metadata", LOOK, study)
    routes.enter("GET", "/studies/{study}/series/{series}/metadata", LOOK, series)
    routes.enter("GET", "/studies/{study}/series/{series}/instances/{instance}/metadata", LOOK, instance)


def study(request: Request) -> Response:
    """What the objects of a study say, as far as they are reached."""
    form, names = _form(request), request.names
    return _sent(form, metadata.of_study(request.who, names["study"], request.base, _known(request, form)))


def series(request: Request) -> Response:
    """What the objects of a series say."""
    form, names = _form(request), request.names
    known = _known(request, form)
    return _sent(form, metadata.of_series(request.who, names["study"], names["series"], request.base, known))


def instance(request: Request) -> Response:
    """What one object says."""
    form, names = _form(request), request.names
    which = names["study"], names["series"], names["instance"]
    return _sent(form, metadata.of_instance(request.who, *which, request.base, _known(request, form)))


def _form(request: Request) -> _Form:
    asked = request.asked("accept")
    offer = accept.choose(accept.wanted(request.headers.get("accept", ""), asked[0] if asked else None), _OFFERS)
    return _Form(offer, not offer.multipart and _takes_gzip(request.headers.get("accept-encoding", "")))


def _known(request: Request, form: _Form) -> list[str]:
    """The tags of what the client has in that form."""
    told = request.headers.get("if-none-match", "")[:4096]
    tags = [one.strip().removeprefix("W/").strip('"') for one in told.split(",")] if told else []
    return [tag.removesuffix(form.end) for tag in tags if tag.endswith(form.end)]


def _sent(form: _Form, found: Metadata) -> Response:
    headers = [
        ("etag", f'"{found.tag}{form.end}"'),
        ("cache-control", PRIVATE),
        ("vary", "Accept, Accept-Encoding"),
    ]
    if not found.copies:
        return Response(304, headers)
    if form.offer.multipart:
        parts = Parts(_XML, (found.tag,))
        return Response(200, [*headers, ("content-type", parts.content_type)], pieces=_documents(parts, found))
    headers.append(("content-type", form.offer.media))
    if form.packed:
        return Response(200, [*headers, ("content-encoding", "gzip")], found.packed())
    if found.length <= _WHOLE:
        return Response(200, headers, found.plain())
    return Response(200, headers, pieces=_unpacked(found))


def _takes_gzip(header: str) -> bool:
    """Whether a gzip stream is taken (RFC 9110 §12.5.3)."""
    for one in header[:1024].lower().split(","):
        coding, _, rest = one.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            q = rest.replace(" ", "").removeprefix("q=")
            return not (rest and q.strip("0.") == "")
    return False


def _unpacked(found: Metadata) -> Iterator[Piece]:
    before = b"["
    for piece in found.pieces():
        yield before + piece
        before = b","
    yield b"]"


def _documents(parts: Parts, found: Metadata) -> Iterator[Piece]:
    """A part for each object; objects are read some at a time."""
    for some in found.pieces():
        for dataset in json.loads(b"[" + some + b"]"):
            yield parts.head(_XML)
            yield from xml_model.document(dataset)
    yield parts.end()
