"""A new device is tried step by step; all evidence is what the archive itself saw. With DCMTK's clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileDataset, FileMetaDataset

from hozi.accounts.authorise import Held, Scope, Who, of_operator
from hozi.archive import brought
from hozi.audit.models import Event
from hozi.core.errors import NotThere, Refused
from hozi.doors.dimse import acceptance as trials
from hozi.doors.dimse import commitment  # noqa: F401 - registers the job that reports
from hozi.facilities import acceptance, devices
from hozi.facilities.acceptance import Step, Trial
from hozi.facilities.heard import EARS
from hozi.jobs import worker
from tests.archive_running import Caller, RunningArchive
from tests.doors.dimse.images import CT, EXPLICIT, IMPLICIT, SC, encoded, image
from tests.doors.dimse.test_commitment import ask, due_now, listening
from tests.peers import free_port

ADMIN = "Alois Administrator"
EVERYBODY = of_operator()
VERIFICATION = "1.2.840.10008.1.1"


def begun(name: str = "CT1") -> Trial:
    return acceptance.begin(name, actor=ADMIN)


def step(trial: Trial, key: str) -> Step:
    EARS.write(everything=True)
    return trials.look(trial.number).step(key)


def file_of(folder: Path, **elements: Any) -> Path:
    dataset = image(**elements)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = EXPLICIT
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset["PixelData"].VR = "OB"
    FileDataset(str(path), dict(dataset.items()), file_meta=meta, preamble=b"\0" * 128).save_as(path)
    return path


@pytest.mark.dcmtk
def test_a_scanner_walks_all_steps_and_is_accepted(archive: RunningArchive, tmp_path: Path) -> None:
    received = tmp_path / "received"
    received.mkdir()
    with archive.storescp("CT1", received) as came:
        trial = begun()
        assert {one.key: one.state for one in trials.look(trial.number).steps} == dict.fromkeys(
            acceptance.STEPS, "waiting"
        )

        assert trials.call(trial.number).step("echo").state == "passed"
        assert trials.send(trial.number, actor=ADMIN).step("send").state == "passed"
        assert len(came()) == 1

        assert archive.dcmtk("echoscu").returncode == 0
        assert step(trial, "call").evidence[0].endswith("it called from 127.0.0.1")
        assert step(trial, "names").state == "passed"

        picture = file_of(tmp_path, StudyInstanceUID="1.2.3.4")
        assert archive.dcmtk("storescu", picture).returncode == 0
        assert "1 image arrived" in step(trial, "store").evidence[0]
        assert brought.by(EVERYBODY, "studies.open", "CT1", trial.since) is not None

        archive.dcmtk("findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=E-0001")
        assert step(trial, "query").evidence[0].endswith("it searched at level study: 1 match")

        archive.dcmtk("movescu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3.4")
        assert step(trial, "retrieve").evidence[0].endswith("1 image sent to CT1")
        assert len(came()) == 2

        open_steps = [one.key for one in trials.look(trial.number).steps if not one.done]
        assert open_steps == ["commitment"]
        with pytest.raises(Refused, match="Not done yet: The device asks whether its images are safe"):
            trials.sign(trial.number, version=trial.version, actor=ADMIN)
        left = acceptance.leave_out(trial.number, "commitment", "it has no such function", actor=ADMIN)
        signed = trials.sign(trial.number, version=left.version, actor=ADMIN)
    assert signed.accepted
    assert all(one.evidence or one.reason for one in signed.steps)


def test_commitment_is_seen_from_the_question_to_the_answer(archive: RunningArchive) -> None:
    with listening() as (scanner, port):
        ct1 = archive.admit("CT1", port=port)
        dataset = image()
        assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
        trial = begun()
        assert step(trial, "commitment").state == "waiting"
        assert ask(ct1, [(CT, str(dataset.SOPInstanceUID))]) == 0
        asked = step(trial, "commitment")
        assert (asked.state, asked.explanation) == ("waiting", "The answer is on its way.")
        assert worker.work_once("test")
        assert scanner.arrived.wait(30)
        assert step(trial, "commitment").state == "passed"
        assert step(trial, "commitment").evidence[1].endswith("told that all are safe here")


def test_an_answer_that_cannot_be_delivered_says_why(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1", port=free_port())
    dataset = image()
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    trial = begun()
    assert ask(ct1, [(CT, str(dataset.SOPInstanceUID))]) == 0
    due_now()
    assert worker.work_once("test")
    failed = step(trial, "commitment")
    assert failed.state == "failed"
    assert "could not be delivered" in failed.explanation
    assert "nothing listens at this port" in failed.technical


def test_what_it_did_before_the_trial_is_no_evidence(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1")
    dataset = image()
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    assert len(ct1.find("STUDY", PatientName="")) == 1
    EARS.write(everything=True)
    trial = begun()
    for key in ("names", "call", "store", "query", "retrieve"):
        assert step(trial, key).state == "waiting", key
        assert step(trial, key).advice, key
    assert brought.by(EVERYBODY, "studies.open", "CT1", trial.since) is None


def test_the_image_that_came_is_shown_to_those_who_may_look_at_it(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1")
    trial = begun()
    dataset = image()
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    assert brought.by(EVERYBODY, "studies.open", "CT1", trial.since) is not None
    elsewhere = Who("person", "olga", held=(Held(frozenset({"studies.open"}), Scope(facility="ELSEWHERE")),))
    assert brought.by(elsewhere, "studies.open", "CT1", trial.since) is None


def test_what_a_device_may_not_do_is_left_out_by_itself(archive: RunningArchive) -> None:
    archive.admit("CT1", may=["store"])
    steps = {one.key: one for one in trials.look(begun().number).steps}
    left_out = {key: one.reason for key, one in steps.items() if one.state == "left_out"}
    assert left_out == {
        "echo": "it has no port here at which it could be called",
        "send": "it may not be sent images",
        "query": "it may not search here",
        "retrieve": "it may not fetch images here",
        "commitment": "it has no port here to which the answer could be sent",
    }


def test_a_wrong_name_on_the_scanner_is_said_in_words_until_it_is_put_right(archive: RunningArchive) -> None:
    archive.admit("CT1")
    trial = begun()
    with pytest.raises(AssertionError, match="did not accept"):
        Caller(archive, "CT1", called="HOZI1").find("STUDY")
    for key in ("names", "call"):
        failed = step(trial, key)
        assert failed.state == "failed"
        assert failed.explanation == "CT1 calls this archive HOZI1; its name is HOZI."
        assert failed.technical.startswith("A-ASSOCIATE-RJ 1/1/7")
    Caller(archive, "CT1").find("STUDY", PatientName="")
    assert step(trial, "call").state == "passed"
    assert step(trial, "names").state == "passed"


def test_a_passcode_that_was_not_entered_is_said_in_words(archive: RunningArchive) -> None:
    archive.admit("CT1", username="ct1", passcode="granary")
    trial = begun()
    with pytest.raises(AssertionError, match="did not accept"):
        Caller(archive, "CT1").find("STUDY")
    assert "did not present the user name" in step(trial, "call").explanation


def test_failures_of_each_service_are_said_in_words(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1")
    trial = begun()
    dataset = image()
    assert ct1.store(encoded(dataset)[:-9], CT, dataset.SOPInstanceUID)[0] == 0xC000
    failed = step(trial, "store")
    assert failed.state == "failed"
    assert failed.explanation == "It sent an image, which was not taken in as it is: unreadable."
    assert ct1.ask(image(QueryRetrieveLevel="NOTHING"))[0][-1] != 0
    assert step(trial, "query").state == "failed"
    assert "It searched, and was not answered" in step(trial, "query").explanation


@pytest.mark.parametrize(
    ("taken", "sop_class", "syntax"),
    [
        ([(CT, [EXPLICIT])], CT, EXPLICIT),
        ([(CT, [IMPLICIT])], CT, IMPLICIT),
        ([(SC, [IMPLICIT])], SC, IMPLICIT),
    ],
)
def test_the_test_image_goes_in_a_way_that_the_device_takes(
    archive: RunningArchive, taken: list[tuple[str, list[str]]], sop_class: str, syntax: str
) -> None:
    with archive.destination("VIEW1", taken) as moved:  # type: ignore[arg-type]
        sent = trials.send(begun("VIEW1").number, actor=ADMIN).step("send")
    assert sent.state == "passed"
    assert [str(request.AffectedSOPClassUID) for request in moved.requests] == [sop_class]
    assert list(moved.syntaxes.values()) == [syntax]
    [event] = Event.objects.filter(detail__receiver="VIEW1")
    assert (event.actor, event.detail["sent"]) == (ADMIN, 1)


def test_a_device_that_does_not_take_the_test_image_is_told_apart(archive: RunningArchive) -> None:
    with archive.destination("VIEW1", [(VERIFICATION, [EXPLICIT])]):
        number = begun("VIEW1").number
        sent = trials.send(number, actor=ADMIN).step("send")
        assert (sent.state, "neither CT images nor" in sent.explanation) == ("failed", True)
    sent = trials.send(number, actor=ADMIN).step("send")
    assert "nothing listens at port" in sent.explanation
    with archive.destination("VIEW2", [(CT, [EXPLICIT])], lambda event: 0xA700):
        sent = trials.send(begun("VIEW2").number, actor=ADMIN).step("send")
        assert "refused it" in sent.explanation
        assert "A700H" in sent.technical


def test_a_trial_of_what_is_gone_or_over_does_nothing(archive: RunningArchive) -> None:
    archive.admit("CT1", port=free_port())
    trial = begun()
    acceptance.give_up(trial.number, actor=ADMIN)
    with pytest.raises(Refused, match="is over"):
        trials.call(trial.number)
    trial = begun()
    devices.remove("CT1", actor=ADMIN)
    with pytest.raises(NotThere):
        trials.send(trial.number, actor=ADMIN)
    assert trials.look(trial.number).name == "CT1"
