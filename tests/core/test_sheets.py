"""Tables for spreadsheets: nothing that a stranger wrote is a formula; what Excel saved can be read."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core import sheets
from hozi.core.errors import Refused


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "  =HYPERLINK(1)", '=IMPORTXML("http://x")'],
)
def test_nothing_that_a_stranger_wrote_is_a_formula(text: str) -> None:
    assert sheets.cell(text).startswith("'")


@given(st.text())
def test_no_cell_begins_like_a_formula_or_steers_a_terminal(text: str) -> None:
    shown = sheets.cell(text)
    assert not shown.lstrip().startswith(("=", "+", "-", "@"))
    assert shown == "" or shown.isprintable()


printable = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc", "Zl", "Zp"]))


@given(st.lists(st.lists(printable, min_size=2, max_size=2), max_size=5))
def test_what_was_written_is_read_back(rows: list[list[str]]) -> None:
    text = sheets.written(rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == [[sheets.cell(value) for value in row] for row in rows]


def test_numbers_stay_numbers() -> None:
    assert sheets.written([[-5, 1.5, True, None, "x"]]) == "-5,1.5,True,,x\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"Full Name,Role\r\nTendai Moyo,student\r\n",
        b"\xef\xbb\xbfFull Name;Role\nTendai Moyo;student\n\n;\n",
        "Full Name\tRole\nTendai Moyo\tstudent".encode("utf-16"),
    ],
)
def test_it_reads_what_spreadsheets_save(data: bytes) -> None:
    assert sheets.read(data) == (["full_name", "role"], [(2, ["Tendai Moyo", "student"])])


def test_it_reads_old_windows_letters() -> None:
    assert sheets.read("name\nJosé".encode("cp1252"))[1] == [(2, ["José"])]


def test_a_line_has_the_number_that_it_has_in_the_file() -> None:
    assert [number for number, _ in sheets.read(b'name\n\n"two\nlines"\nlast\n')[1]] == [4, 5]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"PK\x03\x04\x00\x00", "no CSV"),
        (b"x" * ((4 << 20) + 1), "larger than 4 MiB"),
        (b"name\n" + b"x\n" * 5001, "more than 5000"),
        (b"name\n" + b"x" * 200_000, "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        sheets.read(data)
    assert refused.value.field == "file"
