"""Regular work: what is done again and again, each piece on one node at a time.

A piece that takes its turn each ten seconds or less often is claimed for one turn and given back. One that comes more
often stays with the node that has it, for as long as that lives: a claim is a commit, a commit is a flush of the disk,
and an idle archive must not flush its disk each second.

Like a job, a piece must bear to be done twice: a node that stood still for longer than its lease goes on where it was.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.db.models import Q, QuerySet
from django.utils import timezone

from hozi.jobs.lease import kept
from hozi.jobs.models import Regular
from hozi.jobs.queue import describe

log = structlog.get_logger(__name__)

OFTEN = 10.0
"""Seconds; a piece with a shorter period stays with its node."""

LEASE_SECONDS = 60.0
"""How long after a node died another one takes its pieces."""

_LOOK_EVERY = 30.0
_LONGEST_IDLE = 30.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Work that is done every so many ``seconds``."""

    name: str
    seconds: float
    work: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a piece of regular work stands: when it was done last, when it is due, and what went wrong last time."""

    name: str
    last_ran_at: datetime | None
    due_at: datetime
    last_error: str


_pieces: dict[str, Piece] = {}


def every(seconds: float, name: str, work: Callable[[], object]) -> None:
    """Registers regular work; the worker begins with it at once where it never ran, else when it is due.

    What ``work`` returns is ignored; what it raises is logged and kept, and it is tried again at its next time.
    Registering the same again changes nothing. Raises ValueError when the name stands for other work.
    """
    if seconds <= 0 or not 1 <= len(name) <= 64:
        raise ValueError("regular work has a period above zero and a name of 1 to 64 characters")
    piece = Piece(name, seconds, work)
    if _pieces.setdefault(name, piece) != piece:
        raise ValueError(f"two pieces of regular work are called {name!r}")


def standing() -> list[Standing]:
    """Every piece that ever ran, by name."""
    fields = ("name", "last_ran_at", "due_at", "last_error")
    return [Standing(*row) for row in Regular.objects.order_by("name").values_list(*fields)]


def threads(stop: threading.Event, *, lease_seconds: float = LEASE_SECONDS) -> list[threading.Thread]:
    """One thread for each registered piece, not started: one that hangs or takes long holds up no other."""
    owner = f"{socket.gethostname()[:32]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    return [
        threading.Thread(target=_loop, args=(stop, Turns(piece, owner, lease_seconds)), name=f"regular {piece.name}")
        for piece in _pieces.values()
    ]


def _loop(stop: threading.Event, turns: Turns) -> None:
    idle = 1.0
    try:
        while not stop.is_set():
            try:
                close_old_connections()
                pause = turns.take()
                idle = 1.0
            except (DatabaseError, InterfaceError) as error:
                log.warning("the database does not answer regular work", piece=turns.name, error=describe(error))
                connection.close()
                pause = idle = min(idle * 2, _LONGEST_IDLE)
            if pause > OFTEN:
                connection.close()  # a hundred sleeping pieces must not hold a hundred connections
            stop.wait(pause)
        turns.give_back()
    except (DatabaseError, InterfaceError) as error:
        log.warning("regular work not given back", piece=turns.name, error=describe(error))
    finally:
        connection.close()


class Turns:
    """The turns that one node takes at one piece. ``owner`` must be unique among all nodes."""

    def __init__(self, piece: Piece, owner: str, lease_seconds: float = LEASE_SECONDS) -> None:
        self._piece = piece
        self._owner = owner
        self._lease = lease_seconds
        self._often = piece.seconds < OFTEN
        self._held_at: float | None = None
        self._error = ""

    @property
    def name(self) -> str:
        """The name of the piece."""
        return self._piece.name

    def take(self) -> float:
        """Does the piece if it is due and nobody else has it. Returns in how many seconds to look again."""
        began = time.monotonic()
        if self._held_at is None or began - self._held_at > self._lease / 3:
            pause = self._claim()
            if pause is not None:
                self._held_at = None
                return pause
            self._held_at = began
        began_at = timezone.now()
        with kept(self._extend, self._lease, self.name) as lost:
            error = self._do()
        if lost.is_set():
            log.warning("regular work went to another node while it was done", piece=self.name)
            self._held_at = None
        elif not self._often or error != self._error:
            self._write_down(began_at, error)
        return max(0.0, self._piece.seconds - (time.monotonic() - began))

    def give_back(self) -> None:
        """What this node still holds may go to another at once."""
        if self._held_at is not None:
            self._held_at = None
            self._mine().update(owner="", lease_until=None)

    def _claim(self) -> float | None:
        """Takes the piece; or says in how many seconds to look again."""
        row = Regular.objects.filter(name=self.name).first()
        now = timezone.now()
        if row is None:
            Regular.objects.bulk_create([Regular(name=self.name, due_at=now)], ignore_conflicts=True)
            return 0.0
        if row.lease_until is not None and row.lease_until > now and row.owner != self._owner:
            return min((row.lease_until - now).total_seconds(), _LOOK_EVERY)
        until_due = (row.due_at - now).total_seconds()
        # A time further away than the period comes from a clock that went wrong, or from a period that was longer.
        if not self._often and 0 < until_due <= self._piece.seconds:
            return min(until_due, _LOOK_EVERY)
        as_seen = Q(pk=row.pk, owner=row.owner, due_at=row.due_at, lease_until=row.lease_until)
        changes: dict[str, object] = {"last_ran_at": now} if self._often else {}
        until = now + timedelta(seconds=self._lease)
        claimed = Regular.objects.filter(as_seen).update(owner=self._owner, lease_until=until, **changes)
        return None if claimed else 0.5

    def _extend(self) -> bool:
        return self._mine().update(lease_until=timezone.now() + timedelta(seconds=self._lease)) == 1

    def _do(self) -> str:
        try:
            self._piece.work()
        except Exception as error:  # noqa: BLE001 - whatever one piece does, it has its next turn, and so have others
            text = describe(error)
            log.warning("regular work failed", piece=self.name, error=text)
            return text
        return ""

    def _write_down(self, began_at: datetime, error: str) -> None:
        self._error = error
        changes: dict[str, object] = {"last_ran_at": began_at, "last_error": error}
        if not self._often:
            next_at = began_at + timedelta(seconds=self._piece.seconds)
            changes |= {"due_at": max(next_at, timezone.now()), "owner": "", "lease_until": None}
            self._held_at = None
        self._mine().update(**changes)

    def _mine(self) -> QuerySet[Regular]:
        return Regular.objects.filter(name=self.name, owner=self._owner)
