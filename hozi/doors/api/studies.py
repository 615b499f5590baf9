"""Studies: found, looked at, downloaded. What names a patient comes in a body, never in an address."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpResponseBase, StreamingHttpResponse
from ninja import Query, Schema
from pydantic import Field

from hozi.archive import browse, download, study_page
from hozi.archive.browse import Filters
from hozi.core.errors import NotThere, Refused
from hozi.doors.api.gate import Area, Request
from hozi.doors.api.schemas import Chars, In, Number, Page, number_after

area = Area("studies")

Day8 = Annotated[str, Field(pattern=r"^([0-9]{8})?$", description="YYYYMMDD, or empty")]
Status = Literal["", "arriving", "exceptions", "corrected"]
Order = Literal["received", "date"]
Limit = Annotated[int, Field(ge=1, le=browse.MOST)]


class Patient(Schema):
    """Who a patient is; ``issuer`` names who gave the number."""

    name: str
    patient_id: str
    issuer: str
    birth_date: str
    sex: str


class Study(Schema):
    """One study of a list."""

    id: int
    uid: str
    patient: Patient
    date: str
    time: str
    modalities: list[str]
    description: str
    accession_number: str
    referring: str
    facility: str
    series_count: int
    instance_count: int
    received_at: datetime
    changed_at: datetime


class StudyLine(Study):
    """... and how it stands."""

    department: str
    arriving: bool
    exceptions: int
    corrected: bool


class Kind(Schema):
    """Objects of one kind in a series."""

    name: str
    count: int


class Series(Schema):
    """One series of a study."""

    id: int
    uid: str
    number: int | None
    modality: str
    description: str
    body_part: str
    instance_count: int
    kinds: list[Kind]


class Object(Schema):
    """One object of a series."""

    id: int
    uid: str
    number: int | None
    kind: str
    received_at: datetime
    bytes: int


class WholeStudy(Study):
    """A study with its series; ``more_series``: give it to `/studies/{number}/series` as ``after``."""

    study_id: str
    bytes: int
    open_exceptions: int
    series: list[Series]
    more_series: str | None


class Happened(Schema):
    """Something in the life of a study."""

    at: datetime
    what: Literal["received", "imported", "corrected", "taken-back", "exception", "rejected", "brought-back"]
    actor: str
    address: str
    count: int
    until: datetime | None
    elements: list[str]
    reason: str
    in_force: bool


class Narrowed(Schema):
    """What is looked for, as far as it names nobody."""

    since: Day8 = ""
    until: Day8 = ""
    modality: Annotated[str, Chars(16)] = ""
    facility: Annotated[str, Chars(16)] = ""
    status: Status = ""
    order: Order = "received"
    limit: Limit = 50
    after: Annotated[str, Chars(16)] = ""


class Wanted(In):
    """What is looked for. ``text``: part of a name, or a number; ``after`` is ``next`` of the part before."""

    text: Annotated[str, Chars(128)] = ""
    name: Annotated[str, Chars(128)] = ""
    patient_id: Annotated[str, Chars(128)] = ""
    accession: Annotated[str, Chars(128)] = ""
    since: Day8 = ""
    until: Day8 = ""
    modality: Annotated[str, Chars(16)] = ""
    facility: Annotated[str, Chars(16)] = ""
    status: Status = ""
    order: Order = "received"
    limit: Limit = 50
    after: Annotated[str, Chars(16)] = ""


class After(Schema):
    """Which part of a list: ``after`` is ``next`` of the part before."""

    limit: int = Field(50, ge=1, le=200)
    after: Annotated[str, Chars(40)] = ""


def _listed(request: Request, wanted: Narrowed | Wanted) -> dict[str, Any]:
    filters = Filters(**wanted.model_dump(exclude={"limit", "after"}))
    after = number_after(wanted.after)
    found = browse.browse(request.auth, filters, after=after, most=wanted.limit)
    lines = [_line(line, StudyLine) for line in found.lines]
    return {"items": lines, "next": str(found.lines[-1].pk) if found.older and found.lines else None}


def _line(row: Any, kind: type[Study], **more: Any) -> Study:
    names = [name for name in kind.model_fields if name not in ("id", "patient", *more)]
    patient = Patient.model_validate(row.patient)
    return kind(id=row.pk, patient=patient, **{name: getattr(row, name) for name in names}, **more)


def _series(row: study_page.SeriesLine) -> Series:
    names = [name for name in Series.model_fields if name not in ("id", "kinds")]
    kinds = [Kind(name=name, count=count) for name, count in row.kinds]
    return Series(id=row.pk, kinds=kinds, **{name: getattr(row, name) for name in names})


@area.get("/studies", Page[StudyLine], "studies.find")
def list_studies(request: Request, wanted: Query[Narrowed]) -> object:
    """The studies that you may find, the newest first."""
    return _listed(request, wanted)


@area.post("/studies/search", Page[StudyLine], "studies.find")
def search_studies(request: Request, data: Wanted) -> object:
    """The same by patient, name or number: what names somebody stands in no address."""
    return _listed(request, data)


@area.get("/studies/{number}", WholeStudy, "studies.find")
def get_study(request: Request, number: Number) -> object:
    """One study with its first series; that you looked, here and below, is in the audit."""
    head = study_page.open_study(request.auth, number)
    rows = study_page.series_lines(request.auth, number, most=51)
    more = rows[49].key if len(rows) > 50 else None
    return _line(head, WholeStudy, series=[_series(row) for row in rows[:50]], more_series=more)


@area.get("/studies/{number}/series", Page[Series], "studies.find")
def list_series(request: Request, number: Number, paging: Query[After]) -> object:
    """The series of a study in the order of their numbers."""
    rows = study_page.series_lines(request.auth, number, after=_key(paging.after), most=paging.limit + 1)
    return {
        "items": [_series(row) for row in rows[: paging.limit]],
        "next": rows[paging.limit - 1].key if len(rows) > paging.limit else None,
    }


@area.get("/series/{number}/objects", Page[Object], "studies.find")
def list_objects(request: Request, number: Number, paging: Query[After]) -> object:
    """The objects of a series in the order of their numbers."""
    rows = study_page.instance_lines(request.auth, number, after=_key(paging.after), most=paging.limit + 1)
    objects = [
        Object(id=row.pk, **{name: getattr(row, name) for name in Object.model_fields if name != "id"})
        for row in rows[: paging.limit]
    ]
    return {"items": objects, "next": rows[paging.limit - 1].key if len(rows) > paging.limit else None}


@area.get("/studies/{number}/history", list[Happened], "studies.find")
def study_history(request: Request, number: Number) -> object:
    """What has happened to a study, the latest first, at most some hundred lines."""
    return study_page.history(request.auth, number)


@area.get(
    "/studies/{number}/download",
    None,
    download.PERMISSION,
    extra={"responses": {200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}}},
)
def download_study(request: Request, number: Number) -> HttpResponseBase:
    """A study as a ZIP archive with a DICOMDIR, corrections applied; made while it is sent."""
    if request.auth.kind == "person" and request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        # Not by a link on somebody else's page: the copy would be theirs in the audit.
        raise Refused("Begin this download from the console's own pages, or with a token")
    made = download.download(request.auth, number)
    response = StreamingHttpResponse(made.pieces, content_type="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{made.name}"'
    return response


def _key(after: str) -> str:
    """A key of a line, as `study_page` gives them. Raises NotThere."""
    number, dot, row = after.partition(".")
    if after and not (dot and number.lstrip("-").isdecimal() | (number == "") and row.isdecimal() and len(row) < 17):
        raise NotThere("There is no such page: `after` is what stood in `next`", field="after")
    return after
