"""Exceptions are taken in, discarded or acknowledged, and that is taken back; the bytes stay, whatever is decided."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from pydicom import dcmread
from pydicom.dataset import Dataset

from hozi.accounts.authorise import Denied
from hozi.archive import correct, decide
from hozi.archive.adopt import adopt
from hozi.archive.arrived import Announced, Origin
from hozi.archive.decide import Plan, acknowledge, discard, options, take_in, undo
from hozi.archive.fetch import holding
from hozi.archive.models import Correction, ExceptionCase, Instance, Patient, Series, StoredObject, Study
from hozi.archive.place import volume
from hozi.archive.quarantine import cases, waiting
from hozi.archive.verify import verify
from hozi.audit.models import Event
from hozi.core.dicom import uids
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import Changed, NotThere, Refused
from tests.archive.asking import somebody
from tests.archive.conftest import Counter
from tests.dicom_files import file_bytes, write
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image

ADMINISTRATOR = somebody("pacs_admin", actor="alois")
STUDY, SERIES = "1.2.826.94.1", "1.2.826.94.1.1"
FIRST, SECOND = f"{SERIES}.1", f"{SERIES}.2"


class Desk:
    """Where somebody decides about what comes in."""

    def __init__(self, counter: Counter, folder: Path) -> None:
        self.counter, self.folder, self.number = counter, folder, 0

    def brings(self, **elements: object) -> None:
        """An object of the study comes."""
        self.number += 1
        folder = self.folder / str(self.number)
        write(
            folder / "1.dcm",
            **{"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "SOPInstanceUID": FIRST} | elements,
        )
        self.counter.bring(folder)

    @property
    def case(self) -> ExceptionCase:
        """The one exception that there is."""
        return ExceptionCase.objects.get()

    @property
    def plans(self) -> dict[str, Plan]:
        """Ways to take its object in."""
        return {plan.way: plan for plan in options(ADMINISTRATOR, self.case.pk).plans}

    def takes_in(self, way: str, note: str = "looked at it") -> int:
        return take_in(ADMINISTRATOR, self.case.pk, way=way, note=note, version=self.case.version)

    def undoes(self) -> None:
        undo(ADMINISTRATOR, self.case.pk, note="a mistake", version=self.case.version)

    def bytes(self) -> str:
        """A hash of the file that lies in quarantine."""
        with volume().local(self.case.key) as path:
            return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def desk(counter: Counter, tmp_path: Path) -> Desk:
    made = Desk(counter, tmp_path)
    made.brings()
    return made


def given(uid: str) -> Dataset:
    """The object as it is given out."""
    from io import BytesIO

    data = b"".join(holding(uid).send_as(EXPLICIT))
    return dcmread(BytesIO(data), force=True)


def rows() -> tuple[int, ...]:
    """How much the index holds, and how much it says that it holds."""
    tables = (Patient, Study, Series, Instance, StoredObject)
    counts = [study.instance_count for study in Study.objects.order_by("pk")]
    return (*(table._default_manager.count() for table in tables), *counts)


def sound() -> bool:
    return verify().clean


def test_an_object_of_the_wrong_patient_is_taken_in_as_the_archives_patient(desk: Desk) -> None:
    desk.brings(SOPInstanceUID=SECOND, PatientID="E-1000", PatientName="Chikomba^Rutndo", PatientSex="M")
    before, file = rows(), desk.bytes()
    plan = desk.plans["same-patient"]
    assert (plan.patient.name, plan.patient.patient_id) == ("Chikomba^Rutendo", "E-0001")
    assert (plan.study, plan.instance, plan.given) == (STUDY, SECOND, ())
    study = desk.takes_in("same-patient", "typing error at the scanner")
    assert Study.objects.get(pk=study).instance_count == 2
    out = given(SECOND)
    assert (out.PatientID, out.PatientName, out.PatientSex) == ("E-0001", "Chikomba^Rutendo", "F")
    assert out.PixelData == bytes(range(64))
    assert (desk.case.state, desk.case.decision, desk.case.note) == (
        "resolved",
        "taken-same-patient",
        "typing error at the scanner",
    )
    assert desk.bytes() == file and sound()
    desk.undoes()
    assert rows() == before and desk.case.state == "open" and desk.bytes() == file and sound()
    assert not Correction.objects.filter(undone_at=None).exists()


def test_later_corrections_of_the_patient_reach_what_was_taken_in(desk: Desk) -> None:
    desk.brings(SOPInstanceUID=SECOND, PatientID="E-1000", PatientName="X^Y")
    made = correct.edit(
        "PATIENT", str(Patient.objects.get().pk), {tag_of("PatientName"): ["Moyo^A"]}, reason="r", actor="a"
    )
    desk.takes_in("same-patient")
    assert given(SECOND).PatientName == given(FIRST).PatientName == "Moyo^A"
    correct.undo(made, actor="a")
    assert given(SECOND).PatientName == given(FIRST).PatientName == "Chikomba^Rutendo"


def test_what_was_taken_in_and_comes_again_is_the_same_object(desk: Desk) -> None:
    told = {"SOPInstanceUID": SECOND, "PatientID": "E-1000"}
    desk.brings(**told)
    desk.takes_in("same-patient")
    desk.brings(**told)
    assert (desk.case.state, desk.case.count, Instance.objects.count()) == ("resolved", 1, 2) and sound()


def test_it_can_be_taken_in_as_a_study_of_its_own(desk: Desk) -> None:
    desk.brings(SOPInstanceUID=SECOND, PatientID="E-1000", PatientName="Other^Patient")
    before = rows()
    plan = desk.plans["as-own"]
    assert set(plan.given) == {"study", "series"} and plan.joins is None
    assert plan.patient.patient_id == "E-1000"
    assert uids.is_canonical(plan.study) and uids.is_canonical(plan.series)
    study = Study.objects.get(pk=desk.takes_in("as-own"))
    assert (study.uid, study.patient.patient_id, study.patient_name) == (plan.study, "E-1000", "Other^Patient")
    out = given(SECOND)
    assert (out.StudyInstanceUID, out.SeriesInstanceUID, out.PatientID) == (plan.study, plan.series, "E-1000")
    assert sound()
    desk.undoes()
    assert rows() == before and sound()


def test_all_images_of_such_a_study_come_together_again(desk: Desk) -> None:
    for number in (2, 3, 4):
        desk.brings(SOPInstanceUID=f"{SERIES}.{number}", PatientID="E-1000", PatientName="Other^Patient")
    for case in ExceptionCase.objects.order_by("-pk"):
        take_in(ADMINISTRATOR, case.pk, way="as-own", note="n", version=case.version)
    other = Study.objects.exclude(uid=STUDY).get()
    assert (other.series_count, other.instance_count) == (1, 3) and sound()


def test_the_same_object_with_other_content_gets_a_number_of_its_own(desk: Desk) -> None:
    desk.brings(ImageComments="again")
    plan = desk.plans["as-own"]
    assert (plan.given, plan.study, plan.series) == (("instance",), STUDY, SERIES)
    assert set(desk.plans) == {"as-own"}
    desk.takes_in("as-own")
    assert given(FIRST).get("ImageComments") is None
    out = given(plan.instance)
    assert (out.ImageComments, out.SOPInstanceUID) == ("again", plan.instance)
    assert Study.objects.get().instance_count == 2 and sound()
    desk.undoes()
    assert Study.objects.get().instance_count == 1 and sound()


def test_a_series_of_another_study_gets_a_number_of_its_own(desk: Desk) -> None:
    desk.brings(StudyInstanceUID=f"{STUDY}.9", SOPInstanceUID=SECOND)
    plan = desk.plans["as-own"]
    assert (plan.given, plan.study) == (("series",), f"{STUDY}.9")
    desk.takes_in("as-own")
    assert given(SECOND).SeriesInstanceUID == plan.series and sound()


def test_what_is_in_nobodys_way_is_taken_in_as_it_is(desk: Desk) -> None:
    announced = Announced(CT, "1.2.3.4", EXPLICIT)
    origin = Origin("CT1", facility="MAIN", issuer="MAIN")
    desk.counter.receiver.receive(announced, origin, [encoded(image(SOPInstanceUID=SECOND))])
    assert desk.case.reason == "contradicts-command"
    assert set(desk.plans) == {"as-it-is"} and desk.plans["as-it-is"].given == ()
    desk.takes_in("as-it-is")
    assert given(SECOND).PatientID == "E-0001" and not Correction.objects.exists() and sound()


def test_an_object_without_proper_numbers_is_given_some(desk: Desk, counter: Counter, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(file_bytes(image(StudyInstanceUID=None, SOPInstanceUID=SECOND)))
    counter.bring(folder)
    assert desk.case.reason == "invalid-identifiers"
    plan = desk.plans["as-own"]
    assert plan.given == ("study",)
    desk.takes_in("as-own")
    assert given(SECOND).StudyInstanceUID == plan.study and sound()


def test_what_is_broken_can_only_be_discarded(desk: Desk, counter: Counter, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(file_bytes(image())[:-30])
    counter.bring(folder)
    found = options(ADMINISTRATOR, desk.case.pk)
    assert found.plans == () and found.discard and found.problem
    with pytest.raises(Refused, match="cannot be taken in"):
        desk.takes_in("as-it-is")


def test_discarding_only_marks_and_can_be_taken_back(desk: Desk) -> None:
    desk.brings(PatientID="E-1000")
    file = desk.bytes()
    discard(ADMINISTRATOR, desk.case.pk, note="a test of the vendor", version=1)
    assert waiting(ADMINISTRATOR)[0] == 0 and desk.bytes() == file and sound()
    [line] = cases(ADMINISTRATOR, decided=True)
    assert (line.decision, line.decided_by, line.note) == ("discarded", "alois", "a test of the vendor")
    assert line.decided_at and options(ADMINISTRATOR, line.pk).undo
    desk.undoes()
    assert waiting(ADMINISTRATOR)[0] == 1


def test_what_is_stored_is_acknowledged(desk: Desk) -> None:
    desk.brings(
        StudyInstanceUID=f"{STUDY}.7", SeriesInstanceUID=f"{STUDY}.7.1", SOPInstanceUID=SECOND, PatientName="M^T"
    )
    assert desk.case.reason == "patient-differs"
    found = options(ADMINISTRATOR, desk.case.pk)
    assert (found.acknowledge, found.discard, found.plans) == (True, False, ())
    for act in (discard, lambda *a, **k: take_in(*a, way="as-it-is", **k)):
        with pytest.raises(Refused):
            act(ADMINISTRATOR, desk.case.pk, note="n", version=1)
    acknowledge(ADMINISTRATOR, desk.case.pk, note="married", version=1)
    assert desk.case.decision == "acknowledged"
    desk.undoes()
    assert desk.case.state == "open"


def test_of_two_who_decide_at_once_the_second_is_told(desk: Desk) -> None:
    desk.brings(PatientID="E-1000")
    discard(ADMINISTRATOR, desk.case.pk, note="n", version=1)
    for act in (discard, acknowledge, undo):
        with pytest.raises(Changed):
            act(ADMINISTRATOR, desk.case.pk, note="n", version=1)
    with pytest.raises(Changed):
        take_in(ADMINISTRATOR, desk.case.pk, way="as-own", note="n", version=1)


def test_of_two_who_decide_at_the_very_same_moment_one_is_told(desk: Desk) -> None:
    desk.brings(SOPInstanceUID=SECOND, PatientID="E-1000")
    pk, together, ends = desk.case.pk, threading.Barrier(2), []

    def decides(act: Callable[..., object]) -> None:
        together.wait()
        try:
            act(ADMINISTRATOR, pk, note="n", version=1)
            ends.append("done")
        except Changed:
            ends.append("told")
        finally:
            connection.close()

    acts: list[Callable[..., object]] = [discard, lambda *a, **more: take_in(*a, way="as-own", **more)]
    threads = [threading.Thread(target=decides, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["done", "told"] and sound()
    assert Instance.objects.count() == (2 if desk.case.decision == "taken-as-own" else 1)


def test_what_comes_again_is_to_be_decided_again_unless_it_was_taken_in(desk: Desk) -> None:
    desk.brings(SOPInstanceUID=SECOND, PatientID="E-1000")
    discard(ADMINISTRATOR, desk.case.pk, note="n", version=1)
    desk.brings(SOPInstanceUID=SECOND, PatientID="E-1000")
    assert (desk.case.state, desk.case.count, desk.case.decision) == ("open", 2, "discarded")
    with pytest.raises(Changed):
        discard(ADMINISTRATOR, desk.case.pk, note="n", version=2)
    desk.takes_in("as-own")
    desk.brings(SOPInstanceUID=SECOND, PatientID="E-1000")
    assert desk.case.state == "resolved" and Instance.objects.count() == 2


def test_every_decision_needs_a_reason_and_is_in_the_audit(desk: Desk) -> None:
    desk.brings(SOPInstanceUID=SECOND, PatientID="E-1000")
    for wrong in ("", "  ", "x" * 501, "a\0b"):
        with pytest.raises(Refused) as refused:
            desk.takes_in("as-own", wrong)
        assert refused.value.field == "note"
    with pytest.raises(Refused) as refused:
        desk.takes_in("as-it-is")
    assert refused.value.field == "way"
    desk.takes_in("as-own", "right as it is")
    desk.undoes()
    said = [row.detail for row in Event.objects.filter(actor="alois", action="U").order_by("pk")]
    assert [(one.get("decision"), one.get("undone"), one["note"]) for one in said] == [
        ("taken-as-own", None, "right as it is"),
        (None, "taken-as-own", "a mistake"),
    ]
    [came] = Event.objects.filter(actor="alois", action="C")
    assert (came.object_uid, came.patient_id, came.detail["sent_by"]) == (SECOND, "E-1000", "clerk")


def test_it_is_for_those_who_may_decide(desk: Desk) -> None:
    desk.brings(PatientID="E-1000")
    with pytest.raises(NotThere):
        discard(somebody("pacs_admin", "ELSEWHERE"), desk.case.pk, note="n", version=1)
    with pytest.raises(Denied):
        discard(somebody("radiographer"), desk.case.pk, note="n", version=1)
    only = somebody("", permissions="exceptions.see exceptions.decide studies.find")
    assert "same-patient" not in {plan.way for plan in options(only, desk.case.pk).plans}


def test_whose_an_object_is_says_only_who_reaches_that_study(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.dcm", StudyInstanceUID=STUDY)
    counter.bring(tmp_path / "a", facility="ELSEWHERE", issuer="ELSEWHERE")
    write(tmp_path / "b" / "2.dcm", StudyInstanceUID=STUDY)
    counter.bring(tmp_path / "b")
    case = ExceptionCase.objects.get()
    assert {plan.way for plan in options(ADMINISTRATOR, case.pk).plans} == {"as-own"}
    assert "same-patient" in {plan.way for plan in options(somebody("pacs_admin", ""), case.pk).plans}


def test_what_was_corrected_since_is_not_taken_out_unseen(desk: Desk) -> None:
    desk.brings(SOPInstanceUID=SECOND, PatientID="E-1000")
    desk.takes_in("as-own")
    made = correct.edit("IMAGE", SECOND, {tag_of("ImageComments"): ["x"]}, reason="r", actor="a")
    with pytest.raises(Refused, match="corrected"):
        desk.undoes()
    own = Correction.objects.get(level="TAKEN")
    with pytest.raises(Refused, match="quarantine"):
        correct.undo(own.pk, actor="a")
    correct.undo(made, actor="a")
    desk.undoes()


def test_a_file_that_was_damaged_meanwhile_is_not_taken_in(desk: Desk) -> None:
    desk.brings(PatientID="E-1000", SOPInstanceUID=SECOND)
    with volume().local(desk.case.key) as path:
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-4] + b"xxxx")
    with pytest.raises(Refused, match="not what was received"):
        desk.takes_in("as-own")
    assert Instance.objects.count() == 1


def test_when_the_database_is_lost_what_was_taken_in_waits_for_a_decision_again(desk: Desk) -> None:
    desk.brings(SOPInstanceUID=SECOND, PatientID="E-1000")
    desk.takes_in("as-own")
    for table in (Correction, StoredObject, Instance, Series, Study, Patient, ExceptionCase):
        table._default_manager.all().delete()
    adopt(actor="operator")
    assert StoredObject.objects.count() == 1 and ExceptionCase.objects.get().state == "open"
    assert sound()
    assert decide.options(ADMINISTRATOR, desk.case.pk).discard
