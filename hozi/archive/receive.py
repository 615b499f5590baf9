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
import json
import logging
import mmap
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from django.db import DatabaseError, transaction

from hozi.archive.exceptions import Reason, raise_case
from hozi.archive.facts import Facts
from hozi.archive.index import Candidate, Finding, Index, Verdict
from hozi.archive.models import ExceptionCase, StoredObject
from hozi.archive.place import incoming, volume
from hozi.audit.record import Code, Entry, Outcome, record
from hozi.core.dicom import part10, scan, syntaxes, uids
from hozi.core.errors import Unavailable, Unreadable
from hozi.core.storage.volume import Missing
from hozi.settings import HOZI

log = logging.getLogger(__name__)

_PRIVATE_INFORMATION = 0x00020102

#: What a header says while the dataset is still coming, in the place of its hash.
_UNFINISHED = "0" * 64
_HASH = b'"sha256": "'

#: How long the file of a first copy may take from commit to its place before it counts as lost.
_PATIENCE_SECONDS = 2.0
_PATIENCE_STEPS = 40


class NoRoom(Unavailable):
    """The disk has no room for more images."""


class TooLarge(Unreadable):
    """The object is larger than this archive takes in."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who brings the object: written into the stored file's header, so that it outlives the database."""

    actor: str
    address: str = ""
    facility: str = ""
    issuer: str = ""
    calling_ae: str = ""
    source: str = "dimse"


_ORIGIN = tuple(field.name for field in dataclasses.fields(Origin))


@dataclass(frozen=True, slots=True)
class Announced:
    """What the bringing message says about the dataset."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str


class Result(Enum):
    """What became of an object."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the object, durably: it is in the archive, was there already, or lies in quarantine."""

    result: Result
    reason: Reason | None = None
    explanation: str = ""
    findings: tuple[str, ...] = ()


class Handover(Protocol):
    """Moves a settled arrival out of the incoming area, or drops it."""

    @property
    def path(self) -> Path: ...

    def discard(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Whole:
    """A complete file in the incoming area, with all that is known about it before it is scanned."""

    file: Handover
    announced: Announced
    origin: Origin
    sha256: str
    header_sha256: str
    offset: int
    length: int
    durable: Callable[[], object]  # returns when the bytes are; raises OSError when they cannot be
    expected_sha256: str  # what the header says
    left_behind: bool = False


class Receiver:
    """Takes objects in. One for each process; any number of threads may use it."""

    def __init__(self) -> None:
        self._incoming = incoming()
        self._volume = volume()
        self._index = Index()
        self._unsettled: deque[_Whole] = deque()
        self._flushing = ThreadPoolExecutor(HOZI.max_associations, "flush")

    def receive(
        self, announced: Announced, origin: Origin, chunks: Iterable[bytes | memoryview], *, preamble: str = "empty"
    ) -> Receipt:
        """Takes in the dataset that ``chunks`` brings, and returns when its fate is durable.

        ``preamble`` is what a file had in front of it (`part10.preamble_kind`): it never comes in, and an
        executable one raises an exception case.
        Raises `NoRoom` and `TooLarge` (nothing is kept), and whatever ``chunks`` raises (likewise: the sender was
        told nothing, so it still has the object).
        """
        self._need_room()
        try:
            whole = self._arrive(announced, origin, chunks)
            try:
                receipt = self._settle(whole)
            except DatabaseError:
                self._unsettled.append(whole)
                raise
            self._settle_another()
            if preamble == "executable" and receipt.result is not Result.QUARANTINED:
                _report_preamble(whole)
            return receipt
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoRoom("the disk is full") from None
            raise

    def _settle_another(self) -> None:
        """What came while the database was away and may have been committed in part: one with each that goes well."""
        try:
            whole = self._unsettled.popleft()
        except IndexError:
            return
        try:
            self._settle(whole)
        except (DatabaseError, OSError):
            self._unsettled.append(whole)

    def _arrive(self, announced: Announced, origin: Origin, chunks: Iterable[bytes | memoryview]) -> _Whole:
        """Writes what comes; returns when all of it has come and can be read, while it is being flushed."""
        header = _header(announced, origin, _UNFINISHED)
        arrival = self._incoming.begin(header)
        try:
            most = HOZI.max_object_bytes
            for chunk in chunks:
                arrival.write(chunk)
                if arrival.length > most:
                    raise TooLarge(f"the object is larger than {most} bytes, the most that this archive takes")
            sha256 = arrival.sha256
            arrival.complete(_finished(header, sha256))
        except BaseException:
            arrival.discard()
            raise
        flushed = self._flushing.submit(arrival.flush)
        return _Whole(
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
        free = self._volume.free_bytes()
        if free is not None and free < HOZI.min_free_bytes:
            raise NoRoom(f"less than {HOZI.min_free_bytes >> 20} MiB are free on the disk")

    def _settle(self, whole: _Whole) -> Receipt:
        """Finds out what the object is, and puts it where it belongs: the archive or quarantine."""
        try:
            facts = _facts(whole)
        except Unreadable as error:
            return self._quarantine(whole, Reason.UNREADABLE, str(error))
        complaint = _contradiction(facts, whole.announced)
        if complaint is not None:
            return self._quarantine(whole, *complaint)
        verdict = self._index.add(_candidate(whole, facts))
        if verdict.finding is Finding.STORED:
            self._volume.put(whole.file.path, verdict.key)
            return Receipt(Result.STORED, findings=facts.findings)
        if verdict.finding is Finding.DUPLICATE:
            self._drop_or_replace(whole, verdict.key)
            return Receipt(Result.DUPLICATE, findings=facts.findings)
        self._put_once(whole, verdict.key)
        return Receipt(Result.QUARANTINED, verdict.reason, verdict.explanation)

    def _quarantine(self, whole: _Whole, reason: Reason, explanation: str) -> Receipt:
        whole.durable()
        with transaction.atomic():
            case, _ = raise_case(_case(whole, reason, explanation))
            record(_entry(whole, Outcome.MINOR_FAILURE, {"reason": reason.value}))
        self._put_once(whole, case.key)
        return Receipt(Result.QUARANTINED, reason, explanation)

    def _put_once(self, whole: _Whole, key: str) -> None:
        """Puts an object into quarantine, unless the same one lies there already."""
        if self._holds(key, whole.sha256):
            whole.file.discard()
        else:
            self._volume.put(whole.file.path, key)

    def _holds(self, key: str, sha256: str) -> bool:
        """Whether the file under that key is there, and holds the dataset with that hash."""
        try:
            with self._volume.local(key) as path, path.open("rb") as file:
                file.seek(part10.read_header(file).dataset_offset)
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except (Missing, Unreadable):
            return False

    def _drop_or_replace(self, whole: _Whole, key: str) -> None:
        """Drops a second copy, once the first one is seen to be there and sound: success must be true.

        The first may be on its way (committed by another thread a moment ago). When it does not come, a crash or
        a damaged disk has taken it, and this copy takes its place.
        """
        for _ in range(0 if whole.left_behind else _PATIENCE_STEPS):
            if self._volume.size(key) is not None:
                break
            time.sleep(_PATIENCE_SECONDS / _PATIENCE_STEPS)
        if self._holds(key, whole.sha256):
            whole.file.discard()
            return
        StoredObject.objects.filter(key=key).update(
            header_sha256=whole.header_sha256, dataset_offset=whole.offset, length=whole.length
        )
        self._volume.put(whole.file.path, key)
        log.warning("an object whose file was missing or damaged came again and was put back: %s", key)

    def take_in_leftovers(self) -> dict[str, int]:
        """Goes on with what a crash left in the incoming area; returns how many files had which fate.

        Whole ones are taken in as if they had just arrived. Partial ones were never acknowledged: what came of them
        from a device is set aside in quarantine, as an exception; what an import was copying is dropped, since the
        file that it was copied from is where it was.
        """
        fates: dict[str, int] = {}
        for path in self._incoming.left_behind():
            try:
                fate = self._take_in(path)
            except (DatabaseError, OSError) as error:
                # It stays where it is, and the next start tries again: what is in the archive can be used meanwhile.
                log.error("a file that an unclean stop left cannot be taken in now: %s", type(error).__name__)
                fate = "left"
            fates[fate] = fates.get(fate, 0) + 1
        if fates:
            log.warning("taken over from an unclean stop: %s", fates)
        return fates

    def _take_in(self, path: Path) -> str:
        try:
            whole = _recovered(path)
        except Unreadable:
            # Not even our own header reached the disk: whose and what it was, nobody can say.
            whole = _nameless(path)
        if whole.sha256 == whole.expected_sha256:
            return self._settle(whole).result.value
        if whole.origin.source == "import":
            path.unlink()
            return "half an import"
        explanation = "the transfer was cut off when the server stopped; the sender has the object still"
        self._quarantine(whole, Reason.INTERRUPTED, explanation)
        return "interrupted"

    def close(self) -> None:
        """Gives the process's folder in the incoming area up."""
        self._flushing.shutdown()
        self._incoming.close()


class _LeftoverFile:
    """A `Handover` for a file that a crash left behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


def _recovered(path: Path) -> _Whole:
    """What is known of a file of ours, from the header that `_header` wrote. Raises `Unreadable` without one."""
    with path.open("rb") as file:
        header = part10.read_header(file)
        if header.guessed or not header.dataset_offset:
            raise Unreadable("no header")
        try:
            told = json.loads(header.meta[_PRIVATE_INFORMATION].rstrip(b"\0"))
            expected = str(told.pop("sha256", ""))
            origin = Origin(**told)
        except (KeyError, TypeError, ValueError):
            raise Unreadable("a header that this archive did not write") from None
        file.seek(0)
        header_sha256 = hashlib.sha256(file.read(header.dataset_offset)).hexdigest()
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        length = file.tell() - header.dataset_offset
    announced = Announced(
        header.sop_class,
        header.sop_instance,
        header.transfer_syntax,
    )
    return _Whole(
        _LeftoverFile(path),
        announced,
        origin,
        sha256,
        header_sha256,
        header.dataset_offset,
        length,
        lambda: _flush(path),
        expected,
        left_behind=True,
    )


def _nameless(path: Path) -> _Whole:
    """A leftover file of which nothing is known."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        length = file.tell()
    return _Whole(
        _LeftoverFile(path), Announced("", "", ""), Origin("hozi"), sha256, "", 0, length, lambda: _flush(path), ""
    )


def _flush(path: Path) -> None:
    """Makes what a killed process wrote durable: the page cache has it, the disk perhaps not."""
    with path.open("rb") as file:
        os.fdatasync(file.fileno())


def _header(announced: Announced, origin: Origin, sha256: str) -> bytes:
    """The file header in front of the dataset: in its private information (PS3.10 §7.1) who sent it, and its hash."""
    told = {name: getattr(origin, name) for name in _ORIGIN} | {"sha256": sha256}
    return part10.write_header(
        announced.sop_class,
        announced.sop_instance,
        announced.transfer_syntax,
        source_ae=origin.calling_ae,
        private_information=json.dumps(told, sort_keys=True).encode(),
    )


def _finished(header: bytes, sha256: str) -> bytes:
    """The same header with the hash of the whole dataset."""
    at = header.rindex(_HASH) + len(_HASH)
    return header[:at] + sha256.encode("ascii") + header[at + len(sha256) :]


def _facts(whole: _Whole) -> Facts:
    syntax = syntaxes.for_unknown(whole.announced.transfer_syntax)
    with whole.file.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        dataset = view[whole.offset :]
        try:
            found = scan.scan(dataset, syntax)
        finally:
            dataset.release()
            view.release()
    return Facts(found, issuer=whole.origin.issuer, default_charset=HOZI.default_charset)


def _contradiction(facts: Facts, announced: Announced) -> tuple[Reason, str] | None:
    """What is wrong with the UIDs of the dataset, in themselves or beside what was announced."""
    own = {
        "SOP Class UID": facts.sop_class,
        "SOP Instance UID": facts.sop_instance,
        "Study Instance UID": facts.study,
        "Series Instance UID": facts.series,
    }
    for name, uid in own.items():
        if not uids.is_valid(uid):
            return Reason.INVALID_IDENTIFIERS, f"{name} is {'missing' if not uid else 'not a valid UID'}"
    if facts.sop_instance != announced.sop_instance:
        return Reason.CONTRADICTS_COMMAND, "SOP Instance UID in the dataset is not the announced one"
    if facts.sop_class != announced.sop_class:
        return Reason.CONTRADICTS_COMMAND, "SOP Class UID in the dataset is not the announced one"
    return None


def _candidate(whole: _Whole, facts: Facts) -> Candidate:
    def audit(verdict: Verdict) -> Entry:
        outcome = Outcome.MINOR_FAILURE if verdict.finding is Finding.CONFLICT else Outcome.SUCCESS
        detail = {"result": verdict.finding.value, "sop_class": facts.sop_class}
        if verdict.reason is not None:
            detail["reason"] = verdict.reason.value
        return _entry(whole, outcome, detail, facts)

    return Candidate(
        facts=facts,
        facility=whole.origin.facility,
        transfer_syntax=whole.announced.transfer_syntax,
        sha256=whole.sha256,
        header_sha256=whole.header_sha256,
        dataset_offset=whole.offset,
        length=whole.length,
        key=f"{whole.sha256[:2]}/{whole.sha256}.dcm",
        durable=whole.durable,
        audit=audit,
        case=lambda reason, explanation: _case(whole, reason, explanation, facts),
    )


def _entry(whole: _Whole, outcome: Outcome, detail: dict[str, str], facts: Facts | None = None) -> Entry:
    return Entry(
        code=Code.IMPORT if whole.origin.source == "import" else Code.INSTANCES_TRANSFERRED,
        action="C",
        actor=whole.origin.actor,
        outcome=outcome,
        address=whole.origin.address,
        issuer=facts.identity.issuer if facts else "",
        patient_id=facts.identity.patient_id if facts else "",
        study_uid=facts.study if facts else "",
        object_uid=whole.announced.sop_instance,
        detail=detail,
    )


def _case(whole: _Whole, reason: Reason, explanation: str, facts: Facts | None = None) -> ExceptionCase:
    return ExceptionCase(
        reason=reason,
        explanation=explanation,
        sop_class=whole.announced.sop_class[:64],
        sop_instance_uid=whole.announced.sop_instance[:64],
        study_uid=facts.study[:64] if facts else "",
        transfer_syntax=whole.announced.transfer_syntax[:64],
        # The random part keeps apart what is the same content with another reason or another announcement.
        key=f"quarantine/{whole.sha256[:2]}/{whole.sha256}-{uuid.uuid4().hex[:12]}.dcm",
        sha256=whole.sha256,
        dataset_offset=whole.offset,
        length=whole.length,
        facility=whole.origin.facility,
        actor=whole.origin.actor,
        address=whole.origin.address,
    )


def _report_preamble(whole: _Whole) -> None:
    explanation = "an executable preamble was left out; the image itself came in"
    case = _case(whole, Reason.EXECUTABLE_PREAMBLE, explanation)
    case.key = ""
    with transaction.atomic():
        raise_case(case)
        detail = {"reason": Reason.EXECUTABLE_PREAMBLE.value}
        record(dataclasses.replace(_entry(whole, Outcome.MINOR_FAILURE, detail), code=Code.SECURITY_ALERT))
