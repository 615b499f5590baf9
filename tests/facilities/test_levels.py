"""Levels, provinces and facility codes are the ministry's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.errors import Refused
from hozi.facilities import levels
from hozi.facilities.models import Facility

OF_THE_MINISTRY = {"CENTRAL", "PROVINCIAL", "DISTRICT", "MISSION", "RURALHOSP", "RHC", "CLINIC", "POLYCLINIC"}
RULE = re.compile(r"^ZW(0[1-9]|10)[0-9A-Z]{4}$")
"""The pattern of the ministry's guide, as it stands there."""


def test_every_level_of_the_ministry_is_there_and_ours_say_that_they_are_ours() -> None:
    assert {level.key for level in levels.LEVELS if level.national} == OF_THE_MINISTRY
    assert {"QUINARY", "PRIVATE"} <= {level.key for level in levels.LEVELS if not level.national}


def test_there_are_ten_provinces_with_the_numbers_and_letters_of_the_standard() -> None:
    assert [province.key for province in levels.PROVINCES] == [f"{number:02}" for number in range(1, 11)]
    assert "".join(province.iso.removeprefix("ZW-") for province in levels.PROVINCES) == "HAMAMCMEMWMNMSMIMVBU"


def test_keys_fit_into_their_columns() -> None:
    def room(field: str) -> int:
        return Facility._meta.get_field(field).max_length or 0

    assert max(len(level.key) for level in levels.LEVELS) <= room("level")
    assert max(len(province.key) for province in levels.PROVINCES) <= room("province")


@pytest.mark.parametrize("code", ["ZW010245", "ZW03090D", "ZW10ZZZZ", " zw010245 "])
def test_a_code_of_the_registry_is_kept(code: str) -> None:
    assert levels.registry_code(code) == code.strip().upper()


@pytest.mark.parametrize(
    "code", ["ZW000245", "ZW110245", "ZW01024", "ZW0102450", "ZA010245", "ZW01024-", "ZW01024５", "ZW010245\n1"]
)
def test_what_is_no_code_of_the_registry_is_refused(code: str) -> None:
    with pytest.raises(Refused, match="8 characters"):
        levels.registry_code(code)


@given(st.one_of(st.from_regex(r"ZW[01][0-9][0-9A-Z]{4}", fullmatch=True), st.text(max_size=9)))
def test_exactly_what_the_guide_s_pattern_allows_is_kept(text: str) -> None:
    wanted = bool(RULE.match(text.strip().upper()))
    try:
        code = levels.registry_code(text)
    except Refused:
        assert not wanted
    else:
        assert wanted or not text.strip()
        assert code == text.strip().upper()


def test_a_code_of_another_province_says_which() -> None:
    with pytest.raises(Refused, match="code of Manicaland, and the province is Harare"):
        levels.registry_code("ZW020145", "01")


def test_nothing_said_is_nothing_wrong() -> None:
    assert (levels.level(""), levels.province(" "), levels.registry_code("", "01")) == ("", "", "")
