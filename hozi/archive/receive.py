"""An object comes in. This is the only way into the archive; every door that takes images calls it.

The order is the promise (acknowledged means safe): the bytes are written to the incoming area and hashed while they
arrive; they are flushed while the dataset is scanned and its rows are written; only when the bytes are durable do index
and audit commit, together; the file gets its final name; only then does the caller have a `Receipt` and may answer
success. Wherever the power fails in between, the file still lies in the incoming area, its header says what hash the
whole dataset has, and `Receiver.take_in_leftovers` goes on from there.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

from django.db import Error as DatabaseProblem
from django.db import transaction
from django.db.models import QuerySet

from hozi.archive.arrived import (
    UNFINISHED,
    Announced,
    Origin,
    Whole,
    candidate_for,
    case_for,
    contradiction,
    entry_for,
    facts_of,
    finished,
    header_for,
    nameless,
    recovered,
)
from hozi.archive.exceptions import Reason, raise_case
from hozi.archive.facts import Facts
from hozi.archive.index import Finding, Index
from hozi.archive.models import ExceptionCase, StoredObject
from hozi.archive.place import incoming, volume
from hozi.audit.record import Code, Outcome, record
from hozi.core.dicom import part10
from hozi.core.errors import Refused, Unavailable, Unreadable
from hozi.core.storage.volume import Missing
from hozi.settings import HOZI

log = logging.getLogger(__name__)

#: Objects beyond so many bytes are flushed before they queue for the commit: others need not wait for their flush.
_LARGE = 8 << 20

#: How long the file of a first copy may take from commit to its place before it counts as lost.
_PATIENCE_SECONDS = 2.0
_PATIENCE_STEPS = 40


#: How long the disk is believed to have the room that it had; that it has none a write says, too.
_FREE_FOR_SECONDS = 0.1

_SQLITE_FULL: Final = 13
_DISK_FULL: Final = "53100"


class NoRoom(Unavailable):
    """The disk has no room for more images."""


class TooLarge(Unreadable):
    """The object is larger than this archive takes in."""


class Result(Enum):
    """What became of an object."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the object, durably: it is in the archive, was there already, or lies in quarantine.

    ``study``, ``series`` and ``instance``: their UIDs, as far as the object could be read.
    """

    result: Result
    reason: Reason | None = None
    explanation: str = ""
    findings: tuple[str, ...] = ()
    study: str = field(default="", compare=False)
    series: str = field(default="", compare=False)
    instance: str = field(default="", compare=False)


Check = Callable[[Facts], None]
"""Raises `Refused` for an object that whoever brings it may not bring: nothing of it is kept."""


class Receiver:
    """Takes objects in. One for each process; any number of threads may use it."""

    def __init__(self) -> None:
        self._incoming = incoming()
        self._volume = volume()
        self._index = Index()
        self._unsettled: deque[Whole] = deque()
        self._free: int | None = None
        self._ask_again = 0.0
        self._flushing = ThreadPoolExecutor(HOZI.max_associations, "flush")

    def receive(
        self,
        announced: Announced,
        origin: Origin,
        chunks: Iterable[bytes | memoryview],
        *,
        preamble: str = "empty",
        check: Check | None = None,
    ) -> Receipt:
        """Takes in the dataset that ``chunks`` brings, and returns when its fate is durable.

        ``preamble`` is what a file had in front of it (`part10.preamble_kind`): it never comes in, and an
        executable one raises an exception case.
        Raises `NoRoom` and `TooLarge` (nothing is kept), and whatever ``chunks`` raises (likewise: the sender was
        told nothing, so it still has the object).
        """
        return self.take(announced, origin, chunks, preamble=preamble, check=check)()

    def take(
        self,
        announced: Announced,
        origin: Origin,
        chunks: Iterable[bytes | memoryview],
        *,
        preamble: str = "empty",
        check: Check | None = None,
    ) -> Callable[[], Receipt]:
        """The first half of `receive`: returns when all of ``chunks`` has come, what does the second half.

        That is called once, in any thread: of objects that come one after the other, several find out their fate at
        the same time. ``check`` looks at each that can be read, and may refuse it; then its `Refused` is raised.
        """
        self._need_room()
        with _told_when_full():
            whole = self._arrive(announced, origin, chunks)
        return lambda: self._find_out(whole, preamble, check)

    def _find_out(self, whole: Whole, preamble: str, check: Check | None) -> Receipt:
        """The second half of `receive`."""
        with _told_when_full():
            try:
                if preamble == "executable":
                    _record_preamble(whole)
                receipt = self._settle(whole, check)
            except (NoRoom, Refused):
                # Nothing of it was committed. What was kept of all that is refused would fill the disk for good.
                with suppress(OSError):
                    whole.durable()  # else it would be flushed after it is gone
                whole.file.discard()
                raise
            except (DatabaseProblem, OSError):
                self._set_aside(whole)
                raise
            self._settle_another()
            if preamble == "executable" and receipt.result is not Result.QUARANTINED:
                _ask_about_preamble(whole)
            return receipt

    def _settle_another(self) -> None:
        """What came while database or disk failed, and may have been committed: one with each that goes well."""
        try:
            whole = self._unsettled.popleft()
        except IndexError:
            return
        try:
            self._settle(whole)
        except (DatabaseProblem, OSError, NoRoom):
            self._set_aside(whole)

    def _set_aside(self, whole: Whole) -> None:
        """Keeps what may be committed, perhaps without its place. What no disk holds is not: nobody was told of it."""
        try:
            whole.durable()
        except OSError:
            whole.file.discard()
        else:
            if Path(whole.file.name).exists():  # else it has its place already
                self._unsettled.append(whole)

    def _arrive(self, announced: Announced, origin: Origin, chunks: Iterable[bytes | memoryview]) -> Whole:
        """Writes what comes; returns when all of it has come and can be read, while it is being flushed."""
        header = header_for(announced, origin, UNFINISHED)
        arrival = self._incoming.begin(header)
        try:
            most = HOZI.max_object_bytes
            for chunk in chunks:
                arrival.write(chunk)
                if arrival.length > most:
                    raise TooLarge(f"the object is larger than {most} bytes, the most that this archive takes")
            sha256 = arrival.sha256
            arrival.complete(finished(header, sha256))
        except BaseException:
            arrival.discard()
            raise
        flushed = self._flushing.submit(arrival.flush)
        return Whole(
            arrival,
            announced,
            origin,
            sha256,
            arrival.header_sha256,
            arrival.offset,
            arrival.length,
            flushed.result,
            sha256,
        )

    def _need_room(self) -> None:
        now = time.monotonic()
        if now >= self._ask_again:
            self._free, self._ask_again = self._volume.free_bytes(), now + _FREE_FOR_SECONDS
        free = self._free
        if free is not None and free < HOZI.min_free_bytes:
            raise NoRoom(f"less than {HOZI.min_free_bytes >> 20} MiB are free on the disk")

    def _settle(self, whole: Whole, check: Check | None = None) -> Receipt:
        """Finds out what the object is, and puts it where it belongs: the archive or quarantine."""
        try:
            facts = facts_of(whole)
        except Unreadable as error:
            return self._quarantine(whole, Reason.UNREADABLE, str(error))
        if check is not None:
            try:
                check(facts)
            except Refused:
                record(entry_for(whole, Outcome.MINOR_FAILURE, {"result": "refused"}, facts))
                raise
        complaint = contradiction(facts, whole.announced)
        if complaint is not None:
            return self._quarantine(whole, *complaint)
        if whole.length > _LARGE:
            whole.durable()  # not while the database is locked for it
        with _undone_when_full():
            verdict = self._index.add(candidate_for(whole, facts))
        if verdict.finding is Finding.STORED:
            self._volume.put(whole.file.name, verdict.key)
            return _receipt(Result.STORED, facts)
        if verdict.finding is Finding.DUPLICATE:
            self._drop_or_replace(whole, verdict.key)
            return _receipt(Result.DUPLICATE, facts)
        self._put_once(whole, verdict.key)
        return _receipt(Result.QUARANTINED, facts, verdict.reason, verdict.explanation)

    def _quarantine(self, whole: Whole, reason: Reason, explanation: str) -> Receipt:
        whole.durable()
        with _undone_when_full(), transaction.atomic():
            case, _ = raise_case(case_for(whole, reason, explanation))
            record(entry_for(whole, Outcome.MINOR_FAILURE, {"reason": reason.value}))
        self._put_once(whole, case.key)
        return Receipt(Result.QUARANTINED, reason, explanation, instance=whole.announced.sop_instance)

    def _put_once(self, whole: Whole, key: str) -> None:
        """Puts an object into quarantine, unless the same one lies there already."""
        self._put_unless_sound(whole, key, ExceptionCase.objects.all())

    def _drop_or_replace(self, whole: Whole, key: str) -> None:
        """Drops a second copy, once the first one is seen to be there and sound: success must be true.

        The first may be on its way (committed by another thread a moment ago). When it does not come, a crash or
        a damaged disk has taken it, and this copy takes its place.
        """
        for _ in range(0 if whole.left_behind else _PATIENCE_STEPS):
            if self._volume.size(key) is not None:
                break
            time.sleep(_PATIENCE_SECONDS / _PATIENCE_STEPS)
        if self._put_unless_sound(whole, key, StoredObject.objects.all()):
            log.warning("an object whose file was missing or damaged came again and was put back: %s", key)

    def _put_unless_sound(self, whole: Whole, key: str, rows: QuerySet[Any]) -> bool:
        """Puts the file under the key, or drops it where a sound one is; tells whether it was put.

        The row of that key then describes this file, whose header may be another one. It is locked meanwhile: copies
        that come at once, to whatever process, take turns.
        """
        if not self._holds(key, whole.sha256, rows):
            with transaction.atomic():
                list(rows.select_for_update().filter(key=key))
                if not self._holds(key, whole.sha256, rows):
                    told: dict[str, Any] = {"dataset_offset": whole.offset, "length": whole.length}
                    if rows.model is StoredObject:
                        told["header_sha256"] = whole.header_sha256
                    rows.filter(key=key).update(**told)
                    self._volume.put(whole.file.name, key)
                    return True
        whole.file.discard()
        return False

    def _holds(self, key: str, sha256: str, rows: QuerySet[Any]) -> bool:
        """Whether the file under that key is there and holds the dataset with that hash, behind the header it had."""
        expected = rows.filter(key=key).values_list("header_sha256", flat=True) if rows.model is StoredObject else ()
        try:
            with self._volume.local(key) as path, path.open("rb") as file:
                offset = part10.read_header(file).dataset_offset
                file.seek(0)
                header = hashlib.sha256(file.read(offset)).hexdigest()
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256 and all(
                    header == one for one in expected
                )
        except (Missing, Unreadable):
            return False

    def take_in_leftovers(self) -> dict[str, int]:
        """Goes on with what a crash left in the incoming area; returns how many files had which fate.

        Whole ones are taken in as if they had just arrived. Partial ones were never acknowledged: what came of them is
        set aside in quarantine, as an exception.
        """
        fates: dict[str, int] = {}
        for path in self._incoming.left_behind():
            try:
                fate = self._take_in(path)
            except (DatabaseProblem, OSError, NoRoom) as error:
                # It stays where it is, and the next start tries again: what is in the archive can be used meanwhile.
                log.error("a file that an unclean stop left cannot be taken in now: %s", type(error).__name__)
                fate = "left"
            fates[fate] = fates.get(fate, 0) + 1
        if fates:
            log.warning("taken over from an unclean stop: %s", fates)
        return fates

    def _take_in(self, path: Path) -> str:
        try:
            whole = recovered(path)
        except Unreadable:
            # Not even our own header reached the disk: whose and what it was, nobody can say.
            whole = nameless(path)
        if whole.sha256 == whole.expected_sha256:
            return self._settle(whole).result.value
        still = "the file" if whole.origin.source == "import" else "the sender"
        explanation = f"the transfer was cut off when the program stopped; {still} has the object still"
        self._quarantine(whole, Reason.INTERRUPTED, explanation)
        return "interrupted"

    def close(self) -> None:
        """Gives the process's folder in the incoming area up."""
        self._flushing.shutdown()
        self._incoming.close()


def _receipt(result: Result, facts: Facts, reason: Reason | None = None, explanation: str = "") -> Receipt:
    """Of an object that could be read."""
    findings = () if reason else facts.findings
    return Receipt(result, reason, explanation, findings, facts.study, facts.series, facts.sop_instance)


def _record_preamble(whole: Whole) -> None:
    """A program that lay in front of an object was left out: true whatever becomes of the object."""
    detail = {"reason": Reason.EXECUTABLE_PREAMBLE.value}
    record(dataclasses.replace(entry_for(whole, Outcome.MINOR_FAILURE, detail), code=Code.SECURITY_ALERT))


def _ask_about_preamble(whole: Whole) -> None:
    """An exception of its own, unless the object lies in quarantine and a person looks at it anyway."""
    explanation = "an executable preamble was left out; the image itself came in"
    case = case_for(whole, Reason.EXECUTABLE_PREAMBLE, explanation)
    case.key = ""
    with transaction.atomic():
        raise_case(case)


@contextmanager
def _told_when_full() -> Iterator[None]:
    """Raises NoRoom when the disk has none."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoom("the disk is full") from None
        raise


@contextmanager
def _undone_when_full() -> Iterator[None]:
    """Raises NoRoom when the database undid what it was told in here, having no room to write it."""
    try:
        yield
    except DatabaseProblem as error:
        cause = error.__cause__
        code = getattr(cause, "sqlite_errorcode", None)
        if (code is not None and code & 0xFF == _SQLITE_FULL) or getattr(cause, "sqlstate", None) == _DISK_FULL:
            raise NoRoom("the database has no room left on its disk") from error
        raise
