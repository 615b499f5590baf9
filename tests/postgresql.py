"""A PostgreSQL server of one's own, on loopback: for a command, for the torture, for the benchmark.

`python -m tests.postgresql pytest -m database` runs a command with a server for it (`HOZI_TEST_DATABASE_URL`).
Needs Debian's `postgresql`, or any other that has `initdb` and `postgres`; nothing of the server is left afterwards.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.peers import free_port, program

START_SECONDS = 60

#: For tests: many connections, and no flushes, since nothing of it is to outlive the test.
FOR_TESTS = {"max_connections": "300", "fsync": "off", "log_min_messages": "fatal"}


class Server:
    """A server whose data lies in ``folder``; ``settings`` go before those of its own. Raises FileNotFoundError
    where PostgreSQL is not on this machine."""

    def __init__(self, folder: Path, settings: dict[str, str], log: Path | None = None) -> None:
        self.port = free_port()
        self._password = secrets.token_urlsafe(16)
        self._account = _unprivileged_account()
        self._folder = folder
        self._settings = settings
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        password = folder / "password"
        password.write_text(self._password)
        if self._account:
            for path in (folder, password):
                shutil.chown(path, self._account["user"], self._account["group"])
        subprocess.run(
            [
                *(program("initdb"), "--pgdata", str(folder / "data"), "--username=hozi", "--encoding=UTF8"),
                *("--locale=C", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **self._account,
        )

    def url(self, database: str) -> str:
        """How to reach a database of it."""
        return f"postgresql://hozi:{self._password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Makes an empty database; returns its URL. Another one of that name is dropped before."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def start(self) -> None:
        """Starts it on its data; returns when it answers."""
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self._folder), **self._settings}
        command = [program("postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self._log.open("ab")) if self._log else None
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=output, stderr=output, **self._account)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL for the server and everything that it has started."""
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        family = [server, *server.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(family, timeout=START_SECONDS)

    def stop(self) -> None:
        """Stops it, if it runs; does not wait for its clients (PostgreSQL's fast shutdown)."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(START_SECONDS)


@contextlib.contextmanager
def server(settings: dict[str, str]) -> Iterator[Server]:
    """A running server in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="hozi-postgresql-"))
    try:
        running = Server(folder, settings)
        try:
            running.start()
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_account() -> dict[str, Any]:
    """How to start PostgreSQL, which refuses to run as root: nothing special, or as another user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise SystemExit("PostgreSQL does not run as root, and there is no user postgres or nobody")


def main() -> int:
    """Runs the command that the command line names, with a server for it."""

    def stop(*_: object) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, stop)
    with server(FOR_TESTS) as running:
        url = running.create("hozi")
        return subprocess.run(sys.argv[1:], env={**os.environ, "HOZI_TEST_DATABASE_URL": url}).returncode


if __name__ == "__main__":
    raise SystemExit(main())
