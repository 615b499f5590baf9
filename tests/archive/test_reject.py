"""What is rejected is nowhere, for nobody; nothing of it is gone; and it comes back exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from hozi.accounts.authorise import EVERYTHING, Held, Scope, Who, of_operator
from hozi.archive import correct, give, reject
from hozi.archive.browse import Filters, browse
from hozi.archive.fetch import SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, Selection
from hozi.archive.find import Query, find
from hozi.archive.models import Instance, Patient, Series, StoredObject, Study
from hozi.archive.study_page import open_study
from hozi.archive.verify import verify
from hozi.audit.models import Event
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import NotThere, Refused
from tests.archive.conftest import Counter

pytestmark = pytest.mark.django_db(transaction=True)

WHO = of_operator("root")
LOCAL = Who("person", "rumbi", held=(Held(frozenset({"studies.reject", "studies.find"}), Scope(facility="MAIN")),))
OTHER = Who("person", "olga", held=(Held(frozenset({"studies.reject"}), Scope(facility="ELSEWHERE")),))


@pytest.fixture
def study(counter: Counter, tmp_path: Path) -> Iterator[Path]:
    """A study of two series (1.2.1: two objects, 1.2.2: one) of patient P1, brought from a folder."""
    for series, number in ((1, 1), (1, 2), (2, 3)):
        dataset = pydicom.Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.3.{number}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.1", f"1.2.{series}"
        dataset.PatientID, dataset.PatientName, dataset.Modality = "P1", "Moyo^Tendai", "CT"
        dataset.ReferringPhysicianName, dataset.StudyDate, dataset.InstanceNumber = "Dube^R", "20261124", number
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    counter.bring(tmp_path)
    yield tmp_path


def seen() -> list[str]:
    """The objects that can be found, fetched and counted, each way asked; all ways must agree."""
    found = {}
    for level, unique in (("PATIENT", "PatientID"), ("STUDY", "StudyInstanceUID"), ("SERIES", "SeriesInstanceUID")):
        query = Query(level, "PATIENT_ROOT", {tag_of(unique): ""}, relational=True)
        found[level] = [
            str(match.values[tag_of(unique)]) for match in find(query, reach=EVERYTHING, limit=99, retrieve_ae="HOZI")
        ]
    query = Query("IMAGE", "STUDY_ROOT", {tag_of("SOPInstanceUID"): ""}, relational=True)
    objects = [
        str(match.values[tag_of("SOPInstanceUID")])
        for match in find(query, reach=EVERYTHING, limit=99, retrieve_ae="HOZI")
    ]
    for names in (
        {STUDY_INSTANCE_UID: ["1.1"]},
        {SERIES_INSTANCE_UID: ["1.2.1", "1.2.2"]},
        {SOP_INSTANCE_UID: ["1.3.1", "1.3.2", "1.3.3", "1.3.4"]},
    ):
        selection = Selection(names, EVERYTHING)
        assert [one.sop_instance for one in selection] == objects
        assert selection.count == len(objects)
        assert selection.withheld() == 0
    for number in (1, 2, 3):
        uid, series = f"1.3.{number}", "1.2.2" if number == 3 else "1.2.1"
        if uid in objects:
            assert give.one(EVERYTHING, "1.1", series, uid).sop_instance == uid
        else:
            with pytest.raises(NotThere):
                give.one(EVERYTHING, "1.1", series, uid)
    listed = browse(WHO, Filters()).lines
    assert [line.uid for line in listed] == found["STUDY"] == (["1.1"] if objects else [])
    assert found["PATIENT"] == (["P1"] if objects else [])
    for line in listed:
        assert (line.series_count, line.instance_count) == (len(found["SERIES"]), len(objects))
    return sorted(objects)


def rows() -> list[object]:
    """All that the index says, but for what says that something has changed."""
    changing = {"changed_at", "stamp", "id"}
    told: list[object] = []
    for table in (Patient, Study, Series, Instance, StoredObject):
        for row in table._default_manager.order_by("pk").values():
            told.append((table.__name__, {name: value for name, value in row.items() if name not in changing}))
    return told


ALL = ["1.3.1", "1.3.2", "1.3.3"]
PARTS = [
    (("1.1", "1.2.1", "1.3.1"), ["1.3.2", "1.3.3"]),
    (("1.1", "1.2.2", "1.3.3"), ["1.3.1", "1.3.2"]),
    (("1.1", "1.2.1"), ["1.3.3"]),
    (("1.1",), []),
]


@pytest.mark.parametrize(("what", "left"), PARTS, ids=lambda part: "-".join(part))
def test_it_is_nowhere_and_comes_back_as_it_was(study: Path, what: tuple[str, ...], left: list[str]) -> None:
    before, keys = rows(), set(StoredObject.objects.values_list("key", flat=True))
    assert reject.preview(WHO, *what) == reject.Preview(
        {1: "STUDY", 2: "SERIES", 3: "IMAGE"}[len(what)], 2 if len(what) == 1 else 1, 3 - len(left), len(left)
    )
    number = reject.reject(WHO, *what, reason="wrong patient")
    assert seen() == left
    [line] = reject.lines(WHO)
    assert (line.reason, line.objects, line.whole, line.patient[0]) == (
        "wrong patient", 3 - len(left), not left, "Moyo^Tendai"
    )  # fmt: skip
    # Every byte is still there, and disk and index agree.
    assert set(StoredObject.objects.values_list("key", flat=True)) == keys
    assert not verify().faults
    reject.undo(WHO, number)
    assert seen() == ALL
    assert rows() == before
    assert reject.lines(WHO) == []
    with pytest.raises(Refused, match="taken back before"):
        reject.undo(WHO, number)
    told = Event.objects.filter(study_uid="1.1", action__in="UD").order_by("pk")
    assert [(event.action, event.detail.get("reason", "")) for event in told] == [("D", "wrong patient"), ("U", "")]


def test_what_was_rejected_stays_so_when_it_comes_again_and_what_is_new_is_there(study: Path, counter: Counter) -> None:
    number = reject.reject(WHO, "1.1", reason="wrong patient")
    assert counter.bring(study).counts["duplicate"] == 3
    assert seen() == []
    dataset = pydicom.dcmread(study / "1.dcm")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.3.4"
    dataset.save_as(study / "4.dcm")
    counter.bring(study / "4.dcm")
    assert seen() == ["1.3.4"]
    # Both parts of the study are one again.
    reject.undo(WHO, number)
    assert seen() == [*ALL, "1.3.4"]
    assert not verify().faults
    assert Study.objects.count() == 1


def test_parts_are_taken_back_in_the_order_in_which_that_can_be(study: Path) -> None:
    first = reject.reject(WHO, "1.1", "1.2.1", "1.3.1", reason="blurred")
    second = reject.reject(WHO, "1.1", "1.2.1", reason="blurred too")
    third = reject.reject(WHO, "1.1", reason="all")
    assert seen() == []
    with pytest.raises(Refused, match="take that back first"):
        reject.undo(WHO, first)
    reject.undo(WHO, third)
    reject.undo(WHO, first)
    assert seen() == ["1.3.1", "1.3.3"]
    reject.undo(WHO, second)
    assert seen() == ALL
    # A correction made meanwhile holds for what comes back.
    number = reject.reject(WHO, "1.1", "1.2.1", reason="again")
    patient = Patient.objects.get()
    correct.edit("PATIENT", str(patient.pk), {0x00100010: [{"Alphabetic": "Moyo^Rudo"}]}, reason="typo", actor="a")
    reject.undo(WHO, number)
    assert Study.objects.get().patient_name == "Moyo^Rudo"
    assert not verify().faults


def test_only_who_may_and_reaches_it_rejects_and_takes_back(study: Path) -> None:
    for what, _ in PARTS:
        with pytest.raises(NotThere):
            reject.reject(OTHER, *what, reason="mine")
        with pytest.raises(NotThere):
            reject.preview(OTHER, *what)
    for wrong in (("1.9",), ("1.1", "1.9"), ("1.1", "1.2.1", "1.3.3")):
        with pytest.raises(NotThere):
            reject.reject(LOCAL, *wrong, reason="x")
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(Refused):
            reject.reject(LOCAL, "1.1", reason=reason)
    page = Study.objects.get().pk
    number = reject.reject(LOCAL, "1.1", reason="wrong patient")
    with pytest.raises(NotThere):
        open_study(LOCAL, page)
    with pytest.raises(NotThere):
        reject.undo(OTHER, number)
    assert reject.lines(OTHER) == []
    reject.undo(LOCAL, number)
    assert open_study(LOCAL, page).instance_count == 3
