"""Writes elements whose values come as in the DICOM JSON model (PS3.18 §F.2.2, §F.2.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from hozi.core.dicom import charset
from hozi.core.dicom.elements import ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, Encoding, header
from hozi.core.errors import Refused

_NUMBERS: Final = {
    "FD": "d",
    "FL": "f",
    "SL": "i",
    "SS": "h",
    "SV": "q",
    "UL": "I",
    "US": "H",
    "UV": "Q",
}
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_SINGLE_VALUED: Final = frozenset({"ST", "LT", "UT", "UR"})
_SPECIFIC_CHARACTER_SET: Final = 0x00080005
#: Padded with NUL to an even length, all others with a space (PS3.5 §6.2).
_NUL_PADDED: Final = _BINARY | {"UI"}


def vr_for(tag: int, values: Sequence[Any]) -> str:
    """The VR with which to write these values of a standard element.

    Raises `Refused` when the data dictionary does not know the element, unless there is nothing to write.
    """
    if not dictionary_has_tag(tag):
        if values:
            raise Refused(
                f"({tag >> 16:04X},{tag & 0xFFFF:04X}) cannot be changed: its value representation is not known."
            )
        return "UN"
    vr = dictionary_VR(tag)
    if vr == "US or SS":
        return "SS" if any(int(value or 0) < 0 for value in values) else "US"
    return vr[:2]


def texts(vr: str, values: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """The texts in ``values``, with their VR, that the character set has to hold; those of nested items too."""
    if vr == "SQ":
        for item in values:
            for content in (item or {}).values():
                yield from texts(str(content["vr"]), content.get("Value") or ())
    elif vr in charset.TEXT_VRS:
        yield _text(vr, values), vr


def element(tag: int, vr: str, values: Sequence[Any], encoding: Encoding, character_set: str) -> bytes:
    """A whole element, ready to be sent. Raises `Refused` when a value cannot be written in this VR."""
    where = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    try:
        if vr == "SQ":
            items = b"".join(_item(item or {}, encoding, character_set) for item in values)
            end = header(SEQUENCE_END, "", 0, encoding)
            return header(tag, vr, UNDEFINED, encoding) + items + end
        value = _value(vr, values, encoding, character_set)
    except (ValueError, TypeError, KeyError, AttributeError, struct.error):
        raise Refused(f"{where} cannot hold what it is to be changed to.") from None
    return header(tag, vr, len(value), encoding) + value


def padded(value: bytes, vr: str) -> bytes:
    """``value`` with an even length (PS3.5 §6.2)."""
    return value + (b"\0" if vr in _NUL_PADDED else b" ") if len(value) % 2 else value


def _item(item: Mapping[str, Any], encoding: Encoding, character_set: str) -> bytes:
    """An item. Its own Specific Character Set is left out: the dataset's counts for it (PS3.3 §C.12.1.1.2)."""
    elements = [
        element(int(tag, 16), str(content["vr"]), _values(content), encoding, character_set)
        for tag, content in sorted(item.items(), key=lambda entry: int(entry[0], 16))
        if int(tag, 16) != _SPECIFIC_CHARACTER_SET
    ]
    start, end = header(ITEM, "", UNDEFINED, encoding), header(ITEM_END, "", 0, encoding)
    return b"".join((start, *elements, end))


def _values(content: Mapping[str, Any]) -> Sequence[Any]:
    if content.keys() & {"InlineBinary", "BulkDataURI"}:
        raise ValueError
    values: Sequence[Any] = content.get("Value") or ()
    return values


def _value(vr: str, values: Sequence[Any], encoding: Encoding, character_set: str) -> bytes:
    if not values:
        return b""
    if vr in _BINARY:
        raise ValueError
    if vr in _NUMBERS:
        number = float if vr in ("FD", "FL") else int
        return struct.pack(f"{encoding.order}{len(values)}{_NUMBERS[vr]}", *(number(value) for value in values))
    if vr == "AT":
        tags = [int(value, 16) for value in values]
        return b"".join(struct.pack(f"{encoding.order}HH", tag >> 16, tag & 0xFFFF) for tag in tags)
    encoded = charset.encode(_text(vr, values), vr, character_set)
    if encoded is None:
        raise ValueError
    return padded(encoded, vr)


def _text(vr: str, values: Sequence[Any]) -> str:
    """All values in one text. Raises ValueError for a backslash in one of them, where it would make two."""
    written = [_name(value) if vr == "PN" else _plain(value) for value in values]
    if (len(written) > 1) if vr in _SINGLE_VALUED else any("\\" in value for value in written):
        raise ValueError
    return "\\".join(written)


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def _name(value: Any) -> str:
    """A person's name: its component groups with ``=`` between them (PS3.18 §F.2.2)."""
    if not isinstance(value, Mapping):
        return _plain(value)
    return "=".join(_plain(value.get(group)) for group in _NAME_GROUPS).rstrip("=")
