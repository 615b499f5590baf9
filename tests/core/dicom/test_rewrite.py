"""Corrections on the way out: what is to change changes, and every other byte stays as the device sent it."""

from __future__ import annotations

import io
import subprocess
import tracemalloc
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from hozi.core.dicom import part10, scan, syntaxes
from hozi.core.dicom.rewrite import rewrite
from hozi.core.errors import Refused, Unreadable
from tests.core.dicom.encoded import UNDEFINED, explicit, fragments, implicit, item, sequence
from tests.corpus import Row, rows
from tests.peers import program

Changes = Mapping[int, Sequence[Any] | None]

EXPLICIT = syntaxes.for_unknown(syntaxes.EXPLICIT_LITTLE)
IMPLICIT = syntaxes.for_unknown(syntaxes.IMPLICIT_LITTLE)
BIG = syntaxes.for_unknown(syntaxes.EXPLICIT_BIG)
DEFLATED = syntaxes.for_unknown(syntaxes.DEFLATED)
JPEG = syntaxes.for_unknown("1.2.840.10008.1.2.4.50")

CHARACTER_SET, MODALITY, PATIENT_NAME, PATIENT_ID = 0x00080005, 0x00080060, 0x00100010, 0x00100020
ROWS, REQUEST, STEP_ID, STEP_TEXT, AFTER = 0x00280010, 0x00400275, 0x00400009, 0x00400007, 0x00400280
CT, ID = explicit(MODALITY, b"CS", b"CT"), explicit(PATIENT_ID, b"LO", b"P1")
NEW_ID = explicit(PATIENT_ID, b"LO", b"NEW ")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def rewritten(dataset: bytes, changes: Changes, syntax: syntaxes.TransferSyntax = EXPLICIT, **options: Any) -> bytes:
    return b"".join(rewrite(io.BytesIO(dataset), syntax, len(dataset), changes, **options))


def deflated(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


def inflated(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=-15).decompress(data)


def parsed(dataset: bytes, syntax: syntaxes.TransferSyntax) -> Dataset:
    return dcmread(io.BytesIO(part10.write_header("1.2", "1.2", syntax.uid) + dataset))


class Real:
    """A file of the corpus that the archive takes in."""

    def __init__(self, row: Row) -> None:
        data = row.path.read_bytes()
        header = part10.read_header(data)
        self.dataset = data[header.dataset_offset :]
        self.syntax = syntaxes.for_unknown(header.transfer_syntax)
        self.findings = scan.scan(self.dataset, self.syntax).findings


def real(row: Row) -> Real:
    try:
        return Real(row)
    except Unreadable:
        pytest.skip("not meant for files that the archive refuses")


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_it_passes_on_real_files_as_they_are_and_finds_the_place_for_what_changes(row: Row) -> None:
    found = real(row)
    plain = inflated if found.syntax.deflated else bytes
    assert plain(rewritten(found.dataset, {}, found.syntax)) == plain(found.dataset)
    changed = rewritten(found.dataset, {PATIENT_ID: ["NEW"], AFTER: ["a note"], ROWS: None}, found.syntax)
    after = scan.scan(changed, found.syntax, wanted=[PATIENT_ID, AFTER, ROWS], sequences={})
    assert after.values == {PATIENT_ID: b"NEW ", AFTER: b"a note"}
    added = {tag for tag in (PATIENT_ID, AFTER) if tag not in values_of(found)}
    # Everything else is there, byte for byte, in the same order.
    before = scan.scan(found.dataset, found.syntax)
    lengths = group_lengths(found)
    assert after.element_count == before.element_count + len(added) - (ROWS in values_of(found)) - lengths
    assert after.has_pixel_data == before.has_pixel_data
    assert set(after.findings) <= set(before.findings)


def values_of(found: Real) -> dict[int, bytes]:
    return scan.scan(found.dataset, found.syntax, wanted=[PATIENT_ID, AFTER, ROWS], sequences={}).values


def group_lengths(found: Real) -> int:
    wanted = [0x00100000, 0x00400000, 0x00280000]
    return len(scan.scan(found.dataset, found.syntax, wanted=wanted, sequences={}).values)


@pytest.mark.parametrize("row", [row for row in rows() if row.readable == "yes"][::4], ids=lambda row: row.name)
def test_pydicom_reads_the_new_values_and_the_same_others(row: Row) -> None:
    found = real(row)
    changes: Changes = {
        PATIENT_NAME: [{"Alphabetic": "Moyo^Tendai"}],
        PATIENT_ID: ["NEW"],
        0x00101010: ["041Y"],
        0x00081030: [],
        0x00321060: None,
    }
    before, after = (
        parsed(found.dataset, found.syntax),
        parsed(rewritten(found.dataset, changes, found.syntax), found.syntax),
    )
    assert (after.PatientName, after.PatientID, after.PatientAge) == ("Moyo^Tendai", "NEW", "041Y")
    assert not after.StudyDescription
    assert "RequestedProcedureDescription" not in after
    others = {element.tag for element in before if element.tag.element} - changes.keys()
    assert others == {element.tag for element in after if element.tag.element} - changes.keys()
    for tag in others:
        assert before[tag] == after[tag] or str(before[tag].value) == str(after[tag].value), tag


@pytest.mark.dcmtk
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "ExplVR_BigEnd.dcm", "MR_small_RLE.dcm"])
def test_dcmtk_sees_what_it_would_have_changed_itself(name: str, tmp_path: Path) -> None:
    row = next(row for row in rows() if row.path.name == name)
    found = real(row)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    changes: Changes = {PATIENT_ID: ["NEW"], 0x00101040: ["A street"], 0x00080090: None}
    front = part10.write_header("1.2", "1.2", found.syntax.uid)
    ours.write_bytes(front + rewritten(found.dataset, changes, found.syntax))
    theirs.write_bytes(row.path.read_bytes())
    modify = Path(program("dcmdump")).with_name("dcmodify")
    tags = ["-i", "(0010,0020)=NEW", "-i", "(0010,1040)=A street", "-ea", "(0008,0090)"]
    subprocess.run([modify, "-nb", "-imt", *tags, theirs], check=True, capture_output=True)

    def dumped(path: Path) -> list[str]:
        done = subprocess.run([program("dcmdump"), "-q", "+L", path], check=True, capture_output=True)
        lines = done.stdout.decode("latin_1").splitlines()
        # DCMTK leaves group lengths and trailing padding out when it writes.
        return [line for line in lines if line[1:5] not in ("0002", "fffc") and line[6:10] != "0000"]

    assert dumped(ours) == dumped(theirs)


# Where elements go


def test_a_changed_element_keeps_its_place_and_a_new_one_gets_it() -> None:
    name = explicit(PATIENT_NAME, b"PN", b"A^B ")
    after = explicit(AFTER, b"ST", b"after ")
    assert rewritten(CT + ID + after, {PATIENT_ID: ["NEW"]}) == CT + NEW_ID + after
    assert rewritten(CT + after, {PATIENT_ID: ["NEW"]}) == CT + NEW_ID + after
    assert rewritten(CT, {PATIENT_ID: ["NEW"], PATIENT_NAME: ["A^B"]}) == CT + name + NEW_ID
    assert rewritten(CT + ID + after, {PATIENT_ID: None}) == CT + after
    assert rewritten(CT + ID + after, {PATIENT_ID: []}) == CT + explicit(PATIENT_ID, b"LO", b"") + after
    assert rewritten(b"", {PATIENT_ID: ["NEW"]}) == NEW_ID
    assert rewritten(CT + fragments(b"", b"1234"), {PATIENT_ID: ["NEW"]}, JPEG) == CT + NEW_ID + fragments(b"", b"1234")


def test_elements_inside_sequences_are_not_the_dataset_s() -> None:
    for open_end in (True, False):
        inner = sequence(0x00081115, item(ID, open_end=open_end), open_end=open_end)
        assert rewritten(inner + ID, {PATIENT_ID: ["NEW"]}) == inner + NEW_ID


def test_group_lengths_that_would_be_wrong_are_left_out() -> None:
    length = explicit(0x00100000, b"UL", b"\x0a\0\0\0")
    other = explicit(0x00080000, b"UL", b"\x0a\0\0\0")
    assert rewritten(other + CT + length + ID, {PATIENT_ID: ["NEW"]}) == other + CT + NEW_ID


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG], ids=lambda syntax: syntax.name)
def test_every_kind_of_value_is_written_as_pydicom_reads_it(syntax: syntaxes.TransferSyntax) -> None:
    changes: Changes = {
        0x00080022: ["20260101"],
        0x00080008: ["DERIVED", "SECONDARY"],
        ROWS: [513],
        0x00280106: [-5],
        0x00189087: [1000.5],
        0x00280009: ["00181063"],
        0x00209128: [70000],
        0x0040A730: [{"00080100": {"vr": "SH", "Value": ["C1"]}, "00080104": {"vr": "LO", "Value": ["Meaning"]}}],
        REQUEST: [],
    }
    after = parsed(rewritten(b"", changes, syntax), syntax)
    assert (after.AcquisitionDate, list(after.ImageType), after.Rows) == ("20260101", ["DERIVED", "SECONDARY"], 513)
    assert (after.DiffusionBValue, after.FrameIncrementPointer) == (1000.5, 0x00181063)
    assert after["SmallestImagePixelValue"].VR in ("SS", "US")
    assert after.TemporalPositionIndex == 70000
    assert after.ContentSequence[0].CodeMeaning == "Meaning"
    assert len(after.RequestAttributesSequence) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {0x7FE00010: [b"1"]},
        {CHARACTER_SET: ["ISO_IR 100"]},
        {0x00020010: ["1.2"]},
        {0x00091001: ["private"]},
        {0x00100000: [4]},
        {ROWS: ["many"]},
        {ROWS: [70000]},
        {PATIENT_ID: ["A\\B"]},
        {0x00104000: ["one", "two"]},
        {MODALITY: ["磁"]},
        {REQUEST: [{"00091001": {"vr": "OB", "InlineBinary": "AAAA"}}]},
        {REQUEST: ["not an item"]},
    ],
)
def test_it_refuses_at_once_what_cannot_be_written(changes: Changes) -> None:
    with pytest.raises(Refused):
        rewrite(io.BytesIO(CT), EXPLICIT, len(CT), changes)


# Character sets

LATIN1 = explicit(CHARACTER_SET, b"CS", b"ISO_IR 100")
NAME_LATIN1 = explicit(PATIENT_NAME, b"PN", "Müller^Ärzte".encode("latin_1"))
UTF8 = explicit(CHARACTER_SET, b"CS", b"ISO_IR 192")


def test_a_text_that_fits_is_written_in_the_dataset_s_character_set() -> None:
    after = rewritten(LATIN1 + NAME_LATIN1 + ID, {PATIENT_NAME: [{"Alphabetic": "Schön^Jörg"}]})
    assert after == LATIN1 + explicit(PATIENT_NAME, b"PN", "Schön^Jörg".encode("latin_1")) + ID


@pytest.mark.parametrize("open_end", [True, False])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG], ids=lambda syntax: syntax.name)
def test_a_text_that_does_not_fit_turns_all_texts_into_utf8(syntax: syntaxes.TransferSyntax, open_end: bool) -> None:
    order = "<" if syntax.little_endian else ">"

    def element(tag: int, vr: bytes, value: bytes) -> bytes:
        return explicit(tag, vr, value, order=order) if syntax.explicit else implicit(tag, value)

    greek = element(CHARACTER_SET, b"CS", b"ISO_IR 126") + element(STEP_TEXT, b"LO", "Θώραξ ".encode("iso8859_7"))
    items = [
        item(element(STEP_TEXT, b"LO", "Schädel ".encode("latin_1")), open_end=open_end, order=order),
        item(greek, open_end=open_end, order=order),
    ]
    request = (
        sequence(REQUEST, *items, open_end=open_end, order=order)
        if syntax.explicit
        else implicit(
            REQUEST,
            b"".join(items) + (implicit(0xFFFEE0DD, b"") if open_end else b""),
            length=UNDEFINED if open_end else None,
        )
    )
    pixels = element(0x7FE00010, b"OW", "Ä".encode("latin_1") * 4)
    dataset = element(CHARACTER_SET, b"CS", b"ISO_IR 100") + element(PATIENT_NAME, b"PN", "Müller".encode("latin_1"))
    after = parsed(rewritten(dataset + request + pixels, {0x00081030: ["胸部"]}, syntax), syntax)
    assert after.SpecificCharacterSet == "ISO_IR 192"
    assert (str(after.PatientName), after.StudyDescription) == ("Müller", "胸部")
    texts = [one.ScheduledProcedureStepDescription for one in after.RequestAttributesSequence]
    assert texts == ["Schädel", "Θώραξ"]
    assert after.PixelData == "Ä".encode("latin_1") * 4


def test_a_dataset_without_character_set_is_read_by_the_default_when_it_has_to_be() -> None:
    name = explicit(PATIENT_NAME, b"PN", "Ωμέγα ".encode("iso8859_7"))
    after = rewritten(name, {0x00081030: ["胸部"]}, default_character_set="ISO_IR 126")
    found = parsed(after, EXPLICIT)
    assert (str(found.PatientName), found.StudyDescription) == ("Ωμέγα", "胸部")
    assert rewritten(name, {0x00081030: ["chest "]}) == explicit(0x00081030, b"LO", b"chest ") + name


def test_texts_in_new_items_count_too() -> None:
    content = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
        "00400007": {"vr": "LO", "Value": ["胸部"]},
    }
    after = parsed(rewritten(LATIN1 + NAME_LATIN1, {REQUEST: [content]}), EXPLICIT)
    assert after.RequestAttributesSequence[0].ScheduledProcedureStepDescription == "胸部"
    assert "SpecificCharacterSet" not in after.RequestAttributesSequence[0]
    assert str(after.PatientName) == "Müller^Ärzte"


@given(
    name=st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\\^="), min_size=1, max_size=20),
    declared=st.sampled_from(
        ["", "ISO_IR 100", "ISO_IR 144", "ISO_IR 192", "GB18030", "\\ISO 2022 IR 87", "ISO_IR 13"]
    ),
)
def test_whatever_the_character_sets_the_new_name_is_read_back(name: str, declared: str) -> None:
    front = explicit(CHARACTER_SET, b"CS", declared.encode().ljust(len(declared) + len(declared) % 2))
    dataset = (front if declared else b"") + CT + ID
    after = parsed(rewritten(dataset, {PATIENT_NAME: [{"Alphabetic": name}]}), EXPLICIT)
    assert str(after.PatientName) == name
    assert (after.Modality, after.PatientID) == ("CT", "P1")


# What devices get wrong, and the archive takes in


def deep_end(content: bytes) -> list[bytes]:
    """Sequences whose lengths or delimiters are wrong, as `scan` lets them pass."""
    open_item = implicit(0xFFFEE000, content, length=UNDEFINED)
    item_end, sequence_end = implicit(0xFFFEE00D, b""), implicit(0xFFFEE0DD, b"")
    return [
        explicit(REQUEST, b"SQ", open_item + sequence_end, length=UNDEFINED),
        explicit(REQUEST, b"SQ", open_item),
        explicit(REQUEST, b"SQ", open_item + open_item + sequence_end, length=UNDEFINED),
        explicit(REQUEST, b"SQ", item(content) + item_end + sequence_end, length=UNDEFINED),
        explicit(REQUEST, b"SQ", item(content) + sequence_end),
        explicit(REQUEST, b"SQ", item(content + item_end)),
        sequence(REQUEST, item(content)) + sequence_end,
        explicit(REQUEST, b"SQ", implicit(0xFFFEE000, content, length=len(content) + 8)),
        sequence(REQUEST, item(content + explicit(0x00401004, b"LO", b"", length=20)), item(content)),
        sequence(REQUEST, item(content), bytes(16)),
        explicit(REQUEST, b"UN", item(implicit(STEP_ID, b"S1"), open_end=True) + sequence_end, length=UNDEFINED),
        explicit(REQUEST, b"UN", item(content, open_end=True) + sequence_end, length=UNDEFINED),
        explicit(0x00091001, b"UN", b"\xfe\xff\x00\xe0" + b"\xff" * 20),
        struct_unknown(b"ZZ", long=True),
        struct_unknown(b"ZZ", long=False),
        struct_unknown(b"??", long=False),
        implicit(0x00091001, b"0123456789"),
        explicit(0x00020010, b"UI", b"1.2\0"),
        explicit(MODALITY, b"CS", b"MR"),
        explicit(0x00400007, b"LO", b"odd"),
    ]


def struct_unknown(vr: bytes, *, long: bool) -> bytes:
    head = b"\x09\0\x01\x10" + vr
    return head + (b"\0\0\x0a\0\0\0" if long else b"\x0a\0") + b"0123456789"


@pytest.mark.parametrize("middle", deep_end(explicit(STEP_ID, b"SH", b"S1")))
@pytest.mark.parametrize("text", ["after", "後"])
def test_what_comes_after_an_odd_element_is_still_changed(middle: bytes, text: str) -> None:
    dataset = CT + middle + explicit(AFTER, b"ST", b"before")
    scan.scan(dataset, EXPLICIT)
    after = rewritten(dataset, {AFTER: [text]})
    if text.isascii():
        assert after == CT + middle + explicit(AFTER, b"ST", b"after ")
        return
    found = scan.scan(after, EXPLICIT, wanted=[MODALITY, AFTER, CHARACTER_SET], sequences={REQUEST: [STEP_ID]})
    assert found.values[AFTER].decode().strip() == "後"
    assert found.values[CHARACTER_SET] == b"ISO_IR 192"
    assert all(one == {STEP_ID: b"S1"} for one in found.sequences.get(REQUEST, []))
    assert len(found.sequences.get(REQUEST, [])) == len(
        scan.scan(dataset, EXPLICIT, sequences={REQUEST: [STEP_ID]}).sequences.get(REQUEST, [])
    )


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG], ids=lambda syntax: syntax.name)
def test_a_file_header_inside_the_dataset_does_no_harm(syntax: syntaxes.TransferSyntax) -> None:
    header = part10.write_header("1.2.3", "1.2.4", syntax.uid)[132:]
    order = "<" if syntax.little_endian else ">"
    old, new = (
        explicit(PATIENT_ID, b"LO", value, order=order) if syntax.explicit else implicit(PATIENT_ID, value)
        for value in (b"P1", b"NEW ")
    )
    assert rewritten(header + old, {PATIENT_ID: ["NEW"]}, syntax) == header + new


def test_a_dataset_in_another_encoding_than_it_should_be_is_changed_in_that() -> None:
    plain = implicit(MODALITY, b"CT") + implicit(PATIENT_ID, b"P1")
    assert rewritten(plain, {PATIENT_ID: ["NEW"]}) == implicit(MODALITY, b"CT") + implicit(PATIENT_ID, b"NEW ")
    assert rewritten(CT + ID, {PATIENT_ID: ["NEW"]}, IMPLICIT) == CT + NEW_ID


def test_padding_at_the_end_stays() -> None:
    for zeros in (1, 7, 8, 300_000):
        assert rewritten(CT + ID + bytes(zeros), {PATIENT_ID: ["NEW"]}) == CT + NEW_ID + bytes(zeros)


def test_elements_out_of_order_are_changed_once() -> None:
    assert rewritten(ID + CT + ID, {PATIENT_ID: ["NEW"]}) == NEW_ID + CT


# Streams and limits


def test_a_deflated_dataset_is_inflated_changed_and_deflated_again() -> None:
    pixels = explicit(0x7FE00010, b"OW", bytes(range(256)) * 5000)
    after = rewritten(deflated(CT + ID + pixels), {PATIENT_ID: ["NEW"]}, DEFLATED)
    assert len(after) % 2 == 0
    assert inflated(after) == CT + NEW_ID + pixels


def test_a_deflated_dataset_that_grows_beyond_the_limit_is_unreadable() -> None:
    bomb = deflated(CT + explicit(0x7FE00010, b"OW", bytes(50 << 20)))
    with pytest.raises(Unreadable, match="inflates"):
        rewritten(bomb, {}, DEFLATED, inflated_bytes=1 << 20)


@pytest.mark.parametrize(
    "dataset",
    [
        CT + ID[:-1],
        CT + explicit(0x7FE00010, b"OW", b"1234", length=400),
        CT + explicit(REQUEST, b"SQ", item(CT)[:-1], length=UNDEFINED),
        CT + explicit(REQUEST, b"SQ", CT, length=UNDEFINED),
        CT + fragments(b"", b"1234")[:-10],
    ],
)
def test_a_dataset_that_is_cut_short_is_not_passed_on_as_whole(dataset: bytes) -> None:
    with pytest.raises(Unreadable):
        rewritten(dataset, {ROWS: None})


def test_sequences_without_end_in_one_another_are_refused_without_recursion_error() -> None:
    deep = (explicit(REQUEST, b"SQ", b"", length=UNDEFINED) + implicit(0xFFFEE000, b"", length=UNDEFINED)) * 5000
    for changes in ({PATIENT_ID: ["NEW"]}, {PATIENT_ID: ["新"]}):
        with pytest.raises(Unreadable, match="deep"):
            rewritten(CT + deep, changes)


def test_pixel_data_is_never_in_memory(tmp_path: Path) -> None:
    size = 300 << 20
    path = tmp_path / "large"
    front = CT + ID + explicit(0x7FE00010, b"OW", b"", length=size)
    with path.open("wb") as file:
        file.write(front)
        file.truncate(len(front) + size)
    with path.open("rb") as source:
        assert peak(source, len(front) + size) < 8 << 20


def peak(source: BinaryIO, length: int) -> int:
    tracemalloc.start()
    try:
        count = sum(len(piece) for piece in rewrite(source, EXPLICIT, length, {PATIENT_ID: ["NEW"]}))
        assert count == length + 2
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
