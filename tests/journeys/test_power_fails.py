"""Story 3: the power fails in the middle. What the scanner was told is stored, is there; nothing is there twice."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, Association, build_role, evt
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelGet

from tests.archive_running import arriving
from tests.doors.cli.test_serve import Archive, wait_for

pytestmark = pytest.mark.database

SENDERS = 3
STUDY = generate_uid()
SERIES = [generate_uid() for _ in range(SENDERS + 1)]


@pytest.fixture
def archive(tmp_path: Path, own_database: str):
    archive = Archive(tmp_path / "home", own_database)
    yield archive
    for process in archive.processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def image(number: int, sender: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = STUDY
    dataset.SeriesInstanceUID = SERIES[sender]
    dataset.PatientID = "POWER-1"
    dataset.PatientName = "Moyo^Fadzai"
    dataset.Modality = "CT"
    dataset.InstanceNumber = number
    dataset.Rows = dataset.Columns = 128
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = os.urandom(128 * 128 * 2)
    return dataset


def send_until_it_dies(port: int, sender: int, acknowledged: dict[str, str], enough: threading.Event) -> None:
    """Sends images until the archive is gone; ``acknowledged`` gets the hash of each that was answered 0000."""
    ae = AE(ae_title="CT1")
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", port, ae_title="HOZI")
    # pynetdicom forgets the socket of a connection that was reset, without closing it.
    with closing(association.dul.socket.socket):
        _send(association, sender, acknowledged, enough)


def _send(association: Association, sender: int, acknowledged: dict[str, str], enough: threading.Event) -> None:
    number = 0
    while association.is_established:
        number += 1
        dataset = image(number, sender)
        try:
            status = association.send_c_store(dataset)
        except RuntimeError:  # it is gone
            return
        if status and status.Status == 0:
            acknowledged[dataset.SOPInstanceUID] = hashlib.sha256(encode(dataset, False, True) or b"").hexdigest()
        if len(acknowledged) >= 15:
            enough.set()


def fetched(port: int) -> dict[str, str]:
    """Hash of every object of the study, by SOP Instance UID, over C-GET."""
    got: dict[str, str] = {}

    def keep(event: evt.Event) -> int:
        assert event.request.AffectedSOPInstanceUID not in got
        got[event.request.AffectedSOPInstanceUID] = hashlib.sha256(event.request.DataSet.getvalue()).hexdigest()
        return 0

    ae = AE(ae_title="CT1")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate(
        "127.0.0.1",
        port,
        ae_title="HOZI",
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    )
    assert association.is_established
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = STUDY
    statuses = [status.Status for status, _ in association.send_c_get(query, StudyRootQueryRetrieveInformationModelGet)]
    association.release()
    assert statuses[-1] == 0
    return got


def test_it_keeps_every_acknowledged_image_when_the_power_fails(archive: Archive) -> None:
    assert archive.run("device", "add", "CT1", "--ae", "CT1", "--host", "127.0.0.1").returncode == 0
    process = archive.start("--only", "dimse")
    port = archive.ready("dimse")["port"]
    acknowledged: dict[str, str] = {}
    enough = threading.Event()
    senders = [
        threading.Thread(target=send_until_it_dies, args=(port, sender, acknowledged, enough))
        for sender in range(1, SENDERS + 1)
    ]
    for sender in senders:
        sender.start()
    assert enough.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for sender in senders:
        sender.join()

    (archive.home / "run" / "dimse.json").unlink()
    archive.start("--only", "dimse")
    port = archive.ready("dimse")["port"]
    got = wait_for(lambda: fetched(port))
    assert len(acknowledged) >= 15
    lost = {uid for uid, digest in acknowledged.items() if got.get(uid) != digest}
    assert lost == set()
    # At most the one that each sender had under way was taken in without an answer.
    assert len(got) <= len(acknowledged) + SENDERS
    verified = archive.run("verify", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["faults"] == []
    assert arriving(archive.home) == []
