"""Queries. This is the only way to search; every door that answers queries calls it (PS3.4 Annex C).

Answers come as a stream, a page of rows at a time, each page beginning behind the last row of the one before: nothing
is ever loaded whole. Patients and studies come newest first, so that a limit cuts off the oldest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from django.core.exceptions import EmptyResultSet
from django.db import models
from django.db.models import Q
from pydicom.dataset import Dataset

from hozi.accounts.authorise import Reach
from hozi.archive import criteria, related
from hozi.archive import reach as reaching
from hozi.archive.criteria import Condition
from hozi.archive.models import Instance, Patient, Series, Study
from hozi.archive.remembered import Statement, stand_in, statement
from hozi.core.dicom import charset, identifier, keys, matching
from hozi.core.dicom.keys import BY_TAG, Key, tag_of
from hozi.core.dicom.times import Range
from hozi.core.errors import Refused

Value: TypeAlias = str | list[dict[int, str]]
Model = Literal["PATIENT_ROOT", "STUDY_ROOT"]

QUERY_RETRIEVE_LEVEL: Final = tag_of("QueryRetrieveLevel")
SPECIFIC_CHARACTER_SET: Final = tag_of("SpecificCharacterSet")
RETRIEVE_AE_TITLE: Final = tag_of("RetrieveAETitle")
INSTANCE_AVAILABILITY: Final = tag_of("InstanceAvailability")
STUDY_DATE: Final = tag_of("StudyDate")

# Elements of an identifier that say something about it and are no keys (PS3.4 §C.4.1.1.3).
_ABOUT: Final = frozenset({QUERY_RETRIEVE_LEVEL, SPECIFIC_CHARACTER_SET, tag_of("TimezoneOffsetFromUTC")})
_LEVEL_ALIASES: Final = {"IMAGES": "IMAGE"}
_TABLES: Final[dict[str, type[models.Model]]] = {
    "PATIENT": Patient,
    "STUDY": Study,
    "SERIES": Series,
    "IMAGE": Instance,
}


class InvalidQuery(Refused):
    """The identifier does not follow the rules of its query model. The text names the element, never its value."""


@dataclass(frozen=True)
class Query:
    """What is asked: the keys with their decoded texts (a sequence: its items), and what was negotiated.

    ``relational``: keys above the level need not name one entity each (PS3.4 §C.4.1.3.2). ``charset``: the Specific
    Character Set in which answers are wanted.
    """

    level: str
    model: Model
    keys: dict[int, str | list[dict[int, str]]]
    relational: bool = False
    combined_datetime: bool = False
    fuzzy: bool = False
    charset: str = ""


@dataclass(frozen=True)
class Match:
    """One answer: values by tag, for the keys that were asked and that the archive knows, and for where it is.

    A text may hold several values with backslashes between them; it is empty when the value is not known.
    """

    values: dict[int, str | list[dict[int, str]]]


def query_from(
    dataset: Dataset,
    model: Model,
    default_charset: str = "",
    relational: bool = False,
    combined_datetime: bool = False,
    fuzzy: bool = False,
) -> Query:
    """Understand an identifier (`core.dicom.identifier.read`).

    ``default_charset``: in which character set answers go when the identifier names none. Raises InvalidQuery when
    the level is missing or unknown, or the unique keys above it do not name one entity each (E38–E40).
    """
    asked: dict[int, str | list[dict[int, str]]] = {}
    for tag in dataset.keys():  # noqa: SIM118 - iterating over a dataset gives elements
        if tag.group == 0x0002 or tag.element == 0x0000 or tag in _ABOUT:
            continue
        element = dataset[tag]
        asked[int(tag)] = [_texts(item) for item in element.value] if element.VR == "SQ" else _text(element)
    level = _text(dataset[QUERY_RETRIEVE_LEVEL]) if QUERY_RETRIEVE_LEVEL in dataset else ""
    declared = _text(dataset[SPECIFIC_CHARACTER_SET]) if SPECIFIC_CHARACTER_SET in dataset else ""
    query = Query(
        _LEVEL_ALIASES.get(level, level),
        model,
        asked,
        relational,
        combined_datetime,
        fuzzy,
        declared or default_charset,
    )
    check(query)
    return query


def check(query: Query) -> None:
    """Raise InvalidQuery when the query breaks a rule of its model (PS3.4 §C.4.1.2, §C.6)."""
    if query.level not in keys.LEVELS:
        raise InvalidQuery("QueryRetrieveLevel is missing or unknown")
    if query.level == "PATIENT" and query.model == "STUDY_ROOT":
        raise InvalidQuery("the Study Root model has no level PATIENT")
    if query.relational:
        return
    for level in keys.LEVELS[: keys.LEVELS.index(query.level)]:
        key = keys.unique_key(level)
        value = query.keys.get(key.tag, "")
        if level == "PATIENT" and query.model == "STUDY_ROOT":
            continue
        if not isinstance(value, str) or not value.strip(" \\") or "*" in value or "?" in value:
            raise InvalidQuery(f"{key.keyword} is needed, without wildcards, in a query at level {query.level}")


def supported(query: Query) -> bool:
    """Tell whether every key of the query is matched and returned (status FF00), or some are ignored (FF01)."""
    return not unsupported(query)


def unsupported(query: Query) -> list[int]:
    """The keys of the query that are ignored, at least in part."""
    return [tag for tag, value in query.keys.items() if not _is_supported(_known(tag, query.level), value)]


def _is_supported(key: Key | None, value: Value) -> bool:
    if key is None:
        return False
    return isinstance(value, str) or not any(set(item) - set(key.sequence_elements) for item in value)


def find(
    query: Query,
    *,
    reach: Reach,
    limit: int,
    retrieve_ae: str,
    offset: int = 0,
    page: int = 500,
    stop: Callable[[], bool] = lambda: False,
) -> Results:
    """Give the matches of a query, at most ``limit``, as something to iterate over once or more.

    ``reach``: what the asker may find; nothing else is there. So many as ``offset`` are passed over before the first.
    ``stop`` is asked between pages, since many pages may
    be searched before something matches. The database is asked when iteration begins; that raises InvalidQuery when
    the query breaks a rule or a pattern is too long.
    """
    return Results(query, reach, limit, retrieve_ae, offset, page, stop)


@dataclass
class Results:
    """The matches of a query. After iteration, ``limit_reached`` tells whether there would have been more, and
    ``stopped`` whether the asker wanted no more.
    """

    query: Query
    reach: Reach
    limit: int
    retrieve_ae: str
    offset: int
    page: int
    stop: Callable[[], bool]
    limit_reached: bool = False
    stopped: bool = False

    def __iter__(self) -> Iterator[Match]:
        self.limit_reached = self.stopped = False
        try:
            check(self.query)
            shape, texts = _shape(self.query, self.reach, self.retrieve_ae)
            search = shape.search if shape is not None else _Search(self.query, self.reach, self.retrieve_ae)
        except matching.TooMuch as error:
            raise InvalidQuery(str(error)) from error
        count = 0
        last: _Row | None = None
        # Where every row is a match, the database passes over them.
        passed, skip = (self.offset, 0) if search.exact else (0, self.offset)
        while True:
            size = min(self.page, self.limit - count + 1) if search.exact else self.page
            rows = shape.first(size, passed, texts) if shape is not None and last is None else None
            if rows is None:
                if shape is not None:
                    shape, search = None, _Search(self.query, self.reach, self.retrieve_ae)
                rows = search.rows(last, size, passed)
            passed = 0
            for match in search.matches(rows):
                if skip:
                    skip -= 1
                    continue
                if count == self.limit:
                    self.limit_reached = True
                    return
                count += 1
                yield match
            if len(rows) < size:
                return
            last = rows[-1]
            if self.stop():
                self.stopped = True
                return


_Row: TypeAlias = Sequence[Any]
_Related: TypeAlias = Mapping[int, Mapping[int, str]]
_Reader: TypeAlias = Callable[[_Row, _Related], Value]
_Check: TypeAlias = Callable[[Mapping[int, Value]], bool]


@dataclass
class _Search:
    """A query made ready: the rows to ask for, how a row becomes a match, and what SQL could not decide."""

    query: Query
    reach: Reach
    retrieve_ae: str
    open: Mapping[int, str] = field(default_factory=dict)
    _fields: list[str] = field(default_factory=lambda: ["pk"])
    _readers: dict[int, _Reader] = field(default_factory=dict)
    _related: dict[int, int] = field(default_factory=dict)
    _checks: list[_Check] = field(default_factory=list)
    _condition: Q = field(default_factory=Q)
    _days: Range | None = None
    _owners: Mapping[int, str] = field(default_factory=dict)
    _in_part: bool = False

    def __post_init__(self) -> None:
        self._owners = related.owners(self.reach)
        self._in_part = reaching.by_series(self.reach)
        self._restrict()
        for tag in (*self.query.keys, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY):
            key = _known(tag, self.query.level)
            if key is not None:
                self._readers[tag] = self._reader(key)
        together = self._moments() if self.query.combined_datetime else frozenset()
        for tag, value in self.query.keys.items():
            key = _known(tag, self.query.level)
            if key is not None and tag not in together:
                self._add(key, value)

    @property
    def exact(self) -> bool:
        """Whether every row that comes is a match."""
        return not self._checks

    def rows(self, last: _Row | None, size: int, passed: int) -> list[_Row]:
        """The next rows after the last one of the page before, without the first so many (``passed``)."""
        return list(self.table(last, size, passed))

    def table(self, last: _Row | None, size: int, passed: int) -> models.QuerySet[Any, Any]:
        """The next rows after the last one of the page before, without the first so many (``passed``).

        Studies of a range of days are read in the order of the index on days, everything else in that of row ids.
        """
        table: models.QuerySet[Any] = _TABLES[self.query.level]._default_manager.filter(self._condition)
        if self._days is not None:
            until = self._days.high if last is None else last[self._column("date")]
            table = table.filter(criteria.days(Range(self._days.low, until), "STUDY")).order_by("-date", "-pk")
            if last is not None:
                table = table.filter(Q(date__lt=until) | Q(pk__lt=last[0]))
        elif self.query.level in ("PATIENT", "STUDY"):
            table = (table if last is None else table.filter(pk__lt=last[0])).order_by("-pk")
        else:
            table = (table if last is None else table.filter(pk__gt=last[0])).order_by("pk")
        return table.values_list(*self._fields)[passed : passed + size]

    def matches(self, rows: Sequence[_Row]) -> Iterator[Match]:
        """The rows of a page as matches, without those that SQL let through wrongly."""
        found: _Related = {}
        if self._related and rows:
            ids: dict[str, set[int]] = {"STUDY": set(), "PATIENT": set()}
            for tag, place in self._related.items():
                ids[self._owners[tag]].update(row[place] for row in rows)
            found = related.of_page(self._related, ids, self.reach)
        for row in rows:
            values = {tag: read(row, found) for tag, read in self._readers.items()}
            if all(holds(values) for holds in self._checks):
                yield Match(values)

    def _restrict(self) -> None:
        """To what the asker reaches."""
        if self.query.level == "PATIENT":
            self._condition &= reaching.patients(self.reach)
        elif self.query.level == "STUDY":
            self._condition &= reaching.studies(self.reach)
        else:
            self._condition &= reaching.series(self.reach, criteria.way(self.query.level, "SERIES"))

    def _column(self, field_name: str) -> int:
        """The place of a column in the rows; it is asked for from now on."""
        if field_name not in self._fields:
            self._fields.append(field_name)
        return self._fields.index(field_name)

    def _reader(self, key: Key) -> _Reader:
        """How the value of a key is read from a row."""
        level = self.query.level
        if key.tag == RETRIEVE_AE_TITLE:
            return lambda row, found: self.retrieve_ae
        if key.tag == INSTANCE_AVAILABILITY:
            return lambda row, found: "ONLINE"
        if key.tag in self._owners:
            owner = self._column(criteria.way(level, self._owners[key.tag]) + "pk")
            self._related[key.tag] = owner
            return lambda row, found: found[key.tag].get(row[owner], "0" if key.vr == "IS" else "")
        column = criteria.COLUMNS.get(key.tag)
        if column is not None:
            place = self._column(criteria.prefix(level, key) + column.field)
            return lambda row, found: "" if row[place] is None else str(row[place])
        attributes = self._column(criteria.prefix(level, key) + "attributes")
        if key.vr == "SQ":
            wanted = _item_elements(key, self.query.keys.get(key.tag, ""))
            return lambda row, found: [
                {tag: item.get(f"{tag:08X}", "") for tag in wanted} for item in row[attributes].get(key.name, ())
            ]
        return lambda row, found: row[attributes].get(key.name, "")

    def _add(self, key: Key, value: Value) -> None:
        """A key's criterion: to SQL as far as it goes, the rest to the plain matcher."""
        criterion = matching.parse(key, value, fuzzy=self.query.fuzzy)
        if key.tag in self.open:
            text = self.open[key.tag]
            criterion = Range(text, text) if key.vr == "DA" else matching.Single(text)
        if isinstance(criterion, matching.Universal):
            return
        if key.level == "ANY":
            if not matching.holds(criterion, key, self._readers[key.tag]((), {})):
                self._condition &= criteria.NOTHING
            return
        said = criteria.condition(key, criterion, self.query.level)
        if self._in_part and key.tag in self._owners:
            # SQL looks at whole studies: what it lets through is looked at again, what it counts is another number.
            said = criteria.UNSAID if key.tag in related.STUDY_COUNTS else Condition(said.query, exact=False)
        if key.tag == STUDY_DATE and isinstance(criterion, Range) and criterion.low != criterion.high:
            self._restrict_days(criterion)
        else:
            self._condition &= said.query
        if not said.exact:
            self._checks.append(lambda values: matching.holds(criterion, key, values[key.tag]))

    def _restrict_days(self, bounds: Range) -> None:
        if self.query.level == "STUDY":
            self._days = bounds
        else:
            self._condition &= criteria.days(bounds, self.query.level)

    def _moments(self) -> frozenset[int]:
        """Dates and times that are ranges together (if negotiated). Returns the tags that are dealt with."""
        done: set[int] = set()
        for date, time in keys.DATE_AND_TIME:
            asked = [self.query.keys.get(tag, "") for tag in (date, time)]
            if date not in self._readers or time not in self._readers:
                continue
            moments = matching.parse_moments(str(asked[0]), str(asked[1]))
            if moments is not None:
                if date == STUDY_DATE:
                    self._restrict_days(Range(moments.low[:8], moments.high[:8]))
                    self._condition &= criteria.moments_condition(moments, self.query.level)
                self._checks.append(_moments_check(moments, date, time))
                done |= {date, time}
        return frozenset(done)


@dataclass
class _Shape:
    """What is the same for all queries that ask the same elements with other values: asked in the same words."""

    search: _Search
    statements: dict[tuple[int, int], Statement | None] = field(default_factory=dict)

    def first(self, size: int, passed: int, texts: Mapping[int, str]) -> list[_Row] | None:
        """The first rows of a query of this shape with these texts; None: not to be had in this way."""
        if passed > _REMEMBERED_UP_TO:
            return None
        said = self.statements.get((size, passed))
        if said is None:
            if len(self.statements) >= _MOST_STATEMENTS:
                self.statements.clear()
            said = statement(self.search.table(None, size, passed), list(self.search.open.values()))
            if said is None:
                return None
            self.statements[size, passed] = said
        return said.rows({stands_in: texts[tag] for tag, stands_in in self.search.open.items()})


# How far a viewer pages; and how many answers of a shape are told apart by how long they may be.
_REMEMBERED_UP_TO: Final = 10_000
_MOST_STATEMENTS: Final = 64
_PLAIN: Final = frozenset({"UI", "LO", "SH", "CS", "DA"})


def _shape(query: Query, reach: Reach, retrieve_ae: str) -> tuple[_Shape | None, dict[int, str]]:
    """The shape of a query that only asks for texts and days as they stand, and these; None of any other."""
    asked, texts = [], {}
    for tag, value in query.keys.items():
        if value:
            key = _known(tag, query.level)
            text = None if key is None or tag not in criteria.COLUMNS else _as_it_stands(key, value)
            if text is None:
                return None, {}
            texts[tag] = text
        asked.append((tag, bool(value)))
    return _shape_of(query.level, query.model, tuple(asked), reach, retrieve_ae), texts


def _as_it_stands(key: Key, value: Value) -> str | None:
    """The text that the key's column must equal; None when it may be something else."""
    if key.vr not in _PLAIN:
        return None
    match matching.parse(key, value):
        case matching.Single(text):
            return text
        case Range(low, high) if low == high:
            return low
    return None


@lru_cache(maxsize=256)
def _shape_of(
    level: str, model: Model, asked: tuple[tuple[int, bool], ...], reach: Reach, retrieve_ae: str
) -> _Shape | None:
    left_open = {tag: stand_in(place) for place, (tag, told) in enumerate(asked) if told}
    keys: dict[int, Value] = {tag: left_open.get(tag, "") for tag, _ in asked}
    search = _Search(Query(level, model, keys, relational=True), reach, retrieve_ae, left_open)
    if not search.exact:
        return None
    try:
        said = statement(search.table(None, 1, 0), list(left_open.values()))
    except EmptyResultSet:
        return None
    return None if said is None else _Shape(search)


def answer(match: Match, query: Query, *, charset_requested: str | None = None) -> Dataset:
    """Make the identifier of a pending response (PS3.4 §C.4.1.1.3.2).

    In the character set that was requested (by the query, if not named here) if that can hold it, else in UTF-8.
    """
    requested = query.charset if charset_requested is None else charset_requested
    declared = charset.encode_set(_all_texts(match.values), requested)
    dataset = Dataset()
    if declared:
        dataset[SPECIFIC_CHARACTER_SET] = identifier.plain_element(SPECIFIC_CHARACTER_SET, "CS", declared)
    dataset[QUERY_RETRIEVE_LEVEL] = identifier.plain_element(QUERY_RETRIEVE_LEVEL, "CS", query.level)
    for tag, value in match.values.items():
        if isinstance(value, str):
            dataset[tag] = identifier.plain_element(tag, BY_TAG[tag].vr, value)
        else:
            dataset[tag] = identifier.sequence_element(tag, [_item(BY_TAG[tag], item) for item in value])
    return dataset


def _known(tag: int, level: str) -> Key | None:
    """The key of a tag, if queries at that level match and return it."""
    key = BY_TAG.get(tag)
    if key is None or key.usage == "-":
        return None
    if key.level != "ANY" and keys.LEVELS.index(key.level) > keys.LEVELS.index(level):
        return None
    return key


def _item_elements(key: Key, value: Value) -> list[int]:
    """The elements of a sequence's items to return: those that were asked for, or all when none were named."""
    asked = {tag for item in value for tag in item} if not isinstance(value, str) else set()
    return [tag for tag in key.sequence_elements if not asked or tag in asked]


def _moments_check(moments: matching.Moments, date: int, time: int) -> _Check:
    return lambda values: moments.holds(str(values[date]), str(values[time]))


def _text(element: Any) -> str:
    # NUL pads, and PostgreSQL has no such character.
    return identifier.text_of(element).replace("\0", "").strip(" ")


def _texts(item: Dataset) -> dict[int, str]:
    """An item's elements as texts; sequences inside it are not matched."""
    return {int(tag): _text(item[tag]) for tag in item.keys() if tag.element and item[tag].VR != "SQ"}  # noqa: SIM118


def _all_texts(values: Mapping[int, Value]) -> Iterator[str]:
    for value in values.values():
        if isinstance(value, str):
            yield value
        else:
            for item in value:
                yield from item.values()


def _item(key: Key, item: Mapping[int, str]) -> Dataset:
    dataset = Dataset()
    for element in matching.item_keys(key):
        if element.tag in item:
            dataset[element.tag] = identifier.plain_element(element.tag, element.vr, item[element.tag])
    return dataset
