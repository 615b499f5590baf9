"""The index answers every kind of query as the plain matcher does, on whichever database it stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.accounts.authorise import EVERYTHING
from hozi.archive import criteria
from hozi.archive.find import Query, find
from hozi.archive.models import Instance, Patient, Series, Study
from hozi.core.dicom import matching
from hozi.core.dicom.keys import BY_KEYWORD, LEVELS, Key, tag_of
from tests.archive.stock import Value, keep
from tests.core.dicom import cases

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TABLES = {"PATIENT": Patient, "STUDY": Study, "SERIES": Series, "IMAGE": Instance}
thoroughly = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# Their values are counted, not kept: test_find.py asks for them.
PATIENT_COUNTS = {
    "NumberOfPatientRelatedStudies",
    "NumberOfPatientRelatedSeries",
    "NumberOfPatientRelatedInstances",
}

# Characters that mean something to SQL or to JSON, letters that fold, and few of them: so that much matches.
LETTERS = "aAé[]%_'山"
DATES = st.sampled_from(["20260101", "20260102", "2026.01.02", "20251231", "20261399", "rubbish", ""])
TIMES = st.sampled_from(["10", "1045", "104512", "104512.5", "10:45", "0959", "rubbish", ""])
NUMBERS = st.sampled_from(["1", "+1", "001", " 2 ", "-3", "12", "9223372036854775808", "1e3", "x", ""])
UIDS = st.sampled_from(["1.2", "1.2.3", "1.2.30", "1.02.3"])
WORDS = st.sampled_from(["Meyer", "MAYER", "Moyo", "Smith", "smyth", "Müller", "山田", "a[", "%"])


def _trimmed(size: int) -> st.SearchStrategy[str]:
    return st.text(LETTERS, max_size=size).map(lambda text: text.strip(" "))


NAMES = st.lists(st.lists(WORDS | _trimmed(2), max_size=3).map("^".join), min_size=1, max_size=3).map("=".join)
STORED = {"DA": DATES, "TM": TIMES, "IS": NUMBERS, "DS": NUMBERS, "US": NUMBERS, "UI": UIDS, "PN": NAMES}


def stored(key: Key) -> st.SearchStrategy[Value]:
    """What objects may hold for a key."""
    if key.vr == "SQ":
        return st.lists(_items(key, st.sampled_from(["a", "A", "[", ""])), max_size=3)
    if key.source == "computed" and key.vr == "IS":
        return st.sampled_from(["1", "2", "12"])
    one = STORED.get(key.vr, _trimmed(4))
    several = st.lists(one.filter(bool), max_size=2, unique=True).map("\\".join)
    return several if key.multiple else one


def _items(key: Key, texts: st.SearchStrategy[str]) -> st.SearchStrategy[dict[int, str]]:
    """Items with one or two elements: what counts is whether both are in the same one."""
    first, second = key.sequence_elements[:2]
    return st.fixed_dictionaries({first: texts}, optional={second: texts})


@st.composite
def _pattern_of(draw: st.DrawFn, text: str) -> str:
    """Something that may well match the text: a few characters are wildcards, or in another case, or gone."""
    usual = lambda character: character  # noqa: E731
    changes = [usual] * 5 + [str.swapcase, lambda _: "?", lambda _: "*", lambda _: ""]
    return "".join(draw(st.sampled_from(changes))(character) for character in text)


def _alternatives(one: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return one | st.lists(one, max_size=3).map("\\".join)


@st.composite
def asked(draw: st.DrawFn, key: Key, values: list[Value]) -> Value:
    """What queries may hold for a key whose stored values are these."""
    if key.vr == "SQ":
        texts = sorted({text for items in values for item in items if isinstance(item, dict) for text in item.values()})
        text = st.sampled_from(["", *texts])
        return draw(st.lists(_items(key, text | _alternatives(text.flatmap(_pattern_of))), max_size=2))
    known = st.sampled_from(sorted({one for value in values for one in str(value).split("\\")}))
    if key.vr in ("DA", "TM"):
        bound = known | STORED[key.vr]
        return draw(_alternatives(bound | st.tuples(bound, bound).map("-".join) | bound.flatmap(_pattern_of)))
    other = WORDS | NAMES if key.vr == "PN" else STORED.get(key.vr, _trimmed(4))
    return draw(_alternatives(known.flatmap(_pattern_of) | other))


@contextmanager
def undone() -> Iterator[None]:
    """What one example keeps, the next one does not see."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def _marks(level: str, *keywords: str) -> str:
    """An element that tells the examples' objects apart and is not among the keywords."""
    marks = ["IssuerOfPatientID", "PatientID"] if level == "PATIENT" else ["StudyInstanceUID", "AccessionNumber"]
    return next(mark for mark in marks if mark not in keywords)


def _prefix(mark: str) -> str:
    return {"IssuerOfPatientID": "ISSUER", "PatientID": "P", "StudyInstanceUID": "1.1.", "AccessionNumber": "A"}[mark]


def ask(level: str, keys: dict[str, Value], *, fuzzy: bool = False, combined: bool = False, page: int = 2) -> set[int]:
    """Ask the index; the answer is the numbers of the objects."""
    mark = _marks(level, *keys)
    query = Query(
        level,
        "PATIENT_ROOT",
        {tag_of(mark): "", **{tag_of(keyword): value for keyword, value in keys.items()}},
        relational=True,
        combined_datetime=combined,
        fuzzy=fuzzy,
    )
    found = [
        match.values[tag_of(mark)] for match in find(query, reach=EVERYTHING, limit=1000, retrieve_ae="HOZI", page=page)
    ]
    return {int(str(value).removeprefix(_prefix(mark))) for value in found}


def let_through(key: Key, criterion: matching.Criterion, level: str) -> tuple[set[int], bool]:
    """What the SQL alone lets through, and whether it claims to be exact."""
    said = criteria.condition(key, criterion, level)
    mark = _marks(level, key.keyword)
    column = criteria.COLUMNS[tag_of(mark)]
    field = criteria.way(level, column.level) + column.field
    rows = TABLES[level]._default_manager.filter(said.query).values_list(field, flat=True)
    return {int(value.removeprefix(_prefix(mark))) for value in rows}, said.exact


def _one_of_each_kind() -> list[Key]:
    """Every key that has a column, a table or a computation of its own, and one of each kind of the others."""
    kinds: dict[object, Key] = {}
    for key in BY_KEYWORD.values():
        if key.level != "ANY" and key.keyword not in PATIENT_COUNTS:
            own = key.tag in criteria.COLUMNS or key.source == "computed" or key.vr == "SQ"
            kinds.setdefault(key.tag if own else (key.vr, key.multiple), key)
    return list(kinds.values())


def test_the_index_answers_the_matchers_own_cases() -> None:
    """Each case's value is kept once; each query must find exactly what the matcher says of all these values."""
    for keyword in dict.fromkeys(case.keyword for case in cases.ALL):
        key = BY_KEYWORD[keyword]
        mine = [case for case in cases.ALL if case.keyword == keyword]
        values = list({repr(case.value): case.value for case in mine}.values())
        with undone():
            for number, value in enumerate(values):
                keep(number, {keyword: value})
            for case in mine:
                expected = {
                    number
                    for number, value in enumerate(values)
                    if matching.matches(key, case.query, _kept(key, value), fuzzy=case.fuzzy)
                }
                assert ask(key.level, {keyword: case.query}, fuzzy=case.fuzzy) == expected, str(case)
                assert ask("IMAGE", {keyword: case.query}, fuzzy=case.fuzzy) == expected, str(case)


@pytest.mark.parametrize("key", _one_of_each_kind(), ids=lambda key: key.keyword)
@thoroughly
@given(data=st.data())
def test_the_index_finds_what_the_matcher_finds(key: Key, data: st.DataObject) -> None:
    unique = key.keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    values = data.draw(st.lists(stored(key), min_size=1, max_size=4, unique=unique))
    query = data.draw(asked(key, values))
    fuzzy = data.draw(st.booleans()) if key.vr == "PN" else False
    level = data.draw(st.sampled_from(LEVELS[LEVELS.index(key.level) :]))
    with undone():
        for number, value in enumerate(values):
            keep(number, {key.keyword: value})
        expected = {n for n, value in enumerate(values) if matching.matches(key, query, _kept(key, value), fuzzy=fuzzy)}
        assert ask(level, {key.keyword: query}, fuzzy=fuzzy) == expected
        criterion = matching.parse(key, query, fuzzy=fuzzy)
        if not isinstance(criterion, matching.Universal):
            rows, exact = let_through(key, criterion, level)
            assert rows == expected if exact else rows >= expected


def _kept(key: Key, value: Value) -> Value:
    """What the index can know of a value: a number's column holds no text."""
    if key.keyword in ("InstanceNumber", "SeriesNumber"):
        try:
            return str(int(str(value))) if -(2**63) <= int(str(value)) < 2**63 else ""
        except ValueError:
            return ""
    if key.keyword == "ModalitiesInStudy":
        return f"{value}\\CT" if value else "CT"
    if key.keyword == "SOPClassesInStudy":
        return f"{value}\\1.2.840.10008.5.1.4.1.1.2"
    return value


@thoroughly
@given(
    st.lists(st.tuples(DATES, TIMES), min_size=2, max_size=5),
    st.data(),
    st.sampled_from(LEVELS[1:]),
    st.sampled_from(["Study", "Study", "Series", "Content"]),
)
def test_ranges_of_date_and_time_together_are_answered_as_the_matcher_does_e32(
    values: list[tuple[str, str]], data: st.DataObject, level: str, of: str
) -> None:
    # The bounds are what is stored, so that it matters to which side they belong.
    (first, low), (last, high) = data.draw(st.permutations(values))[:2]
    days, hours = data.draw(st.sampled_from([(f"{first}-{last}", f"{low}-{high}"), (f"{first}-", f"-{high}")]))
    date, time = BY_KEYWORD[f"{of}Date"], BY_KEYWORD[f"{of}Time"]
    if LEVELS.index(date.level) > LEVELS.index(level):
        level = date.level
    moments = matching.parse_moments(days, hours)
    with undone():
        for number, (day, hour) in enumerate(values):
            keep(number, {date.keyword: day, time.keyword: hour})
        expected = {
            number
            for number, (day, hour) in enumerate(values)
            if (
                moments.holds(day, hour)
                if moments
                else matching.matches(date, days, day) and matching.matches(time, hours, hour)
            )
        }
        assert ask(level, {date.keyword: days, time.keyword: hours}, combined=True) == expected


TOGETHER = ["PatientName", "PatientSex", "StudyDate", "StudyTime", "StudyID", "ModalitiesInStudy", "SeriesDescription"]


@thoroughly
@given(st.data())
def test_several_keys_must_all_be_met(data: st.DataObject) -> None:
    objects = data.draw(
        st.lists(st.fixed_dictionaries({k: stored(BY_KEYWORD[k]) for k in TOGETHER}), min_size=1, max_size=4)
    )
    possible = {k: asked(BY_KEYWORD[k], [elements[k] for elements in objects]) for k in TOGETHER}
    query = data.draw(st.fixed_dictionaries({}, optional=possible))
    with undone():
        for number, elements in enumerate(objects):
            keep(number, elements)
        expected = {
            number
            for number, elements in enumerate(objects)
            if all(
                matching.matches(BY_KEYWORD[k], text, _kept(BY_KEYWORD[k], elements[k])) for k, text in query.items()
            )
        }
        assert ask("IMAGE", query) == expected
