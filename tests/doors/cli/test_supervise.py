"""The supervisor keeps its parts running, stops them, and never leaves one behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hozi.doors.cli import supervise
from hozi.doors.cli.supervise import Supervisor
from tests.guards.rules import ROOT

SECONDS = 60

PART = """\
import json, os, signal, sys, time
from pathlib import Path
folder, name, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with (folder / f"{name}.lives").open("a") as lives:
    lives.write(f"{os.getpid()}\\n")
if how == "dies":
    sys.exit(3)
if how == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
new = folder / f"{name}.new"
new.write_text(json.dumps({"pid": os.getpid()}))
new.replace(folder / f"{name}.json")
time.sleep(600)
"""

PARENT = """\
import os, sys, threading
from pathlib import Path
from hozi.doors.cli.supervise import Supervisor
folder = Path(sys.argv[1])
child = "import os,sys,time; from pathlib import Path; from hozi.doors.cli.supervise import die_with;" \\
    "die_with(int(sys.argv[1])); Path(sys.argv[2]).write_text(str(os.getpid())); time.sleep(600)"
command = lambda part: [sys.executable, "-c", child, str(os.getpid()), str(folder / part)]
Supervisor(["one", "two"], folder, threading.Event(), command).run(lambda: None)
"""


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def lives(folder: Path, name: str) -> list[int]:
    """The process ids of a part's lives so far."""
    file = folder / f"{name}.lives"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


class Watched:
    """A supervisor at work, in the thread of the test."""

    def __init__(self, folder: Path, **parts: str) -> None:
        self.folder = folder
        self.stop = threading.Event()
        self.ready = threading.Event()
        self.supervisor = Supervisor(
            list(parts),
            folder,
            self.stop,
            lambda name: [sys.executable, "-c", PART, str(folder), name, parts[name]],
        )

    def run_until(self, condition: Callable[[], object]) -> None:
        """Runs the supervisor here (children live as long as the thread that started them) until it happened."""
        failure: list[AssertionError] = []

        def watch() -> None:
            try:
                wait_for(condition)
            except AssertionError as error:
                failure.append(error)
            self.stop.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        self.supervisor.run(self.ready.set)
        watcher.join()
        if failure:
            raise failure[0]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(supervise, "_LOOK_EVERY", 0.02)
    yield


def test_it_starts_all_parts_says_when_they_are_ready_and_stops_them(tmp_path: Path) -> None:
    watched = Watched(tmp_path, one="good", two="good")
    watched.run_until(watched.ready.is_set)
    pids = lives(tmp_path, "one") + lives(tmp_path, "two")
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_what_a_killed_process_left_behind_is_not_taken_for_readiness(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"pid": 1}')
    watched = Watched(tmp_path, one="dies")
    watched.run_until(lambda: lives(tmp_path, "one"))
    assert not watched.ready.is_set()


def test_a_part_that_was_killed_is_started_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path, one="good", two="good")
    killed: list[int] = []

    def again() -> bool:
        if watched.ready.is_set() and not killed:
            killed.extend(lives(tmp_path, "one"))
            os.kill(killed[0], signal.SIGKILL)
        return len(lives(tmp_path, "one")) == 2

    watched.run_until(again)
    assert len(lives(tmp_path, "two")) == 1


def test_a_part_that_dies_again_and_again_is_started_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = supervise._Part("one")
    watched = Watched(tmp_path, one="dies")
    now = 1000.0
    monkeypatch.setattr(supervise.time, "monotonic", lambda: now)
    pauses = []
    for _ in range(7):
        watched.supervisor._look_after(part)
        assert part.process is not None
        part.process.wait()
        watched.supervisor._look_after(part)
        assert part.process is None
        pauses.append(part.due_at - now)
        now = part.due_at
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_a_part_that_lived_well_is_started_again_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = supervise._Part("one", pause=30)
    watched = Watched(tmp_path, one="dies")
    now = 1000.0
    monkeypatch.setattr(supervise.time, "monotonic", lambda: now)
    watched.supervisor._look_after(part)
    assert part.process is not None
    part.process.wait()
    now += 3600
    watched.supervisor._look_after(part)
    assert part.due_at - now == supervise.FIRST_PAUSE


def test_a_part_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "GRACE", 0.3)
    watched = Watched(tmp_path, one="stubborn", two="good")
    watched.run_until(watched.ready.is_set)
    assert not any(psutil.pid_exists(pid) for pid in lives(tmp_path, "one") + lives(tmp_path, "two"))


def test_no_part_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        wait_for(lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in ("one", "two")))
    finally:
        parent.kill()
        parent.wait()
    children = [int((tmp_path / name).read_text()) for name in ("one", "two")]
    wait_for(lambda: not any(_runs(pid) for pid in children))


def test_a_part_whose_supervisor_is_gone_already_ends_at_once(tmp_path: Path) -> None:
    program = "from hozi.doors.cli.supervise import die_with; die_with(1234567); print('still here')"
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=SECONDS,
    )
    assert (result.returncode, result.stdout) == (1, b"")


def _runs(pid: int) -> bool:
    # An orphan that has ended may stay a zombie where no init process collects it.
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
