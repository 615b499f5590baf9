"""Is the audit whole? Reads everything in bounded memory and says what is wrong; never mends.

Found are: a row that was changed, removed, added or copied, rows that changed places, links and seals that were
changed or removed, and an end that does not fit. Not found can be what happens to a row before it is in the chain
(about a second) by somebody who removes it whole; and a whole database that was put back to an earlier state, which
only a second copy (`forward.py`) tells.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import structlog
from django.db import connection
from django.db.models import Model

from hozi.audit import chain, ranges, raw
from hozi.audit import key as keys
from hozi.audit.mark import COLUMNS, MARK_BYTES, SALT_BYTES, mark
from hozi.audit.models import Event, Head, Link, Seal
from hozi.audit.record import Code, Entry, Outcome, record

log = structlog.get_logger(__name__)

Kind = Literal["changed", "missing", "foreign", "moved", "copied", "link", "seal", "end"]

_LINKS_AT_ONCE: Final = 20
_ROWS_AT_ONCE: Final = 5000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: ``row`` is the number of an audit row, where it is one; ``day`` that of the chain."""

    kind: Kind
    text: str
    row: int | None = None
    day: str = ""


@dataclass(slots=True)
class Summary:
    """What was looked at. ``waiting``: rows that are not in the chain yet; their own marks were looked at."""

    rows: int = 0
    links: int = 0
    seals: int = 0
    waiting: int = 0
    findings: int = 0
    last_sealed: str = ""
    by_kind: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify(say: Callable[[Finding], None] = lambda finding: None) -> Summary:
    """Looks at every row of the audit and at the whole chain; tells ``say`` each finding as it is found.

    Brings what waits into the chain first. Others may write meanwhile.
    """
    summary = Summary()

    def found(kind: Kind, text: str, row: int | None = None, day: str = "") -> None:
        summary.findings += 1
        summary.by_kind[kind] = summary.by_kind.get(kind, 0) + 1
        say(Finding(kind, text, row, day))

    if _can_go_on():
        chain.link_and_seal()
    _Looking(found, summary).all()
    return summary


def verify_and_record(actor: str, say: Callable[[Finding], None] = lambda finding: None) -> Summary:
    """`verify`, and writes down in the audit itself that it was done and how it ended."""
    began = time.monotonic()
    summary = verify(say)
    detail = {
        "verified": summary.rows,
        "links": summary.links,
        "seals": summary.seals,
        "findings": summary.findings,
        "kinds": summary.by_kind,
        "seconds": round(time.monotonic() - began, 1),
    }
    outcome = Outcome.SUCCESS if summary.clean else Outcome.MAJOR_FAILURE
    record(Entry(Code.AUDIT_LOG_USED, "E", actor, outcome, detail=detail))
    if not summary.clean:
        log.error("the audit is not whole", findings=summary.findings, kinds=summary.by_kind)
    return summary


@dataclass(frozen=True, slots=True)
class Looked:
    """When somebody looked last whether the audit is whole, who, and what was found."""

    at: datetime
    actor: str
    rows: int
    findings: int
    kinds: dict[str, int]


def last() -> Looked | None:
    """When `verify_and_record` was done last; None: never."""
    rows = Event.objects.filter(code=Code.AUDIT_LOG_USED.value, action="E", detail__verified__isnull=False)
    found = rows.order_by("-at").values_list("at", "actor", "detail").first()
    if found is None:
        return None
    at, actor, told = found
    return Looked(at, actor, told["verified"], told.get("findings", 0), told.get("kinds", {}))


def verify_daily() -> None:
    """`verify_and_record`, as regular work of the archive itself."""
    verify_and_record("hozi")


def _can_go_on() -> bool:
    """Whether the end of the chain is as it was written; read as text, since Django may not be able to read it."""
    ends = raw.read(Head, "1 = 1 ORDER BY id LIMIT 2", [])
    return len(ends) == 1 and chain.hash_texts("head", "", ends[0][1]) == ends[0][1]["hash"]


class _Looking:
    """One walk along the chain; ``found`` is told what is wrong."""

    def __init__(self, found: Callable[..., None], summary: Summary) -> None:
        self._found = found
        self._sum = summary
        self._spans: list[tuple[int, int]] = []  # numbers of rows that are in the chain; few, as they run together
        self._seal_hash = chain.START
        self._section: _Section | None = None
        self._sections = 0

    def all(self) -> None:
        head = self._head()
        last_hash = self._links(head)
        self._end(head, last_hash)
        self._outside(head)
        self._copies()

    # The chain -------------------------------------------------------------------------------------

    def _head(self) -> raw.Texts | None:
        rows = raw.read(Head, "1 = 1 ORDER BY id LIMIT 2", [])
        if len(rows) != 1:
            self._found("end", "the end of the chain is gone" if not rows else "the chain has more than one end")
            return None
        [(_, texts, _)] = rows
        if chain.hash_texts("head", "", texts) != texts["hash"]:
            self._found("end", "the end of the chain was changed")
        if texts["key_check"] != keys.check():
            self._found("end", f"the key {keys.path()} is not the one of this audit: every row will look changed")
        return texts

    def _links(self, head: raw.Texts | None) -> str:
        before, number = chain.START, 0
        most = _number(head["link"]) if head else None
        for texts in _each(Link, "number", most):
            here = _number(texts["number"])
            if here != number + 1:
                self._found("link", f"links {number + 1} to {here - 1} are missing", day=texts["day"])
            if chain.hash_texts("link", before, texts) != texts["hash"]:
                self._found("link", f"link {here} was changed, or does not follow the one before", day=texts["day"])
            self._enter(texts)
            self._rows(texts)
            before, number = texts["hash"], here
            self._sum.links += 1
        self._leave(closed=head is None or head["closed"] != "0")
        if most is not None and number != most:
            self._found("link", f"links {number + 1} to {most} are missing: the end of the chain was cut off")
        return before

    def _end(self, head: raw.Texts | None, last_hash: str) -> None:
        if head is None:
            return
        if head["link_hash"] != last_hash:
            self._found("end", "the end of the chain does not fit its last link")
        if head["seals"] != str(self._sum.seals) or head["seal_hash"] != self._seal_hash:
            self._found("seal", f"{head['seals']} days were sealed, and {self._sum.seals} of these seals are there")
        for number, texts, _ in raw.read(Seal, "section > %s ORDER BY section", [self._sections]):
            # One more may have been made while the chain was read; its hash then follows the last.
            if chain.hash_texts("seal", self._seal_hash, texts) != texts["hash"]:
                self._found("seal", f"seal {number} belongs to no day of the chain", day=texts["day"])

    def _enter(self, texts: raw.Texts) -> None:
        """Goes on to the section of this link, and looks at the seal of the one that is left."""
        number = _number(texts["section"])
        if self._section is None or self._section.number != number:
            self._leave(closed=True)
            self._section = _Section(number, texts["day"], _number(texts["number"]))
        section = self._section
        section.last_link, section.last_hash = _number(texts["number"]), texts["hash"]
        section.count += _number(texts["count"])

    def _leave(self, *, closed: bool) -> None:
        section, self._section = self._section, None
        if section is None:
            return
        if not closed:
            self._sections = section.number - 1
            return
        self._sections = section.number
        rows = raw.read(Seal, "section = %s", [section.number])
        if not rows:
            self._found("seal", "the seal of this day is missing", day=section.day)
            return
        [(_, texts, _)] = rows
        self._sum.seals += 1
        if chain.hash_texts("seal", self._seal_hash, texts) != texts["hash"]:
            self._found("seal", "the seal of this day was changed, or does not follow the one before", day=section.day)
        elif section.told() != {name: texts[name] for name in section.told()}:
            self._found("seal", "the seal of this day does not fit its links", day=section.day)
        self._seal_hash = texts["hash"]
        self._sum.last_sealed = section.day

    # The rows --------------------------------------------------------------------------------------

    def _rows(self, link: raw.Texts) -> None:
        """The rows of one link: are all there, as they were written, where they were?"""
        day = link["day"]
        try:
            ids = ranges.read(link["ids"], chain.MOST_IN_A_LINK)
        except ValueError:
            self._found("link", f"link {link['number']} does not say which rows are its own", day=day)
            return
        there = {number: (texts, written) for number, texts, written in _rows(ids)}
        width = 2 * chain.CHECK_BYTES
        checks = [link["checks"][at : at + width] for at in range(0, len(link["checks"]), width)]
        wrong = self._sum.findings
        for place, number in enumerate(ids):
            if number not in there:
                self._found("missing", "this row was removed", number, day)
                continue
            texts, written = there[number]
            self._row(number, texts, written, day, checks[place] if place < len(checks) else "")
        marks = ((number, there[number][1]) for number in ids if number in there)
        if wrong == self._sum.findings and chain.hash_rows(marks) != link["rows"]:
            self._found("moved", f"rows of link {link['number']} are not those that it named", day=day)
        for span in ranges.spans(ids):
            self._cover(span, day)

    def _row(self, number: int, texts: raw.Texts, written: bytes, day: str, check: str | None) -> None:
        self._sum.rows += 1
        if _marked(texts, written) != written:
            self._found("changed", "this row is not as it was written", number, day)
        elif check is not None and chain.check_of(written) != check:
            self._found("moved", "this row stands in the place of another one", number, day)

    def _cover(self, span: tuple[int, int], day: str) -> None:
        """Notes which numbers the chain names; runs that touch are kept as one."""
        first, last = span
        at = bisect_right(self._spans, span)
        if (at and self._spans[at - 1][1] >= first) or (at < len(self._spans) and self._spans[at][0] <= last):
            self._found("link", f"rows {first} to {last} are named twice", day=day)
            return
        if connection.vendor == "sqlite" and at and at == len(self._spans) and self._spans[-1][1] + 1 < first:
            # SQLite numbers without gaps, as one writes at a time.
            gone = f"rows {self._spans[-1][1] + 1} to {first - 1} were removed before they came into the chain"
            self._found("missing", gone, self._spans[-1][1] + 1, day)
        if at < len(self._spans) and self._spans[at][0] == last + 1:
            last = self._spans.pop(at)[1]
        if at and self._spans[at - 1][1] + 1 == first:
            at, first = at - 1, self._spans.pop(at - 1)[0]
        self._spans.insert(at, (first, last))

    def _outside(self, head: raw.Texts | None) -> None:
        """Rows that the chain does not name: new ones are looked at by their marks, others should not be there."""
        last = _number(head["last_id"]) if head else max((span[1] for span in self._spans), default=0)
        holes = _holes(head)
        for number in _ids():
            at = bisect_right(self._spans, (number, 1 << 63)) - 1
            if at >= 0 and self._spans[at][1] >= number:
                continue
            if number > last or any(first <= number <= final for first, final in holes):
                self._sum.waiting += 1
                for _, texts, written in _rows([number]):
                    self._row(number, texts, written, "", None)
            else:
                self._found("foreign", "this row is in no link of the chain", number)

    def _copies(self) -> None:
        """A row that says the same as another one to the last bit, the salt of its mark too, is a copy of it."""
        at, seen = "", set[bytes]()
        for number, when, written in _by_time():
            if when != at:
                at, seen = when, set()
            if written in seen:
                self._found("copied", "this row is a copy of another one", number)
            seen.add(written)


@dataclass(slots=True)
class _Section:
    """A day of the chain, as its links tell it."""

    number: int
    day: str
    first_link: int
    last_link: int = 0
    last_hash: str = ""
    count: int = 0

    def told(self) -> raw.Texts:
        """What its seal must say."""
        names = ("day", "count", "first_link", "last_link", "last_hash")
        return {name: str(getattr(self, name)) for name in names}


def _marked(texts: raw.Texts, written: bytes) -> bytes:
    """The mark that a row must have, with the salt that it has."""
    if len(written) != MARK_BYTES:
        return b"none"
    return mark(keys.key(), written[:SALT_BYTES], [texts[name] for name in COLUMNS])


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1


def _holes(head: raw.Texts | None) -> list[tuple[int, int]]:
    try:
        return [(int(hole[0]), int(hole[1])) for hole in json.loads(head["holes"])] if head else []
    except (ValueError, TypeError, IndexError):
        return []


def _rows(ids: list[int]) -> list[tuple[int, raw.Texts, bytes]]:
    spans = list(ranges.spans(ids))
    if len(spans) == 1:
        return raw.read(Event, "id BETWEEN %s AND %s", list(spans[0]))
    return raw.read(Event, f"id IN ({', '.join(['%s'] * len(ids))})", ids) if ids else []


def _each(model: type[Model], column: str, most: int | None) -> Iterator[raw.Texts]:
    """All rows of a small table in order, a few at a time."""
    last = -(1 << 63)
    until = (1 << 63) - 1 if most is None else most
    where = f"{column} > %s AND {column} <= %s ORDER BY {column} LIMIT %s"
    while rows := raw.read(model, where, [last, until, _LINKS_AT_ONCE]):
        yield from (texts for _, texts, _ in rows)
        last = rows[-1][0]


def _ids() -> Iterator[int]:
    last = -(1 << 63)
    while ids := list(Event.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_ROWS_AT_ONCE]):
        yield from ids
        last = ids[-1]


def _by_time() -> Iterator[tuple[int, str, bytes]]:
    """Number, time and mark of every row, by time."""
    # As bytes on SQLite: what stands there may be no text any more.
    here, there = ("CAST(at AS BLOB)", "CAST(%s AS TEXT)") if connection.vendor == "sqlite" else ("at", "%s")
    where, values = "", list[Any]()
    with connection.cursor() as cursor:
        while True:
            statement = f"SELECT id, {here}, mark FROM audit_event {where} ORDER BY at, id LIMIT {_ROWS_AT_ONCE}"  # noqa: S608 - names of our own
            cursor.execute(statement, values)
            rows = cursor.fetchall()
            for last, moment, written in rows:
                yield last, str(moment), bytes(written or b"")
                where, values = f"WHERE at >= {there} AND (at > {there} OR id > %s)", [moment, moment, last]
            if len(rows) < _ROWS_AT_ONCE:
                return
