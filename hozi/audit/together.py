"""Rows about mere questions, written together, flushed a moment later: an answer waits for its row, not for the disk.

An answer to a query leaves after its row is committed: nothing that happens to our processes loses it. What the disk
has of it, it has FLUSH_SECONDS later at the latest, so a power cut can take the traces of the last queries with it, and
nothing else: whatever changes, gives or refuses something is recorded by `record` in the transaction of the act.
Decision record 20 says what that brings.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from django.db import DatabaseError, connection, transaction

from hozi.audit.record import Entry, record, record_many

FLUSH_SECONDS: Final = 0.2

_MOST_TOGETHER: Final = 200
_LONG_LOG: Final = 4 << 20

log = structlog.get_logger(__name__)


def record_question(entry: Entry) -> None:
    """Adds the entry about a query, together with those of others who ask now; returns when it is committed.

    Within an open transaction it is `record`.
    """
    if connection.in_atomic_block:
        record(entry)
    else:
        _LEDGER.add(entry)


class _Waiting:
    """An entry whose thread waits until it is committed, or until it is that thread's turn to commit."""

    __slots__ = ("entry", "error", "leads", "woken", "written")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.error: BaseException | None = None
        self.leads = False
        self.written = False
        self.woken = threading.Lock()


class _Ledger:
    """Who comes while another one commits is committed by the next, together with all who have come meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._busy = False

    def add(self, entry: Entry) -> None:
        """Returns when the entry's row is committed; raises what the database said if it is not."""
        waiting = _Waiting(entry)
        with self._lock:
            if self._busy:
                waiting.woken.acquire()
                self._queue.append(waiting)
            else:
                self._busy = waiting.leads = True
        if not waiting.leads:
            waiting.woken.acquire()
        if waiting.leads:
            self._lead(waiting)
        if waiting.error is not None:
            raise waiting.error

    def _lead(self, leader: _Waiting) -> None:
        with self._lock:
            batch = [leader, *self._queue[: _MOST_TOGETHER - 1]]
            # The leader stood first in the queue if it had to wait.
            batch = list(dict.fromkeys(batch))
            self._queue = [waiting for waiting in self._queue if waiting not in batch]
        try:
            _write([waiting.entry for waiting in batch])
        except BaseException as error:
            for waiting in batch:
                waiting.error = error
            raise
        finally:
            for waiting in batch[1:]:
                waiting.woken.release()
            with self._lock:
                if self._queue:
                    following = self._queue[0]
                    following.leads = True
                    following.woken.release()
                else:
                    self._busy = False


_LEDGER: Final = _Ledger()


def _write(entries: list[Entry]) -> None:
    with _unflushed():
        record_many(entries)
    _FLUSHER.soon()


@contextmanager
def _unflushed() -> Iterator[None]:
    """What is committed in here is so for everybody at once; the disk has it later."""
    if connection.vendor != "sqlite":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit TO off")
            yield
        return
    connection.ensure_connection()
    raw: Any = connection.connection
    # In WAL mode: no flush at each commit, and nobody waits while the log is brought into the database: that is done
    # by whoever commits next, or behind everybody's back. One statement alone is a transaction.
    raw.execute("PRAGMA synchronous=NORMAL")
    raw.execute("PRAGMA wal_autocheckpoint=0")
    try:
        yield
    finally:
        raw.execute("PRAGMA wal_autocheckpoint=1000")
        raw.execute("PRAGMA synchronous=FULL")


class _Flusher:
    """Flushes what was committed without, in a thread of its own; only where the database does not do so itself."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._started = 0
        self._lock = threading.Lock()

    def soon(self) -> None:
        """Flushes within FLUSH_SECONDS."""
        if self._wanted.is_set() and self._started == os.getpid():
            return
        if connection.vendor != "sqlite":
            return
        with self._lock:
            if self._started != os.getpid():
                path = f"{connection.settings_dict['NAME']}-wal"
                threading.Thread(target=self._run, args=(path,), name="audit-flush", daemon=True).start()
                self._started = os.getpid()
        self._wanted.set()

    def _run(self, path: str) -> None:
        pause = threading.Event()
        while True:
            self._wanted.wait()
            pause.wait(FLUSH_SECONDS / 2)
            self._wanted.clear()
            try:
                if flush(path) > _LONG_LOG:
                    _bring_in()
            except (OSError, DatabaseError) as error:
                log.warning("the audit's last rows could not be flushed", error=type(error).__name__)


def _bring_in() -> None:
    """Brings into the database what is written ahead of it; whoever reads or writes meanwhile is not held up."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        connection.close()


def flush(path: str) -> int:
    """Flushes that file, and returns how long it is; that there is none (nothing is written ahead) is fine."""
    try:
        # Closing it releases no lock: SQLite locks other files than this one.
        number = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        os.fdatasync(number)
        return os.fstat(number).st_size
    finally:
        os.close(number)


_FLUSHER: Final = _Flusher()
