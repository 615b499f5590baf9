"""Reports for whoever answers for the audit (R355, R357): figures that are counts of rows, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import TruncDate
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hozi.audit import search, words
from hozi.audit.models import Event
from hozi.audit.record import Code, Outcome, Type
from hozi.audit.search import Question
from hozi.core.errors import NotThere

MOST_GROUPS: Final = 500
"""Groups that a report lists, the largest first; the rest is one figure."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A report: which rows it counts, and by what it groups them."""

    key: str
    label: str | Promise
    says: str | Promise
    which: Q
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """So many rows with these values of the columns that the report groups by, and when the first and last were."""

    values: tuple[str, ...]
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """``total`` is the number of rows; it is the sum of the groups with ``others``, and of the days."""

    kind: Kind
    since: datetime
    until: datetime
    total: int
    groups: list[Group]
    others: int
    days: list[tuple[date, int]]


_ALERT: Final = Q(code=Code.SECURITY_ALERT.value)
_FAILED: Final = Q(outcome__gt=Outcome.SUCCESS.value)
_SEEN: Final = (
    Q(code=Code.INSTANCES_ACCESSED.value, action="R")
    | Q(code__in=[Code.INSTANCES_TRANSFERRED.value, Code.BEGIN_TRANSFERRING.value], action="R")
    | Q(code=Code.EXPORT.value)
)
_SIGN_IN: Final = Q(code=Code.USER_AUTHENTICATION.value)
_CHANGES: Final = (
    Type.NETWORK_CONFIGURATION,
    Type.SECURITY_CONFIGURATION,
    Type.SOFTWARE_CONFIGURATION,
    Type.SECURITY_ROLES_CHANGED,
    Type.USER_ATTRIBUTES_CHANGED,
    Type.OBJECT_ATTRIBUTES_CHANGED,
)

KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        "patients",
        _("Access by patient"),
        _("Whose images were opened, sent or exported, and how often."),
        _SEEN & ~_FAILED & ~Q(patient_id=""),
        ("issuer", "patient_id"),
    ),
    Kind(
        "people",
        _("Access by person and device"),
        _("Who opened, was sent or exported images, and how often."),
        _SEEN & ~_FAILED,
        ("actor", "code"),
    ),
    Kind(
        "emergency",
        _("Emergency access"),
        _("Who opened a patient in an emergency, and whom."),
        _ALERT & Q(type=Type.EMERGENCY_OVERRIDE_STARTED.value),
        ("actor", "issuer", "patient_id"),
    ),
    Kind(
        "disclosures",
        _("Exports and disclosures"),
        _("Who took data out of the archive: exports, downloads, prints, and the audit itself."),
        Q(code=Code.EXPORT.value),
        ("actor", "address"),
    ),
    Kind(
        "sign-ins",
        _("Failed sign-ins"),
        _("Who could not sign in, and from where."),
        _SIGN_IN & _FAILED,
        ("actor", "address"),
    ),
    Kind(
        "refusals",
        _("Refusals"),
        _("Who tried what they may not do, and devices that were turned away."),
        _FAILED & ~_SIGN_IN,
        ("actor", "code", "type"),
    ),
    Kind(
        "configuration",
        _("Changes of configuration"),
        _("Who changed devices, people, roles, facilities and settings."),
        _ALERT & ~_FAILED & Q(type__in=[kind.value for kind in _CHANGES]),
        ("actor", "type"),
    ),
)

BY_KEY: Final = {kind.key: kind for kind in KINDS}


def report(
    key: str,
    since: datetime,
    until: datetime,
    *,
    actor: str,
    address: str = "",
    facilities: Collection[str] | None = None,
) -> Report:
    """The report of that kind over a time (``until`` not included), of these facilities (None: all). Recorded.

    Raises NotThere when there is no such report, Refused when the time cannot be.
    """
    kind = BY_KEY.get(key)
    if kind is None:
        raise NotThere("There is no such report")
    rows = rows_of(kind, since, until, facilities)
    total = rows.count()
    grouped = rows.order_by().values_list(*kind.by).annotate(times=Count("id"), first=Min("at"), last=Max("at"))
    width = len(kind.by)
    groups = [
        Group(tuple(values[:width]), *values[width:]) for values in grouped.order_by("-times", *kind.by)[:MOST_GROUPS]
    ]
    question = Question(since=since, until=until)
    search.tell("report", question, actor=actor, address=address, found=total, report=key)
    return Report(kind, since, until, total, groups, total - sum(group.count for group in groups), _days(rows))


def rows_of(kind: Kind, since: datetime, until: datetime, facilities: Collection[str] | None) -> QuerySet[Event]:
    """The rows that a report counts."""
    rows = search.matching(Question(since=since, until=until), facilities)
    return search.failed(rows).filter(kind.which) if kind.key in ("sign-ins", "refusals") else rows.filter(kind.which)


def _days(rows: QuerySet[Event]) -> list[tuple[date, int]]:
    days = rows.order_by().annotate(day=TruncDate("at", tzinfo=timezone.get_default_timezone()))
    return list(days.values_list("day").annotate(Count("id")).order_by("day"))


def value_in_words(column: str, value: str) -> str:
    """A group's value as people read it."""
    if column in ("code", "type"):
        return words.MEANING.get(value, value)
    return value


def table(found: Report) -> tuple[Sequence[str], list[list[str]]]:
    """The report's groups as a table of text: the columns' names, and the rows."""
    head = (*found.kind.by, "count", "first", "last")
    zone = timezone.get_default_timezone()
    rows = [
        [
            *(value_in_words(column, value) for column, value in zip(found.kind.by, group.values, strict=True)),
            str(group.count),
            group.first.astimezone(zone).isoformat(sep=" ", timespec="seconds"),
            group.last.astimezone(zone).isoformat(sep=" ", timespec="seconds"),
        ]
        for group in found.groups
    ]
    return head, rows
