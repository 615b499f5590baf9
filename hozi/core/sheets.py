"""Tables for spreadsheets, as CSV: what strangers wrote never becomes a formula; what Excel saved can be read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from hozi.core.errors import Refused

_STARTS_FORMULA: Final = ("=", "+", "-", "@")
_DELIMITERS: Final = ",;\t"


def cell(value: object) -> str:
    """The value as text that no spreadsheet takes for a formula: an apostrophe comes first where one might.

    Control characters become spaces. Numbers stay numbers.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = "" if value is None else str(value)
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return f"'{text}" if text.lstrip().startswith(_STARTS_FORMULA) else text


def written(rows: Iterable[Sequence[object]]) -> str:
    """The rows as CSV (RFC 4180), each value as `cell`."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)
    return out.getvalue()


def plain(rows: Iterable[Sequence[str]]) -> str:
    """The rows as CSV exactly as they are: for reading back with `read`, never for a spreadsheet."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


Lines = list[tuple[int, list[str]]]
"""Lines of a file with the numbers that they have in it."""


def read(data: bytes, *, most_bytes: int = 4 << 20, most_lines: int = 5000) -> tuple[list[str], Lines]:
    """The heading, in small letters, and the lines that are not empty, with the number that each has in the file.

    UTF-8, UTF-16 with its mark, or else Windows-1252, as Excel writes them; commas, semicolons or tabs between values.
    Raises Refused when it is too big, no table, or has no heading.
    """
    if len(data) > most_bytes:
        raise Refused(f"The file is larger than {most_bytes >> 20} MiB", field="file")
    text = _text(data)
    if "\x00" in text:
        raise Refused("The file is no CSV: save it from the spreadsheet as CSV", field="file")
    first = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first.count)
    lines: Lines = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for values in reader:
            if any(value.strip() for value in values):
                lines.append((reader.line_num, [value.strip() for value in values]))
            if len(lines) > most_lines + 1:
                raise Refused(f"The file has more than {most_lines} lines: divide it", field="file")
    except csv.Error as error:
        raise Refused(f"Line {reader.line_num} of the file cannot be read: {error}", field="file") from None
    if not lines:
        raise Refused("The file is empty", field="file")
    heading = [name.lower().replace(" ", "_") for name in lines[0][1]]
    return heading, lines[1:]


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
