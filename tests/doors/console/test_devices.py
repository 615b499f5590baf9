"""The pages of devices: who may see and change them, one-click admission, and the trial that moves by itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from hozi.audit.models import Event
from hozi.audit.record import Code, Entry, Outcome, record
from hozi.facilities import acceptance, departments, devices, liveness, places
from hozi.facilities.devices import Permit
from hozi.facilities.liveness import Echo
from tests.archive_running import EXPLICIT, Caller, RunningArchive
from tests.doors.dimse.images import CT, encoded, image
from tests.peers import free_port
from tests.people import ACCOUNTS

pytestmark = pytest.mark.django_db

SignedIn = Callable[..., Client]
ADMIN = ACCOUNTS["pacs_admin"].username


def admit(name: str = "CT1", **facts: Any) -> Permit:
    return devices.add(name, **{"ae_title": name.upper(), "host": "192.168.1.20", "actor": "test", **facts})


def knock(calling: str = "CT2", reason: str = "calling-ae", called: str = "HOZI", address: str = "192.168.1.21") -> int:
    devices.knocked(calling, called, address, reason=reason)
    return devices.recent()[0].pk


def text_of(answer: Any) -> str:
    """What a person reads: without markup, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def form_of(client: Client, url: str) -> dict[str, Any]:
    """What the page's form would send as it stands."""
    form = client.get(url).context["form"]
    return {bound.name: bound.value() for bound in form if bound.value() not in (None, False)}


def test_nothing_is_there_yet_and_the_page_says_what_to_do(signed_in: SignedIn) -> None:
    page = text_of(signed_in("pacs_admin").get("/devices/"))
    assert "No device is admitted yet" in page
    assert "AE title HOZI" in page
    assert "Add one by hand" not in text_of(signed_in("it_support").get("/devices/"))


def test_the_list_says_who_answers_with_a_word(signed_in: SignedIn) -> None:
    for number, name in enumerate(("UP", "DOWN", "SHAKY", "MUTE")):
        admit(name, host=f"192.168.1.{30 + number}", port=None if name == "MUTE" else 104)
    now = timezone.now()
    for name, answers in (("UP", [True, True]), ("DOWN", [False, False]), ("SHAKY", [True, False])):
        for number, ok in enumerate(answers):
            liveness.note(name, Echo(now + timedelta(seconds=number), ok, "told", milliseconds=7 if ok else None))
    answer = signed_in("radiographer").get("/devices/")
    rows = re.findall(r"<tr data-open.*?</tr>", answer.content.decode(), re.DOTALL)
    words = [" ".join(re.sub(r"<[^>]+>", " ", row).split())[:20] for row in rows]
    assert [word.split(" ")[:2] for word in words] == [
        ["Down", "DOWN"],
        ["Unsteady", "SHAKY"],
        ["Not", "called"],
        ["Answers", "UP"],
    ]
    assert "1 does not answer" in text_of(answer)
    assert "<polyline" in answer.content.decode()


def test_an_answer_of_long_ago_does_not_count_as_one(signed_in: SignedIn) -> None:
    permit = admit("CT1", port=104)
    long_ago = timezone.now() - timedelta(hours=2)
    liveness.note("CT1", Echo(long_ago, True, "it answers", milliseconds=3))
    client = signed_in("radiographer")
    for url in ("/devices/", f"/devices/{permit.number}/"):
        assert "Not called lately" in text_of(client.get(url))


def test_the_list_is_left_as_it_is_until_something_changes(signed_in: SignedIn) -> None:
    admit("CT1", port=104)
    client = signed_in("radiographer")
    seen = client.get("/devices/").context["seen"]
    assert client.get(f"/devices/?seen={seen}", headers={"HX-Request": "true"}).status_code == 204
    knock("CT2")
    part = client.get(f"/devices/?seen={seen}", headers={"HX-Request": "true"})
    assert part.status_code == 200
    assert "CT2 is not admitted." in text_of(part)
    assert "<html" not in part.content.decode()


def test_one_click_admits_who_knocked(signed_in: SignedIn) -> None:
    number = knock("CT2", called="PACS")
    client = signed_in("pacs_admin")
    page = client.get("/devices/")
    assert "CT2 is not admitted." in text_of(page)
    assert "A-ASSOCIATE-RJ 1/1/3" in text_of(page)
    answer = client.post(f"/devices/knocks/{number}/admit/", {"kind": "new", "name": "CT2"}, follow=True)
    permit = devices.permit_by_name("CT2")
    assert permit is not None
    assert (permit.modality, permit.called_as, permit.facility) == ("CT", "PACS", "MAIN")
    assert "CT2 is admitted" in text_of(answer)
    assert Event.objects.get(action="C", detail__device="CT2").actor == ADMIN
    assert client.post(f"/devices/knocks/{number}/admit/", {"kind": "new", "name": "CT2"}).status_code == 404


def test_a_name_on_the_scanner_is_admitted_with_one_click(signed_in: SignedIn) -> None:
    admit("CT1")
    number = knock("CT1", "called-ae", "HOZI1", "192.168.1.20")
    client = signed_in("pacs_admin")
    assert "CT1 calls this archive HOZI1; its name is HOZI." in text_of(client.get("/devices/"))
    client.post(f"/devices/knocks/{number}/admit/", {"kind": "name", "name": "CT1"})
    assert devices.permit_by_name("CT1").called_as == "HOZI1"  # type: ignore[union-attr]


def test_who_knocked_is_admitted_with_details_or_dismissed(signed_in: SignedIn) -> None:
    client = signed_in("pacs_admin")
    departments.add("MAIN", "CT", "Computed tomography", actor="test")
    number = knock("CT2")
    url = f"/devices/knocks/{number}/"
    told = form_of(client, url)
    assert (told["name"], told["modality"], told["facility"]) == ("CT2", "CT", "MAIN")
    wrong = client.post(url, {**told, "may": ["receive"]})
    assert "a device needs the port" in text_of(wrong)
    assert len(devices.recent()) == 1
    client.post(
        url, {**told, "name": "New scanner", "department": "MAIN/CT", "may": ["store", "receive"], "port": "104"}
    )
    permit = devices.permit_by_name("New scanner")
    assert permit is not None
    assert (permit.department, permit.may, permit.port) == ("CT", ("store", "receive"), 104)
    number = knock("CT3")
    assert "is dismissed" in text_of(client.post(f"/devices/knocks/{number}/dismiss/", follow=True))
    assert devices.recent() == []


def test_what_was_typed_stays_when_something_is_wrong_with_it(signed_in: SignedIn) -> None:
    client = signed_in("pacs_admin")
    told = {"name": "CT1", "ae_title": "CT1", "host": "192.168.1", "may": ["store"], "facility": "MAIN", "port": "104"}
    answer = client.post("/devices/add/", told)
    page = answer.content.decode()
    assert "is no address" in page
    assert 'value="192.168.1"' in page
    assert 'value="104"' in page
    answer = client.post("/devices/add/", {**told, "host": "192.168.1.20"}, follow=True)
    assert "CT1 is admitted" in text_of(answer)


def test_of_two_who_change_a_device_the_second_is_told(signed_in: SignedIn) -> None:
    permit = admit("CT1", username="ct1", passcode="granary", may=["store"])
    client = signed_in("pacs_admin")
    url = f"/devices/{permit.number}/change/"
    mine = form_of(client, url)
    assert "granary" not in str(mine)
    devices.change("CT1", host="192.168.1.99", actor="somebody else")
    answer = client.post(url, {**mine, "modality": "MR"})
    assert answer.status_code == 409
    assert "Somebody else has changed this device meanwhile" in text_of(answer)
    assert "192.168.1.99" in text_of(answer)
    now = devices.permit_by_name("CT1")
    assert now is not None
    assert (now.modality, now.host) == ("", "192.168.1.99")
    again = {bound.name: bound.value() for bound in answer.context["form"] if bound.value() not in (None, False)}
    assert (again["modality"], again["host"]) == ("MR", "192.168.1.20")
    client.post(url, again)
    now = devices.permit_by_name("CT1")
    assert now is not None
    assert (now.modality, now.host, now.may) == ("MR", "192.168.1.20", ("store",))
    assert devices.verify_identity(now, "ct1", "granary"), "a passcode that was not typed stays"


def test_removing_says_what_it_means_first(signed_in: SignedIn) -> None:
    permit = admit("CT1")
    client = signed_in("pacs_admin")
    assert "is refused from now on" in text_of(client.get(f"/devices/{permit.number}/remove/"))
    assert devices.listed() == [permit]
    assert "is removed" in text_of(client.post(f"/devices/{permit.number}/remove/", follow=True))
    assert devices.listed() == []
    assert client.get(f"/devices/{permit.number}/").status_code == 404


def test_another_facility_s_devices_are_not_there(signed_in: SignedIn) -> None:
    places.add("NORTH", "North Clinic", actor="test")
    theirs = admit("CT1", facility="MAIN")
    trial = acceptance.begin("CT1", actor="test")
    mine = admit("CT7", facility="NORTH", host="192.168.7.1")
    client = signed_in("pacs_admin", facility="NORTH")
    page = text_of(client.get("/devices/"))
    assert "CT7" in page
    assert "CT1" not in page
    assert client.get(f"/devices/{mine.number}/").status_code == 200
    for url in ("", "change/", "remove/"):
        assert client.get(f"/devices/{theirs.number}/{url}").status_code == 404
    for url in ("call/", "remove/", "try/"):
        assert client.post(f"/devices/{theirs.number}/{url}").status_code == 404
    for url in ("", "sheet.pdf", "accept/", "give-up/", "leave-out/query/"):
        assert client.get(f"/devices/trials/{trial.number}/{url}").status_code == 404
    for url in ("call/", "send/", "take-up/query/"):
        assert client.post(f"/devices/trials/{trial.number}/{url}").status_code == 404
    assert "sees_all" not in form_of(client, "/devices/add/")
    told = {"name": "CT8", "ae_title": "CT8", "host": "192.168.1.8", "facility": "MAIN", "may": []}
    assert client.post("/devices/add/", told).status_code == 200
    assert devices.permit_by_name("CT8") is None
    form = form_of(client, f"/devices/{mine.number}/change/")
    client.post(f"/devices/{mine.number}/change/", {**form, "sees_all": "on"})
    assert not devices.permit_by_name("CT7").sees_all  # type: ignore[union-attr]


def test_who_may_only_look_is_offered_nothing_and_can_do_nothing(signed_in: SignedIn) -> None:
    permit = admit("CT1", port=104)
    number = knock()
    trial = acceptance.begin("CT1", actor="test")
    client = signed_in("radiographer")
    for url in ("/devices/", f"/devices/{permit.number}/", f"/devices/trials/{trial.number}/"):
        answer = client.get(url)
        assert answer.status_code == 200
        offered = set(re.findall(r'action="(/devices/[^"]*)"', answer.content.decode()))
        assert offered <= {f"/devices/{permit.number}/call/"}
    for url in (f"/devices/knocks/{number}/admit/", f"/devices/{permit.number}/remove/", "/devices/add/"):
        assert client.post(url).status_code == 403
    assert len(devices.recent()) == 1


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "{{ 7|add:7 }}{% now 'Y' %}", '"><img src=x>'])
def test_what_strangers_call_themselves_is_harmless_on_every_page(hostile: str, signed_in: SignedIn) -> None:
    calling = hostile[:16]
    number = knock(calling, called=calling)
    permit = admit("Hostile", tls_subject=hostile, port=104)
    liveness.note("Hostile", Echo(timezone.now(), False, hostile, hostile, hostile))
    trial = acceptance.begin("Hostile", actor=hostile)
    acceptance.leave_out(trial.number, "query", hostile, actor=hostile)
    client = signed_in("pacs_admin")
    for url in (
        "/devices/",
        f"/devices/knocks/{number}/",
        f"/devices/{permit.number}/",
        f"/devices/trials/{trial.number}/",
        f"/devices/trials/{trial.number}/accept/",
    ):
        page = client.get(url).content.decode()
        assert escape(hostile) in page or escape(calling) in page, "as it is, and as text"
        assert "<script>a" not in page
        assert "<img src=x" not in page


def test_the_page_of_a_device_says_what_it_did_and_names_no_patient(signed_in: SignedIn) -> None:
    permit = admit("CT1")
    for _ in range(3):
        record(Entry(Code.INSTANCES_TRANSFERRED, "C", "CT1", patient_id="P-77", study_uid="1.2.3", object_uid="1.2.4"))
    record(Entry(Code.QUERY, "E", "CT1", detail={"keys": {"00100010": "Chikomba"}, "matches": 2}))
    refused = {"status": "0124", "reason": "this device may not retrieve here"}
    record(Entry(Code.INSTANCES_TRANSFERRED, "R", "CT1", Outcome.MINOR_FAILURE, detail=refused))
    knock("CT1", "called-ae", "HOZI1", "192.168.1.20")
    answer = signed_in("it_support").get(f"/devices/{permit.number}/")
    page = text_of(answer)
    assert "CT1 calls this archive HOZI1; its name is HOZI. A-ASSOCIATE-RJ 1/1/7" in page
    assert "did something else" not in page
    assert "was refused" not in page
    assert "3 images arrived" in page
    assert "searched, 2 found" in page
    assert "status 0124H, this device may not retrieve here" in page
    assert 'data-copy="status 0124H' in answer.content.decode()
    assert not [word for word in ("P-77", "1.2.3", "Chikomba") if word in answer.content.decode()]


def test_home_names_what_needs_somebody(signed_in: SignedIn) -> None:
    client = signed_in("pacs_admin")
    permit = admit("CT1", port=104)
    for _ in range(2):
        liveness.note("CT1", Echo(timezone.now(), False, "off"))
    knock("CT2")
    acceptance.begin("CT1", actor="test")
    page = text_of(client.get("/"))
    assert "CT1 does not answer." in page
    assert "1 device called and was refused" in page
    assert "The trial of CT1 is not finished." in page
    assert f'href="/devices/{permit.number}/"' in client.get("/").content.decode()
    assert "called and was refused" not in text_of(signed_in("radiographer").get("/"))


# The trial


def test_a_trial_moves_by_itself_and_ends_in_a_sheet(archive: RunningArchive, signed_in: SignedIn) -> None:
    with archive.destination("CT1", [("1.2.840.10008.1.1", [EXPLICIT]), (CT, [EXPLICIT])]):
        permit = devices.permit_by_name("CT1")
        assert permit is not None
        client = signed_in("pacs_admin")
        url = client.post(f"/devices/{permit.number}/try/")["Location"]
        page = client.get(url)
        assert "0 of 8 steps done." in text_of(page)
        assert 'hx-trigger="every 3s"' in page.content.decode()

        seen = page.context["seen"]
        unchanged = client.get(f"{url}?seen={seen}", headers={"HX-Request": "true"})
        assert (unchanged.status_code, unchanged.content) == (204, b"")

        client.post(f"{url}call/")
        client.post(f"{url}send/")
        ct1 = Caller(archive, "CT1")
        dataset = image()
        assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
        assert len(ct1.find("STUDY", PatientName="")) == 1
        assert ct1.move("STUDY", "CT1", StudyInstanceUID=str(dataset.StudyInstanceUID))[-1][0].Status == 0
        moved = client.get(f"{url}?seen={seen}", headers={"HX-Request": "true"})
        part = text_of(moved)
        assert moved.status_code == 200
        assert "<html" not in moved.content.decode()
        assert "7 of 8 steps done." in part
        assert "1 image arrived, whole and safe on disk" in part

        early = client.post(f"{url}accept/", {"version": moved.context["trial"].version, "remark": ""})
        assert "Not done yet: The device asks whether its images are safe" in text_of(early)
        assert "Say in a few words" in text_of(client.post(f"{url}leave-out/commitment/", {"reason": "-"}))
        client.post(f"{url}leave-out/commitment/", {"reason": "it has no such function"})
        told = form_of(client, f"{url}accept/")
        answer = client.post(f"{url}accept/", {**told, "remark": "Good."}, follow=True)
    assert "CT1 is accepted" in text_of(answer)
    assert "hx-trigger" not in answer.content.decode().split('<div id="steps"')[1]
    sheet = client.get(f"{url}sheet.pdf")
    assert sheet.content.startswith(b"%PDF")
    assert sheet["Content-Type"] == "application/pdf"
    [kept] = acceptance.of_device("CT1")
    assert (kept.accepted, kept.ended_by, kept.remark) == (True, f"Alois Administrator ({ADMIN})", "Good.")


def test_a_failure_is_said_on_the_page_in_words(archive: RunningArchive, signed_in: SignedIn) -> None:
    archive.admit("CT1", port=free_port())
    client = signed_in("pacs_admin")
    trial = acceptance.begin("CT1", actor="test")
    with pytest.raises(AssertionError, match="did not accept"):
        Caller(archive, "CT1", called="HOZI1").find("STUDY")
    client.post(f"/devices/trials/{trial.number}/call/")
    page = text_of(client.get(f"/devices/trials/{trial.number}/"))
    assert "CT1 calls this archive HOZI1; its name is HOZI." in page
    assert "nothing listens at port" in page
    assert "A-ASSOCIATE-RJ 1/1/7" in page


def test_a_trial_can_be_given_up_and_begun_again(signed_in: SignedIn) -> None:
    permit = admit("CT1")
    client = signed_in("pacs_admin")
    first = client.post(f"/devices/{permit.number}/try/")["Location"]
    assert client.post(f"/devices/{permit.number}/try/")["Location"] == first
    assert "was not accepted" in text_of(client.post(f"{first}give-up/", {"version": 1, "remark": ""}, follow=True))
    assert client.post(f"/devices/{permit.number}/try/")["Location"] != first
