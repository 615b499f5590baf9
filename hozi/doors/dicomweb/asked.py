"""What a query's parameters ask (PS3.18 §8.3.4): keys to match, attributes to give, how many and from where on.

A parameter that is no attribute and none of the protocol's own is refused, not passed over: a filter with a slip in its
name must not read as none. Attributes that there are, but that the archive does not match, are passed over with a
warning, as C-FIND does (FF01).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

from hozi.archive.find import Value
from hozi.core.dicom.keys import BY_TAG, LEVELS, Key, at_level, tag_of
from hozi.doors.dicomweb.exchange import Malformed

OWN: Final = frozenset({"accept", "charset", "fuzzymatching", "includefield", "limit", "offset"})
"""Parameters that are no attributes."""

MOST_KEYS: Final = 64
FURTHEST: Final = 10_000_000

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_COUNT: Final = re.compile(r"[0-9]{1,9}")
#: What separates the values of these may be a comma: they have none in them.
_LISTED: Final = frozenset({"UI", "CS"})

Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """``keys`` as `archive.find.Query` has them, ``fields`` to be given beside those that are always; ``ignored``: how
    the attributes that the archive does not know were called. ``limit`` None: none was told.
    """

    keys: dict[int, Value]
    fields: tuple[int, ...]
    limit: int | None
    offset: int
    fuzzy: bool
    ignored: tuple[str, ...]


def understand(query: Iterable[tuple[str, str]], names: dict[int, str], level: str) -> Asked:
    """Understands the parameters of a query at that level; ``names``: UIDs that the address has. Raises Malformed."""
    keys: dict[int, Value] = dict(names)
    own: dict[str, str] = {}
    fields: dict[int, None] = {}
    ignored: list[str] = []
    for name, value in query:
        if name == "includefield":
            _include(value, level, fields)
        elif name in OWN:
            if name in own and own[name] != value:
                raise Malformed(f"{name} stands there twice", field=name)
            own[name] = value
        else:
            _match(name, value, level, keys, names, ignored)
    if len(keys) > MOST_KEYS:
        raise Malformed(f"At most {MOST_KEYS} attributes can be matched at once")
    offset = _count("offset", own)
    if offset is not None and offset > FURTHEST:
        raise Malformed("offset is too large: ask for less with a key", field="offset")
    return Asked(keys, tuple(fields), _count("limit", own), offset or 0, _fuzzy(own), tuple(ignored))


def _match(
    name: str, value: str, level: str, keys: dict[int, Value], names: dict[int, str], ignored: list[str]
) -> None:
    path = attribute(name)
    if path is None:
        raise Malformed(
            f"{shown(name)} is no attribute (a keyword, a tag of 8 digits, a sequence and one of its attributes)"
            f" and none of {', '.join(sorted(OWN))}",
            field=shown(name),
        )
    tag, inner = path[0], path[1:]
    key = BY_TAG.get(tag)
    if not _is_known(key, level) or len(inner) > 1 or (inner and not (key and inner[0] in key.sequence_elements)):
        ignored.append(shown(name))
        return
    # NUL pads, and PostgreSQL has no such character.
    text = value.replace("\0", "").strip(" ")
    if (BY_TAG[tag].vr if not inner else dictionary_VR(inner[0])) in _LISTED:
        text = "\\".join(part.strip(" ") for part in text.split(",")) if "," in text else text
    if inner:
        items = keys.setdefault(tag, [{}])
        if isinstance(items, str):
            items = keys[tag] = [{}]
        if inner[0] in items[0]:
            raise Malformed(f"{shown(name)} stands there twice", field=shown(name))
        items[0][inner[0]] = text
        return
    if tag in names:
        if text and text != names[tag]:
            raise Malformed(f"{shown(name)} stands in the address already, as another one", field=shown(name))
        return
    if tag in keys:
        raise Malformed(f"{shown(name)} stands there twice", field=shown(name))
    if BY_TAG[tag].vr == "SQ":
        if text:
            raise Malformed(f"{shown(name)} is a sequence: name one of its attributes behind a dot", field=shown(name))
        keys[tag] = [{}]
        return
    keys[tag] = text


def _include(value: str, level: str, fields: dict[int, None]) -> None:
    for name in value.split(","):
        name = name.strip(" ")
        if not name:
            continue
        if name.lower() == "all":
            fields.update(dict.fromkeys(everything(level)))
            continue
        path = attribute(name)
        if path is None:
            raise Malformed(f"{shown(name)} is no attribute that could be included", field="includefield")
        if _is_known(BY_TAG.get(path[0]), level):
            fields[path[0]] = None


@lru_cache(maxsize=1024)
def attribute(name: str) -> Path | None:
    """The tags of ``00100010``, ``PatientName`` or ``RequestAttributesSequence.RequestedProcedureID``; None: none."""
    if len(name) > 256:
        return None
    tags: list[int] = []
    for part in name.split("."):
        if _TAG.fullmatch(part):
            tags.append(int(part, 16))
            continue
        tag = tag_for_keyword(part)
        if tag is None or not part:
            return None
        tags.append(int(tag))
    return tuple(tags)


@lru_cache(maxsize=8)
def everything(level: str) -> tuple[int, ...]:
    """All attributes that the archive knows at that level and above."""
    above = LEVELS[: LEVELS.index(level) + 1]
    return tuple(key.tag for one in above for key in at_level(one) if one != "PATIENT" or key.source == "dataset")


def shown(name: str) -> str:
    """A parameter's name as it may be told: short, and nothing but letters, digits and dots."""
    return re.sub(r"[^0-9A-Za-z._-]", "?", name[:64])


def _is_known(key: Key | None, level: str) -> bool:
    if key is None or key.usage == "-":
        return False
    return key.level == "ANY" or LEVELS.index(key.level) <= LEVELS.index(level)


def _count(name: str, own: dict[str, str]) -> int | None:
    text = own.get(name)
    if text is None:
        return None
    if not _COUNT.fullmatch(text):
        raise Malformed(f"{name} is a whole number, 0 or more", field=name)
    return int(text)


def _fuzzy(own: dict[str, str]) -> bool:
    text = own.get("fuzzymatching", "false").lower()
    if text not in ("true", "false"):
        raise Malformed("fuzzymatching is true or false", field="fuzzymatching")
    return text == "true"


STUDY_UID: Final = tag_of("StudyInstanceUID")
SERIES_UID: Final = tag_of("SeriesInstanceUID")
INSTANCE_UID: Final = tag_of("SOPInstanceUID")
