"""Changing the encoding of a dataset whose pixels are not compressed: every value stays what it was (PS3.5 §7)."""

from __future__ import annotations

import io
import struct
import subprocess
import tracemalloc
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, Sequence, dcmread, dcmwrite

from hozi.core.dicom import part10, scan, syntaxes
from hozi.core.errors import Unreadable
from hozi.core.pixels.frames import convert
from tests.core.dicom.encoded import UNDEFINED, explicit, fragments, implicit, item, sequence
from tests.corpus import Row, rows
from tests.peers import program

EXPLICIT, IMPLICIT, BIG, DEFLATED = (
    syntaxes.for_unknown(uid)
    for uid in (syntaxes.EXPLICIT_LITTLE, syntaxes.IMPLICIT_LITTLE, syntaxes.EXPLICIT_BIG, syntaxes.DEFLATED)
)
NATIVE = (EXPLICIT, IMPLICIT, BIG, DEFLATED)
OPTION = {EXPLICIT: "+te", IMPLICIT: "+ti", BIG: "+tb", DEFLATED: "+td"}
JPEG = syntaxes.for_unknown("1.2.840.10008.1.2.4.50")

CT = explicit(0x00080060, b"CS", b"CT")
SEQUENCE_END, ITEM_END = implicit(0xFFFEE0DD, b""), implicit(0xFFFEE00D, b"")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def converted(dataset: bytes, source: syntaxes.TransferSyntax, to: syntaxes.TransferSyntax, folder: Path) -> bytes:
    path = folder / "dataset"
    path.write_bytes(dataset)
    target = io.BytesIO()
    convert(path, 0, source, to, target)
    return target.getvalue()


def headed(dataset: bytes, syntax: syntaxes.TransferSyntax) -> bytes:
    return part10.write_header("1.2", "1.2", syntax.uid) + dataset


def parsed(dataset: bytes, syntax: syntaxes.TransferSyntax) -> Dataset:
    return dcmread(io.BytesIO(headed(dataset, syntax)))


def uncompressed() -> list[Row]:
    uids = {one.uid for one in NATIVE}
    return [row for row in rows() if row.transfer_syntax in uids and row.path.stat().st_size < 600_000]


@pytest.mark.dcmtk
@pytest.mark.parametrize("row", uncompressed()[::3], ids=lambda row: row.name)
def test_dcmtk_converts_real_files_to_the_same(row: Row, tmp_path: Path) -> None:
    data = row.path.read_bytes()
    header = part10.read_header(data)
    source = syntaxes.for_unknown(header.transfer_syntax)
    dataset = data[header.dataset_offset :]
    try:
        scan.scan(dataset, source)
    except Unreadable:
        pytest.skip("not meant for files that the archive refuses")
    wide = dcmread(row.path, stop_before_pixels=True).get("BitsAllocated", 0) > 16
    convert_tool = Path(program("dcmdump")).with_name("dcmconv")
    for to in NATIVE:
        if to == source or (wide and source.little_endian != to.little_endian):
            continue  # DCMTK guesses there, and we refuse: see the last test
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        ours.write_bytes(headed(converted(dataset, source, to, tmp_path), to))
        done = subprocess.run([convert_tool, OPTION[to], row.path, theirs], capture_output=True)
        read = dumped(ours)
        if done.returncode == 0 and b"W: " not in done.stderr:
            expected = dumped(theirs)
            if to == IMPLICIT:  # what DCMTK leaves of private sequences cannot be told from other values
                read, expected = outside_private_sequences(read), outside_private_sequences(expected)
            assert_same(read, expected)


Line = tuple[int, str, str, str]


def dumped(path: Path) -> list[Line]:
    """Depth, tag, VR and value of each element, as dcmdump reads them."""
    done = subprocess.run([program("dcmdump"), "-q", "+L", "+Un", path], check=True, capture_output=True)
    lines = []
    for line in done.stdout.decode("latin_1").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        tag, vr, value = line.strip()[:11], line.strip()[12:14], line.strip()[15:].rpartition("#")[0].strip()
        if tag[:1] != "(" or tag[1:5] in ("0002", "fffc", "fffe") or tag[6:10] == "0000":
            continue
        value = "" if vr == "SQ" else value
        lines.append((depth, tag, vr, "" if value == "(no value available)" else value))
    return lines


def outside_private_sequences(lines: list[Line]) -> list[Line]:
    kept, private = [], 99
    for depth, tag, vr, value in lines:
        if depth > private:
            continue
        is_private = tag[4] in "13579bdf"
        private = depth if is_private and vr in ("SQ", "??") else 99
        kept.append((depth, tag, "??", "") if private == depth else (depth, tag, vr, value))
    return kept


def assert_same(ours: list[Line], theirs: list[Line]) -> None:
    """The same elements with the same values; where the VRs differ (one says UN), at least the same tag and depth."""
    assert [line[:2] for line in ours] == [line[:2] for line in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        if mine[2] == other[2]:
            assert mine[3] == other[3]
        else:
            assert {mine[2], other[2]} <= _ALIKE or "UN" in (mine[2], other[2])


#: What the data dictionary leaves open.
_ALIKE = {"US", "SS", "OW", "OB"}


def everything() -> Dataset:
    """A dataset with every kind of value."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName = "Moyo^Tendai=山田^太郎"
    dataset.AcquisitionDateTime = "20260101120000.5"
    dataset.PatientAge, dataset.PatientWeight = "041Y", "71.5"
    dataset.FrameIncrementPointer = [0x00181063, 0x00181065]
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 2, 2, 16, 16, 15
    dataset.PixelRepresentation, dataset.SamplesPerPixel = 1, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.add_new("SmallestImagePixelValue", "SS", -200)
    dataset.DiffusionBValue = 1000.25
    dataset.RecommendedDisplayFrameRateInFloat = 12.5
    dataset.TemporalPositionIndex = 70000
    dataset.ReferencePixelX0 = -70001
    dataset.DopplerCorrectionAngle = -0.125
    dataset.add_new(0x00720082, "SV", [-(1 << 40), 5])
    dataset.add_new(0x00720083, "UV", 1 << 60)
    dataset.add_new(0x7FE00001, "OV", struct.pack("<2Q", 1, 1 << 50))
    dataset.add_new(0x00660022, "OD", struct.pack("<2d", 1.5, -2.5))
    dataset.add_new(0x00660016, "OF", struct.pack("<2f", 1.5, -2.5))
    dataset.add_new(0x00660040, "OL", struct.pack("<2I", 1, 1 << 20))
    dataset.add_new(0x00281201, "OW", struct.pack("<2H", 258, 772))
    dataset.add_new(0x00420011, "OB", b"%PDF")
    dataset.add_new(0x00081190, "UR", "https://example.org/wado")
    dataset.add_new(0x0040A160, "UT", "words, " * 20_000 + "end")
    block = dataset.private_block(0x0009, "HOZI TEST", create=True)
    block.add_new(0x01, "FD", [0.5, 0.25])
    block.add_new(0x02, "UN", b"\x01\x02\x03\x04")
    inner = Dataset()
    inner.add_new(0x00091001, "LO", "inside")
    inner.CodeMeaning = "Thorax 胸部"
    inner.ConceptNameCodeSequence = Sequence([Dataset(), Dataset()])
    inner.ConceptNameCodeSequence[1].Rows = 513
    block.add_new(0x03, "SQ", Sequence([inner]))
    dataset.ContentSequence = Sequence([inner, Dataset()])
    dataset.RequestAttributesSequence = Sequence()
    dataset.PixelData = struct.pack("<4h", 1, -2, 300, -400)
    dataset["PixelData"].VR = "OW"
    return dataset


def test_values_of_every_kind_survive_every_way_through_all_encodings(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    dcmwrite(buffer, everything(), implicit_vr=False, little_endian=True)
    start = buffer.getvalue()
    for way in ([EXPLICIT, BIG, EXPLICIT], [EXPLICIT, DEFLATED, BIG, DEFLATED, EXPLICIT]):
        dataset = start
        for source, to in pairwise(way):
            dataset = converted(dataset, source, to, tmp_path)
        assert same(parsed(dataset, EXPLICIT), everything()) == []
    through_implicit = converted(converted(start, EXPLICIT, IMPLICIT, tmp_path), IMPLICIT, EXPLICIT, tmp_path)
    assert same(parsed(through_implicit, EXPLICIT), everything(), private_are_unknown=True) == []


def same(ours: Dataset, theirs: Dataset, *, private_are_unknown: bool = False) -> list[int]:
    """The tags of elements that differ; ``private_are_unknown``: those of private ones do not, if their bytes are."""
    different = [int(tag) for tag in ours.keys() ^ theirs.keys()]
    for element in theirs:
        mine = ours.get(element.tag)
        if mine is None:
            continue
        if element.VR == "SQ":
            pairs = list(zip(mine.value, element.value, strict=True))
            inside = [same(*pair, private_are_unknown=private_are_unknown) for pair in pairs]
            assert inside == [[] for _ in pairs]
        elif private_are_unknown and element.tag.is_private and element.tag.element > 0xFF:
            assert (mine.VR, mine.value) == ("UN", as_bytes(element.value))
        elif (mine.VR, mine.value) != (element.VR, element.value):
            different.append(int(element.tag))
    return different


def as_bytes(value: bytes | str | list[float]) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else struct.pack(f"<{len(value)}d", *value)


@given(
    words=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=20),
    source=st.sampled_from(NATIVE),
    to=st.sampled_from(NATIVE),
)
def test_words_are_words_in_every_encoding(
    words: list[int],
    source: syntaxes.TransferSyntax,
    to: syntaxes.TransferSyntax,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def encoded(syntax: syntaxes.TransferSyntax) -> bytes:
        order = "<" if syntax.little_endian else ">"
        value = struct.pack(f"{order}{len(words)}H", *words)
        dataset = explicit(0x7FE00010, b"OW", value, order=order) if syntax.explicit else implicit(0x7FE00010, value)
        return zlib.compress(dataset, wbits=-15) if syntax.deflated else dataset

    after = converted(encoded(source), source, to, tmp_path_factory.mktemp("words"))
    if to.deflated:
        after, to = zlib.decompressobj(wbits=-15).decompress(after), EXPLICIT
    assert after == encoded(to)


# UN and private elements


def test_a_sequence_of_vr_un_becomes_one_again(tmp_path: Path) -> None:
    inner = implicit(0x00400009, b"S1")
    for content in (item(inner, open_end=True), item(explicit(0x00400009, b"SH", b"S1"), open_end=True)):
        for tag in (0x00400275, 0x00091001):
            dataset = CT + explicit(tag, b"UN", content + SEQUENCE_END, length=UNDEFINED)
            for to in (BIG, IMPLICIT, DEFLATED):
                after = parsed(converted(dataset, EXPLICIT, to, tmp_path), to)
                assert [step.ScheduledProcedureStepID for step in after[tag].value] == ["S1"]


def test_values_of_vr_un_stay_little_endian_unless_everybody_knows_better(tmp_path: Path) -> None:
    dataset = explicit(0x00091001, b"UN", b"\x01\0") + explicit(0x00280010, b"UN", b"\x01\0")
    dataset += explicit(0x00400275, b"UN", item(implicit(0x00280010, b"\x02\0")))
    assert converted(dataset, EXPLICIT, DEFLATED, tmp_path) != dataset
    after = converted(dataset, EXPLICIT, BIG, tmp_path)
    assert after.startswith(
        explicit(0x00091001, b"UN", b"\x01\0", order=">") + explicit(0x00280010, b"US", b"\0\x01", order=">")
    )
    assert parsed(after, BIG).RequestAttributesSequence[0].Rows == 2
    assert converted(dataset, EXPLICIT, IMPLICIT, tmp_path).startswith(
        implicit(0x00091001, b"\x01\0") + implicit(0x00280010, b"\x01\0")
    )


def test_a_private_value_that_only_looks_like_a_sequence_stays_what_it_is(tmp_path: Path) -> None:
    value = b"\xfe\xff\x00\xe0" + b"\xff" * 20
    after = converted(implicit(0x00091001, value) + implicit(0x00100020, b"P1"), IMPLICIT, EXPLICIT, tmp_path)
    assert after == explicit(0x00091001, b"UN", value) + explicit(0x00100020, b"LO", b"P1")


def test_a_value_too_long_for_its_vr_becomes_un(tmp_path: Path) -> None:
    value = b"x" * 70_000
    for to, order in ((EXPLICIT, "<"), (BIG, ">")):
        after = converted(implicit(0x00104000, value), IMPLICIT, to, tmp_path)
        assert after == explicit(0x00104000, b"UN", value, order=order)


# What devices get wrong


@pytest.mark.parametrize(
    "middle",
    [
        explicit(0x00400275, b"SQ", implicit(0xFFFEE000, CT, length=UNDEFINED) + SEQUENCE_END, length=UNDEFINED),
        explicit(0x00400275, b"SQ", implicit(0xFFFEE000, CT, length=UNDEFINED)),
        explicit(0x00400275, b"SQ", item(CT) + ITEM_END + SEQUENCE_END, length=UNDEFINED),
        explicit(0x00400275, b"SQ", item(CT + ITEM_END)),
        sequence(0x00400275, item(CT)) + SEQUENCE_END,
        sequence(0x00400275, implicit(0xFFFEE000, CT, length=len(CT) + 8)),
        sequence(0x00400275, item(CT + explicit(0x00400009, b"SH", b"", length=8))),
        sequence(0x00400275, item(CT), bytes(16)),
        struct.pack("<HH2sHL", 0x0009, 0x1001, b"ZZ", 0, 10) + b"0123456789",
        struct.pack("<HH2sH", 0x0009, 0x1001, b"??", 10) + b"0123456789",
        implicit(0x00091001, b"0123456789"),
        explicit(0x00020010, b"UI", b"1.2\0"),
        explicit(0x00400007, b"LO", b"odd"),
        explicit(0x00080000, b"UL", b"\xff\xff\xff\xff"),
    ],
)
@pytest.mark.parametrize("to", [IMPLICIT, BIG], ids=lambda syntax: syntax.name)
def test_odd_elements_that_the_archive_takes_in_are_got_over(
    middle: bytes, to: syntaxes.TransferSyntax, tmp_path: Path
) -> None:
    dataset = CT + middle + explicit(0x00400280, b"ST", b"after ")
    scan.scan(dataset, EXPLICIT)
    after = converted(dataset, EXPLICIT, to, tmp_path)
    found = parsed(after, to)
    assert (found.Modality, found[0x00400280].value) == ("CT", "after")
    assert all(one.Modality == "CT" for one in found.get("RequestAttributesSequence", []))
    assert scan.scan(after, to).findings == ()


def test_a_file_header_inside_the_dataset_goes(tmp_path: Path) -> None:
    inside = part10.write_header("1.2", "1.2", IMPLICIT.uid)[132:]
    assert converted(inside + implicit(0x00100020, b"P1"), IMPLICIT, EXPLICIT, tmp_path) == explicit(
        0x00100020, b"LO", b"P1"
    )


def test_a_dataset_in_another_encoding_than_it_should_be_is_read_as_it_is(tmp_path: Path) -> None:
    assert converted(CT, IMPLICIT, BIG, tmp_path) == explicit(0x00080060, b"CS", b"CT", order=">")


def test_compressed_pixels_against_the_transfer_syntax_are_not_passed_on(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="compressed"):
        converted(CT + fragments(b"", b"1234"), EXPLICIT, BIG, tmp_path)


def test_uncompressed_pixels_against_the_transfer_syntax_are_passed_on_if_complete(tmp_path: Path) -> None:
    layout = explicit(0x00280010, b"US", b"\x02\0") + explicit(0x00280011, b"US", b"\x02\0")
    pixels = explicit(0x7FE00010, b"OB", b"1234")
    assert converted(layout + pixels, JPEG, EXPLICIT, tmp_path) == layout + pixels
    with pytest.raises(Unreadable, match="complete"):
        converted(layout + explicit(0x7FE00010, b"OB", b"12"), JPEG, EXPLICIT, tmp_path)


@pytest.mark.parametrize("dataset", [CT[:-1], CT + explicit(0x7FE00010, b"OW", b"12", length=20)])
def test_a_dataset_that_is_cut_short_is_unreadable(dataset: bytes, tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        converted(dataset, EXPLICIT, BIG, tmp_path)


def test_pixels_are_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    size = 100 << 20
    path = tmp_path / "large"
    front = CT + explicit(0x7FE00010, b"OW", b"", length=size)
    with path.open("wb") as file:
        file.write(front)
        file.truncate(len(front) + size)
    with (tmp_path / "target").open("wb") as target:
        tracemalloc.start()
        try:
            convert(path, 0, EXPLICIT, BIG, target)
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()
    assert (tmp_path / "target").stat().st_size == len(front) + size


def test_pixels_of_one_byte_change_places_with_words_in_big_endian(tmp_path: Path) -> None:
    dataset = explicit(0x00280100, b"US", b"\x08\0") + explicit(0x7FE00010, b"OW", bytes(range(8)))
    after = parsed(converted(dataset, EXPLICIT, BIG, tmp_path), BIG)
    assert np.frombuffer(after.PixelData, ">u2").tolist() == np.frombuffer(bytes(range(8)), "<u2").tolist()


@pytest.mark.parametrize("name", ["rtdose_expb.dcm", "SC_rgb_expb_32bit_2frame.dcm"])
def test_pixels_of_32_bits_never_change_their_byte_order_by_a_guess(name: str, tmp_path: Path) -> None:
    """A radiotherapy dose that is swapped by words instead of pixels reads 250085395 instead of 1249000."""
    [row] = [row for row in rows() if row.name.endswith(name)]
    data = row.path.read_bytes()
    dataset = data[part10.read_header(data).dataset_offset :]
    for to in (EXPLICIT, IMPLICIT, DEFLATED):
        with pytest.raises(Unreadable, match="more than 16 bits"):
            converted(dataset, BIG, to, tmp_path)
