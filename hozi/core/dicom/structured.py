"""Structured reports as people read them: headings, statements, numbers with units, and what they point to.

Whatever template a report follows (PS3.3 §A.35, §C.17.3), it is a tree of content items, each with a name and a value.
Here they come one after the other, with how deep each stands. Who made the report is not trusted: how deep and how
long it may be is bounded, and all texts are plain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from pydicom.dataset import Dataset

from hozi.core.dicom import plain

MOST_ITEMS: Final = 5000
DEEPEST: Final = 24
_MOST_TEXT: Final = 20_000
_MOST_POINTS: Final = 6
_MOST_FRAMES: Final = 40

Kind = Literal["heading", "text", "code", "number", "date", "time", "moment", "person", "uid", "reference", "other"]

_KINDS: Final[dict[str, Kind]] = {
    "CONTAINER": "heading",
    "TEXT": "text",
    "CODE": "code",
    "NUM": "number",
    "DATE": "date",
    "TIME": "time",
    "DATETIME": "moment",
    "PNAME": "person",
    "UIDREF": "uid",
    "COMPOSITE": "reference",
    "IMAGE": "reference",
    "WAVEFORM": "reference",
}
_CONTEXT: Final = ("HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS CONCEPT MOD")
"""Relationships of items that say under which circumstances something was seen, or what its name means more exactly."""
_LANGUAGE: Final = ("DCM", "121049")
"""Language of Content Item and Descendants (PS3.16 TID 1204)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Another object that the report points to; ``frames`` (or channels of a waveform): which, all when empty."""

    sop_class: str
    sop_instance: str
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A content item. ``value`` as DICOM writes it (dates, persons), numbers with their unit; ``code``: how the value
    is coded. ``context``: it only says under which circumstances. ``number``: where it stands ("1.2.3"), as others
    point to it.
    """

    depth: int
    number: str
    kind: Kind
    name: str
    value: str = ""
    code: str = ""
    context: bool = False
    inferred: bool = False
    at: str = ""
    reference: Reference | None = None


@dataclass
class Report:
    """A report. ``language``: RFC 5646, when it says so. ``cut``: there is more of it than is told here.

    ``completion``, ``verification`` and ``preliminary`` are the flags of PS3.3 §C.17.2; ``verifiers``: who,
    when, where.
    """

    title: str
    completion: str = ""
    completion_text: str = ""
    verification: str = ""
    preliminary: str = ""
    date: str = ""
    time: str = ""
    verifiers: list[tuple[str, str, str]] = field(default_factory=list)
    predecessors: list[Reference] = field(default_factory=list)
    language: str = ""
    items: list[Item] = field(default_factory=list)
    cut: bool = False


def report(dataset: Dataset) -> Report:
    """The report in a dataset of plain values (`identifier.read`)."""
    told = Report(
        title=plain.meaning(dataset, "ConceptNameCodeSequence"),
        completion=plain.text(dataset, "CompletionFlag"),
        completion_text=plain.text(dataset, "CompletionFlagDescription"),
        verification=plain.text(dataset, "VerificationFlag"),
        preliminary=plain.text(dataset, "PreliminaryFlag"),
        date=plain.text(dataset, "ContentDate"),
        time=plain.text(dataset, "ContentTime"),
        verifiers=[
            (
                plain.text(one, "VerifyingObserverName"),
                plain.text(one, "VerificationDateTime"),
                plain.text(one, "VerifyingOrganization"),
            )
            for one in plain.items(dataset, "VerifyingObserverSequence")[:20]
        ],
    )
    for study in plain.items(dataset, "PredecessorDocumentsSequence")[:20]:
        for series in plain.items(study, "ReferencedSeriesSequence")[:20]:
            told.predecessors += [_reference(one) for one in plain.items(series, "ReferencedSOPSequence")[:20]]
    walk = _walk(dataset, 0, "1", told)
    for item in walk:
        if len(told.items) >= MOST_ITEMS:
            told.cut = True
            break
        told.items.append(item)
    return told


def _walk(dataset: Dataset, depth: int, number: str, told: Report) -> Iterator[Item]:
    for place, one in enumerate(plain.items(dataset, "ContentSequence"), 1):
        own = f"{number}.{place}"
        yield _item(one, depth, own)
        if depth == 0 and plain.code(one, "ConceptNameCodeSequence") == _LANGUAGE:
            told.language = plain.code(one, "ConceptCodeSequence")[1]
        if depth + 1 < DEEPEST:
            yield from _walk(one, depth + 1, own, told)
        elif plain.items(one, "ContentSequence"):
            told.cut = True


def _item(one: Dataset, depth: int, number: str) -> Item:
    relationship = plain.text(one, "RelationshipType")
    kind = _KINDS.get(plain.text(one, "ValueType"), "other")
    by_reference = plain.value(one, "ReferencedContentItemIdentifier")
    value, code = "", ""
    reference: Reference | None = None
    if by_reference is not None:
        numbers = by_reference if isinstance(by_reference, list) else [by_reference]
        value = ".".join(str(part) for part in numbers)
        kind = "other"
    elif kind == "reference":
        referenced = plain.items(one, "ReferencedSOPSequence")
        reference = _reference(referenced[0]) if referenced else None
    else:
        value, code = _told(one, kind)
    return Item(
        depth=depth,
        number=number,
        kind=kind,
        name=plain.meaning(one, "ConceptNameCodeSequence"),
        value=value[:_MOST_TEXT],
        code=code,
        context=relationship in _CONTEXT,
        inferred=relationship == "INFERRED FROM",
        at=plain.text(one, "ObservationDateTime"),
        reference=reference,
    )


def _told(one: Dataset, kind: Kind) -> tuple[str, str]:
    """The value of an item in words, and how it is coded."""
    if kind == "code":
        return plain.meaning(one, "ConceptCodeSequence"), " ".join(filter(None, plain.code(one, "ConceptCodeSequence")))
    if kind == "number":
        return _number(one), ""
    keyword = {
        "text": "TextValue",
        "date": "Date",
        "time": "Time",
        "moment": "DateTime",
        "person": "PersonName",
        "uid": "UID",
    }.get(kind)
    if keyword is not None:
        return plain.text(one, keyword), ""
    return ("", "") if kind == "heading" else (_drawn(one), "")


def _number(one: Dataset) -> str:
    measured = plain.items(one, "MeasuredValueSequence")
    if not measured:  # said why there is none: "not a number", "value out of range"
        return plain.meaning(one, "NumericValueQualifierCodeSequence")
    return " ".join(filter(None, (plain.text(measured[0], "NumericValue"), plain.unit(measured[0]))))


def _drawn(one: Dataset) -> str:
    """Coordinates (SCOORD, SCOORD3D, TCOORD) and whatever else: their kind, and where, as far as that is short."""
    shape = plain.text(one, "GraphicType") or plain.text(one, "TemporalRangeType") or plain.text(one, "ValueType")
    points = plain.value(one, "GraphicData")
    numbers = points if isinstance(points, list) else [] if points is None else [points]
    size = 3 if plain.text(one, "ValueType") == "SCOORD3D" else 2
    places = ["/".join(f"{float(part):g}" for part in numbers[at : at + size]) for at in range(0, len(numbers), size)]
    for keyword in ("ReferencedSamplePositions", "ReferencedTimeOffsets", "ReferencedDateTime"):
        if (found := plain.value(one, keyword)) is not None:
            places += [str(part) for part in (found if isinstance(found, list) else [found])]
    more = f" … ({len(places)})" if len(places) > _MOST_POINTS else ""
    return f"{shape} {', '.join(places[:_MOST_POINTS])}{more}".strip()


def _reference(one: Dataset) -> Reference:
    frames = plain.text(one, "ReferencedFrameNumber").split("\\")
    numbers = [int(frame) for frame in frames if frame.strip().isdecimal() and len(frame) < 10]
    return Reference(
        plain.text(one, "ReferencedSOPClassUID"),
        plain.text(one, "ReferencedSOPInstanceUID"),
        tuple(numbers[:_MOST_FRAMES]),
    )
