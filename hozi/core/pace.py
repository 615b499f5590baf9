"""How fast something may happen: a burst, and then so many a second."""

from __future__ import annotations

import threading
import time


class Bucket:
    """Lets a burst through, and then so many a second. Thread-safe."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._left, self._filled_at = float(burst), time.monotonic()
        self._held_back = 0
        self._lock = threading.Lock()

    def take(self) -> int | None:
        """None when this one must be held back; else how many were held back since the last that was not."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self._burst, self._left + (now - self._filled_at) * self._per_second)
            self._filled_at = now
            if self._left < 1:
                self._held_back += 1
                return None
            self._left -= 1
            held_back, self._held_back = self._held_back, 0
            return held_back
