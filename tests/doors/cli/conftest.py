"""The command line in the tests' own process, on the tests' own database; and as a program of its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from hozi.doors.cli.app import run
from hozi.facilities import devices
from tests.guards.rules import ROOT


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Answer]


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m hozi` in an environment of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hozi", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOZI_HTTP_BIND": "127.0.0.1:0", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def hozi(capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Runs a command line. What commands set up for a whole process is put back afterwards."""
    handlers, level = logging.root.handlers[:], logging.root.level
    shown, thread_hook = warnings.showwarning, threading.excepthook
    devices.forget()

    def command(*arguments: str) -> Answer:
        capsys.readouterr()
        code = run(list(arguments))
        return Answer(code, *capsys.readouterr())

    yield command
    logging.captureWarnings(False)
    logging.basicConfig(handlers=handlers, level=level, force=True)
    logging.getLogger("hozi").setLevel(logging.NOTSET)
    warnings.showwarning, threading.excepthook = shown, thread_hook
    structlog.reset_defaults()
