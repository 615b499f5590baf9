"""Whole datasets in the DICOM JSON model, beside what pydicom makes of the same files."""

from __future__ import annotations

import json
import re
import struct
import warnings
from io import BytesIO
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hozi.core.dicom import part10, rewrite, syntaxes
from hozi.core.dicom.elements import deflated
from hozi.core.dicom.json_dataset import INLINE_BYTES, Writer
from hozi.core.dicom.scan import scan
from hozi.core.errors import Unreadable
from tests import corpus
from tests.core.dicom.encoded import UNDEFINED, explicit, fragments, implicit, item, sequence

EXPLICIT = syntaxes.for_unknown(syntaxes.EXPLICIT_LITTLE)
IMPLICIT = syntaxes.for_unknown(syntaxes.IMPLICIT_LITTLE)
BIG = syntaxes.for_unknown(syntaxes.EXPLICIT_BIG)
DEFLATED = syntaxes.for_unknown(syntaxes.DEFLATED)


def written(data: bytes, syntax: syntaxes.TransferSyntax = EXPLICIT, writer: Writer | None = None, **more: Any) -> Any:
    """The dataset as JSON, read back."""
    read = lambda position, size: data[position : position + size]  # noqa: E731
    return json.loads((writer or Writer()).dataset(read, len(data), syntax, "https://hozi.test/bulkdata", **more))


def _small(order: str = "<") -> bytes:
    """Elements of many kinds."""
    inner = explicit(0x00080100, b"SH", b"T-04 ", length=4, order=order)[:12]
    return b"".join(
        (
            explicit(0x00080008, b"CS", b"ORIGINAL\\\\AXIAL ", order=order),
            sequence(0x00081140, item(inner, order=order), item(b"", order=order), order=order),
            explicit(0x00100010, b"PN", b"Moyo^Tendai=\\", order=order),
            explicit(0x00181310, b"US", struct.pack(order + "4H", 0, 256, 65535, 0), order=order),
            explicit(0x00189073, b"FD", struct.pack(order + "d", 1.5), order=order),
            explicit(0x00200013, b"IS", b"+12\\x ", order=order),
            explicit(0x00280009, b"AT", struct.pack(order + "2H", 0x0018, 0x1063), order=order),
            explicit(0x00280010, b"US", struct.pack(order + "H", 512), order=order),
            explicit(0x00281053, b"DS", b"1.0\\.5", order=order),
            explicit(0x00420011, b"OB", bytes(INLINE_BYTES + 2), order=order),
            explicit(0x7FE00010, b"OW", bytes(8), order=order),
        )
    )


def test_elements_say_what_the_standard_makes_of_them() -> None:
    assert written(_small()) == {
        "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
        "00081140": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["T-04"]}}, {}]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Moyo^Tendai"}, None]},
        "00181310": {"vr": "US", "Value": [0, 256, 65535, 0]},
        "00189073": {"vr": "FD", "Value": [1.5]},
        "00200013": {"vr": "IS", "Value": [12, "x"]},
        "00280009": {"vr": "AT", "Value": ["00181063"]},
        "00280010": {"vr": "US", "Value": [512]},
        "00281053": {"vr": "DS", "Value": [1, 0.5]},
        "00420011": {"vr": "OB", "BulkDataURI": "https://hozi.test/bulkdata/00420011"},
        "7FE00010": {"vr": "OW", "BulkDataURI": "https://hozi.test/bulkdata/7FE00010"},
    }


def test_the_encoding_makes_no_difference() -> None:
    expected = written(_small())

    assert written(_small(">"), BIG) == expected
    assert written(b"".join(deflated([_small()])), DEFLATED) == expected
    assert written(_small(), IMPLICIT) == expected  # a device that says so and writes otherwise


def test_texts_are_in_utf8_whatever_each_item_says_of_its_own() -> None:
    russian = explicit(0x00080005, b"CS", b"ISO_IR 144") + explicit(0x00104000, b"LT", "Шум".encode("iso8859_5") + b" ")
    found = written(
        explicit(0x00080005, b"CS", b"ISO_IR 100")
        + sequence(0x00081140, item(russian), item(explicit(0x00104000, b"LT", "né ".encode("latin_1") + b" ")))
        + explicit(0x00100020, b"LO", "é ".encode("latin_1"))
    )

    assert found["00080005"]["Value"] == ["ISO_IR 192"]
    first, second = found["00081140"]["Value"]
    assert first == {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00104000": {"vr": "LT", "Value": ["Шум"]},
    }
    assert second["00104000"]["Value"] == ["né"]
    assert found["00100020"]["Value"] == ["é"]


def test_a_dataset_that_names_no_character_set_is_read_as_the_archive_says_and_says_so_afterwards() -> None:
    found = written(explicit(0x00100020, b"LO", "Ж ".encode("iso8859_5")), writer=Writer("ISO_IR 144"))

    assert found["00080005"]["Value"] == ["ISO_IR 192"]
    assert found["00100020"]["Value"] == ["Ж"]


def test_implicit_elements_get_the_vr_of_the_data_dictionary_and_private_ones_that_of_their_creator() -> None:
    unknown = explicit(0x00091002, b"UN", b"abc ")
    known = explicit(0x00090010, b"LO", b"GEMS_IDEN_01") + explicit(0x00091002, b"UN", b"abc ")
    signed = implicit(0x00280103, b"\1\0") + implicit(0x00280106, b"\xfe\xff")

    assert written(unknown)["00091002"] == {"vr": "UN", "InlineBinary": "YWJjIA=="}
    assert written(known)["00091002"] == {"vr": "SH", "Value": ["abc"]}
    assert written(signed, IMPLICIT)["00280106"] == {"vr": "SS", "Value": [-2]}
    assert written(implicit(0x00280106, b"\xfe\xff"), IMPLICIT)["00280106"] == {"vr": "US", "Value": [65534]}


def test_a_value_of_unknown_vr_that_is_a_sequence_is_told_as_one() -> None:
    content = implicit(0xFFFEE000, implicit(0x00080100, b"T-04"))
    found = {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["T-04"]}}]}

    assert written(explicit(0x00081140, b"UN", content))["00081140"] == found
    assert (
        written(explicit(0x00081140, b"UN", content + implicit(0xFFFEE0DD, b""), length=UNDEFINED))["00081140"] == found
    )
    assert written(explicit(0x00081140, b"UN", b"nothing "))["00081140"]["vr"] == "UN"


def test_bulk_data_in_a_sequence_is_named_by_the_way_to_it() -> None:
    icon = item(explicit(0x7FE00010, b"OB", bytes(INLINE_BYTES + 2)))
    for open_end in (False, True):
        found = written(sequence(0x00880200, item(b""), icon, open_end=open_end) + fragments(b"", b"ab"))

        assert found["00880200"]["Value"][1]["7FE00010"]["BulkDataURI"].endswith("/bulkdata/00880200/2/7FE00010")
        assert found["7FE00010"] == {"vr": "OB", "BulkDataURI": "https://hozi.test/bulkdata/7FE00010"}


def test_corrections_read_as_they_do_in_what_is_sent() -> None:
    changes: dict[int, Any] = {
        0x00100010: [{"Alphabetic": "Ncube^Rudo", "Ideographic": "山"}],
        0x00080050: ["A 1 "],
        0x00280010: None,
        0x00200013: [],
        0x00081140: [{"00080100": {"vr": "SH", "Value": ["X"]}}],
        0x00281053: [2.50],
    }
    sent = b"".join(rewrite.rewrite(BytesIO(_small()), EXPLICIT, len(_small()), changes))

    assert written(_small(), changes=changes) == written(sent)
    assert "00280010" not in written(sent)


def test_what_follows_pixel_data_is_told_too() -> None:
    end = explicit(0xFFFCFFFC, b"OB", b"\0\0")

    assert "FFFCFFFC" in written(explicit(0x7FE00010, b"OW", bytes(100_000)) + end)
    assert "FFFCFFFC" in written(fragments(b"", bytes(50_000), bytes(50_000)) + end)


def test_a_large_sequence_is_read_whole() -> None:
    frames = [item(explicit(0x00080100, b"SH", b"%06d" % number), open_end=True) for number in range(5000)]
    found = written(sequence(0x52009230, *frames, open_end=True) + explicit(0x7FE00010, b"OW", bytes(100_000)))

    assert [one["00080100"]["Value"][0] for one in found["52009230"]["Value"]] == [f"{n:06d}" for n in range(5000)]


def test_it_refuses_sequences_that_are_nested_too_deep() -> None:
    data = explicit(0x00080100, b"SH", b"T-04")
    for _ in range(200):
        data = sequence(0x00081140, item(data, open_end=True), open_end=True)

    with pytest.raises(Unreadable):
        written(data)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_datasets_are_told_or_refused_and_nothing_else(data: st.DataObject) -> None:
    damaged = bytearray(_small())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    for syntax in (EXPLICIT, IMPLICIT, BIG):
        try:
            told = written(cut, syntax)
        except Unreadable:
            continue
        assert all(re.fullmatch("[0-9A-F]{8}", tag) and len(element["vr"]) == 2 for tag, element in told.items())


# Beside pydicom --------------------------------------------------------------------------------------------


def _normal(dataset: dict[str, Any]) -> dict[str, Any]:
    """Without what may be told in two ways, and what this archive tells otherwise on purpose.

    Spaces around values mean nothing; an empty one among several is null here (PS3.18 §F.2.5), an empty text there.
    Where binary values stand differs by how long they are. Group lengths and what is said of the character set go.
    """
    normal: dict[str, Any] = {}
    for tag, element in dataset.items():
        vr, found = str(element["vr"]), element.get("Value") or []
        if tag.endswith("0000") or tag == "00080005":
            continue
        if vr == "SQ":
            normal[tag] = [_normal(one or {}) for one in found]
        elif element.keys() & {"InlineBinary", "BulkDataURI"}:
            normal[tag] = (vr, "binary")
        else:
            plain = [one.strip() if isinstance(one, str) else one for one in found]
            normal[tag] = (vr, [one if one or one == 0 else None for one in plain] if any(plain) or 0 in plain else [])
    return normal


#: Private elements of big endian files whose values pydicom does not turn round, since it reads them as UN.
_BIG_ENDIAN_UNKNOWN = "CTImage.dcm_BigEndianExplicit"


def test_files_of_the_corpus_say_what_pydicom_reads_in_them() -> None:
    compared = 0
    for row in corpus.rows():
        data = row.path.read_bytes()
        try:
            header = part10.read_header(data)
            syntax = syntaxes.for_unknown(header.transfer_syntax)
            scan(memoryview(data)[header.dataset_offset :], syntax)
        except Unreadable:
            continue
        ours = written(data[header.dataset_offset :], syntax)  # none is refused that the archive takes in
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = pydicom.dcmread(BytesIO(data), force=True).to_json_dict(1024, lambda _: "there")
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            continue  # pydicom cannot
        if _BIG_ENDIAN_UNKNOWN in row.name:
            ours, theirs = ({t: e for t, e in one.items() if int(t[3], 16) % 2 == 0} for one in (ours, theirs))
        assert _normal(ours) == _normal(theirs), row.name
        compared += 1
    assert compared > 250 or not corpus.rows()
