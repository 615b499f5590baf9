from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from hozi.core.dicom import uids


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2", "0.0", "2.25.0", "1." + "2" * 62, "9"])
def test_it_takes_a_uid_that_follows_the_standard(uid: str) -> None:
    assert uids.is_valid(uid)
    assert uids.is_canonical(uid)


@pytest.mark.parametrize("uid", ["1.2.03.4", "00.1", "1.2.00", "01.2"])
def test_it_takes_leading_zeros_but_knows_them_e53(uid: str) -> None:
    assert uids.is_valid(uid)
    assert not uids.is_canonical(uid)


@pytest.mark.parametrize(
    "uid",
    [
        "",
        ".",
        "1.",
        ".1",
        "1..2",
        "1.2.a",
        "../../x",
        "1.2/3",
        "1.2 ",
        "1.2\0",
        "1.2\n",
        "-1.2",
        "1." + "2" * 63,
        "1.2.\u0661\u0662",
        "1.\u00b2",
        "1.2.840.10008.1.2\\1.2",
    ],
)
def test_it_refuses_what_is_no_uid_a12(uid: str) -> None:
    assert not uids.is_valid(uid)
    assert not uids.is_canonical(uid)


@pytest.mark.parametrize("raw", [b"1.2.3\0", b"1.2.3 ", b"1.2.3", b" 1.2.3\0\0", "1.2.3\0", "1.2.3 "])
def test_it_strips_the_padding_of_every_device_e53(raw: bytes | str) -> None:
    assert uids.clean(raw) == "1.2.3"


def test_a_uid_of_64_characters_is_taken_whole_e53() -> None:
    uid = "1.2." + "3" * 60
    assert uids.clean(uid.encode()) == uid
    assert uids.is_valid(uid)


@given(st.binary(max_size=70))
def test_cleaning_never_fails_and_never_makes_a_wrong_uid_right(raw: bytes) -> None:
    cleaned = uids.clean(raw)
    if uids.is_valid(cleaned):
        assert raw.strip(b"\0 ").decode("ascii") == cleaned


@given(st.text("0123456789.", max_size=70))
def test_it_agrees_with_pydicom_on_what_is_canonical(uid: str) -> None:
    assert uids.is_canonical(uid) == UID(uid, validation_mode=0).is_valid


def test_new_uids_are_valid_and_all_different() -> None:
    made = {uids.new_uid() for _ in range(1000)}
    assert len(made) == 1000
    assert all(uids.is_canonical(uid) for uid in made)


def test_hozi_names_itself_within_the_limits_and_always_the_same() -> None:
    assert uids.is_canonical(uids.IMPLEMENTATION_CLASS_UID)
    assert uids.is_canonical(uids.PRIVATE_INFORMATION_CREATOR_UID)
    assert uids.IMPLEMENTATION_VERSION_NAME.startswith("HOZI_")
    assert len(uids.IMPLEMENTATION_VERSION_NAME) <= 16
    again = subprocess.run(
        [sys.executable, "-c", "from hozi.core.dicom import uids; print(uids.IMPLEMENTATION_CLASS_UID)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout.strip() == uids.IMPLEMENTATION_CLASS_UID
