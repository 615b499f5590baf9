"""Asking the audit: who did what, when, to whose data. Every answer is itself recorded (Audit Log Used, 110101)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from django.db.models import BooleanField, Count, Max, Min, Q, QuerySet
from django.db.models.expressions import RawSQL

from hozi.audit import chain, words
from hozi.audit.models import Event
from hozi.audit.record import Code, Entry, Outcome, Type, record
from hozi.core.errors import NotThere, Refused

MOST_ON_A_PAGE: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_STUDIES: Final = 500
_SEEING: Final = ("opened", "sent", "sending", "exported")

Ended = Literal["", "well", "badly"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for; everything that is set must hold.

    ``kind`` is a key of `words.KINDS`; ``code`` and ``type`` are the standard's, for whoever knows them. ``actor`` is
    a person's or a device's name, ``address`` the beginning of one. ``since`` is included, ``until`` is not.
    """

    issuer: str = ""
    patient_id: str = ""
    study_uid: str = ""
    actor: str = ""
    kind: str = ""
    code: str = ""
    type: str = ""
    ended: Ended = ""
    address: str = ""
    facility: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the audit. ``what`` says in a few words what was done."""

    id: int
    at: datetime
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

    @property
    def what(self) -> str:
        """What was done, in a few words."""
        return words.label(self.code, self.action, self.type)

    @property
    def well(self) -> bool:
        """Whether it ended well."""
        return self.outcome == Outcome.SUCCESS


@dataclass(frozen=True, slots=True)
class Page:
    """Lines, the newest first. ``older`` is what to give as ``before`` for those after them; empty: there are none."""

    lines: list[Line]
    older: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands in the chain: its number within the day, its link, and whether the day is sealed."""

    day: str
    number: int
    link: int
    sealed: bool


@dataclass(slots=True)
class Seen:
    """What one person or device had to do with a patient.

    ``saw`` counts what was opened, sent or exported, and went well; ``ways`` everything by the keys of `words.KINDS`;
    ``refused`` what did not; ``emergency`` how often emergency access was begun.
    """

    actor: str
    saw: int = 0
    times: int = 0
    first: datetime = _EPOCH
    last: datetime = _EPOCH
    addresses: list[str] = field(default_factory=list)
    ways: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    emergency: int = 0


FIELDS: Final = tuple(one.name for one in fields(Line))


def search(
    question: Question,
    *,
    actor: str,
    address: str = "",
    facilities: Collection[str] | None = None,
    before: str = "",
    limit: int = 50,
) -> Page:
    """The newest rows that the question fits, or those older than ``before``; only of these facilities (None: all).

    Records that ``actor`` has asked, and what. Raises Refused when something in the question cannot be.
    """
    limit = max(1, min(limit, MOST_ON_A_PAGE))
    rows = matching(question, facilities)
    if before:
        at, number = _cursor(before)
        rows = rows.filter(Q(at__lt=at) | Q(id__lt=number), at__lte=at)
    found = lines(rows.order_by("-at", "-id")[: limit + 1])
    page = found[:limit]
    tell("search", question, actor=actor, address=address, found=len(page), page="" if not before else "older")
    return Page(page, _position(page[-1]) if len(found) > limit else "")


def one(number: int, *, actor: str, address: str = "", facilities: Collection[str] | None = None) -> Line:
    """One row. Raises NotThere when there is none, or it belongs to another facility. Recorded."""
    found = lines(_reached(Event.objects.filter(pk=number), facilities))
    if not found:
        raise NotThere("There is no such row of the audit")
    record(Entry(Code.AUDIT_LOG_USED, "R", actor, address=address, detail={"read": "row", "row": number}))
    return found[0]


def place(number: int) -> Place | None:
    """Where a row stands in the chain; None when it is not in it yet (that takes about a second)."""
    found = chain.place(number)
    if found is None:
        return None
    link, within = found
    return Place(link.day, within, link.number, chain.is_sealed(link.section))


def who_saw(
    issuer: str,
    patient_id: str,
    *,
    actor: str,
    address: str = "",
    facilities: Collection[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Seen]:
    """Everybody who had to do with the patient, whoever saw them last first. Recorded.

    Rows that name only a study count where another row says that the study is this patient's.
    """
    question = Question(issuer=issuer, patient_id=patient_id, since=since, until=until)
    rows = _reached(_in_time(Event.objects.filter(issuer=issuer, patient_id=patient_id), question), facilities)
    studies = list(rows.exclude(study_uid="").order_by().values_list("study_uid", flat=True).distinct()[:_MOST_STUDIES])
    only_study = Event.objects.filter(study_uid__in=studies, patient_id="") if studies else Event.objects.none()
    seen: dict[str, Seen] = {}
    for found in (rows, _reached(_in_time(only_study, question), facilities)):
        groups = found.order_by().values_list("actor", "code", "action", "type", "outcome", "address")
        for who, code, action, kind, outcome, where, *figures in groups.annotate(Count("id"), Min("at"), Max("at")):
            _add(seen, who, words.kind_of(code, action, kind), outcome, where, figures)
    tell("who saw", question, actor=actor, address=address, found=len(seen))
    return sorted(seen.values(), key=lambda one: (one.saw > 0, one.last), reverse=True)


def matching(question: Question, facilities: Collection[str] | None) -> QuerySet[Event]:
    """The rows that a question fits, in no order. Raises Refused when something in it cannot be."""
    rows = _reached(_in_time(Event.objects.all(), question), facilities)
    exact = {name: getattr(question, name) for name in ("issuer", "patient_id", "study_uid", "actor", "code", "type")}
    rows = rows.filter(**{name: value for name, value in exact.items() if value})
    if question.facility:
        rows = rows.filter(facility=question.facility)
    if question.kind:
        rows = _of_kind(rows, question.kind)
    if question.address:
        rows = rows.filter(address__startswith=question.address)
    if question.ended == "well":
        rows = rows.filter(outcome=0)
    elif question.ended == "badly":
        rows = failed(rows)
    return rows


def failed(rows: QuerySet[Event]) -> QuerySet[Event]:
    """Those that did not end well."""
    # Spelled out: SQLite uses the index of failures only for a condition that it can read.
    return rows.filter(RawSQL("outcome > 0", (), output_field=BooleanField()))


def lines(rows: QuerySet[Event]) -> list[Line]:
    """The rows as lines, in their order."""
    return [Line(*row) for row in rows.values_list(*FIELDS)]


def tell(
    what: str,
    question: Question,
    *,
    actor: str,
    address: str,
    found: int,
    code: Code = Code.AUDIT_LOG_USED,
    **more: Any,
) -> None:
    """Records that the audit was asked, with the question; a patient goes where patients are searched."""
    asked = {
        one.name: getattr(question, one.name)
        for one in fields(question)
        if getattr(question, one.name) and one.name not in ("issuer", "patient_id", "study_uid")
    }
    record(
        Entry(
            code,
            "R",
            actor,
            address=address,
            issuer=question.issuer,
            patient_id=question.patient_id,
            study_uid=question.study_uid,
            detail={
                "read": what,
                "found": found,
                **({"question": asked} if asked else {}),
                **{k: v for k, v in more.items() if v},
            },
        )
    )


def _add(
    seen: dict[str, Seen], who: str, kind: words.Kind | None, outcome: int, where: str, figures: list[Any]
) -> None:
    count, first, last = figures
    key = kind.key if kind else "other"
    known = seen.get(who)
    if known is None:
        known = seen[who] = Seen(who, first=first, last=last)
    known.times += count
    known.first, known.last = min(known.first, first), max(known.last, last)
    known.ways[key] = known.ways.get(key, 0) + count
    if where and where not in known.addresses:
        known.addresses.append(where)
    if outcome != Outcome.SUCCESS:
        known.refused += count
    elif key in _SEEING:
        known.saw += count
    elif kind is not None and kind.type == Type.EMERGENCY_OVERRIDE_STARTED:
        known.emergency += count


def _reached(rows: QuerySet[Event], facilities: Collection[str] | None) -> QuerySet[Event]:
    return rows if facilities is None else rows.filter(facility__in=sorted(set(facilities) - {""}))


def _in_time(rows: QuerySet[Event], question: Question) -> QuerySet[Event]:
    if question.since and question.until and question.since >= question.until:
        raise Refused("The time must begin before it ends", field="until")
    if question.since:
        rows = rows.filter(at__gte=question.since)
    if question.until:
        rows = rows.filter(at__lt=question.until)
    return rows


def _of_kind(rows: QuerySet[Event], key: str) -> QuerySet[Event]:
    kind = words.BY_KEY.get(key)
    if kind is None:
        raise Refused("There is no such kind of event", field="kind")
    rows = rows.filter(code=kind.code.value)
    if kind.type:
        rows = rows.filter(type=kind.type)
    return rows.filter(action__in=list(kind.actions)) if kind.actions else rows


def _position(line: Line) -> str:
    return f"{(line.at - _EPOCH) // timedelta(microseconds=1)}.{line.id}"


def _cursor(text: str) -> tuple[datetime, int]:
    at, _, number = text.partition(".")
    try:
        return _EPOCH + timedelta(microseconds=int(at)), int(number)
    except (ValueError, OverflowError):
        raise Refused("There is no such page; search again", field="before") from None
