"""What a killed program left behind is gone on with: whole objects come in, halves are set aside."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from hozi.archive import index
from hozi.archive.arrived import Announced, Origin
from hozi.archive.exceptions import Reason, open_cases
from hozi.archive.models import ExceptionCase, Instance, StoredObject
from hozi.archive.receive import Receiver
from hozi.archive.verify import verify
from hozi.core.storage import FolderVolume
from hozi.settings import HOZI
from tests.archive_running import RunningArchive, arriving
from tests.conftest import DATABASE_URL
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image

# Takes in the dataset that lies in a file, as a door does, and is killed when it has read so many bytes of it.
KILLED = """
import os, signal, sys
import django
django.setup()
from hozi.archive.arrived import Announced, Origin
from hozi.archive.receive import Receiver

path, enough, source, uid = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]

def chunks():
    data = open(path, "rb").read()
    yield data[:enough]
    os.kill(os.getpid(), signal.SIGKILL)

origin = Origin(actor="CT1", address="127.0.0.1", facility="MAIN", issuer="MAIN", source=source)
Receiver().receive(Announced("{CT}", uid, "{EXPLICIT}"), origin, chunks())
""".replace("{CT}", CT).replace("{EXPLICIT}", EXPLICIT)


@pytest.mark.database
@pytest.mark.parametrize(("source", "holder"), [("dimse", "the sender"), ("import", "the file")])
def test_half_an_object_is_set_aside(archive: RunningArchive, tmp_path: Path, source: str, holder: str) -> None:
    dataset = image(PixelData=bytes(2_000_000))
    (tmp_path / "dataset").write_bytes(encoded(dataset))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "dataset"), "1500000", source, str(dataset.SOPInstanceUID)],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "hozi.settings", "HOZI_HOME": str(HOZI.home)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert killed.returncode == -9, killed.stderr
    receiver = Receiver()
    try:
        assert receiver.take_in_leftovers() == {"interrupted": 1}
        assert receiver.take_in_leftovers() == {}
    finally:
        receiver.close()
    [case] = open_cases()
    assert (case.reason, case.sop_instance_uid) == (Reason.INTERRUPTED, dataset.SOPInstanceUID)
    assert f"{holder} has the object still" in case.explanation
    assert not Instance.objects.exists()
    assert arriving(HOZI.storage) == []


# Takes in the dataset of a file, as `hozi import` does; is killed after the commit, before the file has its name.
COMMITTED = """
import os, signal, sys
import django
django.setup()
from hozi.archive.arrived import Announced, Origin
from hozi.archive.receive import Receiver
from hozi.core.storage import FolderVolume

FolderVolume.put = lambda self, source, key: os.kill(os.getpid(), signal.SIGKILL)
origin = Origin(actor="clerk", address="", facility="MAIN", issuer="MAIN", source="import")
Receiver().receive(Announced("{CT}", sys.argv[2], "{EXPLICIT}"), origin, [open(sys.argv[1], "rb").read()])
""".replace("{CT}", CT).replace("{EXPLICIT}", EXPLICIT)


def run(script: str, *arguments: str | Path) -> None:
    """Runs a script on the tests' own archive until it is killed by itself."""
    url = f"sqlite:///{connection.settings_dict['NAME']}"
    if connection.vendor != "sqlite":
        url = urlsplit(DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    facts = {"DJANGO_SETTINGS_MODULE": "hozi.settings", "HOZI_HOME": str(HOZI.home), "HOZI_DATABASE_URL": url}
    killed = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | facts,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert killed.returncode == -9, killed.stderr


def take_in() -> dict[str, int]:
    receiver = Receiver()
    try:
        return receiver.take_in_leftovers()
    finally:
        receiver.close()


@pytest.mark.database
def test_what_an_import_has_committed_is_there_after_a_crash(archive: RunningArchive, tmp_path: Path) -> None:
    """Its file lies in the incoming area only, and the CD may be out of the drive."""
    dataset = image()
    (tmp_path / "dataset").write_bytes(encoded(dataset))
    run(COMMITTED, tmp_path / "dataset", str(dataset.SOPInstanceUID))
    assert [fault.kind for fault in verify().faults] == ["missing", "left"]
    assert take_in() == {"duplicate": 1}
    assert verify().clean
    assert verify().objects == 1
    got = archive.admit("CT1").get("IMAGE", SOPInstanceUID=dataset.SOPInstanceUID, classes=[(CT, [EXPLICIT])])
    assert got.objects == {dataset.SOPInstanceUID: encoded(dataset)}


def left_by_somebody(content: bytes) -> Path:
    """A file in the incoming folder of a process that is no more."""
    folder = HOZI.storage / "incoming" / "dead"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "file").write_bytes(content)
    return folder / "file"


@pytest.mark.database
def test_a_file_of_which_nothing_is_known_is_set_aside(archive: RunningArchive) -> None:
    path = left_by_somebody(b"\0" * 5000)
    assert take_in() == {"interrupted": 1}
    assert not path.exists()
    [case] = open_cases()
    assert (case.reason, case.bytes, case.quarantined) == (Reason.INTERRUPTED, 5000, True)
    assert verify().clean


@pytest.mark.database
def test_what_cannot_be_taken_in_now_stays_and_keeps_nobody_from_starting(
    archive: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = left_by_somebody(b"\0" * 5000)

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(FolderVolume, "put", fails)
        assert take_in() == {"left": 1}
    assert path.exists()
    assert take_in() == {"interrupted": 1}


def spoil(path: Path) -> None:
    """One bit of the last byte."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.database
@pytest.mark.parametrize("damage", [spoil, cut])
def test_a_good_copy_that_comes_again_takes_the_place_of_a_damaged_one(
    archive: RunningArchive, damage: Callable[[Path], None]
) -> None:
    """The sender is told success and may forget its own: what is then here must be sound."""
    ct1, dataset = archive.admit("CT1"), image()
    other = image(SOPInstanceUID=dataset.SOPInstanceUID, PatientSex="M")
    for _ in range(2):
        assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0x0000
        assert ct1.store(encoded(other), CT, dataset.SOPInstanceUID)[0] == 0xB000
        [stored] = StoredObject.objects.all()
        [aside] = ExceptionCase.objects.all()
        if not verify().clean:
            raise AssertionError("the second copies were dropped")
        for key in (stored.key, aside.key):
            damage(HOZI.storage / "objects" / key)
        assert len(verify().faults) == 2
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0x0000
    assert ct1.store(encoded(other), CT, dataset.SOPInstanceUID)[0] == 0xB000
    assert verify().clean


@pytest.mark.database
def test_nothing_commits_before_the_bytes_are_flushed(archive: RunningArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even what goes to quarantine; and the names of the files were flushed before anything came into them."""
    happened: list[str] = []
    flush, sync, commit = os.fdatasync, os.fsync, type(connections["default"])._commit

    def flushed(handle: int) -> None:
        flush(handle)
        if os.readlink(f"/proc/self/fd/{handle}").startswith(str(HOZI.storage / "incoming")):
            happened.append("flush")

    def synced(handle: int) -> None:
        sync(handle)
        happened.append("names")

    def committed(self: object) -> None:
        happened.append("commit")
        commit(self)

    monkeypatch.setattr(os, "fdatasync", flushed)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(type(connections["default"]), "_commit", committed)
    receiver = Receiver()
    try:
        for sop_class in (CT, "1.2.840.10008.5.1.4.1.1.4"):  # the second contradicts its dataset
            happened.clear()
            dataset = image()
            origin = Origin(actor="CT1", facility="MAIN", issuer="MAIN")
            receiver.receive(Announced(sop_class, dataset.SOPInstanceUID, EXPLICIT), origin, [encoded(dataset)])
            order = [one for one in happened if one != "names"]
            # What goes to quarantine has its place described in a transaction of its own, after the case is there.
            assert order == (["flush", "commit"] if sop_class == CT else ["flush", "commit", "commit"])
            assert happened[:1] == (["names"] if sop_class == CT else ["flush"])
    finally:
        receiver.close()


def test_a_commit_of_sqlite_is_flushed(db: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("not meant for another database than SQLite")
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        [(mode,)] = cursor.execute("PRAGMA journal_mode").fetchall()
    assert mode in ("wal", "memory")  # tests may run in memory


@pytest.mark.database
def test_what_came_while_the_database_was_away_goes_in_with_the_next(
    archive: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1, first, second = archive.admit("CT1"), image(), image()

    def away(*_: object) -> None:
        raise OperationalError("the database is away")

    with monkeypatch.context() as broken:
        broken.setattr(index, "add_together", away)
        assert ct1.store(encoded(first), CT, first.SOPInstanceUID)[0] == 0x0110
    assert len(arriving(HOZI.storage)) == 1
    assert ct1.store(encoded(second), CT, second.SOPInstanceUID)[0] == 0x0000
    assert set(Instance.objects.values_list("uid", flat=True)) == {first.SOPInstanceUID, second.SOPInstanceUID}
    assert arriving(HOZI.storage) == []
    assert verify().clean


@pytest.mark.database
def test_a_disk_that_is_full_when_it_is_flushed_is_answered_as_full(
    archive: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1, one = archive.admit("CT1"), image()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", full)
        assert ct1.store(encoded(one), CT, one.SOPInstanceUID)[0] == 0xA700
    assert (arriving(HOZI.storage), Instance.objects.count()) == ([], 0)
    assert ct1.store(encoded(one), CT, one.SOPInstanceUID)[0] == 0x0000
    assert verify().clean


@contextmanager
def full_database() -> Iterator[None]:
    """The database has no room to grow, and says so itself (SQLite's code 13, PostgreSQL's 53100)."""
    if connection.vendor == "sqlite":

        def limit(connection: BaseDatabaseWrapper, **_: object) -> None:
            connection.cursor().execute("PRAGMA max_page_count = 1")  # or as many as there are now

        connection_created.connect(limit)
        try:
            yield
        finally:
            connection_created.disconnect(limit)
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$"
        )
        cursor.execute("CREATE TRIGGER no_room BEFORE INSERT ON archive_instance EXECUTE FUNCTION no_room()")
        try:
            yield
        finally:
            cursor.execute("DROP FUNCTION no_room CASCADE")


@pytest.mark.database
def test_a_database_that_has_no_room_is_answered_as_full_and_keeps_nothing_of_the_refused(
    archive: RunningArchive,
) -> None:
    ct1, first = archive.admit("CT1"), image()
    assert ct1.store(encoded(first), CT, first.SOPInstanceUID)[0] == 0x0000
    several = [image() for _ in range(400)]
    with full_database():
        # Some find room in pages that are there.
        answers: list[int] = []
        while answers[-3:] != [0xA700] * 3:
            one = several[len(answers)]
            answers.append(ct1.store(encoded(one), CT, one.SOPInstanceUID)[0])
        assert set(answers) <= {0x0000, 0xA700}
        assert arriving(HOZI.storage) == []
    tried = several[: len(answers)]
    for one in tried:
        assert ct1.store(encoded(one), CT, one.SOPInstanceUID)[0] == 0x0000
    assert Instance.objects.count() == 1 + len(tried)
    assert verify().clean


@pytest.mark.database
def test_what_is_committed_and_could_not_get_its_place_gets_it_with_the_next(
    archive: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1, first, second = archive.admit("CT1"), image(), image()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(FolderVolume, "put", full)
        assert ct1.store(encoded(first), CT, first.SOPInstanceUID)[0] == 0xA700
    assert len(arriving(HOZI.storage)) == 1
    assert ct1.store(encoded(second), CT, second.SOPInstanceUID)[0] == 0x0000
    assert arriving(HOZI.storage) == []
    assert verify().clean


@pytest.mark.database
def test_a_large_object_is_flushed_before_the_database_is_locked_for_it(
    archive: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct1 = archive.admit("CT1")
    flushed: list[bool] = []
    flush, lock = os.fdatasync, index.add_together

    def slowly(handle: int) -> None:
        time.sleep(0.3)
        flush(handle)
        flushed.append(True)

    def added(batch: Sequence[index.Candidate]) -> list[index.Verdict]:
        flushed.append(False)
        return lock(batch)

    monkeypatch.setattr(os, "fdatasync", slowly)
    monkeypatch.setattr(index, "add_together", added)
    one = image(PixelData=bytes(9 << 20))
    assert ct1.store(encoded(one), CT, one.SOPInstanceUID)[0] == 0x0000
    assert flushed == [True, False]
