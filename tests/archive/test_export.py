"""What leaves as files is complete, in the form that every viewer reads, recorded, and never over something else."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet

from hozi.accounts.authorise import EVERYTHING, Reach, Scope
from hozi.archive import correct
from hozi.archive.export import Exported, Failure, export
from hozi.archive.fetch import (
    ISSUER_OF_PATIENT_ID,
    PATIENT_ID,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    NothingNamed,
)
from hozi.archive.models import Instance, StoredObject
from hozi.archive.place import volume
from hozi.audit.models import Event
from hozi.audit.record import Code, Outcome
from hozi.core.dicom import part10, uids
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import Refused
from hozi.settings import HOZI
from tests.archive.conftest import Counter
from tests.archive.test_bring import dataset_of, scratch
from tests.core.dicom.test_directory import read
from tests.corpus import CORPUS
from tests.dicom_files import write
from tests.doors.dimse.images import encoded
from tests.peers import program

NAME = re.compile(r"DICOM/PT\d{6}/ST\d{6}/SE\d{6}/IM\d{6}")


@pytest.fixture
def three(counter: Counter, tmp_path: Path) -> list[Dataset]:
    """An archive with three objects of three patients; the first two have the same number from two issuers."""
    sent = [
        write(tmp_path / "in" / "1.dcm", PatientID="7", IssuerOfPatientID="NORTH", PatientName="Sango^Nyika"),
        write(tmp_path / "in" / "2.dcm", PatientID="7", IssuerOfPatientID="SOUTH", PatientName="Gomo^Mvura"),
        write(tmp_path / "in" / "3.dcm", PatientID="8", PatientName="Rwizi^Hombe"),
    ]
    assert counter.bring(tmp_path / "in").counts["stored"] == 3
    return sent


NORTH = Reach((Scope(facility="NORTH"),))


def exported(names: dict[int, list[str]] | None, target: Path, **more: object) -> Exported:
    return export(names, target, actor="clerk", **{"reach": EVERYTHING, **more})  # type: ignore[arg-type]


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def uids_in(folder: Path) -> set[str]:
    return {part10.read_header(path.read_bytes()).sop_instance for path in folder.rglob("IM*")}


@contextmanager
def file_set(listing: Path) -> Iterator[FileSet]:
    """A medium, as pydicom reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it forgets a temporary folder
        found = FileSet(listing)
    try:
        yield found
    finally:
        found._stage["t"].cleanup()


def count(listing: Path) -> int:
    with file_set(listing) as found:
        return len(found)


def test_a_folder_has_files_and_a_directory_as_media_have_them(three: list[Dataset], tmp_path: Path) -> None:
    done = exported(None, tmp_path / "out")
    assert (done.patients, done.studies, done.series, done.objects, done.failures) == (3, 3, 3, 3, [])
    files = names_in(tmp_path / "out")
    assert {name for name in files if not NAME.fullmatch(name)} == {"DICOMDIR"}
    assert done.bytes == sum(path.stat().st_size for path in (tmp_path / "out").rglob("IM*"))
    by_uid = {one.SOPInstanceUID: one for one in three}
    with file_set(tmp_path / "out" / "DICOMDIR") as listed:
        assert {str(one.SOPInstanceUID) for one in listed} == set(by_uid)
        for one in listed:
            data = Path(one.path).read_bytes()
            header = part10.read_header(data)
            assert data[:132] == bytes(128) + b"DICM"
            assert header.meta[0x00020012].rstrip(b"\0") == uids.IMPLEMENTATION_CLASS_UID.encode()
            assert 0x00020102 not in header.meta  # who once sent it stays here
            assert data[header.dataset_offset :] == encoded(by_uid[one.SOPInstanceUID])


def test_a_zip_archive_holds_the_same_files(three: list[Dataset], tmp_path: Path) -> None:
    exported(None, tmp_path / "folder")
    exported(None, tmp_path / "out.ZIP")
    with zipfile.ZipFile(tmp_path / "out.ZIP") as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == names_in(tmp_path / "folder")
        for name in archive.namelist():
            if name != "DICOMDIR":
                assert archive.read(name) == (tmp_path / "folder" / name).read_bytes()
        archive.extractall(tmp_path / "unpacked")
    assert count(tmp_path / "unpacked" / "DICOMDIR") == 3
    assert not scratch()


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.dcmtk
def test_others_read_the_directory_of_every_kind_of_object(counter: Counter, tmp_path: Path) -> None:
    counter.bring(CORPUS)
    out = tmp_path / "out"
    done = exported(None, out)
    # Not by pydicom's FileSet, which knows no ANNOTATION records and fails at one.
    tree = read((out / "DICOMDIR").read_bytes())
    found = [one for patient in tree for study in patient.below for series in study.below for one in series.below]
    assert len(found) == done.objects == StoredObject.objects.count()
    for one in found:
        held = dcmread(out.joinpath(*one.file_id), stop_before_pixels=True, force=True)
        assert held.SOPInstanceUID == one.dataset.ReferencedSOPInstanceUIDInFile
    dumped = subprocess.run(
        [program("dcmdump"), "-q", str(out / "DICOMDIR")], capture_output=True, text=True, errors="replace"
    )
    assert (dumped.returncode, dumped.stderr) == (0, "")
    ours = kinds(out / "DICOMDIR")
    theirs = tmp_path / "DICOMDIR.dcmtk"
    subprocess.run(
        [program("dcmmkdir"), "-q", "+r", "+I", "+id", str(out), "+D", str(theirs), "DICOM"], capture_output=True
    )
    compared = kinds(theirs)
    assert len(compared) > 100  # it leaves out what its profile does not know: compressed images
    assert {uid: ours[uid] for uid in compared} == compared


def kinds(listing: Path) -> dict[str, str]:
    """The type of record of each object in a DICOMDIR."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = dcmread(listing).DirectoryRecordSequence
    return {
        str(one.ReferencedSOPInstanceUIDInFile): one.DirectoryRecordType
        for one in records
        if "ReferencedSOPInstanceUIDInFile" in one
    }


def test_an_export_can_be_imported_again(counter: Counter, three: list[Dataset], tmp_path: Path) -> None:
    exported(None, tmp_path / "out")
    assert counter.bring(tmp_path / "out" / "DICOMDIR").counts["duplicate"] == 3


def test_it_exports_what_was_named_and_nothing_else(three: list[Dataset], tmp_path: Path) -> None:
    first, second, third = three
    for number, (names, wanted) in enumerate(
        [
            ({STUDY_INSTANCE_UID: [first.StudyInstanceUID, third.StudyInstanceUID]}, [first, third]),
            ({SERIES_INSTANCE_UID: [second.SeriesInstanceUID]}, [second]),
            ({SOP_INSTANCE_UID: [third.SOPInstanceUID]}, [third]),
            ({PATIENT_ID: ["8"]}, [third]),
            ({PATIENT_ID: ["7"], ISSUER_OF_PATIENT_ID: ["SOUTH"]}, [second]),
            ({PATIENT_ID: ["7"], STUDY_INSTANCE_UID: [first.StudyInstanceUID]}, [first]),
        ]
    ):
        assert exported(names, tmp_path / str(number)).objects == len(wanted)
        assert uids_in(tmp_path / str(number)) == {one.SOPInstanceUID for one in wanted}


def test_a_number_that_several_issuers_gave_is_not_enough(three: list[Dataset], tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"several people have that number: say who issued it \(NORTH, SOUTH\)"):
        exported({PATIENT_ID: ["7"]}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_facility_gets_its_own_only(counter: Counter, three: list[Dataset], tmp_path: Path) -> None:
    theirs = write(tmp_path / "in" / "theirs.dcm", PatientID="9")
    counter.bring(tmp_path / "in" / "theirs.dcm", facility="NORTH")
    assert exported(None, tmp_path / "out", reach=NORTH).objects == 1
    assert uids_in(tmp_path / "out") == {theirs.SOPInstanceUID}
    with pytest.raises(Refused, match="holds nothing of that"):
        exported({PATIENT_ID: ["8"]}, tmp_path / "none", reach=NORTH)


def test_siblings_stand_under_their_patient_and_study(counter: Counter, tmp_path: Path) -> None:
    for number in range(12):
        patient, study, series = number % 2, number % 4, number % 6
        write(
            tmp_path / "in" / f"{number}.dcm",
            PatientID=f"P{patient}",
            StudyInstanceUID=f"1.2.{study + 1}",
            SeriesInstanceUID=f"1.2.{study + 1}.{series + 1}",
        )
    counter.bring(tmp_path / "in")
    done = exported(None, tmp_path / "out")
    assert (done.patients, done.studies, done.series, done.objects) == (2, 4, 12, 12)
    with file_set(tmp_path / "out" / "DICOMDIR") as listed:
        for one in listed:
            dataset = dcmread(one.path)
            for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
                assert one[keyword].value == dataset[keyword].value


def test_nothing_that_exists_is_overwritten(three: list[Dataset], tmp_path: Path) -> None:
    (tmp_path / "out.zip").write_text("precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "broken").symlink_to("nowhere")
    for name in ("dicomdir", "DICOM"):
        (tmp_path / f"cd-{name}").mkdir()
        (tmp_path / f"cd-{name}" / name).write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    for name in ("out.zip", "file", "broken", "cd-dicomdir", "cd-DICOM"):
        with pytest.raises(Refused, match=r"exists already|holds a DICOM medium already"):
            exported(None, tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "out.zip").read_text() == "precious"


def test_a_target_that_comes_meanwhile_stays(three: list[Dataset], tmp_path: Path) -> None:
    def meanwhile(done: int, of: int) -> None:
        if done == of:
            (tmp_path / "out.zip").write_text("precious")
            (tmp_path / "out" / "DICOM").mkdir(parents=True)
            (tmp_path / "out" / "DICOM" / "precious").touch()

    with pytest.raises(Refused, match="exists already"):
        exported(None, tmp_path / "out.zip", progress=meanwhile)
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(Refused, match="holds a DICOM medium already"):
        exported(None, tmp_path / "out", progress=meanwhile)
    assert names_in(tmp_path / "out") == {"DICOM/precious"}
    assert (tmp_path / "out.zip").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"in", "journals", "out", "out.zip"}


def test_a_stick_with_other_things_on_it_can_be_used(three: list[Dataset], tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "holiday.txt").write_text("Vumba")
    exported(None, tmp_path / "stick")
    assert {path.name for path in (tmp_path / "stick").iterdir()} == {"holiday.txt", "DICOM", "DICOMDIR"}
    assert count(tmp_path / "stick" / "DICOMDIR") == 3


def test_a_target_without_a_folder_around_it_is_refused(three: list[Dataset], tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is no folder"):
        exported(None, tmp_path / "nowhere" / "out")


class PulledOut(Exception):
    """The stick was pulled out."""


@pytest.mark.parametrize("target", ["out", "out.zip", "stick"])
def test_an_export_that_breaks_off_leaves_nothing(three: list[Dataset], tmp_path: Path, target: str) -> None:
    (tmp_path / "stick").mkdir()
    before = sorted(tmp_path.rglob("*"))

    def pull_out(done: int, of: int) -> None:
        assert sorted(tmp_path.rglob("*")) != before  # it had begun
        if done == 2:
            raise PulledOut

    with pytest.raises(PulledOut):
        exported(None, tmp_path / target, progress=pull_out)
    assert sorted(tmp_path.rglob("*")) == before
    assert not scratch()


def test_what_is_damaged_is_told_and_the_rest_is_exported(three: list[Dataset], tmp_path: Path) -> None:
    cut, gone, whole = (StoredObject.objects.get(instance__uid=one.SOPInstanceUID) for one in three)
    objects = HOZI.storage / "objects"
    with (objects / cut.key).open("r+b") as file:
        file.truncate(cut.dataset_offset + cut.length - 10)
    (objects / gone.key).unlink()
    done = exported(None, tmp_path / "out")
    assert done.objects == 1
    assert not done.clean
    assert done.failures == [
        Failure(three[0].SOPInstanceUID, "a stored file is shorter than the index says; run `hozi verify`"),
        Failure(three[1].SOPInstanceUID, f"{gone.key} is not in the store"),
    ]
    assert uids_in(tmp_path / "out") == {three[2].SOPInstanceUID}
    assert count(tmp_path / "out" / "DICOMDIR") == 1
    outcomes = dict(Event.objects.filter(code=Code.EXPORT).values_list("study_uid", "outcome"))
    assert outcomes == {
        three[0].StudyInstanceUID: Outcome.MINOR_FAILURE,
        three[1].StudyInstanceUID: Outcome.MINOR_FAILURE,
        three[2].StudyInstanceUID: Outcome.SUCCESS,
    }
    assert volume().size(whole.key)


@pytest.mark.parametrize("target", ["out", "out.zip"])
def test_an_object_that_is_not_what_was_received_is_named_and_never_given(
    three: list[Dataset], tmp_path: Path, target: str
) -> None:
    """Its length is right, it reads well, and a pixel of it is another one: nobody would ever notice elsewhere."""
    rotten = StoredObject.objects.get(instance__uid=three[1].SOPInstanceUID)
    path = HOZI.storage / "objects" / rotten.key
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = exported(None, tmp_path / target)
    assert done.failures == [
        Failure(three[1].SOPInstanceUID, "a stored file is not what was received; run `hozi verify`")
    ]
    if target.endswith(".zip"):
        zipfile.ZipFile(tmp_path / target).extractall(tmp_path / "unpacked")
        target = "unpacked"
    assert uids_in(tmp_path / target) == {three[0].SOPInstanceUID, three[2].SOPInstanceUID}
    assert (done.objects, count(tmp_path / target / "DICOMDIR")) == (2, 2)
    event = Event.objects.get(code=Code.EXPORT, study_uid=three[1].StudyInstanceUID)
    assert (event.outcome, event.detail["failed"]) == (Outcome.MINOR_FAILURE, 1)
    assert not scratch()


def test_when_nothing_is_whole_there_is_no_medium(three: list[Dataset], tmp_path: Path) -> None:
    for stored in StoredObject.objects.all():
        (HOZI.storage / "objects" / stored.key).unlink()
    for name in ("out", "out.zip"):
        assert len(exported(None, tmp_path / name).failures) == 3
        assert not (tmp_path / name).exists()


def test_who_took_what_where_to_is_recorded(three: list[Dataset], tmp_path: Path) -> None:
    exported({STUDY_INSTANCE_UID: [three[1].StudyInstanceUID]}, tmp_path / "out")
    event = Event.objects.get(code=Code.EXPORT)
    assert (event.actor, event.action, event.outcome) == ("clerk", "R", Outcome.SUCCESS)
    assert (event.issuer, event.patient_id, event.study_uid) == ("SOUTH", "7", three[1].StudyInstanceUID)
    assert event.detail == {"target": str(tmp_path / "out"), "objects": 1, "failed": 0}


def test_corrections_are_applied(three: list[Dataset], tmp_path: Path) -> None:
    first = three[0]
    correct.edit(
        "STUDY",
        first.StudyInstanceUID,
        {tag_of("StudyDescription"): ["Chest, corrected"]},
        reason="typing error",
        actor="clerk",
    )
    exported({STUDY_INSTANCE_UID: [first.StudyInstanceUID]}, tmp_path / "out")
    [path] = (tmp_path / "out").rglob("IM*")
    assert dcmread(path).StudyDescription == "Chest, corrected"
    [study] = [
        one for one in dcmread(tmp_path / "out" / "DICOMDIR").DirectoryRecordSequence if "StudyDescription" in one
    ]
    assert study.StudyDescription == "Chest, corrected"
    assert dataset_of(path) != encoded(first)


def test_everything_has_to_be_asked_for(three: list[Dataset], tmp_path: Path) -> None:
    for names in ({}, {PATIENT_ID: [""]}, {ISSUER_OF_PATIENT_ID: ["NORTH"]}):
        with pytest.raises(NothingNamed):
            exported(names, tmp_path / "out")


def test_what_lies_in_quarantine_stays(counter: Counter, three: list[Dataset], tmp_path: Path) -> None:
    write(tmp_path / "odd.dcm", StudyInstanceUID=three[0].StudyInstanceUID, PatientID="OTHER")
    assert counter.bring(tmp_path / "odd.dcm").counts["quarantined"] == 1
    assert exported(None, tmp_path / "out").objects == Instance.objects.count() == 3
