"""WADO-RS, pixels: frames as they are stored or as plain numbers, and what metadata leaves out (PS3.18 §10.4.1.1)."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from hozi.accounts import authorise
from hozi.archive import give, pictures
from hozi.archive.fetch import Holding
from hozi.archive.give import Frames
from hozi.archive.pictures import NoPicture
from hozi.core.dicom import syntaxes
from hozi.core.dicom.pixel_data import DOUBLE_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_DATA
from hozi.core.errors import NotThere, Unreadable
from hozi.core.pixels.pool import TranscodeFailed
from hozi.doors.dicomweb import accept, offers, whole
from hozi.doors.dicomweb.accept import Offer
from hozi.doors.dicomweb.exchange import Malformed, NotAcceptable, Request, Response
from hozi.doors.dicomweb.multipart import Parts
from hozi.doors.dicomweb.offers import OCTETS
from hozi.doors.dicomweb.routes import enter
from hozi.doors.dicomweb.whole import Slice

OPEN: Final = "studies.open"
INSTANCE: Final = "/studies/{study}/series/{series}/instances/{instance}"

_MOST_NUMBERS: Final = 4096
_MOST_RECODED: Final = 256
_PIXELS: Final = frozenset({f"{tag:08X}" for tag in (FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA, PIXEL_DATA)})
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
#: Sequences on the way to a value, at most.
_DEEPEST: Final = 7
_WORTH_IT: Final = range(1024, 4 << 20)
"""Values of this many bytes are compressed for who takes that."""


def register() -> None:
    """Enters the routes."""
    enter("GET", f"{INSTANCE}/frames/{{frames}}", OPEN, frames)
    path = f"{INSTANCE}/bulkdata"
    for depth in range(_DEEPEST + 1):
        letter = chr(ord("a") + depth)
        enter("GET", f"{path}/{{tag_{letter}}}", OPEN, bulkdata)
        path += f"/{{tag_{letter}}}/{{item_{letter}}}"


def holding_of(request: Request) -> Holding:
    """The object that the address names, within reach. Raises `NotThere`."""
    names = request.names
    reach = authorise.reach(request.who, OPEN)
    return give.one(reach, names["study"], names.get("series", ""), names["instance"])


def wanted(request: Request) -> Sequence[accept.Wanted]:
    """What the client takes."""
    return accept.wanted(request.headers.get("accept", ""), next(iter(request.asked("accept")), None))


def frames(request: Request) -> Response:
    """Some frames of one object."""
    numbers = numbers_in(request.names["frames"])
    holding = holding_of(request)
    return _answer(request, holding, numbers, f"frames/{request.names['frames']}")


def _answer(request: Request, holding: Holding, numbers: Sequence[int], where: str) -> Response:
    """The frames with these numbers; none: all."""
    alone = len(numbers) == 1 or not numbers
    said = wanted(request)
    offered = offers.of_frames(holding.transfer_syntax, alone)
    offer = accept.choose(said, offered)
    tag = whole.etag(holding.sha256, where, str(offer))
    if (same := whole.unchanged(request, tag)) is not None:
        return same
    if offer.syntax in offers.HTJ2K and offer.syntax != holding.transfer_syntax:
        return _recoded(request, holding, numbers, offer, tag)
    found = _frames(holding, offer, offered)
    try:
        if not numbers:
            numbers = range(1, found.count + 1)
        if len(numbers) > 1 and not offer.multipart and (found.place.encapsulated or found.place.frame_bits % 8):
            offer = accept.choose(said, [one for one in offered if one.multipart])
        if max(numbers) > found.count:
            raise NotThere("There is no such frame.")
        lengths = [found.length(number) for number in numbers]
    except BaseException:
        found.close()
        raise
    give.note(request.who, holding)
    if not offer.multipart:
        return _alone(request, found, numbers, offer, tag)
    address = f"{request.base}/studies/{request.names['study']}/series/{request.names['series']}"
    address += f"/instances/{holding.sop_instance}/frames/"
    return _in_parts(found, numbers, lengths, offer, tag, address, (holding.sha256, where, offer.syntax))


def _recoded(request: Request, holding: Holding, numbers: Sequence[int], offer: Offer, tag: str) -> Response:
    """Frames in another compression without loss. Raises `NotAcceptable` when they cannot be had so."""
    if not numbers or len(numbers) > _MOST_RECODED:
        raise NotAcceptable(f"{offer} is given by frames, up to {_MOST_RECODED} of them.")
    try:
        made = [pictures.frame(holding, number, offer.syntax) for number in numbers]
    except NoPicture as error:
        raise NotAcceptable(f"{error} There is: {OCTETS}.") from None
    give.note(request.who, holding)
    if not offer.multipart:
        return whole.answer(request, offer.content_type, made, tag, lambda: None)
    parts = Parts(offer.media, (holding.sha256, request.names["frames"], offer.syntax))
    body = b"".join(parts.head(offer.content_type, len(one)) + one for one in made) + parts.end()
    return Response(200, [*whole.headers(parts.content_type, tag), ("content-length", str(len(body)))], body)


def _in_parts(
    found: Frames,
    numbers: Sequence[int],
    lengths: Sequence[int],
    offer: Offer,
    tag: str,
    address: str,
    source: tuple[str, ...],
) -> Response:
    parts = Parts(offer.media, source)
    said = offer.content_type
    heads = [parts.head(said, length, f"{address}{number}") for number, length in zip(numbers, lengths, strict=True)]
    end = parts.end()
    total = sum(lengths) + sum(map(len, heads)) + len(end)
    pairs = [*whole.headers(parts.content_type, tag), ("content-length", str(total))]
    at_once = total <= whole.AT_ONCE
    pieces = whole.Closing(_pieces(found, numbers, heads, end, at_once), found.close)
    if at_once:
        return Response(200, pairs, b"".join(pieces))
    return Response(200, pairs, pieces=pieces)


def _pieces(
    found: Frames, numbers: Sequence[int], heads: Sequence[bytes], end: bytes, at_once: bool
) -> Iterator[bytes]:
    for number, head in zip(numbers, heads, strict=True):
        yield head
        if at_once or not found.place.plain:
            yield found.read(number)
        else:
            for at, length in found.fragments(number):
                yield from whole.read(found.file, found.offset + at, length)
    yield end


def _alone(request: Request, found: Frames, numbers: Sequence[int], offer: Offer, tag: str) -> Response:
    """One frame, or all native ones together, by itself."""
    place = found.place
    if not place.plain:
        body: list[bytes | Slice] = [found.read(number) for number in numbers]
    elif place.encapsulated:
        body = [Slice(found.file, found.offset + at, length) for at, length in found.fragments(numbers[0])]
    else:
        size = place.frame_bits // 8
        body = [Slice(found.file, found.offset + place.at + (numbers[0] - 1) * size, size * len(numbers))]
    return whole.answer(request, offer.content_type, body, tag, found.close)


def _frames(holding: Holding, offer: Offer, offered: Sequence[Offer]) -> Frames:
    """The frames in the syntax of the offer. Raises `NotAcceptable` when they can be had in another one only."""
    stored = syntaxes.for_unknown(holding.transfer_syntax)
    as_stored = not stored.deflated and (offer.syntax == stored.uid or not stored.encapsulated)
    try:
        if as_stored:
            return give.frames(holding, stored.uid)
        return give.frames(holding, syntaxes.EXPLICIT_LITTLE)
    except (TranscodeFailed, Unreadable) as error:
        there = ", ".join(str(one) for one in offered if one.syntax == stored.uid)
        if as_stored or not there:
            raise
        raise NotAcceptable(f"{error} There is: {there}.") from None


def numbers_in(text: str) -> list[int]:
    """Frame numbers as the address has them. Raises `Malformed`."""
    parts = text.replace("%2C", ",").replace("%2c", ",").split(",")
    if len(parts) > _MOST_NUMBERS or not all(part.isdecimal() and part.isascii() and len(part) < 10 for part in parts):
        raise Malformed("Frames are numbers with commas between them, the first one is 1", field="frames")
    numbers = [int(part) for part in parts]
    if min(numbers) < 1:
        raise Malformed("The first frame is 1", field="frames")
    return numbers


# What metadata leaves out -------------------------------------------------------------------------------


def bulkdata(request: Request) -> Response:
    """The value of one element: pixel data frame by frame, any other as it stands in the dataset, in little endian."""
    path, tag = _path(request.names)
    holding = holding_of(request)
    if not path and tag in _PIXELS:
        return _answer(request, holding, (), f"bulkdata/{tag}")
    offered = (Offer(OCTETS, multipart=True), Offer(OCTETS))
    said = [replace(one, parameters={**one.parameters, "transfer-syntax": ""}) for one in wanted(request)]
    offer = accept.choose(said, offered)
    zipped = "gzip" in request.headers.get("accept-encoding", "") and "range" not in request.headers
    etag = whole.etag(holding.sha256, str(path), tag, str(offer), str(zipped))
    if (same := whole.unchanged(request, etag)) is not None:
        return same
    file, at, length = give.value(holding, path, int(tag, 16))
    give.note(request.who, holding)
    body: list[bytes | Slice] = [Slice(file, at, length)]
    said_type = OCTETS
    if offer.multipart:
        parts = Parts(OCTETS, (holding.sha256, str(path), tag))
        body = [parts.head(OCTETS, length), *body, parts.end()]
        said_type = parts.content_type
    answer = whole.answer(request, said_type, body, etag, file.close)
    if zipped and answer.status == 200 and answer.pieces is None and length in _WORTH_IT:
        return _zipped(answer)
    return answer


def _zipped(answer: Response) -> Response:
    body = gzip.compress(answer.body, 5, mtime=0)
    if len(body) > 0.9 * len(answer.body):
        return answer
    kept = [pair for pair in answer.headers if pair[0] not in ("content-length", "accept-ranges", "vary")]
    more = [("content-encoding", "gzip"), ("vary", "Accept, Accept-Encoding, Authorization, Cookie")]
    return Response(200, [*kept, *more, ("content-length", str(len(body)))], body)


def _path(names: dict[str, str]) -> tuple[list[tuple[int, int]], str]:
    """The sequences on the way to an element, and its tag. Raises `Malformed`."""
    tags = [value for name, value in names.items() if name.startswith("tag_")]
    items = [value for name, value in names.items() if name.startswith("item_")]
    if not all(_TAG.fullmatch(tag) for tag in tags) or not all(one.isdecimal() and len(one) < 10 for one in items):
        raise Malformed("Bulk data is named by its tag: eight hexadecimal digits; items by their numbers", field="tag")
    return [(int(tag, 16), int(item)) for tag, item in zip(tags, items, strict=False)], tags[-1].upper()
