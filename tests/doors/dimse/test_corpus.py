"""Every file of the corpus goes in over the network; what is acknowledged comes back bit for bit."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from pydicom import dcmread

from hozi.archive.models import ExceptionCase
from hozi.archive.verify import verify
from hozi.audit.models import Event
from hozi.audit.record import Code, Outcome
from hozi.core.dicom import part10
from hozi.core.errors import Unreadable
from tests.archive_running import Caller, RunningArchive
from tests.corpus import CORPUS, rows

SUCCESS = 0x0000
WARNINGS = range(0xB000, 0xC000)
DIRECTORY = "1.2.840.10008.1.3.10"

FILE_SET = "filesets/pydicom-dicomdirtests/DICOMDIR"

#: What cannot be sent, with the reason. Everything else in the corpus is sent.
NOT_SENT: dict[str, set[str]] = {
    "not DICOM: a stray byte is in front of everything": {"malformed/pydicom__pydicom/no_meta.dcm"},
    "a directory of files, which is no object to be stored (PS3.4 B.5)": {
        FILE_SET,
        f"{FILE_SET}-bigEnd",
        f"{FILE_SET}-implicit",
        f"{FILE_SET}-nooffset",
        f"{FILE_SET}-reordered",
    },
    "says nowhere of what SOP class it is, which a message must (PS3.7 9.1.1.1)": {
        "malformed/pydicom__pydicom/empty_charset_LEI.dcm",
        "malformed/pydicom__pydicom/meta_missing_tsyntax.dcm",
        "private/pydicom__pydicom/nested_priv_SQ.dcm",
    },
}


class Object(NamedTuple):
    """What is sent of a file."""

    sop_class: str
    uid: str
    transfer_syntax: str
    dataset: bytes


def objects() -> tuple[list[Object], dict[str, set[str]]]:
    """What there is to send, and the names of the other files by reason."""
    found: list[Object] = []
    left: dict[str, set[str]] = {reason: set() for reason in NOT_SENT}
    not_dicom, directory, no_class = left.values()
    for row in rows():
        data = row.path.read_bytes()
        try:
            header = part10.read_header(data)
        except Unreadable:
            not_dicom.add(row.name)
            continue
        own = dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
        sop_class = str(own.get("SOPClassUID", "")) or header.sop_class
        if header.sop_class == DIRECTORY:
            directory.add(row.name)
        elif not sop_class:
            no_class.add(row.name)
        else:
            uid = str(own.get("SOPInstanceUID", "")) or header.sop_instance
            found.append(Object(sop_class, uid, header.transfer_syntax, data[header.dataset_offset :]))
    return found, left


@contextmanager
def quick(association: Any) -> Iterator[Any]:
    """A pynetdicom association for many small requests, one after the other.

    Its messages go out at once (they would wait 40 ms for an acknowledgement from the kernel), and its own thread that
    looks for requests of the peer is kept from taking the answers, as it does now and then when they come so fast.
    """
    association.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    checkpoint = association._reactor_checkpoint
    checkpoint.clear()
    time.sleep(0.02)  # it passes once more, then waits there
    association._reactor_checkpoint = threading.Event()
    try:
        yield association
    finally:
        association._reactor_checkpoint = checkpoint
        checkpoint.set()


def send(caller: Caller, sending: list[Object]) -> list[tuple[Object, int, str]]:
    """Sends them, one association for each transfer syntax; what was answered to each."""
    answers = []
    for syntax in sorted({one.transfer_syntax for one in sending}):
        batch = [one for one in sending if one.transfer_syntax == syntax]
        contexts = [(sop_class, [syntax]) for sop_class in sorted({one.sop_class for one in batch})]
        with caller.associated(*contexts) as established, quick(established) as association:
            for one in batch:
                status, comment = caller.store_on(association, one.dataset, one.sop_class, one.uid)
                answers.append((one, status, comment))
    return answers


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_what_is_acknowledged_comes_back_bit_identical_and_the_sums_add_up(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1", sees_all=True)
    sending, left = objects()
    assert left == NOT_SENT
    lines = (CORPUS / "MANIFEST.tsv").read_text(encoding="utf-8").splitlines()
    assert len(sending) + sum(map(len, left.values())) == len(lines) - 1

    fates: Counter[str] = Counter()
    acknowledged: dict[str, Object] = {}
    aside: Counter[tuple[str, str]] = Counter()
    for one, status, comment in send(ct1, sending):
        if status == SUCCESS:
            fates["duplicate" if one.uid in acknowledged else "stored"] += 1
            same = acknowledged.setdefault(one.uid, one) == one
            assert same, one.uid
        else:
            assert comment
            fate = "kept aside" if status in WARNINGS else "refused"
            fates[fate] += 1
            aside[hashlib.sha256(one.dataset).hexdigest(), one.uid] += 1
    assert fates.total() == len(sending)
    assert set(fates) == {"stored", "duplicate", "kept aside", "refused"}

    held = verify()
    assert held.clean
    assert held.objects == fates["stored"] == len(acknowledged)
    assert held.bytes == sum(len(one.dataset) for one in acknowledged.values())
    cases: Counter[tuple[str, str]] = Counter()
    for case in ExceptionCase.objects.exclude(key=""):
        cases[case.sha256, case.sop_instance_uid] += case.count
    assert cases == aside
    assert cases.total() == fates["kept aside"] + fates["refused"]
    outcomes = Counter(Event.objects.filter(code=Code.INSTANCES_TRANSFERRED).values_list("outcome", flat=True))
    assert outcomes == {
        Outcome.SUCCESS: fates["stored"] + fates["duplicate"],
        Outcome.MINOR_FAILURE: fates["kept aside"] + fates["refused"],
    }

    found = ct1.find("STUDY", StudyInstanceUID="", NumberOfStudyRelatedInstances="")
    assert sum(int(study.NumberOfStudyRelatedInstances) for study in found) == len(acknowledged)
    come_back(archive, ct1, acknowledged, sorted(str(study.StudyInstanceUID) for study in found))


def come_back(archive: RunningArchive, caller: Caller, expected: dict[str, Object], studies: list[str]) -> None:
    """Everything comes back by C-GET and by C-MOVE, bit for bit, and nothing else."""
    wanted: dict[str, set[str]] = {}
    for one in expected.values():
        wanted.setdefault(one.sop_class, set()).add(one.transfer_syntax)
    pairs = [(sop_class, sorted(syntaxes)) for sop_class, syntaxes in sorted(wanted.items())]
    got: dict[str, tuple[str, bytes]] = {}
    for sop_class, syntaxes in pairs:  # more than fit into one association
        uids = [one.uid for one in expected.values() if one.sop_class == sop_class]
        fetched = caller.get("IMAGE", SOPInstanceUID=uids, classes=[(sop_class, syntaxes)])
        assert fetched.status == SUCCESS
        got |= {uid: (fetched.syntaxes[uid], data) for uid, data in fetched.objects.items()}
    sent = {one.uid: (one.transfer_syntax, one.dataset) for one in expected.values()}
    assert differing(got, sent) == []

    with archive.destination("VIEW1", pairs) as moved:
        responses = caller.move("STUDY", "VIEW1", StudyInstanceUID=studies)
    assert responses[-1][0].Status == SUCCESS
    assert responses[-1][0].NumberOfCompletedSuboperations == len(expected)
    assert differing({uid: (moved.syntaxes[uid], data) for uid, data in moved.objects.items()}, sent) == []


def differing(came: dict[str, tuple[str, bytes]], sent: dict[str, tuple[str, bytes]]) -> list[str]:
    """The SOP Instance UIDs of what is missing, too much, or not the same."""
    return sorted(uid for uid in came.keys() | sent.keys() if came.get(uid) != sent.get(uid))
