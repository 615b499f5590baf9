"""Orthanc sends to the archive, asks it, receives from it; and its answers are held beside ours."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pynetdicom import AE

from hozi.core.dicom import part10
from tests.archive_running import STUDY_ROOT, Caller, RunningArchive, identifier
from tests.corpus import CORPUS, rows
from tests.orthanc import Orthanc, orthanc

pytestmark = [pytest.mark.orthanc, pytest.mark.filterwarnings("ignore::UserWarning:pydicom")]

SUCCESS = 0x0000
FOLDERS = ("series", "modalities", "sr", "charset", "rt", "multiframe", "connectathon", "seg")

#: Questions at level STUDY on which the standard leaves no choice: the answers have to be equal.
QUESTIONS: list[dict[str, Any]] = [
    {},
    {"PatientName": "*"},
    {"PatientID": "*1*"},
    {"PatientID": "LIDC-IDRI-0314"},
    {"PatientID": "lidc-idri-0314"},
    {"StudyDate": "20000101"},
    {"StudyDate": "20050101-"},
    {"StudyDate": "20000101-20101231"},
    {"ModalitiesInStudy": "CT"},
    {"ModalitiesInStudy": "MR", "StudyDate": "19000101-20301231"},
    {"ModalitiesInStudy": ["SR", "SEG"]},
    {"StudyID": "1"},
]

#: Questions that Orthanc answers with less than we do, and why we are right to answer more.
WE_KNOW_MORE: dict[str, tuple[dict[str, Any], str]] = {
    "a star alone is universal matching, also of what is absent: PS3.4 C.2.2.2.3, C.2.2.2.4": (
        {"AccessionNumber": "*"},
        "everything",
    ),
    "the same of a description": ({"StudyDescription": "*"}, "everything"),
    "delimiters of empty components may be left out, so every name has a caret: PS3.5 6.2.1.2": (
        {"PatientName": "*^*"},
        "everything",
    ),
    "a question mark is a character, not a byte of its encoding: PS3.4 C.2.2.2.4": ({"PatientName": "?????*"}, "more"),
}


@pytest.fixture
def both(archive: RunningArchive, tmp_path: Path) -> Iterator[tuple[RunningArchive, Orthanc]]:
    """The archive and an Orthanc that know each other."""
    with orthanc(tmp_path / "orthanc", archive.port) as peer:
        archive.admit("ORTHANC", port=peer.dicom)
        yield archive, peer


def pixels(data: bytes) -> bytes:
    return bytes(dcmread(io.BytesIO(data)).PixelData)


def test_orthanc_echoes_sends_finds_and_fetches(both: tuple[RunningArchive, Orthanc]) -> None:
    _, peer = both
    peer.call("/modalities/hozi/echo", {})
    sent = {}
    for path in sorted((CORPUS / "series" / "ct-lidc-idri-0314").rglob("*.dcm"))[:6]:
        sent[str(dcmread(path).SOPInstanceUID)] = path.read_bytes()
        peer.call("/instances", path.read_bytes())
    [study] = peer.call("/studies")
    uid = peer.call(f"/studies/{study}")["MainDicomTags"]["StudyInstanceUID"]
    done = peer.call("/modalities/hozi/store", study)
    assert (done["InstancesCount"], done["FailedInstancesCount"]) == (len(sent), 0)

    found = peer.call("/modalities/hozi/query", {"Level": "Study", "Query": {"StudyInstanceUID": uid}})
    [answer] = peer.call(f"/queries/{found['ID']}/answers")
    content = peer.call(f"/queries/{found['ID']}/answers/{answer}/content?simplify")
    assert content["StudyInstanceUID"] == uid

    peer.call(f"/studies/{study}", method="DELETE")
    assert peer.call("/instances") == []
    peer.call(f"/queries/{found['ID']}/answers/{answer}/retrieve", b"ORTHANC")
    got = {}
    for instance in peer.call("/instances"):
        data = peer.call(f"/instances/{instance}/file")
        got[str(dcmread(io.BytesIO(data)).SOPInstanceUID)] = pixels(data)
    assert got == {uid: pixels(data) for uid, data in sent.items()}


def stored_in_both(archive: RunningArchive, caller: Caller, peer: Orthanc) -> None:
    """Puts the same objects into both; leaves out what the archive keeps aside."""
    for row in rows():
        if row.name.partition("/")[0] not in FOLDERS or row.path.stat().st_size > 2_000_000:
            continue
        data = row.path.read_bytes()
        header = part10.read_header(data)
        if not header.sop_class or header.guessed:
            continue
        status, _ = caller.store(
            data[header.dataset_offset :], header.sop_class, header.sop_instance, header.transfer_syntax
        )
        if status == SUCCESS:
            peer.call("/instances", data)


def asked(port: int, called: str, **keys: Any) -> set[str]:
    """The studies that an archive answers with."""
    ae = AE(ae_title="CT1")
    ae.add_requested_context(STUDY_ROOT["find"])
    association = ae.associate("127.0.0.1", port, ae_title=called)
    assert association.is_established
    query = identifier("STUDY", **{"StudyInstanceUID": "", **keys})
    answers = list(association.send_c_find(query, STUDY_ROOT["find"]))
    association.release()
    assert answers[-1][0].Status == SUCCESS
    return {str(match.StudyInstanceUID) for _, match in answers if match is not None}


def test_answers_equal_those_of_an_independent_archive(both: tuple[RunningArchive, Orthanc]) -> None:
    archive, peer = both
    stored_in_both(archive, archive.admit("CT1"), peer)
    everything = asked(archive.port, "HOZI")
    assert len(everything) > 20
    differing = {}
    for keys in QUESTIONS:
        ours, theirs = asked(archive.port, "HOZI", **keys), asked(peer.dicom, "ORTHANC", **keys)
        if ours != theirs:
            differing[str(keys)] = (sorted(ours - theirs), sorted(theirs - ours))
    assert differing == {}
    for why, (keys, much) in WE_KNOW_MORE.items():
        ours, theirs = asked(archive.port, "HOZI", **keys), asked(peer.dicom, "ORTHANC", **keys)
        assert ours > theirs, why
        assert much == "more" or ours == everything, why
    # Orthanc compares an empty date as a text that is less than any; a range matches values only (PS3.4 C.2.2.2.5).
    ours, theirs = (asked(port, name, StudyDate="-20041231") for port, name in both_of(archive, peer))
    dated = asked(archive.port, "HOZI", StudyDate="19000101-20991231")
    assert ours == theirs & dated
    assert theirs - ours


def both_of(archive: RunningArchive, peer: Orthanc) -> list[tuple[int, str]]:
    return [(archive.port, "HOZI"), (peer.dicom, "ORTHANC")]


def test_people_who_share_a_number_are_found_by_the_names_on_their_studies(
    both: tuple[RunningArchive, Orthanc],
) -> None:
    archive, peer = both
    stored_in_both(archive, archive.admit("CT1"), peer)
    for keys in ({"PatientName": "anon*"}, {"PatientSex": "F"}):
        ours, theirs = (asked(port, name, **keys) for port, name in both_of(archive, peer))
        assert ours == theirs
