"""Key Object Selection Documents: which images of a study matter, and what for (PS3.3 §A.35.4, PS3.16 TID 2010)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from hozi.core.dicom import identifier, plain

SOP_CLASS: Final = "1.2.840.10008.5.1.4.1.1.88.59"
TRANSFER_SYNTAX: Final = "1.2.840.10008.1.2.1"

TITLES: Final[dict[str, str]] = {
    "113000": "Of Interest",
    "113002": "For Referring Provider",
    "113003": "For Surgery",
    "113004": "For Teaching",
    "113005": "For Conference",
    "113006": "For Therapy",
    "113007": "For Patient",
    "113008": "For Peer Review",
    "113009": "For Research",
    "113010": "Quality Issue",
    "113013": "Best In Set",
    "113018": "For Printing",
    "113020": "For Report Attachment",
}
"""What images may be marked for, by DICOM code (PS3.16 CID 7010), without those by which images are rejected."""

_MOST: Final = 5000


@dataclass(frozen=True, slots=True)
class Chosen:
    """An object that is marked; ``frames``: which of its frames, all when empty."""

    series: str
    sop_class: str
    sop_instance: str
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """What a Key Object Selection Document says: its title (code and meaning), why, and what is marked."""

    code: str
    title: str
    description: str
    chosen: tuple[Chosen, ...]


def document(
    about: Mapping[str, str],
    study: str,
    title: str,
    chosen: Sequence[Chosen],
    *,
    observer: str,
    at: datetime,
    description: str = "",
) -> bytes:
    """The dataset of such a document, in `TRANSFER_SYNTAX` and UTF-8.

    ``about``: by keyword, what it says of patient, study, series and itself (SeriesInstanceUID, SOPInstanceUID ...).
    ``observer``: who has chosen, as a person's name; ``at``: local time with its offset. ``title``: a code of `TITLES`.
    """
    kinds = {"Modality": "KO", "SOPClassUID": SOP_CLASS, "SpecificCharacterSet": "ISO_IR 192"}
    when = {"ContentDate": f"{at:%Y%m%d}", "ContentTime": f"{at:%H%M%S}", "TimezoneOffsetFromUTC": f"{at:%z}"}
    dataset = _texts({**about, **kinds, **when})
    _add(dataset, "ReferencedPerformedProcedureStepSequence", [])
    _add(dataset, "CurrentRequestedProcedureEvidenceSequence", [_evidence(study, chosen)])
    _add(dataset, "ConceptNameCodeSequence", [_code(title, "DCM", TITLES[title])])
    _add(dataset, "ContentTemplateSequence", [_texts({"MappingResource": "DCMR", "TemplateIdentifier": "2010"})])
    dataset.update(_texts({"ValueType": "CONTAINER", "ContinuityOfContent": "SEPARATE"}))
    content = [
        _item("HAS OBS CONTEXT", "CODE", ("121005", "Observer Type"), code=_code("121006", "DCM", "Person")),
        _item("HAS OBS CONTEXT", "PNAME", ("121008", "Person Observer Name"), PersonName=observer),
    ]
    if description:
        content.append(_item("CONTAINS", "TEXT", ("113012", "Key Object Description"), TextValue=description))
    content += [_pointer(one) for one in chosen]
    _add(dataset, "ContentSequence", content)
    return identifier.write(dataset, TRANSFER_SYNTAX)


def selection(dataset: Dataset) -> Selection:
    """What such a document marks, from a dataset of plain values (`identifier.read`)."""
    series_of = {}
    for study in plain.items(dataset, "CurrentRequestedProcedureEvidenceSequence"):
        for series in plain.items(study, "ReferencedSeriesSequence"):
            for one in plain.items(series, "ReferencedSOPSequence"):
                series_of[plain.text(one, "ReferencedSOPInstanceUID")] = plain.text(series, "SeriesInstanceUID")
    chosen, description = [], ""
    for item in plain.items(dataset, "ContentSequence")[:_MOST]:
        if plain.code(item, "ConceptNameCodeSequence") == ("DCM", "113012"):
            description = plain.text(item, "TextValue")
        for one in plain.items(item, "ReferencedSOPSequence")[:1]:
            uid = plain.text(one, "ReferencedSOPInstanceUID")
            frames = plain.text(one, "ReferencedFrameNumber").split("\\")
            numbers = tuple(int(frame) for frame in frames if frame.strip().isdecimal() and len(frame) < 10)
            chosen.append(Chosen(series_of.get(uid, ""), plain.text(one, "ReferencedSOPClassUID"), uid, numbers))
    _, code = plain.code(dataset, "ConceptNameCodeSequence")
    return Selection(code, plain.meaning(dataset, "ConceptNameCodeSequence"), description, tuple(chosen))


def _evidence(study: str, chosen: Iterable[Chosen]) -> Dataset:
    """Everything that is marked, by series, each object once (PS3.3 §C.17.6.2.1)."""
    by_series: dict[str, dict[str, Chosen]] = {}
    for one in chosen:
        by_series.setdefault(one.series, {})[one.sop_instance] = one
    series = []
    for uid, objects in by_series.items():
        entry = _texts({"SeriesInstanceUID": uid})
        _add(entry, "ReferencedSOPSequence", [_reference(one) for one in objects.values()])
        series.append(entry)
    evidence = _texts({"StudyInstanceUID": study})
    _add(evidence, "ReferencedSeriesSequence", series)
    return evidence


def _pointer(one: Chosen) -> Dataset:
    """The content item of a marked object: it has no name of its own."""
    item = _texts({"RelationshipType": "CONTAINS", "ValueType": "IMAGE"})
    reference = _reference(one)
    if one.frames:
        reference.update(_texts({"ReferencedFrameNumber": "\\".join(map(str, one.frames))}))
    _add(item, "ReferencedSOPSequence", [reference])
    return item


def _reference(one: Chosen) -> Dataset:
    return _texts({"ReferencedSOPClassUID": one.sop_class, "ReferencedSOPInstanceUID": one.sop_instance})


def _item(
    relationship: str, kind: str, name: tuple[str, str], *, code: Dataset | None = None, **elements: str
) -> Dataset:
    item = _texts({"RelationshipType": relationship, "ValueType": kind, **elements})
    _add(item, "ConceptNameCodeSequence", [_code(name[0], "DCM", name[1])])
    if code is not None:
        _add(item, "ConceptCodeSequence", [code])
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _texts({"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning})


def _texts(told: Mapping[str, str]) -> Dataset:
    dataset = Dataset()
    for keyword, text in told.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword  # noqa: S101 - keywords are written here, not by strangers
        dataset[tag] = identifier.plain_element(tag, dictionary_VR(tag), text)
    return dataset


def _add(dataset: Dataset, keyword: str, items: list[Dataset]) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword  # noqa: S101 - as above
    dataset[tag] = identifier.sequence_element(tag, items)
