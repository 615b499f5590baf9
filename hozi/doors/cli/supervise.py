"""The supervisor: starts the parts as processes, restarts one that dies, stops all; leaves none behind."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a part that died is started again: doubling, from the first to the second."""

LIVED_WELL = 60.0
"""A part that ran for so many seconds begins with the first pause again."""

GRACE = 20.0
"""Seconds that parts have to finish what they do when they are told to stop."""

_LOOK_EVERY = 0.2
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with(parent: int) -> None:
    """Makes this process die when ``parent`` does, however that ends; ends at once when it has already.

    SIGKILL, not a polite request: nothing may stay behind that holds the ports, and whatever was
    acknowledged is safe at any moment. Where the kernel cannot do it (not Linux), a thread watches.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        if library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@dataclass
class _Part:
    name: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause: float = FIRST_PAUSE
    due_at: float = field(default=0.0)


class Supervisor:
    """Runs the named parts, each as a process of its own that ``command`` starts.

    A part says that it is ready by writing ``<run>/<part>.json`` with its process id (``pid``).
    Start, look and stop happen in the thread that calls `run`: the kernel ties the children's lives to
    the thread that started them.
    """

    def __init__(
        self, parts: Sequence[str], run: Path, stop: threading.Event, command: Callable[[str], list[str]]
    ) -> None:
        self._parts = [_Part(name) for name in parts]
        self._run = run
        self._stop = stop
        self._command = command

    def run(self, when_ready: Callable[[], None]) -> None:
        """Until told to stop. ``when_ready`` is called once, when all parts have said that they are ready."""
        waiting = True
        for part in self._parts:
            # What a process that was killed left behind says nothing about the one to come.
            self._ready_file(part).unlink(missing_ok=True)
        try:
            while not self._stop.wait(_LOOK_EVERY):
                for part in self._parts:
                    self._look_after(part)
                if waiting and all(self._is_ready(part) for part in self._parts):
                    waiting = False
                    when_ready()
        finally:
            self._stop_all()

    def _look_after(self, part: _Part) -> None:
        now = time.monotonic()
        if part.process is not None:
            code = part.process.poll()
            if code is None:
                return
            part.process = None
            part.pause = FIRST_PAUSE if now - part.started_at > LIVED_WELL else part.pause
            part.due_at = now + part.pause
            log.error("a part ended", which=part.name, how=_how(code), restart_in_seconds=part.pause)
            part.pause = min(part.pause * 2, LONGEST_PAUSE)
        if now >= part.due_at:
            part.process = subprocess.Popen(self._command(part.name))
            part.started_at = now

    def _ready_file(self, part: _Part) -> Path:
        return self._run / f"{part.name}.json"

    def _is_ready(self, part: _Part) -> bool:
        try:
            pid = json.loads(self._ready_file(part).read_text()).get("pid")
        except (OSError, ValueError):
            return False
        return part.process is not None and part.process.pid == pid

    def _stop_all(self) -> None:
        running = [(part.name, part.process) for part in self._parts if part.process is not None]
        for _, process in running:
            process.terminate()
        deadline = time.monotonic() + GRACE
        for name, process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("a part did not stop in time and was killed", which=name)
                process.kill()
                process.wait()
        log.info("stopped")


def _how(code: int) -> str:
    return f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit code {code}"
