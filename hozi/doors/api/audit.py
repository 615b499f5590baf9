"""The audit: who did what, to whose data. Asking is itself audited."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.http import HttpResponseBase, StreamingHttpResponse
from ninja import Schema
from pydantic import AwareDatetime, Field

from hozi.accounts import authorise
from hozi.audit import chain, export, search
from hozi.audit.search import Question
from hozi.doors.api.gate import Area, Request
from hozi.doors.api.schemas import Chars, In, Number, Page

area = Area("audit")

READ = "audit.read"

Moment = Annotated[AwareDatetime, Field(strict=False)]


class Row(Schema):
    """One row of the audit; codes are those of DICOM PS3.15 A.5. ``what`` says in words what was done."""

    id: int
    at: AwareDatetime
    what: str
    code: str
    type: str
    action: str
    outcome: int
    actor: str
    address: str
    issuer: str
    patient_id: str
    study_uid: str
    object_uid: str
    facility: str
    detail: dict[str, Any]


class Seen(Schema):
    """What one person or device had to do with a patient."""

    actor: str
    saw: int
    times: int
    first: AwareDatetime
    last: AwareDatetime
    addresses: list[str]
    ways: dict[str, int]
    refused: int
    emergency: int


class Chain(Schema):
    """How the chain of the audit stands; ``hozi verify --audit`` looks at every row of it."""

    rows: int
    links: int
    sealed_days: int
    last_sealed: str
    waiting: int


class _Asked(In):
    issuer: Annotated[str, Chars(64)] = ""
    patient_id: Annotated[str, Chars(256)] = ""
    study_uid: Annotated[str, Chars(64)] = ""
    actor: Annotated[str, Chars(128)] = ""
    kind: Annotated[str, Chars(32)] = ""
    code: Annotated[str, Chars(16)] = ""
    type: Annotated[str, Chars(16)] = ""
    ended: Literal["", "well", "badly"] = ""
    address: Annotated[str, Chars(64)] = ""
    facility: Annotated[str, Chars(16)] = ""
    since: Moment | None = None
    until: Moment | None = None


class Asked(_Asked):
    """What is asked for; everything that is named must hold. ``after`` is ``next`` of the part before."""

    limit: int = Field(50, ge=1, le=200)
    after: Annotated[str, Chars(40)] = ""


class Export(_Asked):
    """Which rows, and as what: a table for people (csv), or the standard's messages (xml)."""

    form: Literal["csv", "xml"]


class OfPatient(In):
    """Whose data; ``issuer`` names who gave the number."""

    issuer: Annotated[str, Chars(64)]
    patient_id: Annotated[str, Chars(256, 1)]
    since: Moment | None = None
    until: Moment | None = None


@area.post("/audit/search", Page[Row], READ)
def search_audit(request: Request, data: Asked) -> object:
    """The rows that fit, the newest first."""
    question = Question(**data.model_dump(exclude={"limit", "after"}))
    found = search.search(question, **_by(request, READ), before=data.after, limit=data.limit)
    return {"items": found.lines, "next": found.older or None}


@area.get("/audit/rows/{number}", Row, READ)
def get_audit_row(request: Request, number: Number) -> object:
    """One row."""
    return search.one(number, **_by(request, READ))


@area.post("/audit/who-saw", list[Seen], READ)
def who_saw(request: Request, data: OfPatient) -> object:
    """Everybody who had to do with a patient, whoever saw them last first."""
    return search.who_saw(data.issuer, data.patient_id, since=data.since, until=data.until, **_by(request, READ))


@area.get("/audit/chain", Chain, READ)
def audit_chain(request: Request) -> object:
    """How the chain of the audit stands."""
    return chain.standing()


@area.post(
    "/audit/export",
    None,
    "audit.export",
    extra={
        "responses": {200: {"content": {kind.partition(";")[0]: {} for kind in export.CONTENT_TYPES.values()}}}
    },
)  # fmt: skip
def export_audit(request: Request, data: Export) -> HttpResponseBase:
    """The rows that fit, as a file; made while it is sent."""
    question = Question(**data.model_dump(exclude={"form"}))
    pieces = export.export(question, data.form, **_by(request, "audit.export"))
    response = StreamingHttpResponse(pieces, content_type=export.CONTENT_TYPES[data.form])
    response.headers["Content-Disposition"] = f'attachment; filename="audit.{data.form}"'
    return response


def _by(request: Request, permission: str) -> Any:
    who = request.auth
    return {"actor": who.actor, "address": who.address, "facilities": authorise.facilities(who, permission)}
