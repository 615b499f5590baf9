"""Keeps what a worker holds for as long as it works on it: one heartbeat for jobs and for regular work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from django.db import DatabaseError, InterfaceError, connection

from hozi.jobs.queue import describe

log = structlog.get_logger(__name__)


@contextmanager
def kept(extend: Callable[[], bool], seconds: float, what: str) -> Iterator[threading.Event]:
    """Calls ``extend`` three times in ``seconds``, from a thread of its own, until the block ends.

    Yields an event that is set when ``extend`` said False: the lease has gone to another. ``what`` names it in the log.
    """
    lost, done = threading.Event(), threading.Event()
    heart = threading.Thread(target=_beat, args=(extend, seconds, what, done, lost), name=f"lease of {what}")
    heart.start()
    try:
        yield lost
    finally:
        done.set()
        heart.join()


def _beat(extend: Callable[[], bool], seconds: float, what: str, done: threading.Event, lost: threading.Event) -> None:
    """Three beats fit into a lease, so that one may fail."""
    try:
        while not done.wait(seconds / 3):
            try:
                if not extend():
                    if not done.is_set():
                        lost.set()
                    return
            except (DatabaseError, InterfaceError) as error:
                log.warning("lease not extended", what=what, error=describe(error))
                connection.close()
    finally:
        connection.close()
