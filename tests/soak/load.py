"""Twenty associations that store, ask, get and move, and somebody who imports: for as long as they are let."""

from __future__ import annotations

import random
import subprocess
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from hozi.core.dimse import status
from hozi.core.dimse.association import Association, Message
from hozi.core.dimse.requestor import associate, propose
from hozi.core.errors import HoziError
from tests.core.dimse.listening import STUDY_FIND, STUDY_GET, STUDY_MOVE
from tests.dicom_files import file_bytes
from tests.doors.dimse.images import CT, EXPLICIT, IMPLICIT, encoded, image

CALLER: Final = "SOAK"
DESTINATION: Final = "SOAKVIEW"
IMAGES: Final = 20
_SIDE: Final = 96
#: How many associations do what, and how long each rests after each piece of work, in seconds.
SHIFTS: Final = {"store": (8, 0.1), "find": (6, 0.1), "get": (4, 0.3), "move": (2, 0.4)}
_PATIENTS: Final = 500
_RECENT: Final = 200
_MESSAGES: Final = 25


class Load:
    """The work of one soak. ``command`` runs a `hozi` command; errors are collected, none is raised."""

    def __init__(self, port: int, command: Callable[..., subprocess.CompletedProcess[str]], seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        self._port = port
        self._command = command
        self._seed = seed
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._recent: deque[str] = deque(maxlen=_RECENT)
        work = {"store": self._store, "find": self._find, "get": self._get, "move": self._move}
        self._threads = [
            threading.Thread(target=self._shift, args=(work[kind], pause, f"{seed}-{kind}-{number}"))
            for kind, (count, pause) in SHIFTS.items()
            for number in range(count)
        ]
        self._threads.append(threading.Thread(target=self._importing))

    @property
    def associations(self) -> int:
        """How many there are at a time."""
        return len(self._threads) - 1

    def start(self) -> None:
        """Lets them begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Tells them to finish what they are at, and waits for it."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def kept(self) -> int:
        """How many images were acknowledged."""
        return self.done["store"] + self.done["import"]

    def _note(self, what: str, count: int = 1) -> None:
        with self._lock:
            self.done[what] += count

    def _fault(self, text: str) -> None:
        with self._lock:
            self.errors.append(text)

    def _shift(self, work: Callable[[Association, random.Random], None], pause: float, seed: str) -> None:
        """An association for some messages, then another one, and so on."""
        chance = random.Random(seed)
        while not self._stop.is_set():
            try:
                with self._association() as association:
                    for _ in range(chance.randrange(1, 2 * _MESSAGES)):
                        work(association, chance)
                        if self._stop.wait(pause * chance.uniform(0.5, 1.5)):
                            break
            except HoziError as error:
                self._fault(f"{work.__name__}: {type(error).__name__}: {error}")
                self._stop.wait(1)

    def _association(self) -> Association:
        contexts = propose({CT: [EXPLICIT], STUDY_FIND: [IMPLICIT], STUDY_GET: [IMPLICIT], STUDY_MOVE: [IMPLICIT]})
        return associate(
            "127.0.0.1",
            self._port,
            calling_ae=CALLER,
            called_ae="HOZI",
            contexts=contexts,
            roles={CT: (True, True)},
        )

    def _images(self, chance: random.Random) -> list[Dataset]:
        """A new study of one of the patients."""
        patient = chance.randrange(_PATIENTS)
        told: dict[str, Any] = {
            "StudyInstanceUID": generate_uid(),
            "SeriesInstanceUID": generate_uid(),
            "PatientID": f"SOAK-{patient}",
            "PatientName": f"Muedzo^Nhamba {patient}",
            "AccessionNumber": f"A{chance.randrange(10**9)}",
            "StudyDate": f"2026{chance.randrange(1, 13):02}{chance.randrange(1, 29):02}",
            "Rows": _SIDE,
            "Columns": _SIDE,
        }
        pixels = chance.randbytes(_SIDE * _SIDE)
        return [image(InstanceNumber=n, PixelData=pixels, **told) for n in range(1, IMAGES + 1)]

    def _store(self, association: Association, chance: random.Random) -> None:
        [context] = association.contexts_for(CT)
        images = self._images(chance)
        for dataset in images:
            answer = association.store(context, CT, str(dataset.SOPInstanceUID), [encoded(dataset)])
            if answer.status != status.SUCCESS:
                self._fault(f"an image was answered {answer.status:04X}")
                return
            self._note("store")
            if self._stop.wait(SHIFTS["store"][1] * chance.uniform(0.5, 1.5)):
                return
        self._recent.append(str(images[0].StudyInstanceUID))

    def _find(self, association: Association, chance: random.Random) -> None:
        question = Dataset()
        question.QueryRetrieveLevel = "STUDY"
        question.StudyInstanceUID = ""
        question.NumberOfStudyRelatedInstances = ""
        asked = chance.choice(("PatientID", "PatientName", "StudyDate"))
        patient = chance.randrange(_PATIENTS)
        values = {"PatientID": f"SOAK-{patient}", "PatientName": f"muedzo^nhamba {patient}*", "StudyDate": "20260101"}
        setattr(question, asked, values[asked])
        [context] = association.contexts_for(STUDY_FIND)
        self._last(list(association.find(context, encoded(question, IMPLICIT))), "find")

    def _get(self, association: Association, chance: random.Random) -> None:
        if (identifier := self._study(chance)) is None:
            return
        came = 0

        def keep(message: Message) -> int:
            nonlocal came
            for _ in message.fragments():
                pass
            came += 1
            return status.SUCCESS

        [context] = association.contexts_for(STUDY_GET)
        self._last(list(association.get(context, identifier, keep)), "get")
        if came != IMAGES:
            self._fault(f"a study came with {came} images")

    def _move(self, association: Association, chance: random.Random) -> None:
        if (identifier := self._study(chance)) is not None:
            [context] = association.contexts_for(STUDY_MOVE)
            self._last(list(association.move(context, identifier, DESTINATION)), "move")

    def _study(self, chance: random.Random) -> bytes | None:
        """The identifier of a study that was stored whole a while ago."""
        if not self._recent:
            return None
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "STUDY"
        wanted.StudyInstanceUID = chance.choice(list(self._recent))
        return encoded(wanted, IMPLICIT)

    def _last(self, answers: list[tuple[Any, bytes | None]], what: str) -> None:
        """The last answer must be success."""
        if answers[-1][0].status == status.SUCCESS:
            self._note(what)
        else:
            self._fault(f"{what} was answered {answers[-1][0].status:04X}")

    def _importing(self) -> None:
        """A CD after the other, with some time between."""
        chance = random.Random(f"{self._seed}-import")
        while not self._stop.wait(2):
            with tempfile.TemporaryDirectory() as folder:
                images = self._images(chance)
                for number, dataset in enumerate(images):
                    (Path(folder) / f"IM{number:04}").write_bytes(file_bytes(dataset))
                done = self._command("import", folder)
            if done.returncode:
                self._fault(f"an import ended with {done.returncode}: {done.stderr.strip()[-200:]}")
            else:
                self._note("import", len(images))
                self._recent.append(str(images[0].StudyInstanceUID))
