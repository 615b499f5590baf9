"""What a query matches (PS3.4 §C.2.2.2): the reference that the index is held against."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.dicom import matching
from hozi.core.dicom.keys import BY_KEYWORD, tag_of
from hozi.core.dicom.matching import matches


def found(keyword: str, query: matching.Value, value: matching.Value, *, fuzzy: bool = False) -> bool:
    return matches(BY_KEYWORD[keyword], query, value, fuzzy=fuzzy)


@pytest.mark.parametrize(
    "keyword", ["PatientName", "PatientID", "StudyDate", "StudyTime", "StudyInstanceUID", "InstanceNumber"]
)
@pytest.mark.parametrize("query", ["", "*", "**", " * "])
def test_an_empty_key_and_a_star_alone_match_everything_even_what_is_unknown_e29(keyword: str, query: str) -> None:
    assert found(keyword, query, "")
    assert found(keyword, query, "anything")


@pytest.mark.parametrize(
    ("keyword", "query", "value", "expected"),
    [
        ("PatientID", "P1", "P1", True),
        ("PatientID", " P1 ", "P1", True),
        ("PatientID", "P1", "p1", False),
        ("PatientID", "P1", "P12", False),
        ("PatientID", "P1*", "P12", True),
        ("PatientID", "*1?", "P12", True),
        ("PatientID", "?*", "", False),
        ("PatientSex", "F", "F", True),
        ("StudyDescription", "CT*", "CT CHEST", True),
    ],
)
def test_text_matches_as_it_stands(keyword: str, query: str, value: str, expected: bool) -> None:
    assert found(keyword, query, value) is expected


@pytest.mark.parametrize(
    ("query", "value", "expected"),
    [
        ("A[1]*", "A[1]B", True),
        ("A[1]*", "A1B", False),
        ("100%", "100%", True),
        ("100%", "1000", False),
        ("A_B", "A_B", True),
        ("A_B", "AxB", False),
        ("A_?", "A_B", True),
        ("'; DROP TABLE archive_patient; --", "'; DROP TABLE archive_patient; --", True),
    ],
)
def test_brackets_and_the_wildcards_of_sql_are_themselves_e31(query: str, value: str, expected: bool) -> None:
    assert found("PatientID", query, value) is expected


@pytest.mark.parametrize(
    ("keyword", "query", "value"),
    [
        ("StudyDate", "2026*", "20260101"),
        ("StudyTime", "10*", "104500"),
        ("StudyInstanceUID", "1.2.*", "1.2.3"),
        ("InstanceNumber", "1*", "12"),
        ("InstanceNumber", "?", "1"),
    ],
)
def test_there_are_no_wildcards_in_dates_numbers_and_uids_e30(keyword: str, query: str, value: str) -> None:
    assert not found(keyword, query, value)


def test_a_list_of_uids_is_used_whole_however_long_it_is_e33() -> None:
    uids = [f"1.2.840.{number}" for number in range(2000)]
    assert found("StudyInstanceUID", "\\".join(uids), uids[-1])
    assert not found("StudyInstanceUID", "\\".join(uids), "1.2.840.2000")


@pytest.mark.parametrize(
    ("keyword", "query", "value", "expected"),
    [
        ("Modality", "MR\\XA", "XA", True),
        ("Modality", "MR\\XA", "CT", False),
        ("Modality", "M*\\XA", "MR", True),
        ("Modality", "MR\\", "CT", False),
        ("StudyDate", "20260101\\20260201-20260228", "20260210", True),
        ("StudyDate", "20260101\\rubbish", "20260101", True),
        ("InstanceNumber", "1\\3", "003", True),
        ("PatientName", "Moyo*\\Dube*", "Dube^Rudo", True),
        ("PatientName", "Moyo*\\*", "", True),
        ("ModalitiesInStudy", "MR", "CT\\MR", True),
        ("ModalitiesInStudy", "PT\\MR", "CT\\MR", True),
        ("ModalitiesInStudy", "PT", "CT\\MR", False),
        ("ImageType", "AXIAL", "ORIGINAL\\PRIMARY\\AXIAL", True),
    ],
)
def test_several_values_mean_one_of_them_e34(keyword: str, query: str, value: str, expected: bool) -> None:
    assert found(keyword, query, value) is expected


@pytest.mark.parametrize(
    ("query", "value", "expected"),
    [
        ("7", "+7", True),
        ("007", "7", True),
        (" 7 ", "7 ", True),
        ("-7", "7", False),
        ("7", "70", False),
        ("seven", "7", False),
        ("7", "", False),
        ("9" * 40, "9" * 40, True),
    ],
)
def test_numbers_match_by_value_e36(query: str, value: str, expected: bool) -> None:
    assert found("InstanceNumber", query, value) is expected


@pytest.mark.parametrize(
    ("keyword", "query", "value", "expected"),
    [
        ("StudyDate", "20260124", "2026.01.24", True),
        ("StudyDate", "2026.01.24", "20260124", True),
        ("StudyDate", "20260101-20260131", "20260131", True),
        ("StudyDate", "20260101-20260131", "20260201", False),
        ("StudyDate", "-20260131", "", False),
        ("StudyDate", "20260101-", "rubbish", False),
        ("StudyTime", "10", "104512.5", True),
        ("StudyTime", "1045", "104600", False),
        ("StudyTime", "10-12", "125959.999", True),
        ("StudyTime", "10-12", "13", False),
        ("StudyTime", "10:45", "1045", True),
        ("PatientBirthDate", "not a date", "not a date", False),
    ],
)
def test_dates_and_times_match_by_value_and_in_ranges_e32(keyword: str, query: str, value: str, expected: bool) -> None:
    assert found(keyword, query, value) is expected


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


NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.mark.parametrize(
    ("query", "value", "expected"),
    [
        ("MOYO^TENDAI", "Moyo^Tendai", True),
        ("muller", "Müller", True),
        ("Müller", "MULLER", True),
        ("Moyo^Tendai^^", "Moyo^Tendai", True),
        ("Moyo^Tendai", "Moyo^Tendai^^^", True),
        ("Moyo ^ Tendai", "Moyo^Tendai", True),
        ("Moyo", "Moyo^Tendai", False),
        ("Moyo^*", "Moyo", True),
        ("Moyo^*", "Moyo^Tendai", True),
        ("Moyo^*", "Moyoxo", False),
        ("Moyo^*^*", "Moyo", True),
        ("*^*", "Moyo", True),
        ("^*", "Moyo", False),
        ("*^Tendai", "Moyo^Tendai", True),
        ("M?yo^*", "Moyo^Tendai", True),
        ("yamada*", NAME, True),
        ("山田*", NAME, True),
        ("やまだ^*", NAME, True),
        ("=山田*", NAME, True),
        ("=yamada*", NAME, False),
        ("Yamada*=山田*", NAME, True),
        ("Yamada*=大田*", NAME, False),
        ("*=山田*", NAME, True),
        ("Yamada^Tarou=", NAME, True),
        ("*da^*rou=*", NAME, True),
        ("Y*たろう", NAME, False),
        ("Moyo*", "", False),
    ],
)
def test_names_match_without_case_accents_and_in_any_group_e28(query: str, value: str, expected: bool) -> None:
    assert found("PatientName", query, value) is expected


@pytest.mark.parametrize(
    ("query", "value", "expected"),
    [
        ("tendai moyo", "Moyo^Tendai", True),
        ("ten mo", "Moyo^Tendai", True),
        ("meyer", "Mayer^Anna", True),
        ("Smyth^J*", "Smith^John", True),
        ("moyo rudo", "Moyo^Tendai", False),
        ("^", "", True),
        ("山", NAME, True),
        ("M?yo", "Moyo", True),
        ("M?yo", "Moyo^Tendai", False),
        ("moyo", "", False),
    ],
)
def test_fuzzy_finds_every_word_or_its_sound(query: str, value: str, expected: bool) -> None:
    assert found("PatientName", query, value, fuzzy=True) is expected


PROCEDURE, STEP = tag_of("RequestedProcedureID"), tag_of("ScheduledProcedureStepID")
STORED = [{PROCEDURE: "RP1", STEP: "S1"}, {PROCEDURE: "RP2", STEP: "S2"}]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ([], True),
        ([{}], True),
        ([{PROCEDURE: "", STEP: "*"}], True),
        ([{PROCEDURE: "RP2"}], True),
        ([{PROCEDURE: "RP?"}], True),
        ([{PROCEDURE: "RP1", STEP: "S1"}], True),
        ([{PROCEDURE: "RP1", STEP: "S2"}], False),
        ([{PROCEDURE: "RP3"}], False),
        ([{PROCEDURE: "RP3"}, {STEP: "S2"}], True),
        ([{tag_of("PatientID"): "not an element of it"}], True),
    ],
)
def test_one_item_of_a_sequence_must_meet_all_of_an_item_e35(query: list[dict[int, str]], expected: bool) -> None:
    assert found("RequestAttributesSequence", query, STORED) is expected


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
