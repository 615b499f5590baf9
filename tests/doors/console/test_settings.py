"""Settings in the browser: seen by those who may, changed with a reason, taken back, never silently overwritten."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from hozi.audit.models import Event
from hozi.choices import values
from hozi.choices.declared import CHOICES
from hozi.settings import HOZI, Settings

pytestmark = pytest.mark.django_db

SignedIn = Callable[..., Client]
DAYS = "/settings/accounts.inactive_days/"
NAME = "/settings/console.hospital_name/"


def send(client: Client, url: str, value: object, reason: str = "as agreed", version: object = 0):
    return client.post(url, {"value": value, "reason": reason, "expected_version": version})


def test_every_choice_is_listed_with_what_holds(signed_in: SignedIn) -> None:
    page = signed_in("pacs_admin").get("/settings/").content.decode()
    for choice in CHOICES:
        assert str(choice.label) in page
    assert "90 days" in page
    assert "12 hours" in page


def test_a_change_needs_a_reason_holds_and_stands_in_the_history(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    refused = send(admin, DAYS, 60, reason="")
    assert refused.status_code == 200
    assert values.get("accounts.inactive_days") == 90
    assert send(admin, DAYS, 60, reason="policy <2026>").status_code == 303
    assert values.get("accounts.inactive_days") == 60
    page = admin.get(DAYS).content.decode()
    assert "policy &lt;2026&gt;" in page
    assert "aadministrator" in page
    assert Event.objects.filter(detail__choice="accounts.inactive_days").get().actor == "aadministrator"


@pytest.mark.parametrize(("value", "said"), [("0", "greater than or equal to 1"), ("many", "whole number")])
def test_what_is_wrong_is_said_beside_the_field_and_nothing_typed_is_lost(
    signed_in: SignedIn, value: str, said: str
) -> None:
    page = send(signed_in("pacs_admin"), DAYS, value, reason="my long reason").content.decode()
    assert said in page
    assert 'id="id_value_wrong"' in page
    assert "my long reason" in page


def test_what_somebody_else_chose_meanwhile_is_shown_and_not_overwritten(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    send(admin, DAYS, 60)
    page = send(admin, DAYS, 30).content.decode()
    assert values.get("accounts.inactive_days") == 60
    assert "Somebody else has just changed" in page
    assert "60 days" in page
    assert 'value="30"' in page, "what was typed stays"
    assert 'name="expected_version" value="1"' in page, "and counts when it is sent again, knowingly"
    assert send(admin, DAYS, 30, version=1).status_code == 303


def test_one_click_takes_it_back(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    send(admin, NAME, "Granary", reason="")
    assert admin.post(NAME + "undo/", {"version": 1}).status_code == 303
    assert values.get("console.hospital_name") == ""
    page = admin.post(NAME + "undo/", {"version": 1}, follow=True).content.decode()
    assert "Somebody else" in page
    assert "look again" in admin.post(NAME + "undo/", {"version": "x"}, follow=True).content.decode()
    assert values.standing("console.hospital_name").version == 2


def test_who_may_look_but_not_change_sees_no_form_and_changes_nothing(signed_in: SignedIn) -> None:
    vendor = signed_in("vendor")
    assert '<button class="btn btn-primary">' not in vendor.get(NAME).content.decode()
    assert send(vendor, NAME, "Vendor").status_code == 403
    assert vendor.post(NAME + "undo/", {"version": 0}).status_code == 403
    assert signed_in("radiologist").get("/settings/").status_code == 403
    assert values.get("console.hospital_name") == ""


def test_an_administrator_of_one_facility_changes_nothing_for_all(signed_in: SignedIn) -> None:
    local = signed_in("pacs_admin", facility="ELSEWHERE")
    assert local.get(NAME).status_code == 200
    assert send(local, NAME, "Elsewhere").status_code == 403
    assert local.post(NAME + "undo/", {"version": 0}).status_code == 403
    assert values.get("console.hospital_name") == ""


def test_what_the_environment_fixes_is_shown_as_fixed(signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "HOZI", HOZI.model_copy(update={"hospital_name": "Granary"}))
    admin = signed_in("pacs_admin")
    page = admin.get(NAME).content.decode()
    assert "HOZI_HOSPITAL_NAME is set where Hozi is started" in page
    assert '<form method="post" class="card"' not in page
    assert "Fixed by" in admin.get("/settings/").content.decode()


def test_all_settings_of_the_environment_are_shown(signed_in: SignedIn) -> None:
    page = signed_in("it_support").get("/settings/environment/").content.decode()
    for name in Settings.model_fields:
        assert f"HOZI_{name.upper()}" in page


def test_what_is_no_choice_is_not_there(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    assert admin.get("/settings/no.such/").status_code == 404
    assert send(admin, "/settings/no.such/", 1).status_code == 404


def test_an_archive_without_a_name_is_told_to_whoever_can_name_it(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    assert "This archive has no name" in admin.get("/").content.decode()
    assert "This archive has no name" not in signed_in("pacs_admin", facility="ELSEWHERE").get("/").content.decode()
    send(admin, NAME, "Granary")
    assert "This archive has no name" not in admin.get("/").content.decode()
