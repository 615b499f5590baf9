"""A PostgreSQL server for the benchmark alone, as it ships: with fsync, unlike the one that the tests start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from bench.ground import Broken, Ground, Missing, show_end
from tests.postgresql import Server


def server(ground: Ground) -> Server:
    """The benchmark's server, started when it is needed first. Raises Missing where there is no PostgreSQL."""
    if "postgresql" not in ground.kept:
        ground.kept["postgresql"] = ground.stack.enter_context(_serving(ground))
    running: Server = ground.kept["postgresql"]
    return running


@contextmanager
def _serving(ground: Ground) -> Iterator[Server]:
    log = ground.disk / "postgresql.log"
    with ground.folder("postgresql") as folder:
        try:
            running = Server(folder, {}, log)
        except FileNotFoundError:
            raise Missing("PostgreSQL is not here: apt install postgresql") from None
        try:
            running.start()
            yield running
        except psycopg.OperationalError:
            show_end("postgresql", log)
            raise Broken("PostgreSQL did not start, or ended") from None
        finally:
            running.stop()
