"""What was chosen under Settings holds on every page: name, help, look, language, length of a session."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from hozi.choices import values
from hozi.doors.http import shift

pytestmark = pytest.mark.django_db

SignedIn = Callable[..., Client]


def choose(key: str, value: object, version: int = 0) -> None:
    values.change(key, value, expected_version=version, reason="as agreed", actor="Alois Administrator")


def test_the_hospital_s_name_stands_at_the_top_and_before_signing_in(signed_in: SignedIn, anybody: Client) -> None:
    choose("console.hospital_name", "Granary & Sons <Hospital>")
    choose("console.support_contact", "Helpdesk, 0242 000 000")
    shown = "Granary &amp; Sons &lt;Hospital&gt;"
    assert f"<span>{shown}</span>" in signed_in("radiologist").get("/").content.decode()
    page = anybody.get("/account/login/").content.decode()
    assert shown in page
    assert "Helpdesk, 0242 000 000" in page


def test_the_hospital_s_look_is_for_those_who_chose_none(signed_in: SignedIn) -> None:
    choose("console.default_theme", "dark")
    client = signed_in("radiologist")
    assert 'data-theme="dark"' in client.get("/").content.decode()
    client.post("/theme/", {"theme": "light"})
    assert 'data-theme="light"' in client.get("/").content.decode()


def test_the_hospital_s_language_is_for_those_who_chose_none(signed_in: SignedIn) -> None:
    choose("console.default_language", "sn")
    client = signed_in("radiologist")
    assert client.get("/", headers={"Accept-Language": "en-GB"})["Content-Language"] == "sn"
    client.post("/language/", {"language": "en"})
    assert client.get("/")["Content-Language"] == "en"


def test_after_so_many_hours_everybody_signs_in_again(signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in("radiologist")
    assert client.get("/").status_code == 200
    now = shift.time.time()
    monkeypatch.setattr(shift.time, "time", lambda: now + 7 * 3600)
    assert client.get("/").status_code == 200
    choose("accounts.session_hours", 6)
    assert client.get("/").status_code == 302, "a shorter choice counts at once"
    monkeypatch.setattr(shift.time, "time", lambda: now)
    assert client.get("/").status_code == 302, "signed out for good"


def test_a_second_factor_is_asked_of_those_of_whom_it_was_chosen(signed_in: SignedIn) -> None:
    from allauth.mfa.models import Authenticator

    radiologist = signed_in("radiologist")
    Authenticator.objects.all().delete()
    assert radiologist.get("/").status_code == 200
    choose("accounts.mfa_required", "all")
    assert radiologist.get("/")["Location"] == "/settle/"
