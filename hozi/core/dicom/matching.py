"""What a query key matches: the rules of C-FIND in plain Python (PS3.4 §C.2.2.2).

A key's text is parsed into a criterion once. `holds` decides by it here; `archive/criteria.py` says the same in SQL.

Where the standard leaves room: names match without case and accents; several values of a key that is no UID mean
"one of them"; `*` alone matches unknown values too, like an empty key; numbers match by value; a time that leaves out
seconds means the whole minute; `DOE^*` finds `DOE`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final, TypeAlias

from hozi.core.dicom import names, times
from hozi.core.dicom.keys import Key, element
from hozi.core.errors import Refused, Unreadable

LONGEST_PATTERN: Final = 1024
MOST_ALTERNATIVES: Final = 64

# Value representations in which `*` and `?` are wildcards (PS3.4 §C.2.2.2.4), and those that are numbers.
WILDCARD_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
NUMBER_VRS: Final = frozenset({"IS", "DS", "US", "UL", "SS", "SL", "UV", "SV"})
_SINGLE_VALUED_VRS: Final = frozenset({"ST", "LT", "UT", "UR"})
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_STARS: Final = re.compile(r"\*{2,}")
# A wildcard that a fuzzy match cannot express: anything but a star at the end of a word.
_INNER_WILDCARD: Final = re.compile(r"\?|\*(?=[^\s^=])")

Value: TypeAlias = str | Sequence[Mapping[int, str]]


class TooMuch(Refused):
    """A query key is too long or has too many alternatives to be matched in fair time."""


@dataclass(frozen=True)
class Universal:
    """Everything matches, unknown values too."""


@dataclass(frozen=True)
class Nothing:
    """Nothing can match: the text is not of the kind that the element holds."""


@dataclass(frozen=True)
class Single:
    """Exactly this text (folded, when the key is a name)."""

    value: str


@dataclass(frozen=True)
class Number:
    """A number with this value, however it is written."""

    value: Decimal


@dataclass(frozen=True)
class List:
    """One of these texts."""

    values: frozenset[str]


@dataclass(frozen=True)
class Wildcard:
    """`*` any characters, `?` one character, everything else itself."""

    pattern: str


@dataclass(frozen=True)
class Name:
    """Patterns for the three groups of a name; each group that has patterns must match one of its own.

    With ``any_group``, the first group's patterns may match in any group.
    """

    groups: tuple[tuple[Single | Wildcard, ...], ...]
    any_group: bool


@dataclass(frozen=True)
class Words:
    """Fuzzy: every word (with its sound) begins some word of the name, or sounds like it."""

    words: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Item:
    """One item of a sequence meets all of these."""

    elements: tuple[tuple[Key, Criterion], ...]


@dataclass(frozen=True)
class Either:
    """One of these criteria."""

    criteria: tuple[Criterion, ...]


Criterion: TypeAlias = (
    Universal | Nothing | Single | Number | List | Wildcard | times.Range | Name | Words | Item | Either
)


@dataclass(frozen=True)
class Moments:
    """A range over a date and its time together: keys of both, one behind the other, both ends included."""

    low: str
    high: str

    def holds(self, date: str, time: str) -> bool:
        """Decide for raw values. A day whose time is not known lies inside when the day does."""
        day, hour = times.date_key(date), times.time_key(time)
        if not hour:
            return bool(day) and self.low[:8] <= day <= self.high[:8]
        return bool(day) and self.low <= day + hour <= self.high


def parse(key: Key, query: Value, *, fuzzy: bool = False) -> Criterion:
    """Understand what a query asks of a key.

    ``query`` is a text (several values with backslashes between them) or the items of a sequence, as texts by tag.
    Raises TooMuch when a pattern is longer than `LONGEST_PATTERN` or there are too many of them.
    """
    if key.vr == "SQ":
        return _parse_items(key, () if isinstance(query, str) else query)
    if not isinstance(query, str):
        return Universal() if not query else Nothing()
    texts = [query] if key.vr in _SINGLE_VALUED_VRS else query.split("\\")
    texts = [stripped for text in texts if (stripped := text.strip(" "))]
    if not texts or any(not text.strip("*") for text in texts):
        return Universal()
    if key.vr == "UI":
        return _list(dict.fromkeys(texts))
    if any(len(text) > LONGEST_PATTERN for text in texts):
        raise TooMuch(f"a query key is longer than {LONGEST_PATTERN} characters")
    return _either([_parse_text(key, text, fuzzy) for text in dict.fromkeys(texts)])


def parse_moments(date: str, time: str) -> Moments | None:
    """Understand two ranges, of a date and of its time, as one (PS3.4 §C.2.2.2.5, combined date-time matching).

    None when they are not both ranges; then each is matched for itself.
    """
    if "-" not in date or "-" not in time:
        return None
    try:
        days, hours = times.date_range(date), times.time_range(time)
    except Unreadable:
        return None
    if days.low == days.high:
        return None
    return Moments(days.low + hours.low, days.high + hours.high)


def holds(criterion: Criterion, key: Key, value: Value) -> bool:
    """Decide whether an element's value meets a criterion that was parsed for its key.

    A text may hold several values with backslashes between them: then one of them must meet it.
    """
    if isinstance(criterion, Universal):
        return True
    if isinstance(criterion, Nothing):
        return False
    if isinstance(criterion, Either):
        return any(holds(one, key, value) for one in criterion.criteria)
    if isinstance(criterion, Item):
        return not isinstance(value, str) and any(_item_holds(criterion, item) for item in value)
    if not isinstance(value, str):
        return False
    values = value.split("\\") if key.multiple else [value]
    return any(_value_holds(criterion, key, one.strip(" ")) for one in values)


def matches(key: Key, query: Value, value: Value, *, fuzzy: bool = False) -> bool:
    """Decide whether a value matches a query key: the reference for every other implementation.

    Raises TooMuch as `parse` does.
    """
    return holds(parse(key, query, fuzzy=fuzzy), key, value)


def wildcard_matches(pattern: str, text: str) -> bool:
    """Match a text against `*` and `?`. Takes at most length times length steps, whatever the pattern."""
    at = star = mark = 0
    position = 0
    have_star = False
    while position < len(text):
        if at < len(pattern) and pattern[at] == "*":
            have_star, star, mark = True, at, position
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[position]):
            at += 1
            position += 1
        elif have_star:
            mark += 1
            at, position = star + 1, mark
        else:
            return False
    return pattern[at:].strip("*") == ""


def _parse_items(key: Key, items: Sequence[Mapping[int, str]]) -> Criterion:
    if len(items) > MOST_ALTERNATIVES:
        raise TooMuch(f"a query key has more than {MOST_ALTERNATIVES} items")
    criteria: list[Criterion] = []
    for item in items:
        elements = tuple(
            (inner, criterion)
            for inner in item_keys(key)
            if inner.tag in item
            for criterion in [parse(inner, item[inner.tag])]
            if not isinstance(criterion, Universal)
        )
        if not elements:
            return Universal()
        criteria.append(Item(elements))
    return _either(criteria) if criteria else Universal()


@lru_cache(maxsize=64)
def item_keys(key: Key) -> tuple[Key, ...]:
    """The elements of a sequence's items that can be matched and returned."""
    return tuple(element(tag) for tag in key.sequence_elements)


def _parse_text(key: Key, text: str, fuzzy: bool) -> Criterion:
    if key.vr == "PN":
        return _parse_name(text, fuzzy)
    if key.vr in ("DA", "TM"):
        try:
            return times.date_range(text) if key.vr == "DA" else times.time_range(text)
        except Unreadable:
            return Nothing()
    if key.vr in NUMBER_VRS:
        number = _number(text)
        return Single(text) if number is None else Number(number)
    return _pattern(text) if key.vr in WILDCARD_VRS else Single(text)


def _parse_name(text: str, fuzzy: bool) -> Criterion:
    if fuzzy and not _INNER_WILDCARD.search(text):
        words = tuple((word, names.sound(word)) for word in names.words(text))
        if len(words) > MOST_ALTERNATIVES:
            raise TooMuch(f"a name has more than {MOST_ALTERNATIVES} words")
        return Words(words) if words else Universal()
    groups = tuple(_name_patterns(group) for group in names.keys(text))
    return Name(groups, any_group="=" not in text) if any(groups) else Universal()


def _name_patterns(group: str) -> tuple[Single | Wildcard, ...]:
    """Patterns for one group: trailing `^` says nothing, so `X^*` is also met by `X`. None: anything will do."""
    shorter = group
    while shorter.endswith("^*"):
        shorter = shorter.removesuffix("^*").rstrip("^ ")
    if not group or (shorter and not shorter.strip("*")):
        return ()
    return (_pattern(group),) if shorter in ("", group) else (_pattern(group), _pattern(shorter))


def _pattern(text: str) -> Single | Wildcard:
    return Wildcard(_STARS.sub("*", text)) if "*" in text or "?" in text else Single(text)


def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _either(criteria: Sequence[Criterion]) -> Criterion:
    """Join alternatives; plain texts become one list."""
    if len(criteria) == 1:
        return criteria[0]
    if any(isinstance(criterion, Universal) for criterion in criteria):
        return Universal()
    singles = [criterion.value for criterion in criteria if isinstance(criterion, Single)]
    others = [criterion for criterion in criteria if not isinstance(criterion, Single | Nothing)]
    if len(others) > MOST_ALTERNATIVES:
        raise TooMuch(f"a query key has more than {MOST_ALTERNATIVES} alternatives")
    joined = ([_list(singles)] if singles else []) + others
    return joined[0] if len(joined) == 1 else Either(tuple(joined)) if joined else Nothing()


def _list(values: Collection[str]) -> Criterion:
    return List(frozenset(values)) if len(values) > 1 else Single(next(iter(values)))


def _item_holds(criterion: Item, item: Mapping[int, str]) -> bool:
    return all(holds(inner, key, item.get(key.tag, "")) for key, inner in criterion.elements)


def _value_holds(criterion: Criterion, key: Key, value: str) -> bool:
    """Decide for one value that is text."""
    if isinstance(criterion, times.Range):
        return (times.date_key(value) if key.vr == "DA" else times.time_key(value)) in criterion
    if isinstance(criterion, Name):
        return _name_holds(criterion, value)
    if isinstance(criterion, Words):
        return _words_hold(criterion, value)
    if isinstance(criterion, Number):
        return _number(value) == criterion.value
    if isinstance(criterion, List):
        return value in criterion.values
    return isinstance(criterion, Single | Wildcard) and _pattern_holds(criterion, value)


def _pattern_holds(pattern: Single | Wildcard, text: str) -> bool:
    if isinstance(pattern, Single):
        return text == pattern.value
    return wildcard_matches(pattern.pattern, text)


def _name_holds(criterion: Name, value: str) -> bool:
    groups = names.keys(value)
    if criterion.any_group:
        return any(_group_holds(criterion.groups[0], group) for group in groups)
    asked = [pair for pair in zip(criterion.groups, groups, strict=True) if pair[0]]
    return all(_group_holds(patterns, group) for patterns, group in asked)


def _group_holds(patterns: tuple[Single | Wildcard, ...], group: str) -> bool:
    return any(_pattern_holds(pattern, group) for pattern in patterns)


def _words_hold(criterion: Words, value: str) -> bool:
    found = [(word, names.sound(word)) for word in names.words(value)]
    return all(
        any(other.startswith(word) or (sound and sound == other_sound) for other, other_sound in found)
        for word, sound in criterion.words
    )
