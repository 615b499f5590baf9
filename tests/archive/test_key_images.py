"""Key images: valid documents that other programs read, in the study's own facility, for those who may."""

from __future__ import annotations

import dataclasses
import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from hozi.accounts.authorise import Denied
from hozi.archive import bringing, correct, key_images
from hozi.archive.fetch import holding
from hozi.archive.key_images import keep, marked, marks
from hozi.archive.models import ExceptionCase, Instance, Study
from hozi.archive.printing import Wanted, print_study
from hozi.archive.receive import Result
from hozi.audit.models import Event
from hozi.core.dicom import part10
from hozi.core.dicom.key_objects import SOP_CLASS, TRANSFER_SYNTAX
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import NotThere, Refused
from tests.archive.asking import somebody
from tests.archive.conftest import Counter
from tests.corpus import CORPUS
from tests.dicom_files import write
from tests.peers import program

RADIOLOGIST = somebody("radiologist")
STUDY = "1.2.826.94.1"


@pytest.fixture(autouse=True)
def own_way_in() -> Iterator[None]:
    bringing.forget()
    yield
    bringing.forget()


@pytest.fixture
def study(counter: Counter, tmp_path: Path) -> Study:
    for number in range(4):
        write(
            tmp_path / "disc" / f"{number}.dcm",
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=f"{STUDY}.{number // 2}",
            SOPInstanceUID=f"{STUDY}.9.{number}",
            InstanceNumber=number,
            SpecificCharacterSet="ISO_IR 100",
            PatientName="Müller^Chipo",
            NumberOfFrames=4 if number == 3 else None,
            PixelData=bytes(256) if number == 3 else bytes(64),
        )
    counter.bring(tmp_path / "disc")
    return Study.objects.get()


def images() -> list[int]:
    return list(Instance.objects.exclude(sop_class=SOP_CLASS).order_by("uid").values_list("pk", flat=True))


def document() -> tuple[bytes, Dataset]:
    """The document that was made, as a file, and read."""
    one = Instance.objects.get(sop_class=SOP_CLASS)
    held = holding(one.uid)
    dataset = b"".join(bytes(piece) for piece in held.send_as(TRANSFER_SYNTAX))
    file = part10.write_header(SOP_CLASS, one.uid, TRANSFER_SYNTAX) + dataset
    return file, dcmread(io.BytesIO(file))


def test_a_mark_is_an_object_of_the_study_like_any_other(study: Study) -> None:
    first, _, _, loop = images()
    receipt = keep(
        RADIOLOGIST,
        study.pk,
        [(first, 0), (loop, 2), (loop, 4)],
        "113002",
        "Look at the <left> ŋ lung",
        observer="Rudo Moyo",
    )
    assert receipt.result is Result.STORED and not ExceptionCase.objects.exists()
    _, made = document()
    assert (made.PatientID, made.IssuerOfPatientID, made.StudyInstanceUID) == ("E-0001", "MAIN", STUDY)
    assert str(made.PatientName) == "Müller^Chipo" and made.SpecificCharacterSet == "ISO_IR 192"
    assert (made.Modality, made.SeriesDescription, made.ValueType) == ("KO", "Key images", "CONTAINER")
    assert made.ConceptNameCodeSequence[0].CodeMeaning == "For Referring Provider"
    [evidence] = made.CurrentRequestedProcedureEvidenceSequence
    assert [one.SeriesInstanceUID for one in evidence.ReferencedSeriesSequence] == [f"{STUDY}.0", f"{STUDY}.1"]
    pointed = [item.ReferencedSOPSequence[0] for item in made.ContentSequence if item.ValueType == "IMAGE"]
    assert [one.ReferencedSOPInstanceUID for one in pointed] == [f"{STUDY}.9.0", f"{STUDY}.9.3"]
    assert pointed[1].ReferencedFrameNumber == [2, 4] and "ReferencedFrameNumber" not in pointed[0]
    row = Instance.objects.get(sop_class=SOP_CLASS)
    assert (row.series.study_id, row.series.modality) == (study.pk, "KO")
    study.refresh_from_db()
    assert (study.instance_count, study.series_count, study.facility) == (5, 3, "MAIN")


@pytest.mark.dcmtk
def test_dcmtk_finds_nothing_wrong_with_it(study: Study, tmp_path: Path) -> None:
    first, second, _, loop = images()
    keep(RADIOLOGIST, study.pk, [(first, 0), (second, 0), (loop, 3)], "113000", "Why", observer="Rudo Moyo")
    path = tmp_path / "kos.dcm"
    path.write_bytes(document()[0])
    dumped = subprocess.run([program("dsrdump"), str(path)], capture_output=True, check=True)
    told = dumped.stdout.decode("latin-1")
    assert "Key Object Selection Document" in told and "Of Interest" in told and "Why" in told
    assert told.count("contains IMAGE") == 3
    # What it says of itself, and not of the document.
    own = (b"The VR checker does not support", b"Check for template constraints not yet supported")
    assert not [line for line in dumped.stderr.splitlines() if not any(words in line for words in own)]


def test_marks_are_read_again(study: Study) -> None:
    first, second, _, loop = images()
    keep(RADIOLOGIST, study.pk, [(first, 0)], "113000")
    keep(RADIOLOGIST, study.pk, [(loop, 2), (second, 0)], "113004", "Teach")
    keep(RADIOLOGIST, study.pk, [(images()[2], 0)], "113010")
    bad, teach, interest = marks(RADIOLOGIST, study.pk)
    assert (teach.title, teach.description, teach.images) == ("For Teaching", "Teach", ((loop, (2,)), (second, ())))
    assert (interest.title, bad.title) == ("Of Interest", "Quality Issue")
    assert marked([bad, teach, interest]) == {first, second, loop}
    assert key_images.frames(RADIOLOGIST, study.pk) == [(first, 1), (loop, 2), (second, 1)]
    made = print_study(RADIOLOGIST, study.pk, Wanted(key_images=True))
    assert made.images == 3
    assert Instance.objects.filter(sop_class=SOP_CLASS).values("series").distinct().count() == 1


def test_corrections_go_over_marks_too(study: Study) -> None:
    correct.edit("STUDY", STUDY, {tag_of("StudyDescription"): ["RIGHT"]}, reason="r", actor="a")
    keep(RADIOLOGIST, study.pk, [(images()[0], 0)], "113000")
    assert document()[1].StudyDescription == "RIGHT"


def test_a_mark_does_not_name_a_patient_who_has_no_name(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "1.dcm", StudyInstanceUID=STUDY, PatientIdentityRemoved="YES", PatientName="X", PatientID="X1")
    counter.bring(tmp_path)
    keep(RADIOLOGIST, Study.objects.get().pk, [(images()[0], 0)], "113000")
    assert document()[1].PatientIdentityRemoved == "YES"
    assert Study.objects.get().identity_removed


def test_a_patient_without_number_keeps_the_study(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "1.dcm", StudyInstanceUID=STUDY, PatientID="")
    counter.bring(tmp_path)
    assert keep(RADIOLOGIST, Study.objects.get().pk, [(images()[0], 0)], "113000").result is Result.STORED


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not there")
def test_selections_of_other_makers_are_read(counter: Counter) -> None:
    counter.bring(CORPUS / "connectathon" / "IHE__connectathon-artifacts")
    one = Instance.objects.filter(sop_class=SOP_CLASS).first()
    assert one is not None
    [told] = marks(RADIOLOGIST, one.series.study_id)
    assert told.title and told.document == one.pk


def test_marks_are_taken_back_by_who_made_them_or_may_reject(study: Study) -> None:
    first, second, _, _ = images()
    keep(RADIOLOGIST, study.pk, [(first, 0)], "113000")
    keep(RADIOLOGIST, study.pk, [(second, 0)], "113004")
    teach, interest = marks(RADIOLOGIST, study.pk)
    colleague = dataclasses.replace(RADIOLOGIST, actor="somebody else")
    with pytest.raises(Refused, match="Somebody else"):
        key_images.take_back(colleague, teach.document)
    with pytest.raises(Refused, match="no selection"):
        key_images.take_back(RADIOLOGIST, first)
    with pytest.raises(NotThere):
        key_images.take_back(somebody("radiologist", "ELSEWHERE"), teach.document)
    assert key_images.take_back(RADIOLOGIST, teach.document) == study.pk
    assert [one.document for one in marks(RADIOLOGIST, study.pk)] == [interest.document]
    key_images.take_back(dataclasses.replace(somebody("pacs_admin"), actor="onai"), interest.document)
    assert marks(RADIOLOGIST, study.pk) == [] and Instance.objects.filter(pk=first).exists()
    rejected = Event.objects.filter(action="D", study_uid=STUDY)
    assert [row.actor for row in rejected] == ["rudo", "onai"]
    assert keep(RADIOLOGIST, study.pk, [(first, 0)], "113000").result is Result.STORED
    assert len(marks(RADIOLOGIST, study.pk)) == 1


def test_who_marks_what_is_in_the_audit_and_only_what_may_be_marked_is(
    study: Study, counter: Counter, tmp_path: Path
) -> None:
    first = images()[0]
    keep(RADIOLOGIST, study.pk, [(first, 0)], "113000")
    rows = Event.objects.filter(actor="rudo", action="C", study_uid=STUDY).order_by("pk")
    came, said = rows
    assert (came.code, said.detail["key_images"], said.detail["title"]) == ("110104", 1, "Of Interest")
    assert came.object_uid == said.object_uid
    write(tmp_path / "other" / "1.dcm", SOPInstanceUID="1.2.3.4")
    counter.bring(tmp_path / "other")
    others = Instance.objects.get(uid="1.2.3.4").pk
    for wrong, why in (
        ([], "at least one"),
        ([(others, 0)], "not in this study"),
        ([(999_999, 0)], "not in this study"),
        ([(first, n) for n in range(501)], "At most 500"),
    ):
        with pytest.raises(Refused, match=why):
            keep(RADIOLOGIST, study.pk, wrong, "113000")
    with pytest.raises(Refused, match="marked for"):
        keep(RADIOLOGIST, study.pk, [(first, 0)], "113001")
    with pytest.raises(NotThere):
        keep(somebody("radiologist", "ELSEWHERE"), study.pk, [(first, 0)], "113000")
    with pytest.raises(Denied):
        keep(somebody("student"), study.pk, [(first, 0)], "113000")
    assert rows.count() == 2
