"""Reports of other makers: what DCMTK reads in them, we read too; hostile ones stay bounded."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from hozi.core.dicom import identifier, part10, structured
from hozi.core.dicom.limits import Limits
from hozi.core.dicom.structured import DEEPEST, MOST_ITEMS, Report
from tests.corpus import CORPUS
from tests.doors.dimse.images import encoded
from tests.peers import program

FILES = sorted((CORPUS / "sr").glob("*/*.dcm"))
REPORTS = [path for path in FILES if path.name not in ("seg.dcm", "rwvm.dcm")]


def of_file(path: Path) -> Report:
    data = path.read_bytes()
    header = part10.read_header(data)
    return structured.report(identifier.read(data[header.dataset_offset :], header.transfer_syntax))


def of(dataset: Dataset) -> Report:
    return structured.report(identifier.read(encoded(dataset), "1.2.840.10008.1.2.1", limits=Limits()))


def coded(meaning: str, value: str = "1", scheme: str = "99HOZI") -> Dataset:
    concept = Dataset()
    concept.CodeValue, concept.CodingSchemeDesignator, concept.CodeMeaning = value, scheme, meaning
    return concept


def item(kind: str, name: str = "", relationship: str = "CONTAINS", **elements: object) -> Dataset:
    one = Dataset()
    one.RelationshipType, one.ValueType = relationship, kind
    if name:
        one.ConceptNameCodeSequence = [coded(name)]
    for keyword, value in elements.items():
        setattr(one, keyword, value)
    return one


@pytest.mark.dcmtk
@pytest.mark.skipif(not REPORTS, reason="the corpus is not there")
def test_it_reads_what_dcmtk_reads() -> None:
    compared = 0
    for path in REPORTS:
        dumped = subprocess.run([program("dsrdump"), "+Pl", str(path)], capture_output=True, check=False).stdout.decode(
            "latin-1"
        )
        told = of_file(path)
        if not dumped:
            continue  # DCMTK refuses some; they are for us to read nevertheless
        ours = [f"{one.name} {one.value}" for one in told.items]
        for relation, name, rest in re.findall(
            r'<(?:[a-z ]+ )?(TEXT|NUM|CODE|DATE|TIME|PNAME|UIDREF):\(,,"([^"]*)"\)=(.*)>', dumped
        ):
            value = re.search(r'"((?:[^"]*))"\)?$' if relation == "CODE" else r'"([^"]*)"', rest)
            assert value is not None, rest
            wanted = value[1].split("\\n")[0].split("\\r")[0].rstrip(".")
            assert any(line.startswith(f"{name} {wanted}") for line in ours), (path.name, name, wanted)
            compared += 1
        assert dumped.count("CONTAINER:") - 1 == sum(one.kind == "heading" for one in told.items), path.name
    assert compared > 100


def test_units_are_written_as_people_write_them() -> None:
    def measured(value: str, unit: Dataset) -> Dataset:
        number = Dataset()
        number.NumericValue, number.MeasurementUnitsCodeSequence = value, [unit]
        return item("NUM", "Size", MeasuredValueSequence=[number])

    report = Dataset()
    report.ContentSequence = [
        measured("3.5", coded("millimetre", "mm", "UCUM")),
        measured("2", coded("pixels", "{pixels}", "UCUM")),
        measured("0.4", coded("no units", "1", "UCUM")),
        item("NUM", "Lost", MeasuredValueSequence=[], NumericValueQualifierCodeSequence=[coded("Not a number")]),
    ]
    assert [one.value for one in of(report).items] == ["3.5 mm", "2 pixels", "0.4", "Not a number"]


def test_texts_of_other_scripts_are_read() -> None:
    report = Dataset()
    report.SpecificCharacterSet = "ISO_IR 192"
    report.ContentSequence = [
        item("TEXT", "Finding", TextValue="Ndebele ŋ, 山田, <script>"),
        item("PNAME", "Seen by", PersonName="山田^太郎"),
    ]
    assert [one.value for one in of(report).items] == ["Ndebele ŋ, 山田, <script>", "山田^太郎"]


def test_a_report_without_end_is_cut() -> None:
    wide = Dataset()
    wide.ContentSequence = [item("TEXT", "Line", TextValue="x") for _ in range(MOST_ITEMS + 5)]
    told = of(wide)
    assert (len(told.items), told.cut) == (MOST_ITEMS, True)
    deep = inner = Dataset()
    for _ in range(DEEPEST + 5):
        inner.ContentSequence = [item("CONTAINER", "Deeper")]
        inner = inner.ContentSequence[0]
    told = of(deep)
    assert (len(told.items), told.cut) == (DEEPEST, True)


def test_nonsense_is_read_without_complaint() -> None:
    report = Dataset()
    report.ConceptNameCodeSequence = []
    broken = item("IMAGE", ReferencedSOPSequence=[Dataset()])
    report.ContentSequence = [
        broken,
        Dataset(),
        item("SCOORD", "Where", GraphicType="POINT", GraphicData=[1.0]),
        item("NUM"),
        item("WHATEVER", "Odd"),
    ]
    told = of(report)
    assert told.title == "" and len(told.items) == 5 and not told.cut
    assert told.items[2].value == "POINT 1"
