"""The audit and the settings by the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hozi.audit.models import Event
from hozi.audit.record import Code, Entry, record
from hozi.choices import values
from tests.doors.api.conftest import Call, Caller

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hospitals")]


@pytest.fixture(autouse=True)
def _chosen_anew() -> Iterator[None]:
    values.forget()
    yield
    values.forget()


@pytest.fixture
def looked() -> None:
    for actor, facility, patient in (("rudo", "GRANARY", "ZW-1"), ("olga", "ELSEWHERE", "EL-1"), ("rudo", "", "ZW-2")):
        record(
            Entry(
                Code.INSTANCES_ACCESSED,
                "R",
                actor,
                issuer="GRANARY-HOSPITAL",
                patient_id=patient,
                study_uid="1.2.3",
                facility=facility,
            )
        )


@pytest.mark.usefixtures("looked")
def test_the_audit_is_searched_page_by_page_and_that_is_audited(admin: Caller) -> None:
    question = {"kind": "opened", "limit": 2}
    first = admin.post("/audit/search", question).json()
    then = admin.post("/audit/search", {**question, "after": first["next"]}).json()
    assert [row["patient_id"] for row in (*first["items"], *then["items"])] == ["ZW-2", "EL-1", "ZW-1"]
    assert first["items"][0]["what"] == "Opened images or a study"
    assert Event.objects.filter(code="110101", actor="aadministrator").count() == 2
    one = admin.get(f"/audit/rows/{first['items'][0]['id']}").json()
    assert one == first["items"][0]
    assert admin.post("/audit/search", {"after": "x"}).status_code == 422
    assert admin.post("/audit/search", {"since": "2026-01-01T00:00:00"}).json()["field"] == "since"


@pytest.mark.usefixtures("looked")
def test_it_says_who_saw_a_patient(admin: Caller) -> None:
    [seen] = admin.post("/audit/who-saw", {"issuer": "GRANARY-HOSPITAL", "patient_id": "ZW-1"}).json()
    assert (seen["actor"], seen["saw"]) == ("rudo", 1)


@pytest.mark.usefixtures("looked")
def test_whoever_reads_one_facility_s_audit_reads_no_other(calls: Call) -> None:
    local = calls("dpo", "ELSEWHERE")
    rows = local.post("/audit/search", {"kind": "opened"}).json()["items"]
    assert [row["actor"] for row in rows] == ["olga"]
    other = Event.objects.get(patient_id="ZW-1").pk
    assert local.get(f"/audit/rows/{other}").status_code == 404
    assert local.post("/audit/who-saw", {"issuer": "GRANARY-HOSPITAL", "patient_id": "ZW-1"}).json() == []


@pytest.mark.usefixtures("looked")
@pytest.mark.parametrize(("form", "begins"), [("csv", "row"), ("xml", "<?xml")])
def test_the_audit_leaves_as_a_file_and_that_is_audited(admin: Caller, form: str, begins: str) -> None:
    answer = admin.post("/audit/export", {"form": form, "kind": "opened"})
    text = b"".join(answer.streaming_content).decode().lstrip("\ufeff")
    assert text.startswith(begins)
    assert text.count("ZW-1") >= 1 or form == "xml"
    assert Event.objects.filter(code="110106", actor="aadministrator").count() == 1
    assert admin.get("/audit/chain").json()["rows"] >= 0


def test_a_setting_is_chosen_with_a_reason_and_taken_back(admin: Caller, calls: Call) -> None:
    way = "/settings/accounts.emergency_minutes"
    assert admin.post(way, {"value": 30, "version": 0}).json()["field"] == "reason"
    chosen = admin.post(way, {"value": 30, "version": 0, "reason": "shorter is safer"}).json()
    assert (chosen["value"], chosen["source"], chosen["version"]) == (30, "chosen", 1)
    assert admin.post(way, {"value": 20, "version": 0, "reason": "shorter still"}).status_code == 409
    assert admin.post(way, {"value": 0, "version": 1, "reason": "none"}).json()["field"] == "value"
    assert admin.post(f"{way}/undo", {"version": 1}).json()["value"] == 60
    assert [past["after"] for past in admin.get(f"{way}/history").json()] == [None, 30]
    assert admin.get("/settings/accounts.nothing").status_code == 404
    assert len(admin.get("/settings").json()) > 5
    assert calls("it_support").post(way, {"value": 30, "version": 2, "reason": "r"}).status_code == 403


def test_whoever_looks_after_one_facility_chooses_for_none(calls: Call) -> None:
    local = calls("pacs_admin", "ELSEWHERE")
    way = "/settings/accounts.emergency_minutes"
    assert local.post(way, {"value": 30, "version": 0, "reason": "mine"}).status_code == 403
