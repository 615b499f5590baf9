"""When a device was last heard of: kept in memory as it calls, written down at most once a minute for each device.

Images keep the disk to themselves: nothing is written with a call or with an image, and one small transaction carries
the news of all devices. A crash loses the news of the last minute, which the next call replaces.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.utils import timezone

from hozi.facilities.models import Device, Heard

log = structlog.get_logger(__name__)

PERIOD: Final = 60.0
"""Seconds between two writes for one device."""

_GATHER: Final = 1.0  # after the first news, so long for others to come along
_AFTER_A_FAILURE: Final = 30.0


@dataclass(frozen=True, slots=True)
class LastHeard:
    """When a device called last and from where; when it last brought an image (None: never)."""

    called_at: datetime
    called_from: str
    stored_at: datetime | None


@dataclass(slots=True)
class _News:
    called_at: datetime
    called_from: str
    stored_at: datetime | None = None


class Ears:
    """Hears devices in this process. Thread-safe. ``period``: seconds between two writes for one device."""

    def __init__(self, period: float = PERIOD, gather: float = _GATHER) -> None:
        self._period, self._gather = period, gather
        self._changed = threading.Condition()
        self._news: dict[str, _News] = {}
        self._due: dict[str, float] = {}
        self._written_at: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._listeners = 0
        self._stopping = False

    def heard(self, name: str, address: str, *, stored: bool = False) -> None:
        """The device of that name has called (or brought an image) just now. Costs no query."""
        now = timezone.now()
        with self._changed:
            news = self._news.get(name)
            if news is None:
                news = self._news[name] = _News(now, address[:64])
                at = time.monotonic()
                self._due[name] = max(at + self._gather, self._written_at.get(name, -self._period) + self._period)
                self._changed.notify()
            news.called_at, news.called_from = now, address[:64]
            if stored:
                news.stored_at = now

    def start(self) -> None:
        """Writes news down from now on, in a thread of its own, until each who started it has stopped it."""
        with self._changed:
            self._listeners += 1
            if self._thread is None:
                self._stopping = False
                self._thread = threading.Thread(target=self._loop, name="heard", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Writes down what is left, and no more."""
        with self._changed:
            self._listeners = max(0, self._listeners - 1)
            if self._listeners or self._thread is None:
                return
            thread, self._thread = self._thread, None
            self._stopping = True
            self._changed.notify()
        thread.join()

    def write(self, *, everything: bool = False) -> int:
        """Writes down the news that is due (or everything), in one transaction. Returns of how many devices."""
        with self._changed:
            now = time.monotonic()
            names = [name for name, due in self._due.items() if everything or due <= now]
            news = {name: self._news.pop(name) for name in names}
            for name in names:
                del self._due[name]
                self._written_at[name] = now
        try:
            _write(news)
        except (DatabaseError, InterfaceError):
            self._put_back(news)
            raise
        return len(news)

    def _put_back(self, news: dict[str, _News]) -> None:
        """What could not be written waits; what was heard meanwhile is newer."""
        with self._changed:
            for name, old in news.items():
                newer = self._news.setdefault(name, old)
                newer.stored_at = newer.stored_at or old.stored_at
                self._due[name] = time.monotonic() + _AFTER_A_FAILURE

    def _loop(self) -> None:
        try:
            while self._wait():
                self._attempt()
            self._attempt(everything=True)
        finally:
            connection.close()

    def _wait(self) -> bool:
        """Until something is due; False when it is time to stop."""
        with self._changed:
            while not self._stopping:
                seconds = min(self._due.values(), default=None)
                if seconds is not None:
                    seconds -= time.monotonic()
                    if seconds <= 0:
                        return True
                self._changed.wait(seconds)
            return False

    def _attempt(self, *, everything: bool = False) -> None:
        try:
            self.write(everything=everything)
        except (DatabaseError, InterfaceError) as error:
            log.warning("not written down when devices called", error=type(error).__name__)
        finally:
            connection.close()


def _write(news: dict[str, _News]) -> None:
    if not news:
        return
    with transaction.atomic():
        known = dict(Device.objects.filter(name__in=news).values_list("name", "pk"))
        for stored in (False, True):
            rows = [
                Heard(
                    device_id=known[name],
                    called_at=one.called_at,
                    called_from=one.called_from,
                    stored_at=one.stored_at,
                )
                for name, one in news.items()
                if name in known and bool(one.stored_at) is stored
            ]
            fields = ["called_at", "called_from", *(["stored_at"] if stored else [])]
            Heard.objects.bulk_create(rows, update_conflicts=True, unique_fields=["device"], update_fields=fields)


EARS: Final = Ears()
"""This process's; the listener starts and stops it."""


def last_heard() -> dict[str, LastHeard]:
    """By device name, what is known of those that ever called; up to a minute old."""
    rows = Heard.objects.values_list("device__name", "called_at", "called_from", "stored_at")
    return {name: LastHeard(called_at, called_from, stored_at) for name, called_at, called_from, stored_at in rows}
