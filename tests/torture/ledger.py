"""What the senders were told: which objects were acknowledged, refused, or left without an answer."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hozi.core.dimse import status
from tests.torture.objects import Made


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An object that was answered 0000, and the SHA-256 of its dataset."""

    made: Made
    sha256: str


@dataclass(eq=False, slots=True)
class UnderWay:
    """An object that is being sent; ``taken`` when it was answered with success, or that it is kept aside."""

    taken: bool = False


class Ledger:
    """Filled by any number of senders at once; the checks compare the archive with it."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, Acknowledged] = {}
        self.sent: dict[str, set[str]] = defaultdict(set)
        self.statuses: Counter[int] = Counter()
        self.successes = 0
        self.faults: list[str] = []
        self.kept_aside: dict[str, Counter[str]] = defaultdict(Counter)
        self.open: Counter[str] = Counter()
        self._under_way: list[UnderWay] = []
        self._changed = threading.Condition()

    def begin(self, made: Made, sha256: str) -> None:
        """The object is about to be sent; until it is answered, the archive may have it or not."""
        with self._changed:
            self.sent[made.uid].add(sha256)
            self.open[made.uid] += 1

    def answer(self, made: Made, sha256: str, code: int) -> None:
        """The object was answered. Failures leave open whether the archive has it."""
        with self._changed:
            self.statuses[code] += 1
            if code == status.SUCCESS:
                self._acknowledge(made, sha256)
            elif code == status.COERCION_OF_DATA_ELEMENTS:
                self.kept_aside[made.uid][sha256] += 1
                self.open[made.uid] -= 1
            self._changed.notify_all()

    @contextmanager
    def under_way(self) -> Iterator[UnderWay]:
        """While one object is sent: from before its first byte until its sender has an answer, or expects none."""
        one = UnderWay()
        with self._changed:
            self._under_way.append(one)
        try:
            yield one
        finally:
            with self._changed:
                self._under_way.remove(one)

    def all_under_way(self) -> list[UnderWay]:
        """What is `under_way` at this moment."""
        with self._changed:
            return list(self._under_way)

    def _acknowledge(self, made: Made, sha256: str) -> None:
        self.successes += 1
        self.open[made.uid] -= 1
        known = self.acknowledged.setdefault(made.uid, Acknowledged(made, sha256))
        if known.sha256 != sha256:
            self.faults.append(f"{made.uid}: two different contents of it were acknowledged")

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits until an answer has made ``condition`` true; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def of_round(self, number: int) -> dict[str, Acknowledged]:
        """The objects that were made in a round and have been acknowledged, by SOP Instance UID."""
        with self._changed:
            return {uid: known for uid, known in self.acknowledged.items() if known.made.round == number}

    def unsure(self) -> Collection[str]:
        """UIDs of which one sending at least got no answer, or a failure."""
        with self._changed:
            return {uid for uid, count in self.open.items() if count > 0}
