"""WADO-RS, pictures: rendered objects, frames, series and studies, and their thumbnails (PS3.18 §8.3.5, §10.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from hozi.accounts import authorise
from hozi.archive import give, pictures, representative, thumbnail
from hozi.archive.fetch import SERIES_INSTANCE_UID, STUDY_INSTANCE_UID, Holding, Selection
from hozi.archive.pictures import Look, NoPicture, Picture
from hozi.core.dicom import syntaxes
from hozi.core.errors import NotThere
from hozi.doors.dicomweb import accept, offers, whole
from hozi.doors.dicomweb.accept import Offer
from hozi.doors.dicomweb.exchange import Malformed, Request, Response, Unprocessable
from hozi.doors.dicomweb.frames import INSTANCE, OPEN, holding_of, numbers_in, wanted
from hozi.doors.dicomweb.multipart import Parts
from hozi.doors.dicomweb.routes import enter
from hozi.doors.dicomweb.whole import Slice

_MEDIA: Final[dict[str, pictures.Kind]] = {
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
}
_ALONE: Final = tuple(Offer(media) for media in _MEDIA)
_PARTS: Final = tuple(Offer(media, multipart=True) for media in _MEDIA)
_THUMBNAIL: Final = (Offer("image/jpeg"),)
_FUNCTIONS: Final = {
    "linear": "LINEAR",
    "linear-exact": "LINEAR_EXACT",
    "linear_exact": "LINEAR_EXACT",
    "sigmoid": "SIGMOID",
}
_MOST_SIDE: Final = 8192
_QUALITY: Final = 90
_VIDEOS: Final = ((4, b"ftyp", "video/mp4"), (0, b"\0\0\x01\xba", "video/mpeg"), (0, b"\0\0\x01\xb3", "video/mpeg"))


def register() -> None:
    """Enters the routes."""
    for level in ("/studies/{study}", "/studies/{study}/series/{series}"):
        enter("GET", f"{level}/rendered", OPEN, several)
        enter("GET", f"{level}/thumbnail", OPEN, small)
    enter("GET", f"{INSTANCE}/rendered", OPEN, one)
    enter("GET", f"{INSTANCE}/frames/{{frames}}/rendered", OPEN, frames)
    enter("GET", f"{INSTANCE}/thumbnail", OPEN, small)
    enter("GET", f"{INSTANCE}/frames/{{frames}}/thumbnail", OPEN, small)


def one(request: Request) -> Response:
    """One object: its first frame, all of them as a loop (GIF), or a video as it is."""
    holding = holding_of(request)
    if _is_video(holding):
        return _video(request, holding)
    look, state = _look(request), None
    if representative.is_presentation(holding):
        state, holding = holding, _shown_by(request, holding)
    offer = accept.choose(wanted(request), (*_ALONE, *_PARTS))
    look = replace(look, kind=_MEDIA[offer.media], frame=0 if offer.media == "image/gif" else 1)
    return (
        _parts(request, offer, [(holding, look)], state) if offer.multipart else _alone(request, holding, look, state)
    )


def frames(request: Request) -> Response:
    """Some frames of one object: one alone or as a part, several as parts."""
    numbers = numbers_in(request.names["frames"])
    holding, look = holding_of(request), _look(request)
    if _is_video(holding):
        raise Unprocessable("The object is a video: single frames of it are not shown. Ask for it as a whole.")
    offer = accept.choose(wanted(request), (*_ALONE, *_PARTS) if len(numbers) == 1 else _PARTS)
    look = replace(look, kind=_MEDIA[offer.media])
    if not offer.multipart:
        return _alone(request, holding, replace(look, frame=numbers[0]))
    return _parts(request, offer, [(holding, replace(look, frame=number)) for number in numbers])


def several(request: Request) -> Response:
    """A series or study: one picture that stands for it, or in parts one of each object that has one."""
    look = _look(request)
    offer = accept.choose(wanted(request), (*_ALONE, *_PARTS))
    look = replace(look, kind=_MEDIA[offer.media])
    if not offer.multipart:
        return _alone(request, _representative(request), look)
    names = {STUDY_INSTANCE_UID: [request.names["study"]]}
    if "series" in request.names:
        names[SERIES_INSTANCE_UID] = [request.names["series"]]
    selection = Selection(names, authorise.reach(request.who, OPEN))
    if not selection.count:
        raise NotThere("There is no such study or series, or it is not yours to see.")
    give.note(request.who, next(iter(selection)))
    shown = ((holding, look) for holding in selection if not _is_video(holding))
    return _streamed(request, offer, shown)


def small(request: Request) -> Response:
    """A small JPEG of an object or frame, or of what stands for a series or study."""
    accept.choose(wanted(request), _THUMBNAIL)
    holding = holding_of(request) if "instance" in request.names else _representative(request)
    look = _look(request)
    number = numbers_in(request.names["frames"])[0] if "frames" in request.names else 0
    if number or look.width is not None:
        width, height = look.width or thumbnail.SIZE, look.height or thumbnail.SIZE
        look = replace(look, frame=number or 1, width=width, height=height, enlarge=False, quality=70)
        return _alone(request, holding, look)
    give.note(request.who, holding)
    found = thumbnail.of_holding(holding)
    if found.kind != "image":
        raise Unprocessable(_REASONS[found.kind])
    tag = whole.etag(found.name)
    if (same := whole.unchanged(request, tag)) is not None:
        return same
    return Response(200, whole.headers("image/jpeg", tag), found.picture)


_REASONS: Final = {
    "damaged": "The pixels cannot be shown. The object itself can be had.",
    "video": "The object is a video: a thumbnail of it is not made.",
    "report": "The object is a report: it has no picture.",
    "document": "The object is a document: it has no picture.",
    "waveform": "The object is a waveform: it has no picture.",
    "other": "The object has no picture.",
}


def _alone(request: Request, holding: Holding, look: Look, state: Holding | None = None) -> Response:
    tag = f'"{pictures.etag(holding, look, state)}"'
    if (same := whole.unchanged(request, tag)) is not None:
        return same
    found = _made(holding, look, state)
    give.note(request.who, holding)
    return Response(200, whole.headers(found.content_type, tag), found.data)


def _made(holding: Holding, look: Look, state: Holding | None = None) -> Picture:
    try:
        return pictures.picture(holding, look, state)
    except NoPicture as error:
        raise Unprocessable(f"No picture can be made: {error} The object itself can be had.") from None


def _parts(
    request: Request, offer: Offer, shown: Sequence[tuple[Holding, Look]], state: Holding | None = None
) -> Response:
    """One part for each; what cannot be shown is an error before anything is sent."""
    made = [_made(holding, look, state) for holding, look in shown]
    give.note(request.who, shown[0][0])
    parts = Parts(offer.media)
    body = b"".join(parts.head(offer.media, len(one.data), "") + one.data for one in made) + parts.end()
    return Response(200, whole.headers(parts.content_type), body)


def _streamed(request: Request, offer: Offer, shown: Iterator[tuple[Holding, Look]]) -> Response:
    """One part for each that can be shown, as they are made. Raises `Unprocessable` when it is none at all."""

    def each() -> Iterator[tuple[Holding, Picture]]:
        for holding, look in shown:
            try:
                yield holding, pictures.picture(holding, look)
            except NoPicture:
                continue

    made = each()
    first = next(made, None)
    if first is None:
        raise Unprocessable("Nothing in it can be shown. The objects themselves can be had.")
    parts = Parts(offer.media)

    def pieces() -> Iterator[bytes]:
        holding, picture = first
        while True:
            where = f"{request.base}/studies/{holding.study}/series/{holding.series}/instances/{holding.sop_instance}"
            yield parts.head(offer.media, len(picture.data), f"{where}/rendered") + picture.data
            following = next(made, None)
            if following is None:
                break
            holding, picture = following
        yield parts.end()

    return Response(200, whole.headers(parts.content_type), pieces=pieces())


def _representative(request: Request) -> Holding:
    reach = authorise.reach(request.who, OPEN)
    return representative.of(reach, request.names["study"], request.names.get("series", ""))


def _shown_by(request: Request, state: Holding) -> Holding:
    """The image that a presentation state is about first, in the same study."""
    reach = authorise.reach(request.who, OPEN)
    for uid in representative.shown_by(state):
        try:
            return give.one(reach, request.names["study"], "", uid)
        except NotThere:
            continue
    raise Unprocessable("The presentation state is about no image that is here.")


# Videos -----------------------------------------------------------------------------------------------


def _is_video(holding: Holding) -> bool:
    return syntaxes.for_unknown(holding.transfer_syntax).video


def _video(request: Request, holding: Holding) -> Response:
    """The video as it is stored, in one piece or the range that is asked for."""
    media = offers.media_of(holding.transfer_syntax)
    tag = whole.etag(holding.sha256, "video")
    if (same := whole.unchanged(request, tag)) is not None:
        return same
    found = give.frames(holding, holding.transfer_syntax)
    try:
        fragments = found.fragments(1)
        found.file.seek(found.offset + fragments[0][0])
        begin = found.file.read(16)
        media = next((kind for at, sign, kind in _VIDEOS if begin[at : at + len(sign)] == sign), media)
        accept.choose(wanted(request), (Offer(media),))
        body = [Slice(found.file, found.offset + at, length) for at, length in fragments]
    except BaseException:
        found.close()
        raise
    give.note(request.who, holding)
    return whole.answer(request, media, body, tag, found.close)


# Parameters -------------------------------------------------------------------------------------------


def _look(request: Request) -> Look:
    """What the parameters want (PS3.18 §8.3.5.1). Raises `Malformed` for one that cannot be followed."""
    look = Look(quality=_QUALITY)
    for name, value in request.query:
        change = _PARAMETERS.get(name)
        if change is not None:
            look = change(look, value)
    return look


def _window(look: Look, value: str) -> Look:
    parts = [part.strip() for part in value.split(",")]
    function = _FUNCTIONS.get(parts[2].lower() if len(parts) == 3 else "linear")
    numbers = _numbers(parts[:2])
    if len(parts) not in (2, 3) or function is None or len(numbers) != 2:
        raise Malformed(
            "window is center,width,function, as in 40,400,linear (or linear-exact, sigmoid)", field="window"
        )
    center, width = numbers
    if width < 1 if function == "LINEAR" else width <= 0:
        raise Malformed("The width of a window is 1 or more (linear), or more than 0", field="window")
    return replace(look, window=(center, width, function))


def _viewport(look: Look, value: str) -> Look:
    parts = [part.strip() for part in value.split(",")]
    room = _numbers(parts[:2])
    if len(parts) not in (2, 4, 6) or len(room) != 2 or not all(1 <= side <= _MOST_SIDE for side in room):
        raise Malformed(f"viewport is width,height (to {_MOST_SIDE}), then left,top,width,height", field="viewport")
    look = replace(look, width=int(room[0]), height=int(room[1]), enlarge=True)
    if len(parts) == 2:
        return look
    told = [part or usual for part, usual in zip([*parts[2:], "", ""], ("0", "0", "", ""), strict=False)]
    if len(parts) == 4 or not told[2] or not told[3]:
        told[2:] = [told[2] or str(_MOST_SIDE * 8), told[3] or str(_MOST_SIDE * 8)]
    region = _numbers(told)
    if len(region) != 4 or not region[2] or not region[3] or min(region[:2]) < 0:
        raise Malformed("The region of a viewport is left,top,width,height in pixels of the image", field="viewport")
    return replace(look, region=(region[0], region[1], region[2], region[3]))


def _quality(look: Look, value: str) -> Look:
    if not value.isdecimal() or len(value) > 3 or not 1 <= int(value) <= 100:
        raise Malformed("quality is a whole number from 1 to 100", field="quality")
    return replace(look, quality=int(value))


def _annotation(look: Look, value: str) -> Look:
    if value.strip():
        raise Malformed("Texts are not written into pictures: leave annotation out", field="annotation")
    return look


def _profile(look: Look, value: str) -> Look:
    if value.lower() not in ("", "no"):
        raise Malformed("Pictures come without a colour profile: iccprofile is no, or left out", field="iccprofile")
    return look


_PARAMETERS: Final[dict[str, Callable[[Look, str], Look]]] = {
    "window": _window,
    "viewport": _viewport,
    "quality": _quality,
    "annotation": _annotation,
    "iccprofile": _profile,
}


def _numbers(parts: Sequence[str]) -> list[float]:
    """The finite numbers of these texts."""
    found = []
    for part in parts:
        try:
            number = float(part) if len(part) < 32 else math.inf
        except ValueError:
            continue
        if math.isfinite(number) and abs(number) < 1e9:
            found.append(number)
    return found
