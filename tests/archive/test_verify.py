"""`verify` names what index and disk disagree about, each once, and nothing else."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from django.utils import timezone

from hozi.archive.models import Instance, Series, StoredObject, Study
from hozi.archive.verify import verify
from hozi.core.storage import FolderVolume
from hozi.settings import HOZI
from tests.archive_running import Caller, RunningArchive
from tests.doors.dimse.images import CT, encoded, image

pytestmark = pytest.mark.database


@pytest.fixture
def ct1(archive: RunningArchive) -> Caller:
    caller, dataset = archive.admit("CT1"), image(SeriesInstanceUID="1.2.4", StudyInstanceUID="1.2.3")
    assert caller.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    assert verify().clean
    return caller


def faults() -> list[tuple[str, str]]:
    return sorted((fault.kind, fault.object) for fault in verify().faults)


def test_series_and_counts_that_are_wrong(ct1: Caller) -> None:
    Series.objects.create(uid="1.2.5", study=Study.objects.get())
    assert faults() == [("count", "1.2.3"), ("count", "1.2.5")]  # the study does not count the empty series
    Study.objects.update(series_count=2)
    assert faults() == [("count", "1.2.5")]
    Series.objects.get(uid="1.2.5").delete()
    assert faults() == [("count", "1.2.3")]


def test_an_object_that_is_only_half_in_the_index(ct1: Caller) -> None:
    series = Series.objects.get()
    Instance.objects.create(uid="1.2.9", series=series, sop_class=CT, received_at=timezone.now())
    Series.objects.update(instance_count=2)
    Study.objects.update(instance_count=2)
    assert faults() == [("incomplete", "1.2.9")]


def test_a_file_that_the_disk_cannot_read(ct1: Caller) -> None:
    stored = StoredObject.objects.get()
    path = HOZI.storage / "objects" / stored.key
    path.unlink()
    path.mkdir()
    while path.stat().st_size != stored.dataset_offset + stored.length:  # a folder says how long it is, too
        StoredObject.objects.update(length=path.stat().st_size - stored.dataset_offset)
        stored.refresh_from_db()
    assert faults() == [("unreadable", Instance.objects.get().uid)]


def test_a_file_that_a_stopped_process_left(ct1: Caller) -> None:
    folder = HOZI.storage / "incoming" / "dead"
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "spare").touch()
    (folder / "file").write_bytes(b"something")
    assert [(fault.kind, fault.key) for fault in verify().faults] == [("left", "file")]


def test_what_arrives_meanwhile_is_no_fault(ct1: Caller) -> None:
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            dataset = image(StudyInstanceUID="1.2.3")
            ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        for _ in range(10):
            assert verify().faults == []
    finally:
        stop.set()
        thread.join()
    assert Instance.objects.count() > 1


def test_a_file_that_takes_its_time_to_its_place_is_no_fault(ct1: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between commit and its name nobody may think it lost: not what is stored, not what goes to quarantine."""
    put, reached, looked = FolderVolume.put, threading.Event(), threading.Event()

    def slow(self: FolderVolume, source: Path, key: str) -> None:
        reached.set()
        assert looked.wait(60)
        put(self, source, key)

    size = FolderVolume.size

    def size_and_tell(self: FolderVolume, key: str) -> int | None:
        found = size(self, key)
        if found is None:
            looked.set()  # it was missed; when it is looked at again, it is there
        return found

    other = image(StudyInstanceUID="1.2.3", PatientID="OTHER")
    for dataset, status in ((image(StudyInstanceUID="1.2.3"), 0), (other, 0xB000)):
        reached.clear()
        looked.clear()
        with monkeypatch.context() as watched:
            watched.setattr(FolderVolume, "put", slow)
            watched.setattr(FolderVolume, "size", size_and_tell)
            told: list[int] = []
            send = ct1.store
            data, uid = encoded(dataset), str(dataset.SOPInstanceUID)
            thread = threading.Thread(target=lambda: told.append(send(data, CT, uid)[0]))  # noqa: B023 - joined below
            thread.start()
            try:
                assert reached.wait(60)
                assert verify().faults == []
            finally:
                looked.set()
                thread.join()
        assert told == [status]
    assert (verify().objects, verify().quarantined, verify().faults) == (2, 1, [])


def test_a_file_that_the_disk_cannot_even_look_up_does_not_stop_it(ct1: Caller) -> None:
    dataset = image()
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    stored = StoredObject.objects.get(instance__uid=dataset.SOPInstanceUID)
    path = HOZI.storage / "objects" / stored.key
    path.unlink()
    path.symlink_to(path.name)
    assert faults() == [("unreadable", str(dataset.SOPInstanceUID))]
    assert verify().objects == 2
