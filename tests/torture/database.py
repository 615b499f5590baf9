"""The index from outside: read with SQL; and a PostgreSQL server that can be killed."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psutil
import psycopg

from tests import postgresql
from tests.peers import find

try:
    from pysqlite3 import dbapi2 as sqlite3
except ImportError:  # only Linux has it; elsewhere the system's is new enough
    import sqlite3

_SECONDS = 60


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a query, on the database that ``url`` names; changes nothing."""
    if url.startswith("sqlite:"):
        path = quote("/" + unquote(urlsplit(url).path).lstrip("/"))
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            return list(connection.execute(statement))
    with psycopg.connect(url, autocommit=True) as server:
        return server.execute(statement.encode()).fetchall()


def keep(url: str, folder: Path) -> None:
    """Keeps a dump of a PostgreSQL database in ``folder``, where `pg_dump` is there; SQLite's file stays anyway."""
    program = find("pg_dump", compiled=True)
    if not url.startswith("sqlite:") and program is not None:
        subprocess.run([program, "--file", str(folder / "database.sql"), url], check=False)


class Killable:
    """A PostgreSQL server that `tests.postgresql` has started: with flushes switched on, and to be killed."""

    def __init__(self, url: str) -> None:
        self.url = url
        port = urlsplit(url).port
        [self._server] = [child for child in psutil.Process().children() if str(port) in child.cmdline()]
        self._command = ["fsync=on" if word == "fsync=off" else word for word in self._server.cmdline()]
        self._folder = self._server.cwd()
        self._account: dict[str, Any] = {}
        if psutil.Process().uids().effective == 0:
            user, group = self._server.uids().effective, self._server.gids().effective
            self._account = {"user": user, "group": group, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        self.stop()
        self.start()

    def kill(self) -> None:
        """SIGKILL for the server and everything that it has started."""
        family = [self._server, *self._server.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self._process is not None:
            self._process.wait()
        psutil.wait_procs(family, timeout=_SECONDS)

    def start(self) -> None:
        """Starts the server on the same data; returns when it answers."""
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._account
        )
        self._server = psutil.Process(self._process.pid)
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """Stops the server; does not wait for its clients."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._server.send_signal(signal.SIGINT)
            self._server.wait(_SECONDS)


@contextlib.contextmanager
def killable_postgresql() -> Iterator[Killable]:
    """A PostgreSQL server for a run; nothing of it is left afterwards."""
    with postgresql.server() as url:
        server = Killable(url)
        try:
            yield server
        finally:
            server.stop()
