"""Signing in: names, passwords, codes; and those who try too often."""

from __future__ import annotations

import time
from collections.abc import Callable

import argon2
import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core.cache import cache
from django.test import Client

from hozi.audit.models import Event
from tests.people import ACCOUNTS, PASSWORD, TOTP_SECRET, settle

SignedIn = Callable[..., Client]


@pytest.fixture(autouse=True)
def nobody_has_failed_yet(db: None) -> None:
    """Failed sign-ins of other tests do not count."""
    cache.clear()


def _code() -> str:
    return str(format_hotp_value(hotp_value(TOTP_SECRET, int(time.time()) // 30)))


def _try(client: Client, username: str, password: str, address: str = "192.0.2.7"):
    return client.post("/account/login/", {"login": username, "password": password}, REMOTE_ADDR=address)


def test_with_password_and_code_somebody_comes_in_and_both_sign_in_and_out_are_audited(anybody: Client) -> None:
    settle(ACCOUNTS["radiologist"])
    answer = _try(anybody, "rradiologist", PASSWORD)
    assert answer["Location"].startswith("/account/factors/authenticate/")
    assert anybody.get("/").status_code == 302, "not yet: the code is missing"
    assert anybody.post("/account/factors/authenticate/", {"code": _code()}).status_code == 302
    assert anybody.get("/").status_code == 200
    anybody.post("/account/logout/")
    assert anybody.get("/").status_code == 302
    events = list(Event.objects.filter(code="110114").order_by("pk").values_list("actor", "outcome", "detail"))
    assert events == [("rradiologist", 0, {"type": "110122"}), ("rradiologist", 0, {"type": "110123"})]


def test_a_code_cannot_be_used_twice(anybody: Client) -> None:
    settle(ACCOUNTS["radiologist"])
    code = _code()
    _try(anybody, "rradiologist", PASSWORD)
    assert anybody.post("/account/factors/authenticate/", {"code": code}).status_code == 302
    other = Client()
    _try(other, "rradiologist", PASSWORD)
    assert other.post("/account/factors/authenticate/", {"code": code}).status_code == 200
    assert other.get("/").status_code == 302


def test_a_wrong_password_and_a_wrong_name_read_the_same(anybody: Client) -> None:
    settle(ACCOUNTS["radiologist"])
    known = _try(anybody, "rradiologist", "wrong password").content.replace(b"rradiologist", b"NAME")
    unknown = _try(Client(), "nobodyatall", "wrong password").content.replace(b"nobodyatall", b"NAME")

    def without_tokens(page: bytes) -> list[bytes]:
        return [line for line in page.splitlines() if b"csrf" not in line.lower()]

    assert without_tokens(known) == without_tokens(unknown)


def test_a_wrong_password_and_a_wrong_name_cost_the_same_work(anybody: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 is nearly all of the time that an answer takes: as often for a name that nobody has."""
    settle(ACCOUNTS["radiologist"])
    worked: list[str] = []
    for name in ("hash_secret", "verify_secret"):
        original = getattr(argon2.low_level, name)
        for module in (argon2.low_level, argon2._password_hasher):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda *a, f=original, n=name, **k: (worked.append(n), f(*a, **k))[1])
    work = []
    for username in ("rradiologist", "nobodyatall"):
        worked.clear()
        _try(Client(), username, "wrong password")
        work.append(len(worked))
    assert work == [1, 1]


def test_guessing_is_locked_and_audited_and_the_right_password_does_not_help_then(anybody: Client) -> None:
    settle(ACCOUNTS["radiologist"])
    for attempt in range(6):
        _try(anybody, "rradiologist", f"guess {attempt}", address=f"192.0.2.{attempt}")
    assert _try(anybody, "rradiologist", PASSWORD, address="192.0.2.99").status_code == 200, "locked from anywhere"
    failed = Event.objects.filter(code="110114", outcome=4).count()
    locked = Event.objects.filter(code="110114", outcome=8, detail__locked=True)
    assert failed == 5
    assert locked.exists()
    assert set(locked.values_list("actor", flat=True)) == {"rradiologist"}


def test_one_address_that_tries_many_names_is_locked(anybody: Client) -> None:
    for attempt in range(12):
        _try(anybody, f"name{attempt}", "password123456")
    assert Event.objects.filter(code="110114", outcome=8).exists()


def test_signing_in_gives_the_session_a_new_key(anybody: Client) -> None:
    settle(ACCOUNTS["radiologist"])
    anybody.get("/account/login/")
    _try(anybody, "rradiologist", PASSWORD)
    before = anybody.session.session_key
    anybody.post("/account/factors/authenticate/", {"code": _code()})
    assert anybody.session.session_key != before


def test_somebody_suspended_does_not_come_in(anybody: Client) -> None:
    from hozi.accounts.models import Person

    settle(ACCOUNTS["radiologist"])
    Person.objects.update(state="suspended", is_active=False)
    answer = _try(anybody, "rradiologist", PASSWORD)
    assert answer["Location"] == "/account/inactive/"
    assert anybody.get("/").status_code == 302


def test_nobody_signs_up(anybody: Client) -> None:
    assert anybody.get("/account/signup/").status_code == 404


def test_changing_the_second_factor_is_audited(signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    assert client.post("/account/reauthenticate/", {"password": PASSWORD}).status_code == 302
    assert client.post("/account/factors/totp/deactivate/").status_code == 302
    event = Event.objects.get(detail__type="110137")
    assert event.detail["change"] == "code app taken away"


def test_the_pages_of_signing_in_are_shown(signed_in: SignedIn, anybody: Client) -> None:
    assert b"Sign in" in anybody.get("/account/login/").content
    client = signed_in("radiologist")
    for address in ("/account/factors/", "/account/password/", "/settle/"):
        answer = client.get(address, follow=True)
        assert answer.status_code == 200, address
