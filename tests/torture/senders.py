"""Devices that send, each in its own thread: Hozi's own requestor, and DCMTK's storescu."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from hozi.core.dicom import part10
from hozi.core.dimse import status
from hozi.core.dimse.association import Association, ProposedContext, Timeouts
from hozi.core.dimse.requestor import associate
from hozi.core.errors import HoziError
from tests import peers
from tests.torture.ledger import Ledger
from tests.torture.objects import CT, EXPLICIT, Sending

AE: Final = "CT1"
ARCHIVE_AE: Final = "HOZI"
TIMEOUTS: Final = Timeouts(artim=10, idle=60, message=60, response=60)

_MEET_SECONDS: Final = 0.3
_PIECE: Final = 1 << 16
_FILE: Final = re.compile(r"Sending file: (?P<path>\S+)|Received Store Response \((?P<answer>[^)]*)\)")
_TAKEN: Final = (status.SUCCESS, status.COERCION_OF_DATA_ELEMENTS)
_ANSWERS: Final = (
    ("Success", status.SUCCESS),
    ("Warning", status.COERCION_OF_DATA_ELEMENTS),
    ("Refused", status.OUT_OF_RESOURCES),
)


class Sender(threading.Thread):
    """Sends what it is given, over several associations, until there is no more or ``stop`` is set.

    What was cut off is sent again, as a scanner does.
    """

    def __init__(
        self, port: int, sendings: Iterable[Sending], ledger: Ledger, rng: random.Random, stop: threading.Event
    ) -> None:
        super().__init__(name="sender", daemon=True)
        self._port = port
        self._sendings = iter(sendings)
        self._ledger = ledger
        self._rng = rng
        self._enough = stop
        self._current: Sending | None = None

    def run(self) -> None:
        """Until there is no more to send, or no more is wanted."""
        self._current = next(self._sendings, None)
        while self._current is not None and not self._enough.is_set():
            try:
                association = associate(
                    "127.0.0.1",
                    self._port,
                    calling_ae=AE,
                    called_ae=ARCHIVE_AE,
                    contexts=[ProposedContext(1, CT, (EXPLICIT,))],
                    timeouts=TIMEOUTS,
                )
                try:
                    self._send_some(association)
                finally:
                    association.close()
            except HoziError:
                self._enough.wait(0.05)

    def _send_some(self, association: Association) -> None:
        for _ in range(self._rng.randint(1, 25)):
            if self._current is None or self._enough.is_set():
                break
            if self._send(association, self._current) not in _TAKEN:
                self._enough.wait(0.05)  # whoever asks again at once gets no other answer
            self._current = next(self._sendings, None)
        association.release()

    def _send(self, association: Association, sending: Sending) -> int:
        made, dataset = sending.made, sending.made.dataset()
        sha256 = hashlib.sha256(dataset).hexdigest()
        if sending.meeting is not None:
            try:
                sending.meeting.wait(_MEET_SECONDS)
            except threading.BrokenBarrierError:
                pass  # the other one is not there: then alone
        slowly = self._rng.random() < 0.1
        self._ledger.begin(made, sha256)
        with self._ledger.under_way() as this:
            answer = association.store(association.contexts_for(CT)[0], CT, made.uid, _pieces(dataset, slowly))
            this.taken = answer.status in _TAKEN
        self._ledger.answer(made, sha256, answer.status)
        return answer.status


def _pieces(dataset: bytes, slowly: bool) -> Iterator[memoryview]:
    view = memoryview(dataset)
    for start in range(0, len(view), _PIECE):
        if slowly:
            time.sleep(0.003)
        yield view[start : start + _PIECE]


class StoreScu(threading.Thread):
    """DCMTK's storescu, called again and again with a few files each time."""

    def __init__(
        self, port: int, sendings: Iterable[Sending], ledger: Ledger, rng: random.Random, stop: threading.Event
    ) -> None:
        super().__init__(name="storescu", daemon=True)
        self._port = port
        self._sendings = iter(sendings)
        self._ledger = ledger
        self._rng = rng
        self._enough = stop

    def run(self) -> None:
        """Until there is no more to send, or no more is wanted."""
        while not self._enough.is_set():
            some = list(islice(self._sendings, self._rng.randint(2, 15)))
            if not some:
                return
            with tempfile.TemporaryDirectory(prefix="hozi-storescu-") as folder:
                self._send(some, Path(folder))

    def _send(self, some: list[Sending], folder: Path) -> None:
        files: dict[str, tuple[Sending, str]] = {}
        for number, sending in enumerate(some):
            dataset = sending.made.dataset()
            path = folder / f"{number}.dcm"
            path.write_bytes(part10.write_header(CT, sending.made.uid, EXPLICIT) + dataset)
            sha256 = hashlib.sha256(dataset).hexdigest()
            files[str(path)] = (sending, sha256)
        # DCMTK lets Nagle's algorithm work unless this variable is set.
        environment = dict(os.environ) | ({"TCP_NODELAY": "1"} if self._rng.random() < 0.7 else {})
        command = [peers.program("storescu"), "-v", "-nh", "-xe", "-aet", AE, "-aec", ARCHIVE_AE]
        process = subprocess.Popen(
            [*command, "127.0.0.1", str(self._port), *files],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        current = ""
        with process.stdout as told:
            for line in told:
                found = _FILE.search(line)
                if found is None:
                    continue
                if found["path"]:
                    current = found["path"]
                    sending, sha256 = files[current]
                    self._ledger.begin(sending.made, sha256)
                else:
                    sending, sha256 = files[current]
                    self._ledger.answer(sending.made, sha256, _status(found["answer"]))
        process.wait()


def _status(answer: str) -> int:
    return next((code for word, code in _ANSWERS if answer.startswith(word)), status.PROCESSING_FAILURE)
