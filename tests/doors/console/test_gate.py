"""Who gets through which door, in which language, and what a refusal looks like."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from hozi.audit.models import Event
from hozi.doors.console.access import action, page
from hozi.urls import urlpatterns as hozi

SignedIn = Callable[..., Client]


@page("devices.see")
def _devices(request: HttpRequest) -> HttpResponse:
    return HttpResponse("devices")


@action("devices.change")
def _change(request: HttpRequest) -> HttpResponse:
    return HttpResponse("changed")


def _forgotten(request: HttpRequest) -> HttpResponse:
    return HttpResponse("nobody said who may see this")


urlpatterns = [*hozi, path("x/devices/", _devices), path("x/change/", _change), path("x/forgotten/", _forgotten)]

pytestmark = pytest.mark.urls(__name__)


def test_who_is_not_signed_in_is_led_to_the_door_and_back(anybody: Client) -> None:
    answer = anybody.get("/x/devices/?page=2")
    assert answer.status_code == 302
    assert answer["Location"] == "/account/login/?next=%2Fx%2Fdevices%2F%3Fpage%3D2"


def test_whoever_has_the_permission_gets_in_and_others_are_refused_and_audited(signed_in: SignedIn) -> None:
    assert signed_in("radiographer").get("/x/devices/").content == b"devices"
    refused = signed_in("referrer").get("/x/devices/")
    assert refused.status_code == 403
    assert b"You may not do this" in refused.content
    event = Event.objects.filter(outcome=4).get()
    assert (event.actor, event.detail["permission"]) == ("rreferrer", "devices.see")


def test_a_view_that_nobody_gave_a_rule_is_not_there(signed_in: SignedIn, anybody: Client) -> None:
    assert signed_in("pacs_admin").get("/x/forgotten/").status_code == 404
    assert anybody.get("/x/forgotten/").status_code == 404


def test_an_action_takes_post_only_and_its_own_permission(signed_in: SignedIn) -> None:
    administrator = signed_in("pacs_admin")
    assert administrator.get("/x/change/").status_code == 405
    assert administrator.post("/x/change/").content == b"changed"
    assert signed_in("radiographer").post("/x/change/").status_code == 403


def test_a_page_without_a_form_takes_no_post(signed_in: SignedIn) -> None:
    assert signed_in("radiographer").post("/x/devices/").status_code == 405


def test_a_post_without_its_token_is_refused(signed_in: SignedIn) -> None:
    client = signed_in("pacs_admin")
    client.handler.enforce_csrf_checks = True
    assert client.post("/x/change/").status_code == 403


def test_an_administrator_without_a_second_factor_gets_no_further_than_setting_one_up(signed_in: SignedIn) -> None:
    from allauth.mfa.models import Authenticator

    client = signed_in("pacs_admin")
    Authenticator.objects.all().delete()
    answer = client.get("/x/devices/")
    assert (answer.status_code, answer["Location"]) == (302, "/settle/")
    assert client.get("/settle/").status_code == 200
    radiographer = signed_in("radiographer")
    Authenticator.objects.all().delete()
    assert radiographer.get("/x/devices/").status_code == 200


def test_an_account_that_ended_is_out_at_the_next_click(signed_in: SignedIn) -> None:
    from hozi.accounts.models import Person

    client = signed_in("radiographer")
    assert client.get("/x/devices/").status_code == 200
    Person.objects.filter(username="rradiographer").update(state="disabled", is_active=False)
    assert client.get("/x/devices/").status_code == 302


def test_pages_are_kept_by_no_cache_and_have_the_strict_policy(signed_in: SignedIn) -> None:
    answer = signed_in("radiographer").get("/")
    assert answer["Cache-Control"] == "no-store"
    policy = answer["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert b" style=" not in answer.content
    assert b"<script>" not in answer.content


def test_people_choose_their_language_and_keep_it(signed_in: SignedIn) -> None:
    client = signed_in("radiographer")
    assert client.post("/language/", {"language": "sn", "next": "/"}).status_code == 303
    assert b'<html lang="sn"' in client.get("/").content
    client.cookies.pop("hozi_language")
    assert b'<html lang="sn"' in client.get("/").content


def test_going_back_after_a_choice_never_leaves_the_house(anybody: Client) -> None:
    answer = anybody.post("/language/", {"language": "nd", "next": "https://elsewhere.example/"})
    assert answer["Location"] == "/"


def test_a_part_of_a_page_sends_the_whole_page_to_the_door_when_the_session_has_ended(anybody: Client) -> None:
    answer = anybody.get("/x/devices/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (204, "/account/login/?next=%2F")
