"""WADO-RS, pixels: frames as they are stored or as plain numbers, and what metadata leaves out (PS3.18 §10.4.1.1)."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hozi.accounts import authorise
from hozi.archive import give, pictures
from hozi.archive.fetch import Holding
from hozi.archive.give import Frames
from hozi.core.dicom import syntaxes
from hozi.core.dicom.pixel_data import DOUBLE_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_DATA
from hozi.core.dicom.syntaxes import EXPLICIT_LITTLE
from hozi.core.errors import NotThere
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
    stored = syntaxes.for_unknown(holding.transfer_syntax)
    kept = offer.syntax == stored.uid or (offer.media == OCTETS and not stored.encapsulated)
    found = give.frames(holding, EXPLICIT_LITTLE if stored.deflated else stored.uid)
    try:
        numbers = numbers or range(1, found.count + 1)
        if max(numbers) > found.count:
            raise NotThere("There is no such frame.")
        if len(numbers) > 1 and not offer.multipart and not (kept and found.place.plain and not stored.encapsulated):
            offer = accept.choose(said, [one for one in offered if one.multipart])
        lengths = [found.length(number) for number in numbers] if kept else []
    except BaseException:
        found.close()
        raise
    give.note(request.who, holding)
    address = f"{request.base}/studies/{holding.study}/series/{holding.series}/instances/{holding.sop_instance}/frames/"
    parts = Parts(offer.media, (holding.sha256, where, offer.syntax))
    if not kept:
        found.close()
        there = [one for one in offered if one.syntax == stored.uid]
        return _made(request, _Making(holding, numbers, offer, there), parts, tag, address)
    if not offer.multipart:
        return _alone(request, found, numbers, offer, tag)
    return _in_parts(found, numbers, lengths, offer, tag, address, parts)


def _in_parts(
    found: Frames,
    numbers: Sequence[int],
    lengths: Sequence[int],
    offer: Offer,
    tag: str,
    address: str,
    parts: Parts,
) -> Response:
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


@dataclass(frozen=True, slots=True)
class _Making:
    """Frames that are decoded one by one, and written in the syntax of an offer. ``there``: what needs no decoding."""

    holding: Holding
    numbers: Sequence[int]
    offer: Offer
    there: Sequence[Offer]

    def frame(self, number: int) -> bytes:
        """One of them. Raises `NotAcceptable` when it can only be had as it is stored."""
        try:
            syntax = EXPLICIT_LITTLE if self.offer.media == OCTETS else self.offer.syntax
            return pictures.frame(self.holding, number, syntax)
        except pictures.NoPicture as error:
            there = ", ".join(map(str, self.there))
            raise NotAcceptable(f"{error}{f' There is: {there}.' if there else ''}") from None


def _made(request: Request, making: _Making, parts: Parts, tag: str, address: str) -> Response:
    offer, numbers = making.offer, making.numbers
    first = making.frame(numbers[0])
    if not offer.multipart:
        return whole.answer(request, offer.content_type, [first], tag, lambda: None)

    def pieces() -> Iterator[bytes]:
        for number in numbers:
            data = first if number == numbers[0] else making.frame(number)
            yield parts.head(offer.content_type, len(data), f"{address}{number}")
            yield data
        yield parts.end()

    pairs = whole.headers(parts.content_type, tag)
    if len(numbers) == 1:
        return Response(200, pairs, b"".join(pieces()))
    return Response(200, pairs, pieces=pieces())


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
