"""QIDO-RS: which studies, series and instances there are (PS3.18 §10.6), by the one way to search, `archive.find`."""

from __future__ import annotations

import gzip
import time
from functools import lru_cache
from typing import Final

from hozi.accounts import authorise
from hozi.archive import find
from hozi.archive.find import Query, Results, Value
from hozi.audit.record import Code, Entry, Outcome
from hozi.audit.together import record_question
from hozi.choices import answers
from hozi.core.dicom.keys import tag_of
from hozi.doors.dicomweb import accept, asked, results, routes
from hozi.doors.dicomweb.accept import Offer
from hozi.doors.dicomweb.asked import SERIES_UID, STUDY_UID, Asked
from hozi.doors.dicomweb.exchange import PRIVATE, Request, Response
from hozi.settings import HOZI

SECONDS: Final = 20.0
"""So long is searched for what no index knows; then what was found is given, with a warning."""

_PERMISSION: Final = "studies.find"
_JSON: Final = Offer("application/dicom+json")
_PLAIN: Final = Offer("application/json")
_XML: Final = Offer("application/dicom+xml", multipart=True)
_OFFERS: Final = (_JSON, _PLAIN, _XML)
_WORTH_PACKING: Final = 4096


def _tags(keywords: str) -> tuple[int, ...]:
    return tuple(tag_of(keyword) for keyword in keywords.split())


GIVEN: Final[dict[str, tuple[int, ...]]] = {
    "STUDY": _tags(
        "StudyDate StudyTime AccessionNumber ModalitiesInStudy ReferringPhysicianName StudyDescription PatientName"
        " PatientID IssuerOfPatientID PatientBirthDate PatientSex StudyInstanceUID StudyID NumberOfStudyRelatedSeries"
        " NumberOfStudyRelatedInstances"
    ),
    "SERIES": _tags(
        "Modality SeriesDescription StudyInstanceUID SeriesInstanceUID SeriesNumber NumberOfSeriesRelatedInstances"
        " PerformedProcedureStepStartDate PerformedProcedureStepStartTime RequestAttributesSequence"
    ),
    "IMAGE": _tags(
        "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID InstanceNumber Rows Columns BitsAllocated"
        " NumberOfFrames"
    ),
}
"""What is given of each level whether it was asked for or not (PS3.18 Tables 10.6.3-3 to 10.6.3-5), and a little more:
the description of a study, and who issued the patient's number."""


def register() -> None:
    """Enters the routes of queries."""
    routes.enter("GET", "/studies", _PERMISSION, studies)
    routes.enter("GET", "/series", _PERMISSION, series)
    routes.enter("GET", "/studies/{study}/series", _PERMISSION, series)
    routes.enter("GET", "/instances", _PERMISSION, instances)
    routes.enter("GET", "/studies/{study}/instances", _PERMISSION, instances)
    routes.enter("GET", "/studies/{study}/series/{series}/instances", _PERMISSION, instances)


def studies(request: Request) -> Response:
    """Which studies there are."""
    return _search(request, "STUDY")


def series(request: Request) -> Response:
    """Which series there are."""
    return _search(request, "SERIES")


def instances(request: Request) -> Response:
    """Which instances there are."""
    return _search(request, "IMAGE")


def _search(request: Request, level: str) -> Response:
    offer = accept.choose(accept.wanted(request.headers.get("accept", ""), _first(request.asked("accept"))), _OFFERS)
    named = {
        tag: request.names[name]
        for name, tag in (("study", STUDY_UID), ("series", SERIES_UID))
        if name in request.names
    }
    question = asked.understand(request.query, named, level)
    query = _query(question, level, frozenset(named))
    most = answers.max_results()
    deadline = time.monotonic() + SECONDS
    found = find.find(
        query,
        reach=authorise.reach(request.who, _PERMISSION),
        limit=most if question.limit is None else min(question.limit, most),
        retrieve_ae=HOZI.ae_title,
        offset=question.offset,
        stop=lambda: time.monotonic() > deadline,
    )
    count, outcome = 0, Outcome.MINOR_FAILURE
    try:
        matches = list(found)
        count, outcome = len(matches), Outcome.SUCCESS
    finally:
        _audit(request, query, question, count, outcome)
    warnings = _warnings(found, question, count)
    if not matches:
        return Response(204, _warned(request, warnings))
    body = results.as_json(matches, level, request.base)
    content_type = offer.media
    if offer is _XML:
        content_type, body = results.as_xml(body)
    headers = [("content-type", content_type), ("cache-control", PRIVATE), ("vary", "Accept, Accept-Encoding")]
    if len(body) > _WORTH_PACKING and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 5)
        headers.append(("content-encoding", "gzip"))
    return Response(200, headers + _warned(request, warnings), body)


def _first(values: list[str]) -> str | None:
    return values[0] if values else None


def _query(question: Asked, level: str, named: frozenset[int]) -> Query:
    keys: dict[int, Value] = dict(question.keys)
    for tag in (*_given(level, named), *question.fields):
        keys.setdefault(tag, "")
    return Query(level, "STUDY_ROOT", keys, relational=True, combined_datetime=True, fuzzy=question.fuzzy)


@lru_cache(maxsize=16)
def _given(level: str, named: frozenset[int]) -> tuple[int, ...]:
    """What is always given: of the levels above, too, unless the address names which study or series it is."""
    tags = list(GIVEN[level])
    if level == "IMAGE" and SERIES_UID not in named:
        tags += GIVEN["SERIES"]
    if level != "STUDY" and STUDY_UID not in named:
        tags += GIVEN["STUDY"]
    return tuple(dict.fromkeys(tags))


def _warnings(found: Results, question: Asked, count: int) -> list[str]:
    told = []
    if found.limit_reached:
        told.append(f"There are more results: ask again with offset={question.offset + count}")
    if found.stopped:
        told.append(f"The search was given up after {SECONDS:.0f} seconds: there may be more; ask for less")
    if question.ignored:
        told.append(f"Not matched, since this archive does not know them here: {', '.join(question.ignored[:8])}")
    return told


def _warned(request: Request, warnings: list[str]) -> list[tuple[str, str]]:
    return [("warning", f'299 {request.base} "{text}"') for text in warnings]


def _audit(request: Request, query: Query, question: Asked, count: int, outcome: Outcome) -> None:
    keys = {f"{tag:08X}": value for tag, value in question.keys.items() if value and value != "*"}
    record_question(
        Entry(
            code=Code.QUERY,
            action="E",
            actor=request.who.actor,
            address=request.who.address,
            outcome=outcome,
            facility=authorise.home(request.who),
            detail={"level": query.level, "model": "QIDO-RS", "keys": keys, "matches": count},
        )
    )
