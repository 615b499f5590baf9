"""The audit as a file: a table for people (CSV), or the standard's messages (XML). Streamed, and itself recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Final, Literal

from django.db.models import Q, QuerySet
from django.utils import timezone

from hozi.audit import message, search
from hozi.audit.models import Event
from hozi.audit.record import Code
from hozi.audit.search import Line, Question

Form = Literal["csv", "xml"]

CONTENT_TYPES: Final[dict[Form, str]] = {"csv": "text/csv; charset=utf-8", "xml": "application/xml"}

_AT_ONCE: Final = 1000
_COLUMNS: Final = (
    "row",
    "time",
    "what",
    "code",
    "type",
    "action",
    "outcome",
    "who",
    "from",
    "issuer",
    "patient",
    "study",
    "object",
    "facility",
    "detail",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def export(
    question: Question,
    form: Form,
    *,
    actor: str,
    address: str = "",
    facilities: Collection[str] | None = None,
) -> Iterator[bytes]:
    """The rows that the question fits, the newest first, as the pieces of a file.

    That it was asked for is recorded (Export, 110106) when this is called, before the first piece; rows that come
    meanwhile are left out. Raises Refused when something in the question cannot be.
    """
    rows = search.matching(question, facilities)
    last = Event.objects.order_by("-id").values_list("id", flat=True).first() or 0
    search.tell("export", question, actor=actor, address=address, found=0, code=Code.EXPORT, form=form, until_row=last)
    return pieces(lines(rows.filter(id__lte=last)), form)


def pieces(found: Iterator[Line], form: Form) -> Iterator[bytes]:
    """The file that holds these lines."""
    return _csv(found) if form == "csv" else _xml(found)


def lines(rows: QuerySet[Event]) -> Iterator[Line]:
    """All rows, the newest first, a page at a time: nothing grows, and no transaction stays open meanwhile."""
    ordered = rows.order_by("-at", "-id")
    page = search.lines(ordered[:_AT_ONCE])
    while page:
        yield from page
        last = page[-1]
        older = Q(at__lt=last.at) | Q(id__lt=last.id)
        page = search.lines(ordered.filter(older, at__lte=last.at)[:_AT_ONCE]) if len(page) == _AT_ONCE else []


def _csv(found: Iterator[Line]) -> Iterator[bytes]:
    # The mark at the beginning tells spreadsheets that it is UTF-8.
    yield "\ufeff".encode() + record(_COLUMNS)
    for line in found:
        yield record(_cells(line))


def _cells(line: Line) -> list[str]:
    local = timezone.localtime(line.at, timezone.get_default_timezone())
    return [
        str(line.id),
        local.isoformat(sep=" ", timespec="milliseconds"),
        line.what,
        line.code,
        line.type,
        line.action,
        str(line.outcome),
        line.actor,
        line.address,
        line.issuer,
        line.patient_id,
        line.study_uid,
        line.object_uid,
        line.facility,
        json.dumps(line.detail, ensure_ascii=False, sort_keys=True),
    ]


def record(cells: Collection[str]) -> bytes:
    """A line of a table."""
    return (",".join(map(cell, cells)) + "\r\n").encode("utf-8", "replace")


def cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula, and that is one cell in one line (RFC 4180)."""
    harmless = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    if text.startswith(_FORMULA) or harmless.startswith(_FORMULA):
        harmless = "'" + harmless
    quoted = harmless.replace('"', '""')
    return f'"{quoted}"' if any(letter in quoted for letter in ",\";'") or quoted != quoted.strip() else quoted


def _xml(found: Iterator[Line]) -> Iterator[bytes]:
    make: Callable[[Line], str] = message.message
    for piece in message.document(map(make, found)):
        yield piece.encode("utf-8", "replace")
