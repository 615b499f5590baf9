"""The page of a study: everything about it, in pages, and nothing of what is not one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hozi.accounts.authorise import Denied, Held, Scope, Who
from hozi.archive import correct, study_page
from hozi.archive.models import Instance, Series, StoredObject, Study
from hozi.archive.study_page import SEE, history, instance_lines, open_study, other_studies, series_lines
from hozi.audit.models import Event
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import NotThere
from tests.archive.asking import nobody, somebody
from tests.archive.conftest import Counter
from tests.archive.stock import keep
from tests.dicom_files import write

STUDY, SERIES = "1.2.826.88.1", "1.2.826.88.1.1"
RADIOGRAPHER = somebody("radiographer")
STRANGER = somebody("pacs_admin", "ELSEWHERE", actor="olga")


@pytest.fixture
def study(counter: Counter, tmp_path: Path) -> Study:
    """A study of two series that came from a disc."""
    for number in (1, 2, 3):
        write(
            tmp_path / "disc" / f"{number}.dcm",
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=f"{SERIES}.{number // 3}",
            SOPInstanceUID=f"{SERIES}.0.{number}",
            SeriesNumber=number // 3 + 1,
            InstanceNumber=number,
            SeriesDescription="Axial" if number < 3 else "Scout",
            StudyDescription="CHEST",
        )
    counter.bring(tmp_path / "disc")
    return Study.objects.get(uid=STUDY)


def test_it_says_whose_study_it_is_and_what_is_in_it(study: Study) -> None:
    head = open_study(RADIOGRAPHER, study.pk)
    assert (head.patient.name, head.patient.patient_id, head.patient.issuer) == ("Chikomba^Rutendo", "E-0001", "MAIN")
    assert (head.patient.birth_date, head.patient.sex) == ("19791112", "F")
    assert (head.description, head.modalities, head.series_count, head.instance_count) == ("CHEST", ("CT",), 2, 3)
    assert head.bytes > 3 * 64
    assert head.received_at <= head.last_received_at
    lines = series_lines(RADIOGRAPHER, study.pk)
    assert [(line.number, line.modality, line.description, line.instance_count) for line in lines] == [
        (1, "CT", "Axial", 2),
        (2, "CT", "Scout", 1),
    ]
    assert lines[0].kinds == (("CT Image", 2),)
    assert lines[0].first_received_at and lines[0].last_received_at
    objects = instance_lines(RADIOGRAPHER, lines[0].pk)
    assert [one.number for one in objects] == [1, 2]
    assert objects[0].kind == "CT Image"


def test_opening_it_is_in_the_audit(study: Study) -> None:
    open_study(RADIOGRAPHER, study.pk)
    row = Event.objects.latest("pk")
    assert (row.code, row.action, row.actor, row.address) == ("110103", "R", "rudo", "192.168.1.9")
    assert (row.patient_id, row.study_uid, row.facility) == ("E-0001", STUDY, "MAIN")


def test_what_is_out_of_reach_is_not_there(study: Study) -> None:
    series = Series.objects.filter(study=study)[0]
    told = set()
    for pk in (study.pk, study.pk + 1000):
        with pytest.raises(NotThere) as error:
            open_study(STRANGER, pk)
        told.add(str(error.value))
    assert len(told) == 1
    for ask in (history, other_studies, series_lines):
        with pytest.raises(NotThere):
            ask(STRANGER, study.pk)
    with pytest.raises(NotThere):
        instance_lines(STRANGER, series.pk)
    with pytest.raises(NotThere):
        study_page.instance_of(STRANGER, SEE, Instance.objects.filter(series=series)[0].pk)
    with pytest.raises(Denied):
        open_study(nobody(), study.pk)
    assert not Event.objects.filter(code="110103").exists()


def test_it_reads_as_corrected_and_tells_who_corrected_it_and_why(study: Study) -> None:
    made = correct.edit(
        "PATIENT", str(study.patient_id), {tag_of("PatientSex"): ["M"]}, reason="wrong button", actor="tendai"
    )
    later = correct.edit("IMAGE", f"{SERIES}.0.1", {tag_of("ImageComments"): ["x"]}, reason="blurred", actor="tendai")
    correct.undo(later, actor="farai")
    assert open_study(RADIOGRAPHER, study.pk).patient.sex == "M"
    lines = history(RADIOGRAPHER, study.pk)
    assert [(line.what, line.actor, line.reason) for line in lines] == [
        ("taken-back", "farai", ""),
        ("corrected", "tendai", "blurred"),
        ("corrected", "tendai", "wrong button"),
        ("imported", "clerk", ""),
    ]
    assert lines[2].elements == ("PatientSex",)
    assert (lines[2].reference, lines[2].in_force, lines[1].in_force) == (made, True, False)
    assert lines[3].count == 3


def test_it_tells_of_exceptions_about_it(study: Study, counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "other" / "x.dcm", StudyInstanceUID=STUDY, SeriesInstanceUID=f"{SERIES}.0", PatientID="E-0002")
    counter.bring(tmp_path / "other")
    assert open_study(RADIOGRAPHER, study.pk).open_exceptions == 1
    line = history(RADIOGRAPHER, study.pk)[0]
    assert (line.what, line.actor, line.in_force) == ("exception", "clerk", True)
    assert line.reason == "The study is in the archive under another patient."


def test_emergency_access_to_a_patient_does_not_tell_of_exceptions_of_their_facility(
    study: Study, counter: Counter, tmp_path: Path
) -> None:
    write(tmp_path / "other" / "x.dcm", StudyInstanceUID=STUDY, SeriesInstanceUID=f"{SERIES}.0", PatientID="E-0002")
    counter.bring(tmp_path / "other")
    in_emergency = Held(frozenset({"studies.find"}), Scope(patient=("MAIN", "E-0001")))
    north = somebody("radiologist", "NORTH")
    who = Who(north.kind, north.actor, north.address, (*north.held, in_emergency), north.person)
    assert open_study(who, study.pk).open_exceptions == 0
    assert [line.what for line in history(who, study.pk)] == ["imported"]


def test_who_sees_a_part_of_a_study_hears_only_of_that(counter: Counter, tmp_path: Path) -> None:
    told = {"StudyInstanceUID": STUDY}
    write(tmp_path / "a" / "1.dcm", **told, SeriesInstanceUID=f"{SERIES}.1", Modality="CT")
    write(tmp_path / "a" / "2.dcm", **told, SeriesInstanceUID=f"{SERIES}.2", Modality="SR")
    counter.bring(tmp_path / "a")
    for series in (1, 2):
        correct.edit(
            "SERIES", f"{SERIES}.{series}", {tag_of("SeriesDescription"): ["x"]}, reason=f"r{series}", actor="a"
        )
    permissions = frozenset(["studies.find", "exceptions.see"])
    who = Who("person", "x", "", (Held(permissions, Scope(facility="MAIN", modality="CT")),), 1)
    study = Study.objects.get()
    head = open_study(who, study.pk)
    assert (head.modalities, head.series_count, head.instance_count) == (("CT",), 1, 1)
    assert [line.modality for line in series_lines(who, study.pk)] == ["CT"]
    assert [(line.what, line.reason) for line in history(who, study.pk)] == [("corrected", "r1")]
    hidden = Series.objects.get(modality="SR")
    with pytest.raises(NotThere):
        instance_lines(who, hidden.pk)
    assert len(history(RADIOGRAPHER, study.pk)) == 3


def test_other_studies_of_the_patient_are_those_that_one_may_see(
    study: Study, counter: Counter, tmp_path: Path
) -> None:
    write(tmp_path / "a" / "old.dcm", StudyDate="20200101", StudyDescription="OLD")
    counter.bring(tmp_path / "a")
    write(tmp_path / "b" / "far.dcm", StudyDescription="FAR")
    counter.bring(tmp_path / "b", facility="ELSEWHERE")
    lines, count = other_studies(RADIOGRAPHER, study.pk)
    assert [(line.description, line.modalities) for line in lines] == [("OLD", ("CT",))]
    assert count == 1
    assert other_studies(somebody("pacs_admin", ""), study.pk)[1] == 2


@pytest.mark.django_db
def test_series_and_objects_come_in_pages_in_the_order_of_their_numbers() -> None:
    first = keep(1, {"SeriesNumber": "1"}, facility="MAIN")
    study = first.series.study
    numbers = [5, 3, 3, None, 9, None, 2]
    for place, number in enumerate(numbers):
        Series.objects.create(uid=f"9.{place}", study=study, number=number, modality="MR")
        one = Instance.objects.create(
            uid=f"8.{place}", series=first.series, number=number, sop_class="1.2.3", received_at=timezone.now()
        )
        _stored(one)
    _stored(first)
    seen: list[study_page.SeriesLine] = []
    while page := series_lines(RADIOGRAPHER, study.pk, after=seen[-1].key if seen else "", most=3):
        seen += page
    assert [line.number for line in seen] == [1, 2, 3, 3, 5, 9, None, None]
    assert len({line.pk for line in seen}) == 8
    objects: list[study_page.InstanceLine] = []
    while rows := instance_lines(RADIOGRAPHER, first.series_id, after=objects[-1].key if objects else "", most=3):
        objects += rows
    assert [line.number for line in objects] == [2, 3, 3, 5, 9, None, None, None]
    for wrong in ("x", "1", "1.x", "..", "9.9.9"):
        with pytest.raises(NotThere):
            series_lines(RADIOGRAPHER, study.pk, after=wrong)


def _stored(instance: Instance) -> None:
    StoredObject.objects.create(
        instance=instance,
        key=f"00/{instance.pk}.dcm",
        sha256="0" * 64,
        header_sha256="0" * 64,
        dataset_offset=1,
        length=10,
        transfer_syntax="1.2.840.10008.1.2.1",
    )


@pytest.mark.django_db
def test_a_study_of_two_thousand_series_costs_as_many_statements_as_one_of_a_few() -> None:
    study = keep(1, {}, facility="MAIN").series.study
    Series.objects.bulk_create(Series(uid=f"7.{number}", study=study, number=number) for number in range(2000))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert len(series_lines(RADIOGRAPHER, study.pk)) == 50
        open_study(RADIOGRAPHER, study.pk)
        history(RADIOGRAPHER, study.pk)
    assert len(queries) < 21
