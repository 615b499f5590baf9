"""STOW-RS: a program brings objects, many in one body, each safe before it is named in the answer (PS3.18 §10.5).

Parts are taken in as they arrive, by the archive's only way in; several find out their fate while the next ones are
still coming. What arrived whole before a body broke off is kept, and nothing is claimed of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from hozi.archive import bringing
from hozi.archive.arrived import Announced, Origin
from hozi.archive.exceptions import Reason
from hozi.archive.facts import Facts
from hozi.archive.receive import Check, NoRoom, Receiver, Result, TooLarge
from hozi.audit.record import Code, Entry, Outcome, record
from hozi.core.dicom import part10, uids, xml_model
from hozi.core.errors import HoziError, Refused, Unavailable, Unreadable
from hozi.doors.dicomweb import accept, exchange, multipart_in, routes
from hozi.doors.dicomweb.exchange import Malformed, Request, Response, Unsupported
from hozi.doors.dicomweb.multipart_in import Part
from hozi.doors.dicomweb.settling import Fate, Settling
from hozi.doors.http.inflow import BrokenOff

DICOM: Final = "application/dicom"
JSON: Final = "application/dicom+json"
XML: Final = "application/dicom+xml"

_FIRST: Final = 32 << 10
_MOST_HEADER: Final = 1 << 20
_ADDRESS: Final = re.compile(r"/dicom-web/studies(?:/[^/]+)?/?")

#: Failure reasons (PS3.18 table I.2-2, PS3.4 table B.2-1).
PROCESSING_FAILURE: Final = 0x0110
DUPLICATE: Final = 0x0111
NOT_AUTHORISED: Final = 0x0124
OUT_OF_RESOURCES: Final = 0xA700
CONTRADICTION: Final = 0xA900
OTHER_STUDY: Final = 0xA901
CANNOT_UNDERSTAND: Final = 0xC000

_QUARANTINED: Final = {
    Reason.SAME_UID_OTHER_CONTENT: DUPLICATE,
    Reason.CONTRADICTS_COMMAND: CONTRADICTION,
    Reason.INVALID_IDENTIFIERS: CANNOT_UNDERSTAND,
    Reason.UNREADABLE: CANNOT_UNDERSTAND,
}


def register() -> None:
    """Enters the routes by which objects are brought."""
    routes.enter("POST", "/studies", bringing.PERMISSION, store)
    routes.enter("POST", "/studies/{study}", bringing.PERMISSION, store)


def streams_in(method: str, path: str) -> bool:
    """Whether this is a request whose body brings objects, of any size."""
    return method == "POST" and _ADDRESS.fullmatch(path) is not None


class OtherStudy(Refused):
    """An object of another study than the one in the address."""


@dataclass(slots=True)
class _Brought:
    """One part: what it said that it is, and what became of it."""

    announced: Announced | None = None
    fate: Fate | None = None
    reason: int = 0

    @property
    def failure(self) -> int:
        """Its failure reason; 0 when it is in the archive."""
        if self.reason or self.fate is None:
            return self.reason
        if self.fate.error is not None:
            return _reason(self.fate.error)
        receipt = self.fate.receipt
        if receipt is None or receipt.result is not Result.QUARANTINED or receipt.reason is None:
            return 0
        return _QUARANTINED.get(receipt.reason, PROCESSING_FAILURE)


def _reason(error: BaseException) -> int:
    if isinstance(error, NoRoom | TooLarge):
        return OUT_OF_RESOURCES
    if isinstance(error, OtherStudy):
        return OTHER_STUDY
    return NOT_AUTHORISED if isinstance(error, Refused) else PROCESSING_FAILURE


def store(request: Request) -> Response:
    """Takes in what the body brings, and says of each object what became of it."""
    offer = accept.choose(accept.wanted(request.headers.get("accept", "")), [accept.Offer(JSON), accept.Offer(XML)])
    parts = _parts(request)
    origin = bringing.origin(request.who, next(iter(request.asked("facility")), ""), source="stow")
    settling = Settling()
    taking = _Taking(bringing.receiver(), origin, settling, _check(request, origin))
    brought: list[_Brought] = []
    broken: HoziError | None = None
    try:
        for part in parts:
            brought.append(taking.take(part))
    except (BrokenOff, Malformed, exchange.TooLarge) as error:
        broken = error
    finally:
        settling.finish()
    for one in brought:
        if one.fate is not None and one.fate.error is not None and not isinstance(one.fate.error, HoziError):
            raise one.fate.error
    if broken is not None:
        raise _broken(broken, sum(not one.failure for one in brought)) from broken
    if not brought:
        raise Malformed("There is no object in it")
    return _answer(request, brought, offer.media)


def _broken(error: HoziError, kept: int) -> HoziError:
    """What is said of a body that is none as a whole: parts of it may be in the archive."""
    told = f"{error}. Objects in it that came whole before that and are in the archive: {kept}; send all of them again"
    return exchange.TooLarge(told) if isinstance(error, exchange.TooLarge) else Malformed(told)


def _check(request: Request, origin: Origin) -> Check:
    """A check that an object belongs to the study in the address, and is one that who asks may bring."""
    study = request.names.get("study", "")
    may = bringing.check_of(request.who, origin.facility)

    def check(facts: Facts) -> None:
        if study and facts.study != study:
            raise OtherStudy("The object belongs to another study than the one in the address")
        if may is not None:
            may(facts)

    return check


# What comes -------------------------------------------------------------------------------------------


def _parts(request: Request) -> Iterator[Part]:
    """The parts of the body; of a body that is one object, itself. Raises before anything of it is read."""
    kind, parameters = multipart_in.media_type(request.headers.get("content-type", ""))
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Unsupported("The body as a whole must not be compressed: send it without Content-Encoding")
    read = request.body.read1  # type: ignore[attr-defined]  # what `inflow` gives, and every buffered file, has it
    if kind == DICOM:
        if request.length is None:
            raise Malformed("A single object must come with its Content-Length: send that, or multipart/related")
        return iter([Part({"content-type": DICOM}, iter(lambda: read(multipart_in.PIECE), b""))])
    inner = parameters.get("type", DICOM).lower()
    if kind != "multipart/related" or inner.partition(";")[0].strip() != DICOM:
        raise Unsupported(
            f'Objects are taken as multipart/related; type="{DICOM}", or one as {DICOM}; not with metadata and bulk'
            " data apart"
        )
    return multipart_in.parts(read, multipart_in.boundary_of(parameters))


class _Taking:
    """Takes part after part into the archive."""

    def __init__(self, receiver: Receiver, origin: Origin, settling: Settling, check: Check | None) -> None:
        self._receiver = receiver
        self._origin = origin
        self._settling = settling
        self._check = check

    def take(self, part: Part) -> _Brought:
        """Takes one in. Raises what the body raises when it breaks off; what else goes wrong is told in its place."""
        kind, _ = part.type
        if kind.startswith("multipart/"):
            raise Malformed("A part of it is a multipart itself")
        if part.headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
            raise Malformed("A part is in a Content-Transfer-Encoding: send it in binary")
        if kind not in ("", DICOM) or "content-encoding" in part.headers:
            return self._refused(CANNOT_UNDERSTAND)
        found = _begin(part.content)
        if found is None:
            return self._refused(CANNOT_UNDERSTAND)
        start, header = found
        announced = bringing.announced(start, header)
        chunks = _dataset(start, header.dataset_offset, part.content)
        preamble = part10.preamble_kind(header.preamble)
        try:
            find_out = self._receiver.take(announced, self._origin, chunks, preamble=preamble, check=self._check)
        except (NoRoom, TooLarge, Unavailable) as error:
            return self._refused(_reason(error), announced)
        return _Brought(announced, self._settling.add(find_out))

    def _refused(self, reason: int, announced: Announced | None = None) -> _Brought:
        """What did not even come in: nobody else writes down that it was refused."""
        origin, detail = self._origin, {"status": f"{reason:04X}"}
        uid = announced.sop_instance[:64] if announced is not None else ""
        told: dict[str, Any] = {"address": origin.address, "facility": origin.facility, "object_uid": uid}
        record(Entry(Code.INSTANCES_TRANSFERRED, "C", origin.actor, Outcome.MINOR_FAILURE, detail=detail, **told))
        return _Brought(announced, reason=reason)


def _begin(content: Iterator[bytes | memoryview]) -> tuple[bytes, part10.FileHeader] | None:
    """The beginning of a file and its header, as much as it needs; None when it is no DICOM file."""
    start: list[bytes | memoryview] = []
    size, ended = 0, False
    for enough in (_FIRST, _MOST_HEADER + _FIRST):
        while size < enough and not ended:
            piece = next(content, b"")
            ended = not piece
            start.append(piece)
            size += len(piece)
        beginning = b"".join(start)
        try:
            header = part10.read_header(beginning)
        except Unreadable:
            header = None
        # A header that goes to the very end of what has come may go on.
        if header is not None and (ended or header.dataset_offset + 8 <= len(beginning)):
            return None if header.is_directory else (beginning, header)
        start = [beginning]
        if ended:
            break
    return None


def _dataset(start: bytes, offset: int, content: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    if len(start) > offset:
        yield memoryview(start)[offset:]
    yield from content


# What is answered --------------------------------------------------------------------------------------


def _answer(request: Request, brought: list[_Brought], media: str) -> Response:
    """The response dataset (PS3.18 §10.5.3.2), in the order in which the objects came."""
    stored = [one for one in brought if not one.failure]
    failed = [one for one in brought if one.failure]
    told: dict[str, Any] = {}
    studies = {one.fate.receipt.study for one in stored if one.fate is not None and one.fate.receipt is not None}
    if len(studies) == 1:
        told["00081190"] = _value("UR", f"{request.base}/studies/{studies.pop()}")
    known = [one for one in failed if one.announced is not None and uids.is_valid(one.announced.sop_instance)]
    others = [one for one in failed if one not in known]
    for tag, items in (
        ("00081198", [_referenced(one) | {"00081197": _value("US", one.failure)} for one in known]),
        ("00081199", [_referenced(one) | {"00081190": _value("UR", _address_of(request, one))} for one in stored]),
        ("0008119A", [{"00081197": _value("US", one.failure)} for one in others]),
    ):
        if items:
            told[tag] = {"vr": "SQ", "Value": items}
    headers = [("content-type", media), ("cache-control", "no-store")]
    status = 200 if not failed else 202 if stored else 409
    if not stored and all(one.failure == OUT_OF_RESOURCES for one in failed):
        status = 503
        headers.append(("retry-after", "300"))
    told = dict(sorted(told.items()))
    if media == XML:
        return Response(status, headers, b"".join(xml_model.document(told)))
    return Response(status, headers, json.dumps(told, separators=(",", ":")).encode())


def _referenced(one: _Brought) -> dict[str, Any]:
    announced = one.announced or Announced("", "", "")
    sop_class = announced.sop_class if uids.is_valid(announced.sop_class) else ""
    return {"00081150": _value("UI", sop_class), "00081155": _value("UI", announced.sop_instance)}


def _address_of(request: Request, one: _Brought) -> str:
    receipt = one.fate.receipt if one.fate is not None else None
    instance = one.announced.sop_instance if one.announced is not None else ""
    if receipt is None:
        return ""
    return f"{request.base}/studies/{receipt.study}/series/{receipt.series}/instances/{instance}"


def _value(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]} if value != "" else {"vr": vr}
