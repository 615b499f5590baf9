"""Who was told success has no need to keep the object: whatever broke before, meanwhile, or breaks afterwards."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from pydicom.dataset import Dataset

from hozi.archive import index
from hozi.archive.arrived import Announced, Origin
from hozi.archive.exceptions import Reason, open_cases
from hozi.archive.index import Candidate, Verdict
from hozi.archive.models import ExceptionCase, Instance, StoredObject, Study
from hozi.archive.place import incoming
from hozi.archive.receive import Receiver, Result
from hozi.archive.verify import verify
from hozi.audit.models import Event
from hozi.audit.record import Code
from hozi.core.dicom import part10
from hozi.core.storage import FolderVolume
from hozi.settings import HOZI
from tests.archive.conftest import Counter
from tests.archive_running import arriving
from tests.dicom_files import file_bytes
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image
from tests.guards.rules import ROOT

SPARE_FILES = 32
"""So many files for arrivals are made at a time."""


def bring(counter: Counter, dataset: Dataset, device: str = "CT1", **origin: Any) -> Result:
    """Sends an object, as a device does; ``origin``: what is known of the device."""
    told = {"facility": "MAIN", "issuer": "MAIN", "calling_ae": device, **origin}
    announced = Announced(CT, str(dataset.SOPInstanceUID), EXPLICIT)
    return counter.receiver.receive(announced, Origin(actor=device, **told), [encoded(dataset)]).result


def objects() -> Path:
    """The folder of the store."""
    return HOZI.storage / "objects"


def stored_uids() -> set[str]:
    return set(Instance.objects.values_list("uid", flat=True))


def lost_by_a_stopped_process(*contents: bytes) -> list[Path]:
    """Files in the incoming area, of a process that is no more."""
    dead = incoming()
    paths = []
    for content in contents:
        arrival = dead.begin(content)
        arrival.complete(content)
        arrival.flush()
        paths.append(arrival.path)
    dead.close()
    return paths


# After a crash ----------------------------------------------------------------------------------------

# Takes in the dataset that lies in a file, as `hozi import` does, and is killed where it is told to be.
KILLED = """
import os, signal, sys
import django
django.setup()
from hozi.archive import index
from hozi.archive.arrived import Announced, Origin
from hozi.archive.receive import Receiver
from hozi.core.storage import FolderVolume

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

path, uid, where = sys.argv[1:]
owner, name = {
    "when all has come": (index, "add_together"),
    "before the commit": (index, "record_many"),
    "after the commit": (FolderVolume, "put"),
}[where]
setattr(owner, name, die)
origin = Origin(actor="clerk", address="", facility="MAIN", issuer="MAIN", source="import")
Receiver().receive(Announced("{CT}", uid, "{EXPLICIT}"), origin, [open(path, "rb").read()])
""".replace("{CT}", CT).replace("{EXPLICIT}", EXPLICIT)


def database_url() -> str:
    """How another process names the tests' database."""
    told = {name: str(value) for name, value in connection.settings_dict.items()}
    if connection.vendor == "sqlite":
        return f"sqlite:///{told['NAME']}"
    return f"postgresql://{told['USER']}:{told['PASSWORD']}@{told['HOST']}:{told['PORT']}/{told['NAME']}"


@pytest.mark.parametrize(
    ("where", "fate"),
    [("when all has come", "stored"), ("before the commit", "stored"), ("after the commit", "duplicate")],
)
def test_what_an_import_had_copied_whole_is_taken_in_after_a_crash(
    counter: Counter, tmp_path: Path, where: str, fate: str
) -> None:
    """The CD may be gone, and the import may have said that the object is in: only half a copy is thrown away."""
    dataset = image()
    (tmp_path / "dataset").write_bytes(encoded(dataset))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "dataset"), str(dataset.SOPInstanceUID), where],
        env={
            **{"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "hozi.settings"},
            **{"HOZI_HOME": str(HOZI.home), "HOZI_DATABASE_URL": database_url()},
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert killed.returncode == -9, killed.stderr
    assert len(arriving(HOZI.storage)) == 1
    assert not list(objects().rglob("*.dcm"))

    assert counter.receiver.take_in_leftovers() == {fate: 1}
    assert stored_uids() == {dataset.SOPInstanceUID}
    assert Event.objects.filter(code=Code.IMPORT, object_uid=dataset.SOPInstanceUID, actor="clerk").exists()
    [path] = objects().rglob("*.dcm")
    assert path.read_bytes().endswith(encoded(dataset))
    assert arriving(HOZI.storage) == []
    assert not list(open_cases())
    assert verify().clean
    assert counter.receiver.take_in_leftovers() == {}


def of_another_program(told: bytes) -> bytes:
    """A DICOM file whose private information this archive did not write."""
    dataset = image()
    return part10.write_header(CT, dataset.SOPInstanceUID, EXPLICIT, private_information=told) + encoded(dataset)


NOT_OURS = {
    "zeros": bytes(5000),
    "text": b"what is this?",
    "another program's image": file_bytes(image()),
    "cut in the header": of_another_program(b"{}")[:200],
    "private information of somebody else": of_another_program(b"their own"),
    "fields that nobody knows": of_another_program(b'{"colour": "blue"}'),
    "a list": of_another_program(b"[1, 2]"),
    "a number": of_another_program(b"5 "),
}


@pytest.mark.parametrize("content", NOT_OURS.values(), ids=NOT_OURS.keys())
def test_a_leftover_file_of_which_nothing_is_known_is_set_aside_unchanged(counter: Counter, content: bytes) -> None:
    """It may be somebody's only image, with its beginning lost: a person decides."""
    [path] = lost_by_a_stopped_process(content)
    assert counter.receiver.take_in_leftovers() == {"interrupted": 1}
    [case] = open_cases()
    assert (case.reason, case.quarantined, case.bytes) == (Reason.INTERRUPTED, True, len(content))
    assert (objects() / ExceptionCase.objects.get().key).read_bytes() == content
    assert not path.exists()
    assert not Instance.objects.exists()
    assert verify().clean


def test_one_leftover_that_cannot_be_settled_keeps_no_other_from_it(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [bytes([number]) * 1000 for number in range(3)]
    lost = lost_by_a_stopped_process(*contents)
    put = FolderVolume.put

    def put_or_fail(self: FolderVolume, source: str | Path, key: str) -> None:
        if Path(source) == sorted(lost)[0]:
            raise OSError(errno.EIO, "input/output error")
        put(self, source, key)

    with monkeypatch.context() as broken:
        broken.setattr(FolderVolume, "put", put_or_fail)
        assert counter.receiver.take_in_leftovers() == {"left": 1, "interrupted": 2}
    assert arriving(HOZI.storage) == [sorted(lost)[0]]
    assert {fault.kind for fault in verify().faults} == {"left", "missing"}
    assert counter.receiver.take_in_leftovers() == {"interrupted": 1}
    assert sorted(path.read_bytes() for path in objects().rglob("*.dcm")) == contents
    assert verify().clean


# A damaged first copy ---------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


DAMAGE = pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "gone"])


@DAMAGE
@pytest.mark.parametrize("device", ["CT1", "ANOTHER-SCANNER"])
def test_a_good_copy_from_anybody_takes_the_place_of_a_damaged_one(
    counter: Counter, damage: Callable[[Path], None], device: str
) -> None:
    dataset = image()
    assert bring(counter, dataset) is Result.STORED
    path = objects() / StoredObject.objects.get().key
    damage(path)
    assert not verify().clean
    assert bring(counter, dataset, device) is Result.DUPLICATE
    assert path.read_bytes().endswith(encoded(dataset))
    assert verify().clean
    assert arriving(HOZI.storage) == []


@DAMAGE
@pytest.mark.parametrize("device", ["CT1", "ANOTHER-SCANNER"])
def test_so_it_does_in_quarantine(counter: Counter, damage: Callable[[Path], None], device: str) -> None:
    dataset = image()
    other = image(SOPInstanceUID=dataset.SOPInstanceUID, PatientSex="M")
    assert bring(counter, dataset) is Result.STORED
    assert bring(counter, other) is Result.QUARANTINED
    path = objects() / ExceptionCase.objects.get().key
    damage(path)
    assert not verify().clean
    assert bring(counter, other, device) is Result.QUARANTINED
    assert path.read_bytes().endswith(encoded(other))
    assert verify().faults == []
    assert arriving(HOZI.storage) == []


# The order of things ----------------------------------------------------------------------------------


class Watched:
    """What this process asks of disk and database, in its order: (what, inode or path, bytes at that moment)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.happened: list[tuple[str, Any, bytes]] = []
        flush, sync, commit = os.fdatasync, os.fsync, BaseDatabaseWrapper._commit  # type: ignore[attr-defined]

        def flushed(handle: int) -> None:
            content = Path(f"/proc/self/fd/{handle}").read_bytes()
            flush(handle)
            time.sleep(0.05)  # a disk takes its time, and nobody may go on before it is through
            self.happened.append(("flush", os.fstat(handle).st_ino, content))

        def synced(handle: int) -> None:
            names = Path(f"/proc/self/fd/{handle}").resolve()
            inodes = {entry.inode() for entry in os.scandir(names)} if names.is_dir() else set()
            sync(handle)
            self.happened.append(("names", inodes, b""))

        def committed(database: BaseDatabaseWrapper) -> Any:
            done = commit(database)
            self.happened.append(("commit", 0, b""))
            return done

        monkeypatch.setattr(os, "fdatasync", flushed)
        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(BaseDatabaseWrapper, "_commit", committed)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.happened if kind != "names"]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    yield Watched(monkeypatch)


def quarantined_by_the_index(dataset: Dataset) -> Dataset:
    return image(SOPInstanceUID=dataset.SOPInstanceUID, PatientSex="M")


def quarantined_at_once(dataset: Dataset) -> Dataset:
    return image(StudyInstanceUID="1.02.no-uid")


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("then", [None, quarantined_by_the_index, quarantined_at_once])
def test_the_very_bytes_are_flushed_before_the_commit(
    counter: Counter, watched: Watched, then: Callable[[Dataset], Dataset] | None
) -> None:
    dataset = image()
    if then is not None:
        bring(counter, dataset)
        dataset = then(dataset)
        watched.happened.clear()
    result = bring(counter, dataset)
    assert result is (Result.STORED if then is None else Result.QUARANTINED)
    # A case is there before its place is described: both after the flush.
    assert watched.kinds == ["flush", "commit", *(["commit"] if then is not None else [])]
    [(inode, content)] = [(inode, content) for kind, inode, content in watched.happened if kind == "flush"]
    [path] = [path for path in objects().rglob("*.dcm") if path.stat().st_ino == inode]
    assert path.read_bytes() == content  # nothing was written after the flush: no header, no last block


def test_the_names_of_files_are_flushed_before_objects_come_into_them(counter: Counter, watched: Watched) -> None:
    known: set[int] = set()
    for number in range(SPARE_FILES + 2):
        watched.happened.clear()
        bring(counter, image(InstanceNumber=number))
        for kind, told, _ in watched.happened:
            if kind == "names":
                known |= told
            elif kind == "flush":
                assert told in known


def test_a_receivers_own_folder_is_there_after_a_power_cut(counter: Counter, watched: Watched) -> None:
    receiver = Receiver()
    try:
        folder = receiver._incoming.folder.stat().st_ino
        assert [folder in told for kind, told, _ in watched.happened if kind == "names"] == [True]
    finally:
        receiver.close()


def test_a_commit_is_on_the_disk_when_it_returns(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the connection is set up that commits what devices bring."""
    commit = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]
    asked: list[list[Any]] = []

    def committed(database: BaseDatabaseWrapper) -> Any:
        names = ("synchronous", "journal_mode") if database.vendor == "sqlite" else ("synchronous_commit", "fsync")
        verb = "PRAGMA" if database.vendor == "sqlite" else "SHOW"
        with database.cursor() as cursor:
            told = []
            for name in names:
                cursor.execute(f"{verb} {name}")
                told.append(cursor.fetchone()[0])
        asked.append(told)
        return commit(database)

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", committed)
    bring(counter, image())
    # Whether PostgreSQL flushes at all is the server's own setting; the tests' server is told not to.
    assert asked == [[2, "wal"]] if connection.vendor == "sqlite" else asked[0][0] == "on"


# A database that goes away ----------------------------------------------------------------------------


def away(batch: list[Candidate]) -> list[Verdict]:
    raise OperationalError("the database is away")


def committed_but_not_told(batch: list[Candidate]) -> list[Verdict]:
    add_together(batch)
    raise OperationalError("the connection broke before the answer came")


add_together = index.add_together


@pytest.mark.parametrize("failing", [away, committed_but_not_told])
@pytest.mark.parametrize("again", [True, False], ids=["the same again", "another"])
def test_what_came_while_the_database_was_away_goes_in_with_the_next_object(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, failing: Callable[..., Any], again: bool
) -> None:
    first, second = image(), image()
    with monkeypatch.context() as broken:
        broken.setattr(index, "add_together", failing)
        with pytest.raises(OperationalError):
            bring(counter, first)
    assert len(arriving(HOZI.storage)) == 1
    bring(counter, first if again else second)
    assert stored_uids() == ({first.SOPInstanceUID} if again else {first.SOPInstanceUID, second.SOPInstanceUID})
    assert verify().faults == []
    assert arriving(HOZI.storage) == []
    assert not counter.receiver._unsettled


def test_a_commit_whose_answer_got_lost_is_no_loss(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again at once, and the sender never hears of it."""
    answers = iter([committed_but_not_told])
    monkeypatch.setattr(index, "add_together", lambda batch: next(answers, add_together)(batch))
    dataset = image()
    assert bring(counter, dataset) in (Result.STORED, Result.DUPLICATE)
    assert stored_uids() == {dataset.SOPInstanceUID}
    assert verify().faults == []
    assert arriving(HOZI.storage) == []


# What came with it ------------------------------------------------------------------------------------


def test_a_program_in_front_of_what_goes_to_quarantine_is_no_case_of_its_own(counter: Counter, tmp_path: Path) -> None:
    """There is one question about that object already. What was in front of it is recorded all the same."""
    known = image()
    other = image(SOPInstanceUID=known.SOPInstanceUID, PatientSex="M")
    cd = tmp_path / "cd"
    cd.mkdir()
    for name, dataset in (("1.dcm", known), ("2.dcm", known), ("3.dcm", other)):
        (cd / name).write_bytes(file_bytes(dataset, preamble=b"MZ\x90\0" if name != "1.dcm" else b""))
    assert [seen.fate for seen in counter.bring(cd).files] == ["stored", "duplicate", "quarantined"]
    cases = {case.reason: (case.count, case.quarantined) for case in open_cases()}
    assert cases == {Reason.EXECUTABLE_PREAMBLE: (1, False), Reason.SAME_UID_OTHER_CONTENT: (1, True)}
    assert Event.objects.filter(code=Code.SECURITY_ALERT).count() == 2


def test_a_series_brought_into_another_facilitys_study_is_stored_and_told_once(counter: Counter) -> None:
    first = image()
    assert bring(counter, first) is Result.STORED
    same_study = {"StudyInstanceUID": first.StudyInstanceUID}
    guest = image(**same_study)
    same_series = {**same_study, "SeriesInstanceUID": guest.SeriesInstanceUID}
    for dataset in (guest, image(**same_series), image(**same_series)):
        assert bring(counter, dataset, "NORTH-CT", facility="NORTH") is Result.STORED
    [case] = open_cases()
    assert (case.reason, case.quarantined, case.count) == (Reason.STUDY_OF_OTHER_FACILITY, False, 1)
    assert (case.sop_instance_uid, case.actor) == (guest.SOPInstanceUID, "NORTH-CT")
    study = Study.objects.get()
    assert (study.facility, study.series_count, study.instance_count) == ("MAIN", 2, 4)
    assert verify().clean
    assert bring(counter, image(**same_study), facility="MAIN") is Result.STORED
    assert len(list(open_cases())) == 1  # its own facility's series is nothing to tell


@pytest.mark.parametrize("in_quarantine", [False, True], ids=["stored", "in quarantine"])
def test_copies_that_come_at_once_for_a_damaged_file_leave_file_and_index_in_line(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, in_quarantine: bool
) -> None:
    """Each has a header of another length: the index must say how long that of the file is that stays."""
    known = image()
    assert bring(counter, known, "FIRST") is Result.STORED
    dataset = image(SOPInstanceUID=known.SOPInstanceUID, PatientSex="M") if in_quarantine else known
    if in_quarantine:
        assert bring(counter, dataset, "FIRST") is Result.QUARANTINED
    row = ExceptionCase.objects.get() if in_quarantine else StoredObject.objects.get()
    flip(objects() / row.key)
    put = FolderVolume.put

    def slow(self: FolderVolume, source: Path, key: str) -> None:
        time.sleep(0.3)
        put(self, source, key)

    monkeypatch.setattr(FolderVolume, "put", slow)

    def store(device: str) -> None:
        try:
            bring(counter, dataset, device)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=store, args=(device,)) for device in ("CT1", "ANOTHER-SCANNER", "MAGNET")]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert verify().clean


def test_a_damaged_header_is_replaced_by_that_of_a_good_copy(counter: Counter) -> None:
    dataset = image()
    bring(counter, dataset)
    path = objects() / StoredObject.objects.get().key
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    assert [fault.kind for fault in verify().faults] == ["header"]
    assert bring(counter, dataset, "ANOTHER-SCANNER") is Result.DUPLICATE
    assert verify().clean
