"""Exceptions: what lies in quarantine or needs a look, and what is decided about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Query, Schema

from hozi.archive import decide, quarantine
from hozi.doors.api.gate import Area, Request
from hozi.doors.api.schemas import Chars, In, Number, Page, Paging, of_rows
from hozi.doors.api.studies import Patient

area = Area("exceptions")

What = Literal["as-it-is", "same-patient", "as-own", "discard", "acknowledge", "undo"]


class Case(Schema):
    """One exception; ``quarantined``: the object itself lies in quarantine."""

    id: int
    reason: str
    meaning: str
    explanation: str
    kind: str
    facility: str
    device: str
    address: str
    bytes: int
    quarantined: bool
    count: int
    first_at: datetime
    last_at: datetime
    open: bool
    decision: str
    decided_at: datetime | None
    decided_by: str
    note: str
    version: int


class Compared(Schema):
    """One thing, as the object says it and as the archive has it."""

    what: str
    here: str
    there: str
    differs: bool


class LookedAt(Case):
    """... and what it says beside what it collides with; ``hidden``: that is out of your reach."""

    patient_here: Patient | None
    patient_there: Patient | None
    compared: list[Compared]
    hidden: bool
    problem: str


class Way(Schema):
    """One decision that is possible, and what would be: ``study`` and the others are UIDs."""

    what: What
    patient: Patient | None = None
    study: str = ""
    series: str = ""
    instance: str = ""


class Asked(Paging):
    """Which exceptions; ``decided``: those that wait for nobody any more."""

    reason: Annotated[str, Chars(32)] = ""
    device: Annotated[str, Chars(128)] = ""
    facility: Annotated[str, Chars(16)] = ""
    decided: bool = False


class Decision(In):
    """What is decided and why, about the version that was looked at."""

    what: What
    note: Annotated[str, Chars(500, 1)]
    version: Number


def _case(line: quarantine.CaseLine, kind: type[Case] = Case, **more: Any) -> Case:
    names = [name for name in Case.model_fields if name != "id"]
    return kind(id=line.pk, **{name: getattr(line, name) for name in names}, **more)


def _patient(side: quarantine.Side | None) -> Patient | None:
    return Patient.model_validate(side.patient) if side is not None and side.patient is not None else None


@area.get("/exceptions", Page[Case], quarantine.PERMISSION)
def list_exceptions(request: Request, asked: Query[Asked]) -> object:
    """What waits for a decision, the oldest first; or what was decided, the latest first."""
    filters = asked.model_dump(exclude={"limit"})
    rows = [_case(line) for line in quarantine.cases(request.auth, **filters, most=asked.limit + 1)]
    return of_rows(rows, asked, lambda case: str(case.id))


@area.get("/exceptions/{number}", LookedAt, quarantine.PERMISSION)
def get_exception(request: Request, number: Number) -> object:
    """One exception beside what it collides with, as far as you may see patients."""
    looked = quarantine.look(request.auth, number)
    compared = [Compared.model_validate(one) for one in looked.compared]
    return _case(
        looked.line,
        LookedAt,
        patient_here=_patient(looked.here),
        patient_there=_patient(looked.there),
        compared=compared,
        hidden=looked.hidden,
        problem=looked.problem,
    )


@area.get("/exceptions/{number}/ways", list[Way], decide.PERMISSION)
def list_ways(request: Request, number: Number) -> object:
    """What can be decided about it, each with what would be."""
    options = decide.options(request.auth, number)
    ways = [
        Way(
            what=plan.way,
            patient=Patient.model_validate(plan.patient),
            study=plan.study,
            series=plan.series,
            instance=plan.instance,
        )
        for plan in options.plans
    ]
    simple: tuple[tuple[What, bool], ...] = (
        ("discard", options.discard),
        ("acknowledge", options.acknowledge),
        ("undo", options.undo),
    )
    return ways + [Way(what=what) for what, possible in simple if possible]


@area.post("/exceptions/{number}/decide", Case, decide.PERMISSION)
def decide_exception(request: Request, number: Number, data: Decision) -> object:
    """Decides, in one of the ways; `undo` takes the last decision back."""
    said: Any = {"note": data.note, "version": data.version}
    match data.what:
        case "discard":
            decide.discard(request.auth, number, **said)
        case "acknowledge":
            decide.acknowledge(request.auth, number, **said)
        case "undo":
            decide.undo(request.auth, number, **said)
        case way:
            decide.take_in(request.auth, number, way=way, **said)
    return _case(quarantine.line_of(quarantine.case_of(request.auth, number, decide.PERMISSION)))
