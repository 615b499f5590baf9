"""Storage commitment: asked, kept in the database, and reported on an association of the archive's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.utils import timezone
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]  # made at import

from hozi.archive.exceptions import Reason, open_cases
from hozi.doors.dimse import commitment  # noqa: F401 - registers the job that reports
from hozi.facilities import places
from hozi.jobs import worker
from hozi.jobs.models import Job
from tests.archive_running import Caller, RunningArchive
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image

INSTANCE = "1.2.840.10008.1.20.1.1"
SUCCESS = 0x0000
NO_SUCH_OBJECT = 0x0112


class Listening:
    """A scanner that waits for reports."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, Dataset]] = []
        self.arrived = threading.Event()

    def keep(self, event: evt.Event) -> tuple[int, None]:
        self.reports.append((event.request.EventTypeID, event.event_information))
        self.arrived.set()
        return SUCCESS, None


@contextmanager
def listening(port: int = 0) -> Iterator[tuple[Listening, int]]:
    scanner = Listening()
    ae = AE(ae_title="CT1")
    # The archive reports as the SCP, so the scanner takes the role of the SCU (PS3.4 J.3.3).
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, scanner.keep)])
    try:
        yield scanner, server.socket.getsockname()[1]
    finally:
        server.shutdown()


def commitment_of(references: list[tuple[str, str]], transaction: str | None = None) -> Dataset:
    """What an N-ACTION asks about these (SOP class, SOP instance)."""
    information = Dataset()
    information.TransactionUID = transaction or generate_uid()
    items = []
    for sop_class, uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        items.append(item)
    information.ReferencedSOPSequence = Sequence(items)
    return information


def ask(caller: Caller, references: list[tuple[str, str]], transaction: str | None = None, **changes: object) -> int:
    """N-ACTION for these objects; its status."""
    information = commitment_of(references, transaction)
    for keyword, value in changes.items():
        setattr(information, keyword, value)
    with caller.associated((StorageCommitmentPushModel, [EXPLICIT])) as association:
        status, _ = association.send_n_action(information, 1, StorageCommitmentPushModel, INSTANCE)
    return int(status.Status)


def stored(caller: Caller) -> tuple[str, str]:
    dataset = image()
    assert caller.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == SUCCESS
    return CT, str(dataset.SOPInstanceUID)


def due_now() -> None:
    Job.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def test_what_is_stored_is_committed(archive: RunningArchive) -> None:
    with listening() as (scanner, port):
        ct1 = archive.admit("CT1", port=port)
        held = [stored(ct1), stored(ct1)]
        transaction = generate_uid()
        assert ask(ct1, held, transaction) == SUCCESS
        assert worker.work_once("test")
        assert scanner.arrived.wait(30)
    [(kind, report)] = scanner.reports
    assert (kind, report.TransactionUID) == (1, transaction)
    told = [(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in report.ReferencedSOPSequence]
    assert told == held
    assert "FailedSOPSequence" not in report


def test_e56_what_is_missing_is_waited_for_and_then_reported(
    archive: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hozi.archive import commitment as asked
    from hozi.settings import HOZI

    with listening() as (scanner, port):
        ct1 = archive.admit("CT1", port=port)
        held, missing, wrong = stored(ct1), (CT, generate_uid()), stored(ct1)
        other = ("1.2.840.10008.5.1.4.1.1.4", wrong[1])
        assert ask(ct1, [held, missing, other]) == SUCCESS
        worker.work_once("test")
        assert scanner.reports == []
        assert Job.objects.get().state == Job.State.WAITING
        monkeypatch.setattr(asked, "HOZI", HOZI.model_copy(update={"commitment_wait_minutes": 0.0}))
        due_now()
        assert worker.work_once("test")
        assert scanner.arrived.wait(30)
    [(kind, report)] = scanner.reports
    assert kind == 2
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [held[1]]
    failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in report.FailedSOPSequence}
    assert failed == {missing[1]: 0x0112, wrong[1]: 0x0119}


def test_an_absent_requester_is_told_when_it_is_back(archive: RunningArchive) -> None:
    with listening() as (_, port):
        pass  # the port is free again: nobody listens there
    ct1 = archive.admit("CT1", port=port)
    assert ask(ct1, [stored(ct1)]) == SUCCESS
    worker.work_once("test")
    job = Job.objects.get()
    assert (job.state, job.attempts) == (Job.State.WAITING, 1)
    with listening(port) as (scanner, _):
        due_now()
        assert worker.work_once("test")
        assert scanner.arrived.wait(30)
    assert Job.objects.get().state == Job.State.DONE
    assert len(scanner.reports) == 1


def test_an_object_whose_file_is_gone_is_not_committed(archive: RunningArchive) -> None:
    from hozi.settings import HOZI

    with listening() as (scanner, port):
        ct1 = archive.admit("CT1", port=port)
        held = stored(ct1)
        for path in (HOZI.storage / "objects").rglob("*.dcm"):
            path.unlink()
        assert ask(ct1, [held]) == SUCCESS
        assert worker.work_once("test")
        assert scanner.arrived.wait(30)
    [(kind, report)] = scanner.reports
    assert (kind, report.FailedSOPSequence[0].FailureReason) == (2, 0x0110)


def test_requests_that_cannot_be_answered_are_refused(archive: RunningArchive) -> None:
    deaf = archive.admit("CT2")
    with listening() as (_, port):
        ct1 = archive.admit("CT1", port=port)
        held = stored(ct1)
        assert ask(deaf, [held]) == 0x0115  # no port: a report could never be sent
        assert ask(ct1, []) == 0x0115
        assert ask(ct1, [held], TransactionUID="") == 0x0115
    assert not Job.objects.exists()


# Whose it is ------------------------------------------------------------------------------------------

#: Both facilities know the patient by a number that neither of them has given.
SHARED = {"IssuerOfPatientID": "COUNTRY"}


def reported(ct: Caller, references: list[tuple[str, str]], scanner: Listening) -> tuple[set[str], dict[str, int]]:
    """Asks, waits for the report, and returns what it says: the safe ones, and the others with the reason."""
    scanner.arrived.clear()
    assert ask(ct, references) == SUCCESS
    assert worker.work_once("test")
    assert scanner.arrived.wait(30)
    _, report = scanner.reports[-1]
    safe = {str(item.ReferencedSOPInstanceUID) for item in report.get("ReferencedSOPSequence", ())}
    failed = {
        str(item.ReferencedSOPInstanceUID): int(item.FailureReason) for item in report.get("FailedSOPSequence", ())
    }
    return safe, failed


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is reported at once."""
    from hozi.archive import commitment as asked
    from hozi.settings import HOZI

    monkeypatch.setattr(asked, "HOZI", HOZI.model_copy(update={"commitment_wait_minutes": 0.0}))


@pytest.mark.usefixtures("impatient")
def test_another_facilitys_object_is_committed_to_whoever_brought_it_and_unknown_to_others(
    archive: RunningArchive,
) -> None:
    """A device must not learn what other hospitals hold; but what it has sent itself, it may delete."""
    places.add("NORTH", "Northern hospital", actor="test")
    owner = archive.admit("CT1", facility="MAIN")
    theirs, shared = stored(owner), image(**SHARED)
    with listening() as (scanner, port):
        guest = archive.admit("GUEST", facility="NORTH", port=port)
        assert reported(guest, [theirs], scanner) == (set(), {theirs[1]: NO_SUCH_OBJECT})
        all_seeing = archive.admit("VIEWER", facility="NORTH", port=port, sees_all=True)
        assert reported(all_seeing, [theirs], scanner) == ({theirs[1]}, {})

        assert owner.store(encoded(shared), CT, shared.SOPInstanceUID)[0] == SUCCESS
        uid = str(shared.SOPInstanceUID)
        assert reported(guest, [(CT, uid)], scanner) == (set(), {uid: NO_SUCH_OBJECT})
        # Brought again, by the guest: nothing is added, but it was told success.
        assert guest.store(encoded(shared), CT, uid)[0] == SUCCESS
        assert reported(guest, [(CT, uid), theirs], scanner) == ({uid}, {theirs[1]: NO_SUCH_OBJECT})


@pytest.mark.usefixtures("impatient")
def test_an_object_that_a_device_adds_to_another_facilitys_study_is_committed_to_it(archive: RunningArchive) -> None:
    places.add("NORTH", "Northern hospital", actor="test")
    owner, first = archive.admit("CT1", facility="MAIN"), image(**SHARED)
    assert owner.store(encoded(first), CT, first.SOPInstanceUID)[0] == SUCCESS
    with listening() as (scanner, port):
        guest = archive.admit("GUEST", facility="NORTH", port=port)
        added = image(StudyInstanceUID=first.StudyInstanceUID, **SHARED)
        assert guest.store(encoded(added), CT, added.SOPInstanceUID) == (SUCCESS, "")
        mine, theirs = str(added.SOPInstanceUID), str(first.SOPInstanceUID)
        assert reported(guest, [(CT, mine), (CT, theirs)], scanner) == ({mine}, {theirs: NO_SUCH_OBJECT})
    [case] = open_cases()
    assert (case.reason, case.quarantined, case.count) == (Reason.STUDY_OF_OTHER_FACILITY, False, 1)


@pytest.mark.usefixtures("impatient")
def test_what_went_to_quarantine_was_not_brought(archive: RunningArchive) -> None:
    """Other content under a UID of another facility: the device hears of no such object, and keeps its own."""
    places.add("NORTH", "Northern hospital", actor="test")
    owner, first = archive.admit("CT1", facility="MAIN"), image(**SHARED)
    assert owner.store(encoded(first), CT, first.SOPInstanceUID)[0] == SUCCESS
    with listening() as (scanner, port):
        guest = archive.admit("GUEST", facility="NORTH", port=port)
        uid = str(first.SOPInstanceUID)
        other = image(SOPInstanceUID=uid, StudyInstanceUID=first.StudyInstanceUID, PatientSex="M", **SHARED)
        assert guest.store(encoded(other), CT, uid)[0] == 0xB000
        assert reported(guest, [(CT, uid)], scanner) == (set(), {uid: NO_SUCH_OBJECT})
