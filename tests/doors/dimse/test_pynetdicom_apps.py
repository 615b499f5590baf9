"""pynetdicom's own programs as scanner, workstation and C-MOVE destination."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from hozi.archive.verify import verify
from hozi.core.dicom import part10
from tests.archive_running import RunningArchive
from tests.corpus import CORPUS
from tests.peers import free_port, wait_until_it_listens

SERIES = CORPUS / "series" / "mr-ge-epi-nih"
#: One image of another study, compressed.
RLE = CORPUS / "series" / "mr-compressed-rle"

SUCCESS = 0x0000


def command(app: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pynetdicom", app, *map(str, arguments)]


def run(
    archive: RunningArchive, app: str, *arguments: str | Path, ae_title: str = "CT1", folder: Path | None = None
) -> tuple[int, str]:
    """Runs one of the programs against the archive, in ``folder``; its exit code and all that it said."""
    calling = ("-v", "-aet", ae_title, "-aec", "HOZI", "127.0.0.1", str(archive.port))
    done = subprocess.run(
        command(app, *calling, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        cwd=folder,
    )
    return done.returncode, done.stdout


@contextmanager
def storescp(archive: RunningArchive, ae_title: str, folder: Path) -> Iterator[None]:
    """Its storescp as an admitted destination, writing into ``folder``."""
    port = free_port()
    arguments = ("-aet", ae_title, "-ba", "127.0.0.1", "-od", folder, str(port))
    process = subprocess.Popen(command("storescp", *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_it_listens(port, process)
        archive.admit(ae_title, port=port)
        yield
    finally:
        process.terminate()
        process.wait(10)


def datasets(folder: Path) -> dict[str, Dataset]:
    """The objects in a folder, by SOP Instance UID; there is one file for each."""
    found = [without_group_lengths(dcmread(path)) for path in folder.rglob("*") if path.is_file()]
    by_uid = {str(dataset.SOPInstanceUID): dataset for dataset in found}
    assert len(by_uid) == len(found)
    return by_uid


def without_group_lengths(dataset: Dataset) -> Dataset:
    """pydicom writes none of these retired elements, whatever it has read (PS3.5 §7.2)."""
    for tag in [tag for tag in dataset.keys() if tag.element == 0]:  # noqa: SIM118 - iterating gives elements
        del dataset[tag]
    return dataset


def elements(dataset: Dataset) -> dict[BaseTag, DataElement]:
    """All that a dataset says; pydicom writes no group lengths, which are retired (PS3.5 7.2)."""
    return {tag: dataset[tag] for tag in dataset.keys() if tag.element}  # noqa: SIM118


def contents(*folders: Path) -> dict[str, dict[BaseTag, DataElement]]:
    """All that the objects in these folders say, by SOP Instance UID."""
    return {uid: elements(dataset) for folder in folders for uid, dataset in datasets(folder).items()}


def study(folder: Path) -> str:
    return str(next(iter(datasets(folder).values())).StudyInstanceUID)


@pytest.fixture
def full(archive: RunningArchive) -> RunningArchive:
    """The archive with both studies in it, as their files are."""
    ct1 = archive.admit("CT1")
    for path in (one for folder in (SERIES, RLE) for one in folder.rglob("*") if one.is_file()):
        data = path.read_bytes()
        header = part10.read_header(data)
        dataset = data[header.dataset_offset :]
        assert ct1.store(dataset, header.sop_class, header.sop_instance, header.transfer_syntax)[0] == SUCCESS
    return archive


def test_echoscu_is_answered_when_it_is_admitted(archive: RunningArchive) -> None:
    code, said = run(archive, "echoscu")
    assert code == 1
    assert "Association Rejected" in said
    archive.admit("CT1")
    code, said = run(archive, "echoscu")
    assert (code, "Received Echo Response (Status: 0x0000 - Success)" in said) == (0, True), said


def test_storescu_stores_a_folder_and_every_image_is_as_it_was(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1")
    code, said = run(archive, "storescu", "-cx", "-r", SERIES, RLE)
    assert code == 0, said
    sent = datasets(SERIES) | datasets(RLE)
    assert re.findall(r"Received Store Response \((.*)\)", said) == ["Status: 0x0000 - Success"] * len(sent)
    assert verify().objects == len(sent)
    for one in sent.values():
        syntax = str(one.file_meta.TransferSyntaxUID)
        uid = str(one.SOPInstanceUID)
        got = ct1.get("IMAGE", SOPInstanceUID=uid, classes=[(str(one.SOPClassUID), [syntax])])
        assert got.syntaxes == {uid: syntax}
        header = part10.write_header(one.SOPClassUID, uid, syntax)
        assert elements(dcmread(io.BytesIO(header + got.objects[uid]))) == elements(one)


def test_findscu_finds_the_studies_with_their_counts(full: RunningArchive, tmp_path: Path) -> None:
    keys = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=", "NumberOfStudyRelatedInstances=", "ModalitiesInStudy=MR")
    named = [part for key in keys for part in ("-k", key)]
    code, said = run(full, "findscu", "-S", "-w", *named, folder=tmp_path)
    assert code == 0, said
    found = {
        str(answer.StudyInstanceUID): int(answer.NumberOfStudyRelatedInstances)
        for answer in map(dcmread, tmp_path.glob("rsp*.dcm"))
    }
    assert found == {study(SERIES): len(datasets(SERIES)), study(RLE): len(datasets(RLE))}


def test_getscu_gets_every_image_with_its_pixels(full: RunningArchive, tmp_path: Path) -> None:
    for folder in (SERIES, RLE):
        named = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study(folder)}")
        code, said = run(full, "getscu", "-S", "-od", tmp_path / folder.name, *named)
        assert code == 0, said
    assert contents(tmp_path / SERIES.name) == contents(SERIES)
    # It takes no compressed images: what the archive gives it then is the same picture.
    got, sent = datasets(tmp_path / RLE.name), datasets(RLE)
    assert got.keys() == sent.keys()
    for uid, one in got.items():
        assert not one.file_meta.TransferSyntaxUID.is_compressed
        assert (one.pixel_array == sent[uid].pixel_array).all()


def test_movescu_moves_to_storescp(full: RunningArchive, tmp_path: Path) -> None:
    with storescp(full, "VIEW1", tmp_path):
        for folder in (SERIES, RLE):
            named = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study(folder)}")
            code, said = run(full, "movescu", "-S", "-aem", "VIEW1", *named)
            assert code == 0, said
            assert "Move SCP Result: 0x0000 (Success)" in said, said
    assert contents(tmp_path) == contents(SERIES, RLE)


def test_movescu_moves_to_itself(full: RunningArchive, tmp_path: Path) -> None:
    port = free_port()
    full.admit("MINE", port=port)
    named = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study(SERIES)}")
    own = ("-aem", "MINE", "--store", "--store-aet", "MINE", "--store-port", str(port), "-od", tmp_path)
    code, said = run(full, "movescu", "-S", *own, *named)
    assert code == 0, said
    assert "Move SCP Result: 0x0000 (Success)" in said, said
    assert contents(tmp_path) == contents(SERIES)


def test_movescu_is_told_when_the_destination_is_not_known(full: RunningArchive) -> None:
    named = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study(SERIES)}")
    _, said = run(full, "movescu", "-S", "-aem", "NOBODY", *named)
    assert "0xA801" in said
