"""A real `hozi serve` with a home folder of its own: started, killed in several ways, waited for."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil

from hozi.core.dicom import sop_classes
from hozi.core.dimse.association import Association, ProposedContext
from hozi.core.dimse.requestor import associate
from hozi.core.errors import HoziError
from tests.guards.rules import ROOT
from tests.peers import free_port
from tests.torture.objects import EXPLICIT
from tests.torture.senders import AE, ARCHIVE_AE, TIMEOUTS

PATIENCE: Final = 120.0
_LOCKS: Final = Path("/proc/locks")


class Broken(Exception):
    """The archive did not come up, did not stop, or left something behind; the text says what."""


class Archive:
    """A home folder, a database, and the `hozi serve` that runs on them (or does not, at the moment).

    ``before_kill`` is called right before each SIGKILL for what has a part in storing.
    """

    def __init__(self, home: Path, database_url: str, **settings: str) -> None:
        self.home = home
        self.database_url = database_url
        self.port = free_port()
        self.facts = {
            "HOZI_HOME": str(home),
            "HOZI_DATABASE_URL": database_url,
            "HOZI_DICOM_HOST": "127.0.0.1",
            "HOZI_DICOM_PORT": str(self.port),
            "HOZI_HTTP_BIND": "127.0.0.1:0",
            **settings,
        }
        self.storage = Path(settings.get("HOZI_STORAGE_URL", str(home)).removeprefix("file://"))
        self.process: subprocess.Popen[bytes] | None = None
        self.startup_seconds = 2.0
        self.listener_deaths = 0
        self.before_kill: Callable[[], None] = lambda: None
        self._listeners = 1
        self._banner = home.with_name(f"{home.name}.banner")
        self._log = home.with_name(f"{home.name}.log")

    # Start and stop

    def start(self) -> None:
        """Starts it; returns at once."""
        with self._banner.open("wb") as banner, self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hozi", "serve", "--json"],
                env=self._environment(),
                stdout=banner,
                stderr=log,
                start_new_session=True,
            )
        self.listener_deaths = 0

    def start_and_wait(self) -> float:
        """Starts it and waits until it is ready and has taken in what was left; returns the seconds that it took."""
        begun = time.monotonic()
        self.start()
        self._until(lambda: self._banner.stat().st_size > 0, "it is not ready")
        self.startup_seconds = time.monotonic() - begun
        self._listeners = len(self.listeners())
        self.wait_until_ready()
        return time.monotonic() - begun

    def wait_until_ready(self) -> None:
        """Waits until all listeners are there, one answers, and nothing lies in the area that a dead one left."""
        self._until(lambda: len(self.listeners()) >= self._listeners, "its listeners do not come back")
        self._until(self.answers, "its port does not answer")
        self._until(lambda: not self.leftovers(), "it does not take in what was left behind")

    def stop(self) -> None:
        """Stops it as an operator does; raises Broken when it does not stop cleanly."""
        assert self.process is not None
        family = self._family()
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Broken("it did not stop when it was told to") from None
        self.process = None
        if code != 0:
            raise Broken(f"it stopped with exit code {code}")
        _gone(family, "it left a process behind when it stopped")

    def abandon(self) -> None:
        """Whatever state it is in, nothing of it runs afterwards."""
        if self.process is not None and self.process.poll() is None:
            self.kill_group()

    def remove(self) -> None:
        """Removes the home folder and what was written beside it."""
        shutil.rmtree(self.home)
        for path in (self._banner, self._log):
            path.unlink(missing_ok=True)

    # Kill

    def kill_group(self) -> None:
        """SIGKILL for the whole process group, as in a power cut."""
        assert self.process is not None
        family = self._family()
        self.before_kill()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        _gone(family, "a process outlived the kill of its group")

    def kill_supervisor(self) -> None:
        """SIGKILL for `hozi serve` alone; its parts must go with it."""
        assert self.process is not None
        family = self._family()
        self.before_kill()
        self.process.kill()
        self.process.wait()
        self.process = None
        _gone(family, "a part outlived its supervisor")

    def kill_listeners(self, rng: random.Random, *, one: bool) -> None:
        """SIGKILL for all listener processes, or for one of them; the supervisor starts them again."""
        listeners = self.listeners()
        victims = [rng.choice(listeners)] if one and listeners else listeners
        self.before_kill()
        _kill(victims)
        self.listener_deaths += 1
        _gone(victims, "a listener survived SIGKILL")

    def kill_worker(self) -> None:
        """SIGKILL for the worker; the supervisor starts it again."""
        workers = [process for process in self._family() if _is_worker(process)]
        _kill(workers)
        _gone(workers, "a worker survived SIGKILL")

    # Look

    def listeners(self) -> list[psutil.Process]:
        """The processes that listen: the supervisor's descendants that are not the worker or its children."""
        if self.process is None:
            return []
        try:
            parts = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []
        found: list[psutil.Process] = []
        for part in parts:
            try:
                if not _is_worker(part) and _is_alive(part):
                    found.extend((part, *filter(_is_alive, part.children(recursive=True))))
            except psutil.NoSuchProcess:
                continue
        return found

    def answers(self) -> bool:
        """Whether a C-ECHO is answered with success."""
        try:
            association = self.call(ProposedContext(1, sop_classes.VERIFICATION, (EXPLICIT,)))
            try:
                code = association.echo(association.contexts_for(sop_classes.VERIFICATION)[0]).status
                association.release()
            finally:
                association.close()
        except HoziError:
            return False
        return code == 0

    def call(self, *contexts: ProposedContext, **options: Any) -> Association:
        """An association with it. Raises what `associate` raises."""
        return associate(
            "127.0.0.1",
            self.port,
            calling_ae=AE,
            called_ae=ARCHIVE_AE,
            contexts=contexts,
            timeouts=TIMEOUTS,
            **options,
        )

    def leftovers(self, *, of_the_living: bool = False) -> list[Path]:
        """What lies in the incoming area in folders that nobody holds; or in all of them.

        Who holds a folder is looked up in the kernel's table: to try its lock would keep others from it.
        """
        held = _held_inodes()
        found: list[Path] = []
        for folder in self._incoming_folders():
            try:
                if not of_the_living and str((folder / "lock").stat().st_ino) in held:
                    continue
                found.extend(path for path in folder.iterdir() if path.name != "lock" and path.stat().st_size)
            except FileNotFoundError:
                continue  # taken in this very moment
        return found

    def arrivals_folders(self) -> int:
        """How many folders the incoming area has: one more when a listener begins to take in what was left."""
        return len(self._incoming_folders())

    def _incoming_folders(self) -> list[Path]:
        area = self.storage / "incoming"
        return [path for path in area.iterdir() if path.is_dir()] if area.is_dir() else []

    def hozi(self, *arguments: str, seconds: float = 1200) -> subprocess.CompletedProcess[str]:
        """Runs a command of the program `hozi` on this home."""
        return subprocess.run(
            [sys.executable, "-m", "hozi", *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def json(self, *arguments: str) -> Any:
        """What a command answers with ``--json``; raises Broken when it fails."""
        done = self.hozi(*arguments, "--json")
        if done.returncode != 0:
            raise Broken(
                f"hozi {' '.join(arguments)} ended with {done.returncode}: {(done.stdout + done.stderr)[:2000]}"
            )
        return json.loads(done.stdout)

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.facts}

    def _family(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True) if self.process else []
        except psutil.NoSuchProcess:
            return []

    def _until(self, condition: Any, complaint: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process is None or self.process.poll() is not None:
                raise Broken(f"{complaint}: hozi serve has ended; see {self._log.name}")
            if time.monotonic() > deadline:
                raise Broken(f"{complaint}, after {PATIENCE:.0f} seconds; see {self._log.name}")
            time.sleep(0.02)


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "worker" in process.cmdline()
    except psutil.Error:
        return False


def _is_alive(process: psutil.Process) -> bool:
    """Whether it may still hold files: a zombie does while other threads of it are on their way out."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False


def _kill(processes: list[psutil.Process]) -> None:
    """SIGKILL for each that is still there: some go with the first, whose parts they are."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _gone(processes: list[psutil.Process], complaint: str) -> None:
    deadline = time.monotonic() + 10
    while any(map(_is_alive, processes)):
        if time.monotonic() > deadline:
            raise Broken(complaint)
        time.sleep(0.01)


def _held_inodes() -> set[str]:
    """Inodes of files that a living process holds a lock on (Linux; elsewhere none is known)."""
    lines = _LOCKS.read_text().splitlines() if _LOCKS.exists() else []
    return {field.rpartition(":")[2] for line in lines for field in line.split() if field.count(":") == 2}
