"""`hozi adopt`, as the person types it who has just put yesterday's database back, or lost it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hozi.archive.models import Instance
from hozi.archive.place import volume
from hozi.settings import HOZI
from tests.archive.test_adopt import lose
from tests.dicom_files import write
from tests.doors.cli.conftest import Command
from tests.doors.cli.test_serve import SECONDS, Archive, call, send
from tests.doors.dimse.images import image

pytestmark = pytest.mark.database


@pytest.fixture
def objects(transactional_db: None) -> Iterator[Path]:
    """The store in the tests' home folder, empty."""
    for folder in ("objects", "incoming", "scratch"):
        shutil.rmtree(HOZI.storage / folder, ignore_errors=True)
    volume.cache_clear()
    yield HOZI.storage / "objects"


@pytest.fixture
def archive(tmp_path: Path, own_database: str) -> Iterator[Archive]:
    """A home of its own, for programs that are started."""
    archive = Archive(tmp_path / "home", own_database)
    yield archive
    for process in archive.processes:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=SECONDS)


def test_verify_says_what_helps_and_it_helps(hozi: Command, objects: Path, tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "in" / f"{number}.dcm")
    assert hozi("import", str(tmp_path / "in")).code == 0
    assert "hozi adopt" not in hozi("verify").out
    lose()
    found = hozi("verify")
    assert found.code == 1
    assert found.out.count("is a file that the index does not know") == 3
    assert "`hozi adopt` takes in what the index does not know" in found.out
    answer = hozi("adopt")
    assert (answer.code, answer.out) == (0, "3 adopted + 0 known + 0 damaged + 0 not ours = 3 found\n")
    assert hozi("verify").code == 0
    answer = hozi("adopt", "--json")
    assert answer.code == 0
    assert answer.json == {
        **{"found": 3, "adopted": 0, "known": 3, "damaged": 0, "not_ours": 0},
        **{"exceptions": 0, "problems": []},
    }


def test_what_needs_a_person_is_named_and_the_exit_code_says_so(hozi: Command, objects: Path, tmp_path: Path) -> None:
    first = write(tmp_path / "in" / "1.dcm")
    write(tmp_path / "in" / "2.dcm", StudyInstanceUID=first.StudyInstanceUID, PatientID="OTHER")
    write(tmp_path / "in" / "3.dcm")
    hozi("import", str(tmp_path / "in"))
    [damaged] = Instance.objects.exclude(uid=first.SOPInstanceUID).values_list("stored__key", flat=True)
    [quarantined] = (path.relative_to(objects) for path in (objects / "quarantine").rglob("*.dcm"))
    lose()
    (objects / damaged).write_bytes((objects / damaged).read_bytes()[:-1])
    (objects / "odd\x1b[2J\n.dcm").write_bytes(b"what is this?")
    answer = hozi("adopt")
    assert answer.code == 1
    told = answer.out.splitlines()
    assert f"damaged: {damaged}: its bytes are not those that its name stands for" in told
    assert "not ours: odd\\x1b[2J\\n.dcm: its name is none that this archive gives" in told
    [exception] = [line for line in told if line.startswith(f"exception: {quarantined} (")]
    assert exception.endswith("study-of-other-patient: the study belongs to another patient in the archive")
    assert told[-2:] == [
        "1 of the adopted ones is an exception: `hozi exceptions` lists it.",
        "2 adopted + 0 known + 1 damaged + 1 not ours = 4 found",
    ]
    told_again = hozi("adopt", "--json")
    assert told_again.code == 1
    assert [problem["fate"] for problem in told_again.json["problems"]] == ["damaged", "not ours"]
    assert hozi("exceptions", "--json").json[0]["reason"] == "study-of-other-patient"


def stored(archive: Archive, count: int) -> set[str]:
    """A scanner stores so many images; their SOP Instance UIDs."""
    association = call(archive.ready("dimse")["port"])
    assert association.is_established
    with closing(association.dul.socket.socket):
        images = [image() for _ in range(count)]
        assert [send(association, one) for one in images] == [0] * count
        association.release()
    return {str(one.SOPInstanceUID) for one in images}


def test_after_yesterdays_database_was_put_back_one_command_brings_today_back(archive: Archive, tmp_path: Path) -> None:
    if not archive.facts["HOZI_DATABASE_URL"].startswith("sqlite"):
        pytest.skip("not meant for PostgreSQL: the copy of the database is a copy of a file")
    database = Path(archive.facts["HOZI_DATABASE_URL"].removeprefix("sqlite://"))
    archive.run("device", "add", "CT1", "--ae", "CT1", "--host", "127.0.0.1")
    first = archive.start("--only", "dimse")
    stored(archive, 3)
    with closing(sqlite3.connect(database)) as running, closing(sqlite3.connect(tmp_path / "yesterday")) as copy:
        running.backup(copy)
    stored(archive, 5)
    first.terminate()
    first.communicate(timeout=SECONDS)

    for part in database.parent.glob(f"{database.name}*"):
        part.unlink()
    shutil.copy(tmp_path / "yesterday", database)
    archive.start("--only", "dimse")
    since = stored(archive, 2)  # it runs, and devices store
    answer = archive.run("adopt")
    assert (answer.returncode, answer.stdout) == (0, "5 adopted + 5 known + 0 damaged + 0 not ours = 10 found\n")
    assert len(since) == 2
    verified = archive.run("verify")
    assert verified.returncode == 0
    assert verified.stdout.startswith("10 objects ")
