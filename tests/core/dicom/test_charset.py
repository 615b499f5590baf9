"""Character sets: what devices declare, what they really send, and what comes out."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.dicom import charset
from tests.corpus import CORPUS

SETS = [
    "",
    "ISO_IR 6",
    "ISO_IR 13",
    "ISO_IR 100",
    "ISO_IR 101",
    "ISO_IR 109",
    "ISO_IR 110",
    "ISO_IR 126",
    "ISO_IR 127",
    "ISO_IR 138",
    "ISO_IR 144",
    "ISO_IR 148",
    "ISO_IR 166",
    "ISO_IR 203",
    "ISO_IR 192",
    "GB18030",
    "GBK",
    "ISO 2022 IR 13\\ISO 2022 IR 87",
    "\\ISO 2022 IR 87\\ISO 2022 IR 159",
    "\\ISO 2022 IR 149",
    "\\ISO 2022 IR 58",
    "ISO 2022 IR 100\\ISO 2022 IR 126\\ISO 2022 IR 144",
    "NONSENSE",
]


@pytest.mark.parametrize(
    ("declared", "raw", "text"),
    [
        ("ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
        ("ISO_IR 101", b"W\xb3adys\xb3aw", "Władysław"),
        ("ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
        ("ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
        ("ISO_IR 138", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
        ("ISO_IR 144", b"\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг"),
        ("ISO_IR 148", b"\xc7a\xf0", "Çağ"),
        ("ISO_IR 166", b"\xb7\xd2\xc2", "ทาย"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東=".encode(), "Wang^XiaoDong=王^小東="),
        ("GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
        ("GBK", b"\xcd\xf5", "王"),
        ("ISO 2022 GBK", b"\xcd\xf5", "王"),
        ("ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            "ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        ),
        (
            "\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        ("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", "Zhang^XiaoDong=张^小东="),
        (
            "ISO 2022 IR 6\\ISO 2022 IR 144\\ISO 2022 IR 126",
            b"\x1b-L\xbb\xee\xda^\x1b-F\xc4\xe9\xef",
            "Люк^Διο",
        ),
    ],
)
def test_it_reads_every_character_set_of_the_standard_e27(declared: str, raw: bytes, text: str) -> None:
    assert charset.decode(raw, "PN", declared) == text


def _with_second_byte_of_a_backslash(codec: str) -> str:
    """A Chinese character whose code ends in 5C."""
    for character in map(chr, range(0x4E00, 0x9FFF)):
        code = character.encode(codec, "ignore").removeprefix(b"\x1b$B")[:2]
        if len(code) == 2 and code.endswith(b"\\"):
            return character
    raise AssertionError(f"{codec} has no such character")


@pytest.mark.parametrize(
    ("declared", "codec"), [("GB18030", "gb18030"), ("GBK", "gbk"), ("\\ISO 2022 IR 87", "iso2022_jp")]
)
def test_it_does_not_take_the_second_byte_of_a_character_for_a_backslash_e26(declared: str, codec: str) -> None:
    character = _with_second_byte_of_a_backslash(codec)
    raw = character.encode(codec)
    assert raw.count(b"\\") == 1
    assert charset.decode(raw + b"\\" + raw, "LO", declared) == f"{character}\\{character}"


def test_it_uses_the_sites_default_where_nothing_is_declared_e26() -> None:
    assert charset.decode(b"\xc4\xe9", "PN", "", "ISO_IR 126") == "Δι"
    assert charset.decode(b"\xc4\xe9", "PN", "ISO_IR 6", "ISO_IR 126") == "Δι"
    assert charset.decode(b"J\xe9r\xf4me", "PN", "") == "Jérôme"
    assert charset.decode("Jérôme".encode(), "PN", "") == "Jérôme"


def test_a_wrong_declaration_gives_the_best_guess_and_never_a_crash_e26() -> None:
    assert charset.decode(b"M\xfcller", "PN", "ISO_IR 192") == "Müller"
    assert charset.decode(b"M\xfcller", "PN", "KLINGON") == "Müller"
    assert charset.decode("Müller".encode(), "PN", "GB18030 or so") == "Müller"


@pytest.mark.parametrize("spelling", ["ISO_IR 100", "ISO-IR 100", "ISO IR 100", "iso_ir_100", "ISO 2022 IR 100"])
def test_it_understands_usual_misspellings(spelling: str) -> None:
    assert charset.decode(b"\xe9", "LO", spelling) == "é"


def test_padding_goes_and_inner_text_stays() -> None:
    assert charset.decode(b" A \\ B\0 ", "LO", "") == "A\\B"
    assert charset.decode(b"1.2.3\0", "UI", "") == "1.2.3"
    assert charset.decode(b"  indented\\not two values ", "LT", "") == "  indented\\not two values"


@given(st.binary(max_size=60), st.sampled_from(SETS), st.sampled_from(["PN", "LO", "LT", "CS", "UI"]))
def test_reading_never_fails_and_gives_text_that_a_database_can_hold(raw: bytes, declared: str, vr: str) -> None:
    text = charset.decode(raw, vr, declared)
    assert "\0" not in text
    text.encode("utf_8")


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30), st.sampled_from(SETS))
def test_what_can_be_encoded_comes_back_the_same(text: str, declared: str) -> None:
    text = text.strip(" ")
    encoded = charset.encode(text, "PN", declared)
    if encoded is not None:
        assert charset.decode(encoded, "UC", declared).replace(" ", "") == text.replace(" ", "")


def test_it_answers_in_the_set_that_was_asked_for_if_that_can_hold_the_text() -> None:
    assert charset.encode_set(["Moyo^Tendai"], "ISO_IR 101") == ""
    assert charset.encode_set(["Müller"], "ISO_IR 101") == "ISO_IR 101"
    assert charset.encode_set(["Müller"]) == "ISO_IR 100"
    assert charset.encode_set(["山田^太郎"], "ISO_IR 100") == "ISO_IR 192"
    assert charset.encode_set(["山田^太郎"], "\\ISO 2022 IR 87") == "\\ISO 2022 IR 87"
    assert charset.encode_set(["山田^太郎"], "ISO_IR 13") == "ISO_IR 192"
    assert charset.encode_set(["홍^길동"], "\\ISO 2022 IR 87") == "ISO_IR 192"
    assert charset.encode_set(["é"], "NONSENSE") == "ISO_IR 192"


def test_it_names_the_codecs_of_a_set() -> None:
    assert charset.encoders("") == ["ascii"]
    assert charset.encoders("\\ISO 2022 IR 87") == ["ascii", "iso2022_jp"]
    assert charset.encoders("ISO_IR 192") == ["utf_8"]


# Those whose stem has SQ in it hold no name of their own.
FILES = sorted(path for path in CORPUS.glob("charset/*/chr[A-Z]*.dcm") if "SQ" not in path.stem)


@pytest.mark.skipif(not FILES, reason="without the corpus of real files")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_it_reads_real_names_as_an_independent_reader_does(path: Path) -> None:
    dataset = pydicom.dcmread(path, force=True)
    declared = dataset.get("SpecificCharacterSet") or ""
    text = declared if isinstance(declared, str) else "\\".join(declared)
    raw = dataset.PatientName.original_string
    assert charset.decode(raw, "PN", text) == str(dataset.PatientName)
