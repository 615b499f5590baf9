"""Matches of a query in the DICOM JSON model (PS3.18 Annex F) or in XML.

What `core.dicom.json_model` says, put together from pieces that are the same in every match.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from typing import Any, Final

from hozi.archive.find import Match, Value
from hozi.core.dicom import json_model, xml_model
from hozi.core.dicom.keys import BY_TAG, LEVELS
from hozi.doors.dicomweb.asked import INSTANCE_UID, SERIES_UID, STUDY_UID
from hozi.doors.dicomweb.multipart import Parts

RETRIEVE_URL: Final = 0x00081190

#: Texts of these stand in JSON as they are, each value for itself.
_PLAIN: Final = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"})
_CHARACTERS: Final = '"00080005":{"vr":"CS","Value":["ISO_IR 192"]}'

_Writer = Callable[[Value], str]


def as_json(found: Iterable[Match], level: str, base: str) -> bytes:
    """All matches as one array, their elements in the order of the tags, each with the address of what it names."""
    told = []
    for match in found:
        values = match.values
        url = quoted(_url(values, level, base))
        pieces = [
            write(values[tag]) if write is not None else f'"00081190":{{"vr":"UR","Value":[{url}]}}'
            for tag, write in _writers(tuple(values))
        ]
        told.append(f"{{{','.join(pieces)}}}")
    return f"[{','.join(told)}]".encode("utf-8", "replace")


def as_xml(told: bytes) -> tuple[str, bytes]:
    """What `as_json` said in the Native DICOM Model, one part for each match (PS3.18 §8.7.3): its type, and itself."""
    parts = Parts("application/dicom+xml")
    pieces: list[bytes] = []
    for one in json.loads(told):
        pieces += [parts.head("application/dicom+xml"), *xml_model.document(one)]
    return parts.content_type, b"".join([*pieces, parts.end()])


def _url(values: Mapping[int, Value], level: str, base: str) -> str:
    depth = LEVELS.index(level)
    named = (("studies", STUDY_UID), ("series", SERIES_UID), ("instances", INSTANCE_UID))[:depth]
    return base + "".join(f"/{name}/{values[tag]}" for name, tag in named)


@lru_cache(maxsize=256)
def _writers(tags: tuple[int, ...]) -> tuple[tuple[int, _Writer | None], ...]:
    """How each element of such a match is written, in the order of the tags; the address is for the caller."""
    # The character set is the same always: it goes with what comes first.
    first, *others = sorted(tags)
    write_first = _writer(first)
    writers: dict[int, _Writer | None] = {first: lambda value: f"{_CHARACTERS},{write_first(value)}"}
    for tag in others:
        writers[tag] = _writer(tag)
    writers[RETRIEVE_URL] = None
    return tuple(sorted(writers.items()))


def _writer(tag: int) -> _Writer:
    vr, name = BY_TAG[tag].vr, f"{tag:08X}"
    empty = f'"{name}":{{"vr":"{vr}"}}'
    before = f'"{name}":{{"vr":"{vr}","Value":['

    def plain(value: Value) -> str:
        if not value:
            return empty
        if not isinstance(value, str) or "\\" in value:
            return anything(value)
        return f"{before}{quoted(value)}]}}"

    def person(value: Value) -> str:
        if not value:
            return empty
        if not isinstance(value, str) or "\\" in value or "=" in value:
            return anything(value)
        return f'{before}{{"Alphabetic":{quoted(value)}}}]}}'

    def anything(value: Value) -> str:
        element: dict[str, Any] = json_model.element(vr, value)
        return f'"{name}":{json.dumps(element, ensure_ascii=False, separators=(",", ":"))}'

    def count(value: Value) -> str:
        if isinstance(value, str) and len(value) < 10 and value.isascii() and value.isdecimal():
            return f"{before}{int(value)}]}}"
        return anything(value)

    if vr in _PLAIN:
        return plain
    return {"PN": person, "IS": count}.get(vr, anything)
