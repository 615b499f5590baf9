"""The chain takes every row once, in an order that holds, whoever writes and links at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from hozi.audit import chain, key, ranges
from hozi.audit.models import Event, Head, Link, Seal
from hozi.audit.record import record, record_many
from hozi.audit.verify import verify
from tests.audit.conftest import entry


def linked() -> list[int]:
    """The numbers of rows in the chain, in its order."""
    texts = Link.objects.order_by("number").values_list("ids", flat=True)
    return [number for text in texts for number in ranges.read(text, chain.MOST_IN_A_LINK)]


@pytest.mark.django_db
def test_an_idle_archive_writes_nothing() -> None:
    record(entry("one"))
    assert chain.link() == 1
    before = list(Head.objects.values())
    assert chain.link() == 0
    assert list(Head.objects.values()) == before
    assert Link.objects.count() == 1


@pytest.mark.django_db
def test_more_rows_than_a_link_holds_go_into_several() -> None:
    record_many(entry(str(number)) for number in range(2 * chain.MOST_IN_A_LINK + 5))
    assert chain.link() == 2 * chain.MOST_IN_A_LINK + 5
    assert list(Link.objects.order_by("number").values_list("count", flat=True)) == [1000, 1000, 5]
    assert list(Link.objects.order_by("number").values_list("first", flat=True)) == [1, 1001, 2001]
    assert verify().clean


@pytest.mark.django_db
def test_a_day_is_sealed_when_it_is_over_and_late_rows_go_to_the_next() -> None:
    yesterday = timezone.now() - timedelta(days=1)
    record(entry("yesterday", yesterday))
    assert chain.link() == 1
    assert chain.seal()
    assert not chain.seal()
    record(entry("late", yesterday))
    chain.link()
    zone = timezone.get_default_timezone()
    days = [yesterday.astimezone(zone).date(), datetime.now(zone).date()]
    assert list(Link.objects.order_by("number").values_list("day", flat=True)) == [day.isoformat() for day in days]
    assert list(Seal.objects.values_list("day", "count")) == [(days[0].isoformat(), 1)]
    assert verify().clean


@pytest.mark.django_db
def test_the_day_of_the_hospital_counts_not_that_of_greenwich() -> None:
    record(entry("night", datetime(2026, 11, 23, 22, 30, tzinfo=UTC)))  # half past midnight in Harare
    chain.link()
    assert Link.objects.get().day == "2026-11-24"


@pytest.mark.django_db
def test_a_clock_that_was_wrong_does_not_hold_up_the_chain() -> None:
    zone = timezone.get_default_timezone()
    today = datetime.now(zone).date()
    record(entry("to come", timezone.now() + timedelta(days=400)))
    record(entry("long ago", datetime(1970, 1, 1, tzinfo=UTC)))
    chain.link()
    assert set(Link.objects.values_list("day", flat=True)) == {today.isoformat()}
    assert date.fromisoformat(Link.objects.order_by("number")[0].day) == today
    assert verify().clean


def run_all(*work: Callable[[], Any]) -> None:
    """Runs each in a thread of its own, with a connection of its own; raises what one raised."""
    errors: list[BaseException] = []

    def guarded(one: Callable[[], Any]) -> None:
        try:
            one()
        except Exception as error:  # noqa: BLE001 - raised again
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.django_db(transaction=True)
def test_several_that_link_while_several_write_take_every_row_once() -> None:
    done = threading.Event()

    def write() -> None:
        for number in range(15):
            with transaction.atomic():
                record(entry(f"{number}"), entry(f"{number} again"))
                if number % 5 == 4:
                    transaction.set_rollback(True)

    def keep_linking() -> None:
        while not done.wait(0.01):
            chain.link()

    linking = [threading.Thread(target=run_all, args=(keep_linking,)) for _ in range(3)]
    for thread in linking:
        thread.start()
    run_all(write, write, write)
    done.set()
    for thread in linking:
        thread.join()
    chain.link()
    numbers = list(Event.objects.order_by("pk").values_list("pk", flat=True))
    assert len(numbers) == 3 * 12 * 2
    assert sorted(linked()) == numbers
    assert verify().clean


@pytest.mark.django_db(transaction=True)
def test_a_row_of_a_transaction_that_was_open_for_long_is_taken_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("not meant for SQLite, where one writes at a time")
    monkeypatch.setattr(chain, "_HOLE_SECONDS", 0)
    wrote, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            record(entry("slow"))
            wrote.set()
            may_commit.wait(30)

    record(entry("before"))
    thread = threading.Thread(target=run_all, args=(slow,))
    thread.start()
    wrote.wait(30)
    record(entry("quick"))
    assert chain.link() == 2
    assert chain.link() == 0
    assert verify().clean, "a transaction that is open looks like tampering"
    may_commit.set()
    thread.join()
    assert chain.link() == 1
    actors = dict(Event.objects.values_list("pk", "actor"))
    assert [actors[number] for number in linked()] == ["Rumbi before", "Rumbi quick", "Rumbi slow"]
    assert Head.objects.get().holes == "[]"
    assert verify().clean


@pytest.mark.django_db(transaction=True)
def test_a_number_that_was_given_up_is_forgotten_and_whoever_fills_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("not meant for SQLite, which gives up no number")
    monkeypatch.setattr(chain, "_HOLE_SECONDS", 0)
    record(entry("before"))
    with transaction.atomic():
        record(entry("given up"))
        transaction.set_rollback(True)
    record(entry("after"))
    chain.link()
    # Transactions of other databases on the same server count, too: they may have to end first.
    deadline = time.monotonic() + 60
    while Head.objects.get().holes != "[]":
        assert time.monotonic() < deadline, "the hole is not given up"
        time.sleep(0.05)
        chain.link()
    [first, last] = Event.objects.order_by("pk")
    assert last.pk == first.pk + 2
    Event.objects.filter(pk=last.pk).update(actor="x")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_event SET id = %s WHERE id = %s", [first.pk + 1, last.pk])
    found: list[Any] = []
    verify(found.append)
    assert {(one.kind, one.row) for one in found} == {("missing", last.pk), ("foreign", first.pk + 1)}


@pytest.mark.django_db
def test_it_does_not_go_on_from_an_end_that_was_changed() -> None:
    record(entry("one"))
    chain.link()
    Head.objects.update(total=5)
    record(entry("two"))
    with pytest.raises(chain.Broken, match="was changed"):
        chain.link()


@pytest.mark.django_db
def test_another_key_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    chain.check_key()
    monkeypatch.setattr(key, "key", lambda: b"k" * 32)
    with pytest.raises(chain.Broken, match="HOZI_AUDIT_KEY_FILE"):
        chain.check_key()


@pytest.mark.parametrize("numbers", [[], [1], [1, 2, 3], [4, 6, 7, 9]])
def test_ranges_come_back_as_they_went(numbers: list[int]) -> None:
    assert ranges.read(ranges.written(numbers), 10) == numbers


@pytest.mark.parametrize("text", ["x", "3-1", "1-99999999999", "2,1", "1,1", "-3"])
def test_what_is_no_list_of_ranges_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ranges.read(text, 100)
