"""DCMTK's programs as scanner and workstation: send, find, fetch, move."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info

from hozi.archive.models import ExceptionCase
from hozi.archive.verify import verify
from hozi.core.dicom import part10
from tests.archive_running import RunningArchive
from tests.corpus import CORPUS, rows
from tests.peers import free_port, program, wait_until_it_listens

pytestmark = pytest.mark.dcmtk

SUCCESS = 0x0000
SERIES = CORPUS / "series" / "ct-lidc-idri-0314"
CORNERSTONE = "syntax/cornerstonejs__cornerstoneWADOImageLoader/CTImage.dcm_"


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


#: storescu proposes compressed transfer syntaxes one at a time, by option.
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
#: What it is to propose for all others.
OTHERS = "-xi"
#: Without it, every small message of DCMTK's programs waits for an acknowledgement from the kernel, 40 ms.
PROMPT = {**os.environ, "TCP_NODELAY": "1"}

#: What storescu does not send to anybody, and what it says of it. Those that are DICOM go in by `test_corpus`.
NOT_SENT = {
    "missing SOP class (or instance)": {
        "charset/pydicom__pydicom/chrSQEncoding.dcm",
        "charset/pydicom__pydicom/chrSQEncoding1.dcm",
        "filesets/pydicom-dicomdirtests/DICOMDIR",
        "filesets/pydicom-dicomdirtests/DICOMDIR-bigEnd",
        "filesets/pydicom-dicomdirtests/DICOMDIR-implicit",
        "filesets/pydicom-dicomdirtests/DICOMDIR-nooffset",
        "filesets/pydicom-dicomdirtests/DICOMDIR-reordered",
        "malformed/pydicom__pydicom-data/JLSL_RGB_ILV2.dcm",
        "malformed/pydicom__pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm",
        "malformed/pydicom__pydicom-data/explicit_VR-UN.dcm",
        "malformed/pydicom__pydicom/MR_truncated.dcm",
        "malformed/pydicom__pydicom/SC_rgb_jpeg.dcm",
        "malformed/pydicom__pydicom/UN_sequence.dcm",
        "malformed/pydicom__pydicom/empty_charset_LEI.dcm",
        "malformed/pydicom__pydicom/meta_missing_tsyntax.dcm",
        "malformed/pydicom__pydicom/no_meta.dcm",
        "malformed/pydicom__pydicom/no_meta_group_length.dcm",
        "malformed/pydicom__pydicom/rtplan_truncated.dcm",
        "private/nipy__nibabel/decimal_rescale.dcm",
        "private/pydicom__pydicom/nested_priv_SQ.dcm",
        "private/pydicom__pydicom/priv_SQ.dcm",
        "rt/pydicom__pydicom/rtdose_rle.dcm",
        f"{CORNERSTONE}JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm",
        f"{CORNERSTONE}JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm",
        f"{CORNERSTONE}JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm",
        "syntax/pydicom__pydicom-data/JLSL_RGB_ILV1.dcm",
    },
    "unknown storage SOP class": {  # Label Map Segmentation is younger than this DCMTK
        "seg/ImagingDataCommons__highdicom/seg_image_sm_control_labelmap_palette_color.dcm",
    },
    "Store Failed": {  # it has no option that proposes these transfer syntaxes: JPEG's old ones, HTJ2K, deflated frames
        "syntax/chafey__dicomParser/CT0012.fragmented_no_bot_jpeg_lossless.57.dcm",
        f"{CORNERSTONE}JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm",
        f"{CORNERSTONE}JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm",
        f"{CORNERSTONE}JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm",
        "syntax/pydicom__pydicom-data/HTJ2KLossless_08_RGB.dcm",
        "syntax/pydicom__pydicom-data/HTJ2K_08_RGB.dcm",
        "syntax/pydicom__pydicom-data/liver_deflate.dcm",
        "syntax/pydicom__pydicom-data/liver_nonbyte_aligned_deflate.dcm",
        "syntax/pydicom__pylibjpeg-data/JPEGLossless_1s_1f_u_16_12.dcm",
    },
}

#: What is in quarantine and can be no part of the archive as it is: answered with a failure. All else is a warning.
UNUSABLE = {"unreadable", "invalid-identifiers", "contradicts-command"}


class Sent(NamedTuple):
    """A file that storescu sent: from which transfer syntax into which, and what it was answered."""

    name: str
    encoding: str
    answer: str


class Received(NamedTuple):
    """What a bit preserving receiver got for it."""

    sop_class: str
    uid: str
    transfer_syntax: str
    dataset: bytes


def offer(port: int) -> tuple[list[Sent], dict[str, set[str]]]:
    """storescu sends the whole corpus; what it sent, in that order, and the names of what it did not, by reason."""
    calls: dict[str, list[Path]] = {}
    for row in rows():
        calls.setdefault(PROPOSING.get(row.transfer_syntax, OTHERS), []).append(row.path)
    sent: list[Sent] = []
    left: dict[str, set[str]] = {}
    for option, paths in calls.items():
        command = [
            program("storescu"),
            "-v",
            "-nh",
            "-R",
            "-aet",
            "CT1",
            "-aec",
            "HOZI",
            option,
            "127.0.0.1",
            str(port),
        ]
        command += ["127.0.0.1", str(port), *map(str, paths)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100, env=PROMPT)
        name = encoding = ""
        for line in done.stdout.decode(errors="replace").splitlines():
            if said := re.match(r"W: (.*) in file: (.*?)(?:: [\d.]+)?, ignoring file", line):
                left.setdefault(said[1], set()).add(str(Path(said[2]).relative_to(CORPUS)))
            elif said := re.match(r"I: Sending file: (.*)", line):
                name = str(Path(said[1]).relative_to(CORPUS))
            elif said := re.match(r"I: Converting transfer syntax: (.*)", line):
                encoding = said[1]
            elif said := re.match(r"I: Received Store Response \((.*)\)", line):
                sent.append(Sent(name, encoding, said[1]))
            elif said := re.match(r"E: (Store Failed), file:", line):
                left.setdefault(said[1], set()).add(name)
    return sent, left


def receive_all(folder: Path) -> tuple[list[Sent], list[Received]]:
    """The corpus through storescu to DCMTK's storescp, which writes bit by bit what it gets: the same, file by file."""
    port = free_port()
    command = [program("storescp"), "+xa", "+B", "+uf", "-od", str(folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=PROMPT)
    try:
        wait_until_it_listens(port, process)
        sent, _ = offer(port)
    finally:
        process.terminate()
        process.wait(10)
    # Its unique file names end with a number that counts up.
    written = sorted(folder.iterdir(), key=lambda path: int(path.name.rpartition(".")[2]))
    received = []
    for path in written:
        meta = read_file_meta_info(path)
        named = (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID)
        sop_class, uid, syntax = map(str, named)
        received.append(Received(sop_class, uid, syntax, dataset_of(path)))
    return sent, received


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of UIDs that are none
def test_the_whole_corpus_through_storescu_comes_back_as_sent_or_lies_in_quarantine(
    archive: RunningArchive, tmp_path: Path
) -> None:
    reference, received = receive_all(tmp_path)
    ct1 = archive.admit("CT1")
    sent, left = offer(archive.port)
    assert left == NOT_SENT
    assert {one.name for one in sent}.isdisjoint(set().union(*left.values()))
    assert len(sent) + sum(map(len, left.values())) == len(rows())
    # storescu sent both receivers the same, so that what the one wrote says what the other was given.
    assert [one[:2] for one in sent] == [one[:2] for one in reference]
    assert {one.answer for one in reference} == {"Success"}

    stored: dict[str, Received] = {}
    aside: Counter[tuple[str, str]] = Counter()
    for one, came in zip(sent, received, strict=True):
        if one.answer == "Success":
            same = stored.setdefault(came.uid, came) == came
            assert same, one.name
        else:
            aside[hashlib.sha256(came.dataset).hexdigest(), one.answer.partition(":")[0]] += 1
    held = verify()
    assert held.clean
    assert (held.objects, held.bytes) == (len(stored), sum(len(came.dataset) for came in stored.values()))
    cases: Counter[tuple[str, str]] = Counter()
    for case in ExceptionCase.objects.exclude(key=""):
        cases[case.sha256, "Error" if case.reason in UNUSABLE else "Warning"] += case.count
    assert cases == aside
    assert held.quarantined == len(cases) > 0

    fetched: dict[str, Received] = {}
    for pair in {came[0:3:2] for came in stored.values()}:
        uids = [came.uid for came in stored.values() if came[0:3:2] == pair]
        got = ct1.get("IMAGE", SOPInstanceUID=uids, classes=[(pair[0], [pair[1]])])
        assert got.status == SUCCESS
        fetched |= {uid: Received(pair[0], uid, got.syntaxes[uid], data) for uid, data in got.objects.items()}
    assert [uid for uid in fetched.keys() | stored.keys() if fetched.get(uid) != stored.get(uid)] == []
    assert archive.dcmtk("echoscu").returncode == 0
