"""Whether values may be written into an element: its value representation and multiplicity (PS3.5 §6.2, §6.4).

For values that people bring in. What devices send is taken as it comes and never judged by this.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from pydicom import config
from pydicom.datadict import dictionary_VM
from pydicom.valuerep import validate_value

from hozi.core.dicom import values
from hozi.core.errors import Refused

_BINARY_NUMBERS: Final = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_PARAGRAPHS: Final = frozenset({"ST", "LT", "UT"})
_LAYOUT: Final = "\t\n\f\r"
#: VRs in which a backslash is a character like any other; elsewhere it stands between values.
_SINGLE_VALUED: Final = _PARAGRAPHS | {"UR"}
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_LONGEST_NAME: Final = 5  # components of a group

_TIME: Final = r"([01]\d|2[0-3])([0-5]\d((60|[0-5]\d)(\.\d{1,6})?)?)?"
# pydicom lets ranges pass in these, which are for queries.
_PATTERNS: Final = {
    "DA": re.compile(r"\d{8}", re.ASCII),
    "TM": re.compile(_TIME, re.ASCII),
    "DT": re.compile(rf"\d{{4}}((0[1-9]|1[0-2])((0[1-9]|[12]\d|3[01])({_TIME})?)?)?([+-][01]\d[0-5]\d)?", re.ASCII),
    "AT": re.compile(r"[0-9A-Fa-f]{8}"),
}
_MULTIPLICITY: Final = re.compile(r"(\d+)(?:-(\d*)(n?))?")


def check(tag: int, new: Sequence[Any]) -> None:
    """Raises `Refused` when ``new``, as in the DICOM JSON model (PS3.18 §F.2), cannot be the values of this element.

    The element must be in the data dictionary. No values at all are always fine. The text names the element, never
    the value.
    """
    where = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    if not isinstance(new, list | tuple):
        raise Refused(f"{where} needs a list of values.")
    try:
        vr = values.vr_for(tag, new)
    except (ValueError, TypeError):
        raise Refused(f"{where} cannot hold that: it is a number.") from None
    if vr == "SQ":
        for item in new:
            _check_item(where, item)
        return
    if new and not _fits(len(new), dictionary_VM(tag)):
        raise Refused(f"{where} cannot have {len(new)} value(s): its multiplicity is {dictionary_VM(tag)}.")
    if not all(value is None or _is_valid(vr, value) for value in new):
        raise Refused(f"{where} cannot hold that: it is no value of VR {vr}.")


def _check_item(where: str, item: Any) -> None:
    if not isinstance(item, Mapping):
        raise Refused(f"{where} is a sequence: its values are items.")
    for name, content in item.items():
        if not isinstance(name, str) or not _PATTERNS["AT"].fullmatch(name) or not isinstance(content, Mapping):
            raise Refused(f"An item of {where} is not as in the DICOM JSON model.")
        inner, inside = int(name, 16), content.get("Value") or ()
        check(inner, inside)
        if content.get("vr") != values.vr_for(inner, inside):
            raise Refused(f"An item of {where} names another VR than the data dictionary.")


def _fits(count: int, multiplicity: str) -> bool:
    """Whether so many values are what the data dictionary says: ``1``, ``1-3``, ``1-n``, ``2-2n`` ..."""
    matched = _MULTIPLICITY.fullmatch(multiplicity)
    if matched is None:
        return True
    least, most, open_ended = int(matched[1]), matched[2], matched[3]
    if open_ended:
        return count >= least and count % int(most or 1) == 0
    return least <= count <= int(most or least)


def _is_valid(vr: str, value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if vr in _BINARY_NUMBERS:
        return _pydicom_takes(vr, value)
    text = _text_of(vr, value)
    if text is None or (vr == "PN" and not _is_name(text)):
        return False
    allowed = _LAYOUT if vr in _PARAGRAPHS else ""
    if any(unicodedata.category(character) in ("Cc", "Cs") and character not in allowed for character in text):
        return False
    if "\\" in text and vr not in _SINGLE_VALUED:
        return False
    pattern = _PATTERNS.get(vr)
    if text and pattern is not None and not pattern.fullmatch(text):
        return False
    return _is_day(text[:8]) if vr == "DA" and text else _pydicom_takes(vr, text)


def _text_of(vr: str, value: Any) -> str | None:
    """The value as text; None where it is none."""
    if vr == "PN" and isinstance(value, Mapping):
        groups = [value.get(group) or "" for group in _NAME_GROUPS]
        if set(value) - set(_NAME_GROUPS) or not all(isinstance(one, str) and "=" not in one for one in groups):
            return None
        return "=".join(groups).rstrip("=")
    if vr in ("IS", "DS") and isinstance(value, int | float):
        return str(value)
    return value if isinstance(value, str) else None


def _is_name(text: str) -> bool:
    return all(group.count("^") < _LONGEST_NAME for group in text.split("="))


def _is_day(text: str) -> bool:
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


def _pydicom_takes(vr: str, value: Any) -> bool:
    if vr in ("OB", "OD", "OF", "OL", "OV", "OW", "UN"):
        return False
    try:
        validate_value(vr, value, config.RAISE)
    except ValueError:  # its text quotes the value
        return False
    return True
