"""Dates and times of day in the form in which they are compared (DA and TM: PS3.5 §6.2; ranges: PS3.4 §C.2.2.2.5).

Keys sort as text: a date is ``YYYYMMDD``, a time ``HHMMSS.FFFFFF``. An empty key means: not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hozi.core.errors import Unreadable

EARLIEST_DATE: Final = "00000000"
LATEST_DATE: Final = "99999999"
EARLIEST_TIME: Final = "000000.000000"
LATEST_TIME: Final = "235960.999999"

# DA; with dots as in ACR-NEMA (PS3.5 §6.2, note), tolerated with dashes.
_DATE: Final = re.compile(r"(\d{4})(?:(\d\d)(\d\d)|\.(\d\d)\.(\d\d)|-(\d\d)-(\d\d))", re.ASCII)
# TM: hours, then minutes, seconds and a fraction if they are known; with colons as in ACR-NEMA.
_TIME: Final = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6})\d*)?)?)?", re.ASCII)
_DATE_RANGE: Final = re.compile(r"(\d{8}|\d{4}\.\d\d\.\d\d)?\s*-\s*(\d{8}|\d{4}\.\d\d\.\d\d)?", re.ASCII)


@dataclass(frozen=True)
class Range:
    """Keys from ``low`` to ``high``, both included. A key that is not known (empty) is in no range."""

    low: str
    high: str

    def __contains__(self, key: str) -> bool:
        return bool(key) and self.low <= key <= self.high


def date_key(raw: str) -> str:
    """Give the key of a DA value; empty when it is no date."""
    match = _DATE.fullmatch(raw.strip())
    if match is None:
        return ""
    year, *rest = (part for part in match.groups() if part is not None)
    month, day = rest
    return year + month + day if "01" <= month <= "12" and "01" <= day <= "31" else ""


def time_key(raw: str) -> str:
    """Give the key of a TM value: what it leaves out counts as zero; empty when it is no time."""
    return _time_bound(raw, "0000000000")


def date_range(text: str) -> Range:
    """Read a date or a range of dates (``a-b``, ``-b``, ``a-``) of a query.

    Raises Unreadable when it is neither.
    """
    text = text.strip()
    single = date_key(text)
    if single:
        return Range(single, single)
    match = _DATE_RANGE.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        raise Unreadable("not a date or a range of dates")
    low = date_key(match[1]) if match[1] else EARLIEST_DATE
    high = date_key(match[2]) if match[2] else LATEST_DATE
    if not low or not high:
        raise Unreadable("a range of dates with an impossible date")
    return Range(low, high)


def time_range(text: str) -> Range:
    """Read a time or a range of times of a query. A time that leaves out seconds or minutes means all of them.

    Raises Unreadable when it is neither.
    """
    low_text, dash, high_text = text.strip().partition("-")
    if not dash:
        high_text = low_text
    if not low_text.strip() and not high_text.strip():
        raise Unreadable("not a time or a range of times")
    low = time_key(low_text) if low_text.strip() else EARLIEST_TIME
    high = _time_bound(high_text, "5960999999") if high_text.strip() else LATEST_TIME
    if not low or not high:
        raise Unreadable("not a time or a range of times")
    return Range(low, high)


def _time_bound(raw: str, rest: str) -> str:
    """Complete a TM value with ``rest`` (the digits of minutes, seconds and fraction that are left out)."""
    match = _TIME.fullmatch(raw.strip())
    if match is None:
        return ""
    hour, minute, second, fraction = match.groups()
    minute = rest[0:2] if minute is None else minute
    second = rest[2:4] if second is None else second
    fraction = (fraction or "") + rest[4 + len(fraction or "") :]
    return f"{hour}{minute}{second}.{fraction}" if hour <= "23" and minute <= "59" and second <= "60" else ""
