"""The job that sends a study to a device because a person asked for it, as C-MOVE would (PS3.4 §C.4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hozi.archive import sending
from hozi.archive.fetch import Holding
from hozi.core.errors import HoziError
from hozi.doors.dimse.move import send_to
from hozi.jobs.queue import register


@dataclass
class _Tally:
    """How many objects were sent, and how many could not be. Nobody waits for an answer, so nobody cancels."""

    sent: int = 0
    failed: int = 0
    cancelled: bool = False

    def check_cancel(self) -> bool:
        return False

    def count(self, holding: Holding, code: int | None) -> None:
        """Counted by `add`."""

    def add(self, holding: Holding, sent: bool) -> None:
        self.sent += sent
        self.failed += not sent


@register(sending.SEND)
def send(payload: dict[str, Any]) -> None:
    """Sends what was asked for, if who asked still may; a device that does not answer is tried again later.

    What was sent before it broke off is sent again then: a device that has an object already takes it as such.
    """
    due = sending.due(payload)
    tally = _Tally()
    try:
        send_to(due.device, due.images, tally, tally)
    except (HoziError, OSError):
        sending.tell(due, tally.sent, tally.failed, whole=False)
        raise
    sending.tell(due, tally.sent, tally.failed, whole=True)
