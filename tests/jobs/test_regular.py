"""Regular work is done at its times, on one node at a time, whatever one piece or one node does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hozi.core.errors import Unavailable
from hozi.jobs import regular, worker
from hozi.jobs.models import Regular
from hozi.jobs.regular import Piece, Turns

pytestmark = pytest.mark.django_db

SECONDS = 60


@pytest.fixture
def done() -> list[int]:
    return []


def node(done: list[int], owner: str = "one", seconds: float = 3600) -> Turns:
    return Turns(Piece("sweep", seconds, lambda: done.append(1)), owner)


def turn(turns: Turns) -> float:
    """One look; a row that was missing is made first."""
    pause = turns.take()
    return turns.take() if pause == 0.0 else pause


def row() -> Regular:
    return Regular.objects.get(name="sweep")


def ago(seconds: float) -> datetime:
    return timezone.now() - timedelta(seconds=seconds)


def test_what_never_ran_is_done_at_once_and_then_at_its_next_time(done: list[int]) -> None:
    one = node(done)
    assert turn(one) > 3590
    assert one.take() == 30.0
    assert done == [1]
    assert row().due_at > timezone.now() + timedelta(minutes=59)
    Regular.objects.update(due_at=ago(1))
    one.take()
    assert done == [1, 1]


def test_a_restart_does_not_do_again_what_was_done(done: list[int]) -> None:
    turn(node(done))
    turn(node(done, "after the restart"))
    assert done == [1]


def test_no_two_nodes_do_the_same_piece_at_the_same_time(done: list[int]) -> None:
    two = node(done, "two")
    one = Turns(Piece("sweep", 3600, lambda: two.take()), "one")
    turn(one)
    assert done == []


def test_often_repeated_work_stays_with_its_node(done: list[int]) -> None:
    one, two = node(done, "one", 1), node(done, "two", 1)
    turn(one)
    assert turn(two) > 5
    one.take()
    assert done == [1, 1]
    one.give_back()
    turn(two)
    assert done == [1, 1, 1]


@pytest.mark.parametrize("seconds", [1.0, 3600.0])
def test_what_a_killed_node_held_goes_to_another_when_its_lease_ends(done: list[int], seconds: float) -> None:
    now = timezone.now()
    held = Regular.objects.create(name="sweep", due_at=now, owner="killed", lease_until=now + timedelta(seconds=50))
    two = node(done, "two", seconds)
    assert 25 < two.take() <= 30.0
    assert done == []
    Regular.objects.filter(pk=held.pk).update(lease_until=ago(1))
    two.take()
    assert done == [1]


def test_an_idle_archive_writes_nothing_for_work_that_comes_each_second(done: list[int]) -> None:
    one = node(done, seconds=1)
    turn(one)
    with CaptureQueriesContext(connection) as queries:
        for _ in range(10):
            one.take()
    assert len(done) == 11
    assert queries.captured_queries == []


def test_work_that_is_not_due_is_only_looked_at(done: list[int]) -> None:
    one = node(done)
    turn(one)
    with CaptureQueriesContext(connection) as queries:
        one.take()
    assert [query["sql"].split()[0] for query in queries.captured_queries] == ["SELECT"]


def test_a_piece_that_fails_says_why_and_is_tried_at_its_next_time() -> None:
    raised: list[Exception] = [Unavailable("no route"), ZeroDivisionError("Moyo^Tendai")]

    def fail() -> None:
        if raised:
            raise raised.pop(0)

    one = Turns(Piece("sweep", 3600, fail), "one")
    turn(one)
    assert row().last_error == "Unavailable: no route"
    Regular.objects.update(due_at=ago(1))
    one.take()
    assert row().last_error.startswith("ZeroDivisionError at test_regular.py:")
    Regular.objects.update(due_at=ago(1))
    one.take()
    assert row().last_error == ""
    assert row().lease_until is None


def test_often_repeated_work_that_fails_writes_its_error_once() -> None:
    def fail() -> None:
        raise Unavailable("no route")

    one = Turns(Piece("sweep", 1, fail), "one")
    turn(one)
    assert row().last_error == "Unavailable: no route"
    with CaptureQueriesContext(connection) as queries:
        one.take()
    assert queries.captured_queries == []


def test_a_clock_that_was_years_ahead_does_not_stop_the_work_for_years(done: list[int]) -> None:
    Regular.objects.create(name="sweep", due_at=timezone.now() + timedelta(days=3650))
    node(done).take()
    assert done == [1]


def test_work_that_takes_longer_than_its_period_is_due_again_at_once(done: list[int]) -> None:
    Regular.objects.create(name="sweep", due_at=ago(7200))
    node(done).take()
    assert row().due_at > timezone.now()


def test_a_name_stands_for_one_piece() -> None:
    def work() -> None: ...

    regular.every(5, "sweep", work)
    regular.every(5, "sweep", work)
    with pytest.raises(ValueError, match="two pieces"):
        regular.every(6, "sweep", work)
    with pytest.raises(ValueError, match="above zero"):
        regular.every(0, "other", work)


def test_how_each_piece_stands_can_be_told(done: list[int]) -> None:
    assert regular.standing() == []
    turn(node(done))
    [sweep] = regular.standing()
    assert (sweep.name, sweep.last_error) == ("sweep", "")
    assert sweep.last_ran_at is not None
    assert sweep.last_ran_at > ago(60)


@pytest.fixture
def running(transactional_db: None) -> Iterator[Callable[[], None]]:
    """Starts the worker; it is stopped at the end of the test."""
    stop = threading.Event()
    loops: list[threading.Thread] = []

    def start() -> None:
        loops.append(threading.Thread(target=worker.run, args=(stop,), kwargs={"poll_seconds": 0.02}))
        loops[-1].start()

    yield start
    stop.set()
    for loop in loops:
        loop.join()


def test_the_worker_does_it_again_and_again_and_one_piece_holds_up_no_other(running: Callable[[], None]) -> None:
    release, often = threading.Event(), threading.Semaphore(0)
    regular.every(3600, "stuck", lambda: release.wait(SECONDS))
    regular.every(0.02, "fails", lambda: 1 / 0)
    regular.every(0.02, "often", often.release)
    running()
    assert all(often.acquire(timeout=SECONDS) for _ in range(5))
    release.set()


def test_what_takes_longer_than_its_lease_keeps_it(transactional_db: None) -> None:
    leases: list[datetime | None] = []
    seen = threading.Event()

    def long() -> None:
        leases.append(row().lease_until)
        for _ in range(SECONDS * 20):
            if row().lease_until != leases[0]:
                seen.set()
                return
            threading.Event().wait(0.05)

    one = Turns(Piece("sweep", 3600, long), "one", lease_seconds=0.6)
    turn(one)
    assert seen.is_set()
