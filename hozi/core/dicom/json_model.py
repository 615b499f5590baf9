"""Elements in the DICOM JSON model (PS3.18 Annex F): values as texts come in, what JSON says of them goes out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from hozi.core.dicom import recode

#: What stands in a text between the values of these is part of the one value that they have (PS3.5 §6.2).
SINGLE_VALUED: Final = frozenset({"ST", "LT", "UT", "UR"})
_WHOLE: Final = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_DECIMAL: Final = frozenset({"DS", "FD", "FL"})
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
#: Longer ones were not written as numbers of these VRs can be (PS3.5 §6.2).
_LONGEST_NUMBER: Final = 20
_WHOLE_NUMBER: Final = re.compile(r"[+-]?\d+", re.ASCII)
_DECIMAL_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_EXACT: Final = 1 << 53


def element(vr: str, value: str | Sequence[Mapping[int, str]]) -> dict[str, Any]:
    """One element: ``{"vr": ..., "Value": [...]}``, without values when there are none.

    ``value``: a text, several values with backslashes between them; of a sequence, its items, each with the texts of
    its elements by tag. What is not the number that its VR wants stays a text, as PS3.18 §F.2.2 allows.
    """
    if not isinstance(value, str):
        items = [
            {f"{tag:08X}": element(_vr_in_item(tag), text) for tag, text in sorted(item.items())} for item in value
        ]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    if not value:
        return {"vr": vr}
    texts = [value] if vr in SINGLE_VALUED or "\\" not in value else value.split("\\")
    return {"vr": vr, "Value": [_value(vr, text) for text in texts]}


def name(text: str) -> dict[str, str] | None:
    """A person's name by its groups (PS3.18 §F.2.2); None of an empty one."""
    groups = text.split("=", 2)
    return {key: group for key, group in zip(_NAME_GROUPS, groups, strict=False) if group} or None


def number(vr: str, text: str) -> int | float | str:
    """The number that a text of a numeric VR says; the text itself when JSON has no such number."""
    text = text.strip(" ")
    if len(text) <= _LONGEST_NUMBER:
        if _WHOLE_NUMBER.fullmatch(text):
            whole = int(text)
            if -_EXACT <= whole <= _EXACT:
                return whole
        elif vr in _DECIMAL and _DECIMAL_NUMBER.fullmatch(text):
            decimal = float(text)
            if math.isfinite(decimal):
                return decimal
    return text


def _value(vr: str, text: str) -> Any:
    """One value; null where there is none between two backslashes."""
    if vr == "PN":
        return name(text)
    if not text:
        return None
    return number(vr, text) if vr in _WHOLE or vr in _DECIMAL else text


@cache
def _vr_in_item(tag: int) -> str:
    return recode.vr_of(tag, False, {})
