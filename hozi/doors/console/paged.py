"""A long list of elements, shown a part at a time; what is searched for may name a patient, so it comes by POST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hozi.core.dicom.listing import Listing
from hozi.doors.console.access import Request

MOST: Final = 150
"""Elements on a page."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, and the place of the first line to show."""

    text: str
    first: int

    def shown(self, found: Listing) -> dict[str, Any]:
        """What the page says of the part that it shows, and where the parts before and behind it begin."""
        last = self.first + len(found.lines)
        return {
            "listing": found,
            "wanted": self.text,
            "first": self.first,
            "last": last,
            "back": max(self.first - MOST, 0) if self.first else None,
            "on": self.first + MOST if last < found.total else None,
        }


def wanted(request: Request) -> Wanted:
    """What the form asks for; a page that was only opened asks for the first part of all."""
    told = request.POST if request.method == "POST" else {}
    return Wanted(str(told.get("wanted", "")).strip()[:100], number(told.get("first")))


def number(text: object) -> int:
    """A number of a form; 0 for anything else."""
    digits = str(text or "")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 9 else 0
