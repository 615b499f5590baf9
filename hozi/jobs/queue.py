"""The queue of durable work: put in, claimed with a lease, done or tried again.

A job's row is written in the caller's transaction: the work is promised exactly when the reason for it is.
It is done at least once: a worker that is killed loses its lease, and another does the job again, so every
handler must be able to do the same work twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from hozi.core.errors import HoziError
from hozi.jobs.models import Job

FIRST_PAUSE = 5.0
"""Seconds after the first failure; each further one doubles them ..."""

LONGEST_PAUSE = 3600.0
"""... up to this."""

Handler = Callable[[dict[str, Any]], None]

_handlers: dict[str, Handler] = {}


class Later(Exception):
    """Raised by a handler: nothing went wrong, but it is too early; ask again in so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds:g} s")
        self.seconds = seconds


class GiveUp(Exception):
    """Raised by a handler: trying again cannot help. ``reason`` is kept with the job; no patient data in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that ``owner`` holds until its lease runs out. ``attempt`` counts from 1."""

    id: int
    kind: str
    payload: dict[str, Any]
    attempt: int
    owner: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands: ``state`` is waiting, done or failed; ``error`` is that of its last attempt."""

    payload: dict[str, Any]
    state: str
    error: str
    asked_at: datetime
    due_at: datetime


def register(kind: str) -> Callable[[Handler], Handler]:
    """Decorator: that function does the jobs of this kind. It is given the payload and must bear repetition."""

    def enter(handler: Handler) -> Handler:
        if _handlers.setdefault(kind, handler) is not handler:
            raise ValueError(f"two handlers for jobs of kind {kind}")
        return handler

    return enter


def handler_of(kind: str) -> Handler:
    """The registered function. Raises KeyError when there is none."""
    return _handlers[kind]


def kinds() -> list[str]:
    """The kinds that this process can do."""
    return sorted(_handlers)


def enqueue(kind: str, payload: dict[str, Any], *, due_at: datetime | None = None, give_up_at: datetime) -> int:
    """Puts a job into the queue, within the transaction that is open, and returns its id.

    ``payload`` is JSON without patient data; ``due_at`` is now when left out. After ``give_up_at`` it is
    tried once more at most.
    """
    job = Job.objects.create(kind=kind, payload=payload, due_at=due_at or timezone.now(), give_up_at=give_up_at)
    return int(job.pk)


def claim(owner: str, lease_seconds: float, *, kinds: Iterable[str] | None = None) -> Claimed | None:
    """Takes the job that has been due longest, for so many seconds; None when nothing is due.

    Jobs whose lease ran out (their worker was killed) are taken too. No two callers get the same job:
    PostgreSQL locks the row and skips locked ones; on SQLite the transaction is IMMEDIATE, so there is
    one at a time. ``owner`` must be unique among all workers. ``kinds``: these only.
    """
    if not _claimable(timezone.now(), kinds).exists():
        return None  # looked without a lock: an idle worker must not hold up those that write
    with transaction.atomic():
        now = timezone.now()
        due = _claimable(now, kinds).order_by("due_at", "pk")
        while job := due.select_for_update(skip_locked=True).first():
            if _died_in_the_last_attempt(job):
                _end(job, Job.State.FAILED, "its worker died in the last attempt")
                continue
            job.attempts += 1
            job.lease_owner, job.lease_until = owner, now + timedelta(seconds=lease_seconds)
            job.save(update_fields=["attempts", "lease_owner", "lease_until"])
            return Claimed(job.pk, job.kind, job.payload, job.attempts, owner)
    return None


def extend(job: Claimed, lease_seconds: float) -> bool:
    """The heartbeat: the lease lasts so many seconds from now. False when the job has gone to another worker."""
    until = timezone.now() + timedelta(seconds=lease_seconds)
    return _held(job).update(lease_until=until) == 1


def finish(job: Claimed) -> bool:
    """The job is done. False (and nothing is written) when it has gone to another worker meanwhile."""
    return (
        _held(job).update(state=Job.State.DONE, finished_at=timezone.now(), lease_owner="", lease_until=None, error="")
        == 1
    )


def postpone(job: Claimed, seconds: float) -> bool:
    """The job said `Later`; the attempt does not count. Past its time it fails: what it waited for did not come."""
    return _again(job, seconds, error="", attempts=job.attempt - 1, at_the_end="its time was up")


def retry(job: Claimed, error: BaseException) -> bool:
    """The job failed with that error: it is tried again after a pause, or has failed for good past its time."""
    text = describe(error)
    return _again(job, pause(job.attempt), error=text, attempts=job.attempt, at_the_end=text)


def give_up(job: Claimed, reason: str) -> bool:
    """The job has failed for good."""
    return _fail(job, reason, job.attempt)


def pause(attempt: int) -> float:
    """Seconds until the next try after that many: doubling from 5 s to 1 h, less up to a half by chance.

    Chance spreads jobs that failed together (a peer that was off) over time.
    """
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 16))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311


def describe(error: BaseException) -> str:
    """The error in words that may be stored: only HoziError promises to hold no patient data in its text."""
    if isinstance(error, HoziError):
        return f"{type(error).__name__}: {error}"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"


def trouble(kind: str, **payload: Any) -> str:
    """Why the last attempt of the newest job of that kind and payload failed; empty when it did not."""
    error = _of(kind, payload).order_by("-pk").values_list("error", flat=True).first()
    return error or ""


def standing(kind: str, most: int, **payload: Any) -> list[Standing]:
    """How the newest jobs of that kind and payload stand, the newest first."""
    rows = _of(kind, payload).order_by("-pk")[:most]
    return [Standing(row.payload, row.state, row.error, row.created_at, row.due_at) for row in rows]


def waits(kind: str, **payload: Any) -> bool:
    """Whether a job of that kind and payload is still to be done."""
    return _of(kind, payload).filter(state=Job.State.WAITING).exists()


def remember(kind: str, payload: dict[str, Any], **more: Any) -> None:
    """Adds to the payload of a job in hand, which must be the only one with it: how it ended, for those who ask."""
    _of(kind, payload).filter(state=Job.State.WAITING).update(payload=payload | more)


def _of(kind: str, payload: dict[str, Any]) -> QuerySet[Job]:
    return Job.objects.filter(kind=kind, **{f"payload__{name}": value for name, value in payload.items()})


def sweep(older_than: datetime) -> int:
    """Removes jobs that were done before; failed ones stay, for people to see. Returns how many."""
    old = Job.objects.filter(state=Job.State.DONE, finished_at__lt=older_than).order_by("pk")
    batch = list(old.values_list("pk", flat=True)[:1000])
    return Job.objects.filter(pk__in=batch).delete()[0] if batch else 0


def _claimable(now: datetime, kinds: Iterable[str] | None) -> QuerySet[Job]:
    jobs = Job.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=now), state=Job.State.WAITING, due_at__lte=now
    )
    return jobs if kinds is None else jobs.filter(kind__in=list(kinds))


def _died_in_the_last_attempt(job: Job) -> bool:
    """A lease that ran out after ``give_up_at``: one attempt after that time is enough, also for a job that kills."""
    return job.lease_until is not None and job.lease_until > job.give_up_at


def _held(job: Claimed) -> QuerySet[Job]:
    return Job.objects.filter(pk=job.id, state=Job.State.WAITING, lease_owner=job.owner, attempts=job.attempt)


def _again(job: Claimed, seconds: float, *, error: str, attempts: int, at_the_end: str) -> bool:
    now = timezone.now()
    give_up_at = Job.objects.values_list("give_up_at", flat=True).filter(pk=job.id).first()
    if give_up_at is None:
        return False
    if now >= give_up_at:
        return _fail(job, at_the_end, attempts)
    due_at = min(now + timedelta(seconds=seconds), give_up_at)
    updated = _held(job).update(due_at=due_at, lease_owner="", lease_until=None, error=error, attempts=attempts)
    return updated == 1


def _fail(job: Claimed, reason: str, attempts: int) -> bool:
    updated = _held(job).update(
        state=Job.State.FAILED,
        finished_at=timezone.now(),
        lease_owner="",
        lease_until=None,
        error=reason,
        attempts=attempts,
    )
    return updated == 1


def _end(job: Job, state: Job.State, error: str) -> None:
    job.state, job.finished_at, job.error = state, timezone.now(), error
    job.lease_owner, job.lease_until = "", None
    job.save(update_fields=["state", "finished_at", "error", "lease_owner", "lease_until"])
