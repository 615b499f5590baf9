"""What cannot be given is told, and what can be is given: damaged files, receivers that break the rules, odd names."""

from __future__ import annotations

import errno
import io
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import build_role, evt

from hozi.archive import fetch
from hozi.archive.models import StoredObject
from hozi.audit.models import Event
from hozi.audit.record import Outcome
from hozi.core.errors import Unreadable
from hozi.core.storage import FolderVolume
from hozi.doors.dimse import suboperations
from hozi.settings import HOZI
from tests.archive_running import PATIENT_ROOT, STUDY_ROOT, Caller, Fetched, RunningArchive, identifier
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image

CONTEXTS = [(CT, [EXPLICIT])]
PARTLY, MISMATCH = 0xB000, 0xA900


def four(caller: Caller) -> tuple[str, dict[str, bytes]]:
    """A stored study of four objects: its UID, and the datasets by SOP Instance UID."""
    study, series = generate_uid(), generate_uid()
    sent = {}
    for number in range(4):
        dataset = image(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number)
        sent[str(dataset.SOPInstanceUID)] = encoded(dataset)
        assert caller.store(sent[str(dataset.SOPInstanceUID)], CT, dataset.SOPInstanceUID)[0] == 0
    return study, sent


def file_of(uid: str) -> Path:
    return HOZI.storage / "objects" / StoredObject.objects.get(instance__uid=uid).key


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 20)


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def check_final(final: Dataset, rest: Dataset | None, failed: str) -> None:
    counts = (final.NumberOfCompletedSuboperations, final.NumberOfFailedSuboperations)
    assert (final.Status, counts) == (PARTLY, (3, 1))
    assert rest is not None
    assert [str(uid) for uid in [rest.FailedSOPInstanceUIDList]] == [failed]


@pytest.mark.parametrize("damage", [cut, Path.unlink, replace_by_a_folder])
def test_one_damaged_file_is_named_and_the_others_arrive(
    archive: RunningArchive, damage: Callable[[Path], None]
) -> None:
    ct1 = archive.admit("CT1")
    study, sent = four(ct1)
    bad = list(sent)[1]
    damage(file_of(bad))
    good = {uid: data for uid, data in sent.items() if uid != bad}

    got = ct1.get("STUDY", StudyInstanceUID=study, classes=CONTEXTS)
    assert got.objects == good
    check_final(*got.responses[-1], bad)
    with archive.destination("VIEW1", CONTEXTS) as moved:
        check_final(*ct1.move("STUDY", "VIEW1", StudyInstanceUID=study)[-1], bad)
    assert moved.objects == good


def test_an_object_that_breaks_off_in_its_middle_fails_and_a_move_goes_on(
    archive: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1 = archive.admit("CT1")
    study, sent = four(ct1)
    bad = list(sent)[1]
    key = StoredObject.objects.get(instance__uid=bad).key
    whole = fetch.Holding.send_as

    def send_as(self: fetch.Holding, syntax: str) -> Any:
        pieces = whole(self, syntax)
        return half(pieces) if self._key == key else pieces

    def half(pieces: Any) -> Any:
        yield bytes(next(pieces))[:100]
        raise Unreadable("the disk gave up")

    monkeypatch.setattr(fetch.Holding, "send_as", send_as)
    with archive.destination("VIEW1", CONTEXTS) as moved:
        check_final(*ct1.move("STUDY", "VIEW1", StudyInstanceUID=study)[-1], bad)
    assert moved.objects == {uid: data for uid, data in sent.items() if uid != bad}
    # Over the requester's own association nothing can follow half an object: it is aborted, and no half one arrives.
    got = ct1.get("STUDY", StudyInstanceUID=study, classes=CONTEXTS)
    assert "Status" not in got.responses[-1][0]
    assert got.objects == {uid: sent[uid] for uid in list(sent)[:1]}


def test_a_destination_that_speaks_something_else_fails_and_the_requester_is_told(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1")
    study, sent = four(ct1)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        archive.admit("VIEW1", port=server.getsockname()[1])
        final, rest = ct1.move("STUDY", "VIEW1", StudyInstanceUID=study)[-1]
        thread.join()
    assert final.Status == 0xA702
    assert final.NumberOfFailedSuboperations == 4
    assert set(rest.FailedSOPInstanceUIDList) == set(sent)


def test_counts_that_do_not_fit_are_sent_as_the_largest_that_do(
    archive: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1 = archive.admit("CT1")
    study, sent = four(ct1)
    monkeypatch.setattr(suboperations, "_PENDING_SECONDS", 0.0)
    start = suboperations.Progress.__init__

    def many(self: Any, session: Any, message: Any, remaining: int) -> None:
        start(self, session, message, remaining + 100_000)

    monkeypatch.setattr(suboperations.Progress, "__init__", many)
    got = ct1.get("STUDY", StudyInstanceUID=study, classes=CONTEXTS)
    assert got.objects == sent
    assert got.responses[0][0].NumberOfRemainingSuboperations == 0xFFFF


def test_what_arrives_during_a_retrieve_is_not_a_part_of_it(
    archive: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1 = archive.admit("CT1")
    study, sent = four(ct1)
    monkeypatch.setattr(fetch, "_PAGE", 1)
    monkeypatch.setattr(suboperations, "_PENDING_SECONDS", 0.0)
    came: list[str] = []

    def take(event: Any) -> int:
        came.append(str(event.request.AffectedSOPInstanceUID))
        late = image(StudyInstanceUID=study)
        assert ct1.store(encoded(late), CT, late.SOPInstanceUID)[0] == 0
        return 0x0000

    with archive.destination("VIEW1", CONTEXTS, take):
        responses = ct1.move("STUDY", "VIEW1", StudyInstanceUID=study)
    assert came == list(sent)
    assert responses[-1][0].Status == 0x0000
    assert [one.NumberOfRemainingSuboperations for one, _ in responses[:-1]] == [3, 2, 1]


@pytest.mark.parametrize(
    ("root", "level", "names"),
    [
        (None, "IMAGE", {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "SOPInstanceUID": ""}),
        (None, "SERIES", {"StudyInstanceUID": "1.2.3"}),
        (None, "PATIENT", {"PatientID": "E-0001"}),
        (PATIENT_ROOT, "PATIENT", {"StudyInstanceUID": "1.2.3"}),
    ],
)
def test_a_retrieve_that_names_nothing_of_its_level_is_refused(
    archive: RunningArchive, root: Any, level: str, names: dict[str, str]
) -> None:
    ct1 = archive.admit("CT1")
    dataset = image(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4")
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    got = ct1.get(level, classes=CONTEXTS, **({"root": root} if root else {}), **names)
    assert got.status == MISMATCH
    assert got.objects == {}


def test_a_number_that_two_issuers_gave_is_not_enough_for_a_retrieve(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1", sees_all=True)
    people = {}
    for issuer in ("NORTH", "SOUTH"):
        dataset = image(IssuerOfPatientID=issuer)
        people[issuer] = (str(dataset.SOPInstanceUID), encoded(dataset))
        assert ct1.store(people[issuer][1], CT, people[issuer][0])[0] == 0
    both = ct1.get("PATIENT", root=PATIENT_ROOT, classes=CONTEXTS, PatientID="E-0001")
    assert (both.status, both.objects) == (MISMATCH, {})
    assert "NORTH, SOUTH" in both.responses[-1][0].ErrorComment
    one = ct1.get("PATIENT", root=PATIENT_ROOT, classes=CONTEXTS, PatientID="E-0001", IssuerOfPatientID="SOUTH")
    assert one.objects == dict([people["SOUTH"]])


# Over one association, to receivers of both kinds ---------------------------------------------------


def link_to_itself(path: Path) -> None:
    """Whoever opens it gets an error that is not "there is no such file", whichever account they are."""
    path.unlink()
    path.symlink_to(path)


DAMAGES = pytest.mark.parametrize("damage", [cut, Path.unlink, replace_by_a_folder, link_to_itself])


def without(sent: dict[str, bytes], bad: str) -> dict[str, bytes]:
    return {uid: data for uid, data in sent.items() if uid != bad}


@pytest.mark.dcmtk
@pytest.mark.parametrize("place", [0, 3])
@DAMAGES
def test_a_move_names_the_damaged_file_and_its_association_goes_on(
    archive: RunningArchive, tmp_path: Path, damage: Callable[[Path], None], place: int
) -> None:
    ct1 = archive.admit("CT1")
    study, sent = four(ct1)
    whole_study, whole = four(ct1)
    bad = list(sent)[place]
    damage(file_of(bad))
    model = STUDY_ROOT["move"]
    with archive.storescp("VIEW1", tmp_path) as arrived, ct1.associated((model, [EXPLICIT])) as association:
        answers = list(association.send_c_move(identifier("STUDY", StudyInstanceUID=study), "VIEW1", model))
        check_final(*answers[-1], bad)
        assert arrived() == without(sent, bad)
        answers = list(association.send_c_move(identifier("STUDY", StudyInstanceUID=whole_study), "VIEW1", model))
        assert answers[-1][0].Status == 0x0000
        assert arrived() == without(sent, bad) | whole


@pytest.mark.parametrize("place", [0, 3])
@DAMAGES
def test_a_get_names_the_damaged_file_and_its_association_goes_on(
    archive: RunningArchive, damage: Callable[[Path], None], place: int
) -> None:
    ct1 = archive.admit("CT1")
    study, sent = four(ct1)
    whole_study, whole = four(ct1)
    bad = list(sent)[place]
    damage(file_of(bad))
    model, fetched = STUDY_ROOT["get"], Fetched()
    roles = [build_role(CT, scp_role=True)]
    handlers = [(evt.EVT_C_STORE, fetched.keep)]
    with ct1.associated((model, [EXPLICIT]), *CONTEXTS, ext_neg=roles, evt_handlers=handlers) as association:
        answers = list(association.send_c_get(identifier("STUDY", StudyInstanceUID=study), model))
        check_final(*answers[-1], bad)
        assert fetched.objects == without(sent, bad)
        answers = list(association.send_c_get(identifier("STUDY", StudyInstanceUID=whole_study), model))
        assert answers[-1][0].Status == 0x0000
    assert fetched.objects == without(sent, bad) | whole


# Files that are found to be damaged when half of them has gone out ----------------------------------


def refuse_to_read(file: Path, at: int) -> None:
    raise OSError(errno.EIO, "the disk gave up")


def lose_the_rest(file: Path, at: int) -> None:
    os.truncate(file, at)


def large_four(caller: Caller) -> tuple[str, dict[str, bytes]]:
    """As `four`, of objects that go out in many pieces and many PDUs."""
    study = generate_uid()
    sent = {}
    for number in range(4):
        dataset = image(StudyInstanceUID=study, InstanceNumber=number, Rows=512, Columns=512, PixelData=bytes(1 << 18))
        sent[str(dataset.SOPInstanceUID)] = encoded(dataset)
        assert caller.store(sent[str(dataset.SOPInstanceUID)], CT, dataset.SOPInstanceUID)[0] == 0
    return study, sent


def wear_out(bad: str, harm: Callable[[Path, int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, harm comes to that object's file each time when two pieces of it have been read."""
    key = StoredObject.objects.get(instance__uid=bad).key
    path = file_of(bad)
    stored = path.read_bytes()
    opened = FolderVolume.open

    class Worn(io.FileIO):
        pieces = 0

        def read(self, size: int | None = -1) -> Any:
            self.pieces += 1
            if self.pieces == 3:
                harm(path, self.tell())
            return super().read(-1 if size is None else size)

    def open_worn(self: FolderVolume, wanted: str) -> Any:
        if wanted != key:
            return opened(self, wanted)
        path.write_bytes(stored)
        return Worn(path)

    monkeypatch.setattr(fetch, "_PIECE", 1 << 16)
    monkeypatch.setattr(FolderVolume, "open", open_worn)


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("harm", [refuse_to_read, lose_the_rest])
def test_a_move_whose_disk_fails_in_the_middle_goes_on_over_a_new_association(
    archive: RunningArchive, harm: Callable[[Path, int], None], place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1 = archive.admit("CT1")
    study, sent = large_four(ct1)
    bad = list(sent)[place]
    wear_out(bad, harm, monkeypatch)
    kept, associations = Fetched(), []

    def keep(event: evt.Event) -> int:
        if event.assoc not in associations:
            associations.append(event.assoc)
        return kept.keep(event)

    with archive.destination("VIEW1", CONTEXTS, keep):
        check_final(*ct1.move("STUDY", "VIEW1", StudyInstanceUID=study)[-1], bad)
    assert kept.objects == without(sent, bad)
    assert len(associations) == (2 if place == 1 else 1)  # one before the broken object, one for what comes after it
    [row] = Event.objects.filter(detail__receiver="VIEW1", study_uid=study)
    assert (row.outcome, row.detail["sent"], row.detail["failed"]) == (Outcome.MINOR_FAILURE, 3, 1)


@pytest.mark.parametrize("harm", [refuse_to_read, lose_the_rest])
def test_a_get_whose_disk_fails_in_the_middle_is_aborted_and_half_an_object_is_not_taken_for_one(
    archive: RunningArchive, harm: Callable[[Path, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1 = archive.admit("CT1")
    study, sent = large_four(ct1)
    whole_study, whole = four(ct1)
    first, bad, *_ = sent
    wear_out(bad, harm, monkeypatch)
    got = ct1.get("STUDY", StudyInstanceUID=study, classes=CONTEXTS)
    assert got.objects == {first: sent[first]}
    assert "Status" not in got.responses[-1][0]  # the association was aborted before there was a final response
    assert ct1.get("STUDY", StudyInstanceUID=whole_study, classes=CONTEXTS).objects == whole
    archive.listener.stop(30)  # what is written after the abort has been written then
    [row] = Event.objects.filter(detail__receiver="CT1", study_uid=study)
    assert (row.outcome, row.detail["sent"], row.detail["failed"]) == (Outcome.MINOR_FAILURE, 1, 1)


# Receivers that end in the middle -------------------------------------------------------------------


def speak_http(event: evt.Event) -> None:
    event.assoc.dul.socket.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def abort(event: evt.Event) -> None:
    event.assoc.abort()


def hang_up(event: evt.Event) -> None:
    event.assoc.dul.socket.close()


@pytest.mark.parametrize("behave", [speak_http, abort, hang_up])
def test_a_destination_that_ends_in_the_middle_fails_the_rest_and_the_requester_is_told(
    archive: RunningArchive, behave: Callable[[evt.Event], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_PAGE", 1)
    ct1 = archive.admit("CT1")
    study, sent = four(ct1)
    kept = Fetched()

    def keep(event: evt.Event) -> int:
        late = image(StudyInstanceUID=study)
        assert ct1.store(encoded(late), CT, late.SOPInstanceUID)[0] == 0
        if len(kept.objects) == 1:
            behave(event)
            return 0x0110
        return kept.keep(event)

    with archive.destination("VIEW1", CONTEXTS, keep):
        final, rest = ct1.move("STUDY", "VIEW1", StudyInstanceUID=study)[-1]
    assert final.Status == PARTLY
    assert (final.NumberOfCompletedSuboperations, final.NumberOfFailedSuboperations) == (1, 3)
    assert final.ErrorComment == "VIEW1 ended the association"
    # What arrived meanwhile was not asked for, so it has not failed.
    assert list(rest.FailedSOPInstanceUIDList) == list(sent)[1:]
    assert kept.objects == {uid: sent[uid] for uid in list(sent)[:1]}


@pytest.mark.parametrize("count", ["completed", "warning"])
def test_final_counts_that_do_not_fit_are_sent_as_the_largest_that_do(
    archive: RunningArchive, count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1 = archive.admit("CT1")
    study, _ = four(ct1)
    start = suboperations.Progress.__init__

    def many(self: Any, *given: Any) -> None:
        start(self, *given)
        setattr(self, count, 0xFFFF)

    monkeypatch.setattr(suboperations.Progress, "__init__", many)
    with archive.destination("VIEW1", CONTEXTS, lambda event: 0x0000 if count == "completed" else 0xB000):
        final, _ = ct1.move("STUDY", "VIEW1", StudyInstanceUID=study)[-1]
    assert final[f"NumberOf{count.title()}Suboperations"].value == 0xFFFF
    assert final.NumberOfFailedSuboperations == 0


# The rules of what must be named hold for a move as they do for a get --------------------------------


@pytest.mark.parametrize(
    ("root", "level", "names"),
    [
        (STUDY_ROOT, "IMAGE", {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}),
        (STUDY_ROOT, "SERIES", {"StudyInstanceUID": "1.2.3"}),
        (STUDY_ROOT, "PATIENT", {"PatientID": "E-0001"}),
        (PATIENT_ROOT, "IMAGE", {"PatientID": "E-0001", "SOPInstanceUID": ""}),
        (PATIENT_ROOT, "PATIENT", {"StudyInstanceUID": "1.2.3"}),
        (PATIENT_ROOT, "", {"StudyInstanceUID": "1.2.3"}),
    ],
)
def test_a_move_that_names_nothing_of_its_level_is_refused(
    archive: RunningArchive, root: Any, level: str, names: dict[str, str]
) -> None:
    ct1 = archive.admit("CT1")
    dataset = image(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4")
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    with archive.destination("VIEW1", CONTEXTS) as moved:
        final, _ = ct1.move(level, "VIEW1", root=root, **names)[-1]
    assert (final.Status, moved.objects) == (MISMATCH, {})
    assert final.ErrorComment


def test_a_number_that_two_issuers_gave_is_not_enough_for_a_move(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1", sees_all=True)
    people = {}
    for issuer in ("NORTH", "SOUTH"):
        dataset = image(IssuerOfPatientID=issuer)
        people[issuer] = {str(dataset.SOPInstanceUID): encoded(dataset)}
        assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    with archive.destination("VIEW1", CONTEXTS) as moved:
        final, _ = ct1.move("PATIENT", "VIEW1", root=PATIENT_ROOT, PatientID="E-0001")[-1]
        assert (final.Status, moved.objects) == (MISMATCH, {})
        assert "say who issued it" in final.ErrorComment
        named = {"PatientID": "E-0001", "IssuerOfPatientID": "NORTH"}
        assert ct1.move("PATIENT", "VIEW1", root=PATIENT_ROOT, **named)[-1][0].Status == 0x0000
    assert moved.objects == people["NORTH"]
