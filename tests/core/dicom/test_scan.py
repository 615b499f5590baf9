"""The scan against real files, with pydicom as the independent reader, and against what devices get wrong."""

from __future__ import annotations

import mmap
import struct
import zlib
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import data_element_generator

from hozi.core.dicom import keys, part10, scan, syntaxes
from hozi.core.errors import Unreadable
from tests.core.dicom.encoded import UNDEFINED, explicit, fragments, implicit, item, sequence
from tests.corpus import CORPUS, Row, rows

EXPLICIT = syntaxes.for_unknown(syntaxes.EXPLICIT_LITTLE)
IMPLICIT = syntaxes.for_unknown(syntaxes.IMPLICIT_LITTLE)
BIG = syntaxes.for_unknown(syntaxes.EXPLICIT_BIG)
DEFLATED = syntaxes.for_unknown(syntaxes.DEFLATED)
JPEG = syntaxes.for_unknown("1.2.840.10008.1.2.4.50")

NO_FILE = "malformed/pydicom__pydicom/no_meta.dcm"
CUT_SHORT = {
    "malformed/pydicom__pydicom/MR_truncated.dcm",
    "malformed/pydicom__pydicom/rtplan_truncated.dcm",
    "malformed/pydicom__pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm",  # no end of the pixel data
    "filesets/pydicom-dicomdirtests/DICOMDIR-nooffset",  # its sequence says 24 bytes more than there are
}
READABLE = [row for row in rows() if row.name not in CUT_SHORT | {NO_FILE}]

MODALITY, SOP_CLASS, ROWS, PATIENT_ID = 0x00080060, 0x00080016, 0x00280010, 0x00100020
REQUEST, STEP_ID, PROCEDURE_ID = 0x00400275, 0x00400009, 0x00401001
CT = explicit(MODALITY, b"CS", b"CT")
CT_IMPLICIT = implicit(MODALITY, b"CT")
ID = explicit(PATIENT_ID, b"LO", b"P1")
SMALL = explicit(0x00280010, b"US", b"\2\0") + explicit(0x7FE00010, b"OW", bytes(8))


def opened(row: Row) -> tuple[bytes, syntaxes.TransferSyntax]:
    content = row.path.read_bytes()
    header = part10.read_header(content)
    return content[header.dataset_offset :], syntaxes.for_unknown(header.transfer_syntax)


def look(dataset: bytes, syntax: syntaxes.TransferSyntax = EXPLICIT, **more: Any) -> scan.Scan:
    return scan.scan(dataset, syntax, **more)


def deflated(dataset: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(dataset) + stream.flush()


# Real files


def raw(dataset: pydicom.Dataset, tag: int) -> bytes | None:
    """What pydicom has read of an element, before any decoding; None when it is not there, or is a sequence."""
    element = dataset.get_item(tag)
    if element is None or element.VR == "SQ":
        return None
    if isinstance(element, RawDataElement):
        return element.value or b""
    value = element.value if isinstance(element.value, str) else "\\".join(element.value or ())
    return value.encode("ascii")


def same(ours: bytes | None, theirs: bytes | None, tag: int) -> bool:
    # pydicom decodes the character set as soon as it sees it, and then holds it without padding.
    padding = b"\0 " if tag == 0x00080005 else b""
    return (ours.strip(padding) if ours else ours) == (theirs.strip(padding) if theirs else theirs)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's remarks on odd files
@pytest.mark.parametrize("row", READABLE, ids=lambda row: row.name)
def test_it_finds_what_pydicom_finds_in_real_files(row: Row) -> None:
    dataset, syntax = opened(row)
    found = look(dataset, syntax)
    if part10.read_header(row.path.read_bytes()).guessed:
        expected = pydicom.Dataset(
            pydicom.filereader.read_dataset(BytesIO(dataset), not syntax.explicit, syntax.little_endian)
        )
    else:
        expected = pydicom.dcmread(row.path, force=True)
    sequences = {key.tag: key.sequence_elements for key in keys.KEYS if key.sequence_elements}
    for tag in keys.WANTED - set(sequences):
        assert same(found.values.get(tag), raw(expected, tag), tag), f"{tag:08X}"
    for tag, elements in sequences.items():
        items = expected[tag].value if tag in expected else []
        assert len(found.sequences.get(tag, [])) == len(items)
        for ours, theirs in zip(found.sequences.get(tag, []), items, strict=True):
            for element in elements:
                assert same(ours.get(element), raw(theirs, element), element), f"{tag:08X} {element:08X}"
    pixels = next(
        (expected.get_item(k) for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if k in expected), None
    )
    assert found.has_pixel_data == (pixels is not None and bool(pixels.value))
    assert found.encapsulated == (pixels is not None and syntax.encapsulated)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("row", READABLE, ids=lambda row: row.name)
def test_it_counts_the_elements_that_pydicom_counts(row: Row) -> None:
    if row.name == "malformed/pydicom__pydicom/SC_rgb_jpeg.dcm" or part10.read_header(row.path.read_bytes()).guessed:
        return

    def count(dataset: pydicom.Dataset) -> int:
        total = 0
        for element in dataset:
            total += 1
            if element.VR == "SQ":
                total += sum(1 + count(item) for item in element.value)
            elif element.keyword == "PixelData" and element.is_undefined_length:
                total += len(list(pydicom.encaps.generate_fragments(element.value)))
        return total

    dataset, syntax = opened(row)
    found, theirs = look(dataset, syntax).element_count, count(pydicom.dcmread(row.path, force=True))
    # Inside private sequences that do not say that they are some, pydicom does not count.
    assert found >= theirs if not syntax.explicit or b"UN\0\0" in dataset else found == theirs


@pytest.mark.parametrize("row", [row for row in rows() if row.name in CUT_SHORT], ids=lambda row: row.name)
def test_a_real_file_that_is_cut_short_is_unreadable(row: Row) -> None:
    with pytest.raises(Unreadable, match="cut short"):
        look(*opened(row))


def test_few_real_files_are_odd() -> None:
    odd = {row.name.rpartition("/")[2]: look(*opened(row)).findings for row in READABLE}
    assert {name: findings for name, findings in odd.items() if findings} == {
        "SC_rgb_jpeg.dcm": ("elements in another encoding than the transfer syntax says",),
        "meta_missing_tsyntax.dcm": ("odd length",),
        "dx_image.dcm": ("odd length",),
        "nested_priv_SQ.dcm": ("odd length",),
        "image_dfl.dcm": ("trailing bytes",),
    }


@pytest.mark.parametrize(
    "name", ["modalities/pydicom__pydicom/CT_small.dcm", "syntax/pydicom__pydicom/MR_small_implicit.dcm"]
)
def test_a_file_that_ends_anywhere_but_behind_an_element_is_unreadable(name: str) -> None:
    dataset, syntax = opened(Row(CORPUS / name, "", "", "", ""))
    reader = data_element_generator(DicomBytesIO(dataset), not syntax.explicit, syntax.little_endian)
    ends = {0}
    for element in reader:
        assert isinstance(element, RawDataElement)
        ends.add(element.value_tell + element.length)
    whole = set()
    for end in range(0, len(dataset) + 1, 1 if len(dataset) < 10_000 else 3):
        try:
            if "trailing bytes" not in look(dataset[:end], syntax).findings:
                whole.add(end)
        except Unreadable:
            continue
    assert whole <= ends
    assert len(whole) >= len(ends) // 4


def test_any_kind_of_buffer_will_do_and_is_let_go() -> None:
    path = CORPUS / "modalities/pydicom__pydicom/CT_small.dcm"
    content = path.read_bytes()
    offset = part10.read_header(content).dataset_offset
    expected = look(content[offset:])
    assert look(bytearray(content[offset:])) == expected
    assert look(memoryview(content)[offset:]) == expected
    assert look(memoryview(content[offset:]).cast("c")) == expected
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        dataset = view[offset:]
        assert look(dataset) == expected
        cut = dataset[:-1]
        with pytest.raises(Unreadable) as refused:
            look(cut)
        cut.release()
        dataset.release()
        view.release()
        mapped.close()  # would fail if something of it were still held
        assert refused.value.__traceback__


def test_what_is_wanted_can_be_said() -> None:
    dataset = CT + ID + sequence(REQUEST, item(explicit(STEP_ID, b"SH", b"S1") + explicit(PROCEDURE_ID, b"SH", b"R1")))
    found = look(dataset, wanted=[MODALITY], sequences={REQUEST: [STEP_ID]})
    assert found.values == {MODALITY: b"CT"}
    assert found.sequences == {REQUEST: [{STEP_ID: b"S1"}]}
    found = look(dataset, wanted={PATIENT_ID: "any collection of tags"}, sequences={})
    assert (found.values, found.sequences) == ({PATIENT_ID: b"P1"}, {})
    found = look(dataset, wanted=())
    assert found.values == {}
    assert found.sequences[REQUEST] == [{STEP_ID: b"S1", PROCEDURE_ID: b"R1"}]


def test_elements_inside_sequences_are_not_taken_for_those_of_the_dataset() -> None:
    inner = explicit(PATIENT_ID, b"LO", b"OTHER ")
    dataset = CT + sequence(0x00081115, item(inner + sequence(REQUEST, item(explicit(STEP_ID, b"SH", b"S1"))))) + ID
    found = look(dataset)
    assert found.values[PATIENT_ID] == b"P1"
    assert REQUEST not in found.sequences
    # ... nor those of a sequence inside a wanted one for its own
    found = look(sequence(REQUEST, item(sequence(0x00401008, item(explicit(STEP_ID, b"SH", b"S1"))))))
    assert found.sequences == {REQUEST: [{}]}


def test_an_empty_dataset_has_nothing() -> None:
    found = look(b"")
    assert (found.values, found.element_count, found.findings, found.has_pixel_data) == ({}, 0, (), False)


# What devices get wrong


def test_e15_a_value_of_odd_length_is_let_pass() -> None:
    found = look(explicit(MODALITY, b"CS", b"CTX") + ID)
    assert found.values == {MODALITY: b"CTX", PATIENT_ID: b"P1"}
    assert found.findings == ("odd length",)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED], ids=lambda syntax: syntax.name)
def test_e16_a_file_header_inside_the_dataset_is_stepped_over(syntax: syntaxes.TransferSyntax) -> None:
    header = part10.write_header("1.2.3", "1.2.4", syntax.uid)[132:]
    dataset = header + (explicit(MODALITY, b"CS", b"CT", order=">") if syntax is BIG else CT)
    dataset = header + CT_IMPLICIT if syntax is IMPLICIT else deflated(dataset) if syntax is DEFLATED else dataset
    found = look(dataset, syntax)
    assert found.values == {MODALITY: b"CT"}
    assert found.findings == ("group 0002 in the dataset",)


def test_e16_elements_of_the_header_in_the_middle_are_let_pass() -> None:
    found = look(CT + explicit(0x00020010, b"UI", b"1.2\0") + ID)
    assert found.findings == ("group 0002 in the dataset",)
    assert found.values == {MODALITY: b"CT", PATIENT_ID: b"P1"}


def test_e17_group_lengths_are_ignored_even_when_wrong() -> None:
    dataset = explicit(0x00080000, b"UL", b"\xff\xff\xff\xff") + CT + explicit(0x00100000, b"UL", bytes(4)) + ID
    found = look(dataset)
    assert found.findings == ()
    assert found.values == {MODALITY: b"CT", PATIENT_ID: b"P1"}


@pytest.mark.parametrize("vr", [b"ZZ", b"OX"])
def test_e18_an_unknown_vr_has_the_long_form(vr: bytes) -> None:
    value = struct.pack("<HH2sHL", 0x0009, 0x1001, vr, 0, 10) + b"0123456789"
    found = look(CT + value + ID)
    assert found.values == {MODALITY: b"CT", PATIENT_ID: b"P1"}
    assert found.findings == ("unknown VR",)


@pytest.mark.parametrize("vr", [b"ZZ", b"??", b"\0\0", b"  "])
def test_e18_a_vr_that_is_none_may_have_the_short_form(vr: bytes) -> None:
    value = struct.pack("<HH2sH", 0x0009, 0x1001, vr, 10) + b"0123456789"
    found = look(CT + value + ID)
    assert found.values == {MODALITY: b"CT", PATIENT_ID: b"P1"}
    assert found.findings == ("unknown VR",)


def test_e18_implicit_elements_in_an_explicit_dataset_are_read() -> None:
    dataset = CT + implicit(0x00091001, b"0123456789") + implicit(0x00091002, b"") + ID
    found = look(dataset)
    assert found.values == {MODALITY: b"CT", PATIENT_ID: b"P1"}
    assert found.findings == ("elements in another encoding than the transfer syntax says",)


@pytest.mark.parametrize("open_end", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_e18_a_sequence_of_vr_un_is_implicit_little_endian(open_end: bool, order: str) -> None:
    inner = item(implicit(STEP_ID, b"S1") + implicit(PROCEDURE_ID, b"R1"), open_end=open_end)
    content = inner + (implicit(0xFFFEE0DD, b"") if open_end else b"")
    length = UNDEFINED if open_end else None
    dataset = explicit(REQUEST, b"UN", content, length=length, order=order)
    dataset += explicit(0x00400280, b"ST", b"after ", order=order)
    found = look(dataset, BIG if order == ">" else EXPLICIT, wanted=[0x00400280])
    assert found.sequences == {REQUEST: [{STEP_ID: b"S1", PROCEDURE_ID: b"R1"}]}
    assert found.values == {0x00400280: b"after "}
    assert found.findings == ()


def test_e18_a_sequence_of_vr_un_may_be_explicit_as_some_write_it() -> None:
    content = item(explicit(STEP_ID, b"SH", b"S1"), open_end=True) + item(implicit(STEP_ID, b"S2"))
    dataset = explicit(REQUEST, b"UN", content + implicit(0xFFFEE0DD, b""), length=UNDEFINED)
    assert look(dataset).sequences == {REQUEST: [{STEP_ID: b"S1"}, {STEP_ID: b"S2"}]}


def test_e18_a_big_endian_sequence_of_vr_un_may_be_big_endian_all_through() -> None:
    inner = item(explicit(STEP_ID, b"SH", b"S1", order=">"), order=">")
    assert look(explicit(REQUEST, b"UN", inner, order=">"), BIG).sequences == {REQUEST: [{STEP_ID: b"S1"}]}


def test_e18_an_empty_value_of_unknown_vr_does_not_swallow_what_follows() -> None:
    # Taken for the long form, its length would be two megabytes, which there are.
    dataset = CT + struct.pack("<HH2sH", 0x0009, 0x1001, b"ZZ", 0) + ID + explicit(0x7FE00010, b"OW", bytes(3 << 20))
    assert look(dataset).values == {MODALITY: b"CT", PATIENT_ID: b"P1"}


def test_a_dataset_in_the_other_encoding_is_read_as_it_is() -> None:
    # ... and its elements are no dearer than others
    many = b"".join(implicit(0x00091001 + number, b"") for number in range(50))
    assert look(CT_IMPLICIT + many, EXPLICIT, limits=scan.Limits(elements=100)).element_count == 51
    for dataset, syntax in ((CT + ID, IMPLICIT), (CT_IMPLICIT + implicit(PATIENT_ID, b"P1"), EXPLICIT)):
        found = look(dataset, syntax)
        assert found.values == {MODALITY: b"CT", PATIENT_ID: b"P1"}
        assert found.findings == ("elements in another encoding than the transfer syntax says",)


def test_e19_private_elements_need_no_creator_and_private_sequences_are_walked() -> None:
    private = implicit(0x00091001, item(implicit(0x00091002, b"12", length=None)))
    assert look(CT_IMPLICIT + private, IMPLICIT).element_count == 4
    deep = b""
    for _ in range(100):
        deep = implicit(0x00091001, item(deep))
    with pytest.raises(Unreadable, match="nested"):
        look(CT_IMPLICIT + deep, IMPLICIT)


@pytest.mark.parametrize(
    "value",
    [
        b"\xfe\xff\x00\xe0" + b"\xff" * 20,
        b"\xfe\xff\x00\xe0\x04\0\0\0" + bytes(20),
        b"\xfe\xff\x00\xe0" + b"\xff\xff\xff\xff" + b"\x09\0\x10\0" + b"\xff\xff\xff\xff" + b"garbage",
        b"\xfe\xff\x00\xe0" + b"\xff\xff\xff\xff" + b"SH" * 40,
        b"\xfe\xff\x00\xe0\x10\0\0\0" + b"\xe0\x7f\x10\0\xff\xff\xff\xff" + b"garbage!",
        b"\xfe\xff\x00\xe0",
        b"\xfe\xff\x00\xe0\x06\0\0\0\x09\0\x10\0\x00\x00",
    ],
)
def test_e19_a_private_value_that_only_looks_like_a_sequence_harms_nothing(value: bytes) -> None:
    found = look(CT_IMPLICIT + implicit(0x00091001, value) + implicit(PATIENT_ID, b"P1"), IMPLICIT)
    assert found.values == {MODALITY: b"CT", PATIENT_ID: b"P1"}
    found = look(CT + explicit(0x00091001, b"UN", value) + ID)
    assert found.values == {MODALITY: b"CT", PATIENT_ID: b"P1"}
    found = look(CT + explicit(0x00091001, b"UN", value))
    assert found.values == {MODALITY: b"CT"}
    assert look(CT + explicit(0x00091001, b"OB", value)).findings in ((), ("odd length",))


def test_e20_elements_behind_the_pixel_data_are_found() -> None:
    after = explicit(0x7FE10011, b"LO", b"after ")
    for pixels, syntax in ((explicit(0x7FE00010, b"OW", bytes(100)), EXPLICIT), (fragments(b"", b"1234"), JPEG)):
        found = look(CT + pixels + after, syntax, wanted=[0x7FE10011])
        assert found.values == {0x7FE10011: b"after "}
        assert found.has_pixel_data


@pytest.mark.parametrize(
    ("pixels", "syntax"),
    [
        (b"", EXPLICIT),
        (explicit(0x7FE00010, b"OW", b""), EXPLICIT),
        (fragments(), JPEG),
        (fragments(b""), JPEG),
        (fragments(bytes(4)), JPEG),
        (fragments(b"", b""), JPEG),
    ],
)
def test_e21_pixel_data_may_be_missing_or_empty(pixels: bytes, syntax: syntaxes.TransferSyntax) -> None:
    found = look(CT + pixels, syntax)
    assert not found.has_pixel_data
    assert found.findings == ()


def test_e21_pixel_data_of_every_kind_is_seen() -> None:
    for tag, vr in (
        (0x7FE00010, b"OB"),
        (0x7FE00010, b"OW"),
        (0x7FE00010, b"UN"),
        (0x7FE00008, b"OF"),
        (0x7FE00009, b"OD"),
    ):
        assert look(CT + explicit(tag, vr, b"1234")).has_pixel_data
    assert look(CT_IMPLICIT + implicit(0x7FE00010, b"12"), IMPLICIT).has_pixel_data
    # ... and that of an icon is not taken for it
    icon = sequence(0x00880200, item(fragments(b"", b"1234")), item(explicit(0x7FE00010, b"OB", b"12")))
    assert not look(CT + icon).has_pixel_data


def test_pixel_data_in_the_wrong_form_is_told() -> None:
    finding = "pixel data is encapsulated, or is not, against the transfer syntax"
    found = look(CT + fragments(b"", b"1234"), EXPLICIT)
    assert (found.encapsulated, found.findings) == (True, (finding,))
    found = look(CT + explicit(0x7FE00010, b"OW", b"1234"), JPEG)
    assert (found.encapsulated, found.findings) == (False, (finding,))


@pytest.mark.parametrize("seq_open", [True, False])
@pytest.mark.parametrize("item_open", [True, False])
@pytest.mark.parametrize("syntax", [EXPLICIT, BIG], ids=lambda syntax: syntax.name)
def test_e22_every_form_of_sequence_is_read(seq_open: bool, item_open: bool, syntax: syntaxes.TransferSyntax) -> None:
    order = "<" if syntax.little_endian else ">"

    def filled(text: bytes) -> bytes:
        content = explicit(STEP_ID, b"SH", text, order=order)
        content += sequence(0x0040A730, item(b"", open_end=item_open, order=order), open_end=seq_open, order=order)
        return item(content, open_end=item_open, order=order)

    empty = item(b"", open_end=item_open, order=order)
    dataset = explicit(MODALITY, b"CS", b"CT", order=order)
    dataset += sequence(0x00081115, open_end=seq_open, order=order)
    dataset += sequence(REQUEST, filled(b"S1"), empty, filled(b"S2"), open_end=seq_open, order=order)
    dataset += explicit(0x00400280, b"ST", b"after ", order=order)
    found = look(dataset, syntax, wanted=[MODALITY, 0x00400280])
    assert found.sequences == {REQUEST: [{STEP_ID: b"S1"}, {}, {STEP_ID: b"S2"}]}
    assert found.values == {MODALITY: b"CT", 0x00400280: b"after "}
    assert found.findings == ()


def test_e22_a_value_that_reaches_beyond_its_item_is_cut_there() -> None:
    inner = explicit(STEP_ID, b"SH", b"S1") + explicit(0x00401004, b"LO", b"", length=20)
    found = look(
        sequence(REQUEST, item(inner), item(explicit(STEP_ID, b"SH", b"S2"))) + explicit(0x00400280, b"ST", bytes(40))
    )
    assert found.sequences == {REQUEST: [{STEP_ID: b"S1"}, {STEP_ID: b"S2"}]}
    assert found.findings == ("value beyond the end of its sequence",)


def test_e22_an_item_that_reaches_beyond_its_sequence_is_cut_there() -> None:
    inner = implicit(0xFFFEE000, explicit(STEP_ID, b"SH", b"S1"), length=30)
    found = look(sequence(REQUEST, inner) + explicit(0x00400280, b"ST", bytes(40)), wanted=[0x00400280])
    assert found.sequences == {REQUEST: [{STEP_ID: b"S1"}]}
    assert found.values == {0x00400280: bytes(40)}
    assert found.findings == ("value beyond the end of its sequence",)


def test_e22_delimiters_may_be_missing_or_too_many() -> None:
    content = explicit(STEP_ID, b"SH", b"S1")
    open_item = implicit(0xFFFEE000, content, length=UNDEFINED)
    item_end, sequence_end = implicit(0xFFFEE00D, b""), implicit(0xFFFEE0DD, b"")
    for dataset in (
        explicit(REQUEST, b"SQ", open_item + sequence_end, length=UNDEFINED),  # the item's is missing
        explicit(REQUEST, b"SQ", open_item),  # and that of the sequence, which has a length
        explicit(REQUEST, b"SQ", item(content) + item_end + sequence_end, length=UNDEFINED),
        explicit(REQUEST, b"SQ", item(content) + sequence_end),
        explicit(REQUEST, b"SQ", item(content + item_end)),
        sequence(REQUEST, item(content)) + sequence_end,
    ):
        found = look(CT + dataset + explicit(0x00400280, b"ST", b"after "), wanted=[MODALITY, 0x00400280])
        assert found.sequences == {REQUEST: [{STEP_ID: b"S1"}]}
        assert found.values == {MODALITY: b"CT", 0x00400280: b"after "}
        assert found.findings == ("missing or stray delimiter",)


def test_e22_zeros_behind_the_last_item_are_let_pass() -> None:
    found = look(sequence(REQUEST, item(explicit(STEP_ID, b"SH", b"S1")), bytes(16)) + CT)
    assert found.sequences == {REQUEST: [{STEP_ID: b"S1"}]}
    assert found.values == {MODALITY: b"CT"}


@pytest.mark.parametrize(
    "dataset",
    [
        sequence(REQUEST, ID),
        sequence(REQUEST, ID, open_end=True),
        explicit(REQUEST, b"SQ", item(CT), length=UNDEFINED),
        explicit(REQUEST, b"SQ", implicit(0xFFFEE000, CT, length=UNDEFINED), length=UNDEFINED),
        CT + item(ID),
        CT + explicit(0x7FE00010, b"OB", implicit(0xFFFEE000, b"1234"), length=UNDEFINED),
        CT + explicit(0x7FE00010, b"OB", b"no fragments at all", length=UNDEFINED),
        CT + explicit(0x7FE00010, b"OB", implicit(0xFFFEE000, b"1234", length=UNDEFINED), length=UNDEFINED),
        CT + explicit(0x7FE00010, b"OB", implicit(0xFFFEE000, b"1234", length=99), length=UNDEFINED),
        CT + bytes(100) + b"1",
        sequence(REQUEST, item(bytes(16), open_end=True)) + ID,
        CT + b"123",
        CT + explicit(0x7FE00010, b"OW", b"1234", length=6),
        CT + explicit(0x7FE00010, b"OW", b"1234")[:-5],
        b"Patient went home on Tuesday, and will be back on Monday next.",
    ],
)
def test_what_is_damaged_or_cut_short_is_unreadable(dataset: bytes) -> None:
    for content, syntax in ((dataset, EXPLICIT), (deflated(dataset), DEFLATED)):
        with pytest.raises(Unreadable) as refused:
            look(content, syntax)
        assert refused.value.permanent
        assert not {"Patient", "home", "CT", "1234"} & set(str(refused.value).replace(",", " ").split())


def test_zeros_and_padding_at_the_end_are_let_pass() -> None:
    for zeros in (1, 7, 8, 9, 200_000):
        found = look(CT + bytes(zeros))
        assert (found.values, found.findings, found.element_count) == ({MODALITY: b"CT"}, ("trailing bytes",), 1)
    assert look(CT + explicit(0xFFFCFFFC, b"OB", bytes(100))).findings == ()


def test_elements_out_of_order_and_twice_are_told_and_the_last_one_counts() -> None:
    found = look(ID + CT)
    assert (found.values, found.findings) == ({MODALITY: b"CT", PATIENT_ID: b"P1"}, ("elements out of order",))
    found = look(CT + explicit(MODALITY, b"CS", b"MR"))
    assert (found.values, found.findings) == ({MODALITY: b"MR"}, ("an element twice",))


def test_e23_a_deflated_dataset_may_have_padding_or_none() -> None:
    stream = deflated(CT + ID + SMALL)
    for padded, findings in ((stream, ()), (stream + b"\0", ()), (stream + bytes(7), ("trailing bytes",))):
        found = look(padded, DEFLATED)
        assert found.values[MODALITY] == b"CT"
        assert found.findings == findings


@pytest.mark.parametrize("cut", [0, 1, 5, 20, -1, -2])
def test_e23_a_deflated_dataset_that_is_cut_short_or_broken_is_unreadable(cut: int) -> None:
    stream = deflated(CT + ID + SMALL + bytes(range(256)))
    with pytest.raises(Unreadable):
        look(stream[:cut], DEFLATED)
    with pytest.raises(Unreadable):
        look(b"\xff" + stream, DEFLATED)


@pytest.mark.parametrize(
    "row", [row for row in READABLE if row.path.stat().st_size < 600_000][::7], ids=lambda row: row.name
)
def test_e23_a_deflated_dataset_says_what_it_says_inflated(row: Row) -> None:
    dataset, syntax = opened(row)
    if syntax.deflated or syntax.encapsulated or not (syntax.explicit and syntax.little_endian):
        return
    assert look(deflated(dataset), DEFLATED) == look(dataset, EXPLICIT)


def test_e23_a_deflated_dataset_is_read_right_at_the_edge_of_what_is_inflated() -> None:
    # The header of a sequence reaches four bytes beyond the item that it stands in.
    straddling = sequence(0x00091002, item(explicit(0x00091001, b"SQ", b"")[:8]))
    # What follows makes its length 16.
    straddling += explicit(0x00100000, b"UL", bytes(4)) + ID
    for size in range((256 << 10) - 120, (256 << 10) + 20, 2):
        dataset = explicit(0x00080005, b"OB", bytes(size)) + straddling
        plain = look(dataset, wanted=[PATIENT_ID])
        assert plain.values == {PATIENT_ID: b"P1"}
        assert look(deflated(dataset), DEFLATED, wanted=[PATIENT_ID]) == plain


def test_e24_numbers_of_a_big_endian_dataset_are_told_apart() -> None:
    little = look(explicit(ROWS, b"US", b"\0\2"))
    big = look(explicit(ROWS, b"US", b"\2\0", order=">"), BIG)
    assert little.unsigned(ROWS) == big.unsigned(ROWS) == 512
    assert (little.little_endian, big.little_endian) == (True, False)


@pytest.mark.parametrize("vr", [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"])
def test_e25_values_with_long_lengths_are_stepped_over(vr: bytes) -> None:
    found = look(CT + explicit(0x00091001, vr, bytes(70_000)) + ID)
    assert found.values == {MODALITY: b"CT", PATIENT_ID: b"P1"}
    assert found.findings == ()


def test_e53_e54_e55_values_are_kept_as_they_are() -> None:
    uid = b"1.2." + b"3" * 60
    long_id = b"P" * 1000
    dataset = explicit(0x00080018, b"UI", uid) + explicit(PATIENT_ID, b"LO", long_id)
    dataset += explicit(0x0020000D, b"UI", uid) + explicit(0x0020000E, b"UI", b"1.02.3 ")
    found = look(dataset)
    assert found.values == {0x00080018: uid, PATIENT_ID: long_id, 0x0020000D: uid, 0x0020000E: b"1.02.3 "}


def test_e55_only_the_beginning_of_an_endless_value_is_kept() -> None:
    dataset = CT + explicit(0x00104000, b"UT", b"x" * 1_000_000) + explicit(0x00200010, b"SH", b"S1")
    for content, syntax in ((dataset, EXPLICIT), (deflated(dataset), DEFLATED)):
        found = look(content, syntax)
        assert found.values == {MODALITY: b"CT", 0x00104000: b"x" * (64 << 10), 0x00200010: b"S1"}
        found = look(content, syntax, limits=scan.Limits(value_bytes=3))
        assert found.values == {MODALITY: b"CT", 0x00104000: b"xxx", 0x00200010: b"S1"}


@pytest.mark.parametrize(
    ("vr", "value", "number"),
    [
        (b"US", b"\xff\xff", 65535),
        (b"UL", b"\xff\xff\xff\xff", 2**32 - 1),
        (b"US", b"", None),
        (b"IS", b"512 x", None),
        (b"OB", b"\1", None),
    ],
)
def test_a17_a18_sizes_beyond_reason_are_read_and_not_believed(vr: bytes, value: bytes, number: int | None) -> None:
    dataset = (
        explicit(0x00280008, b"IS", b"2147483647")
        + explicit(ROWS, vr, value)
        + explicit(0x00280011, b"US", b"\xff\xff")
    )
    found = look(dataset + explicit(0x00280100, b"US", b"\xff\0") + explicit(0x7FE00010, b"OW", b"12"))
    assert found.unsigned(ROWS) == number
    assert found.unsigned(0x00280100) == 255
    assert found.unsigned(PATIENT_ID) is None
    assert found.has_pixel_data
