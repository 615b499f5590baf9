"""Studies by the API: what the one rule reaches, page by page, and nothing that names a patient in an address."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client

from hozi.accounts import authorise, emergency
from hozi.archive.models import Study
from hozi.audit.models import Event
from tests.archive.conftest import Counter
from tests.archive.conftest import counter as counter
from tests.archive.test_reach import kept
from tests.dicom_files import write
from tests.doors.api.conftest import Call, Caller

MOYO = {
    "PatientName": "Moyo^Tendai",
    "PatientID": "ZW-1",
    "IssuerOfPatientID": "GRANARY",
    "StudyDate": "20260105",
    "Modality": "CT",
}
NCUBE = {"PatientName": "Ncube^Sipho", "PatientID": "ZW-2", "StudyDate": "20260301", "Modality": "MR"}


@pytest.fixture
def images(hospitals: None) -> None:
    kept(1, MOYO, facility="GRANARY")
    kept(2, NCUBE, facility="GRANARY")
    kept(3, {**NCUBE, "PatientID": "EL-3"}, facility="ELSEWHERE")


pytestmark = pytest.mark.django_db


@pytest.mark.usefixtures("images")
def test_studies_are_listed_the_newest_first_page_by_page(admin: Caller) -> None:
    first = admin.get("/studies", limit=2).json()
    then = admin.get("/studies", limit=2, after=first["next"]).json()
    assert [one["patient"]["patient_id"] for one in (*first["items"], *then["items"])] == ["EL-3", "ZW-2", "ZW-1"]
    assert then["next"] is None
    assert [one["modalities"] for one in admin.get("/studies", modality="ct").json()["items"]] == [["CT"]]
    assert admin.get("/studies", since="20261301").json()["field"] == "since"


@pytest.mark.usefixtures("images")
def test_a_patient_is_looked_for_in_a_body_and_it_is_in_the_audit(admin: Caller) -> None:
    [found] = admin.post("/studies/search", {"patient_id": "ZW-1"}).json()["items"]
    assert found["patient"] == {
        "name": "Moyo^Tendai",
        "patient_id": "ZW-1",
        "issuer": "GRANARY",
        "birth_date": found["patient"]["birth_date"],
        "sex": found["patient"]["sex"],
    }
    event = Event.objects.filter(code="110112").latest("pk")
    assert (event.actor, event.patient_id) == ("aadministrator", "ZW-1")
    refused = admin.get("/studies", patient_id="ZW-1")
    assert (refused.status_code, refused.json()["field"]) == (422, "patient_id"), "no such filter in an address"


@pytest.mark.usefixtures("images")
def test_a_study_is_looked_at_with_its_series_and_objects(admin: Caller) -> None:
    [found] = admin.post("/studies/search", {"text": "moyo"}).json()["items"]
    whole = admin.get(f"/studies/{found['id']}").json()
    assert (whole["uid"], whole["series_count"], whole["more_series"]) == (found["uid"], 1, None)
    assert Event.objects.filter(code="110103", study_uid=whole["uid"], actor="aadministrator").exists()
    [series] = admin.get(f"/studies/{found['id']}/series").json()["items"]
    assert series == whole["series"][0]
    [one] = admin.get(f"/series/{series['id']}/objects").json()["items"]
    assert one["bytes"] > 0
    assert admin.get(f"/studies/{found['id']}/history").status_code == 200
    assert admin.get(f"/studies/{found['id']}/series", after="x").status_code == 404


@pytest.mark.usefixtures("images")
def test_studies_of_another_facility_are_not_there(calls: Call) -> None:
    stranger = calls("radiologist", "ELSEWHERE")
    assert [one["patient"]["patient_id"] for one in stranger.get("/studies").json()["items"]] == ["EL-3"]
    assert stranger.post("/studies/search", {"patient_id": "ZW-1"}).json()["items"] == []
    theirs = Study.objects.get(patient__patient_id="ZW-1")
    series = theirs.series.get()
    for path in (
        f"/studies/{theirs.pk}",
        f"/studies/{theirs.pk}/series",
        f"/studies/{theirs.pk}/history",
        f"/studies/{theirs.pk}/download",
        f"/series/{series.pk}/objects",
    ):
        answer, nothing = stranger.get(path), stranger.get(path.replace(str(theirs.pk), "987654", 1))
        assert answer.status_code == 404, path
        assert answer.content == nothing.content, "not yours looks like not there"


@pytest.mark.usefixtures("images")
def test_in_an_emergency_that_patient_is_there_and_nobody_else(signed_in: Callable[..., Client]) -> None:
    browser = signed_in("radiologist", "ELSEWHERE")
    theirs = {row.patient.patient_id: row.pk for row in Study.objects.select_related("patient")}
    who = authorise.of_person(int(browser.session["_auth_user_id"]))
    assert who is not None
    opened = emergency.open(who, issuer="GRANARY", patient_id="ZW-1", reason="brought in unconscious")
    assert browser.get(f"/api/studies/{theirs['ZW-1']}").status_code == 200
    assert browser.get(f"/api/studies/{theirs['ZW-2']}").status_code == 404
    assert browser.get(f"/api/studies/{theirs['ZW-1']}/download").status_code == 404, "looking is not taking away"
    seen = {one["patient"]["patient_id"] for one in browser.get("/api/studies").json()["items"]}
    assert seen == {"EL-3", "ZW-1"}
    emergency.end(who, opened.id)
    assert browser.get(f"/api/studies/{theirs['ZW-1']}").status_code == 404


def test_a_study_is_downloaded_whole(counter: Counter, tmp_path: Path, calls: Call) -> None:
    for number in range(2):
        write(tmp_path / "disc" / f"{number}.dcm", StudyInstanceUID="1.2.3", SOPInstanceUID=f"1.2.3.{number}")
    counter.bring(tmp_path / "disc")
    answer = calls("pacs_admin").get(f"/studies/{Study.objects.get().pk}/download")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:
        assert archive.testzip() is None
        assert "DICOMDIR" in archive.namelist() and len(archive.namelist()) == 3
    assert Event.objects.filter(code="110106", actor="aadministrator").count() >= 1


def test_no_page_of_somebody_else_makes_a_browser_download(signed_in: Callable[..., Client], images: object) -> None:
    browser = signed_in("pacs_admin")
    address = f"/api/studies/{Study.objects.first().pk}/download"  # type: ignore[union-attr]
    assert browser.get(address, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 422
    assert not Event.objects.filter(code="110106").exists()
    assert browser.get(address, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_exceptions_are_looked_at_and_decided(counter: Counter, tmp_path: Path, calls: Call) -> None:
    one = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1", "SOPInstanceUID": "1.2.3.1.1"}
    write(tmp_path / "a" / "1.dcm", **one, PatientID="1")
    write(tmp_path / "b" / "1.dcm", **one, PatientID="2")
    counter.bring(tmp_path / "a")
    counter.bring(tmp_path / "b")
    admin = calls("pacs_admin")
    [case] = admin.get("/exceptions").json()["items"]
    looked = admin.get(f"/exceptions/{case['id']}").json()
    assert {"1", "2"} == {looked["patient_here"]["patient_id"], looked["patient_there"]["patient_id"]}
    assert any(entry["differs"] for entry in looked["compared"])
    ways = {way["what"] for way in admin.get(f"/exceptions/{case['id']}/ways").json()}
    assert {"discard", "as-own"} <= ways
    way = f"/exceptions/{case['id']}/decide"
    assert admin.post(way, {"what": "discard", "note": "", "version": 1}).json()["field"] == "note"
    said = {"what": "discard", "note": "sent twice", "version": case["version"]}
    assert calls("pacs_admin", "ELSEWHERE").post(way, said).status_code == 404
    done = admin.post(way, said)
    assert (done.status_code, done.json()["decision"]) == (200, "discarded")
    assert admin.post(way, said).status_code == 409
    assert admin.get("/exceptions").json()["items"] == []
    back = admin.post(way, {**said, "what": "undo", "version": done.json()["version"]})
    assert back.json()["open"] is True
    assert calls("pacs_admin", "ELSEWHERE").get("/exceptions").json()["items"] == []
