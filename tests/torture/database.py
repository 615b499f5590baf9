"""The index from outside: read with SQL; and a PostgreSQL server that can be killed."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psycopg

from tests import postgresql
from tests.peers import find

try:
    from pysqlite3 import dbapi2 as sqlite3
except ImportError:  # only Linux has it; elsewhere the system's is new enough
    import sqlite3


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


@contextlib.contextmanager
def killable_postgresql() -> Iterator[postgresql.Server]:
    """A PostgreSQL server that flushes, and is to be killed; nothing of it is left afterwards."""
    with postgresql.server({**postgresql.FOR_TESTS, "fsync": "on"}) as server:
        yield server
