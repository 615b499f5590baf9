"""People, roles, tokens, reviews and emergency access by the API: the rooms' own rules, in the API's words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.middleware.csrf import get_token
from django.test import Client, RequestFactory

from hozi.accounts.models import Grant, Person
from tests.doors.api.conftest import Call, Caller

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hospitals")]


def test_an_account_goes_its_way(admin: Caller, calls: Call) -> None:
    manager = calls("manager")
    asked = manager.post("/people", {"full_name": "Tendai Moyo", "role": "radiographer", "facility": "GRANARY"})
    assert (asked.status_code, asked.json()["username"], asked.json()["state"]) == (201, "tendai.moyo", "requested")
    number = asked.json()["id"]
    approved = admin.post(f"/people/{number}/approve", {"version": asked.json()["version"]}).json()
    assert admin.post(f"/people/{number}/approve", {"version": asked.json()["version"]}).status_code == 409
    given = admin.post(f"/people/{number}/grants", {"role": "radiographer", "facility": "GRANARY", "modality": "ct"})
    assert (given.status_code, given.json()["modality"]) == (201, "CT")
    invited = admin.post(f"/people/{number}/invite", {"version": approved["version"]}).json()
    assert invited["link"].startswith("/enter/")
    suspended = admin.post(f"/people/{number}/suspend", {"version": invited["version"], "reason": "a rest"}).json()
    assert suspended["state"] == "suspended"
    back = admin.post(f"/people/{number}/reactivate", {"version": suspended["version"]}).json()
    disabled = admin.post(f"/people/{number}/disable", {"version": back["version"], "reason": "left"}).json()
    assert disabled["state"] == "disabled"
    assert admin.post(f"/grants/{given.json()['id']}/end").json()["ended_by"] == "aadministrator"


def test_people_are_listed_looked_at_and_changed(admin: Caller, calls: Call) -> None:
    radiographer = calls("radiographer", "GRANARY")
    names = [one["username"] for one in admin.get("/people", sort="new").json()["items"]]
    assert names == ["rradiographer.granary", "aadministrator"]
    first = admin.get("/people", limit=1).json()
    assert admin.get("/people", limit=1, after=first["next"]).json()["next"] is None
    [line] = admin.get("/people", role="radiographer").json()["items"]
    assert line["roles"] == ["Radiographer at GRANARY"]
    way = f"/people/{radiographer.person}"
    person = admin.get(way).json()
    assert person["held"][0]["facility"] == "GRANARY"
    shape = {"version": person["version"], "full_name": "Rumbi R.", "phone": "+263 77 123 4567"}
    changed = admin.post(way, shape)
    assert (changed.status_code, changed.json()["full_name"]) == (200, "Rumbi R.")
    assert admin.post(way, shape).status_code == 409


def test_nobody_of_another_facility_is_there(calls: Call) -> None:
    local = calls("pacs_admin", "ELSEWHERE")
    other = calls("radiographer", "GRANARY")
    assert [one["id"] for one in local.get("/people").json()["items"]] == [local.person]
    assert local.get(f"/people/{other.person}").status_code == 404
    for path, data in (
        ("suspend", {"version": 1, "reason": "because"}),
        ("approve", {"version": 1}),
        ("grants", {"role": "radiographer", "facility": "ELSEWHERE"}),
        ("tokens", {"name": "x", "scopes": ["read"]}),
    ):
        assert local.post(f"/people/{other.person}/{path}", data).status_code == 404, path
    assert local.get(f"/people/{other.person}/tokens").status_code == 404
    grant = Grant.objects.get(person=other.person).pk
    assert local.post(f"/grants/{grant}/end").status_code == 404
    assert Person.objects.get(pk=other.person).is_active


def test_nobody_becomes_more_than_they_are(calls: Call) -> None:
    local = calls("pacs_admin", "ELSEWHERE")
    other = calls("radiographer", "ELSEWHERE")
    for data in ({"role": "pacs_admin"}, {"role": "radiographer", "facility": "GRANARY"}):
        assert local.post(f"/people/{other.person}/grants", data).status_code == 422
    assert local.post(f"/people/{local.person}/grants", {"role": "dpo", "facility": "ELSEWHERE"}).status_code == 422
    forged = {"full_name": "X Y", "state": "active", "is_active": True}
    assert local.post("/people", forged).json()["field"] in ("state", "is_active")


def test_roles_are_made_changed_and_removed(admin: Caller) -> None:
    made = admin.post("/roles", {"key": "night", "name": "Night", "permissions": ["studies.find"]}).json()
    assert (made["permissions"], made["delivered"], made["version"]) == (["studies.find"], False, 1)
    changed = admin.post("/roles/night", {"version": 1, "name": "Nights", "permissions": ["studies.open"]}).json()
    assert (changed["permissions"], changed["version"]) == (["studies.open"], 2)
    assert admin.post("/roles/night", {"version": 1, "name": "N", "permissions": []}).status_code == 409
    assert admin.post("/roles", {"key": "fly", "name": "F", "permissions": ["fly"]}).status_code == 422
    assert admin.delete("/roles/night?version=2").status_code == 204
    assert admin.get("/roles/night").status_code == 404
    assert {entry["key"] for entry in admin.get("/permissions").json()} >= {"studies.find"}


def test_a_token_is_made_shown_once_and_ended(admin: Caller, calls: Call) -> None:
    service = calls("service")
    made = admin.post(
        f"/people/{service.person}/tokens", {"name": "RIS", "scopes": ["read"], "networks": ["127.0.0.1"]}
    )
    assert made.status_code == 201
    secret = made.json()["secret"]
    program = Client(headers={"Authorization": f"Bearer {secret}"})
    assert program.get("/api/me").status_code == 200
    listed = admin.get(f"/people/{service.person}/tokens")
    assert secret not in listed.content.decode()
    assert admin.post(f"/tokens/{made.json()['id']}/end").status_code == 200
    assert program.get("/api/me").status_code == 401


def test_a_token_makes_no_token_that_would_outlive_it(admin: Caller) -> None:
    own = {"name": "free", "scopes": ["read", "write", "admin"], "days": 365}
    answer = admin.post(f"/people/{admin.person}/tokens", own)
    assert answer.status_code == 403


def test_a_review_is_opened_and_decided(calls: Call) -> None:
    dpo, radiographer = calls("dpo"), calls("radiographer", "GRANARY")
    opened = dpo.post("/reviews")
    assert (opened.status_code, opened.json()["total"]) == (201, 2)
    [item] = dpo.get("/reviews/waiting").json()["items"]
    assert item["access"] == ["Radiographer at GRANARY", "1 token"]
    way = f"/reviews/items/{item['id']}"
    assert dpo.post(f"{way}/attest", {"seen": "0" * 16}).status_code == 409
    revoked = dpo.post(f"{way}/revoke", {"seen": item["seen"], "note": "moved away"})
    assert revoked.json()["decision"] == "revoked"
    assert dpo.post(f"{way}/attest", {"seen": item["seen"]}).status_code == 409
    assert radiographer.get("/devices").status_code == 403
    number = opened.json()["id"]
    assert [one["own"] for one in dpo.get(f"/reviews/{number}/items", decision="open").json()["items"]] == [True]
    assert dpo.get("/reviews").json()["items"][0]["revoked"] == 1


def test_emergency_access_is_for_people_who_are_signed_in(
    calls: Call, signed_in: Callable[..., Client]
) -> None:  # fmt: skip
    new = {"issuer": "ELSEWHERE-HOSPITAL", "patient_id": "1", "reason": "brought in unconscious"}
    assert calls("radiologist", "GRANARY").post("/emergency", new).status_code == 403
    browser = signed_in("radiologist", "GRANARY")
    request = RequestFactory().get("/")
    browser.cookies["hozi_csrf"] = ""
    secret = get_token(request)
    browser.cookies["hozi_csrf"] = request.META["CSRF_COOKIE"]

    def send(path: str, data: dict[str, str]) -> int:
        headers = {"X-CSRFToken": secret}
        return int(browser.post(f"/api{path}", data, content_type="application/json", headers=headers).status_code)

    assert send("/emergency", new) == 201
    [mine] = browser.get("/api/emergency/mine").json()
    dpo = calls("dpo")
    assert [one["id"] for one in dpo.get("/emergency").json()["items"]] == [mine["id"]]
    way = f"/emergency/{mine['id']}/review"
    assert dpo.post(way, {"verdict": "not-justified"}).json()["field"] == "note"
    said = dpo.post(way, {"verdict": "not-justified", "note": "out of curiosity"}).json()
    assert said["ended_at"] is not None
    assert browser.get("/api/emergency/mine").json() == []
