"""The elements of a dataset as people read them: all of them, bounded, and harmless whatever stands there."""

from __future__ import annotations

import io
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from hozi.core.dicom import syntaxes
from hozi.core.dicom.listing import MOST_LINES, Line, Listing, harmless, listing
from tests.doors.dimse.images import BIG, EXPLICIT, IMPLICIT, RLE, encoded, image

DEFLATED = "1.2.840.10008.1.2.1.99"


def listed(data: bytes, syntax: str = EXPLICIT, **more: object) -> Listing:
    return listing(io.BytesIO(data), syntaxes.for_unknown(syntax), len(data), **more)  # type: ignore[arg-type]


def by_keyword(found: Listing) -> dict[str, Line]:
    return {line.keyword: line for line in found.lines if line.keyword and not line.depth}


def nested(depth: int) -> Dataset:
    dataset = Dataset()
    dataset.CodeValue = f"C{depth}"
    if depth:
        dataset.ConceptNameCodeSequence = [nested(depth - 1)]
    return dataset


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_it_lists_every_element_with_its_name_and_value(syntax: str) -> None:
    found = listed(encoded(image(), syntax), syntax)
    assert found.complete
    assert found.total == len(found.lines) == len(image())
    lines = by_keyword(found)
    assert lines["PatientName"].value == "Chikomba^Rutendo"
    assert lines["PatientName"].number == "(0010,0010)"
    assert (lines["PatientName"].name, lines["PatientName"].vr) == ("Patient's Name", "PN")
    assert lines["Rows"].value == "8"
    assert lines["SOPClassUID"].value.endswith("(CT Image Storage)")
    assert lines["PixelData"].value == "64 bytes of binary data"
    assert lines["PixelData"].length == 64


def test_it_shows_sequences_as_they_stand() -> None:
    found = listed(encoded(image(ConceptNameCodeSequence=[nested(2), nested(0)])))
    inside = [(line.depth, line.name, line.value) for line in found.lines if line.depth]
    assert inside == [
        (1, "Item 1", ""),
        (1, "Code Value", "C2"),
        (1, "Concept Name Code Sequence", ""),
        (2, "Item 1", ""),
        (2, "Code Value", "C1"),
        (2, "Concept Name Code Sequence", ""),
        (3, "Item 1", ""),
        (3, "Code Value", "C0"),
        (1, "Item 2", ""),
        (1, "Code Value", "C0"),
    ]
    deepest = next(line for line in found.lines if line.depth == 3 and line.keyword)
    assert deepest.path == tuple(["ConceptNameCodeSequence[1]"] * 3)


def test_private_elements_are_shown_as_such_with_who_defined_them() -> None:
    dataset = image()
    block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
    block.add_new(0x02, "SL", 912)
    block.add_new(0xFE, "LO", "unknown to all")
    lines = {line.number: line for line in listed(encoded(dataset)).lines}
    assert lines["(0019,0010)"].name == "Private creator"
    known, unknown = lines["(0019,1002)"], lines["(0019,10FE)"]
    assert known.private and known.creator == "GEMS_ACQU_01"
    assert (known.name, known.value) == ("Detector Channel", "912")
    assert (unknown.name, unknown.value, unknown.keyword) == ("Private element", "unknown to all", "")


def test_it_says_what_corrections_say_and_marks_it() -> None:
    changes = {0x00100010: ["Чикомба^Рутендо"], 0x00100040: None, 0x00104000: ["new"]}
    lines = by_keyword(listed(encoded(image()), changes=changes))
    assert lines["PatientName"].value == "Чикомба^Рутендо"
    assert lines["PatientName"].changed and lines["PatientComments"].changed
    assert not lines["PatientID"].changed
    assert "PatientSex" not in lines


def test_it_finds_by_tag_name_and_value() -> None:
    data = encoded(image(ConceptNameCodeSequence=[nested(1)]))
    assert [line.value for line in listed(data, wanted="chikomba").lines] == ["Chikomba^Rutendo"]
    assert [line.keyword for line in listed(data, wanted="00100020").lines] == ["PatientID"]
    assert [line.keyword for line in listed(data, wanted="(0010,0020)").lines] == ["PatientID"]
    assert [line.value for line in listed(data, wanted="codevalue").lines] == ["C1", "C0"]
    assert listed(data, wanted="nothing like it").total == 0


def test_it_gives_one_window_and_says_how_many_there_are() -> None:
    data = encoded(image())
    everything = listed(data).lines
    window = listed(data, first=5, most=3)
    assert window.lines == everything[5:8]
    assert window.total == len(everything)


def test_a_dataset_without_end_is_read_so_far_and_no_further() -> None:
    item = Dataset()
    item.CodeValue = "x"
    data = encoded(image(ConceptNameCodeSequence=[item] * MOST_LINES))
    found = listed(data)
    assert not found.complete
    assert found.total == MOST_LINES
    assert len(found.lines) == 200


class Cine(io.RawIOBase):
    """A file of 200 MB of pixels between ``head`` and ``tail``, in which nobody may read the pixels."""

    PIXELS = 200 << 20

    def __init__(self, head: bytes, tail: bytes) -> None:
        super().__init__()
        self.parts = (head, tail)
        self.length = len(head) + self.PIXELS + len(tail)
        self.at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (self.at if whence == 1 else 0)
        return self.at

    def read(self, size: int = -1) -> bytes:
        head, tail = self.parts
        after = len(head) + self.PIXELS
        assert self.at < (1 << 20) or self.at >= after, "the pixels were read"
        data = tail[self.at - after :][:size] if self.at >= after else head[self.at :][:size].ljust(size, b"\0")
        self.at += len(data)
        return data


def test_pixel_data_is_stepped_over_and_not_read() -> None:
    start = encoded(image(PixelData=None)) + b"\xe0\x7f\x10\x00OW\0\0" + Cine.PIXELS.to_bytes(4, "little")
    file = Cine(start, b"\xfc\xff\xfc\xffOB\0\0\2\0\0\0\0\0")
    found = listing(file, syntaxes.for_unknown(EXPLICIT), file.length)  # type: ignore[arg-type]
    assert found.complete
    assert by_keyword(found)["PixelData"].value == "200.0 MB of binary data"
    assert found.lines[-1].keyword == "DataSetTrailingPadding"


def test_compressed_pixels_are_counted() -> None:
    data = encoded(image())
    start = data.index(b"\xe0\x7f\x10\x00")
    frames = encapsulate([bytes(30), bytes(50)])
    data = data[:start] + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + frames + b"\xfe\xff\xdd\xe0\0\0\0\0"
    line = by_keyword(listed(data, RLE))["PixelData"]
    assert line.value == "88 bytes of binary data in 3 fragments"


def test_a_deflated_dataset_is_listed_too() -> None:
    import zlib

    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(encoded(image())) + deflate.flush()
    assert by_keyword(listed(data, DEFLATED))["PatientID"].value == "E-0001"


def test_a_text_of_ten_megabytes_is_shortened_within_bounded_memory() -> None:
    dataset = image()
    dataset.add_new(0x0040A160, "UT", "<script>" * (10 << 17))
    data = encoded(dataset)
    file = io.BytesIO(data)
    tracemalloc.start()
    try:
        found = listing(file, syntaxes.for_unknown(EXPLICIT), len(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    line = by_keyword(found)["TextValue"]
    assert line.cut and len(line.value) == 300 and line.length == len("<script>") * (10 << 17)
    assert peak < 4 << 20


def test_control_characters_and_writing_directions_become_signs() -> None:
    dataset = image()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = "Evil\u202egnp.exe"
    data = encoded(dataset).replace(b"A-77", b"A\x1b\x077")
    lines = by_keyword(listed(data))
    assert lines["AccessionNumber"].value == "A␛␇7"
    assert lines["PatientName"].value == "Evil\N{REPLACEMENT CHARACTER}gnp.exe"
    assert harmless("a\u2028b\0c\u00a0d") == "a\N{REPLACEMENT CHARACTER}b␀c d"
    assert harmless("クリニック Ndlovú") == "クリニック Ndlovú"


def test_a_damaged_dataset_is_listed_as_far_as_it_goes() -> None:
    data = encoded(image())
    found = listed(data[:-30])
    assert not found.complete and found.problem
    assert by_keyword(found)["PatientID"].value == "E-0001"


@settings(deadline=None)  # a busy machine is no fault of the listing
@given(st.integers(0, 2**32), st.sampled_from([EXPLICIT, IMPLICIT, BIG]))
def test_damaged_bytes_give_a_listing_and_nothing_else(seed: int, syntax: str) -> None:
    chance = random.Random(seed)
    data = bytearray(encoded(image(ConceptNameCodeSequence=[nested(3)]), syntax))
    for _ in range(chance.randrange(1, 12)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    found = listed(bytes(data), syntax)
    assert found.complete or found.problem or found.total == MOST_LINES
    for line in found.lines:
        assert line.name and line.value == harmless(line.value)


def test_sequences_inside_one_another_do_not_exhaust_the_stack() -> None:
    begin = b"\x40\x00\x43\xa0SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    found = listed(begin * 5000)
    assert not found.complete and "deep" in found.problem
