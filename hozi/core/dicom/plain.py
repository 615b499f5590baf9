"""What a dataset of plain values (`identifier.read`) says, by keyword; nothing is trusted to be there."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from hozi.core.dicom.identifier import text_of


def value(dataset: Dataset, keyword: str) -> Any:
    """The element's value, or None."""
    return dataset[keyword].value if keyword in dataset else None


def text(dataset: Dataset, keyword: str) -> str:
    """The element's value as text, trimmed; several values with backslashes between them."""
    return text_of(dataset[keyword]).strip(" \0") if keyword in dataset else ""


def number(dataset: Dataset, keyword: str, otherwise: float = 0.0) -> float:
    """The element's (first) value as a finite number, or ``otherwise``."""
    first = text(dataset, keyword).split("\\")[0]
    try:
        found = float(first)
    except ValueError:
        return otherwise
    return found if abs(found) < 1e30 else otherwise


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where there is none."""
    if keyword not in dataset or dataset[keyword].VR != "SQ":
        return []
    return list(dataset[keyword].value or ())


def code(dataset: Dataset, keyword: str) -> tuple[str, str]:
    """Coding scheme and code of a coded concept (PS3.3 §8); empty texts when there is none."""
    for one in items(dataset, keyword)[:1]:
        found = text(one, "CodeValue") or text(one, "LongCodeValue") or text(one, "URNCodeValue")
        return text(one, "CodingSchemeDesignator"), found
    return "", ""


def meaning(dataset: Dataset, keyword: str) -> str:
    """What a coded concept means; its code when that is not said."""
    for one in items(dataset, keyword)[:1]:
        return text(one, "CodeMeaning") or code(dataset, keyword)[1]
    return ""


def unit(dataset: Dataset, keyword: str = "MeasurementUnitsCodeSequence") -> str:
    """A unit as people write it: the UCUM code where that can be read, else what it means."""
    scheme, found = code(dataset, keyword)
    if found == "1" and scheme == "UCUM":
        return ""
    if found and scheme == "UCUM" and not set(found) & set("{}[]*"):
        return found
    return meaning(dataset, keyword)
