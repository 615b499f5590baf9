"""`hozi serve` as people run it: a program that is started, called, killed and stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]  # made at import

from tests.doors.cli.conftest import program
from tests.doors.dimse.images import CT, EXPLICIT, image
from tests.doors.dimse.test_commitment import INSTANCE, commitment_of, listening
from tests.guards.rules import ROOT

pytestmark = pytest.mark.database

SECONDS = 60


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return answer


class Archive:
    """A home folder, and what runs on it."""

    def __init__(self, home: Path, database: str) -> None:
        self.home = home
        self.facts = {
            "HOZI_HOME": str(home),
            "HOZI_DATABASE_URL": database,
            "HOZI_DICOM_HOST": "127.0.0.1",
            "HOZI_DICOM_PORT": "0",
            "HOZI_HTTP_BIND": "127.0.0.1:0",
        }
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "hozi", "serve", *options],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.facts},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def ready(self, part: str) -> dict[str, Any]:
        """What the part said of itself when it was ready; waits for it."""

        def read() -> dict[str, Any] | None:
            try:
                facts: dict[str, Any] = json.loads((self.home / "run" / f"{part}.json").read_text())
            except (OSError, ValueError):
                return None
            return facts

        answer: dict[str, Any] = wait_for(read)
        return answer

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return program(*arguments, **self.facts)


@pytest.fixture
def archive(tmp_path: Path, own_database: str) -> Iterator[Archive]:
    archive = Archive(tmp_path / "home", own_database)
    yield archive
    for process in archive.processes:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=SECONDS)


def call(port: int) -> Any:
    """An association of CT1 with the archive, by pynetdicom."""
    ae = AE(ae_title="CT1")
    ae.add_requested_context(Verification)
    ae.add_requested_context(CT, EXPLICIT)
    ae.add_requested_context(StorageCommitmentPushModel)
    return ae.associate("127.0.0.1", port, ae_title="HOZI")


def send(association: Any, dataset: Dataset) -> int:
    """C-STORE of a dataset that has no file around it; the status."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return int(association.send_c_store(dataset).Status)


def echoes(port: int) -> bool:
    association = call(port)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status.Status == 0)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_device_knocks_is_admitted_and_answered_and_everything_stops_cleanly(archive: Archive) -> None:
    process = archive.start("--json")
    port = archive.ready("dimse")["port"]
    refused = call(port)
    assert refused.is_rejected
    assert not refused.is_established
    [knock] = json.loads(archive.run("device", "knocked", "--json").stdout)
    assert (knock["calling_ae"], knock["reason"], knock["address"]) == ("CT1", "calling-ae", "127.0.0.1")
    assert archive.run("device", "admit", str(knock["number"]), "CT1").returncode == 0
    wait_for(lambda: echoes(port))
    parts = [archive.ready(part)["pid"] for part in ("dimse", "web", "worker")]
    assert archive.run("doctor").returncode == 0

    process.terminate()
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert all(map(gone, parts))
    assert not list((archive.home / "run").glob("*.json"))
    banner = json.loads(out)
    assert (banner["ae_title"], banner["port"], banner["tls_port"]) == ("HOZI", port, None)
    assert banner["home"] == str(archive.home)
    assert banner["console"].startswith("http://127.0.0.1:")
    events = [json.loads(line) for line in err.splitlines()]
    assert {"ready", "stopped"} <= {event["event"] for event in events}
    assert "Traceback" not in err


def test_it_says_where_everything_is(archive: Archive) -> None:
    process = archive.start()
    assert process.stdout is not None
    out = "".join(process.stdout.readline() for _ in range(9))
    port = archive.ready("dimse")["port"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert out.startswith("Hozi is ready.\n")
    assert f"AE title HOZI, address 127.0.0.1, port {port}" in out
    assert "DICOM TLS  switched off" in out
    assert str(archive.home) in out
    assert "hozi device admit" in out
    assert re.search(r"console    http://127\.0\.0\.1:\d+/\n", out)
    assert process.returncode == 0


def test_the_home_is_made_for_this_account_only_and_serves_one_archive_at_a_time(archive: Archive) -> None:
    shutil.rmtree(archive.home)
    archive.facts["HOZI_DATABASE_URL"] = ""  # in the home, which is made now
    archive.start()
    archive.ready("worker")
    assert archive.home.stat().st_mode & 0o777 == 0o700
    assert not [path for path in archive.home.rglob("*") if path.stat().st_mode & 0o077]
    second = archive.run("serve")
    assert second.returncode == 1
    [line] = second.stderr.splitlines()
    assert f"already (process {archive.processes[0].pid})" in line
    # A part that runs cannot be started beside it either.
    assert "runs on" in archive.run("serve", "--only", "worker").stderr


def test_a_listener_that_was_killed_comes_back(archive: Archive) -> None:
    archive.start()
    worker = archive.ready("worker")["pid"]
    first = archive.ready("dimse")["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: archive.ready("dimse")["pid"] != first)
    assert call(archive.ready("dimse")["port"]).is_rejected
    assert archive.ready("worker")["pid"] == worker


def test_nothing_is_left_when_the_supervisor_is_killed_and_it_can_be_started_again(archive: Archive) -> None:
    process = archive.start()
    parts = [archive.ready(part)["pid"] for part in ("dimse", "web", "worker")]
    process.kill()
    process.communicate()
    assert wait_for(lambda: all(map(gone, parts)))
    archive.start()
    again = wait_for(lambda: (told := archive.ready("dimse"))["pid"] not in parts and told)
    assert call(again["port"]).is_rejected  # it serves: CT1 is not admitted


def test_a_port_that_is_taken_is_told_in_one_line_and_tried_again(archive: Archive) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        archive.facts["HOZI_DICOM_PORT"] = str(taken.getsockname()[1])
        process = archive.start("--json")
        assert process.stderr is not None
        told = iter(process.stderr.readline, "")
        assert next(line for line in told if "holds the port" in line).startswith("hozi: Another program")
        died = json.loads(next(line for line in told if "a part ended" in line))
        assert (died["which"], died["how"], died["restart_in_seconds"]) == ("dimse", "exit code 1", 1)
    assert archive.ready("dimse")["port"] == int(archive.facts["HOZI_DICOM_PORT"])


def test_one_part_runs_alone(archive: Archive) -> None:
    process = archive.start("--only", "worker")
    assert archive.ready("worker")["pid"] == process.pid
    assert not (archive.home / "run" / "dimse.json").exists()
    process.terminate()
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert not (archive.home / "run" / "worker.json").exists()


def test_a_commitment_that_was_asked_for_before_a_stop_is_reported_after_it(archive: Archive) -> None:
    with listening() as (scanner, port):
        listener = archive.start("--only", "dimse")
        calls = archive.ready("dimse")["port"]
        assert (
            archive.run("device", "add", "CT1", "--ae", "CT1", "--host", "127.0.0.1", "--port", str(port)).returncode
            == 0
        )
        wait_for(lambda: echoes(calls))
        dataset = image()
        asked = commitment_of([(CT, dataset.SOPInstanceUID)])
        association = call(calls)
        assert send(association, dataset) == 0
        status, _ = association.send_n_action(asked, 1, StorageCommitmentPushModel, INSTANCE)
        association.release()
        assert status.Status == 0
        listener.terminate()
        listener.communicate(timeout=SECONDS)
        assert not scanner.reports

        archive.start()
        assert scanner.arrived.wait(SECONDS)
    [(kind, report)] = scanner.reports
    assert (kind, report.TransactionUID) == (1, asked.TransactionUID)
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [dataset.SOPInstanceUID]
