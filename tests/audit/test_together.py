"""Rows about questions are there when the answer leaves, all of them, and soon on the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, connections, transaction

from hozi.audit import together
from hozi.audit.models import Event
from hozi.audit.record import Code, Entry
from hozi.audit.together import record_question

pytestmark = pytest.mark.database


def question(number: int) -> Entry:
    return Entry(Code.QUERY, "E", f"asker{number}", detail={"number": number})


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads whose connections are closed at the end."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
        barrier = threading.Barrier(8)

        def close() -> None:
            barrier.wait(10)
            connections.close_all()

        for done in [pool.submit(close) for _ in range(8)]:
            done.result()


@pytest.mark.django_db(transaction=True)
def test_whoever_goes_on_has_its_row_there_for_everybody(threads: ThreadPoolExecutor) -> None:
    def ask(number: int) -> bool:
        record_question(question(number))
        return Event.objects.filter(actor=f"asker{number}").exists()

    assert all(threads.map(ask, range(200)))
    assert Event.objects.count() == 200


@pytest.mark.django_db(transaction=True)
def test_those_who_come_meanwhile_are_written_together(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    real = together._write

    def slowly(entries: list[Entry]) -> None:
        written.append(len(entries))
        time.sleep(0.05)
        real(entries)

    monkeypatch.setattr(together, "_write", slowly)
    list(threads.map(lambda number: record_question(question(number)), range(32)))
    assert sum(written) == Event.objects.count() == 32
    assert len(written) < 16


@pytest.mark.django_db(transaction=True)
def test_what_the_database_refuses_is_told_to_each_and_the_next_goes_on(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = together._write

    def refuse(entries: list[Entry]) -> None:
        time.sleep(0.02)
        raise DatabaseError("no")

    def ask(number: int) -> str:
        try:
            record_question(question(number))
        except DatabaseError as error:
            return str(error)
        return "written"

    monkeypatch.setattr(together, "_write", refuse)
    assert set(threads.map(ask, range(16))) == {"no"}
    monkeypatch.setattr(together, "_write", real)
    assert ask(99) == "written"


@pytest.mark.django_db(transaction=True)
def test_within_a_transaction_it_stands_or_falls_with_it() -> None:
    with pytest.raises(ZeroDivisionError):
        with transaction.atomic():
            record_question(question(1))
            raise ZeroDivisionError
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_everything_else_is_flushed_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("not meant for PostgreSQL: there it is said for one transaction only")
    record_question(question(1))
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2,)
        assert cursor.execute("PRAGMA wal_autocheckpoint").fetchone() == (1000,)


def test_a_file_is_flushed_and_none_is_none(tmp_path: Path) -> None:
    file = tmp_path / "log"
    assert together.flush(str(file)) == 0
    file.write_bytes(b"12345")
    assert together.flush(str(file)) == 5
