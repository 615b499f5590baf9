"""WADO-RS, datasets: studies, series and objects as files of PS3.10 (PS3.18 §10.4.1.1), and studies as ZIP archives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from hozi.accounts import authorise
from hozi.archive import give
from hozi.archive.download import PERMISSION as DOWNLOAD
from hozi.archive.download import download
from hozi.archive.fetch import (
    SERIES_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    Damaged,
    Holding,
    Selection,
)
from hozi.archive.study_page import number_of
from hozi.core.dicom import part10
from hozi.core.errors import NotThere, Unreadable
from hozi.core.pixels.pool import TranscodeFailed
from hozi.doors.dicomweb import accept, offers, whole
from hozi.doors.dicomweb.accept import Offer
from hozi.doors.dicomweb.exchange import NotAcceptable, Piece, Request, Response
from hozi.doors.dicomweb.frames import INSTANCE, OPEN, holding_of, wanted
from hozi.doors.dicomweb.multipart import Parts
from hozi.doors.dicomweb.offers import DICOM, ZIP
from hozi.doors.dicomweb.routes import enter
from hozi.doors.dicomweb.whole import Slice
from hozi.settings import HOZI

_ZIP: Final = Offer(ZIP)


def register() -> None:
    """Enters the routes."""
    enter("GET", "/studies/{study}", OPEN, several)
    enter("GET", "/studies/{study}/series/{series}", OPEN, several)
    enter("GET", INSTANCE, OPEN, one)


def one(request: Request) -> Response:
    """One object: as a part, or alone."""
    holding = holding_of(request)
    offered = offers.of_object(holding.transfer_syntax, True)
    offer = accept.choose(wanted(request), offered)
    tag = tag_of(holding, offer)
    if (same := whole.unchanged(request, tag)) is not None:
        return same
    address = f"{request.base}/studies/{holding.study}/series/{request.names['series']}/instances"
    if offer.multipart:
        parts = Parts(DICOM, (holding.sha256, tag))
        pieces = _begun(_parts(iter([holding]), 1, {holding.transfer_syntax: offer}, parts, address))
        answer = Response(200, whole.headers(parts.content_type, tag), pieces=pieces)
    else:
        answer = alone(request, holding, offer, tag)
    give.note(request.who, holding)
    return answer


def tag_of(holding: Holding, offer: Offer) -> str:
    """The ETag of an object as it is offered: another one after each correction of it."""
    return whole.etag(holding.sha256, json.dumps(sorted(holding.changes.items())), str(offer))


def alone(request: Request, holding: Holding, offer: Offer, tag: str) -> Response:
    """The object as a file, by itself. Raises `NotAcceptable` when it cannot be had in that transfer syntax."""
    head = header(holding, offer.syntax)
    if holding.changes:
        # How long it is, is known when it has been made.
        pieces = chain([head], dataset(holding, offer.syntax))
        return Response(200, whole.headers(offer.content_type, tag), pieces=pieces)
    try:
        file, at, length = holding.open_as(offer.syntax)
    except (TranscodeFailed, Unreadable) as error:
        raise _as_stored_only(holding, error) from None
    return whole.answer(request, offer.content_type, [head, Slice(file, at, length)], tag, file.close)


def several(request: Request) -> Response:
    """All objects of a study or series, in parts; a study also as a ZIP archive."""
    reach = authorise.reach(request.who, OPEN)
    names = {STUDY_INSTANCE_UID: [request.names["study"]]}
    if "series" in request.names:
        names[SERIES_INSTANCE_UID] = [request.names["series"]]
    selection = Selection(names, reach)
    if not selection.count:
        raise NotThere("There is no such study or series, or it is not yours to see.")
    said = wanted(request)
    archive = () if "series" in request.names else (_ZIP,)
    chosen = {
        syntax: accept.choose(said, (*offers.of_object(syntax, False), *archive))
        for syntax in dict.fromkeys(syntax for _, syntax in selection.needs())
    }
    if _ZIP in chosen.values():
        return _zip(request)
    holdings = iter(selection)
    first = next(holdings)
    parts = Parts(DICOM)
    address = f"{request.base}/studies/{first.study}/series"
    pieces = _begun(_parts(chain([first], holdings), selection.count, chosen, parts, address))
    give.note(request.who, first)
    return Response(200, whole.headers(parts.content_type), pieces=pieces)


def _zip(request: Request) -> Response:
    authorise.check(request.who, DOWNLOAD)
    made = download(request.who, number_of(request.who, DOWNLOAD, request.names["study"]))
    pairs = [*whole.headers(ZIP), ("content-disposition", f'attachment; filename="{made.name}"')]
    return Response(200, pairs, pieces=made.pieces)


def _parts(
    holdings: Iterator[Holding], count: int, chosen: Mapping[str, Offer], parts: Parts, address: str
) -> Iterator[Piece]:
    """The answer in pieces, of which none is joined with another; it breaks off where an object cannot be given."""
    for holding in holdings:
        offer = chosen[holding.transfer_syntax]
        pieces = dataset(holding, offer.syntax)
        head = header(holding, offer.syntax)
        known = offer.syntax == holding.transfer_syntax and not holding.changes
        length = len(head) + holding.length if known else None
        where = f"{address}/{holding.series}/instances" if address.endswith("/series") else address
        try:
            yield parts.head(offer.content_type, length, f"{where}/{holding.sop_instance}") + head
            yield from pieces
        finally:
            if isinstance(pieces, whole.Closing):
                pieces.close()
        count -= 1
    if count:
        raise Damaged("objects went away while they were being sent")
    yield parts.end()


def _begun(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same, when the first object can be given."""
    first = next(pieces)
    return _closing(first, pieces)


def _closing(first: Piece, pieces: Iterator[Piece]) -> Iterator[Piece]:
    try:
        yield first
        yield from pieces
    finally:
        pieces.close()  # type: ignore[attr-defined]  # they are a generator


def dataset(holding: Holding, syntax: str) -> Iterable[Piece]:
    """The object's dataset, corrections applied. Raises `NotAcceptable` when it cannot be had in that syntax."""
    try:
        if holding.changes:
            return holding.send_as(syntax)
        file, at, length = holding.open_as(syntax)
    except (TranscodeFailed, Unreadable) as error:
        raise _as_stored_only(holding, error) from None
    return whole.Closing(whole.read(file, at, length), file.close)


def header(holding: Holding, syntax: str) -> bytes:
    """What stands before the dataset in a file (PS3.10 §7.1): never what a sender put there."""
    return part10.write_header(holding.sop_class, holding.sop_instance, syntax, source_ae=HOZI.ae_title)


def _as_stored_only(holding: Holding, error: Exception) -> NotAcceptable:
    return NotAcceptable(f"{error} There is: {DICOM}; transfer-syntax={holding.transfer_syntax}.")
