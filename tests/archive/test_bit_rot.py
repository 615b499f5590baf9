"""Files rot: flipped, cut, gone, or too many. `verify` names each once; the rest of the archive goes on."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from hozi.archive.models import ExceptionCase, StoredObject
from hozi.archive.verify import Fault, verify
from hozi.settings import HOZI
from tests.archive_running import Caller, RunningArchive
from tests.doors.dimse.images import CT, EXPLICIT, IMPLICIT, encoded, image

SUCCESS, PARTLY, FAILED = 0x0000, 0xB000, 0xA702


def objects() -> Path:
    """The folder of the store."""
    return HOZI.storage / "objects"


def path_of(uid: str) -> Path:
    """Where the object lies."""
    return objects() / StoredObject.objects.get(instance__uid=uid).key


@pytest.fixture
def ct1(archive: RunningArchive) -> Caller:
    return archive.admit("CT1")


@pytest.fixture
def study(ct1: Caller) -> dict[str, bytes]:
    """A study of eight images that the archive holds, 300 kB each: dataset by SOP Instance UID."""
    first = image()
    uids = {"StudyInstanceUID": first.StudyInstanceUID, "SeriesInstanceUID": first.SeriesInstanceUID}
    stored: dict[str, bytes] = {}
    with ct1.associated((CT, [EXPLICIT])) as association:
        for number in range(8):
            pixels = random.Random(number).randbytes(300_000)
            dataset = image(InstanceNumber=number, PixelData=pixels, Rows=500, Columns=600, **uids)
            stored[str(dataset.SOPInstanceUID)] = data = encoded(dataset)
            assert ct1.store_on(association, data, CT, dataset.SOPInstanceUID) == (SUCCESS, "")
    return stored


def study_uid() -> str:
    return str(StoredObject.objects.select_related("instance__series__study").first().instance.series.study.uid)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def fill_with_zeros(path: Path) -> None:
    """What some file systems leave after a power cut: the length is right, the blocks were never written."""
    path.write_bytes(bytes(path.stat().st_size))


ROT: dict[str, tuple[Callable[[Path], Any], set[str]]] = {
    "a bit in the middle": (lambda path: flip(path, 150_000), {"damaged"}),
    "the last bit": (lambda path: flip(path, -1), {"damaged"}),
    "a bit of the header": (lambda path: flip(path, 140), {"header"}),
    "a bit of the preamble": (lambda path: flip(path, 3), {"header"}),
    "zeros": (fill_with_zeros, {"damaged", "header"}),
    "cut by one byte": (lambda path: cut(path, -1), {"length"}),
    "cut in the header": (lambda path: cut(path, 100), {"length"}),
    "empty": (lambda path: cut(path, 0), {"length"}),
    "grown": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), {"length"}),
    "gone": (lambda path: path.unlink(), {"missing"}),
}


@pytest.mark.parametrize(("rot", "kinds"), ROT.values(), ids=ROT.keys())
def test_each_kind_of_rot_is_found_once_and_named_by_file_and_object(
    study: dict[str, bytes], rot: Callable[[Path], Any], kinds: set[str]
) -> None:
    uid = sorted(study)[3]
    key = StoredObject.objects.get(instance__uid=uid).key
    rot(objects() / key)
    assert sorted(verify().faults, key=str) == sorted((Fault(kind, key, uid) for kind in kinds), key=str)


def test_extra_files_are_found_once_and_nothing_else_is(study: dict[str, bytes]) -> None:
    some = path_of(min(study))
    extra = {
        "strange": b"what is this?",
        "quarantine/strange.dcm": some.read_bytes(),
        f"{some.parent.relative_to(objects())}/{some.name}.copying": some.read_bytes()[:1000],
        f"{some.parent.relative_to(objects())}/copy-of-{some.name}": some.read_bytes(),
    }
    for name, content in extra.items():
        (objects() / name).parent.mkdir(exist_ok=True)
        (objects() / name).write_bytes(content)
    assert sorted(verify().faults, key=str) == [Fault("unindexed", key) for key in sorted(extra)]


def test_all_at_once_each_is_told_by_itself(study: dict[str, bytes]) -> None:
    damage = list(ROT.values())
    expected = {("unindexed", "", "extra.dcm")}
    for uid, (rot, kinds) in zip(sorted(study), damage[:8], strict=True):
        key = StoredObject.objects.get(instance__uid=uid).key
        rot(objects() / key)
        expected |= {(kind, uid, key) for kind in kinds}
    (objects() / "extra.dcm").write_bytes(b"extra")
    faults = verify().faults
    assert len(faults) == len(expected)
    assert {(fault.kind, fault.object, fault.key) for fault in faults} == expected


@pytest.mark.parametrize(
    ("rot", "kind"),
    [
        (lambda path: flip(path, -1), "damaged"),
        (lambda path: cut(path, -1), "length"),
        (lambda path: path.unlink(), "missing"),
    ],
    ids=["flipped", "cut", "gone"],
)
def test_quarantine_rots_too(ct1: Caller, study: dict[str, bytes], rot: Callable[[Path], Any], kind: str) -> None:
    other = image(StudyInstanceUID=study_uid(), PatientID="OTHER")
    assert ct1.store(encoded(other), CT, other.SOPInstanceUID)[0] == 0xB000
    key = ExceptionCase.objects.get().key
    assert verify().clean
    rot(objects() / key)
    assert verify().faults == [Fault(kind, key, other.SOPInstanceUID)]


# What readers see -----------------------------------------------------------------------------------

LOST: dict[str, Callable[[Path], Any]] = {
    "gone": lambda path: path.unlink(),
    "cut by one byte": lambda path: cut(path, -1),
    "cut in the middle": lambda path: cut(path, 150_000),
    "cut in the header": lambda path: cut(path, 100),
    "empty": lambda path: cut(path, 0),
}


def assert_told(answer: tuple[Dataset, Dataset | None], uid: str, completed: int) -> None:
    """The last answer says how many came, and which one did not."""
    status, listed = answer
    assert status.Status == PARTLY or (not completed and status.Status == FAILED)
    assert (status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations) == (completed, 1)
    assert listed is not None
    assert listed.FailedSOPInstanceUIDList == uid


@pytest.mark.parametrize("rot", LOST.values(), ids=LOST.keys())
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT], ids=["as stored", "converted"])
def test_a_get_gives_all_but_what_is_lost_and_names_it(
    ct1: Caller, study: dict[str, bytes], rot: Callable[[Path], Any], syntax: str
) -> None:
    uid = sorted(study)[3]
    rot(path_of(uid))
    got = ct1.get("STUDY", StudyInstanceUID=study_uid(), classes=[(CT, [syntax])])
    assert got.objects.keys() == study.keys() - {uid}
    assert_told(got.responses[-1], uid, len(study) - 1)
    if syntax == EXPLICIT:
        assert got.objects == {other: data for other, data in study.items() if other != uid}


@pytest.mark.parametrize("rot", LOST.values(), ids=LOST.keys())
def test_a_move_gives_all_but_what_is_lost_and_names_it(
    archive: RunningArchive, ct1: Caller, study: dict[str, bytes], rot: Callable[[Path], Any]
) -> None:
    uid = sorted(study)[3]
    rot(path_of(uid))
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]) as view1:
        responses = ct1.move("STUDY", "VIEW1", StudyInstanceUID=study_uid())
    assert view1.objects == {other: data for other, data in study.items() if other != uid}
    assert_told(responses[-1], uid, len(study) - 1)


@pytest.mark.parametrize("rot", LOST.values(), ids=LOST.keys())
def test_a_get_of_the_lost_object_alone_fails_with_an_honest_word(
    ct1: Caller, study: dict[str, bytes], rot: Callable[[Path], Any]
) -> None:
    uid = sorted(study)[3]
    rot(path_of(uid))
    got = ct1.get("IMAGE", SOPInstanceUID=uid, classes=[(CT, [EXPLICIT])])
    assert got.objects == {}
    status, _ = got.responses[-1]
    assert_told(got.responses[-1], uid, 0)
    assert status.get("ErrorComment")
    other = max(study)
    assert ct1.get("IMAGE", SOPInstanceUID=other, classes=[(CT, [EXPLICIT])]).objects == {other: study[other]}


@pytest.mark.parametrize("rot", ["flipped header", "grown"])
def test_an_image_that_is_whole_is_given_in_spite_of_what_is_around_it(
    ct1: Caller, study: dict[str, bytes], rot: str
) -> None:
    uid = min(study)
    path = path_of(uid)
    if rot == "grown":
        path.write_bytes(path.read_bytes() + b"more")
    else:
        flip(path, 140)
    assert ct1.get("IMAGE", SOPInstanceUID=uid, classes=[(CT, [EXPLICIT])]).objects == {uid: study[uid]}


@pytest.mark.parametrize("rot", LOST.values(), ids=LOST.keys())
def test_who_sends_a_lost_object_again_heals_it(
    ct1: Caller, study: dict[str, bytes], rot: Callable[[Path], Any]
) -> None:
    uid = sorted(study)[3]
    rot(path_of(uid))
    assert len(verify().faults) == 1
    assert ct1.store(study[uid], CT, uid) == (SUCCESS, "")
    assert verify().clean
    assert ct1.get("STUDY", StudyInstanceUID=study_uid(), classes=[(CT, [EXPLICIT])]).objects == study
