"""Pages of paper as PDF. What strangers wrote goes into a template as data (JSON), never as markup: no name can add to
the page or break it. Fonts are those inside typst; nothing is read from the network or from this machine's fonts.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import typst

_LONGEST_WORD: Final = 32
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def pdf(template: bytes, told: Mapping[str, Any]) -> bytes:
    """The template with what it is told, which it reads as ``json(bytes(sys.inputs.sheet))``; texts are `clean`."""
    made: bytes = typst.compile(template, format="pdf", sys_inputs=_inputs(told), ignore_system_fonts=True)
    return made


def pdf_with_pictures(template: bytes, told: Mapping[str, Any], pictures: Mapping[str, bytes], scratch: Path) -> bytes:
    """The same, with pictures that the template shows by their names; they lie below ``scratch`` meanwhile."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix="paper-") as name:
        folder = Path(name)
        (folder / "main.typ").write_bytes(template)
        for picture, data in pictures.items():
            (folder / picture).write_bytes(data)
        made: bytes = typst.compile(
            str(folder / "main.typ"),
            root=str(folder),
            format="pdf",
            sys_inputs=_inputs(told),
            ignore_system_fonts=True,
        )
    return made


def _inputs(told: Mapping[str, Any]) -> dict[str, str]:
    return {"sheet": json.dumps(told)}


def clean(value: Any) -> Any:
    """Without characters that cannot be printed, and with places at which words too long for a line may break."""
    if isinstance(value, dict):
        return {key: clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [clean(one) for one in value]
    if isinstance(value, bool | int | float):
        return value
    printable = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    return " ".join(map(_breakable, printable.split(" ")))


def _breakable(word: str) -> str:
    pieces = [word[start : start + _LONGEST_WORD] for start in range(0, len(word), _LONGEST_WORD)]
    return "\u200b".join(pieces)


# How values of DICOM are written on paper ------------------------------------------------------------------


def name(value: str) -> str:
    """A person's name (PN) as people write it, of the first group that says something; a dash for none."""
    group = next((one for one in value.split("=") if one.strip("^ ")), "")
    family, _caret, given = group.partition("^")
    given = " ".join(part for part in given.split("^") if part.strip())
    return ", ".join(part for part in (family.strip(), given.strip()) if part) or "–"


def day(value: str) -> str:
    """A date (DA) as ``24 Nov 2026``; what is no date, as it came; a dash for none."""
    try:
        found = date(int(value[:4]), int(value[4:6]), int(value[6:8]))
    except ValueError:
        return value or "–"
    return f"{found.day} {_MONTHS[found.month - 1]} {found.year}"


def clock(value: str) -> str:
    """A time (TM) as ``08:31``; nothing for what is none."""
    return f"{value[:2]}:{value[2:4]}" if len(value) >= 4 and value[:4].isdigit() else ""


def moment(at: datetime) -> str:
    """A moment, in its own time zone, as ``24 Nov 2026 08:31``."""
    return f"{day(f'{at:%Y%m%d}')} {at:%H:%M}"
