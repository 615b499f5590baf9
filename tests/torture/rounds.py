"""Rounds of storing in which something is killed, and what must hold after each."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.peers import find
from tests.postgresql import Server
from tests.torture import checking, database
from tests.torture.commitments import Commitments, listening
from tests.torture.ledger import Ledger, UnderWay
from tests.torture.objects import Maker, plan
from tests.torture.running import Archive, Broken
from tests.torture.senders import AE, Sender, StoreScu

Say = Callable[[str], None]

#: What is killed in a round, and how often it comes up. `nothing`: it is stopped and started as an operator does.
_KILLS: Final = {"listeners": 5, "one listener": 2, "group": 6, "supervisor": 2, "worker": 1, "nothing": 2}
_KILLS_OF_THE_DATABASE: Final = {"database": 4, "database and group": 2}

_OBJECTS_EACH: Final = 60
_ANSWER_SECONDS: Final = 20.0
_RESTARTS_OF_A_LISTENER: Final = 2  # then its supervisor waits longer than a run has patience for


@dataclass
class Tally:
    """What a run comes to. ``in_between``: so many of the kills fell between an object's first byte and its answer."""

    kills: int = 0
    in_between: int = 0
    acknowledged: int = 0
    lost: int = 0
    faults: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing was lost and every check held."""
        return not self.lost and not self.faults

    def add(self, other: Tally) -> None:
        """Takes another run in."""
        self.kills += other.kills
        self.in_between += other.in_between
        self.acknowledged += other.acknowledged
        self.lost += other.lost
        self.faults += other.faults

    def struck(self, under_way: Iterable[UnderWay]) -> None:
        """Judges one kill, when all senders have ended, by what was under way in that moment.

        It fell in between when one of these was not taken any more. Our own senders count, not `storescu`, whose
        words come too late; and what was taken in spite of the kill does not count.
        """
        self.in_between += any(not one.taken for one in under_way)

    @property
    def moments(self) -> str:
        """When the kills fell, in a sentence."""
        return (
            f"{self.in_between} of the kills fell between an object's first byte and its answer, so that it got none,"
            f" {self.kills - self.in_between} at other moments"
        )

    def __str__(self) -> str:
        return f"{self.kills} kills, {self.acknowledged} acknowledged, {self.lost} lost"


class Run:
    """Rounds on one database, each of which begins with an archive that runs."""

    def __init__(
        self, name: str, archive: Archive, commitments: Commitments | None, seed: int, say: Say, server: Server | None
    ) -> None:
        self.name = name
        self.tally = Tally()
        self._archive = archive
        self._commitments = commitments
        self._seed = seed
        self._say = say
        self._server = server
        self._ledger = Ledger()
        self._caught: list[UnderWay] = []
        archive.before_kill = self._look
        self._weights = _KILLS | (_KILLS_OF_THE_DATABASE if server else {})

    def rounds(self, numbers: range) -> None:
        """All rounds, and the complete check; ends with the first round after which something is wrong."""
        self._archive.start_and_wait()
        for number in numbers:
            if not self._guarded(f"round {number:3d}", lambda number=number: self._round(number)):  # type: ignore[misc]
                return
        self._guarded("all rounds", self._complete)

    def _guarded(self, what: str, work: Callable[[], tuple[str, checking.Findings]]) -> bool:
        begun = time.monotonic()
        try:
            told, findings = work()
        except Broken as broken:
            told, findings = "", checking.Findings(faults=[str(broken)])
        self.tally.acknowledged = len(self._ledger.acknowledged)
        self.tally.lost += len(findings.lost)
        self.tally.faults += len(findings.faults)
        seconds = time.monotonic() - begun
        verdict = "ok" if findings.clean else "NOT OK"
        self._say(f"{self.name}, {what}, seed {self._seed}: {told} {seconds:.0f} s, {verdict}")
        for uid, how in findings.lost.items():
            made = self._ledger.acknowledged[uid].made
            self._say(f"  LOST {uid} of round {made.round}, seed {self._seed}: {how}")
        for fault in findings.faults:
            self._say(f"  FAULT {fault}")
        return findings.clean

    # One round

    def _round(self, number: int) -> tuple[str, checking.Findings]:
        rng = random.Random(f"{self._seed}/{number}")
        kind = self._kind(rng)
        enough = threading.Event()
        senders = self._senders(number, rng, enough)
        before = self._ledger.successes
        kills, in_between = self.tally.kills, self.tally.in_between
        self._caught.clear()
        for sender in senders:
            sender.start()
        try:
            answers = self._wait_for_the_moment(rng, number)
            running = self._strike(kind, rng)
            begun = time.monotonic()
            if running and rng.random() < 0.5:
                self._archive.wait_until_ready()  # the senders go on: they meet what was left behind
                self._ledger.wait_for(lambda: self._ledger.successes > before + answers + 10, 3)
        finally:
            enough.set()
            for sender in senders:
                sender.join()
        self.tally.struck(self._caught)
        self._come_back(kind, rng)
        took = time.monotonic() - begun
        findings = checking.acknowledged(self._archive, self._ledger, self._ledger.of_round(number))
        if "database" in kind and findings.clean:
            # What the listener could not commit while there was no database is taken in at its next start.
            self._archive.kill_group()
            self.tally.kills += 1
            self._archive.start_and_wait()
            findings = checking.acknowledged(self._archive, self._ledger, self._ledger.of_round(number))
        findings.add(checking.halves(self._archive))
        findings.faults.extend(self._ledger.faults)
        told = (
            f"{self._ledger.successes - before} acknowledged by {len(senders)} senders, killed: {kind}"
            f" ({self.tally.kills - kills}, in between {self.tally.in_between - in_between}), back in {took:.1f} s,"
        )
        return told, findings

    def _kind(self, rng: random.Random) -> str:
        kind = rng.choices(list(self._weights), list(self._weights.values()))[0]
        if "listener" in kind and self._archive.listener_deaths >= _RESTARTS_OF_A_LISTENER:
            return "group"
        return kind

    def _senders(self, number: int, rng: random.Random, enough: threading.Event) -> list[Sender | StoreScu]:
        earlier = [known.made for known in self._ledger.acknowledged.values() if known.made.round < number][-200:]
        maker = Maker(rng, number)
        plans = plan(rng, maker, earlier, rng.choice((3, 4)), _OBJECTS_EACH)
        with_storescu = rng.random() < 0.5 and find("storescu", compiled=True) is not None
        senders: list[Sender | StoreScu] = []
        for place, sendings in enumerate(plans):
            kind = StoreScu if with_storescu and place == 0 else Sender
            senders.append(kind(self._archive.port, sendings, self._ledger, random.Random(rng.getrandbits(64)), enough))
        return senders

    def _wait_for_the_moment(self, rng: random.Random, number: int) -> int:
        """Returns at a random moment while the senders send; with the number of answers that it waited for."""
        answers = rng.randrange(0, 120)
        asks = rng.random() < 0.3
        goal = self._ledger.successes + answers
        self._ledger.wait_for(lambda: self._ledger.successes >= goal, _ANSWER_SECONDS)
        if self._commitments and asks and (uids := list(self._ledger.of_round(number))):
            self._commitments.ask(self._archive, uids)
        time.sleep(rng.uniform(0, 0.05))
        return answers

    def _strike(self, kind: str, rng: random.Random) -> bool:
        """Kills; returns whether the archive is still, or soon again, running."""
        archive = self._archive
        if kind == "nothing":
            archive.stop()
            return False
        self.tally.kills += 1
        if "database" in kind:
            assert self._server is not None
            self._look()
            self._server.kill()
        if "listener" in kind:
            archive.kill_listeners(rng, one=kind == "one listener")
        elif kind == "worker":
            archive.kill_worker()
        elif kind == "supervisor":
            archive.kill_supervisor()
        elif "group" in kind:
            archive.kill_group()
        if self._server is not None and "database" in kind:
            time.sleep(rng.uniform(0, 3))
            self._server.start()
        return archive.process is not None

    def _look(self) -> None:
        """What is under way in the moment of a kill."""
        self._caught += self._ledger.all_under_way()

    def _come_back(self, kind: str, rng: random.Random) -> None:
        """Waits until the archive is ready again, or starts it; some starts are killed on their way."""
        if self._archive.process is not None:
            self._archive.wait_until_ready()
            return
        if kind != "nothing" and rng.random() < 0.4:
            for _ in range(rng.randint(1, 3)):
                self._kill_while_starting(rng)
        self._archive.start_and_wait()

    def _kill_while_starting(self, rng: random.Random) -> None:
        folders = self._archive.arrivals_folders()
        self._archive.start()
        deadline = time.monotonic() + self._archive.startup_seconds * rng.uniform(0.1, 1.1)
        if rng.random() < 0.6:  # the moment in which a listener begins to take in what was left
            deadline = time.monotonic() + 2 * self._archive.startup_seconds
            while self._archive.arrivals_folders() <= folders and time.monotonic() < deadline:
                time.sleep(0.002)
            deadline = time.monotonic() + rng.choice((0.0, 0.01, 0.05, 0.3))
        time.sleep(max(0.0, deadline - time.monotonic()))
        self._archive.kill_group()
        self.tally.kills += 1

    # The end

    def _complete(self) -> tuple[str, checking.Findings]:
        findings = checking.complete(self._archive, self._ledger)
        if self._commitments:
            findings.faults.extend(self._commitments.faults())
        self._archive.stop()
        left = self._archive.leftovers(of_the_living=True)
        findings.faults.extend(f"{path.name}: lies in the incoming area after a clean stop" for path in left)
        told = (
            f"{len(self._ledger.acknowledged)} objects held up, {len(self._ledger.kept_aside)} UIDs with other content"
            f" aside, {len(self._ledger.unsure())} UIDs left open,"
            f" {len(self._commitments.asked) if self._commitments else 0} commitments reported,"
        )
        return told, findings


def torture(
    name: str,
    home: Path,
    database_url: str,
    seed: int,
    numbers: range,
    say: Say,
    *,
    server: Server | None = None,
    with_commitments: bool = True,
) -> Tally:
    """Rounds ``numbers`` on one database; the home folder is kept when something is wrong, and removed when not.

    ``server``: the PostgreSQL server, when it is to be killed too. With commitments, the end may take a minute longer:
    a job of a killed worker waits until its lease has run out.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    archive = Archive(home, database_url)
    with listening() as commitments:
        archive.json("device", "add", AE, "--ae", AE, "--host", "127.0.0.1", "--port", str(commitments.port))
        run = Run(name, archive, commitments if with_commitments else None, seed, say, server)
        try:
            run.rounds(numbers)
        except Broken as broken:
            run.tally.faults += 1
            say(f"{name}, seed {seed}: FAULT {broken}")
        finally:
            archive.abandon()
    if run.tally.clean:
        archive.remove()
    else:
        database.keep(database_url, home)
        say(f"{name}: what it left is in {home.name} and {home.name}.log, in {_shown(home.parent)}")
    return run.tally


def _shown(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
