"""What elements say in the DICOM JSON model (PS3.18 Annex F)."""

from __future__ import annotations

import json

import pytest

from hozi.core.dicom.json_model import element


@pytest.mark.parametrize(
    ("vr", "value", "values"),
    [
        ("LO", "Chest\\PA", ["Chest", "PA"]),
        ("LO", "Chest\\\\PA", ["Chest", None, "PA"]),
        ("LT", "a\\b", ["a\\b"]),
        ("PN", "Moyo^T=山^太=やま", [{"Alphabetic": "Moyo^T", "Ideographic": "山^太", "Phonetic": "やま"}]),
        ("PN", "=山\\", [{"Ideographic": "山"}, None]),
        ("IS", "12\\+3\\-04", [12, 3, -4]),
        ("IS", "12.5", ["12.5"]),
        ("IS", "９", ["９"]),
        ("DS", "0.50\\-1e3\\.5\\7\\", [0.5, -1000.0, 0.5, 7, None]),
        ("DS", "1e999\\NaN\\1,5", ["1e999", "NaN", "1,5"]),
        ("UV", "18446744073709551615", ["18446744073709551615"]),
        ("UL", "4294967295", [4294967295]),
        ("DA", "20261124", ["20261124"]),
    ],
)
def test_values_are_what_the_standard_makes_of_their_texts(vr: str, value: str, values: list[object]) -> None:
    found = element(vr, value)

    assert found == {"vr": vr, "Value": values}
    json.dumps(found, allow_nan=False)


def test_an_element_without_value_has_none() -> None:
    assert element("LO", "") == {"vr": "LO"}
    assert element("SQ", []) == {"vr": "SQ"}


def test_items_of_a_sequence_have_elements_of_their_own() -> None:
    found = element("SQ", [{0x00400009: "7", 0x00321060: "Chest"}, {}])

    assert found["Value"] == [
        {"00321060": {"vr": "LO", "Value": ["Chest"]}, "00400009": {"vr": "SH", "Value": ["7"]}},
        {},
    ]
