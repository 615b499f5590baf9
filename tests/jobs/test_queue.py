"""The queue gives each job to one worker at a time, keeps what was promised, and ends."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.errors import Unavailable
from hozi.jobs import queue
from hozi.jobs.models import Job
from hozi.jobs.queue import Claimed

pytestmark = pytest.mark.django_db


def put(kind: str = "report", *, due_in: float = 0, give_up_in: float = 3600, **payload: Any) -> int:
    now = timezone.now()
    return queue.enqueue(
        kind, payload, due_at=now + timedelta(seconds=due_in), give_up_at=now + timedelta(seconds=give_up_in)
    )


def claim(owner: str = "a worker", seconds: float = 60) -> Claimed:
    job = queue.claim(owner, seconds)
    assert job is not None
    return job


def row(job: Claimed | int) -> Job:
    return Job.objects.get(pk=job.id if isinstance(job, Claimed) else job)


def move_time(job: Claimed, **fields: datetime) -> None:
    Job.objects.filter(pk=job.id).update(**fields)


def ago(seconds: float) -> datetime:
    return timezone.now() - timedelta(seconds=seconds)


def test_a_job_is_claimed_once_with_what_was_put_in() -> None:
    number = put(commitment=7)
    job = claim()
    assert (job.id, job.kind, job.payload, job.attempt) == (number, "report", {"commitment": 7}, 1)
    assert queue.claim("another", 60) is None


def test_it_is_due_at_once_when_nothing_is_said() -> None:
    queue.enqueue("report", {}, give_up_at=timezone.now() + timedelta(hours=1))
    assert claim()


def test_a_job_waits_until_it_is_due() -> None:
    put(due_in=60)
    assert queue.claim("a worker", 60) is None


def test_the_job_that_has_been_due_longest_comes_first() -> None:
    late, early = put(due_in=-10), put(due_in=-20)
    assert [claim().id, claim().id] == [early, late]


def test_only_the_kinds_asked_for_are_claimed() -> None:
    put("other")
    assert queue.claim("a worker", 60, kinds=["report"]) is None
    assert queue.claim("a worker", 60, kinds=[]) is None
    assert queue.claim("a worker", 60, kinds=["report", "other"]) is not None


def test_a_finished_job_stays_finished() -> None:
    put()
    job = claim()
    assert queue.finish(job)
    assert row(job).state == Job.State.DONE
    assert queue.claim("a worker", 60) is None
    assert not queue.retry(job, Unavailable("too late"))
    assert row(job).error == ""


@pytest.mark.django_db(transaction=True)
def test_a_job_stands_and_falls_with_the_transaction_that_promised_it() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        put()
        raise RuntimeError
    assert queue.claim("a worker", 60) is None


def test_a_worker_that_was_killed_loses_its_job_to_the_next() -> None:
    put()
    first = claim("killed")
    move_time(first, lease_until=ago(1))
    second = claim("next")
    assert (second.id, second.attempt) == (first.id, 2)


def test_who_lost_its_lease_can_no_longer_write_how_it_ended() -> None:
    put()
    slow = claim("slow")
    move_time(slow, lease_until=ago(1))
    quick = claim("quick")
    assert not queue.extend(slow, 60)
    assert not queue.finish(slow)
    assert not queue.give_up(slow, "no")
    assert not queue.postpone(slow, 1)
    assert queue.finish(quick)


def test_an_owner_that_takes_its_own_job_again_does_not_mix_the_attempts_up() -> None:
    put()
    first = claim("same")
    move_time(first, lease_until=ago(1))
    second = claim("same")
    assert not queue.finish(first)
    assert queue.finish(second)


def test_the_heartbeat_keeps_the_job() -> None:
    put()
    job = claim(seconds=1)
    assert queue.extend(job, 3600)
    assert row(job).lease_until is not None
    assert row(job).lease_until > timezone.now() + timedelta(minutes=50)  # type: ignore[operator]


def test_a_failed_job_is_tried_again_after_a_pause() -> None:
    put()
    job = claim()
    assert queue.retry(job, Unavailable("the disk is full"))
    again = row(job)
    assert (again.state, again.error, again.lease_owner) == (Job.State.WAITING, "Unavailable: the disk is full", "")
    assert again.due_at > timezone.now()
    move_time(job, due_at=ago(1))
    assert claim().attempt == 2


def test_the_last_try_is_when_its_time_is_up_and_then_it_has_failed() -> None:
    put(give_up_in=1)
    job = claim()
    queue.retry(job, Unavailable("no route"))
    assert row(job).due_at == row(job).give_up_at
    move_time(job, due_at=ago(5), give_up_at=ago(5))
    last = claim()
    queue.retry(last, Unavailable("no route"))
    assert (row(last).state, row(last).error) == (Job.State.FAILED, "Unavailable: no route")
    assert row(last).finished_at is not None
    assert queue.claim("a worker", 60) is None


def test_a_job_that_is_found_after_its_time_is_tried_once() -> None:
    put(due_in=-100, give_up_in=-50)
    assert claim().attempt == 1


def test_a_job_that_kills_its_workers_ends_too() -> None:
    put()
    first = claim()
    # It died before the time was up: one more. It died after: no more.
    move_time(first, give_up_at=ago(5), lease_until=ago(10))
    second = claim()
    move_time(second, lease_until=ago(1))
    assert queue.claim("a worker", 60) is None
    assert (row(second).state, row(second).error) == (Job.State.FAILED, "its worker died in the last attempt")


def test_later_is_no_failure() -> None:
    put()
    job = claim()
    assert queue.postpone(job, 30)
    assert (row(job).attempts, row(job).error) == (0, "")
    assert row(job).due_at > timezone.now() + timedelta(seconds=20)


def test_later_after_its_time_is_a_failure() -> None:
    put(due_in=-2, give_up_in=-1)
    job = claim()
    queue.postpone(job, 30)
    assert (row(job).state, row(job).error) == (Job.State.FAILED, "its time was up")


@given(attempt=st.integers(1, 10_000))
def test_pauses_double_up_to_an_hour_with_some_chance(attempt: int) -> None:
    longest = min(queue.LONGEST_PAUSE, queue.FIRST_PAUSE * 2.0 ** min(attempt - 1, 100))
    assert longest / 2 <= queue.pause(attempt) <= longest


def test_what_is_stored_of_an_error_holds_no_patient_data() -> None:
    try:
        {}["Moyo^Tendai"]
    except KeyError as error:
        text = queue.describe(error)
    assert "Moyo" not in text
    assert text.startswith("KeyError at test_queue.py:")
    assert queue.describe(Unavailable("no route")) == "Unavailable: no route"


def test_done_jobs_are_swept_and_failed_ones_kept() -> None:
    for end in (queue.finish, lambda job: queue.give_up(job, "never")):
        put()
        job = claim()
        end(job)
        move_time(job, finished_at=ago(100))
    put()
    assert queue.sweep(ago(50)) == 1
    assert sorted(Job.objects.values_list("state", flat=True)) == ["failed", "waiting"]
    assert queue.sweep(ago(50)) == 0


def test_a_kind_has_one_handler() -> None:
    @queue.register("report")
    def one(payload: dict[str, Any]) -> None: ...

    queue.register("report")(one)
    assert queue.kinds() == ["report"]
    with pytest.raises(ValueError, match="two handlers"):
        queue.register("report")(lambda payload: None)


@pytest.mark.django_db(transaction=True)
def test_no_two_workers_get_the_same_job() -> None:
    for _ in range(40):
        put()
    claimed: list[int] = []

    def work(owner: str) -> None:
        while job := queue.claim(owner, 60):
            claimed.append(job.id)
        connection.close()

    threads = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 40
    assert len(set(claimed)) == 40
