"""Signing in at a sign-in service: it says who somebody is, and never makes anybody an account."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest
from django.test import Client, override_settings

from hozi.accounts.models import Person
from hozi.audit.models import Event
from hozi.settings import Settings
from tests import oidc
from tests.people import ACCOUNTS, settle


@pytest.fixture
def service(db: None, tmp_path: Any) -> Iterator[oidc.Service]:
    """A sign-in service that this archive is set to."""
    (tmp_path / "secret").write_text(oidc.SECRET)
    with oidc.running() as running:
        chosen = Settings(
            oidc_server=running.url,
            oidc_client=oidc.CLIENT,
            oidc_secret_file=tmp_path / "secret",
            oidc_name="Our sign-in",
        )
        with override_settings(SOCIALACCOUNT_PROVIDERS=chosen.oidc_providers()):
            yield running


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def _go(client: Client) -> Any:
    """Presses the button and walks to the service and back, as a browser does."""
    there = client.post("/account/oidc/hospital/login/")["Location"]
    try:
        urllib.request.build_opener(_Stay).open(there)
    except HTTPError as redirect:
        back = redirect.headers["Location"]
        redirect.close()
    parts = urlsplit(back)
    return client.get(f"{parts.path}?{parts.query}")


def _named(service: oidc.Service, email: str = "rumbi@hospital.example", verified: bool = True) -> None:
    service.claims.update({"sub": "42", "email": email, "email_verified": verified, "name": "Rumbi"})


def _rumbi() -> None:
    from allauth.mfa.models import Authenticator

    person = settle(ACCOUNTS["radiographer"])
    Person.objects.filter(pk=person).update(email="Rumbi@hospital.example")
    Authenticator.objects.all().delete()


def test_somebody_with_an_account_here_comes_in_and_is_known_by_the_services_number_from_then_on(
    service: oidc.Service, anybody: Client
) -> None:
    _rumbi()
    _named(service)
    assert b"Our sign-in" in anybody.get("/account/login/").content
    assert _go(anybody)["Location"] == "/"
    assert anybody.get("/").status_code == 200
    assert Event.objects.filter(code="110114", outcome=0, actor="rradiographer").exists()
    _named(service, email="another@hospital.example")
    again = Client()
    assert _go(again)["Location"] == "/"


@pytest.mark.parametrize(
    ("email", "verified"), [("stranger@hospital.example", True), ("rumbi@hospital.example", False)]
)
def test_nobody_else_gets_in_or_gets_an_account(
    service: oidc.Service, anybody: Client, email: str, verified: bool
) -> None:
    _rumbi()
    _named(service, email, verified)
    assert _go(anybody).status_code == 403
    assert anybody.get("/").status_code == 302
    assert Person.objects.count() == 1
    assert Event.objects.filter(code="110114", outcome=4).count() == 1


def test_an_account_that_is_suspended_does_not_come_in_that_way_either(service: oidc.Service, anybody: Client) -> None:
    _rumbi()
    _named(service)
    _go(anybody)
    Person.objects.update(state="suspended", is_active=False)
    _go(Client())
    other = Client()
    assert _go(other)["Location"] == "/account/inactive/"
    assert other.get("/").status_code == 302


def test_a_service_that_does_not_answer_is_said_and_passwords_still_work(anybody: Client) -> None:
    chosen = Settings(oidc_server="http://127.0.0.1:9", oidc_client="hozi")
    with override_settings(SOCIALACCOUNT_PROVIDERS=chosen.oidc_providers()):
        assert anybody.post("/account/oidc/hospital/login/").status_code == 403
        assert anybody.get("/account/login/").status_code == 200


def test_an_answer_that_nobody_asked_for_is_refused(service: oidc.Service, anybody: Client) -> None:
    assert anybody.get("/account/oidc/hospital/login/callback/?code=x&state=y").status_code == 403


def test_without_a_service_there_is_no_button_and_no_address(anybody: Client) -> None:
    assert b"/account/oidc/" not in anybody.get("/account/login/").content
    assert anybody.post("/account/oidc/hospital/login/").status_code == 404


def test_a_service_without_tls_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="https://"):
        Settings(oidc_server="http://sso.hospital.example")
