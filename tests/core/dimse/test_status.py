"""Status codes: their families, held against pynetdicom's, and their words."""

from __future__ import annotations

import pytest
from pynetdicom.status import code_to_category

from hozi.core.dimse import status


@pytest.mark.parametrize(
    "code",
    [0x0000, 0xFE00, 0xFF00, 0xFF01, 0xB000, 0xB006, 0xB007, 0x0001, 0x0107, 0x0110, 0x0122, 0xA700, 0xA801, 0xC001],
)
def test_it_sorts_codes_as_pynetdicom_does(code: int) -> None:
    category = code_to_category(code)
    assert status.is_pending(code) == (category == "Pending")
    assert status.is_warning(code) == (category == "Warning")
    assert status.is_failure(code) == (category == "Failure")


def test_it_has_words_and_the_number_for_every_code() -> None:
    for code in range(0x10000):
        words, _, number = status.describe(code).rpartition(" ")
        assert number == f"({code:04X})"
        assert len(words) > 5


def test_it_says_what_is_wrong() -> None:
    assert status.describe(0xA801) == "refused: move destination unknown (A801)"
    assert "out of resources" in status.describe(0xA7FF)
