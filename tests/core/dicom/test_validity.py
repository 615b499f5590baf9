"""What people write into elements is valid, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from hozi.core.dicom.keys import tag_of
from hozi.core.dicom.validity import check
from hozi.core.errors import Refused

VALID: list[tuple[str, list[Any]]] = [
    ("PatientName", ["Moyo^Tariro"]),
    ("PatientName", [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}]),
    ("PatientName", [""]),
    ("PatientName", []),
    ("OtherPatientNames", ["Moyo^T", None, "Moyo^Ruva"]),
    ("PatientBirthDate", ["19800229"]),
    ("StudyTime", ["23"]),
    ("StudyTime", ["235960.123456"]),
    ("AcquisitionDateTime", ["2026"]),
    ("AcquisitionDateTime", ["20260105081500.5+0200"]),
    ("StudyDescription", ["Schädel, 3 Ebenen: 100 %"]),
    ("ImageComments", ["first line\r\nsecond \\ line"]),
    ("ImageType", ["DERIVED", "SECONDARY", "AXIAL"]),
    ("SeriesNumber", ["-12"]),
    ("SeriesNumber", [12]),
    ("PatientWeight", [71.5]),
    ("WindowCenter", ["40", "400", "1e3"]),
    ("PatientAge", ["042Y"]),
    ("Modality", ["CT"]),
    ("FrameOfReferenceUID", ["1.2.3"]),
    ("RetrieveURL", ["https://example.org/a?b=c"]),
    ("LongitudinalTemporalOffsetFromEvent", [1.5]),
    ("ReferencedFrameNumbers", [1, 2, 65535]),
    ("SmallestImagePixelValue", [-1]),
    ("FrameIncrementPointer", ["00181063"]),
    ("RequestAttributesSequence", [{}, {"00401001": {"vr": "SH", "Value": ["RP-1"]}, "00400009": {"vr": "SH"}}]),
]

INVALID: list[tuple[str, Any]] = [
    ("PatientName", "Moyo^Tariro"),
    ("PatientName", {"Alphabetic": "Moyo"}),
    ("PatientName", None),
    ("PatientName", [{"Alphabetic": "a=b"}]),
    ("PatientName", [{"Syllabic": "a"}]),
    ("PatientName", ["a=b=c=d"]),
    ("PatientName", ["a^b^c^d^e^f"]),
    ("PatientName", ["x" * 65]),
    ("PatientName", ["Moyo\\Tariro"]),
    ("PatientName", ["Moyo\x1b$B"]),
    ("PatientName", ["Moyo\ud800"]),
    ("PatientName", ["Moyo^T", "Moyo^R"]),
    ("PatientBirthDate", ["19810229"]),
    ("PatientBirthDate", ["1981.02.01"]),
    ("PatientBirthDate", ["19810201-"]),
    ("PatientBirthDate", [19810201]),
    ("StudyTime", ["24"]),
    ("StudyTime", ["10:15"]),
    ("StudyTime", ["10-11"]),
    ("AcquisitionDateTime", ["2026-2027"]),
    ("AcquisitionDateTime", ["20261301"]),
    ("StudyDescription", ["a\tb"]),
    ("StudyDescription", [True]),
    ("AccessionNumber", ["x" * 17]),
    ("ImageType", ["DERIVED"]),
    ("SeriesNumber", ["12.5"]),
    ("SeriesNumber", [True]),
    ("PatientWeight", ["heavy"]),
    ("PatientWeight", [float("nan")]),
    ("PatientAge", ["42"]),
    ("Modality", ["ct"]),
    ("FrameOfReferenceUID", ["1.02.3"]),
    ("RetrieveURL", ["https://example.org/a b"]),
    ("LongitudinalTemporalOffsetFromEvent", ["1.5"]),
    ("LongitudinalTemporalOffsetFromEvent", [float("inf")]),
    ("ReferencedFrameNumbers", [65536]),
    ("SmallestImagePixelValue", ["small"]),
    ("SmallestImagePixelValue", [{}]),
    ("FrameIncrementPointer", ["18,1063"]),
    ("EncapsulatedDocument", ["AAAA"]),
    ("RequestAttributesSequence", ["RP-1"]),
    ("RequestAttributesSequence", [{"RequestedProcedureID": {"vr": "SH"}}]),
    ("RequestAttributesSequence", [{"00401001": "RP-1"}]),
    ("RequestAttributesSequence", [{"00401001": {"vr": "LO", "Value": ["RP-1"]}}]),
    ("RequestAttributesSequence", [{"00401001": {"vr": "SH", "Value": ["x" * 17]}}]),
]


@pytest.mark.parametrize(("keyword", "values"), VALID)
def test_what_the_standard_allows_is_taken(keyword: str, values: list[Any]) -> None:
    check(tag_of(keyword), values)


@pytest.mark.parametrize(("keyword", "values"), INVALID)
def test_what_the_standard_forbids_is_refused(keyword: str, values: Any) -> None:
    with pytest.raises(Refused):
        check(tag_of(keyword), values)


def test_an_element_that_the_standard_does_not_know_is_refused() -> None:
    with pytest.raises(Refused):
        check(0x00091001, ["x"])
