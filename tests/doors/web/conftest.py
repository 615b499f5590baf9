"""The console's server as people run it: `hozi serve --only web`, asked over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import prepared
from tests.guards.rules import ROOT

SECONDS = 60
NO_DATABASE = "not meant for another database: the server is tried, not the tables"


@dataclass
class Served:
    """A server that runs, and how to ask it."""

    process: subprocess.Popen[bytes]
    home: Path
    facts: dict[str, Any]
    log: Path

    @property
    def port(self) -> int:
        return int(self.facts["port"])

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        """One request on a connection of its own; underscores in header names stand for hyphens."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Host": "localhost", "Accept": "text/html", **named})
            response = connection.getresponse()
            response.body = response.read()  # type: ignore[attr-defined]
            return response

    def raw(self, data: bytes, seconds: float = SECONDS) -> bytes:
        """Sends these bytes, and reads until the server closes or nothing comes any more."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            answer = b""
            try:
                connection.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has heard enough; what it said may still be read
            try:
                while piece := connection.recv(65536):
                    answer += piece
            except (TimeoutError, ConnectionResetError):
                pass
            return answer

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def wait_for_line(self, **facts: Any) -> dict[str, Any]:
        """The first line of the log with these facts; waits for it."""
        deadline = time.monotonic() + SECONDS
        while True:
            for line in self.lines():
                if facts.items() <= line.items():
                    return line
            assert time.monotonic() < deadline, f"the log has no line with {facts}"
            time.sleep(0.05)

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        return psutil.Process(self.process.pid).children()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(SECONDS)


Start = Callable[..., Served]


def start(home: Path, *command: str, **settings: str) -> Served:
    """Starts it on a free port, and waits until it is ready."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOZI_HOME": str(home),
        "HOZI_HTTP_BIND": "127.0.0.1:0",
        **settings,
    }
    if "HOZI_DATABASE_URL" not in settings and not (home / "hozi.sqlite3").exists():
        prepared.put(home / "hozi.sqlite3", home)
    log = home.with_name(f"{home.name}.log")
    with log.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "hozi", "serve", "--only", "web", "--json"))],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=told,
        )
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            facts = json.loads((home / "run" / "web.json").read_text())
            break
        except (OSError, ValueError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
    return Served(process, home, facts, log)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests that leave it as it was."""
    served = start(tmp_path_factory.mktemp("served") / "home")
    yield served
    served.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Start]:
    """Starts servers for one test, with settings of their own."""
    running: list[Served] = []

    def begin(*command: str, **settings: str) -> Served:
        running.append(start(tmp_path / f"home{len(running)}", *command, **settings))
        return running[-1]

    yield begin
    for one in running:
        one.stop()
