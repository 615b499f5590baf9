"""Facilities, departments and organisations by the API."""

from __future__ import annotations

import pytest

from hozi.audit.models import Event
from tests.doors.api.conftest import Call, Caller

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hospitals")]


def test_a_facility_is_added_and_changed(admin: Caller) -> None:
    assert admin.post("/organisations", {"name": "Ministry"}).status_code == 201
    made = admin.post("/facilities", {"code": "north", "name": "North Clinic", "organisation": "Ministry"})
    assert (made.status_code, made.json()["code"], made.json()["issuer"]) == (201, "NORTH", "NORTH")
    assert Event.objects.latest("pk").actor == "aadministrator"
    changed = admin.patch("/facilities/NORTH", {"version": 1, "district": "Bindura"}).json()
    assert (changed["district"], changed["name"], changed["version"]) == ("Bindura", "North Clinic", 2)
    assert admin.patch("/facilities/NORTH", {"version": 1, "name": "Other"}).status_code == 409
    assert admin.post("/facilities", {"code": "NORTH", "name": "Again"}).json()["field"] == "code"
    assert admin.delete("/organisations/Ministry").status_code == 422
    assert admin.patch("/organisations/Ministry", {"version": 1, "name": "Health"}).json()["name"] == "Health"


def test_departments_are_added_renamed_and_removed(admin: Caller) -> None:
    assert admin.post("/facilities/GRANARY/departments", {"code": "ct", "name": "CT room"}).status_code == 201
    way = "/facilities/GRANARY/departments/CT"
    assert admin.patch(way, {"name": "Scanner", "was": "Something else"}).status_code == 409
    assert admin.patch(way, {"name": "Scanner", "was": "CT room"}).json()["name"] == "Scanner"
    assert admin.delete(way).status_code == 204
    assert admin.get("/facilities/GRANARY/departments").json()["items"] == []


def test_other_facilities_are_not_there(calls: Call) -> None:
    local = calls("pacs_admin", "ELSEWHERE")
    assert [place["code"] for place in local.get("/facilities").json()["items"]] == ["ELSEWHERE"]
    for answer in (
        local.get("/facilities/GRANARY"),
        local.patch("/facilities/GRANARY", {"version": 1, "name": "Mine"}),
        local.get("/facilities/GRANARY/departments"),
        local.post("/facilities/GRANARY/departments", {"code": "CT", "name": "CT"}),
        local.delete("/facilities/GRANARY/departments/CT"),
    ):
        assert answer.status_code == 404
    assert local.post("/facilities", {"code": "NEW", "name": "New"}).status_code == 422
    assert local.post("/organisations", {"name": "Mine"}).status_code == 422
    assert local.post("/facilities/elsewhere/departments", {"code": "CT", "name": "CT"}).status_code == 201
