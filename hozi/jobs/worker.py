"""The loop that does the jobs: claims one, keeps its lease alive, does it, writes down how it ended.

Beside it runs the regular work (`regular.py`).
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from datetime import timedelta

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.utils import timezone

from hozi.jobs import queue, regular
from hozi.jobs.lease import kept
from hozi.jobs.queue import Claimed, GiveUp, Later

log = structlog.get_logger(__name__)

KEEP_DONE = timedelta(days=30)
_SWEEP_SECONDS = 3600.0
_LONGEST_IDLE = 30.0


def run(stop: threading.Event, *, threads: int = 2, lease_seconds: float = 60.0, poll_seconds: float = 1.0) -> None:
    """Does jobs of all registered kinds, and regular work, until ``stop`` is set; returns when those in hand are done.

    Two at a time by default, so that one that waits for a peer that does not answer does not hold up
    the rest. A job of a worker that was killed is taken over when its lease of ``lease_seconds`` runs out.
    """
    name = f"{socket.gethostname()[:32]}:{os.getpid()}"
    loops = [
        threading.Thread(target=_loop, args=(stop, f"{name}:{n}", lease_seconds, poll_seconds), name=f"jobs-{n}")
        for n in range(threads)
    ]
    loops += regular.threads(stop)
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()


def _loop(stop: threading.Event, name: str, lease_seconds: float, poll_seconds: float) -> None:
    # Process ids come again after a restart; the random part makes an owner unique for ever.
    owner = f"{name}:{uuid.uuid4().hex[:8]}"
    idle, swept_at = poll_seconds, 0.0
    try:
        while not stop.is_set():
            try:
                close_old_connections()
                if not swept_at or time.monotonic() - swept_at > _SWEEP_SECONDS:
                    swept_at = time.monotonic()
                    queue.sweep(timezone.now() - KEEP_DONE)
                worked = work_once(owner, lease_seconds)
                idle = poll_seconds
            except (DatabaseError, InterfaceError) as error:
                log.warning("the database does not answer the worker", error=queue.describe(error))
                connection.close()
                worked, idle = False, min(idle * 2, _LONGEST_IDLE)
            if not worked:
                stop.wait(idle)
    finally:
        connection.close()


def work_once(owner: str, lease_seconds: float = 60.0) -> bool:
    """Does the job that is due, if one is; returns whether one was. Raises only what the database raises."""
    job = queue.claim(owner, lease_seconds, kinds=queue.kinds())
    if job is None:
        return False
    with kept(lambda: queue.extend(job, lease_seconds), lease_seconds, f"job {job.id}") as lost:
        held = _do(job)
    if not held or lost.is_set():
        log.warning("job went to another worker while it was done", job=job.id, kind=job.kind)
    return True


def _do(job: Claimed) -> bool:
    """Runs the handler and writes down how it ended; False when the job had gone to another worker."""
    try:
        queue.handler_of(job.kind)(job.payload)
    except Later as later:
        return queue.postpone(job, later.seconds)
    except GiveUp as end:
        log.error("job given up", job=job.id, kind=job.kind, reason=end.reason)
        return queue.give_up(job, end.reason)
    except Exception as error:  # noqa: BLE001 - whatever one job does, the loop goes on with the next
        log.warning("job failed", job=job.id, kind=job.kind, attempt=job.attempt, error=queue.describe(error))
        return queue.retry(job, error)
    return queue.finish(job)
