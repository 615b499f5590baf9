"""Corrections are overlays: stored bytes stay, everybody is given and finds what is right, undo brings all back."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from pydicom import dcmread
from pydicom.dataset import Dataset

from hozi.archive import correct
from hozi.archive.models import (
    Correction,
    Instance,
    NameWord,
    Patient,
    SequenceValue,
    Series,
    StoredObject,
    Study,
)
from hozi.archive.place import volume
from hozi.archive.verify import verify
from hozi.audit.models import Event
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import Refused
from tests.archive_running import Caller, RunningArchive
from tests.doors.dimse.images import BIG, CT, EXPLICIT, IMPLICIT, encoded, image

DEFLATED = "1.2.840.10008.1.2.1.99"
STUDY, SERIES, OBJECT = "1.2.826.77.1", "1.2.826.77.1.1", "1.2.826.77.1.1.1"
NAME, SEX, STUDY_DATE = tag_of("PatientName"), tag_of("PatientSex"), tag_of("StudyDate")


def slice_of(**elements: Any) -> Dataset:
    """The object that these tests correct."""
    request = Dataset()
    request.RequestedProcedureID = "RP-1"
    request.ScheduledProcedureStepID = "SPS-1"
    told = {
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "SOPInstanceUID": OBJECT,
        "StudyDescription": "CHEST",
        "ReferringPhysicianName": "Ncube^Farai",
        "RequestAttributesSequence": [request],
        **elements,
    }
    return image(**told)


@pytest.fixture
def ct1(archive: RunningArchive) -> Caller:
    """A device that has stored one object."""
    caller = archive.admit("CT1", sees_all=True)
    assert caller.store(encoded(slice_of()), CT, OBJECT) == (0x0000, "")
    return caller


def given(caller: Caller, syntax: str = EXPLICIT, uid: str = OBJECT) -> bytes:
    """The dataset as a C-GET brings it."""
    got = caller.get("IMAGE", SOPInstanceUID=uid, classes=[(CT, [syntax])])
    assert got.status == 0x0000
    return got.objects[uid]


def edit(level: str, uid: str, changes: dict[str, Any]) -> int:
    """Corrects elements by their keywords."""
    told = {tag_of(keyword): values for keyword, values in changes.items()}
    return correct.edit(level, uid, told, reason="typing error", actor="rutendo")


def patient() -> str:
    """How corrections call the one patient."""
    return str(Patient.objects.get().pk)


def index() -> dict[str, list[dict[str, Any]]]:
    """All that the index says, apart from when it changed, its stamps, and by which row ids."""
    dull = ("id", "changed_at", "stamp")
    return {
        table.__name__: sorted(
            ({name: value for name, value in row.items() if name not in dull} for row in table.objects.values()),
            key=str,
        )
        for table in (Patient, NameWord, Study, Series, Instance, SequenceValue, StoredObject)
    }


def stored() -> tuple[Path, str]:
    """The file of the one stored object, and its hash."""
    [key] = volume().keys()
    with volume().local(key) as path:
        return path, hashlib.sha256(path.read_bytes()).hexdigest()


def element(tag: str, vr: str, value: bytes, syntax: str) -> bytes:
    """An element's bytes in an uncompressed transfer syntax."""
    order = ">" if syntax == BIG else "<"
    where = struct.pack(f"{order}HH", *struct.unpack(">HH", bytes.fromhex(tag)))
    if syntax == IMPLICIT:
        return where + struct.pack("<I", len(value)) + value
    return where + vr.encode() + struct.pack(f"{order}H", len(value)) + value


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_the_corrected_element_goes_out_and_no_other_byte_changes(archive: RunningArchive, syntax: str) -> None:
    ct1 = archive.admit("CT1", sees_all=True)
    original = encoded(slice_of(), syntax)
    ct1.store(original, CT, OBJECT, syntax)
    edit("PATIENT", patient(), {"PatientName": [{"Alphabetic": "Chikomba^Rudo"}]})
    edit("STUDY", STUDY, {"StudyDate": ["20260106"], "StudyDescription": []})
    expected = original
    for tag, vr, before, after in (
        ("00100010", "PN", b"Chikomba^Rutendo", b"Chikomba^Rudo "),
        ("00080020", "DA", b"20260105", b"20260106"),
        ("00081030", "LO", b"CHEST ", b""),
    ):
        assert expected.count(element(tag, vr, before, syntax)) == 1
        expected = expected.replace(element(tag, vr, before, syntax), element(tag, vr, after, syntax))
    assert given(ct1, syntax) == expected


def test_a_deflated_object_is_corrected_too(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1", sees_all=True)
    plain = encoded(slice_of())
    packer = zlib.compressobj(wbits=-15)
    ct1.store(packer.compress(plain) + packer.flush(), CT, OBJECT, DEFLATED)
    edit("STUDY", STUDY, {"StudyDate": ["20260106"]})
    inflated = zlib.decompressobj(wbits=-15).decompress(given(ct1, DEFLATED))
    assert inflated == plain.replace(b"DA\x08\x0020260105", b"DA\x08\x0020260106", 1)


@pytest.mark.dcmtk
def test_a_destination_is_sent_the_corrected_object(archive: RunningArchive, ct1: Caller, tmp_path: Path) -> None:
    edit("PATIENT", patient(), {"PatientSex": ["M"]})
    with archive.storescp("VIEW1", tmp_path) as received:
        ct1.move("STUDY", "VIEW1", StudyInstanceUID=STUDY)
        assert received() == {OBJECT: encoded(slice_of(PatientSex="M"))}


def test_the_stored_file_does_not_change(ct1: Caller) -> None:
    before = stored()
    made = edit("PATIENT", patient(), {"PatientName": ["Chikomba^Rudo"]})
    given(ct1)
    assert stored() == before
    correct.undo(made, actor="rutendo")
    assert stored() == before
    assert verify().clean


def test_undo_gives_back_the_original_to_the_bit_and_the_index_as_it_was(ct1: Caller) -> None:
    before = index()
    made = edit("PATIENT", patient(), {"PatientName": ["Moyo^Tariro"], "PatientSex": [], "EthnicGroup": ["x"]})
    assert index() != before
    assert given(ct1) != encoded(slice_of())
    correct.undo(made, actor="rutendo")
    assert given(ct1) == encoded(slice_of())
    assert index() == before


def test_queries_answer_what_retrieves_give(ct1: Caller) -> None:
    edit("PATIENT", patient(), {"PatientName": ["Müller^Änne"], "PatientBirthDate": ["19800101"]})
    edit("STUDY", STUDY, {"StudyTime": ["1015"], "AccessionNumber": ["B-12"], "ReferringPhysicianName": ["Dube^Tino"]})
    edit("SERIES", SERIES, {"Modality": ["MR"], "SeriesNumber": [12], "BodyPartExamined": ["HAND"]})
    edit("IMAGE", OBJECT, {"InstanceNumber": [41], "ImageComments": ["turned"]})

    assert not ct1.find("STUDY", PatientName="CHIKOMBA*")
    assert not ct1.find("STUDY", AccessionNumber="A-77")
    assert not ct1.find("STUDY", ModalitiesInStudy="CT")
    [study] = ct1.find(
        "STUDY",
        PatientName="muller^*",
        PatientBirthDate="19791231-19800102",
        StudyTime="101500-101600",
        AccessionNumber="B-12",
        ReferringPhysicianName="dube^tino",
        ModalitiesInStudy="MR",
        StudyInstanceUID="",
    )
    assert (study.PatientName, study.PatientBirthDate, study.StudyTime) == ("Müller^Änne", "19800101", "1015")
    [series] = ct1.find("SERIES", StudyInstanceUID=STUDY, SeriesNumber="12", BodyPartExamined="HAND", Modality="")
    assert (series.Modality, series.SeriesNumber) == ("MR", 12)
    [found] = ct1.find("IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, InstanceNumber="41", ImageComments="")
    assert found.ImageComments == "turned"

    got = dcmread(BytesIO(given(ct1)), force=True)
    assert (got.PatientName, got.Modality, got.InstanceNumber) == ("Müller^Änne", "MR", 41)


def test_a_misheard_name_is_found_by_its_sound_after_a_correction_and_no_more_after_undo(ct1: Caller) -> None:
    def sounds_like(name: str) -> int:
        return len(ct1.find("STUDY", PatientName=name, StudyInstanceUID="", extended=b"\x00\x00\x01"))

    made = edit("PATIENT", patient(), {"PatientName": ["Smith^Philip"]})
    assert (sounds_like("smyth filip"), sounds_like("chikomba")) == (1, 0)
    correct.undo(made, actor="rutendo")
    assert (sounds_like("smyth filip"), sounds_like("chikomba")) == (0, 1)


def test_a_corrected_sequence_is_matched_and_restored(ct1: Caller) -> None:
    def requested(number: str) -> int:
        item = Dataset()
        item.RequestedProcedureID = number
        return len(ct1.find("SERIES", StudyInstanceUID=STUDY, RequestAttributesSequence=[item]))

    before = index()
    item = {"00401001": {"vr": "SH", "Value": ["RP-2"]}}
    made = edit("SERIES", SERIES, {"RequestAttributesSequence": [item]})
    assert (requested("RP-1"), requested("RP-2")) == (0, 1)
    correct.undo(made, actor="rutendo")
    assert (requested("RP-1"), requested("RP-2")) == (1, 0)
    assert index() == before


def test_an_element_that_queries_do_not_know_is_corrected_at_any_level(ct1: Caller) -> None:
    before = index()
    edit("STUDY", STUDY, {"WindowCenter": [40, 400]})
    edit("IMAGE", OBJECT, {"WindowCenter": [50]})
    assert given(ct1) == encoded(slice_of(WindowCenter="50"))
    assert index() == before


def test_an_element_can_be_left_out(ct1: Caller) -> None:
    edit("STUDY", STUDY, {"StudyDescription": None})
    assert given(ct1) == encoded(slice_of(StudyDescription=None))
    assert ct1.find("STUDY", StudyInstanceUID=STUDY, StudyDescription="")[0].StudyDescription == ""


def test_a_correction_holds_for_objects_that_come_later(ct1: Caller) -> None:
    edit("PATIENT", patient(), {"PatientSex": ["M"]})
    ct1.store(encoded(slice_of(SOPInstanceUID="1.2.826.77.9")), CT, "1.2.826.77.9")
    assert given(ct1, uid="1.2.826.77.9") == encoded(slice_of(SOPInstanceUID="1.2.826.77.9", PatientSex="M"))


def test_what_was_emptied_on_purpose_is_not_filled_by_a_later_study(ct1: Caller) -> None:
    edit("PATIENT", patient(), {"PatientSex": [], "PatientName": []})
    later = {"StudyInstanceUID": "1.2.826.78", "SeriesInstanceUID": "1.2.826.78.1", "SOPInstanceUID": "1.2.826.78.2"}
    ct1.store(encoded(slice_of(**later)), CT, later["SOPInstanceUID"])
    found = ct1.find("STUDY", StudyInstanceUID="1.2.826.78", PatientName="", PatientSex="")
    assert [(str(one.PatientName), one.PatientSex) for one in found] == [("", "")]
    assert not NameWord.objects.exists()


def _random_changes(luck: random.Random) -> tuple[str, dict[str, Any]]:
    names = ["Moyo^Tariro", "Müller^Änne", "Yamada^Tarou=山田^太郎=やまだ^たろう"]
    code = {"00080100": {"vr": "SH", "Value": [f"C{luck.randrange(3)}"]}}
    choices: dict[str, dict[str, list[Any]]] = {
        "PATIENT": {"PatientName": names, "PatientSex": ["M", "O"], "EthnicGroup": ["x", "y"]},
        "STUDY": {"StudyDate": ["20200101", "20210101"], "StudyTime": ["10", "1130"], "ProcedureCodeSequence": [code]},
        "SERIES": {"Modality": ["MR", "US"], "SeriesNumber": [1, 2], "ProtocolName": ["p", "q"]},
        "IMAGE": {"InstanceNumber": [1, 2], "ContentLabel": ["DERIVED", "FIRST"], "ImageComments": ["a", "b"]},
    }
    level = luck.choice(sorted(choices))
    keywords = luck.sample(sorted(choices[level]), luck.randint(1, 2))
    return level, {keyword: luck.choice([[], [luck.choice(choices[level][keyword])]]) for keyword in keywords}


@pytest.mark.parametrize("seed", range(4))
def test_corrections_are_taken_back_in_any_order(ct1: Caller, seed: int) -> None:
    luck = random.Random(seed)
    untouched = index()
    uids = {"PATIENT": patient(), "STUDY": STUDY, "SERIES": SERIES, "IMAGE": OBJECT}
    made = []
    for _ in range(12):
        level, changes = _random_changes(luck)
        made.append((edit(level, uids[level], changes), level, changes))
    while made:
        correction, _, _ = made.pop(luck.randrange(len(made)))
        correct.undo(correction, actor="rutendo")
        # The index is what it would be if only those in force had ever been made, in their order.
        assert _rows_for(made, uids, untouched) == index()
    assert index() == untouched
    assert given(ct1) == encoded(slice_of())


def _rows_for(made: list[tuple[int, str, dict[str, Any]]], uids: dict[str, str], untouched: Any) -> Any:
    """What the index says when these corrections are made on an untouched archive; leaves everything as it is."""
    with transaction.atomic():
        for correction in Correction.objects.filter(undone_at=None).order_by("pk"):
            correct.undo(correction.pk, actor="rutendo")
        assert index() == untouched
        for _, level, changes in made:
            edit(level, uids[level], changes)
        found = index()
        transaction.set_rollback(True)
    return found


def store_another(caller: Caller, number: int, **elements: Any) -> str:
    """Stores a further study of the same patient number; returns its UID."""
    uid = f"1.2.826.78.{number}"
    told = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.1.1", **elements}
    assert caller.store(encoded(slice_of(**told)), CT, f"{uid}.1.1")[0] == 0x0000
    return uid


def named(caller: Caller, uid: str) -> tuple[str, str]:
    [found] = caller.find("STUDY", StudyInstanceUID=uid, PatientName="", PatientSex="")
    got = dcmread(BytesIO(given(caller, uid=OBJECT if uid == STUDY else f"{uid}.1.1")), force=True)
    assert (found.PatientName, found.PatientSex) == (got.PatientName, got.PatientSex)
    return str(found.PatientName), found.PatientSex


def test_a_patient_s_correction_is_one_of_all_their_studies_and_undo_gives_each_its_own_back(ct1: Caller) -> None:
    other = store_another(ct1, 1, PatientName="Sibanda^Nomsa", PatientSex="F")
    before = index()
    made = edit("PATIENT", patient(), {"PatientName": ["Moyo^Tariro"]})
    late = store_another(ct1, 2, PatientName="Dube^Themba", PatientSex="M")
    assert [named(ct1, uid) for uid in (STUDY, other, late)] == [("Moyo^Tariro", sex) for sex in ("F", "F", "M")]
    assert len(ct1.find("STUDY", PatientName="moyo*")) == 3
    assert not ct1.find("STUDY", PatientName="sibanda*")
    correct.undo(made, actor="rutendo")
    assert named(ct1, late) == ("Dube^Themba", "M")
    assert [named(ct1, uid)[0] for uid in (STUDY, other)] == ["Chikomba^Rutendo", "Sibanda^Nomsa"]
    assert index()["Patient"] == before["Patient"]


@pytest.mark.parametrize("seed", range(4))
def test_studies_come_between_corrections_that_are_taken_back_in_any_order(ct1: Caller, seed: int) -> None:
    luck = random.Random(seed)
    came = {STUDY: ("Chikomba^Rutendo", "F")}
    made: list[tuple[int, dict[str, Any]]] = []
    for number in range(14):
        act = luck.choice(["comes", "edit", "edit", "undo"])
        if act == "comes":
            name, sex = luck.choice(["Dube^Themba", "Sibanda^Nomsa", ""]), luck.choice(["M", "F", ""])
            came[store_another(ct1, number, PatientName=name, PatientSex=sex)] = (name, sex)
        elif act == "edit":
            changes = luck.choice(
                [{"PatientName": ["Moyo^Tariro"]}, {"PatientSex": ["O"]}, {"PatientName": [], "PatientSex": ["M"]}]
            )
            made.append((edit("PATIENT", patient(), changes), changes))
        elif made:
            correct.undo(made.pop(luck.randrange(len(made)))[0], actor="rutendo")
        for uid, (name, sex) in came.items():
            for _, changes in made:
                name = next(iter(changes.get("PatientName", [name])), "")
                sex = next(iter(changes.get("PatientSex", [sex])), "")
            assert named(ct1, uid) == (name, sex)


REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("STUDY", "1.2.999", {"StudyDescription": ["x"]}),
    ("PATIENT", "0", {"PatientSex": ["M"]}),
    ("PATIENT", "E-0001", {"PatientSex": ["M"]}),
    ("PATIENT", "9" * 30, {"PatientSex": ["M"]}),
    ("FRAME", OBJECT, {"ImageComments": ["x"]}),
    ("STUDY", STUDY, {}),
    ("STUDY", STUDY, {"StudyInstanceUID": ["1.2.3"]}),
    ("SERIES", SERIES, {"SeriesInstanceUID": ["1.2.3"]}),
    ("IMAGE", OBJECT, {"SOPInstanceUID": ["1.2.3"]}),
    ("IMAGE", OBJECT, {"SOPClassUID": [CT]}),
    ("STUDY", STUDY, {"PatientID": ["1"]}),
    ("STUDY", STUDY, {"IssuerOfPatientID": ["1"]}),
    ("STUDY", STUDY, {"PatientName": ["Moyo^Tariro"]}),
    ("SERIES", SERIES, {"StudyDate": ["20260101"]}),
    ("STUDY", STUDY, {"NumberOfStudyRelatedInstances": ["3"]}),
    ("IMAGE", OBJECT, {"Rows": [9]}),
    ("IMAGE", OBJECT, {"PixelData": ["x"]}),
    ("IMAGE", OBJECT, {"SpecificCharacterSet": ["ISO_IR 192"]}),
    ("STUDY", STUDY, {"StudyDate": ["yesterday"]}),
    ("STUDY", STUDY, {"StudyDate": ["20260230"]}),
    ("STUDY", STUDY, {"StudyDate": ["20260101-20260102"]}),
    ("STUDY", STUDY, {"StudyTime": ["2561"]}),
    ("STUDY", STUDY, {"StudyDate": ["20260101", "20260102"]}),
    ("STUDY", STUDY, {"StudyDate": "20260101"}),
    ("STUDY", STUDY, {"StudyDescription": ["x" * 65]}),
    ("STUDY", STUDY, {"StudyDescription": ["a\\b"]}),
    ("STUDY", STUDY, {"StudyDescription": ["a\nb"]}),
    ("STUDY", STUDY, {"StudyDescription": [7]}),
    ("SERIES", SERIES, {"Modality": ["ct"]}),
    ("SERIES", SERIES, {"SeriesNumber": ["first"]}),
    ("SERIES", SERIES, {"RequestAttributesSequence": ["RP-1"]}),
    ("SERIES", SERIES, {"RequestAttributesSequence": [{"00401001": {"vr": "PN", "Value": ["x"]}}]}),
    ("PATIENT", "", {"PatientName": ["a=b=c=d"]}),
]


@pytest.mark.parametrize(("level", "uid", "changes"), REFUSED)
def test_it_refuses_what_cannot_be_corrected_and_quotes_no_value(
    ct1: Caller, level: str, uid: str, changes: dict[str, Any]
) -> None:
    before = index()
    with pytest.raises(Refused) as refusal:
        edit(level, uid or patient(), changes)
    values = [value for new in changes.values() for value in new if isinstance(value, str) and len(value) > 1]
    assert not any(value in str(refusal.value) for value in values)
    assert index() == before
    assert not Correction.objects.exists()


def test_private_elements_and_giants_are_refused(ct1: Caller) -> None:
    for changes in ({0x00091001: ["x"]}, {0x00091001: []}, {tag_of("TextValue"): ["x" * 70_000]}):
        with pytest.raises(Refused):
            correct.edit("IMAGE", OBJECT, changes, reason="r", actor="rutendo")
    with pytest.raises(Refused):
        correct.edit("STUDY", STUDY, {STUDY_DATE: ["20260101"]}, reason=" ", actor="rutendo")


def test_a_correction_is_taken_back_once(ct1: Caller) -> None:
    made = edit("STUDY", STUDY, {"StudyDate": ["20260106"]})
    correct.undo(made, actor="rutendo")
    for correction in (made, made + 1000):
        with pytest.raises(Refused):
            correct.undo(correction, actor="rutendo")


def test_who_corrected_what_and_who_took_it_back_is_in_the_audit(ct1: Caller) -> None:
    made = edit("IMAGE", OBJECT, {"ImageComments": ["turned"]})
    correct.undo(made, actor="farai")
    events = Event.objects.filter(action="U").order_by("pk")
    assert [(event.actor, event.patient_id, event.study_uid, event.object_uid) for event in events] == [
        ("rutendo", "E-0001", STUDY, OBJECT),
        ("farai", "E-0001", STUDY, OBJECT),
    ]
    assert [event.detail["elements"] for event in events] == [["00204000"]] * 2
    row = Correction.objects.get()
    assert (row.actor, row.undone_by, row.undone_at is not None) == ("rutendo", "farai", True)


@contextmanager
def no_audit() -> Iterator[None]:
    """The audit cannot be written."""
    table = Event._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO gone")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE gone RENAME TO {table}")


def test_without_its_audit_row_nothing_is_corrected_and_nothing_taken_back(ct1: Caller) -> None:
    def attempt(act: Callable[[], Any]) -> None:
        before = index(), list(Correction.objects.values())
        with no_audit(), pytest.raises(DatabaseError):
            act()
        assert (index(), list(Correction.objects.values())) == before

    number = patient()
    attempt(lambda: edit("PATIENT", number, {"PatientName": ["Moyo^Tariro"]}))
    made = edit("PATIENT", number, {"PatientName": ["Moyo^Tariro"]})
    attempt(lambda: correct.undo(made, actor="rutendo"))
