"""A study is sent to a device from its page: to real receivers, by who may and as far as they may, and only once."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.utils import timezone
from pynetdicom import AE, evt

from hozi.accounts.authorise import of_person
from hozi.archive import correct
from hozi.archive import sending as asked
from hozi.archive.models import Study
from hozi.audit.models import Event
from hozi.core.dicom.keys import tag_of
from hozi.doors.dimse import sending  # noqa: F401 - registers the job that sends
from hozi.facilities import devices
from hozi.jobs import worker
from hozi.jobs.models import Job
from tests.archive_running import Caller, RunningArchive, archive
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image
from tests.peers import free_port

__all__ = ["archive"]

CONTEXTS = [(CT, [EXPLICIT])]
SignedIn = Callable[..., Client]


def stored(caller: Caller, objects: int = 2) -> tuple[Study, dict[str, bytes]]:
    sent: dict[str, bytes] = {}
    first = image(StudyDescription="CHEST")
    for _ in range(objects):
        one = image(StudyInstanceUID=first.StudyInstanceUID, StudyDescription="CHEST")
        sent[str(one.SOPInstanceUID)] = encoded(one)
        assert caller.store(sent[str(one.SOPInstanceUID)], CT, one.SOPInstanceUID)[0] == 0
    return Study.objects.get(uid=first.StudyInstanceUID), sent


def number_of(name: str) -> int:
    permit = devices.permit_by_name(name)
    assert permit is not None
    return permit.number


def ask(client: Client, study: Study, device: str) -> str:
    answer = client.post(f"/studies/{study.pk}/send/", {"device": number_of(device)}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def part(client: Client, study: Study) -> str:
    answer = client.get(f"/studies/{study.pk}/send/", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    [lines] = re.findall(r'<ul class="hz-story" id="sent".*?</ul>', answer.content.decode(), re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", lines).split())


def due_now() -> None:
    Job.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def exports() -> list[tuple[str, int, dict[str, Any]]]:
    rows = Event.objects.filter(code="110106").order_by("pk")
    return [(row.actor, row.outcome, row.detail) for row in rows]


def test_a_device_is_sent_what_is_stored_and_the_page_and_the_audit_say_so(
    archive: RunningArchive, signed_in: SignedIn
) -> None:
    study, sent = stored(archive.admit("CT1"))
    client = signed_in("radiologist")
    with archive.destination("VIEW1", CONTEXTS) as received:
        page = client.get(f"/studies/{study.pk}/send/").content.decode()
        assert "VIEW1" in page and "CT1" not in page and "Chikomba" in page
        assert "VIEW1" in ask(client, study, "VIEW1")
        assert "waiting" in part(client, study)
        assert worker.work_once("test")
    assert received.objects == sent
    assert "VIEW1: sent 2 of 2" in part(client, study)
    assert exports() == [
        ("rradiologist", 0, {"receiver": "VIEW1", "objects": 2, "begun": True}),
        ("rradiologist", 0, {"receiver": "VIEW1", "objects": 2, "sent": 2, "failed": 0}),
    ]
    row = Event.objects.filter(code="110106").order_by("pk").last()
    assert row is not None and (row.patient_id, row.study_uid, row.address) == ("E-0001", study.uid, "127.0.0.1")
    assert "E-0001" not in str(Job.objects.get().payload) and study.uid not in str(Job.objects.get().payload)


def test_corrections_go_out_with_it(archive: RunningArchive, signed_in: SignedIn) -> None:
    study, _ = stored(archive.admit("CT1"), 1)
    correct.edit("STUDY", study.uid, {tag_of("StudyDescription"): ["ABDOMEN"]}, reason="wrong", actor="onai")
    with archive.destination("VIEW1", CONTEXTS) as received:
        ask(signed_in("records_officer"), study, "VIEW1")
        worker.work_once("test")
    [data] = received.objects.values()
    assert b"ABDOMEN" in data and b"CHEST" not in data


def test_what_is_asked_for_twice_is_sent_once(archive: RunningArchive, signed_in: SignedIn) -> None:
    study, sent = stored(archive.admit("CT1"), 1)
    client = signed_in("radiologist")
    with archive.destination("VIEW1", CONTEXTS) as received:
        ask(client, study, "VIEW1")
        assert "already" in ask(client, study, "VIEW1")
        assert Job.objects.count() == 1
        assert worker.work_once("test") and not worker.work_once("test")
        assert received.objects == sent
        ask(client, study, "VIEW1")  # whoever wants it again when it has been sent may have it again
    assert Job.objects.count() == 2


def test_a_device_that_was_away_is_tried_again(archive: RunningArchive, signed_in: SignedIn) -> None:
    study, sent = stored(archive.admit("CT1"), 1)
    client, port, came = signed_in("radiologist"), free_port(), dict[str, bytes]()
    archive.admit("VIEW1", port=port)
    ask(client, study, "VIEW1")
    worker.work_once("test")
    assert "waiting it did not answer" in part(client, study)
    assert len(exports()) == 1

    def keep(event: evt.Event) -> int:
        came[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0

    ae = AE(ae_title="VIEW1")
    ae.add_supported_context(CT, [EXPLICIT])
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    try:
        due_now()
        assert worker.work_once("test")
    finally:
        server.shutdown()
    assert came == sent
    assert "VIEW1: sent 1 of 1" in part(client, study)


def test_a_device_that_stays_away_is_given_up_after_a_day(archive: RunningArchive, signed_in: SignedIn) -> None:
    study, _ = stored(archive.admit("CT1"), 1)
    client = signed_in("radiologist")
    archive.admit("VIEW1", port=free_port())
    ask(client, study, "VIEW1")
    job = Job.objects.get()
    job.payload["until"] = (timezone.now() - timedelta(seconds=1)).isoformat()
    job.save()
    worker.work_once("test")
    assert Job.objects.get().state == Job.State.FAILED
    assert "failed 0 of 1 – the device did not answer" in part(client, study)
    assert exports()[-1] == ("rradiologist", 4, {"receiver": "VIEW1", "objects": 1, "sent": 0, "failed": 0})


def test_images_that_the_device_refuses_are_counted(archive: RunningArchive, signed_in: SignedIn) -> None:
    study, _ = stored(archive.admit("CT1"), 2)
    client, answers = signed_in("radiologist"), [0x0000, 0xA700]
    with archive.destination("VIEW1", CONTEXTS, lambda event: answers.pop()):
        ask(client, study, "VIEW1")
        worker.work_once("test")
    assert "failed 1 of 2 – the device refused some images" in part(client, study)
    assert exports()[-1][1:] == (4, {"receiver": "VIEW1", "objects": 2, "sent": 1, "failed": 1})


def test_who_has_lost_the_permission_by_then_sends_nothing(archive: RunningArchive, signed_in: SignedIn) -> None:
    study, _ = stored(archive.admit("CT1"), 1)
    client, other = signed_in("radiologist"), signed_in("pacs_admin")
    with archive.destination("VIEW1", CONTEXTS) as received:
        ask(client, study, "VIEW1")
        person = get_user_model()._default_manager.get(username="rradiologist")
        person.grants.update(ended_at=timezone.now())  # type: ignore[attr-defined]
        worker.work_once("test")
    assert not received.objects
    assert "failed – who asked may not send this study there any more" in part(other, study)
    actor, outcome, detail = exports()[-1]
    assert (actor, outcome, detail["sent"]) == ("rradiologist", 8, 0)


def test_what_is_out_of_reach_is_not_there(archive: RunningArchive, signed_in: SignedIn) -> None:
    study, _ = stored(archive.admit("CT1"), 1)
    archive.admit("VIEW1", port=free_port())
    archive.admit("SILENT", port=free_port(), may=("query",))
    url, stranger = f"/studies/{study.pk}/send/", signed_in("radiologist", facility="ELSEWHERE")
    archive.admit("VIEW9", port=free_port(), facility="ELSEWHERE")
    assert stranger.get(url).status_code == 404
    for device in ("VIEW1", "VIEW9"):
        assert stranger.post(url, {"device": number_of(device)}).status_code == 404
    own = signed_in("records_officer", facility=study.facility)
    assert "VIEW9" not in own.get(url).content.decode()
    for wrong in (number_of("VIEW9"), number_of("SILENT"), number_of("CT1"), 99999, "", "x", "9" * 40):
        assert own.post(url, {"device": wrong}).status_code == 404, wrong
    assert signed_in("referrer").post(url, {"device": number_of("VIEW1")}).status_code == 403
    assert not Job.objects.exists()


def test_the_page_of_the_study_offers_it_to_those_who_may(archive: RunningArchive, signed_in: SignedIn) -> None:
    study, _ = stored(archive.admit("CT1"), 1)
    for role, offered in (("radiographer", True), ("service", False)):
        page = signed_in(role).get(f"/studies/{study.pk}/")
        assert (f"/studies/{study.pk}/send/" in page.content.decode()) == offered, role


def test_of_two_who_ask_at_the_same_moment_one_is_enough(archive: RunningArchive, signed_in: SignedIn) -> None:
    study, _ = stored(archive.admit("CT1"), 1)
    archive.admit("VIEW1", port=free_port())
    signed_in("radiologist")
    person = get_user_model()._default_manager.get(username="rradiologist")
    who, number, together = of_person(person.pk), number_of("VIEW1"), Barrier(4)
    assert who is not None

    def click(_: int) -> bool:
        try:
            together.wait(20)
            return asked.ask(who, study.pk, number) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as people:
        assert sorted(people.map(click, range(4))) == [False, False, False, True]
    assert Job.objects.count() == 1


def test_of_a_study_that_is_reached_in_part_only_that_part_is_sent(
    archive: RunningArchive, signed_in: SignedIn
) -> None:
    caller = archive.admit("CT1")
    study, sent = stored(caller, 1)
    other = image(StudyInstanceUID=study.uid, Modality="MR", StudyDescription="CHEST")
    assert caller.store(encoded(other), CT, other.SOPInstanceUID)[0] == 0
    narrow, wide = signed_in("radiologist", modality="CT"), signed_in("pacs_admin")
    with archive.destination("VIEW1", CONTEXTS) as received:
        ask(narrow, study, "VIEW1")
        worker.work_once("test")
    assert received.objects == sent
    assert "VIEW1: sent 1 of 1" in part(narrow, study)
    with archive.destination("VIEW2", CONTEXTS) as received:
        ask(wide, study, "VIEW2")
        worker.work_once("test")
    assert len(received.objects) == 2
    assert "VIEW2: sent 2 of 2" in part(wide, study) and "VIEW2" not in part(narrow, study)
