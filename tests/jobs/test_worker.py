"""The worker does what is due, survives what jobs do, and takes over from one that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from hozi.core.errors import Unavailable
from hozi.jobs import queue, worker
from hozi.jobs.models import Job
from tests.guards.rules import ROOT

SECONDS = 60

PROGRAM = """\
import sys, threading, time
from datetime import timedelta
from pathlib import Path

import django
django.setup()
from django.core.management import call_command
from django.utils import timezone
from hozi.jobs import queue, worker

folder, role = Path(sys.argv[1]), sys.argv[2]

@queue.register("slow")
def slow(payload):
    (folder / f"{role}.begun").touch()
    if role == "victim":
        time.sleep(600)
    stop.set()

stop = threading.Event()
if role == "victim":
    call_command("migrate", verbosity=0)
    queue.enqueue("slow", {}, give_up_at=timezone.now() + timedelta(hours=1))
worker.run(stop, threads=1, lease_seconds=1, poll_seconds=0.05)
from hozi.jobs.models import Job
job = Job.objects.get()
print(job.state, job.attempts)
"""


def put(kind: str, **payload: Any) -> int:
    return queue.enqueue(kind, payload, give_up_at=timezone.now() + timedelta(hours=1))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def running(transactional_db: None) -> Iterator[Callable[..., None]]:
    """Starts the worker in a thread; it is stopped at the end of the test."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(**options: Any) -> None:
        threads.append(threading.Thread(target=worker.run, args=(stop,), kwargs={"poll_seconds": 0.02, **options}))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()


@pytest.mark.django_db
def test_nothing_to_do_is_no_work() -> None:
    assert worker.work_once("a worker") is False


@pytest.mark.django_db
def test_it_does_a_job_and_marks_it_done() -> None:
    seen: list[dict[str, Any]] = []
    queue.register("report")(seen.append)
    number = put("report", commitment=7)
    assert worker.work_once("a worker") is True
    assert seen == [{"commitment": 7}]
    assert Job.objects.get(pk=number).state == Job.State.DONE


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("raised", "state", "error", "attempts"),
    [
        (queue.Later(30), "waiting", "", 0),
        (queue.GiveUp("the device is gone"), "failed", "the device is gone", 1),
        (Unavailable("no route"), "waiting", "Unavailable: no route", 1),
        (ZeroDivisionError("Moyo^Tendai"), "waiting", "ZeroDivisionError at test_worker.py:", 1),
    ],
)
def test_it_writes_down_how_a_job_ended(raised: Exception, state: str, error: str, attempts: int) -> None:
    @queue.register("report")
    def report(payload: dict[str, Any]) -> None:
        raise raised

    number = put("report")
    assert worker.work_once("a worker") is True
    job = Job.objects.get(pk=number)
    assert (job.state, job.attempts) == (state, attempts)
    assert job.error.startswith(error)
    assert "Moyo" not in job.error


@pytest.mark.django_db
def test_it_leaves_jobs_alone_that_it_cannot_do() -> None:
    number = put("of another program")
    assert worker.work_once("a worker") is False
    assert Job.objects.get(pk=number).attempts == 0


def test_a_job_that_fails_does_not_stop_the_next(running: Callable[..., None]) -> None:
    done = threading.Event()
    queue.register("bad")(lambda payload: 1 / 0)
    queue.register("good")(lambda payload: done.set())
    put("bad")
    put("good")
    running(threads=1)
    assert done.wait(SECONDS)


def test_a_job_that_waits_does_not_hold_up_the_rest(running: Callable[..., None]) -> None:
    release, done = threading.Event(), threading.Event()
    queue.register("stuck")(lambda payload: release.wait(SECONDS))
    queue.register("quick")(lambda payload: done.set())
    put("stuck")
    put("quick")
    running()
    assert done.wait(SECONDS)
    release.set()


def test_a_job_that_takes_longer_than_its_lease_is_done_once(running: Callable[..., None]) -> None:
    begun: list[int] = []
    extended = threading.Event()
    lease: list[Any] = []

    @queue.register("long")
    def long(payload: dict[str, Any]) -> None:
        begun.append(1)
        lease.append(Job.objects.get().lease_until)
        wait_for(lambda: Job.objects.get().lease_until > lease[0] + timedelta(seconds=1))
        extended.set()

    number = put("long")
    running(lease_seconds=0.9)
    assert extended.wait(SECONDS)
    wait_for(lambda: Job.objects.get(pk=number).state == Job.State.DONE)
    assert begun == [1]


def test_it_finishes_what_it_has_in_hand_when_it_is_told_to_stop(transactional_db: None) -> None:
    stop, begun = threading.Event(), threading.Event()

    @queue.register("long")
    def long(payload: dict[str, Any]) -> None:
        begun.set()
        assert stop.wait(SECONDS)

    first = put("long")
    loop = threading.Thread(target=worker.run, args=(stop,), kwargs={"threads": 1, "poll_seconds": 0.02})
    loop.start()
    assert begun.wait(SECONDS)
    second = put("long")
    stop.set()
    loop.join(SECONDS)
    assert not loop.is_alive()
    assert Job.objects.get(pk=first).state == Job.State.DONE
    assert Job.objects.get(pk=second).attempts == 0


def test_it_goes_on_when_the_database_comes_back(running: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    done, failures = threading.Event(), iter(range(2))
    claim = queue.claim

    def away(*arguments: Any, **options: Any) -> Any:
        if next(failures, None) is not None:
            raise OperationalError("the server closed the connection")
        return claim(*arguments, **options)

    monkeypatch.setattr(queue, "claim", away)
    queue.register("report")(lambda payload: done.set())
    put("report")
    running(threads=1)
    assert done.wait(SECONDS)


@pytest.mark.database
def test_the_job_of_a_worker_that_was_killed_is_done_by_another(own_database: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HOZI_HOME": str(tmp_path / "home"),
        "HOZI_DATABASE_URL": own_database,
        "DJANGO_SETTINGS_MODULE": "hozi.settings",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    victim = subprocess.Popen([*command, "victim"], env=environment)
    try:
        wait_for((tmp_path / "victim.begun").exists)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    heir = subprocess.run([*command, "heir"], env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert heir.stdout.split() == ["done", "2"], heir.stderr
