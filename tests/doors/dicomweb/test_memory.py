"""However large what is downloaded, and by however many at once: a process that answers hardly grows (promise 6)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileMetaDataset

from tests.conftest import DATABASE_URL
from tests.doors.web.conftest import NO_DATABASE, SECONDS, Served, Start
from tests.doors.web.conftest import serve as serve
from tests.guards.rules import ROOT

pytestmark = pytest.mark.skipif(bool(DATABASE_URL), reason=NO_DATABASE)

MIB = 1 << 20
SIZE = 128 * MIB
CLIENTS = 8
MOST = 64 * MIB
WHERE = "/dicom-web/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.5"


def _large(path: Path) -> None:
    """A loop of pictures whose pixels are nearly no bytes on the disk."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4.5"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = "1.2.3", "1.2.3.4", "P1"
    dataset.Rows = dataset.Columns = 1024
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.NumberOfFrames = 1, 8, SIZE // MIB
    dataset.add_new(0x7FE00010, "OB", b"")
    dataset.save_as(path)
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.seek(end - 4)
        file.write(SIZE.to_bytes(4, "little"))
        file.truncate(end + SIZE)


def _hozi(home: Path, *words: str) -> dict[str, str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOZI_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "hozi", *words, "--json"], env=environment, capture_output=True, check=True
    )
    told: dict[str, str] = json.loads(done.stdout)
    return told


def _taken(served: Served, token: str, path: str, accept: str) -> int:
    """How many bytes come, read as fast as they do."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nAccept: {accept}\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=SECONDS) as connection:
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        room, total = bytearray(MIB), 0
        while count := connection.recv_into(room):
            total += count
    return total


def test_eight_who_download_something_large_at_once_make_a_process_hardly_larger(serve: Start, tmp_path: Path) -> None:
    _large(tmp_path / "large.dcm")
    served = serve(HOZI_HTTP_WORKERS="1")
    _hozi(served.home, "import", str(tmp_path / "large.dcm"))
    _hozi(served.home, "user", "add", "viewer", "--role", "service", "--program")
    token = _hozi(served.home, "user", "token", "viewer", "--scope", "read")["token"]
    part = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    octets = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    frames = ",".join(str(number + 1) for number in range(SIZE // MIB))
    asked = [(WHERE, part), (WHERE, "application/dicom"), (f"{WHERE}/frames/{frames}", octets)]
    asked += [(f"{WHERE}/bulkdata/7FE00010", "application/octet-stream"), ("/dicom-web/studies/1.2.3", part)]
    for path, accept in asked:  # everything is loaded
        assert _taken(served, token, path, accept) > SIZE
    [worker] = served.workers()
    before, most, done = worker.memory_info().rss, 0, []

    def take(number: int) -> None:
        done.append(_taken(served, token, *asked[number % len(asked)]))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, worker.memory_info().rss)
        threads[0].join(0.02)
    assert len(done) == CLIENTS
    assert min(done) > SIZE
    assert most - before < MOST, f"{(most - before) >> 20} MiB more"
