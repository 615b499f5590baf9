"""A DICOMDIR is a tree that others can read, whatever its shape and its objects."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.fileset import _FOUR_LEVEL_SOP_CLASSES

from hozi.core.dicom import directory, sop_classes, syntaxes
from hozi.core.dicom.scan import Scan, scan
from hozi.core.errors import Refused, Unreadable
from tests.doors.dimse.images import BIG, CT, EXPLICIT, IMPLICIT, encoded, image

Tree = list[list[list[int]]]  # patients, their studies, their series: how many objects
TREES = st.lists(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3), max_size=4)


@dataclass
class Record:
    """A record as a reader finds it."""

    kind: str
    file_id: list[str]
    dataset: Dataset
    below: list[Record] = field(default_factory=list)


def found_in(dataset: Dataset, syntax: str = EXPLICIT) -> Scan:
    """What an export's scan finds."""
    known = syntaxes.get(syntax)
    assert known is not None
    return scan(encoded(dataset, syntax), known, wanted=directory.WANTED, sequences=directory.SEQUENCES)


def read(data: bytes) -> list[Record]:
    """The tree of records, by following the offsets as a reader does."""
    listing = dcmread(io.BytesIO(data))
    by_offset = {}
    for item in listing.DirectoryRecordSequence:
        named = item.get("ReferencedFileID", [])
        by_offset[item.seq_item_tell] = Record(
            item.DirectoryRecordType, [named] if isinstance(named, str) else list(named), item
        )

    def siblings(offset: int) -> list[Record]:
        found = []
        while offset:
            record = by_offset.pop(offset)  # a record that is met twice would be a circle
            record.below = siblings(record.dataset.OffsetOfReferencedLowerLevelDirectoryEntity)
            found.append(record)
            offset = record.dataset.OffsetOfTheNextDirectoryRecord
        return found

    roots = siblings(listing.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity)
    last = listing.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity
    assert last == (roots[-1].dataset.seq_item_tell if roots else 0)
    assert not by_offset, "records that nobody refers to"
    return roots


def written(tree: Tree, objects: Scan) -> bytes:
    """A DICOMDIR of that shape."""
    file = io.BytesIO()
    writer = directory.Writer(file, "SHAPE")
    for p, studies in enumerate(tree, 1):
        writer.add(0, "PATIENT", objects, p)
        for t, series in enumerate(studies, 1):
            writer.add(1, "STUDY", objects, t)
            for s, count in enumerate(series, 1):
                writer.add(2, "SERIES", objects, s)
                for i in range(1, count + 1):
                    name = (f"P{p}", f"T{t}", f"S{s}", f"I{i}")
                    writer.add(3, "IMAGE", objects, i, directory.Reference(name, CT, "1.2.3", EXPLICIT))
    writer.finish()
    return file.getvalue()


OBJECT = found_in(image())


@given(TREES)
def test_any_tree_is_read_as_it_was_written(tree: Tree) -> None:
    data = written(tree, OBJECT)
    roots = read(data)
    shape = [[[len(series.below) for series in study.below] for study in patient.below] for patient in roots]
    assert shape == tree
    named = [
        [f"P{p}", f"T{t}", f"S{s}", f"I{i}"]
        for p, studies in enumerate(tree, 1)
        for t, series in enumerate(studies, 1)
        for s, count in enumerate(series, 1)
        for i in range(1, count + 1)
    ]
    assert [list(parts) for parts in directory.referenced_files(data)] == named
    images = [one for patient in roots for study in patient.below for series in study.below for one in series.below]
    assert [one.file_id for one in images] == named


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_a_record_says_what_the_object_says(syntax: str) -> None:
    dataset = image(SpecificCharacterSet="ISO_IR 192", PatientName="Mihon^Hanako=見本^花子", Rows=300, Columns=200)
    dataset.PixelData = bytes(60000)
    [patient] = read(written([[[1]]], found_in(dataset, syntax)))
    [study] = patient.below
    [series] = study.below
    [one] = series.below
    assert str(patient.dataset.PatientName) == "Mihon^Hanako=見本^花子"
    assert (patient.dataset.SpecificCharacterSet, patient.dataset.PatientID) == ("ISO_IR 192", "E-0001")
    assert (study.dataset.StudyInstanceUID, study.dataset.StudyDate) == (dataset.StudyInstanceUID, "20260105")
    assert (series.dataset.Modality, series.dataset.SeriesNumber) == ("CT", 3)
    assert (one.dataset.InstanceNumber, one.dataset.Rows, one.dataset.Columns) == (7, 300, 200)
    assert one.dataset.ReferencedSOPClassUIDInFile == CT


def test_what_a_record_must_have_and_the_object_has_not_is_made_up() -> None:
    bare = Dataset()
    bare.PatientName = "Nobody^Known"
    [patient] = read(written([[[1]]], found_in(bare)))
    [study] = patient.below
    [series] = study.below
    assert patient.dataset.PatientID == "UNKNOWN 1"
    assert (study.dataset.StudyDate, study.dataset.StudyTime, study.dataset.StudyID) == (
        *("19000101", "000000"),
        "UNKNOWN 1",
    )
    assert (series.dataset.Modality, series.dataset.SeriesNumber) == ("OT", 1)
    assert series.below[0].dataset.InstanceNumber == 1


def test_types_of_records_are_those_that_pydicom_knows() -> None:
    assert {uid: directory.record_type(uid) for uid in _FOUR_LEVEL_SOP_CLASSES} == dict(_FOUR_LEVEL_SOP_CLASSES)


def test_every_storage_class_has_a_type_of_record() -> None:
    kinds = {name: directory.record_type(uid) for uid, name in sop_classes.STORAGE.items()}
    assert kinds["CT Image Storage"] == kinds["Segmentation Storage"] == kinds["RT Image Storage"] == "IMAGE"
    assert kinds["RT Plan Storage"] == kinds["RT Ion Plan Storage"] == "RT PLAN"
    assert kinds["Encapsulated PDF Storage"] == "ENCAP DOC"
    assert kinds["Waveform Presentation State Storage"] == "PRESENTATION"
    assert directory.record_type("1.2.3.4.5") == directory.record_type("") == "IMAGE"


@pytest.mark.parametrize("sop_class", sorted(sop_classes.STORAGE))
def test_every_type_of_record_can_be_written_of_an_object_with_nothing_in_it(sop_class: str) -> None:
    file = io.BytesIO()
    writer = directory.Writer(file, "EMPTY")
    empty = found_in(Dataset())
    for level, kind in enumerate(directory.LEVELS):
        writer.add(level, kind, empty, 1)
    kind = directory.record_type(sop_class)
    writer.add(3, kind, empty, 1, directory.Reference(("A",), sop_class, "1.2.3", EXPLICIT))
    writer.finish()
    [patient] = read(file.getvalue())
    assert patient.below[0].below[0].below[0].kind == kind


def test_a_directory_ends_where_its_offsets_end() -> None:
    file = io.BytesIO()
    writer = directory.Writer(file, "FULL")
    writer._end = 0xFFFFFFF0  # as if so much had been written
    with pytest.raises(Refused, match="export in parts"):
        writer.add(0, "PATIENT", OBJECT, 1)


@given(st.binary(max_size=400))
def test_a_damaged_directory_is_unreadable_and_nothing_else(spoilt: bytes) -> None:
    data = written([[[2]]], OBJECT)
    try:
        assert all(isinstance(part, str) for parts in directory.referenced_files(data[:700] + spoilt) for part in parts)
    except Unreadable as error:
        assert str(error)
