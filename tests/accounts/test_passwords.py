"""Passwords are long, not like the person, not everybody's; and nothing else is asked of them."""

from __future__ import annotations

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from hozi.accounts import passwords
from hozi.accounts.models import Person
from hozi.core.errors import Refused

pytestmark = pytest.mark.django_db

TENDAI = Person(username="tendai.moyo", full_name="Tendai Moyo", email="tmoyo@example.org")


@pytest.mark.parametrize(
    "password",
    [
        "twelve chars",
        "granary keeps",
        "the rains came late in november",
        "hwohwoho mbudzi yangu",
        "x" * 63 + "Q7 " * 20,
    ],
)
def test_long_ones_will_do(password: str) -> None:
    passwords.check(password, TENDAI)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("", "at least 12"),
        ("Ab1!Ab1!Ab1", "at least 12"),
        ("x" * 129, "at most 128"),
        ("tendai.moyo1", "similar"),
        ("Tendai Moyo!", "similar"),
        ("qwertyuiop123", "common"),
        ("1q2w3e4r5t6y", "common"),
    ],
)
def test_others_are_refused_in_words(password: str, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        passwords.check(password, TENDAI)
    assert refused.value.field == "password"
    assert not password or password not in str(refused.value)


def test_django_asks_the_same_rule() -> None:
    with pytest.raises(ValidationError, match="at least 12"):
        validate_password("short", TENDAI)
    validate_password("twelve chars", TENDAI)


@pytest.mark.parametrize("password", ["rumbi rumbi rumbi", "Radiographer.Rumbi.1", "RumbiRumbiRumbi12"])
def test_a_name_said_again_and_again_is_no_password(password: str) -> None:
    rumbi = Person(username="rumbi", full_name="Rumbi Radiographer", email="rumbi@hospital.example")
    with pytest.raises(Refused, match="too much like"):
        passwords.check(password, rumbi)
    passwords.check("rumbi keeps the harvest dry", rumbi)
