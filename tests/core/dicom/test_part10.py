from __future__ import annotations

import io
import mmap
import random
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.dicom import part10, syntaxes
from hozi.core.errors import Unreadable
from tests.core.dicom.encoded import explicit, implicit
from tests.corpus import CORPUS, Row, rows

CT = "1.2.840.10008.5.1.4.1.1.2"
INSTANCE = "1.2.3.4"
NO_DICOM_AT_ALL = {"malformed/pydicom__pydicom/no_meta.dcm"}  # begins with a byte too many
WITHOUT_TRANSFER_SYNTAX = {
    "malformed/pydicom__pydicom-data/OT-PAL-8-face.dcm": syntaxes.IMPLICIT_LITTLE,
    "malformed/pydicom__pydicom/ExplVR_BigEndNoMeta.dcm": syntaxes.EXPLICIT_BIG,
    "malformed/pydicom__pydicom/ExplVR_LitEndNoMeta.dcm": syntaxes.EXPLICIT_LITTLE,
    "malformed/pydicom__pydicom/meta_missing_tsyntax.dcm": syntaxes.IMPLICIT_LITTLE,
    "malformed/pydicom__pydicom/rtstruct.dcm": syntaxes.IMPLICIT_LITTLE,
}
HEADER = part10.write_header(CT, INSTANCE, syntaxes.EXPLICIT_LITTLE)
DATASET = explicit(0x00080016, b"UI", CT.encode() + b"\0") + explicit(0x00080060, b"CS", b"CT")


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's remarks on odd files
@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_it_reads_the_headers_of_real_files_as_pydicom_does(row: Row) -> None:
    if row.name in NO_DICOM_AT_ALL:
        with pytest.raises(Unreadable):
            part10.read_header(row.path.read_bytes())
        return
    header = part10.read_header(row.path.read_bytes())
    assert header.guessed == (row.name in WITHOUT_TRANSFER_SYNTAX)
    expected = pydicom.dcmread(row.path, force=True, stop_before_pixels=True)
    if header.guessed:
        assert header.transfer_syntax == WITHOUT_TRANSFER_SYNTAX[row.name]
    else:
        assert header.transfer_syntax == expected.file_meta.TransferSyntaxUID
        assert header.sop_class == expected.file_meta.get("MediaStorageSOPClassUID", "")
        assert header.sop_instance == expected.file_meta.get("MediaStorageSOPInstanceUID", "")
    assert header.preamble == (expected.preamble or b"")
    assert header.is_directory == row.path.name.startswith("DICOMDIR")
    assert set(header.meta) == {int(element.tag) for element in expected.file_meta}


@pytest.mark.parametrize(
    "row", [row for row in rows()[::10] if row.name not in NO_DICOM_AT_ALL], ids=lambda row: row.name
)
def test_a_buffer_a_mapping_and_a_file_are_read_alike(row: Row) -> None:
    expected = part10.read_header(row.path.read_bytes())
    with row.path.open("rb") as file:
        assert part10.read_header(file) == expected
        assert file.tell() == 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert part10.read_header(mapped) == expected
            with memoryview(mapped) as view:
                assert part10.read_header(view) == expected


def test_it_finds_the_dataset_where_pydicom_finds_it() -> None:
    path = CORPUS / "modalities/pydicom__pydicom/CT_small.dcm"
    header = part10.read_header(path.read_bytes())
    second = pydicom.dcmread(path).get_item("ImageType")
    assert second is not None
    # In front of it stands SpecificCharacterSet, with a value of ten bytes.
    assert second.value_tell - 8 - (8 + 10) == header.dataset_offset


def test_it_needs_no_group_length() -> None:
    content = bytes(128) + b"DICM" + explicit(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0") + DATASET
    header = part10.read_header(content)
    assert (header.transfer_syntax, header.guessed) == (syntaxes.EXPLICIT_LITTLE, False)
    assert content[header.dataset_offset :] == DATASET


@pytest.mark.parametrize("wrong", [0, 1, 2**32 - 1])
def test_it_does_not_rely_on_the_group_length(wrong: int) -> None:
    content = HEADER.replace(HEADER[132:144], explicit(0x00020000, b"UL", wrong.to_bytes(4, "little")))
    assert part10.read_header(content + DATASET).dataset_offset == len(HEADER)


def test_it_reads_a_header_in_implicit_vr() -> None:
    content = bytes(128) + b"DICM" + implicit(0x00020010, b"1.2.840.10008.1.2.1\0") + DATASET
    assert part10.read_header(content).transfer_syntax == syntaxes.EXPLICIT_LITTLE


def test_it_reads_a_file_without_a_preamble() -> None:
    header = part10.read_header(HEADER[128:] + DATASET)
    assert (header.preamble, header.transfer_syntax) == (b"", syntaxes.EXPLICIT_LITTLE)
    header = part10.read_header(HEADER[132:] + DATASET)
    assert (header.preamble, header.transfer_syntax) == (b"", syntaxes.EXPLICIT_LITTLE)


def test_it_reads_a_header_larger_than_its_first_look_at_the_file() -> None:
    content = part10.write_header(CT, INSTANCE, syntaxes.EXPLICIT_LITTLE, private_information=bytes(100_000)) + DATASET
    header = part10.read_header(io.BytesIO(content))
    assert content[header.dataset_offset :] == DATASET
    assert header.meta[0x00020102] == bytes(100_000)


def test_a_header_of_more_than_a_mebibyte_is_refused() -> None:
    content = part10.write_header(CT, INSTANCE, syntaxes.EXPLICIT_LITTLE, private_information=bytes(1 << 20)) + DATASET
    for source in (content, io.BytesIO(content)):
        with pytest.raises(Unreadable):
            part10.read_header(source)


def test_a_header_of_endless_elements_is_refused() -> None:
    with pytest.raises(Unreadable):
        part10.read_header(bytes(128) + b"DICM" + explicit(0x00020016, b"AE", b"") * 100_000)


def test_a_file_is_read_from_where_it_stands() -> None:
    file = io.BytesIO(b"before" + HEADER + DATASET)
    file.seek(6)
    header = part10.read_header(file)
    assert header.dataset_offset == len(HEADER)
    assert file.tell() == 6


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        bytes(1000),
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100),
        b"PK\3\4" + bytes(200),
        b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(200),
        b"Ngoni went to the market.\n" * 20,
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + b"\xff" * 100,
        implicit(0x00080005, b"ISO_IR 100", length=100),
        explicit(0x00080005, b"CS", b"ISO_IR 100", length=100),
        random.Random(1).randbytes(4096),
    ],
)
def test_what_is_no_dicom_file_is_unreadable(content: bytes) -> None:
    for source in (content, io.BytesIO(content)):
        with pytest.raises(Unreadable):
            part10.read_header(source)


@given(st.binary(max_size=400), st.booleans(), st.integers(0, 400))
def test_no_bytes_make_it_fail_otherwise(content: bytes, has_prefix: bool, cut: int) -> None:
    content = bytes(128) + b"DICM" + content if has_prefix else content
    for source in (content, io.BytesIO(content), (HEADER + content)[:cut]):
        try:
            header = part10.read_header(source)
        except Unreadable:
            continue
        assert header.transfer_syntax


def test_it_writes_what_pydicom_reads(tmp_path: Path) -> None:
    header = part10.write_header(CT, INSTANCE, syntaxes.EXPLICIT_LITTLE, "CT1", b'{"from":"CT1"}!')
    path = tmp_path / "object.dcm"
    path.write_bytes(header + DATASET)
    read = pydicom.dcmread(path)
    assert read.preamble == bytes(128)
    assert read.file_meta.FileMetaInformationVersion == b"\0\1"
    assert read.file_meta.FileMetaInformationGroupLength == len(header) - 144
    assert read.file_meta.MediaStorageSOPClassUID == CT
    assert read.file_meta.MediaStorageSOPInstanceUID == INSTANCE
    assert read.file_meta.TransferSyntaxUID == syntaxes.EXPLICIT_LITTLE
    assert read.file_meta.SourceApplicationEntityTitle == "CT1"
    assert read.file_meta.PrivateInformation == b'{"from":"CT1"}!\0'
    assert list(read.file_meta.keys()) == sorted(read.file_meta.keys())
    assert read.Modality == "CT"


@pytest.mark.dcmtk
def test_it_writes_what_dcmtk_reads_without_complaint(tmp_path: Path) -> None:
    import subprocess

    path = tmp_path / "object.dcm"
    path.write_bytes(part10.write_header(CT, INSTANCE, syntaxes.EXPLICIT_LITTLE, "CT1", b"x") + DATASET)
    ran = subprocess.run(["dcmftest", str(path)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.split(":")[0]) == (0, "yes")
    ran = subprocess.run(["dcmdump", "--quiet", str(path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_same_arguments_give_the_same_header() -> None:
    assert part10.write_header(CT, INSTANCE, syntaxes.EXPLICIT_LITTLE, "CT1", b"x") == part10.write_header(
        CT, INSTANCE, syntaxes.EXPLICIT_LITTLE, "CT1", b"x"
    )


@given(
    st.text("0123456789.", min_size=1, max_size=64),
    st.text("0123456789.", min_size=1, max_size=64),
    st.text("ABC1", max_size=16),
    st.binary(max_size=300),
)
def test_it_reads_back_what_it_wrote(sop_class: str, sop_instance: str, ae_title: str, private: bytes) -> None:
    written = part10.write_header(sop_class, sop_instance, syntaxes.IMPLICIT_LITTLE, ae_title, private)
    header = part10.read_header(written + b"dataset")
    assert (header.sop_class, header.sop_instance) == (sop_class, sop_instance)
    assert (header.transfer_syntax, header.guessed) == (syntaxes.IMPLICIT_LITTLE, False)
    assert header.dataset_offset == len(written)
    assert header.meta.get(0x00020016, b"").decode().strip() == ae_title
    assert header.meta.get(0x00020102, b"")[: len(private)] == private
    assert header.preamble == bytes(128)


def test_wrong_uids_get_a_header_too_but_not_endless_ones_a12() -> None:
    header = part10.read_header(part10.write_header("../../x", "\u0661\u0662", syntaxes.EXPLICIT_LITTLE) + DATASET)
    assert (header.sop_class, header.sop_instance) == ("../../x", "??")
    with pytest.raises(Unreadable):
        part10.write_header(CT, "1" * 70_000, syntaxes.EXPLICIT_LITTLE)


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        (b"", "empty"),
        (bytes(128), "empty"),
        (b"II*\0\x08\0\0\0", "tiff"),
        (b"MM\0*\0\0\0\x08", "tiff"),
        (b"II+\0", "tiff"),
        (b"MZ\x90\0", "executable"),
        (b"\x7fELF\2\1\1", "executable"),
        (b"\xcf\xfa\xed\xfe", "executable"),
        (b"\xfe\xed\xfa\xce", "executable"),
        (b"\xca\xfe\xba\xbe", "executable"),
        (b"#!/bin/sh\n", "executable"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "executable"),
        (b"<html><script>", "executable"),
        (b" \n<!DOCTYPE html>", "executable"),
        (b"<?xml version='1.0'?><svg>", "executable"),
        (b"<?php system($_GET['c']);", "executable"),
        (b"%PDF-1.7", "executable"),
        (b"\0\0\0%PDF-1.7", "executable"),
        (b"PK\3\4", "executable"),
        (b"@ECHO off\r\n", "executable"),
        (b"\0asm\1\0\0\0", "executable"),
        (b"Made by a camera", "other"),
        (b"\0\0\0\0\1", "other"),
    ],
)
def test_it_tells_what_a_preamble_is_for_a22(begin: bytes, kind: str) -> None:
    assert part10.preamble_kind(begin.ljust(128, b"\0") if begin else b"") == kind


def test_preambles_of_real_files_are_harmless() -> None:
    for row in rows():
        if row.name not in NO_DICOM_AT_ALL:
            assert part10.preamble_kind(part10.read_header(row.path.read_bytes()).preamble) != "executable"
