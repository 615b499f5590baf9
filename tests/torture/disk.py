"""The disk fills up in the middle: senders are told, nothing is lost, and it goes on by itself when there is room."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from hozi.core.dimse import status
from tests.torture import checking
from tests.torture.ledger import Ledger, UnderWay
from tests.torture.objects import Maker
from tests.torture.rounds import Say, Tally
from tests.torture.running import Archive, Broken
from tests.torture.senders import AE, Sender

_SENDERS: Final = 3
_SECONDS: Final = 90.0
_BLOCK: Final = 1 << 16
_MARGIN: Final = 1 << 30
_TMPFS_MIB: Final = 64
_KILLED: Final = ", killed while full"

#: What may be answered while the disk is full: nothing but that it is. What was under way may still be stored.
_WHILE_FULL: Final = {status.SUCCESS, status.OUT_OF_RESOURCES, status.COERCION_OF_DATA_ELEMENTS}


class Room(Protocol):
    """A place for images that can be filled up."""

    def fill(self) -> None:
        """Takes the room away."""

    def make_room(self) -> None:
        """Gives it back."""


class LittleLeft:
    """An ordinary disk and `HOZI_MIN_FREE_BYTES`: a file is made so large that less is free than must be.

    The margins are wide, because others use the disk at the same time.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._filler = folder / "filler"
        self._free = shutil.disk_usage(folder).free
        self.min_free = max(self._free - _MARGIN, 0)

    @property
    def settings(self) -> dict[str, str]:
        """What the archive has to be told."""
        return {"HOZI_MIN_FREE_BYTES": str(self.min_free)}

    def fill(self) -> None:
        """See `Room.fill`."""
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2 * _MARGIN)  # reserved, not written

    def make_room(self) -> None:
        """See `Room.make_room`."""
        self._filler.unlink()

    def close(self) -> None:
        """Leaves nothing behind."""
        self._filler.unlink(missing_ok=True)
        self._filler.parent.rmdir()


class NoneLeft:
    """A small disk that is full to the last block."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        """See `Room.fill`."""
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(_BLOCK))

    def make_room(self) -> None:
        """See `Room.make_room`."""
        self._filler.unlink()


class _Trial:
    """One archive whose disk fills up."""

    def __init__(self, archive: Archive, room: Room, seed: int, tally: Tally) -> None:
        self._archive = archive
        self._room = room
        self._seed = seed
        self._tally = tally
        self.ledger = Ledger()
        self._enough = threading.Event()
        self._caught: list[UnderWay] = []

    def run(self, *, kill: bool) -> checking.Findings:
        """Fills the disk while senders send, kills the archive meanwhile if asked to, and makes room again."""
        archive, ledger = self._archive, self.ledger
        archive.start_and_wait()
        senders = self._senders()
        for sender in senders:
            sender.start()
        try:
            self._expect(lambda: ledger.successes >= 30, "nothing is stored before the disk is full")
            self._room.fill()
            self._expect_refusals()
            known = dict(ledger.acknowledged)
            findings = checking.acknowledged(archive, ledger, known)  # what is there can be had while it is full
            if kill:
                archive.before_kill = lambda: self._caught.extend(ledger.all_under_way())
                archive.kill_group()
                self._tally.kills += 1
                archive.start()
                time.sleep(2 * archive.startup_seconds)
            self._room.make_room()
            stored = ledger.successes
            self._expect(lambda: ledger.successes >= stored + 30, "nothing is stored after room was made")
        finally:
            self._enough.set()
            for sender in senders:
                sender.join()
        self._tally.struck(self._caught)
        archive.wait_until_ready()
        odd = {code for code in ledger.statuses if code not in _WHILE_FULL}
        findings.faults.extend(f"{ledger.statuses[code]} senders were answered {code:04X}" for code in sorted(odd))
        if odd or not kill:
            # What failed in the middle stays in the incoming area until the next start.
            archive.kill_group()
            self._tally.kills += 1
            archive.start_and_wait()
        findings.add(checking.complete(archive, ledger))
        return findings

    def _senders(self) -> list[Sender]:
        rng = random.Random(f"disk/{self._seed}")
        makers = [Maker(random.Random(rng.getrandbits(64)), 0) for _ in range(_SENDERS)]
        return [
            Sender(self._archive.port, maker.endless(), self.ledger, random.Random(rng.getrandbits(64)), self._enough)
            for maker in makers
        ]

    def _expect_refusals(self) -> None:
        refused = self.ledger.statuses[status.OUT_OF_RESOURCES]
        self._expect(
            lambda: self.ledger.statuses[status.OUT_OF_RESOURCES] >= refused + 10, "a full disk is not answered A700"
        )

    def _expect(self, condition: object, complaint: str) -> None:
        if not self.ledger.wait_for(condition, _SECONDS):  # type: ignore[arg-type]
            told = {f"{code:04X}": count for code, count in self.ledger.statuses.items()}
            raise Broken(f"{complaint} (answers: {told})")


def try_out(name: str, archive: Archive, room: Room, seed: int, say: Say, *, kill: bool) -> Tally:
    """Lets the disk of one archive fill up, and says what came of it. The home folder stays when something is wrong."""
    archive.json("device", "add", AE, "--ae", AE, "--host", "127.0.0.1")
    tally = Tally()
    trial = _Trial(archive, room, seed, tally)
    begun = time.monotonic()
    try:
        findings = trial.run(kill=kill)
    except Broken as broken:
        findings = checking.Findings(faults=[str(broken)])
    finally:
        archive.abandon()
    ledger = trial.ledger
    tally.acknowledged, tally.lost, tally.faults = len(ledger.acknowledged), len(findings.lost), len(findings.faults)
    refused = ledger.statuses[status.OUT_OF_RESOURCES]
    verdict = "ok" if tally.clean else "NOT OK"
    seconds = time.monotonic() - begun
    say(f"{name}, seed {seed}: {tally.acknowledged} acknowledged, {refused} refused, {seconds:.0f} s, {verdict}")
    for uid, how in findings.lost.items():
        say(f"  LOST {uid}, seed {seed}: {how}")
    for fault in findings.faults:
        say(f"  FAULT {fault}")
    if tally.clean:
        archive.remove()
    return tally


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mounts a small tmpfs on ``folder``, which takes root; yields whether that was possible."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_TMPFS_MIB}m,mode=0700", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def all_ways(folder: Path, seed: int, say: Say) -> Tally:
    """Each kind of full disk, with and without a kill in the middle."""
    total = Tally()
    for kill in (False, True):
        home = folder / f"little-left-{kill:d}"
        room = LittleLeft(folder / f"little-left-{kill:d}-room")
        archive = Archive(home, f"sqlite:///{home / 'hozi.sqlite3'}", **room.settings)
        name = f"disk, less free than must be{_KILLED if kill else ''}"
        total.add(try_out(name, archive, room, seed, say, kill=kill))
        room.close()
    total.add(_full(folder, seed, say, "images", kill=False))
    total.add(_full(folder, seed, say, "images", kill=True))
    total.add(_full(folder, seed, say, "everything", kill=False))
    return total


def _full(folder: Path, seed: int, say: Say, what: str, *, kill: bool) -> Tally:
    """A small disk, full to the last block, on which the images are, or the database too."""
    name = f"disk, full to the last block, {what} on it{_KILLED if kill else ''}"
    small = folder / f"small-{what}-{kill:d}"
    with small_disk(small) as mounted:
        if not mounted:
            say(f"{name}: left out, a small disk cannot be mounted here")
            return Tally()
        home = small / "home" if what == "everything" else folder / f"{small.name}-home"
        settings = {"HOZI_MIN_FREE_BYTES": "0", "HOZI_STORAGE_URL": f"file://{small}"}
        archive = Archive(home, f"sqlite:///{home / 'hozi.sqlite3'}", **settings)
        tally = try_out(name, archive, NoneLeft(small), seed, say, kill=kill)
        if not tally.clean:
            shutil.copytree(small, folder / f"{small.name}-kept", ignore=shutil.ignore_patterns("filler"))
    return tally
