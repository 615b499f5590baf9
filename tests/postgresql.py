"""A PostgreSQL server of its own for a run of tests: `python -m tests.postgresql COMMAND ...`.

Starts one in a temporary folder on a free loopback port, runs the command with `HOZI_TEST_DATABASE_URL` set to it,
stops and removes it, and ends as the command ended.
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

import psycopg

from tests.peers import free_port, program

START_SECONDS = 60


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A running server with an empty database; yields its URL. Nothing of it is left afterwards."""
    account = _unprivileged_account()
    folder = Path(tempfile.mkdtemp(prefix="hozi-postgresql-"))
    try:
        password = secrets.token_urlsafe(16)
        password_file = folder / "password"
        password_file.write_text(password)
        if account:
            for path in (folder, password_file):
                shutil.chown(path, account["user"], account["group"])
        subprocess.run(
            [
                *(program("initdb"), "--pgdata", str(folder / "data"), "--username=hozi"),
                *("--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C"),
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **account,
        )
        port = free_port()
        process = subprocess.Popen(
            [
                *(program("postgres"), "-D", str(folder / "data"), "-p", str(port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"),
                *("-c", "max_connections=300", "-c", "fsync=off", "-c", "log_min_messages=fatal"),
            ],
            cwd=folder,
            **account,
        )
        try:
            url = f"postgresql://hozi:{password}@127.0.0.1:{port}"
            _wait_until_it_answers(f"{url}/postgres", process)
            with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
                connection.execute("CREATE DATABASE hozi")
            yield f"{url}/hozi"
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: it does not wait for clients
            process.wait(START_SECONDS)
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


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main() -> int:
    """Runs the command that the command line names, with a server for it."""

    def stop(*_: object) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, stop)
    with server() as url:
        return subprocess.run(sys.argv[1:], env={**os.environ, "HOZI_TEST_DATABASE_URL": url}).returncode


if __name__ == "__main__":
    sys.exit(main())
