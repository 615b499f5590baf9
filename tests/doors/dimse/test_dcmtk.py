"""DCMTK's programs as scanner and workstation: send, find, fetch, move."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest
from pydicom import dcmread

from hozi.core.dicom import part10
from tests.archive_running import RunningArchive
from tests.corpus import CORPUS
from tests.peers import program

pytestmark = pytest.mark.dcmtk

SERIES = CORPUS / "series" / "ct-lidc-idri-0314"


def dataset_of(path: Path) -> bytes:
    data = path.read_bytes()
    return data[part10.read_header(data).dataset_offset :]


def sent() -> dict[str, bytes]:
    """The datasets of the series, by SOP Instance UID."""
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): dataset_of(path) for path in files()}


def files() -> list[Path]:
    return sorted(path for path in SERIES.rglob("*") if path.is_file())


@pytest.fixture
def full(archive: RunningArchive) -> RunningArchive:
    """The archive, with the series in it, as its files are (storescu would send them in another encoding)."""
    ct1 = archive.admit("CT1")
    for path in files():
        header = part10.read_header(path.read_bytes())
        assert ct1.store(dataset_of(path), header.sop_class, header.sop_instance, header.transfer_syntax)[0] == 0
    return archive


def study() -> str:
    return str(dcmread(files()[0], stop_before_pixels=True).StudyInstanceUID)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_stranger_is_told_why_it_is_refused(archive: RunningArchive) -> None:
    assert "Calling AE Title Not Recognized" in archive.dcmtk("echoscu").stderr
    archive.admit("CT1")
    assert archive.dcmtk("echoscu").returncode == 0


def test_findscu_finds_what_storescu_sent(archive: RunningArchive) -> None:
    archive.admit("CT1")
    done = archive.dcmtk("storescu", "+sd", "+r", SERIES)
    assert done.returncode == 0, done.stderr
    found = archive.dcmtk(
        "findscu",
        "-S",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        "StudyInstanceUID",
        "-k",
        "NumberOfStudyRelatedInstances",
    )
    assert found.returncode == 0
    assert study() in found.stderr + found.stdout
    assert f"[{len(files())}" in found.stderr + found.stdout


def test_getscu_gets_every_object_with_the_pixels_that_were_sent(full: RunningArchive, tmp_path: Path) -> None:
    named = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study()}")
    done = full.dcmtk("getscu", "-S", "-od", tmp_path, *named)
    assert done.returncode == 0, done.stderr
    got = {str(dataset.SOPInstanceUID): dataset.PixelData for dataset in map(dcmread, tmp_path.iterdir())}
    assert got == {str(dataset.SOPInstanceUID): dataset.PixelData for dataset in map(dcmread, files())}


def test_movescu_moves_to_storescp(full: RunningArchive, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    receiver = subprocess.Popen(
        [program("storescp"), "-aet", "VIEW1", "+B", "+xa", "-od", str(tmp_path), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        full.admit("VIEW1", port=port)
        deadline = time.monotonic() + 30
        while not listens(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        done = full.dcmtk(
            "movescu", "-S", "-aem", "VIEW1", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study()}"
        )
        assert done.returncode == 0, done.stderr
    finally:
        receiver.terminate()
        receiver.wait()
    got = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): dataset_of(path) for path in tmp_path.iterdir()}
    assert got == sent()
