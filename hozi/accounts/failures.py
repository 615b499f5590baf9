"""Secrets that do not open anything, told to the audit at a bounded rate: who guesses must not fill the disk.

Each process tells of one failure a minute from one address, and of thirty a minute in all; the next that is told says
how many were not.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from hozi.audit.record import Code, Entry, Outcome, Type, record

_SECONDS: Final = 60.0
_MOST: Final = 30

_lock = threading.Lock()
_told: dict[tuple[str, str], float] = {}
_untold = 0


def tell(what: str, address: str) -> None:
    """Something (``what``: "token", "link") was tried from the address, and was wrong, ended or not for there."""
    global _untold
    now = time.monotonic()
    with _lock:
        for key in [key for key, at in _told.items() if now - at >= _SECONDS]:
            del _told[key]
        if (what, address) in _told or len(_told) >= _MOST:
            _untold += 1
            return
        _told[what, address] = now
        untold, _untold = _untold, 0
    detail = {"type": Type.LOGIN, "with": what, **({"more": untold} if untold else {})}
    record(Entry(Code.USER_AUTHENTICATION, "E", "unknown", Outcome.MINOR_FAILURE, address=address, detail=detail))


def forget() -> None:
    """Begins to count anew."""
    global _untold
    with _lock:
        _told.clear()
        _untold = 0
