"""A PostgreSQL server for the benchmark alone, as it ships: with fsync, unlike the one that the tests start."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from bench.ground import Broken, Ground, Missing, environment, show_end, stop
from tests.peers import free_port, program

_START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """A running server; its one account may do everything."""

    port: int
    password: str

    def url(self, database: str) -> str:
        """How to reach a database of it."""
        return f"postgresql://bench:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Makes an empty database; returns its URL. Another one of that name is dropped before."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)


def server(ground: Ground) -> Server:
    """The benchmark's server, started when it is needed first. Raises Missing where there is no PostgreSQL."""
    if "postgresql" not in ground.kept:
        ground.kept["postgresql"] = ground.stack.enter_context(_serving(ground))
    running: Server = ground.kept["postgresql"]
    return running


@contextmanager
def _serving(ground: Ground) -> Iterator[Server]:
    try:
        initialise, serve = program("initdb"), program("postgres")
    except FileNotFoundError:
        raise Missing("PostgreSQL is not here: apt install postgresql") from None
    account = _unprivileged_account()
    with ground.folder("postgresql") as folder:
        running = Server(free_port(), secrets.token_urlsafe(16))
        password = folder / "password"
        password.write_text(running.password)
        if account:
            for path in (folder, password):
                shutil.chown(path, account["user"], account["group"])
        subprocess.run(
            [
                *(initialise, "--pgdata", str(folder / "data"), "--username=bench", "--encoding=UTF8", "--locale=C"),
                *("--auth=scram-sha-256", f"--pwfile={password}"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            env=environment(),
            **account,
        )
        log = ground.disk / "postgresql.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(serve, "-D", str(folder / "data"), "-p", str(running.port)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"),
                ],
                cwd=folder,
                stdout=output,
                stderr=output,
                env=environment(),
                **account,
            )
        try:
            _wait_until_it_answers(running, process)
            yield running
        except Broken:
            show_end("postgresql", log)
            raise
        finally:
            stop(process, signal.SIGINT)  # PostgreSQL's fast shutdown: it does not wait for clients


def _unprivileged_account() -> dict[str, Any]:
    """How to start PostgreSQL, which refuses to run as root: nothing special, or as another user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise Missing("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _wait_until_it_answers(running: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(running.url("postgres"), connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Broken("PostgreSQL did not start") from None
            time.sleep(0.1)
