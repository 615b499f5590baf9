"""A request that is refused leaves a row in the audit: who asked, from where, and why it was refused."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import DatabaseError, connection

from hozi.accounts.authorise import EVERYTHING
from hozi.archive import receive
from hozi.archive.models import StoredObject
from hozi.audit.models import Event
from hozi.audit.record import Code, Outcome
from hozi.doors.dimse import find
from hozi.facilities import devices, places
from hozi.facilities.models import Device
from hozi.settings import HOZI
from tests.archive.stock import of_facilities
from tests.archive_running import Caller, RunningArchive, identifier
from tests.doors.cli.conftest import program
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image
from tests.doors.dimse.test_commitment import ask, listening, stored


def refused(status: str) -> list[tuple[str, str, str]]:
    """Code, actor and address of what the audit says about requests that were refused with that status."""
    rows = Event.objects.filter(detail__status=status, outcome=Outcome.MINOR_FAILURE)
    return list(rows.values_list("code", "actor", "address"))


def test_unknown_destinations_and_bad_identifiers(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1")
    ct1.move("STUDY", "NOBODY", StudyInstanceUID="1.2.3")
    assert refused("A801") == [(Code.INSTANCES_TRANSFERRED, "CT1", "127.0.0.1")]
    ct1.ask(identifier("", PatientName="*"))
    ct1.move("STUDY", "CT1", StudyInstanceUID="")
    assert set(refused("A900")) == {
        (Code.QUERY, "CT1", "127.0.0.1"),
        (Code.INSTANCES_TRANSFERRED, "CT1", "127.0.0.1"),
    }


def test_a_device_that_may_do_nothing(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1", may=())
    dataset = image()
    ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)
    ct1.find("STUDY", PatientName="")
    ct1.get("STUDY", StudyInstanceUID="1.2.3", classes=[(CT, [EXPLICIT])])
    told = Event.objects.filter(detail__status="0124").order_by("pk")
    assert list(told.values_list("code", "action", "object_uid")) == [
        (Code.INSTANCES_TRANSFERRED, "C", dataset.SOPInstanceUID),
        (Code.QUERY, "E", ""),
        (Code.INSTANCES_TRANSFERRED, "R", ""),
    ]


@pytest.mark.parametrize("setting", [{"max_object_bytes": 100}, {"min_free_bytes": 1 << 62}])
def test_objects_for_which_there_is_no_room(
    archive: RunningArchive, setting: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1 = archive.admit("CT1")
    monkeypatch.setattr(receive, "HOZI", HOZI.model_copy(update=setting))
    dataset = image()
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0xA700
    assert refused("A700") == [(Code.INSTANCES_TRANSFERRED, "CT1", "127.0.0.1")]


def test_commitment_that_is_accepted_or_refused(archive: RunningArchive) -> None:
    with listening() as (_, port):
        ct1 = archive.admit("CT1", port=port)
        held = stored(ct1)
        assert ask(ct1, [held], "1.2.99") == 0
        assert ask(ct1, []) == 0x0115
    assert refused("0115") == [(Code.INSTANCES_ACCESSED, "CT1", "127.0.0.1")]
    assert Event.objects.filter(detail__commitment="1.2.99", outcome=Outcome.SUCCESS).count() == 1


def two_facilities(archive: RunningArchive) -> tuple[Caller, Caller]:
    places.add("NORTH", "North Hospital", actor="test")
    return archive.admit("CT1", facility="MAIN"), archive.admit("CT2", facility="NORTH")


def test_another_facility_s_study_is_not_there_but_was_asked_for(archive: RunningArchive) -> None:
    ct1, ct2 = two_facilities(archive)
    dataset = image()
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    names = {"StudyInstanceUID": str(dataset.StudyInstanceUID)}
    theirs = ct2.get("STUDY", classes=[(CT, [EXPLICIT])], **names)
    nothing = ct2.get("STUDY", classes=[(CT, [EXPLICIT])], StudyInstanceUID="1.2.3.4")
    assert (theirs.status, theirs.objects) == (nothing.status, nothing.objects) == (0, {})
    rows = Event.objects.filter(code=Code.SECURITY_ALERT, actor="CT2")
    assert [row.detail["objects"] for row in rows] == [1]


def test_a_series_for_another_facility_s_study_is_stored_and_a_person_is_told(
    archive: RunningArchive, report: Callable[[], list[str]]
) -> None:
    ct1, ct2 = two_facilities(archive)
    first = image(IssuerOfPatientID="MAIN")
    series = image(IssuerOfPatientID="MAIN", StudyInstanceUID=first.StudyInstanceUID)
    second = image(
        IssuerOfPatientID="MAIN", StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=series.SeriesInstanceUID
    )
    assert ct1.store(encoded(first), CT, first.SOPInstanceUID)[0] == 0
    for dataset in (series, second):
        assert ct2.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    assert report() == ["study-of-other-facility"]
    [found] = ct1.find("STUDY", StudyInstanceUID=first.StudyInstanceUID, NumberOfStudyRelatedInstances="")
    assert found.NumberOfStudyRelatedInstances == 3


@pytest.fixture
def report() -> Callable[[], list[str]]:
    from hozi.archive.exceptions import open_cases

    return lambda: [case.reason for case in open_cases()]


def test_commitment_tells_of_another_facility_s_object_only_to_who_brought_it(archive: RunningArchive) -> None:
    from hozi.archive import commitment

    ct1, ct2 = two_facilities(archive)
    first = image(IssuerOfPatientID="MAIN")
    brought = image(IssuerOfPatientID="MAIN", StudyInstanceUID=first.StudyInstanceUID)
    assert ct1.store(encoded(first), CT, first.SOPInstanceUID)[0] == 0
    assert ct2.store(encoded(brought), CT, brought.SOPInstanceUID)[0] == 0
    pairs = [(CT, str(first.SOPInstanceUID)), (CT, str(brought.SOPInstanceUID))]
    failures = commitment._failures(pairs, "CT2", of_facilities(["NORTH"]))
    assert failures == {pairs[0][1]: commitment.NO_SUCH_OBJECT_INSTANCE}
    assert commitment._failures(pairs, "CT1", of_facilities(["MAIN"])) == {}
    assert commitment._failures(pairs, "PACS2", EVERYTHING) == {}


def test_a_device_is_known_at_once_when_another_process_admits_it(archive: RunningArchive) -> None:
    archive.admit("CT1")
    assert not devices.recent()
    assert archive.admit("CT1B", name="other").find("STUDY", PatientName="") == []
    from hozi.facilities.models import Device

    row = Device.objects.get(name="other")
    row.pk, row.name, row.ae_title, row.port, row.may_receive = None, "VIEW1", "VIEW1", 11112, True
    row.save()  # as another process would: nothing here is told of it
    assert devices.destination("VIEW1") is not None
    assert Caller(archive, "VIEW1").find("STUDY", PatientName="") == []
    assert not devices.recent()


def test_a_device_that_may_not_retrieve_or_ask_for_commitment(archive: RunningArchive) -> None:
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]) as moved:
        ct1 = archive.admit("CT1", may=())
        assert ct1.move("STUDY", "VIEW1", StudyInstanceUID="1.2.3")[-1][0].Status == 0x0124
        assert ask(ct1, [(CT, "1.2.3")]) == 0x0124
    assert moved.objects == {}
    assert refused("0124") == [
        (Code.INSTANCES_TRANSFERRED, "CT1", "127.0.0.1"),
        (Code.INSTANCES_ACCESSED, "CT1", "127.0.0.1"),
    ]


def test_who_may_do_one_thing_may_not_do_the_others(archive: RunningArchive) -> None:
    brings, asks = archive.admit("CT1", may=("store",)), archive.admit("VIEW1", may=("query",))
    dataset = image()
    assert brings.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    assert brings.ask(identifier("STUDY", PatientName=""))[0] == [0x0124]
    assert asks.store(encoded(image()), CT, "1.2.3")[0] == 0x0124
    assert asks.get("STUDY", StudyInstanceUID=dataset.StudyInstanceUID, classes=[(CT, [EXPLICIT])]).status == 0x0124
    assert [actor for _, actor, _ in refused("0124")] == ["CT1", "VIEW1", "VIEW1"]
    assert StoredObject.objects.count() == 1


def test_another_facility_s_study_cannot_be_sent_anywhere_either(archive: RunningArchive) -> None:
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]) as moved:
        ct1, ct2 = two_facilities(archive)
        dataset = image()
        assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
        final, _ = ct2.move("STUDY", "VIEW1", StudyInstanceUID=str(dataset.StudyInstanceUID))[-1]
        assert (final.Status, moved.objects) == (0, {})
        [row] = Event.objects.filter(code=Code.SECURITY_ALERT, actor="CT2")
        assert (row.address, row.outcome, row.detail["objects"]) == ("127.0.0.1", Outcome.MINOR_FAILURE, 1)
        # Who may see it gets it, and nobody is alarmed.
        assert ct1.move("STUDY", "VIEW1", StudyInstanceUID=str(dataset.StudyInstanceUID))[-1][0].Status == 0
    assert list(moved.objects) == [dataset.SOPInstanceUID]
    assert Event.objects.filter(code=Code.SECURITY_ALERT, detail__reason="out of reach").count() == 1


def test_the_log_of_what_was_refused_and_failed_names_no_patient(
    archive: RunningArchive, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise DatabaseError("duplicate key: (Chikomba^Rutendo, 19791112)")

    ct1 = archive.admit("CT1")
    nobody = archive.admit("CT9", may=())
    dataset = image()
    with caplog.at_level(logging.DEBUG):
        assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
        assert nobody.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0x0124
        other = image(SOPInstanceUID=dataset.SOPInstanceUID, PatientComments="Chikomba again")
        assert ct1.store(encoded(other), CT, other.SOPInstanceUID)[0] == 0xB000
        assert ct1.store(encoded(dataset)[:-9], CT, dataset.SOPInstanceUID)[0] == 0xC000
        ct1.ask(identifier("", PatientName="Chikomba^Rutendo"))
        ct1.ask(identifier("STUDY", PatientName="Chikomba^R*"))
        (HOZI.storage / "objects" / StoredObject.objects.get(instance__uid=dataset.SOPInstanceUID).key).unlink()
        ct1.get("STUDY", StudyInstanceUID=dataset.StudyInstanceUID, classes=[(CT, [EXPLICIT])])
        monkeypatch.setattr(find, "find", fail)
        assert ct1.ask(identifier("STUDY", PatientName="Chikomba^Rutendo"))[0] == [0x0110]
    ours = [record for record in caplog.records if record.name.startswith("hozi")]
    told = "\n".join(logging.Formatter().format(record) for record in ours)
    assert "an object cannot be given" in told
    assert "incident" in told
    assert not [word for word in ("Chikomba", "Rutendo", "19791112", "A-77", "duplicate") if word in told]


def test_a_device_that_another_process_admits_is_served_at_its_next_call(
    archive: RunningArchive, tmp_path: Path
) -> None:
    where = urlsplit(os.environ.get("HOZI_DATABASE_URL") or "sqlite:///")
    name = str(connection.settings_dict["NAME"])
    database = f"sqlite:///{name}" if where.scheme == "sqlite" else where._replace(path=f"/{name}").geturl()

    def hozi(*arguments: str) -> None:
        done = program("device", *arguments, HOZI_HOME=str(tmp_path / "home"), HOZI_DATABASE_URL=database)
        assert done.returncode == 0, done.stderr

    ct1 = archive.admit("CT1")
    dataset = image()
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    stranger = Caller(archive, "VIEW1")
    with pytest.raises(AssertionError, match="did not accept"):
        stranger.find("STUDY", PatientName="")
    [knock] = devices.recent()
    hozi("admit", str(knock.pk), "Viewer")
    assert len(stranger.find("STUDY", PatientName="")) == 1
    hozi("add", "Scanner", "--ae", "CT7", "--host", "127.0.0.1")
    assert len(Caller(archive, "CT7").find("STUDY", PatientName="")) == 1
    assert devices.recent() == []


def test_a_destination_that_was_admitted_elsewhere_is_sent_to_at_once(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1")
    dataset = image()
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    names: dict[str, Any] = {"StudyInstanceUID": str(dataset.StudyInstanceUID)}
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]) as moved:
        row = Device.objects.get(ae_title="VIEW1")
        Device.objects.filter(pk=row.pk).delete()
        devices.forget()
        assert ct1.move("STUDY", "VIEW1", **names)[-1][0].Status == 0xA801
        row.save(force_insert=True)  # as another process would: nothing here is told of it
        assert ct1.move("STUDY", "VIEW1", **names)[-1][0].Status == 0
    assert list(moved.objects) == [dataset.SOPInstanceUID]
