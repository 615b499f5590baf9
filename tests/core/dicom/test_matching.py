"""What a query matches (PS3.4 §C.2.2.2): the reference that the index is held against."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.dicom import matching
from hozi.core.dicom.keys import BY_KEYWORD
from hozi.core.dicom.matching import matches
from tests.core.dicom import cases
from tests.core.dicom.cases import PROCEDURE, Case


def found(keyword: str, query: matching.Value, value: matching.Value, *, fuzzy: bool = False) -> bool:
    return matches(BY_KEYWORD[keyword], query, value, fuzzy=fuzzy)


def check(case: Case) -> None:
    assert found(case.keyword, case.query, case.value, fuzzy=case.fuzzy) is case.expected


@pytest.mark.parametrize(
    "keyword", ["PatientName", "PatientID", "StudyDate", "StudyTime", "StudyInstanceUID", "InstanceNumber"]
)
@pytest.mark.parametrize("query", ["", "*", "**", " * "])
def test_an_empty_key_and_a_star_alone_match_everything_even_what_is_unknown_e29(keyword: str, query: str) -> None:
    assert found(keyword, query, "")
    assert found(keyword, query, "anything")


@pytest.mark.parametrize("case", cases.TEXT, ids=str)
def test_text_matches_as_it_stands(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", cases.LITERAL, ids=str)
def test_brackets_and_the_wildcards_of_sql_are_themselves_e31(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", cases.NOT_WILD, ids=str)
def test_there_are_no_wildcards_in_dates_numbers_and_uids_e30(case: Case) -> None:
    check(case)


def test_a_list_of_uids_is_used_whole_however_long_it_is_e33() -> None:
    uids = [f"1.2.840.{number}" for number in range(2000)]
    assert found("StudyInstanceUID", "\\".join(uids), uids[-1])
    assert not found("StudyInstanceUID", "\\".join(uids), "1.2.840.2000")


@pytest.mark.parametrize("case", cases.SEVERAL, ids=str)
def test_several_values_mean_one_of_them_e34(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", cases.NUMBERS, ids=str)
def test_numbers_match_by_value_e36(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", cases.DATES_AND_TIMES, ids=str)
def test_dates_and_times_match_by_value_and_in_ranges_e32(case: Case) -> None:
    check(case)


def test_ranges_of_date_and_time_are_one_range_when_that_was_agreed_e32() -> None:
    moments = matching.parse_moments("20260101-20260103", "10-12")
    assert moments is not None
    assert not moments.holds("20260101", "095959")
    assert moments.holds("20260101", "10")
    assert moments.holds("20260102", "0300")
    assert moments.holds("20260103", "125959.9")
    assert not moments.holds("20260103", "13")
    assert moments.holds("20260101", "")
    assert not moments.holds("", "11")
    assert matching.parse_moments("20260101", "10-12") is None
    assert matching.parse_moments("20260101-", "11") is None
    assert matching.parse_moments("20260101-", "x-y") is None


@pytest.mark.parametrize("case", cases.NAMES, ids=str)
def test_names_match_without_case_accents_and_in_any_group_e28(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", cases.FUZZY, ids=str)
def test_fuzzy_finds_every_word_or_its_sound(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", cases.ITEMS, ids=str)
def test_one_item_of_a_sequence_must_meet_all_of_an_item_e35(case: Case) -> None:
    check(case)


def test_a_sequence_that_is_not_there_matches_only_everything_e35() -> None:
    assert found("RequestAttributesSequence", [{}], [])
    assert found("RequestAttributesSequence", "", [])
    assert not found("RequestAttributesSequence", [{PROCEDURE: "RP1"}], [])


def test_patterns_that_are_too_long_or_too_many_are_refused_a25() -> None:
    with pytest.raises(matching.TooMuch):
        found("PatientName", "A" * 1025, "A")
    with pytest.raises(matching.TooMuch):
        found("PatientID", "\\".join(f"A{number}*" for number in range(65)), "A")
    with pytest.raises(matching.TooMuch):
        found("PatientName", " ".join(f"w{number}" for number in range(65)), "A", fuzzy=True)
    with pytest.raises(matching.TooMuch):
        found("RequestAttributesSequence", [{PROCEDURE: str(number)} for number in range(65)], [])


def test_plain_alternatives_may_be_many() -> None:
    assert found("AccessionNumber", "\\".join(f"A{number}" for number in range(5000)), "A4999")


def test_a_pattern_of_stars_takes_no_time_that_explodes_a25() -> None:
    # With backtracking, this would outlive any time limit.
    assert not matching.wildcard_matches("*a" * 512, "a" * 511 + "b" * 2000)
    assert matching.wildcard_matches("*a" * 511 + "*", "a" * 511 + "b" * 2000)


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_wildcards_match_what_a_regular_expression_says(pattern: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(character, character) for character in pattern)
    assert matching.wildcard_matches(pattern, text) == bool(re.fullmatch(expression, text))


@given(
    st.sampled_from([key for key in BY_KEYWORD.values() if key.vr != "SQ"]),
    st.text(max_size=40),
    st.text(max_size=40),
    st.booleans(),
)
def test_no_text_makes_matching_fail(key: matching.Key, query: str, value: str, fuzzy: bool) -> None:
    assert matches(key, query, value, fuzzy=fuzzy) in (True, False)
