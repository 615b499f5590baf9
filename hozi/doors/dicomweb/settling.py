"""Objects that came one after the other find out their fates at the same time: they share commits and flushes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

from django.db import connections

from hozi.archive.receive import Receipt

THREADS: Final = 12
"""For one request, as long as there are EXTRA ones; each has one of its own in any case."""

EXTRA: Final = 24
"""For all requests of this process together: each thread has a connection to the database."""

UNDER_WAY: Final = 32
"""So many objects have come and wait for their fate at most; then the next one waits to be taken."""


_extra: Final = threading.BoundedSemaphore(EXTRA)


class Fate:
    """What will have become of one object: a receipt, or the error that it met."""

    __slots__ = ("error", "receipt")

    def __init__(self) -> None:
        self.receipt: Receipt | None = None
        self.error: BaseException | None = None


class Settling:
    """The threads of one request, made as they are needed; `finish` waits for all that was given to `add`."""

    def __init__(self) -> None:
        self._work: queue.Queue[tuple[Callable[[], Receipt], Fate] | None] = queue.Queue(UNDER_WAY)
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = threading.Lock()

    def add(self, find_out: Callable[[], Receipt]) -> Fate:
        """Lets ``find_out`` run in one of the threads; its fate is told when `finish` has returned."""
        fate = Fate()
        with self._lock:
            more = not self._idle and len(self._threads) < THREADS
            if self._idle:
                self._idle -= 1
        if more and (not self._threads or _extra.acquire(blocking=False)):
            thread = threading.Thread(target=self._run, name="settle", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put((find_out, fate))
        return fate

    def finish(self) -> None:
        """Returns when every fate is told."""
        for _ in self._threads:
            self._work.put(None)
        for number, thread in enumerate(self._threads):
            thread.join()
            if number:
                _extra.release()
        self._threads.clear()

    def _run(self) -> None:
        try:
            while (work := self._work.get()) is not None:
                find_out, fate = work
                try:
                    fate.receipt = find_out()
                except BaseException as error:  # noqa: BLE001 - told to whoever waits for it
                    fate.error = error
                with self._lock:
                    self._idle += 1
        finally:
            connections.close_all()
