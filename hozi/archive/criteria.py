"""Says in SQL what a criterion of a query asks, for SQLite and PostgreSQL.

`core.dicom.matching` has the rules; where SQL can only say a part of one (or nothing, because the element is not a
column), the condition is marked as not exact, and `find` lets the plain matcher decide about what it lets through.
Every value is a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any, Final, TypeAlias

from django.db.models import Exists, OuterRef, Q

from hozi.archive import comparisons as comparisons
from hozi.archive.models import Instance, NameWord, SequenceValue, Series, Study
from hozi.core.dicom import matching
from hozi.core.dicom.keys import Key, tag_of
from hozi.core.dicom.times import Range

NOTHING: Final = Q(pk__in=[])
_LARGEST: Final = 2**63


@dataclass(frozen=True)
class Column:
    """The column that holds an element, and those in which it is matched when they are others."""

    level: str
    field: str
    matched: tuple[str, ...] = ()


COLUMNS: Final[dict[int, Column]] = {
    tag_of(keyword): column
    for keyword, column in {
        "PatientID": Column("PATIENT", "patient_id"),
        "IssuerOfPatientID": Column("PATIENT", "issuer"),
        "PatientName": Column("PATIENT", "name", ("name_alphabetic_key", "name_ideographic_key", "name_phonetic_key")),
        "PatientBirthDate": Column("PATIENT", "birth_date"),
        "PatientSex": Column("PATIENT", "sex"),
        "StudyInstanceUID": Column("STUDY", "uid"),
        "StudyDate": Column("STUDY", "date"),
        "StudyTime": Column("STUDY", "time", ("time_key",)),
        "AccessionNumber": Column("STUDY", "accession_number"),
        "StudyID": Column("STUDY", "study_id"),
        "StudyDescription": Column("STUDY", "description"),
        "ReferringPhysicianName": Column("STUDY", "referring", ("referring_key",)),
        "NumberOfStudyRelatedSeries": Column("STUDY", "series_count"),
        "NumberOfStudyRelatedInstances": Column("STUDY", "instance_count"),
        "SeriesInstanceUID": Column("SERIES", "uid"),
        "Modality": Column("SERIES", "modality"),
        "SeriesNumber": Column("SERIES", "number"),
        "NumberOfSeriesRelatedInstances": Column("SERIES", "instance_count"),
        "SOPInstanceUID": Column("IMAGE", "uid"),
        "SOPClassUID": Column("IMAGE", "sop_class"),
        "InstanceNumber": Column("IMAGE", "number"),
    }.items()
}

# From the table of a query's level to those of the levels above it.
_WAYS: Final[dict[str, dict[str, str]]] = {
    "PATIENT": {"PATIENT": ""},
    "STUDY": {"STUDY": "", "PATIENT": "patient__"},
    "SERIES": {"SERIES": "", "STUDY": "study__", "PATIENT": "study__patient__"},
    "IMAGE": {"IMAGE": "", "SERIES": "series__", "STUDY": "series__study__", "PATIENT": "series__study__patient__"},
}
_SEQUENCE_OWNERS: Final = {"STUDY": "study", "SERIES": "series", "IMAGE": "instance"}


# Whose a study is, it does not say itself.
_IDENTITY: Final = frozenset({tag_of("PatientID"), tag_of("IssuerOfPatientID")})


@dataclass(frozen=True)
class Condition:
    """A condition on the table of a query's level. Not exact: rows that it lets through have to be looked at."""

    query: Q
    exact: bool


UNSAID: Final = Condition(Q(), exact=False)


def way(level: str, above: str) -> str:
    """The prefix that leads from the table of a query's level to the one of a level at or above it."""
    return _WAYS[level][above]


def prefix(level: str, key: Key) -> str:
    """What leads from the table of a query's level to the columns of a key.

    Each study keeps what its own objects say of the patient: people who were given the same number stay apart.
    """
    if key.level == "PATIENT" and level != "PATIENT" and key.tag not in _IDENTITY:
        return way(level, "STUDY") + "patient_"
    return way(level, key.level)


def condition(key: Key, criterion: matching.Criterion, level: str) -> Condition:
    """Translate a criterion that was parsed for a key, for a query at a level at or below the key's."""
    if key.keyword == "ModalitiesInStudy":
        return _in_study(criterion, lambda q: Series.objects.filter(_study_is(level, "study"), q), "modality")
    if key.keyword == "SOPClassesInStudy":
        return _in_study(
            criterion, lambda q: Instance.objects.filter(_study_is(level, "series__study"), q), "sop_class"
        )
    if key.vr == "SQ":
        return _in_sequence(key, criterion, level)
    column = COLUMNS.get(key.tag)
    if column is None:
        return UNSAID
    if key.vr == "PN":
        return _name(key, column, criterion, level)
    [field] = column.matched or (column.field,)
    said = _TRANSLATORS.get(key.vr, _text)(prefix(level, key) + field, criterion)
    if said is None:
        return UNSAID
    # A date that is none stands in the column as it came: only the matcher knows that it lies in no range.
    is_one_day = isinstance(criterion, Range) and criterion.low == criterion.high
    return Condition(said, exact=key.vr != "DA" or is_one_day)


def moments_condition(moments: matching.Moments, level: str) -> Q:
    """Translate a range over StudyDate and StudyTime together; the days are left to `days`."""
    study = way(level, "STUDY")
    date, time = f"{study}date", f"{study}time_key"
    after = Q(**{f"{date}__gt": moments.low[:8]}) | Q(**{f"{time}__gte": moments.low[8:]})
    before = Q(**{f"{date}__lt": moments.high[:8]}) | Q(**{f"{time}__lte": moments.high[8:]})
    return Q(**{time: ""}) | (after & before)


def days(bounds: Range, level: str) -> Q:
    """Studies of these days."""
    date = way(level, "STUDY") + "date"
    return Q(**{f"{date}__gte": bounds.low, f"{date}__lte": bounds.high})


_Translator: TypeAlias = Callable[[str, matching.Criterion], Q | None]


def _either(translate: _Translator, field: str, criteria: Iterable[matching.Criterion]) -> Q | None:
    said = [translate(field, one) for one in criteria]
    return None if None in said else reduce(or_, (q for q in said if q is not None))


def _text(field: str, criterion: matching.Criterion) -> Q | None:
    """A column of text; None where SQL does not say it."""
    match criterion:
        case matching.Single(value):
            return Q(**{field: value})
        case matching.List(values):
            return Q(**{f"{field}__among": values})
        case matching.Wildcard(pattern):
            return Q(**{f"{field}__wild": pattern})
        case matching.Nothing():
            return NOTHING
        case matching.Either(criteria):
            return _either(_text, field, criteria)
    return None


def _number(field: str, criterion: matching.Criterion) -> Q | None:
    """A column of whole numbers: text that is no number is equal to none of them."""
    match criterion:
        case matching.Number(value):
            whole = value.adjusted() < 20 and value == int(value) and -_LARGEST <= int(value) < _LARGEST
            return Q(**{field: int(value)}) if whole else NOTHING
        case matching.Single() | matching.List() | matching.Nothing():
            return NOTHING
        case matching.Either(criteria):
            return _either(_number, field, criteria)
    return None


def _range(field: str, criterion: matching.Criterion) -> Q | None:
    """A column of dates, or of keys of times. What is not known is empty and less than every key."""
    match criterion:
        case Range(low, high):
            return Q(**{field: low}) if low == high else Q(**{f"{field}__gte": low, f"{field}__lte": high})
        case matching.Nothing():
            return NOTHING
        case matching.Either(criteria):
            return _either(_range, field, criteria)
    return None


_TRANSLATORS: Final[dict[str, _Translator]] = {"DA": _range, "TM": _range, "IS": _number}


def _name(key: Key, column: Column, criterion: matching.Criterion, level: str) -> Condition:
    """Names: a column for each group, or one for all of them (in which a pattern may stretch over two groups)."""
    if isinstance(criterion, matching.Either):
        parts = [_name(key, column, one, level) for one in criterion.criteria]
        exact = all(part.exact for part in parts)
        said = reduce(or_, (part.query for part in parts))
        return Condition(said, exact) if all(part.query for part in parts) else UNSAID
    if isinstance(criterion, matching.Words):
        return _words(criterion, level) if key.level == "PATIENT" else UNSAID
    if not isinstance(criterion, matching.Name):
        return UNSAID
    if len(column.matched) == 1:
        field = f"{prefix(level, key)}{column.matched[0]}__wild"
        inside = [
            reduce(or_, (Q(**{field: f"*{_pattern(one)}*"}) for one in patterns))
            for patterns in criterion.groups
            if patterns
        ]
        return Condition(reduce(and_, inside), exact=False)
    if level == "PATIENT":
        return Condition(_groups(column.matched, criterion), exact=True)
    # The studies first: an alternative over joined tables, or in the order of something else, would use no index.
    said = _groups([f"patient_{field}" for field in column.matched], criterion)
    return Condition(Q(**{way(level, "STUDY") + "pk__in": Study.objects.filter(said).values("pk")}), exact=True)


def _groups(fields: Sequence[str], criterion: matching.Name) -> Q:
    if criterion.any_group:
        return reduce(or_, (_group(field, criterion.groups[0]) for field in fields))
    pairs = zip(fields, criterion.groups, strict=True)
    return reduce(and_, (_group(field, patterns) for field, patterns in pairs if patterns))


def _pattern(one: matching.Single | matching.Wildcard) -> str:
    return one.value if isinstance(one, matching.Single) else one.pattern


def _group(field: str, patterns: Iterable[matching.Single | matching.Wildcard]) -> Q:
    said = _either(_text, field, patterns)
    # Groups that are empty, as most are, lie in no index: saying so lets the indexes be used.
    return said & Q(**{f"{field}__gt": ""}) if said is not None else Q()


def _words(criterion: matching.Words, level: str) -> Condition:
    said = Q()
    field, owner = ("pk__in", "study__patient") if level == "PATIENT" else (way(level, "STUDY") + "pk__in", "study")
    for word, sound in criterion.words:
        begins = Q(word__wild=f"{word}*")
        meets = begins | Q(sound=sound) if sound else begins
        said &= Q(**{field: NameWord.objects.filter(meets).values(owner)})
    # The words of all studies of a patient are more than those of their own name.
    return Condition(said, exact=level != "PATIENT")


def _study_is(level: str, field: str) -> Q:
    return Q(**{field: OuterRef(way(level, "STUDY") + "pk")})


def _in_study(criterion: matching.Criterion, rows: Callable[[Q], Any], field: str) -> Condition:
    """Any series or object of the study meets the criterion (E41)."""
    said = _text(field, criterion)
    return UNSAID if said is None else Condition(Q(Exists(rows(said))), exact=True)


def _in_sequence(key: Key, criterion: matching.Criterion, level: str) -> Condition:
    """One item of the sequence meets all of it."""
    if isinstance(criterion, matching.Either):
        parts = [_in_sequence(key, one, level) for one in criterion.criteria]
        said = reduce(or_, (part.query for part in parts))
        return Condition(said, all(p.exact for p in parts)) if all(p.query for p in parts) else UNSAID
    if not isinstance(criterion, matching.Item) or key.level not in _SEQUENCE_OWNERS:
        return UNSAID
    owner = _SEQUENCE_OWNERS[key.level]
    conditions = [
        Q(sequence=key.name, element=element.name) & one
        for element, inner in criterion.elements
        if (one := _text("value", inner)) is not None
    ]
    if not conditions:
        return UNSAID
    rows = SequenceValue.objects.filter(conditions[0])
    for further in conditions[1:]:
        same_item = Q(**{owner: OuterRef(owner), "item": OuterRef("item")})
        rows = rows.filter(Exists(SequenceValue.objects.filter(same_item & further)))
    found = Q(**{f"{way(level, key.level)}pk__in": rows.values(owner)})
    return Condition(found, exact=len(conditions) == len(criterion.elements))
