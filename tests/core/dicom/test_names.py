"""Names: one person writes them in many ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.dicom import names


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Moyo^Tendai", "moyo^tendai"),
        ("MÜLLER", "muller"),
        ("Straße", "strasse"),
        ("Jérôme  Dupont ", "jerome dupont"),
        ("Ｗａｎｇ", "wang"),
        ("Łódź", "łodz"),
        ("Ёлкин", "елкин"),
        ("İstanbul", "istanbul"),
        ("Moyo\tTendai", "moyo tendai"),
        ("", ""),
    ],
)
def test_case_accents_width_and_spaces_make_no_difference_e28(text: str, folded: str) -> None:
    assert names.fold(text) == folded


def test_marks_that_make_another_letter_stay() -> None:
    assert names.fold("ハ") != names.fold("バ")
    assert names.fold("कि") != names.fold("क")
    assert names.fold("김") == "김"
    assert len(names.fold("김")) == 1


@given(st.text(max_size=30))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert names.fold(names.fold(text)) == names.fold(text)


@given(st.text(st.characters(max_codepoint=127), max_size=30))
def test_the_short_way_for_ascii_gives_what_the_long_way_gives(text: str) -> None:
    # A character that is not ASCII makes fold take the long way.
    assert names.fold(text + "é").removesuffix("e").rstrip() == names.fold(text + "e").removesuffix("e").rstrip()


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", ("Yamada^Tarou", "山田^太郎", "やまだ^たろう")),
        ("Moyo^Tendai^^^", ("Moyo^Tendai", "", "")),
        ("Moyo^Tendai^ ^=", ("Moyo^Tendai", "", "")),
        ("=山田^太郎^^", ("", "山田^太郎", "")),
        ("", ("", "", "")),
    ],
)
def test_it_splits_groups_and_drops_empty_components_at_the_end_e28(name: str, groups: tuple[str, str, str]) -> None:
    assert names.split(name) == groups


def test_the_keys_of_a_name_know_its_components() -> None:
    assert names.keys("Moyo ^ Tendai ^^") == ("moyo^tendai", "", "")
    assert names.key("Yamada^Tarou=山田^太郎") == "yamada^tarou=山田^太郎"
    assert names.key("=山田") == "=山田"


@given(st.text(max_size=30))
def test_the_key_of_a_key_is_the_key(text: str) -> None:
    assert names.key(names.key(text)) == names.key(text)


def test_words_of_a_name() -> None:
    assert names.words("O'Brien-Smith^Mary Ann^^Dr.") == ["obrien", "smith", "mary", "ann", "dr"]
    assert names.words("Moyo^Moyo=MOYO") == ["moyo"]
    assert names.words("^= ") == []
    assert max(map(len, names.words("x" * 500))) == names.LONGEST_WORD


def test_words_that_sound_alike() -> None:
    assert names.sound("meyer") == names.sound("mayer")
    assert names.sound("phiri") == names.sound("firi")
    assert names.sound("smith") == names.sound("smyth")
    assert names.sound("smith") != names.sound("moyo")
    assert names.sound("山田") == ""


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("Moyo^Tendai", "moyo^tendai"),
        ("MOYO^TENDAI^JAMES^DR^FRCR", "moyo^tendai^james"),
        ("Dr. Moyo^Tendai", "moyo^tendai"),
        ("Prof Dr Moyo^Tendai", "moyo^tendai"),
        ("DR TENDAI MOYO", "tendai moyo"),
        ("Drake^Sir", "drake^sir"),
        ("Dr", "dr"),
        ("Müller^Jürgen^^Dr", "muller^jurgen"),
        ("=山田^太郎", "山田^太郎"),
        ("Yamada^Tarou=山田^太郎", "yamada^tarou"),
        ("^^^", ""),
        ("", ""),
    ],
)
def test_who_is_meant_is_told_by_family_given_and_middle_name(written: str, known: str) -> None:
    assert names.person(written) == known
    assert names.person(known) == known


@given(st.text(max_size=40))
def test_who_is_meant_stays_the_same_when_it_is_worked_out_again(written: str) -> None:
    assert names.person(names.person(written)) == names.person(written)
