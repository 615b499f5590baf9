"""An import that meets the archive's own files does not touch them, under whatever name it meets them.

Whoever closes a file of SQLite's database gives up all locks that the process has on it (POSIX locks), and the next
process writes over what this one is writing: so these files are not even opened.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from hozi.archive import media
from hozi.archive.bring import Seen
from hozi.archive.models import Instance
from hozi.settings import HOZI
from tests.archive.conftest import Counter
from tests.dicom_files import write, write_dicomdir

OWN = ("refused", "belongs to this archive itself (HOZI_HOME)")

# Another process that would write, if it were let.
WRITES = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    database.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""


@dataclass
class Own:
    """The archive's own places, each in another folder: as settings can have it."""

    home: Path
    storage: Path
    database: Path

    @property
    def database_files(self) -> list[Path]:
        return sorted(self.database.parent.iterdir())

    @property
    def locked(self) -> bool:
        """Whether the transaction that this process has begun still keeps others from writing."""
        done = subprocess.run([sys.executable, "-c", WRITES, self.database], capture_output=True, text=True, timeout=60)
        return done.stdout == "database is locked\n"


@pytest.fixture(params=["WAL", "DELETE"])
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Own]:
    """An archive that is being written: a transaction is open on its database."""
    root = tmp_path / "all"
    places = Own(root / "home", root / "disk" / "store", root / "fast" / "hozi.sqlite3")
    settings = HOZI.model_copy(
        update={
            "home": places.home,
            "storage_url": places.storage.as_uri(),
            "database_url": f"sqlite:///{places.database}",
        }
    )
    write(places.home / "secret.dcm")
    write(places.storage / "objects" / "00" / "stored.dcm")
    places.database.parent.mkdir()
    monkeypatch.setattr(media, "HOZI", settings)
    media._own_folders.cache_clear()
    with closing(sqlite3.connect(places.database, isolation_level=None)) as database:
        database.execute(f"PRAGMA journal_mode={request.param}")
        database.execute("CREATE TABLE t (x)")
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO t VALUES (1)")
        yield places
    media._own_folders.cache_clear()


def everything_around(own: Own, cd: Path) -> list[Path]:
    return [cd.parent]


def named_directly(own: Own, cd: Path) -> list[Path]:
    inside = [own.home / "secret.dcm", own.storage / "objects", own.storage / "objects" / "00" / "stored.dcm"]
    return [cd, own.home, own.storage, *inside, *own.database_files]


def links_in_the_folder(own: Own, cd: Path) -> list[Path]:
    for number, path in enumerate([own.home, own.storage, own.storage / "objects", *own.database_files]):
        (cd / f"link{number}.dcm").symlink_to(path)
    (cd / "again").symlink_to("link0.dcm")
    return [cd]


def links_named_directly(own: Own, cd: Path) -> list[Path]:
    links_in_the_folder(own, cd)
    return sorted(cd.iterdir())


def hard_links(own: Own, cd: Path) -> list[Path]:
    for number, path in enumerate(own.database_files):
        os.link(path, cd / f"linked{number}.dcm")
    os.link(own.database, cd / "linked.zip")
    return [cd, *sorted(cd.glob("linked*"))]


def a_way_around(own: Own, cd: Path) -> list[Path]:
    return [cd, cd / ".." / "home" / "secret.dcm", cd / ".." / "fast" / "hozi.sqlite3"]


def named_by_a_dicomdir(own: Own, cd: Path) -> list[Path]:
    write_dicomdir(cd.parent / "DICOMDIR", [["CD", "IMAGE.DCM"], ["HOME", "SECRET.DCM"], ["FAST", "HOZI.SQLITE3"]])
    return [cd.parent / "DICOMDIR"]


WAYS = (
    everything_around,
    named_directly,
    links_in_the_folder,
    links_named_directly,
    hard_links,
    a_way_around,
    named_by_a_dicomdir,
)


@pytest.mark.parametrize("way", WAYS)
def test_its_own_files_are_refused_unread_and_the_others_come_in(
    counter: Counter, own: Own, tmp_path: Path, way: Callable[[Own, Path], list[Path]]
) -> None:
    dataset = write(tmp_path / "all" / "cd" / "image.dcm")
    paths = way(own, tmp_path / "all" / "cd")
    assert own.locked
    seen = counter.bring(*paths).files
    assert own.locked
    others, rest = partition(seen)
    assert {fate for fate, _ in others} == {"stored"}
    assert len(rest) >= 2
    assert {(one.fate, one.reason) for one in rest} == {OWN}
    assert list(Instance.objects.values_list("uid", flat=True)) == [dataset.SOPInstanceUID]


def partition(files: list[Seen]) -> tuple[set[tuple[str, str]], list[Seen]]:
    """What became of the image, and everything else."""
    image = {(one.fate, one.reason) for one in files if one.name.lower().endswith("cd/image.dcm")}
    return image, [one for one in files if not one.name.lower().endswith("cd/image.dcm")]


def test_what_only_looks_like_its_own_comes_in(counter: Counter, own: Own, tmp_path: Path) -> None:
    """A folder with a name that begins so; a file that has a second name, as backups by hard links give it."""
    write(tmp_path / "all" / "home-of-images" / "1.dcm")
    write(tmp_path / "all" / "home-of-images" / "home" / "2.dcm")
    os.link(tmp_path / "all" / "home-of-images" / "1.dcm", tmp_path / "all" / "home-of-images" / "3.dcm")
    fates = [seen.fate for seen in counter.bring(tmp_path / "all" / "home-of-images").files]
    assert sorted(fates) == ["duplicate", "stored", "stored"]
