"""Edge cases E12 to E27 and E44 to E47, E53 to E55: objects as devices really send them."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from hozi.archive.exceptions import open_cases
from hozi.archive.verify import verify
from hozi.core.dimse.association import ProposedContext
from hozi.core.dimse.requestor import associate
from hozi.settings import HOZI
from tests.archive_running import Caller, RunningArchive, arriving
from tests.doors.dimse.images import BIG, CT, EXPLICIT, IMPLICIT, encoded, image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

SUCCESS = 0x0000
DEFLATED = "1.2.840.10008.1.2.1.99"


@pytest.fixture
def ct1(archive: RunningArchive) -> Caller:
    return archive.admit("CT1")


def send(caller: Caller, dataset: Dataset, data: bytes | None = None, syntax: str = EXPLICIT) -> tuple[int, str]:
    data = encoded(dataset, syntax) if data is None else data
    return caller.store(data, str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), syntax)


def assert_kept(caller: Caller, dataset: Dataset, data: bytes | None = None, syntax: str = EXPLICIT) -> None:
    """It is answered with success and comes back bit for bit."""
    data = encoded(dataset, syntax) if data is None else data
    assert send(caller, dataset, data, syntax) == (SUCCESS, "")
    got = caller.get("IMAGE", SOPInstanceUID=dataset.SOPInstanceUID, classes=[(str(dataset.SOPClassUID), [syntax])])
    assert got.objects == {dataset.SOPInstanceUID: data}


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An explicit little endian element, by hand."""
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"OD", b"OF", b"OL", b"OV", b"SV", b"UV"):
        return head + vr + b"\0\0" + struct.pack("<I", size) + value
    return head + vr + struct.pack("<H", size) + value


def reasons() -> list[str]:
    return [case.reason for case in open_cases()]


class Broken(Exception):
    """The sender's disk fails in the middle of an image."""


def half(data: bytes) -> Iterator[bytes]:
    yield data[: len(data) // 2]
    raise Broken


def test_e12_an_abort_in_the_middle_keeps_the_earlier_and_drops_the_half(archive: RunningArchive, ct1: Caller) -> None:
    first, second = image(), image(Rows=512, Columns=512, PixelData=bytes(512 * 512))
    association = associate(
        "127.0.0.1", archive.port, calling_ae="CT1", called_ae="HOZI", contexts=[ProposedContext(1, CT, (EXPLICIT,))]
    )
    context = association.contexts[1]
    assert association.store(context, CT, first.SOPInstanceUID, [encoded(first)]).status == SUCCESS
    with pytest.raises(Broken):
        association.store(context, CT, second.SOPInstanceUID, half(encoded(second)))
    deadline = time.monotonic() + 30
    while arriving(HOZI.storage) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert arriving(HOZI.storage) == []
    assert [match.StudyInstanceUID for match in ct1.find("STUDY", StudyInstanceUID="")] == [first.StudyInstanceUID]
    assert reasons() == []
    assert_kept(ct1, second)


def test_e15_an_odd_length_is_stored_as_it_is(ct1: Caller) -> None:
    dataset = image(PixelData=None)
    assert_kept(ct1, dataset, encoded(dataset) + element(0x7FE00010, b"OB", b"\1\2\3"))


def test_e16_group_0002_in_the_dataset_is_no_failure_and_never_an_answer(ct1: Caller) -> None:
    dataset = image()
    meta = element(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0")
    assert_kept(ct1, dataset, meta + encoded(dataset))
    [match] = ct1.find("STUDY", StudyInstanceUID=dataset.StudyInstanceUID, PatientName="")
    assert all(found.tag.group != 0x0002 for found in match)


def test_e17_group_lengths_are_ignored(ct1: Caller) -> None:
    dataset = image()
    assert_kept(ct1, dataset, element(0x00080000, b"UL", struct.pack("<I", 4711)) + encoded(dataset))


def test_e18_a_sequence_of_unknown_vr_with_undefined_length_is_implicit(ct1: Caller) -> None:
    dataset = image(PixelData=None)
    inner = struct.pack("<HHI", 0x0008, 0x0060, 2) + b"MR"
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    unknown = element(0x00790010, b"LO", b"SOMEBODY") + element(
        0x00791001, b"UN", item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), 0xFFFFFFFF
    )
    assert_kept(ct1, dataset, encoded(dataset) + unknown + element(0x7FE00010, b"OB", b"\1\2"))


def test_e19_private_elements_without_creator_keep_their_bytes(ct1: Caller) -> None:
    dataset = image(PixelData=None)
    assert_kept(ct1, dataset, encoded(dataset) + element(0x00791001, b"LO", b"what is it"))


def test_e20_elements_after_the_pixel_data_are_kept(ct1: Caller) -> None:
    dataset = image()
    assert_kept(ct1, dataset, encoded(dataset) + element(0x7FE10010, b"LO", b"AFTER "))


@pytest.mark.parametrize("pixels", [None, b""])
def test_e21_an_image_without_pixels_is_stored(ct1: Caller, pixels: bytes | None) -> None:
    assert_kept(ct1, image(PixelData=pixels))


def nested(depth: int) -> bytes:
    """Sequences of undefined length in one another."""
    opening = element(0x00081140, b"SQ", b"", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closing = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return opening * depth + closing * depth


def test_e22_empty_and_nested_items_are_read_and_too_deep_ones_refused(ct1: Caller) -> None:
    dataset = image(PixelData=None)
    head = element(0x00080016, b"UI", CT.encode() + b"\0") + element(
        0x00080018, b"UI", dataset.SOPInstanceUID.encode() + b"\0" * (len(dataset.SOPInstanceUID) % 2)
    )
    rest = encoded(Dataset({key: dataset[key] for key in dataset.keys() if key.group > 0x08}))  # noqa: SIM118
    assert_kept(ct1, dataset, head + nested(60) + rest)
    deep = image(PixelData=None)
    for depth in (65, 10_000):
        status, comment = send(ct1, deep, head + nested(depth) + rest)
        assert status == 0xC000
        assert comment
    assert reasons() == ["unreadable", "unreadable"]


def test_e23_deflated_with_bytes_behind_it_is_kept_and_a_bomb_is_not_inflated(ct1: Caller) -> None:
    dataset = image()
    squeeze = zlib.compressobj(wbits=-15)
    data = squeeze.compress(encoded(dataset)) + squeeze.flush()
    assert_kept(ct1, dataset, data + b"\0" * (len(data) % 2), DEFLATED)
    bomb = image(PixelData=None)
    squeeze = zlib.compressobj(9, wbits=-15)
    data = squeeze.compress(encoded(bomb) + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFE))
    block = b"\0" * (1 << 24)
    data += b"".join(squeeze.compress(block) for _ in range(80)) + squeeze.flush()
    status, comment = send(ct1, bomb, data, DEFLATED)
    assert status == 0xC000
    assert "inflates" in comment or "cut short" in comment


def test_e24_big_endian_is_stored_and_given_back_in_little_endian_to_those_who_need_it(ct1: Caller) -> None:
    dataset = image(BitsAllocated=16, BitsStored=16, HighBit=15, PixelData=bytes(range(128)))
    dataset["PixelData"].VR = "OW"
    data = _big(dataset)
    assert_kept(ct1, dataset, data, BIG)
    got = ct1.get("IMAGE", SOPInstanceUID=dataset.SOPInstanceUID, classes=[(CT, [EXPLICIT])])
    assert got.objects[dataset.SOPInstanceUID].endswith(bytes(range(128)))


def _big(dataset: Dataset) -> bytes:
    import io

    from pydicom import dcmwrite

    buffer = io.BytesIO()
    swapped = bytes(byte for pair in zip(dataset.PixelData[1::2], dataset.PixelData[::2], strict=True) for byte in pair)
    copy = Dataset(dataset)
    copy.PixelData = swapped
    copy["PixelData"].VR = "OW"
    dcmwrite(buffer, copy, implicit_vr=False, little_endian=False)
    return buffer.getvalue()


def test_e25_vrs_with_32_bit_lengths_are_read(ct1: Caller) -> None:
    dataset = image(PixelData=None)
    odd_ones = b"".join(
        (
            element(0x00787001, b"UC", b"characters "),
            element(0x00787002, b"UR", b"https://example.org/"),
            element(0x00787003, b"OD", b"\0" * 16),
            element(0x00787004, b"OL", b"\0" * 8),
            element(0x00787005, b"OV", b"\0" * 16),
            element(0x00787006, b"UT", b"x" * 70_000),
        )
    )
    assert_kept(ct1, dataset, encoded(dataset) + odd_ones)


@pytest.mark.parametrize("declared", [None, "", "ISO_IR 100", "ISO_IR 192", "NONSENSE"])
def test_e26_wrong_or_missing_character_sets_never_crash(ct1: Caller, declared: str | None) -> None:
    dataset = image(PatientName=None, PatientID=f"E26-{declared}")
    head = [] if declared is None else [element(0x00080005, b"CS", declared.encode() + b" " * (len(declared) % 2))]
    name = element(0x00100010, b"PN", b"M\xfcller^J\xe9r\xf4me ")
    low = encoded(Dataset({key: dataset[key] for key in dataset.keys() if key < 0x00100010}))  # noqa: SIM118
    high = encoded(Dataset({key: dataset[key] for key in dataset.keys() if key > 0x00100010}))  # noqa: SIM118
    assert_kept(ct1, dataset, b"".join(head) + low + name + high)
    [match] = ct1.find("STUDY", PatientID=f"E26-{declared}", PatientName="")
    assert str(match.PatientName)


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        ("GBK", "王^小东".encode("gbk"), "王^小东"),
        ("GB18030", "王^小东".encode("gb18030"), "王^小东"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis"), "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
    ],
)
def test_e27_code_extensions_and_aliases_are_decoded(ct1: Caller, charset: str, raw: bytes, text: str) -> None:
    dataset = image(PatientName=None)
    head = element(0x00080005, b"CS", charset.encode() + b" " * (len(charset) % 2))
    name = element(0x00100010, b"PN", raw + b" " * (len(raw) % 2))
    low = encoded(Dataset({key: dataset[key] for key in dataset.keys() if key < 0x00100010}))  # noqa: SIM118
    high = encoded(Dataset({key: dataset[key] for key in dataset.keys() if key > 0x00100010}))  # noqa: SIM118
    assert_kept(ct1, dataset, head + low + name + high)
    [match] = ct1.find("STUDY", StudyInstanceUID=dataset.StudyInstanceUID, PatientName="")
    assert str(match.PatientName).rstrip("=") == text


def test_e44_the_same_object_again_is_success_and_no_second_copy(archive: RunningArchive, ct1: Caller) -> None:
    dataset = image()
    for _ in range(3):
        assert send(ct1, dataset) == (SUCCESS, "")
    [match] = ct1.find("STUDY", StudyInstanceUID=dataset.StudyInstanceUID, NumberOfStudyRelatedInstances="")
    assert match.NumberOfStudyRelatedInstances == 1
    checked = verify()
    assert (checked.objects, checked.quarantined, checked.clean) == (1, 0, True)


def test_e45_other_content_under_the_same_uid_never_overwrites(ct1: Caller) -> None:
    first = image()
    assert_kept(ct1, first)
    variants: list[dict[str, Any]] = [
        {"PixelData": b"\xff" * 64},
        {"SeriesInstanceUID": generate_uid()},
        {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()},
    ]
    for changed in variants:
        same = {name: first[name].value for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")}
        status, comment = send(ct1, image(**{**same, **changed}))
        assert (status, comment) == (0xB000, "kept aside: other content has this UID")
    assert_kept(ct1, first)
    assert reasons() == ["same-uid-other-content"] * 3
    assert len(ct1.find("STUDY", StudyInstanceUID="")) == 1
    assert verify().quarantined == 3


def test_e46_a_study_under_another_patient_is_kept_aside(ct1: Caller) -> None:
    first = image()
    assert_kept(ct1, first)
    other = image(StudyInstanceUID=first.StudyInstanceUID, PatientID="E-0002", PatientName="Dube^Sipho")
    assert send(ct1, other) == (0xB000, "kept aside: the study is another patient's")
    assert reasons() == ["study-of-other-patient"]
    got = ct1.get("STUDY", StudyInstanceUID=first.StudyInstanceUID, classes=[(CT, [EXPLICIT])])
    assert set(got.objects) == {first.SOPInstanceUID}


def test_e47_the_same_number_at_two_hospitals_is_two_patients(archive: RunningArchive, ct1: Caller) -> None:
    from hozi.facilities import places

    places.add("SOUTH", "South Hospital", actor="test")
    ct2 = archive.admit("CT2", facility="SOUTH", sees_all=True)
    assert send(ct1, image(PatientName="Chikomba^Rutendo"))[0] == SUCCESS
    assert send(ct2, image(PatientName="Dube^Sipho"))[0] == SUCCESS
    assert len(ct2.find("STUDY", PatientID="E-0001", StudyInstanceUID="")) == 2
    assert len(ct1.find("STUDY", PatientID="E-0001", StudyInstanceUID="")) == 1
    assert reasons() == []


@pytest.mark.parametrize("uid", ["1.2.3." + "4" * 58, "1.2.03.004"])
def test_e53_long_and_uncanonical_uids_are_accepted(ct1: Caller, uid: str) -> None:
    assert_kept(ct1, image(SOPInstanceUID=uid))


def test_e53_a_uid_padded_with_a_space_is_the_same_uid(ct1: Caller) -> None:
    dataset = image(StudyInstanceUID="1.2.3.4.7", PixelData=None)
    data = encoded(dataset).replace(b"1.2.3.4.7\0", b"1.2.3.4.7 ")
    assert_kept(ct1, dataset, data)
    assert len(ct1.find("STUDY", StudyInstanceUID="1.2.3.4.7")) == 1


def test_e54_one_uid_for_study_series_and_object_is_accepted(ct1: Caller) -> None:
    uid = generate_uid()
    assert_kept(ct1, image(SOPInstanceUID=uid, StudyInstanceUID=uid, SeriesInstanceUID=uid))


def test_e55_texts_longer_than_allowed_are_kept_and_found(ct1: Caller) -> None:
    dataset = image(AccessionNumber="ACCESSION-NUMBER-OF-24CH", StudyDescription="x" * 900, PatientName="N" * 300)
    assert_kept(ct1, dataset)
    [match] = ct1.find("STUDY", AccessionNumber="ACCESSION-NUMBER-OF-24CH", StudyDescription="")
    assert match.StudyDescription.startswith("x" * 200)


def test_a11_a_dataset_that_contradicts_its_command_is_refused_and_kept_aside(ct1: Caller) -> None:
    dataset = image()
    status, comment = ct1.store(encoded(dataset), CT, generate_uid())
    assert status == 0xA900
    assert "SOP Instance UID" in comment
    assert reasons() == ["contradicts-command"]
    assert ct1.find("STUDY", StudyInstanceUID="") == []


@pytest.mark.parametrize("uid", [b"../../x\0", b"1.2\0.3", b"1" * 70, b"", b"1.2 3.4 ", "1.2.٣".encode()])
def test_a12_no_uid_becomes_a_path(archive: RunningArchive, ct1: Caller, uid: bytes) -> None:
    dataset = image(SOPInstanceUID="1.2.3.4.5.6.7.8.9.10.11")
    plain = element(0x00080018, b"UI", b"1.2.3.4.5.6.7.8.9.10.11\0")
    data = encoded(dataset).replace(plain, element(0x00080018, b"UI", uid + b"\0" * (len(uid) % 2)))
    status, comment = ct1.store(data, CT, "1.2.3.4.5.6.7.8.9.10.11")
    assert status in (0xC000, 0xA900)
    assert "SOP Instance UID" in comment
    assert verify().clean


def test_implicit_and_explicit_are_kept_apart(ct1: Caller) -> None:
    assert_kept(ct1, image(), syntax=IMPLICIT)


def test_a_device_that_may_not_store_is_told_so(archive: RunningArchive) -> None:
    viewer = archive.admit("VIEW1", may=["query"])
    dataset = image()
    assert send(viewer, dataset) == (0x0124, "this device may not store here")
