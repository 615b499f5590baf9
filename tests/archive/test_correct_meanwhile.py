"""A correction of a patient, and a new study of the same patient at the same moment: neither misses the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO

from hozi.accounts.authorise import EVERYTHING
from hozi.archive import correct, index
from hozi.archive.arrived import Announced, Origin
from hozi.archive.fetch import SOP_INSTANCE_UID, Selection
from hozi.archive.models import NameWord, Patient, Study
from hozi.core.dicom.keys import tag_of
from tests.archive.conftest import Counter
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image

pytestmark = pytest.mark.database

NAME = tag_of("PatientName")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture(autouse=True)
def transactions_at_the_same_time(counter: Counter) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("not meant for SQLite, where one transaction writes at a time")


def bring(counter: Counter, dataset: Dataset) -> None:
    announced = Announced(CT, str(dataset.SOPInstanceUID), EXPLICIT)
    origin = Origin(actor="CT1", facility="MAIN", issuer="MAIN")
    counter.receiver.receive(announced, origin, [encoded(dataset)])


def rename() -> int:
    return correct.edit("PATIENT", str(Patient.objects.get().pk), {NAME: [CORRECTED]}, reason="typo", actor="rutendo")


CORRECTED = {"Alphabetic": "Chikomba^Rudo"}


class Thread(threading.Thread):
    """Does something in a thread with a connection of its own."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - told by `end`
            self.error = error
        finally:
            connections.close_all()

    def end(self) -> None:
        self.join(60)
        assert not self.is_alive()
        assert self.error is None


class Pause:
    """Holds whoever calls a function in the middle of a transaction, until somebody else waits for it (or is done)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.reached, self._go_on = threading.Event(), threading.Event()
        real = getattr(owner, name)

        def paused(*arguments: Any) -> Any:
            done = real(*arguments)
            self.reached.set()
            assert self._go_on.wait(60)
            return done

        monkeypatch.setattr(owner, name, paused)

    def until_it_waits(self, other: Thread) -> None:
        deadline = time.monotonic() + 30
        while other.is_alive():
            with connection.cursor() as cursor:
                cursor.execute(WAITING)
                if cursor.fetchone() != (0,):
                    break
            assert time.monotonic() < deadline, "it neither waits nor ends"
            time.sleep(0.02)
        self._go_on.set()


def name_given(dataset: Dataset) -> str:
    """As a retrieve gives it."""
    [holding] = Selection({SOP_INSTANCE_UID: [dataset.SOPInstanceUID]}, EVERYTHING)
    data = b"".join(bytes(piece) for piece in holding.send_as(EXPLICIT))
    read = dcmread(DicomBytesIO(data), force=True)
    return str(read.PatientName)


def assert_all_say(expected: str, *datasets: Dataset) -> None:
    """The patient, the studies, the words of their names, and what is retrieved: all the same."""
    assert Patient.objects.get().name == expected
    assert set(Study.objects.values_list("patient_name", flat=True)) == {expected}
    assert Study.objects.count() == len(datasets)
    for study in Study.objects.all():
        words = set(NameWord.objects.filter(study=study).values_list("word", flat=True))
        assert words == set(expected.casefold().split("^"))
    assert [name_given(dataset) for dataset in datasets] == [expected] * len(datasets)


def test_a_study_that_comes_while_its_patient_is_being_corrected_is_corrected(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = image(), image()
    bring(counter, first)
    pause = Pause(monkeypatch, correct, "_restate")
    correcting = Thread(rename)
    assert pause.reached.wait(60)
    arriving = Thread(lambda: bring(counter, second))
    pause.until_it_waits(arriving)
    correcting.end()
    arriving.end()
    assert_all_say("Chikomba^Rudo", first, second)


def test_a_correction_that_is_made_while_a_study_comes_reaches_it(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = image(), image()
    bring(counter, first)
    pause = Pause(monkeypatch, index, "record_many")
    arriving = Thread(lambda: bring(counter, second))
    assert pause.reached.wait(60)
    correcting = Thread(rename)
    pause.until_it_waits(correcting)
    arriving.end()
    correcting.end()
    assert_all_say("Chikomba^Rudo", first, second)


@pytest.mark.parametrize("first_goes", ["the study", "the undoing"])
def test_a_correction_that_is_taken_back_while_a_study_comes_is_taken_back_there_too(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, first_goes: str
) -> None:
    first, second = image(), image()
    bring(counter, first)
    correction = rename()
    study_first = first_goes == "the study"
    pause = Pause(monkeypatch, *((index, "record_many") if study_first else (correct, "_restate")))
    both = [lambda: bring(counter, second), lambda: correct.undo(correction, actor="rutendo")]
    if not study_first:
        both.reverse()
    one = Thread(both[0])
    assert pause.reached.wait(60)
    other = Thread(both[1])
    pause.until_it_waits(other)
    one.end()
    other.end()
    assert_all_say("Chikomba^Rutendo", first, second)
