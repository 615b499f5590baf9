"""Emergency access: used, and reviewed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from ninja import Query, Schema, Status

from hozi.accounts import emergency
from hozi.doors.api.gate import Area, Request
from hozi.doors.api.schemas import Chars, In, Number, Page, Paging, number_after, of_rows

area = Area("emergency")


class Access(Schema):
    """A patient opened in an emergency."""

    id: int
    username: str
    full_name: str
    issuer: str
    patient_id: str
    reason: str
    address: str
    opened_at: datetime
    until: datetime
    ended_at: datetime | None
    verdict: Literal["open", "justified", "not-justified"]
    reviewed_at: datetime | None
    reviewed_by: str
    review_note: str


class NewAccess(In):
    """Whom to open, and why. ``issuer`` names who gave the patient number."""

    issuer: Annotated[str, Chars(64, 1)]
    patient_id: Annotated[str, Chars(256, 1)]
    reason: Annotated[str, Chars(500, emergency.LEAST_REASON)]


class Verdict(In):
    """Whether it was justified; what was not ends at once, and the note says why not."""

    verdict: Literal["justified", "not-justified"]
    note: Annotated[str, Chars(500)] = ""


@area.post("/emergency", Access, "emergency.use", status=201)
def open_emergency(request: Request, data: NewAccess) -> object:
    """Opens a patient in an emergency: from the console's session only, a token has none."""
    return Status(201, emergency.open(request.auth, **data.model_dump()))


@area.get("/emergency/mine", list[Access], "emergency.use")
def list_own_emergencies(request: Request) -> object:
    """What is open to you now."""
    return emergency.mine(request.auth)


@area.post("/emergency/{number}/end", Access, "emergency.use", "emergency.review")
def end_emergency(request: Request, number: Number) -> object:
    """Ends it before its time."""
    return emergency.end(request.auth, number)


@area.get("/emergency", Page[Access], "emergency.review")
def list_emergencies(request: Request, paging: Query[Paging]) -> object:
    """All emergency access, the newest first; reading it is audited."""
    rows = emergency.log(request.auth, before=number_after(paging.after) or None, limit=paging.limit + 1)
    return of_rows(rows, paging, lambda row: str(row.id))


@area.post("/emergency/{number}/review", Access, "emergency.review")
def review_emergency(request: Request, number: Number, data: Verdict) -> object:
    """Says whether it was justified."""
    return emergency.review(request.auth, number, data.verdict, data.note)
