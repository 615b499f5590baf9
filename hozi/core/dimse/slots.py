"""Counts connections and associations, so that one caller cannot take the place of all others."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class AcceptorLimits:
    """How many associations, and how many connections that have not negotiated yet, there may be at once."""

    total: int = 64
    per_address: int = 16
    pending_per_address: int = 16
    pending_total: int = 64


class Connection(Protocol):
    """What is counted here."""

    @property
    def address(self) -> str:
        """The peer's network address."""

    def interrupt(self) -> None:
        """End it from another thread, without waiting."""


class Slots:
    """The places of one acceptor. All methods may be called from any thread."""

    def __init__(self, limits: AcceptorLimits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._pending: dict[Connection, None] = {}  # the oldest first
        self._established: set[Connection] = set()

    def arrive(self, connection: Connection) -> None:
        """Take in a new connection. Where there are too many that say nothing, the oldest gives way.

        A device behind the address of a hundred silent connections so still gets its turn (A04).
        """
        with self._changed:
            self._pending[connection] = None
            crowd = Counter(other.address for other in self._pending)
            address = None
            if crowd[connection.address] > self._limits.pending_per_address:
                address = connection.address
            elif len(self._pending) > self._limits.pending_total:
                address = max(crowd, key=crowd.__getitem__)
            oldest = next((other for other in self._pending if other.address == address), None)
            if oldest is not None:
                del self._pending[oldest]
        if oldest is not None:
            oldest.interrupt()

    def establish(self, connection: Connection) -> bool:
        """Give a connection that has asked for an association its place; False when there is none."""
        with self._changed:
            self._pending.pop(connection, None)
            of_address = sum(other.address == connection.address for other in self._established)
            if len(self._established) >= self._limits.total or of_address >= self._limits.per_address:
                return False
            self._established.add(connection)
            return True

    def leave(self, connection: Connection) -> None:
        """Free the place of a connection that has ended."""
        with self._changed:
            self._pending.pop(connection, None)
            self._established.discard(connection)
            self._changed.notify_all()

    def connections(self) -> list[Connection]:
        """Return all that are here now."""
        with self._changed:
            return [*self._pending, *self._established]

    def wait_empty(self, seconds: float) -> bool:
        """Wait until nobody is here, or for so long; return whether nobody is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending and not self._established, seconds)
