"""Devices by the API: those of one's own facilities, and nothing of others."""

from __future__ import annotations

import pytest

from hozi.accounts import devices
from hozi.facilities.devices import knocked, permit_by_name
from tests.doors.api.conftest import OPERATOR, Call, Caller

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hospitals")]

CT1 = {"name": "CT1", "ae_title": "CT1", "host": "10.0.0.1", "facility": "GRANARY"}


def test_a_device_is_added_looked_at_changed_and_removed(admin: Caller) -> None:
    made = admin.post("/devices", {**CT1, "port": 104, "username": "ct", "passcode": "dry grain"})
    assert made.status_code == 201
    said = made.json()
    assert (said["may"], said["facility"], said["version"]) == (["store", "query", "retrieve", "receive"], "GRANARY", 1)
    assert "passcode" not in said and "dry grain" not in made.content.decode()
    changed = admin.patch("/devices/CT1", {"version": 1, "may": ["store"], "modality": "CT"}).json()
    assert (changed["may"], changed["modality"], changed["port"], changed["version"]) == (["store"], "CT", 104, 2)
    assert permit_by_name("CT1").passcode, "what is not named stays"  # type: ignore[union-attr]
    assert admin.patch("/devices/CT1", {"version": 1, "modality": "MR"}).status_code == 409
    assert admin.get("/devices/CT1").json() == changed
    assert admin.delete("/devices/CT1").status_code == 204
    assert admin.get("/devices/CT1").status_code == 404


def test_a_list_comes_in_parts(admin: Caller) -> None:
    for number in range(5):
        admin.post("/devices", {**CT1, "name": f"CT{number}", "ae_title": f"CT{number}"})
    names, after = [], ""
    while True:
        part = admin.get("/devices", limit=2, after=after).json()
        names += [device["name"] for device in part["items"]]
        if part["next"] is None:
            break
        after = part["next"]
    assert names == [f"CT{number}" for number in range(5)]
    assert admin.get("/devices", after="GONE").status_code == 404
    assert admin.get("/devices", limit=201).status_code == 422


def test_devices_of_another_facility_are_not_there(calls: Call, admin: Caller) -> None:
    admin.post("/devices", CT1)
    stranger = calls("pacs_admin", "ELSEWHERE")
    assert stranger.get("/devices").json()["items"] == []
    assert stranger.get("/devices/CT1").status_code == 404
    assert stranger.patch("/devices/CT1", {"version": 1, "modality": "CT"}).status_code == 404
    assert stranger.delete("/devices/CT1").status_code == 404
    assert stranger.post("/devices/CT1/echo").status_code == 404
    for name in ("CT1", "CT9"):
        assert stranger.get(f"/devices/{name}").json()["detail"] == "There is no such device here"


def test_whoever_looks_after_one_facility_adds_devices_there_only(calls: Call) -> None:
    local = calls("pacs_admin", "ELSEWHERE")
    assert local.post("/devices", {**CT1, "facility": ""}).json()["facility"] == "ELSEWHERE"
    refused = local.post("/devices", {**CT1, "name": "CT2", "ae_title": "CT2"})
    assert (refused.status_code, refused.json()["field"]) == (422, "facility")
    assert local.patch("/devices/CT1", {"version": 1, "facility": "GRANARY"}).status_code == 422
    for answer in (
        local.post("/devices", {**CT1, "name": "CT2", "ae_title": "CT2", "facility": "ELSEWHERE", "sees_all": True}),
        local.patch("/devices/CT1", {"version": 1, "sees_all": True}),
    ):
        assert (answer.status_code, answer.json()["field"]) == (422, "sees_all")


def test_who_knocked_is_admitted_or_dismissed(admin: Caller) -> None:
    knocked("MR1", "HOZI", "10.0.0.2", reason="calling-ae")
    knocked("XX1", "HOZI", "10.0.0.3", reason="calling-ae")
    ids = {knock["calling_ae"]: knock["id"] for knock in admin.get("/knocks").json()["items"]}
    admitted = admin.post(f"/knocks/{ids['MR1']}/admit", {"facility": "GRANARY", "modality": "MR"})
    assert (admitted.status_code, admitted.json()["host"]) == (200, "10.0.0.2")
    assert admin.delete(f"/knocks/{ids['XX1']}").status_code == 204
    assert admin.get("/knocks").json() == {"items": [], "next": None}
    assert admin.post(f"/knocks/{ids['MR1']}/admit", {}).status_code == 404


def test_a_knock_of_another_facility_s_device_is_nobody_else_s(calls: Call) -> None:
    devices.add(OPERATOR, **CT1)
    knocked("CT1", "OTHERNAME", "10.0.0.1", reason="called-ae")
    knocked("NEW1", "HOZI", "10.0.0.9", reason="calling-ae")
    stranger = calls("pacs_admin", "ELSEWHERE")
    assert [knock["calling_ae"] for knock in stranger.get("/knocks").json()["items"]] == ["NEW1"]
    ids = {row.calling_ae: row.pk for row in devices.knocked(OPERATOR)}
    assert stranger.post(f"/knocks/{ids['CT1']}/admit", {}).status_code == 404
    assert stranger.delete(f"/knocks/{ids['CT1']}").status_code == 404
    assert stranger.post(f"/knocks/{ids['NEW1']}/admit", {}).json()["facility"] == "ELSEWHERE"


def test_a_device_that_does_not_answer_is_told_in_words(admin: Caller) -> None:
    admin.post("/devices", {**CT1, "host": "127.0.0.1", "port": 1})
    said = admin.post("/devices/CT1/echo").json()
    assert said["ok"] is False
    assert said["summary"] and said["technical"]
    assert admin.get("/devices/CT1").json()["state"] in ("unsteady", "unknown")
