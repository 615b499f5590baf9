"""WADO-URI: one object by the parameters of an address, as a file or as a picture (PS3.18 §9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from hozi.accounts import authorise
from hozi.archive import give, pictures
from hozi.archive.fetch import Holding
from hozi.archive.pictures import Look, NoPicture
from hozi.core.dicom import syntaxes, uids
from hozi.core.errors import NotThere
from hozi.doors.dicomweb import accept, offers, whole
from hozi.doors.dicomweb.accept import Offer, Wanted
from hozi.doors.dicomweb.exchange import Malformed, NotAcceptable, Request, Response, Unprocessable
from hozi.doors.dicomweb.frames import OPEN
from hozi.doors.dicomweb.objects import alone, tag_of
from hozi.doors.dicomweb.routes import enter

_NAMES: Final = {"studyUID": "study", "seriesUID": "series", "objectUID": "instance"}
_PICTURES: Final[dict[str, pictures.Kind]] = {
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
}
_REFUSED: Final = {
    "anonymize": "Objects are not made anonymous on the way out: take them from a study that was, or ask a person",
    "region": "A part of a picture is not cut out here: ask for the rendered frame (WADO-RS, viewport)",
    "annotation": "Nothing is written into pictures here",
}
_CALLED: Final = {
    name.lower(): name
    for name in (
        *(*_NAMES, *_REFUSED, "requestType", "contentType", "transferSyntax", "frameNumber", "rows", "columns"),
        *("windowCenter", "windowWidth", "imageQuality", "presentationUID", "presentationSeriesUID"),
    )
}
_MOST_SIDE: Final = 8192


def register() -> None:
    """Enters the routes."""
    enter("GET", "/wado", OPEN, wado)


def wado(request: Request) -> Response:
    """One object, in the media type that is asked for."""
    told = _told(request)
    if told.get("requestType", "").upper() != "WADO":
        raise Malformed("This address needs requestType=WADO", field="requestType")
    for name, why in _REFUSED.items():
        if told.get(name, "") not in ("", "no"):
            raise Malformed(why, field=name)
    for name in _NAMES:
        if not uids.is_valid(told.get(name, "")):
            raise Malformed(f"This address needs {name}: digits and dots, at most 64", field=name)
        request.names[_NAMES[name]] = told[name]
    reach = authorise.reach(request.who, OPEN)
    holding = give.one(reach, told["studyUID"], told["seriesUID"], told["objectUID"])
    media = _media(request, told, holding)
    if media == offers.DICOM:
        return _file(request, told, holding)
    return _picture(request, told, holding, media)


def _told(request: Request) -> dict[str, str]:
    """The parameters, whatever the case of their names."""
    return {_CALLED.get(name.lower(), name): value.strip() for name, value in request.query}


def _media(request: Request, told: dict[str, str], holding: Holding) -> str:
    """What is asked for of what there is; without a word, a picture of what has one frame (PS3.18 §9.1.2.1.1)."""
    said: Sequence[Wanted] = ()
    if told.get("contentType"):
        said = accept.wanted(told["contentType"])
    there = [Offer(media) for media in (offers.DICOM, *_PICTURES)]
    if said:
        return accept.choose(said, there).media
    if "frameNumber" in told or _is_one_picture(holding):
        there = [*there[1:], there[0]]
    return accept.choose(accept.wanted(request.headers.get("accept", "")), there).media


def _is_one_picture(holding: Holding) -> bool:
    if syntaxes.for_unknown(holding.transfer_syntax).deflated:
        return False
    try:
        found = give.frames(holding, holding.transfer_syntax)
    except NotThere:
        return False
    found.close()
    return found.count == 1


def _file(request: Request, told: dict[str, str], holding: Holding) -> Response:
    offered = [offer for offer in offers.of_object(holding.transfer_syntax, True) if not offer.multipart]
    syntax = told.get("transferSyntax", "")
    # Explicit VR little endian, unless another one is named (PS3.18 §9.1.2.2.4); one that cannot be had counts as none.
    named = [offer for offer in offered if syntax in (offer.syntax, "*")]
    offer = named[0] if syntax and named else next(offer for offer in offered if offer.unnamed)
    tag = tag_of(holding, offer)
    if (same := whole.unchanged(request, tag)) is not None:
        return same
    answer = alone(request, holding, offer, tag)
    give.note(request.who, holding)
    return answer


def _picture(request: Request, told: dict[str, str], holding: Holding, media: str) -> Response:
    center, width = _decimal(told, "windowCenter"), _decimal(told, "windowWidth")
    if (center is None) != (width is None):
        raise Malformed("windowCenter and windowWidth go together", field="windowWidth")
    if width is not None and width < 1:
        raise Malformed("windowWidth is 1 at least", field="windowWidth")
    look = Look(
        frame=_whole(told, "frameNumber", give.MOST_FRAMES) or (0 if media == "image/gif" else 1),
        window=None if center is None or width is None else (center, width, "LINEAR"),
        width=_whole(told, "columns", _MOST_SIDE),
        height=_whole(told, "rows", _MOST_SIDE),
        quality=_whole(told, "imageQuality", 100) or 90,
        kind=_PICTURES[media],
        enlarge=True,
    )
    state = None
    if told.get("presentationUID"):
        reach = authorise.reach(request.who, OPEN)
        state = give.one(reach, holding.study, told.get("presentationSeriesUID", ""), told["presentationUID"])
    tag = f'"{pictures.etag(holding, look, state)}"'
    if (same := whole.unchanged(request, tag)) is not None:
        return same
    try:
        found = pictures.picture(holding, look, state)
    except NoPicture as error:
        if "contentType" in told or "frameNumber" in told:
            raise Unprocessable(f"{error} As application/dicom, the object can be had.") from None
        raise NotAcceptable(f"{error} There is: {offers.DICOM}.") from None
    give.note(request.who, holding)
    return Response(200, whole.headers(found.content_type, tag), found.data)


def _whole(told: dict[str, str], name: str, most: int) -> int | None:
    text = told.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
        raise Malformed(f"{name} is a whole number from 1 to {most}", field=name)
    return int(text)


def _decimal(told: dict[str, str], name: str) -> float | None:
    text = told.get(name, "")
    if not text:
        return None
    try:
        number = float(text) if len(text) <= 32 else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Malformed(f"{name} is a number", field=name)
    return number
