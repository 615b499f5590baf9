"""What waits for a decision: listed for those whose it is, beside what it collides with for those who see both."""

from __future__ import annotations

from pathlib import Path

import pytest

from hozi.accounts.authorise import Denied, Held, Scope, Who
from hozi.archive.models import ExceptionCase, Study
from hozi.archive.place import volume
from hozi.archive.quarantine import cases, choices, elements, give_out, look, picture, waiting
from hozi.audit.models import Event
from hozi.core.errors import NotThere
from tests.archive.asking import somebody
from tests.archive.conftest import Counter
from tests.dicom_files import file_bytes, write
from tests.doors.dimse.images import image

ADMINISTRATOR = somebody("pacs_admin", actor="alois")
STUDY, SERIES = "1.2.826.93.1", "1.2.826.93.1.1"


@pytest.fixture
def misfit(counter: Counter, tmp_path: Path) -> ExceptionCase:
    """An object of a study that is in the archive under another patient."""
    write(tmp_path / "a" / "1.dcm", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID=f"{SERIES}.1")
    counter.bring(tmp_path / "a")
    write(
        tmp_path / "b" / "2.dcm",
        StudyInstanceUID=STUDY,
        SeriesInstanceUID=SERIES,
        SOPInstanceUID=f"{SERIES}.2",
        PatientID="E-0010",
        PatientName="Chikomba^Ruvimbo",
    )
    counter.bring(tmp_path / "b")
    return ExceptionCase.objects.get()


def several(number: int, **more: object) -> list[ExceptionCase]:
    from django.utils import timezone

    told = {"reason": "unreadable", "facility": "MAIN", "actor": "CT1", "first_at": timezone.now()} | more
    rows = [ExceptionCase(sha256=f"{n}{more}", last_at=timezone.now(), **told) for n in range(number)]
    return ExceptionCase.objects.bulk_create(rows)


def test_the_list_says_what_happened_in_words(misfit: ExceptionCase) -> None:
    [line] = cases(ADMINISTRATOR)
    assert (line.reason, line.meaning) == (
        "study-of-other-patient",
        "The study is in the archive under another patient.",
    )
    assert (line.device, line.kind, line.quarantined, line.open, line.count) == ("clerk", "CT Image", True, True, 1)
    assert line.bytes > 64
    count, oldest = waiting(ADMINISTRATOR)
    assert (count, oldest) == (1, line.first_at)


@pytest.mark.django_db
def test_it_comes_in_pages_and_can_be_narrowed() -> None:
    several(7)
    several(3, actor="MR1", reason="interrupted")
    several(2, facility="ELSEWHERE")
    seen: list[int] = []
    while page := cases(ADMINISTRATOR, after=str(seen[-1]) if seen else "", most=4):
        seen += [line.pk for line in page]
    assert seen == sorted(seen) and len(seen) == 10
    assert len(cases(ADMINISTRATOR, device="MR1")) == len(cases(ADMINISTRATOR, reason="interrupted")) == 3
    assert len(cases(somebody("pacs_admin", ""), facility="ELSEWHERE")) == 2
    assert choices(ADMINISTRATOR, "device") == [("CT1", 7), ("MR1", 3)]
    assert choices(ADMINISTRATOR, "reason") == [("unreadable", 7), ("interrupted", 3)]
    assert choices(somebody("pacs_admin", ""), "facility") == [("MAIN", 10), ("ELSEWHERE", 2)]
    assert waiting(ADMINISTRATOR)[0] == 10
    with pytest.raises(NotThere):
        cases(ADMINISTRATOR, after="1; DROP TABLE")


def test_those_of_others_are_not_there(misfit: ExceptionCase) -> None:
    stranger = somebody("pacs_admin", "ELSEWHERE")
    assert cases(stranger) == [] and waiting(stranger) == (0, None)
    for ask in (look, elements, picture, give_out):
        with pytest.raises(NotThere):
            ask(stranger, misfit.pk)
        with pytest.raises(NotThere):
            ask(ADMINISTRATOR, misfit.pk + 100)
        with pytest.raises(Denied):
            ask(somebody("referrer"), misfit.pk)


def test_it_stands_beside_what_it_collides_with(misfit: ExceptionCase) -> None:
    found = look(ADMINISTRATOR, misfit.pk)
    assert found.here and found.here.patient and found.there and found.there.patient
    assert (found.here.patient.name, found.here.patient.patient_id) == ("Chikomba^Ruvimbo", "E-0010")
    assert (found.there.patient.name, found.there.patient.patient_id) == ("Chikomba^Rutendo", "E-0001")
    assert found.there.study == Study.objects.get().pk
    assert {one.what for one in found.compared if one.differs} == {"name", "patient_id"}
    row = Event.objects.latest("pk")
    assert (row.actor, row.action, row.patient_id, row.object_uid) == ("alois", "R", "E-0010", f"{SERIES}.2")


def test_the_same_object_with_other_content_is_compared_in_everything(counter: Counter, tmp_path: Path) -> None:
    told = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "SOPInstanceUID": f"{SERIES}.1"}
    write(tmp_path / "a" / "1.dcm", **told)
    counter.bring(tmp_path / "a")
    write(tmp_path / "b" / "1.dcm", **told, InstanceNumber=8, SeriesDescription="a\x07gain")
    counter.bring(tmp_path / "b")
    found = look(ADMINISTRATOR, ExceptionCase.objects.get().pk)
    assert {one.what for one in found.compared if one.differs} == {"number", "series_description", "sha256", "length"}
    assert next(one for one in found.compared if one.what == "series_description").here == "a␇gain"


def test_a_known_number_with_another_name_shows_both(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.dcm")
    write(tmp_path / "a" / "2.dcm", PatientName="Moyo^Tendai", PatientBirthDate="19500101")
    counter.bring(tmp_path / "a")
    found = look(ADMINISTRATOR, ExceptionCase.objects.get().pk)
    assert found.line.reason == "patient-differs" and not found.line.quarantined
    assert [one.what for one in found.compared if one.differs] == ["name", "birth_date"]
    assert found.here and found.here.study


def test_who_sees_no_patients_sees_what_happened_and_no_patient(misfit: ExceptionCase) -> None:
    support = somebody("it_support")
    found = look(support, misfit.pk)
    assert found.line.reason == "study-of-other-patient"
    assert (found.here, found.there, found.compared) == (None, None, ())
    assert not found.may_see_patient and not found.may_look and not found.may_download
    for ask in (elements, picture, give_out):
        with pytest.raises(Denied):
            ask(support, misfit.pk)
    assert Event.objects.latest("pk").patient_id == ""


def test_who_sees_some_studies_only_sees_no_patient_in_quarantine(misfit: ExceptionCase) -> None:
    permissions = frozenset(["exceptions.see", "studies.find", "studies.open"])
    one_modality = Who("person", "x", "", (Held(permissions, Scope(facility="MAIN", modality="CT")),), 1)
    assert look(one_modality, misfit.pk).here is None
    with pytest.raises(Denied):
        elements(one_modality, misfit.pk)


def test_what_it_collides_with_elsewhere_stays_hidden(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.dcm", StudyInstanceUID=STUDY)
    counter.bring(tmp_path / "a", facility="ELSEWHERE", issuer="ELSEWHERE")
    write(tmp_path / "b" / "2.dcm", StudyInstanceUID=STUDY, PatientName="Own^Patient")
    counter.bring(tmp_path / "b")
    found = look(ADMINISTRATOR, ExceptionCase.objects.get().pk)
    assert found.hidden and found.there is None and found.compared == ()
    assert found.here and found.here.patient and found.here.patient.name == "Own^Patient"


def test_it_can_be_examined(misfit: ExceptionCase) -> None:
    listing = elements(ADMINISTRATOR, misfit.pk, wanted="PatientName")
    assert [line.value for line in listing.lines] == ["Chikomba^Ruvimbo"]
    assert picture(ADMINISTRATOR, misfit.pk).picture.startswith(b"\xff\xd8")
    given = give_out(ADMINISTRATOR, misfit.pk)
    data = b"".join(given.pieces)
    assert len(data) == given.length and given.name == f"exception-{misfit.pk}.dcm"
    assert data[128:132] == b"DICM"
    row = Event.objects.latest("pk")
    assert (row.code, row.actor, row.detail["exception"]) == ("110106", "alois", misfit.pk)


def test_what_cannot_be_read_is_said_so(counter: Counter, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(file_bytes(image())[:-30])
    counter.bring(folder)
    case = ExceptionCase.objects.get()
    found = look(ADMINISTRATOR, case.pk)
    assert found.here is None and found.problem
    assert elements(ADMINISTRATOR, case.pk).lines
    assert picture(ADMINISTRATOR, case.pk).kind == "damaged"
    with volume().local(case.key) as path:
        path.unlink()
    assert look(ADMINISTRATOR, case.pk).problem
    with pytest.raises(NotThere):
        give_out(ADMINISTRATOR, case.pk)
