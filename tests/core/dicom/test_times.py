"""Dates and times of day, as devices write them and as queries ask for them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.dicom import times
from hozi.core.errors import Unreadable


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("20260124", "20260124"),
        (" 20260124 ", "20260124"),
        ("2026.01.24", "20260124"),
        ("2026-01-24", "20260124"),
        ("20261324", ""),
        ("20260100", ""),
        ("202601", ""),
        ("2026.0124", ""),
        ("unknown", ""),
        ("٢٠٢٦٠١٢٤", ""),
        ("", ""),
    ],
)
def test_dates_are_read_in_old_forms_too_e32(raw: str, key: str) -> None:
    assert times.date_key(raw) == key


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("104512", "104512.000000"),
        ("104512.5", "104512.500000"),
        ("104512.123456", "104512.123456"),
        ("1045", "104500.000000"),
        ("10", "100000.000000"),
        ("10:45:12", "104512.000000"),
        ("10:45:12.25", "104512.250000"),
        ("235960", "235960.000000"),
        ("104512.1234567", "104512.123456"),
        ("250000", ""),
        ("1", ""),
        ("106000", ""),
        ("noon", ""),
        ("", ""),
    ],
)
def test_times_are_read_whole_or_in_part_e32(raw: str, key: str) -> None:
    assert times.time_key(raw) == key


@given(st.dates(datetime.date(1000, 1, 1)))
def test_every_day_has_a_key_that_sorts_as_days_do(day: datetime.date) -> None:
    assert times.date_key(day.strftime("%Y%m%d").rjust(8, "0")) == times.date_key(day.isoformat())
    assert times.date_key(day.isoformat()) in times.date_range("10000101-99991231")


@given(st.times(), st.times())
def test_times_sort_as_text(first: datetime.time, second: datetime.time) -> None:
    keys = [times.time_key(one.strftime("%H%M%S.%f")) for one in (first, second)]
    assert (keys[0] < keys[1]) == (first < second)
    assert {len(key) for key in keys} == {13}


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("20260124", "20260124", "20260124"),
        ("20260101-20260131", "20260101", "20260131"),
        ("-20260131", times.EARLIEST_DATE, "20260131"),
        ("20260101-", "20260101", times.LATEST_DATE),
        ("2026.01.01-2026.01.31", "20260101", "20260131"),
        ("2026-01-24", "20260124", "20260124"),
        (" 20260101 - 20260131 ", "20260101", "20260131"),
    ],
)
def test_ranges_of_dates_e32(text: str, low: str, high: str) -> None:
    assert times.date_range(text) == times.Range(low, high)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("10", "100000.000000", "105960.999999"),
        ("1045", "104500.000000", "104560.999999"),
        ("104512", "104512.000000", "104512.999999"),
        ("104512.5", "104512.500000", "104512.599999"),
        ("10-12", "100000.000000", "125960.999999"),
        ("-12", times.EARLIEST_TIME, "125960.999999"),
        ("10-", "100000.000000", times.LATEST_TIME),
    ],
)
def test_ranges_of_times_end_where_their_last_part_ends_e32(text: str, low: str, high: str) -> None:
    assert times.time_range(text) == times.Range(low, high)


@pytest.mark.parametrize(
    "text", ["", "-", "*", "2026", "20260101-2026*", "20261301-", "20260101-20260131-20260202", "a-b"]
)
def test_what_is_no_range_of_dates_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Unreadable):
        times.date_range(text)


@pytest.mark.parametrize("text", ["", "-", "*", "1*", "25", "10-99", "10-12-14"])
def test_what_is_no_range_of_times_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Unreadable):
        times.time_range(text)


def test_an_unknown_value_lies_in_no_range() -> None:
    assert "" not in times.date_range("-99991231")
    assert "" not in times.time_range("00-")
