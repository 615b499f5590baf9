"""What cannot be given is told, and what can be is given: damaged files, receivers that break the rules, odd names."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from hozi.archive import fetch
from hozi.archive.models import StoredObject
from hozi.core.errors import Unreadable
from hozi.doors.dimse import suboperations
from hozi.settings import HOZI
from tests.archive_running import PATIENT_ROOT, Caller, RunningArchive
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
    assert ct1.store(encoded(image()), CT, "1.2.3") != (0, "")  # the UID is another one: only to have something here
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
