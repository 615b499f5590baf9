"""The database is gone, or older than the files: what lies in the store comes back, all of it, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection, connections
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from hozi.archive.adopt import Adoption, adopt
from hozi.archive.arrived import Announced, Origin
from hozi.archive.exceptions import Reason
from hozi.archive.models import (
    ExceptionCase,
    Instance,
    NameWord,
    Patient,
    SequenceValue,
    Series,
    StoredObject,
    Study,
)
from hozi.archive.receive import Receipt, Receiver, Result
from hozi.archive.verify import verify
from hozi.audit.models import Event
from hozi.settings import HOZI
from tests.archive.conftest import Counter
from tests.conftest import DATABASE_URL
from tests.corpus import CORPUS
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image

pytestmark = pytest.mark.database

#: What identifies a row whatever its number is, and when it was written.
ROWS: dict[type[Any], tuple[str, ...]] = {
    Patient: ("issuer", "patient_id", "alone", "name", "name_alphabetic_key", "birth_date", "sex", "attributes"),
    Study: (
        *("uid", "patient__patient_id", "patient__issuer", "patient_name", "patient_attributes", "facility", "date"),
        *("time_key", "accession_number", "study_id", "description", "series_count", "instance_count", "attributes"),
    ),
    Series: ("uid", "study__uid", "modality", "number", "instance_count", "attributes"),
    Instance: ("uid", "series__uid", "sop_class", "number", "attributes"),
    StoredObject: (
        *("instance__uid", "key", "sha256", "header_sha256", "dataset_offset", "length"),
        "transfer_syntax",
    ),
    NameWord: ("study__uid", "word", "sound"),
    SequenceValue: ("study__uid", "series__uid", "instance__uid", "sequence", "item", "element", "value"),
    ExceptionCase: (
        *("reason", "sop_class", "sop_instance_uid", "study_uid", "transfer_syntax", "key", "sha256"),
        *("dataset_offset", "length", "facility", "actor", "address", "state"),
    ),
}


def index() -> dict[str, list[str]]:
    """All that the index says, without row numbers and times."""
    return {
        model.__name__: sorted(repr(sorted(row.items())) for row in model.objects.values(*columns))
        for model, columns in ROWS.items()
    }


def lose(**only: Any) -> None:
    """The rows are gone: all of them, or those of the objects that ``only`` selects."""
    gone = list(Instance.objects.filter(**only).values_list("pk", flat=True))
    StoredObject.objects.filter(instance__in=gone).delete()
    SequenceValue.objects.filter(instance__in=gone).delete()
    Instance.objects.filter(pk__in=gone).delete()
    Series.objects.filter(instances=None).delete()
    Study.objects.filter(series=None).delete()
    Patient.objects.filter(studies=None).delete()
    if not only:
        ExceptionCase.objects.all().delete()
        Event.objects.all().delete()
    for series in Series.objects.all():
        Series.objects.filter(pk=series.pk).update(instance_count=series.instances.count())
    for study in Study.objects.all():
        counts = Instance.objects.filter(series__study=study).count()
        Study.objects.filter(pk=study.pk).update(instance_count=counts, series_count=study.series.count())


def files() -> dict[str, tuple[bytes, int]]:
    """Every file of the store, with its content and its time."""
    objects = HOZI.storage / "objects"
    return {
        str(path.relative_to(objects)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in objects.rglob("*")
        if path.is_file()
    }


def send(
    counter: Counter, dataset: Dataset | bytes, uid: str = "", facility: str = "MAIN", issuer: str = "MAIN"
) -> Receipt:
    """A dataset arrives from the scanner CT1."""
    data = dataset if isinstance(dataset, bytes) else encoded(dataset)
    uid = uid or (str(dataset.SOPInstanceUID) if isinstance(dataset, Dataset) else "1.2.3")
    origin = Origin(actor="CT1", address="192.0.2.7", facility=facility, issuer=issuer, calling_ae="CT1")
    return counter.receiver.receive(Announced(CT, uid, EXPLICIT), origin, [data])


def path_of(uid: str) -> Path:
    """Where the object of this SOP Instance UID lies."""
    return HOZI.storage / "objects" / StoredObject.objects.get(instance__uid=uid).key


def a_minute_between_arrivals() -> None:
    """Files' times tell who came first. The clock that makes them is coarser than a test is fast."""
    for row in StoredObject.objects.order_by("pk"):
        os.utime(HOZI.storage / "objects" / row.key, (1_700_000_000 + 60 * row.pk,) * 2)


def again() -> Adoption:
    """`adopt`, which must add up and must touch no file."""
    before = files()
    adoption = adopt(actor="alois")
    assert files() == before
    assert adoption.found == len(before) == sum(adoption.counts.values())
    return adoption


def contradictory(first: Dataset) -> list[tuple[Dataset | bytes, str, Reason]]:
    """Datasets that are kept aside beside the first one: each with its announced UID and its reason."""
    study, series = str(first.StudyInstanceUID), str(first.SeriesInstanceUID)
    uid = str(first.SOPInstanceUID)
    same = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    return [
        (image(SOPInstanceUID=uid, InstanceNumber=99, **same), uid, Reason.SAME_UID_OTHER_CONTENT),
        (image(StudyInstanceUID=study, PatientID="OTHER"), "", Reason.STUDY_OF_OTHER_PATIENT),
        (image(SeriesInstanceUID=series), "", Reason.SERIES_OF_OTHER_STUDY),
        (image(), "1.2.3.4", Reason.CONTRADICTS_COMMAND),
        (image(SeriesInstanceUID=None), "", Reason.INVALID_IDENTIFIERS),
        (encoded(image())[:-10], "1.2.3.5", Reason.UNREADABLE),
    ]


def test_an_empty_database_gets_everything_back_as_it_was(counter: Counter) -> None:
    studies = [image(PatientID=f"P{number}") for number in range(3)]
    for study in studies:
        for _ in range(4):
            uids = {"StudyInstanceUID": study.StudyInstanceUID, "SeriesInstanceUID": study.SeriesInstanceUID}
            assert send(counter, image(PatientID=study.PatientID, **uids)).result is Result.STORED
        send(counter, study)
    for dataset, uid, reason in contradictory(studies[0]):
        assert send(counter, dataset, uid).reason is reason
    before = index()
    lose()
    assert not Instance.objects.exists()
    adoption = again()
    assert index() == before
    assert (adoption.counts["adopted"], adoption.exceptions, adoption.clean) == (15 + 6, 6, False)
    assert {seen.fate for seen in adoption.problems} == {"exception"}
    assert verify().clean


def test_the_whole_corpus_comes_back_as_it_was(counter: Counter) -> None:
    imported = counter.bring(CORPUS)
    a_minute_between_arrivals()
    before = index()
    assert len(before["Instance"]) > 200
    lose()
    again()
    assert index() == before
    assert len(before["StoredObject"]) == imported.counts["stored"]
    assert verify().clean


def test_a_database_of_yesterday_gets_what_came_today_and_keeps_what_it_has(counter: Counter) -> None:
    study = image()
    for number in range(6):
        send(counter, image(StudyInstanceUID=study.StudyInstanceUID, InstanceNumber=number))
    before = index()
    kept = set(Instance.objects.filter(number__lt=3).values_list("pk", flat=True))
    lose(number__gte=3)
    assert [fault.kind for fault in verify().faults] == ["unindexed"] * 3
    adoption = again()
    assert adoption.counts == {"known": 3, "adopted": 3}
    assert adoption.clean
    assert index() == before
    assert kept <= set(Instance.objects.values_list("pk", flat=True))
    assert verify().clean


def test_a_second_run_finds_everything_known_and_writes_nothing(counter: Counter) -> None:
    first = image()
    send(counter, first)
    for dataset, uid, _ in contradictory(first):
        send(counter, dataset, uid)
    lose()
    again()
    before, events = index(), Event.objects.count()
    counts = list(ExceptionCase.objects.values_list("pk", "count"))
    second = again()
    assert (second.counts, second.clean) == ({"known": 7}, True)
    assert (index(), Event.objects.count()) == (before, events)
    assert list(ExceptionCase.objects.values_list("pk", "count")) == counts


def test_every_adopted_object_leaves_a_trace_of_who_adopted_it_and_who_had_sent_it(counter: Counter) -> None:
    first = image()
    send(counter, first)
    send(counter, encoded(first)[:-10], "1.2.3.5")
    lose()
    again()
    traces = {event.object_uid: event for event in Event.objects.all()}
    assert set(traces) == {str(first.SOPInstanceUID), "1.2.3.5"}
    for event in traces.values():
        assert (event.actor, event.action, event.detail["adopted"]) == ("alois", "C", True)
        assert (event.detail["sent_by"], event.detail["sent_from"]) == ("CT1", "192.0.2.7")
    stored, kept_aside = traces[str(first.SOPInstanceUID)], traces["1.2.3.5"]
    assert (stored.outcome, stored.patient_id, stored.study_uid) == (0, "E-0001", first.StudyInstanceUID)
    assert (kept_aside.outcome, kept_aside.detail["reason"]) == (4, "unreadable")


# What is not sound, or not ours ----------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def other_name_in_header(path: Path) -> None:
    """The UID that the header announces becomes another one; the dataset stays."""
    data = path.read_bytes()
    at = data.index(b"\x02\x00\x03\x00UI") + 8
    path.write_bytes(data[:at] + b"9" + data[at + 1 :])


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a bit of the dataset": (lambda path: flip(path, -1), "not those that its name stands for"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "not those that its name stands for"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "not those that its name stands for"),
    "the header's end": (lambda path: path.write_bytes(path.read_bytes()[:140]), ""),
    "the header's mark": (lambda path: flip(path, 128), ""),
    "the header's private information": (lambda path: flip(path, path.read_bytes().index(b'{"')), "did not write"),
    "the header's UID": (other_name_in_header, "its header does not fit its dataset"),
    "empty": (lambda path: path.write_bytes(b""), ""),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_file_that_is_not_what_was_stored_is_named_and_left_alone(
    counter: Counter, damage: Callable[[Path], Any], reason: str
) -> None:
    spoiled, sound = image(), image()
    send(counter, spoiled)
    send(counter, sound)
    path = path_of(spoiled.SOPInstanceUID)
    lose()
    damage(path)
    adoption = again()
    assert adoption.counts == {"adopted": 1, "damaged": 1}
    [problem] = adoption.problems
    assert (problem.fate, problem.key) == ("damaged", str(path.relative_to(HOZI.storage / "objects")))
    assert reason in problem.reason
    assert [one.uid for one in Instance.objects.all()] == [sound.SOPInstanceUID]


def test_a_transfer_that_was_cut_off_is_told_from_an_object_that_came_broken(counter: Counter) -> None:
    """What a killed listener leaves behind: its header says that no whole dataset ever came."""
    data = encoded(image(PixelData=bytes(500_000)))

    def cut_off() -> Iterator[bytes]:
        yield data[:400_000]
        [arriving] = [path for path in (HOZI.storage / "incoming").rglob("*") if path.is_file() and path.stat().st_size]
        left = HOZI.storage / "incoming" / "left" / arriving.name
        left.parent.mkdir()
        shutil.copy(arriving, left)
        raise ConnectionError

    origin = Origin(actor="CT1", address="192.0.2.7", facility="MAIN", issuer="MAIN", calling_ae="CT1")
    with pytest.raises(ConnectionError):
        counter.receiver.receive(Announced(CT, "1.2.3.5", EXPLICIT), origin, cut_off())
    assert counter.receiver.take_in_leftovers() == {"interrupted": 1}
    assert send(counter, data[:400_000], "1.2.3.6").reason is Reason.UNREADABLE
    nameless = HOZI.storage / "incoming" / "nameless" / "0123"
    nameless.parent.mkdir()
    nameless.write_bytes(bytes(4096))  # the header had not reached the disk either
    assert counter.receiver.take_in_leftovers() == {"interrupted": 1}
    before = index()
    lose()
    again()
    assert index() == before
    assert len(before["ExceptionCase"]) == 3


def test_what_is_not_ours_is_named_and_left_alone(counter: Counter) -> None:
    dataset = image()
    send(counter, dataset)
    objects = HOZI.storage / "objects"
    ours = path_of(dataset.SOPInstanceUID)
    shutil.copy(ours, objects / "copy.dcm")
    (objects / "IMAGES").mkdir()
    (objects / "IMAGES" / "IM 0001\u202e").write_bytes(encoded(image()))
    shutil.copy(ours, objects / "IMAGES" / ours.name)
    adoption = again()
    assert adoption.counts == {"known": 1, "not ours": 3}
    assert not adoption.clean
    assert Instance.objects.count() == 1


def test_what_was_kept_aside_never_becomes_an_image_by_itself(counter: Counter) -> None:
    """The object that it contradicted is gone; that a person was to decide stays true."""
    first = image()
    send(counter, first)
    same = image(SOPInstanceUID=first.SOPInstanceUID, InstanceNumber=99)
    assert send(counter, same).reason is Reason.SAME_UID_OTHER_CONTENT
    path_of(first.SOPInstanceUID).unlink()
    lose()
    adoption = again()
    assert (adoption.counts, adoption.exceptions) == ({"adopted": 1}, 1)
    assert not Instance.objects.exists()
    assert not Patient.objects.exists()
    [case] = ExceptionCase.objects.all()
    assert (case.reason, case.sop_instance_uid) == (Reason.UNEXPLAINED, first.SOPInstanceUID)
    assert verify().clean


def test_the_like_of_a_known_exception_is_told_and_not_counted_again(counter: Counter) -> None:
    first = image()
    send(counter, first)
    same = image(SOPInstanceUID=first.SOPInstanceUID, InstanceNumber=99)
    send(counter, same)
    ExceptionCase.objects.all().delete()
    assert send(counter, same).reason is Reason.SAME_UID_OTHER_CONTENT
    for _ in range(2):
        adoption = again()
        assert adoption.counts == {"known": 3}
        [problem] = adoption.problems
        assert problem.reason.startswith("holds the same as quarantine/")
        [case] = ExceptionCase.objects.all()
        assert case.count == 1


def test_what_is_at_odds_with_what_came_since_is_an_exception_in_its_place(counter: Counter) -> None:
    lost = image()
    send(counter, lost)
    key = StoredObject.objects.get().key
    lose()
    newer = image(SOPInstanceUID=lost.SOPInstanceUID, InstanceNumber=99)
    assert send(counter, newer).result is Result.STORED
    adoption = again()
    assert adoption.counts == {"known": 1, "adopted": 1}
    [case] = ExceptionCase.objects.all()
    assert (case.reason, case.key) == (Reason.SAME_UID_OTHER_CONTENT, key)
    assert verify().clean
    assert again().counts == {"known": 2}


def test_a_study_belongs_again_to_the_facility_that_sent_it_first(counter: Counter) -> None:
    study = generate_uid()
    for facility in ("SOUTH", "NORTH", "EAST", "WEST", "NORTH"):
        send(counter, image(StudyInstanceUID=study), facility=facility)
    a_minute_between_arrivals()
    lose()
    again()
    assert [one.facility for one in Study.objects.all()] == ["SOUTH"]


# Meanwhile -------------------------------------------------------------------------------------------

KILLED = """
import os, signal, django
django.setup()
from hozi.archive.adopt import adopt

def progress(found):
    if found >= 40:
        os.kill(os.getpid(), signal.SIGKILL)

adopt(actor="alois", progress=progress)
"""


def database_url() -> str:
    """The tests' own database, as a program is told of it."""
    name = connection.settings_dict["NAME"]
    return urlsplit(DATABASE_URL)._replace(path=f"/{name}").geturl() if DATABASE_URL else f"sqlite:///{name}"


def test_killed_in_the_middle_it_goes_on(counter: Counter) -> None:
    study = generate_uid()
    for number in range(100):
        send(counter, image(StudyInstanceUID=study, InstanceNumber=number))
    before = index()
    lose()
    environment = {
        "DJANGO_SETTINGS_MODULE": "hozi.settings",
        "HOZI_HOME": str(HOZI.home),
        "HOZI_DATABASE_URL": database_url(),
    }
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = Instance.objects.count()
    assert 0 < done < 100
    assert Study.objects.get().instance_count == done == Event.objects.count()
    assert again().counts == {"known": done, "adopted": 100 - done}
    assert index() == before
    assert verify().clean


def test_devices_store_meanwhile_and_two_may_run_at_once(counter: Counter) -> None:
    study = generate_uid()
    for number in range(60):
        send(counter, image(StudyInstanceUID=study, InstanceNumber=number))
    lose()
    results: list[Result] = []
    adoptions: list[Adoption] = []

    def storing() -> None:
        receiver = Receiver()
        mine = Counter(receiver, counter.journals)
        try:
            results.extend(send(mine, image(StudyInstanceUID=study, InstanceNumber=n)).result for n in range(100, 160))
        finally:
            receiver.close()
            connections.close_all()

    def adopting() -> None:
        try:
            adoptions.append(adopt(actor="alois"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for work in (storing, adopting, adopting)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [Result.STORED] * 60
    assert len(adoptions) == 2
    assert not [problem for adoption in adoptions for problem in adoption.problems]
    assert sum(adoption.counts["adopted"] for adoption in adoptions) == 60
    assert Study.objects.get().instance_count == Instance.objects.count() == 120
    assert not ExceptionCase.objects.exists()
    assert verify().clean
