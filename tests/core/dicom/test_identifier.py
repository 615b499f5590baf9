"""Identifiers: read whatever way they come, written so that others read them."""

from __future__ import annotations

import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from hozi.core.dicom import identifier
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import Unreadable

IMPLICIT, EXPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
SYNTAXES = [IMPLICIT, EXPLICIT, BIG, DEFLATED]


def _query() -> Dataset:
    item = Dataset()
    item.RequestedProcedureID = "RP1"
    item.ScheduledProcedureStepID = ""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.QueryRetrieveLevel = "STUDY"
    dataset.PatientName = "Müller^Jérôme"
    dataset.StudyInstanceUID = ["1.2.3", "1.2.4"]
    dataset.StudyDate = ""
    dataset.Rows = 512
    dataset.InstanceNumber = "7"
    dataset.RequestAttributesSequence = Sequence([item])
    return dataset


def _by_pydicom(dataset: Dataset, syntax: str) -> bytes:
    """What another implementation makes of a dataset."""
    file = DicomBytesIO()
    file.is_implicit_VR = syntax == IMPLICIT
    file.is_little_endian = syntax != BIG
    write_dataset(file, dataset)
    data = file.getvalue()
    if syntax == DEFLATED:
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = deflate.compress(data) + deflate.flush()
    return data


def _read_by_pydicom(data: bytes, syntax: str) -> Dataset:
    if syntax == DEFLATED:
        data = zlib.decompress(data, -zlib.MAX_WBITS)
    return read_dataset(BytesIO(data), syntax == IMPLICIT, syntax != BIG)


def _plain(dataset: Dataset) -> dict[int, object]:
    return {
        int(element.tag): [_plain(item) for item in element.value] if element.VR == "SQ" else element.value
        for element in dataset
    }


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_it_reads_what_another_implementation_wrote(syntax: str) -> None:
    dataset = identifier.read(_by_pydicom(_query(), syntax), syntax)
    assert _plain(dataset) == {
        tag_of("SpecificCharacterSet"): "ISO_IR 100",
        tag_of("QueryRetrieveLevel"): "STUDY",
        tag_of("PatientName"): "Müller^Jérôme",
        tag_of("StudyInstanceUID"): ["1.2.3", "1.2.4"],
        tag_of("StudyDate"): "",
        tag_of("Rows"): 512,
        tag_of("InstanceNumber"): "7",
        tag_of("RequestAttributesSequence"): [
            {tag_of("RequestedProcedureID"): "RP1", tag_of("ScheduledProcedureStepID"): ""}
        ],
    }


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_another_implementation_reads_what_it_wrote(syntax: str) -> None:
    written = identifier.write(identifier.read(_by_pydicom(_query(), syntax), syntax), syntax)
    assert len(written) % 2 == 0
    dataset = _read_by_pydicom(written, syntax)
    assert str(dataset.PatientName) == "Müller^Jérôme"
    assert dataset.StudyInstanceUID == ["1.2.3", "1.2.4"]
    assert dataset.Rows == 512
    assert dataset.RequestAttributesSequence[0].RequestedProcedureID == "RP1"
    assert dataset == _read_by_pydicom(_by_pydicom(_query(), syntax), syntax)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_texts_come_back_in_every_character_set(syntax: str) -> None:
    for declared, name in [
        ("ISO_IR 192", "山田^太郎"),
        ("\\ISO 2022 IR 87", "Yamada=山田^太郎"),
        ("ISO_IR 144", "Елкин"),
    ]:
        dataset = Dataset()
        for keyword, vr, text in [("SpecificCharacterSet", "CS", declared), ("PatientName", "PN", name)]:
            tag = tag_of(keyword)
            dataset[tag] = identifier.plain_element(tag, vr, text)
        written = identifier.write(dataset, syntax)
        assert identifier.read(written, syntax) == dataset
        assert str(_read_by_pydicom(written, syntax).PatientName) == name


def test_what_the_character_set_does_not_have_becomes_a_question_mark() -> None:
    dataset = Dataset()
    dataset[0x00100010] = identifier.plain_element(0x00100010, "PN", "Müller")
    assert b"M?ller" in identifier.write(dataset, EXPLICIT)


def test_group_lengths_and_group_2_are_left_out_e16_e17() -> None:
    data = (
        bytes.fromhex("02001000") + b"UI\x04\x001.2\0"
        b"\x08\x00\x00\x00UL\x04\x00\x0a\x00\x00\x00\x08\x00\x52\x00CS\x06\x00STUDY \x10\x00\x00\x00UL\x04\x00\0\0\0\0"
    )
    assert _plain(identifier.read(data, EXPLICIT)) == {tag_of("QueryRetrieveLevel"): "STUDY"}


def test_an_unknown_character_set_is_no_reason_to_fail_or_to_warn_e26() -> None:
    data = b"\x08\x00\x05\x00CS\x08\x00KLINGON \x10\x00\x10\x00PN\x06\x00M\xfcller"
    assert identifier.read(data, EXPLICIT).PatientName == "Müller"


def test_the_sites_character_set_counts_where_none_is_named_e26() -> None:
    data = b"\x10\x00\x10\x00PN\x04\x00\xc4\xe9\xef "
    assert identifier.read(data, EXPLICIT).PatientName == "Äéï"
    assert identifier.read(data, EXPLICIT, "ISO_IR 126").PatientName == "Διο"


def test_values_that_break_their_rules_are_kept_as_text() -> None:
    data = b"\x20\x00\x13\x00IS\x06\x00seven \x08\x00\x20\x00DA\x06\x002026* " + b"\x20\x00\x0d\x00UI\x04\x00a/b\0"
    dataset = identifier.read(data, EXPLICIT)
    assert [element.value for element in dataset] == ["2026*", "a/b", "seven"]


def test_a_known_element_is_known_even_when_its_vr_is_unknown_e18() -> None:
    item = b"\xfe\xff\x00\xe0\x0c\x00\x00\x00" + b"\x40\x00\x01\x10\x04\x00\x00\x00RP1 "
    sequence = b"\x40\x00\x75\x02UN\x00\x00" + len(item).to_bytes(4, "little") + item
    dataset = identifier.read(b"\x10\x00\x20\x00UN\x00\x00\x02\x00\x00\x00P1" + sequence, EXPLICIT)
    assert dataset.PatientID == "P1"
    assert dataset.RequestAttributesSequence[0].RequestedProcedureID == "RP1"


def test_a_list_that_is_too_long_for_a_short_header_comes_back_whole_e33() -> None:
    uids = [f"1.2.840.99999.{10**45 + number}" for number in range(2000)]
    dataset = Dataset()
    dataset[0x00080058] = identifier.plain_element(0x00080058, "UI", "\\".join(uids))
    for syntax in SYNTAXES:
        written = identifier.write(dataset, syntax)
        assert identifier.read(written, syntax).FailedSOPInstanceUIDList == uids
        value = _read_by_pydicom(written, syntax)[0x00080058].value
        # pydicom leaves long values of unknown VR (PS3.5 §6.2.2) as they are
        assert (value.decode().rstrip("\0").split("\\") if isinstance(value, bytes) else list(value)) == uids


def test_an_identifier_may_be_empty() -> None:
    assert len(identifier.read(b"", EXPLICIT)) == 0
    assert identifier.write(Dataset(), EXPLICIT) == b""


def test_other_binary_values_come_back() -> None:
    dataset = Dataset()
    dataset.add_new(0x00209165, "AT", [0x00100010, 0x00080005])
    dataset.add_new(0x00080301, "US", [1, 65535])
    dataset.add_new(0x00189073, "FD", 0.5)
    dataset.add_new(0x00420011, "OB", b"\1\2\3")
    for syntax in SYNTAXES:
        back = identifier.read(identifier.write(dataset, syntax), syntax)
        assert back[0x00209165].value == [0x00100010, 0x00080005]
        assert back[0x00080301].value == [1, 65535]
        assert back[0x00189073].value == 0.5
        assert back[0x00420011].value.rstrip(b"\0") == b"\1\2\3"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_truncated_identifier_is_refused(syntax: str) -> None:
    whole = _by_pydicom(_query(), syntax)
    with pytest.raises(Unreadable):
        identifier.read(whole[:-3], syntax)


def test_a_nest_of_sequences_is_refused_quickly_a13() -> None:
    nest = b"\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 10_000
    with pytest.raises(Unreadable):
        identifier.read(nest, EXPLICIT)


def test_a_deflated_bomb_is_refused_a14() -> None:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflate.compress(b"\x20\x00\x00\x40UT\x00\x00\x00\x00\x00\x04" + bytes(64 << 20)) + deflate.flush()
    with pytest.raises(Unreadable):
        identifier.read(bomb, DEFLATED)


@given(st.binary(max_size=200), st.sampled_from(SYNTAXES))
def test_bytes_are_an_identifier_or_unreadable(data: bytes, syntax: str) -> None:
    try:
        assert isinstance(identifier.read(data, syntax), Dataset)
    except Unreadable as error:
        assert len(str(error)) < 200
