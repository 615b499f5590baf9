"""Frames are found where they are, and where nothing can be found nothing is made up (PS3.5 §A.4)."""

from __future__ import annotations

import io
import struct
import warnings

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import generate_frames

from hozi.core.dicom import part10, pixel_data, syntaxes
from hozi.core.errors import NotThere, Unreadable
from tests import corpus

RLE = syntaxes.for_unknown("1.2.840.10008.1.2.5")
J2K = syntaxes.for_unknown("1.2.840.10008.1.2.4.90")
EXPLICIT = syntaxes.for_unknown(syntaxes.EXPLICIT_LITTLE)


@pytest.mark.skipif(not corpus.rows(), reason="left out without the corpus")
def test_frames_of_real_files_are_those_that_pydicom_finds() -> None:
    compared = 0
    for row in corpus.rows():
        with row.path.open("rb") as file:
            try:
                header = part10.read_header(file)
                length = row.path.stat().st_size - header.dataset_offset
                syntax = syntaxes.for_unknown(header.transfer_syntax)
                found = pixel_data.find(file, header.dataset_offset, length, syntax)
            except Unreadable:
                continue
            theirs = _theirs(row.path) if found is not None and not syntax.video and not found.swap else None
            if found is None or theirs is None:
                continue
            if "truncated" in row.name:
                with pytest.raises(Unreadable):
                    found.read(file, header.dataset_offset, 1)
                continue
            ours = [found.read(file, header.dataset_offset, number + 1) for number in range(found.count)]
            assert ours == theirs, row.name
            assert [found.count, len(ours)] == [len(theirs)] * 2
            compared += 1
    assert compared > 200


def _theirs(path: object) -> list[bytes] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(str(path), force=True)
            count = int(dataset.get("NumberOfFrames") or 1)
            if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
                return list(generate_frames(dataset.PixelData, number_of_frames=count))
            size = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated // 8
            if dataset.BitsAllocated == 1 or "422" in dataset.PhotometricInterpretation:
                return None
            return [dataset.PixelData[at * size : (at + 1) * size] for at in range(count)]
        except Exception:  # noqa: BLE001 - what pydicom cannot read is no measure
            return None


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _item(value: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def _encapsulated(count: int, table: bytes, fragments: list[bytes], end: bool = True) -> bytes:
    frames = str(count).encode()
    head = _element(0x00280008, b"IS", frames + b" " * (len(frames) % 2))
    head += struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    tail = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if end else b""
    return head + _item(table) + b"".join(map(_item, fragments)) + tail


@given(
    st.lists(st.lists(st.binary(min_size=1, max_size=8).map(lambda one: one * 2), min_size=1, max_size=4), min_size=1)
)
def test_fragments_are_told_apart_by_the_table(frames: list[list[bytes]]) -> None:
    starts, at = [], 0
    for frame in frames:
        starts.append(at)
        at += sum(8 + len(fragment) for fragment in frame)
    table = struct.pack(f"<{len(starts)}I", *starts)
    file = io.BytesIO(b"before" + _encapsulated(len(frames), table, [one for frame in frames for one in frame]))
    found = pixel_data.find(file, 6, len(file.getvalue()) - 6, J2K)
    assert found is not None
    assert [found.read(file, 6, number + 1) for number in range(found.count)] == [b"".join(frame) for frame in frames]
    for beyond in (0, -1, len(frames) + 1):
        with pytest.raises(NotThere):
            found.read(file, 6, beyond)


def test_a_table_that_lies_is_not_followed() -> None:
    fragments = [b"aa", b"bbbb", b"cc"]
    for table in ((0, 8, 30), (0, 11, 22), (0, 10, 10), (5, 10, 22), (0, 10, 4_000_000_000)):
        file = io.BytesIO(_encapsulated(3, struct.pack("<3I", *table), fragments))
        found = pixel_data.find(file, 0, len(file.getvalue()), J2K)
        assert found is not None
        assert [found.read(file, 0, number) for number in (1, 2, 3)] == fragments
    # Nothing says which fragments belong together: nothing is guessed.
    file = io.BytesIO(_encapsulated(2, b"", fragments))
    with pytest.raises(Unreadable):
        pixel_data.find(file, 0, len(file.getvalue()), J2K)


def test_frames_of_single_bits_begin_with_a_byte_each() -> None:
    pixels = 0b1_10101_01010_11011
    head = b"".join(
        _element(tag, vr, value)
        for tag, vr, value in (
            (0x00280002, b"US", b"\x01\0"),
            (0x00280008, b"IS", b"3 "),
            (0x00280010, b"US", b"\x01\0"),
            (0x00280011, b"US", b"\x05\0"),
            (0x00280100, b"US", b"\x01\0"),
        )
    )
    data = head + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 2) + pixels.to_bytes(2, "little")
    file = io.BytesIO(data)
    found = pixel_data.find(file, 0, len(data), EXPLICIT)
    assert found is not None
    assert [found.read(file, 0, number)[0] for number in (1, 2, 3)] == [0b11011, 0b01010, 0b10101]


@given(st.data())
def test_whatever_the_bytes_are_there_is_an_answer(data: st.DataObject) -> None:
    whole = _encapsulated(2, struct.pack("<2I", 0, 10), [b"aa", b"bb"])
    changed = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    file = io.BytesIO(bytes(changed))
    try:
        found = pixel_data.find(file, 0, len(changed), data.draw(st.sampled_from([RLE, EXPLICIT])))
        if found is not None:
            assert len(found.read(file, 0, 1)) <= len(changed)
    except (Unreadable, NotThere):
        pass
