"""DCMTK's programs as scanner and workstation: send, find, fetch, move."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread

from hozi.archive.exceptions import open_cases
from hozi.archive.verify import verify
from hozi.core.dicom import part10
from tests.archive_running import RunningArchive
from tests.corpus import CORPUS, rows

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
    with full.storescp("VIEW1", tmp_path) as received:
        done = full.dcmtk(
            "movescu", "-S", "-aem", "VIEW1", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study()}"
        )
        assert done.returncode == 0, done.stderr
        assert received() == sent()


#: storescu proposes compressed transfer syntaxes one at a time, by option; it knows no HTJ2K and no JPEG XL.
PROPOSING = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.4.100": "-xm",
    "1.2.840.10008.1.2.4.102": "-xn",
    "1.2.840.10008.1.2.4.107": "-x4",
    "1.2.840.10008.1.2.5": "-xr",
}


def test_the_whole_corpus_through_storescu_is_stored_or_refused_with_a_reason(archive: RunningArchive) -> None:
    """Whatever storescu can send is answered, each file once; what is not stored lies in quarantine."""
    archive.admit("CT1")
    said: Counter[str] = Counter()
    sent = 0
    for syntax, option in PROPOSING.items():
        paths = [row.path for row in rows() if row.transfer_syntax == syntax]
        done = archive.dcmtk("storescu", "-v", "-nh", "-R", option, *paths)
        output = done.stderr + done.stdout
        assert "Sending Store Request" in output, f"{option}: nothing was sent"
        sent += output.count("Sending Store Request")
        said.update(re.findall(r"Received Store Response \((.*)\)", output))
    assert sum(said.values()) == sent
    assert sent > 200
    held = verify()
    aside = [case for case in open_cases() if case.quarantined]
    # An object that came twice is one; so is what was kept aside twice for the same reason.
    assert held.objects <= said["Success"]
    assert sum(case.count for case in aside) == sent - said["Success"]
    assert held.clean
    assert archive.dcmtk("echoscu").returncode == 0
