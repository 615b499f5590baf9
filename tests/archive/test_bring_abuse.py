"""ZIP archives, DICOMDIRs and preambles that somebody made on purpose (A15, A16, A22)."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection
from pydicom.dataset import Dataset

from hozi.accounts.authorise import EVERYTHING
from hozi.archive.bring import Seen
from hozi.archive.exceptions import Reason, open_cases
from hozi.archive.export import export
from hozi.archive.models import ExceptionCase, Instance
from hozi.archive.verify import verify
from hozi.audit.models import Event
from hozi.audit.record import Code
from hozi.core.dicom import part10
from hozi.settings import HOZI
from tests.archive.conftest import Counter
from tests.core.dicom.encoded import explicit, item, sequence
from tests.dicom_files import file_bytes, write, write_dicomdir
from tests.doors.dimse.images import image


@contextmanager
def nothing_outside_appears(folder: Path) -> Iterator[None]:
    """Nothing is written beside the archive's own storage."""
    before = sorted(folder.rglob("*"))
    yield
    assert sorted(path for path in folder.rglob("*") if "journals" not in path.parts) == before
    assert {path.name for path in HOZI.storage.iterdir() if path.is_dir()} <= {
        *("objects", "incoming", "scratch", "metadata", "uploads", "run", "keys", "cache"),
    }


def packed(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    """A ZIP archive with these entries."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def reasons(files: list[Seen]) -> list[str]:
    """Why files were refused; none may have another fate."""
    assert {seen.fate for seen in files} == {"refused"}
    return [seen.reason for seen in files]


# ZIP archives (A15) -----------------------------------------------------------------------------------


def test_a15_names_in_a_zip_archive_lead_nowhere(counter: Counter, tmp_path: Path) -> None:
    names = ("../../../escaped.dcm", "/etc/escaped.dcm", "C:\\escaped.dcm", "..\\..\\escaped.dcm", "a/../../b.dcm")
    path = packed(tmp_path / "slip.zip", *((name, file_bytes(image())) for name in names))
    with nothing_outside_appears(tmp_path):
        assert counter.bring(path).counts["stored"] == 5


def test_a15_a_link_in_a_zip_archive_is_refused(counter: Counter, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.dcm")
    link.external_attr = 0o120777 << 16
    path = packed(tmp_path / "link.zip", (link, b"/etc/passwd"))
    assert reasons(counter.bring(path).files) == ["a link"]


def test_a15_a_zip_archive_in_a_zip_archive_is_refused(counter: Counter, tmp_path: Path) -> None:
    inner = packed(tmp_path / "inner.zip", ("a.dcm", file_bytes(image())))
    path = packed(tmp_path / "outer.zip", ("inner.zip", inner.read_bytes()))
    assert reasons(counter.bring(path).files) == ["a ZIP archive inside a ZIP archive"]


def test_a15_one_entry_under_many_names_is_refused(counter: Counter, tmp_path: Path) -> None:
    header = file_bytes(image())
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.dcm", header + bytes(8 << 20))
    # The same bytes under many names: what 42.zip and its like do.
    data = path.read_bytes()
    end = data.rfind(b"PK\x05\x06")
    *_, size, offset, _ = struct.unpack_from("<4s4H2LH", data, end)
    record = data[offset : offset + size]
    many = 300
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, many, many, size * many, offset, 0)
    path.write_bytes(data[:offset] + record * many + tail)
    assert reasons(counter.bring(path).files) == ["its entries lie over one another"]


@pytest.mark.parametrize("wide", [False, True], ids=["zip", "zip64"])
@pytest.mark.parametrize("honest", [True, False], ids=["honest", "lying"])
def test_a15_a_million_entries_are_refused_unread(counter: Counter, tmp_path: Path, wide: bool, honest: bool) -> None:
    many = 1_000_000 if honest else 3
    record = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[20] * 2, *[0] * 4, *[0] * 3, 1, *[0] * 4, 0, 0) + b"x"
    listing = record * 1_000_000
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, min(many, 0xFFFF), min(many, 0xFFFF), len(listing), 0, 0)
    if wide:
        tail = (
            struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, many, many, len(listing), 0)
            + struct.pack("<4sLQL", b"PK\x06\x07", 0, len(listing), 1)
            + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0, 0)
        )
    path = tmp_path / "million.zip"
    path.write_bytes(listing + tail)
    tracemalloc.start()
    try:
        files = counter.bring(path).files
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    assert reasons(files) == ["more than 100000 entries: unpack it, and import the folder"]


def test_a15_an_encrypted_entry_is_refused_and_the_others_come_in(counter: Counter, tmp_path: Path) -> None:
    path = packed(tmp_path / "secret.zip", ("a.dcm", file_bytes(image())), ("b.dcm", file_bytes(image())))
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + place] |= 1
    path.write_bytes(data)
    files = counter.bring(path).files
    assert [(seen.fate, seen.reason) for seen in files] == [("refused", "encrypted"), ("stored", "")]


@pytest.mark.parametrize("told", [100, 1 << 20, 0xFFFFFFF0], ids=["too-little", "too-much", "bomb"])
def test_a15_forged_sizes_and_bombs_are_noticed(counter: Counter, tmp_path: Path, told: int) -> None:
    path = packed(tmp_path / "forged.zip", ("a.dcm", file_bytes(image())))
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.find(b"PK\x01\x02") + 24, told)
    path.write_bytes(data)
    [reason] = reasons(counter.bring(path).files)
    assert reason.startswith(("damaged in its ZIP archive", "it would unpack to 4095 MiB"))
    assert Instance.objects.count() == ExceptionCase.objects.count() == 0


def test_a15_damaged_archives_are_refused(counter: Counter, tmp_path: Path) -> None:
    whole = packed(tmp_path / "a.zip", *((f"{n}.dcm", file_bytes(image())) for n in range(3))).read_bytes()
    for number, at in enumerate(range(0, len(whole), 97)):
        data = bytearray(whole)
        data[at] ^= 0x41
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / f"{number}.zip").write_bytes(data)
        (tmp_path / "many" / f"{number}-cut.zip").write_bytes(whole[:at])
        (tmp_path / "many" / f"{number}-late.zip").write_bytes(whole[at:])
    counts = counter.bring(tmp_path / "many").counts
    assert counts["refused"] > 10
    assert Instance.objects.count() <= 3


# DICOMDIR (A16) ---------------------------------------------------------------------------------------

OUTSIDE = [
    ["..", "outside", "SECRET"],
    ["..\\outside\\SECRET"],
    ["", "etc", "passwd"],
    ["SUB", "..", "..", "outside", "SECRET"],
    ["/etc/passwd"],
    ["C:", "SECRET"],
    ["CON"],
    ["SUB", "com1.dcm"],
    ["nul.txt"],
    ["."],
    [".. "],
    ["LINK", "SECRET"],
    ["LINKED"],
]


@pytest.mark.parametrize("parts", OUTSIDE, ids="|".join)
def test_a16_a_dicomdir_leads_nowhere_else(counter: Counter, tmp_path: Path, parts: list[str]) -> None:
    write(tmp_path / "outside" / "SECRET")
    write(tmp_path / "cd" / "SUB" / "IM1")
    (tmp_path / "cd" / "LINK").symlink_to(tmp_path / "outside")
    (tmp_path / "cd" / "LINKED").symlink_to(tmp_path / "outside" / "SECRET")
    for name in ("CON", "SUB/com1.dcm", "nul.txt"):
        write(tmp_path / "cd" / name)
    write_dicomdir(tmp_path / "cd" / "DICOMDIR", [parts, ["SUB", "IM1"]])
    odd, right = counter.bring(tmp_path / "cd" / "DICOMDIR").files
    assert right.fate == "stored"
    assert (odd.fate, odd.reason) == ("refused", "the DICOMDIR names a file outside of its folder")


def test_a16_a_dicomdir_that_names_itself_or_a_folder_ends(counter: Counter, tmp_path: Path) -> None:
    (tmp_path / "SUB").mkdir()
    write_dicomdir(tmp_path / "DICOMDIR", [["DICOMDIR"], ["SUB"], ["DICOMDIR"]])
    assert reasons(counter.bring(tmp_path / "DICOMDIR").files) == [
        "media directory, not an image",
        "the DICOMDIR names it, but it is not there",
        "media directory, not an image",
    ]


def test_a16_records_within_records_within_records_are_refused(counter: Counter, tmp_path: Path) -> None:
    write_dicomdir(tmp_path / "DICOMDIR", [["IM1"]])
    data = (tmp_path / "DICOMDIR").read_bytes()
    inner = explicit(0x00041500, b"CS", b"IM1 ")
    for _ in range(200):
        inner = sequence(0x00041220, item(inner))
    (tmp_path / "DICOMDIR").write_bytes(data[: part10.read_header(data).dataset_offset] + inner)
    [reason] = reasons(counter.bring(tmp_path / "DICOMDIR").files)
    assert reason.startswith("damaged DICOMDIR: ")


def test_a16_a_dicomdir_that_is_cut_short_is_refused(counter: Counter, tmp_path: Path) -> None:
    write_dicomdir(tmp_path / "whole", [["IM1"], ["IM2"]])
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "DICOMDIR").write_bytes(data[:-7])
    [reason] = reasons(counter.bring(tmp_path / "DICOMDIR").files)
    assert reason.startswith("damaged DICOMDIR: ")


# Preambles (A22) --------------------------------------------------------------------------------------

PROGRAMS = {
    "windows": b"MZ\x90\0\3\0\0\0",
    "linux": b"\x7fELF\2\1\1\0",
    "macos": b"\xcf\xfa\xed\xfe\7\0\0\1",
    "script": b"#!/bin/sh\nrm -rf /\n",
    "page": b"<html><script>alert(1)</script>",
    "picture": b"<svg xmlns='http://www.w3.org/2000/svg'>",
    "document": b"%PDF-1.7\n",
    "archive": b"PK\x03\x04\x14\0\0\0",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a22_a_program_in_front_of_an_image_stays_outside(counter: Counter, tmp_path: Path, program: bytes) -> None:
    dataset = image()
    (tmp_path / "a.dcm").write_bytes(file_bytes(dataset, preamble=program))
    assert counter.bring(tmp_path / "a.dcm").counts["stored"] == 1
    [case] = open_cases()
    assert (case.reason, case.quarantined, case.sop_instance_uid) == (
        Reason.EXECUTABLE_PREAMBLE,
        False,
        dataset.SOPInstanceUID,
    )
    assert Event.objects.filter(code=Code.SECURITY_ALERT, object_uid=dataset.SOPInstanceUID).count() == 1
    export(None, tmp_path / "out", actor="clerk", reach=EVERYTHING)
    [exported] = (tmp_path / "out").rglob("IM*")
    assert exported.read_bytes()[:132] == bytes(128) + b"DICM"
    for stored in (HOZI.storage / "objects").rglob("*.dcm"):
        assert not stored.read_bytes().startswith(program)


def test_a22_a_picture_preamble_is_nothing_to_tell(counter: Counter, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(file_bytes(image(), preamble=b"II*\0\x08\0\0\0"))
    assert counter.bring(tmp_path / "a.dcm").clean
    assert not list(open_cases())


def test_a22_what_is_dicom_and_a_zip_archive_is_dicom(counter: Counter, tmp_path: Path) -> None:
    hidden = io.BytesIO()
    with zipfile.ZipFile(hidden, "w") as archive:
        archive.writestr("hidden.dcm", file_bytes(image(PatientID="HIDDEN")))
    dataset: Dataset = image()
    dataset.DataSetTrailingPadding = hidden.getvalue() + b"\0" * (len(hidden.getvalue()) % 2)
    for name in ("both.dcm", "both.zip"):
        (tmp_path / "cd").mkdir(exist_ok=True)
        (tmp_path / "cd" / name).write_bytes(file_bytes(dataset, preamble=b"PK\x03\x04"))
    assert zipfile.is_zipfile(tmp_path / "cd" / "both.zip")
    assert counter.bring(tmp_path / "cd", tmp_path / "cd" / "both.dcm").counts == {
        **{"seen": 3, "stored": 1, "duplicate": 2},
        **{"quarantined": 0, "refused": 0},
    }
    assert [str(one.uid) for one in Instance.objects.all()] == [dataset.SOPInstanceUID]


def test_no_uid_becomes_a_path(counter: Counter, tmp_path: Path) -> None:
    """A12, by way of files."""
    evil = ["../../escaped", "/etc/escaped", "1.2.3\n", "x" * 1000, "1" * 65, "١.٢.٣"]
    for number, uid in enumerate(evil):
        data = file_bytes(image(SOPInstanceUID="1.2.3.4"))
        padded = uid.encode() + b"\0" * (len(uid.encode()) % 2)
        known = explicit(0x00080018, b"UI", b"1.2.3.4\0")
        assert data.count(known) == 1
        (tmp_path / "cd").mkdir(exist_ok=True)
        (tmp_path / "cd" / f"{number}.dcm").write_bytes(data.replace(known, explicit(0x00080018, b"UI", padded)))
    with nothing_outside_appears(tmp_path):
        counts = counter.bring(tmp_path / "cd").counts
    assert counts["stored"] == 0
    assert counts["quarantined"] + counts["refused"] == len(evil)
    assert not os.path.exists("/etc/escaped")


@pytest.mark.database
def test_an_import_that_meets_the_archive_itself_leaves_it_alone(counter: Counter, tmp_path: Path) -> None:
    """Not even opened: closing a file of SQLite's drops the locks that this process has on the database."""
    cd = tmp_path / "cd"
    cd.mkdir()
    write(cd / "image.dcm")
    own = HOZI.home / "hozi.sqlite3"
    own.touch()
    (cd / "home").symlink_to(HOZI.home)
    (cd / "pointed").symlink_to(own)
    if connection.vendor == "sqlite":
        os.link(own, cd / "linked")
    try:
        summary = counter.bring(cd, HOZI.home, own, HOZI.storage / "objects", HOZI.storage / "incoming")
    finally:
        own.unlink()
    fates = [(seen.fate, seen.reason) for seen in summary.files]
    assert fates.count(("stored", "")) == 1
    refused = [fate for fate in fates if fate != ("stored", "")]
    assert len(refused) == (7 if connection.vendor == "sqlite" else 6)
    assert set(refused) == {("refused", "belongs to this archive itself (HOZI_HOME)")}
    assert verify().clean
