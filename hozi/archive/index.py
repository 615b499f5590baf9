"""The index learns of arrived objects: many in one transaction, upserted on the database's own constraints.

Nothing here looks first and inserts then: two senders bring the same patient, study or object at the same moment,
and the constraints decide who came first. Whoever came second gets a `Verdict` that says so.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any, Final, TypeVar

from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import F
from django.utils import timezone

from hozi.archive.correct import cover
from hozi.archive.exceptions import Reason, raise_case
from hozi.archive.facts import Facts, PatientIdentity
from hozi.archive.lookup import insert_name_words, insert_referrals, insert_sequence_rows
from hozi.archive.models import (
    Correction,
    ExceptionCase,
    Instance,
    Patient,
    Series,
    StoredObject,
    Study,
)
from hozi.archive.stamp import fresh
from hozi.audit.record import Entry, record_many
from hozi.rows import Insert, Row, fetch, moment, run, together

log = logging.getLogger(__name__)

#: Most objects in one transaction: enough to share a flush, few enough that nobody waits long.
_MOST_TOGETHER = 64
_TRIES = 5

Done = TypeVar("Done")


class Finding(Enum):
    """What became of an object."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An arrived object that wants to be in the index.

    ``durable`` returns when its bytes are, and raises OSError when they cannot be: nothing commits before.
    """

    facts: Facts
    instance: Row  # columns of its row, but for its series
    facility: str
    department: str
    transfer_syntax: str
    sha256: str
    header_sha256: str
    dataset_offset: int
    length: int
    key: str
    durable: Callable[[], object]
    audit: Callable[[Verdict], Entry]
    case: Callable[[Reason, str], ExceptionCase]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``key`` says where the object's bytes belong (for a conflict: in quarantine); ``reason`` why it is one."""

    finding: Finding
    key: str
    reason: Reason | None = None
    explanation: str = ""


class _Waiting:
    """A candidate whose thread waits until it is committed, or until it is that thread's turn to commit."""

    __slots__ = ("_woken", "candidate", "error", "leads", "verdict")

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.verdict: Verdict | None = None
        self.error: BaseException | None = None
        self.leads = False
        self._woken = threading.Lock()
        self._woken.acquire()

    def wait(self) -> None:
        """Until `wake`."""
        self._woken.acquire()

    def wake(self) -> None:
        """Called once, when it is done or leads."""
        self._woken.release()


class Index:
    """Group commit: callers that arrive while one of them commits are committed together by the next.

    Who is committed goes on at once; the first of those who have come meanwhile leads the next commit.
    """

    def __init__(self) -> None:
        self._queue: list[_Waiting] = []
        self._lock = threading.Lock()
        self._committing = False

    def add(self, candidate: Candidate) -> Verdict:
        """Returns when the candidate's rows and its audit row are committed; raises what the database said if not."""
        waiting = _Waiting(candidate)
        with self._lock:
            self._queue.append(waiting)
            waiting.leads = not self._committing
            self._committing = True
        if not waiting.leads:
            waiting.wait()
        if waiting.leads:
            self._lead(waiting)
        if waiting.error is not None:
            raise waiting.error
        assert waiting.verdict is not None  # noqa: S101 - whoever led has set one of the two
        return waiting.verdict

    def _lead(self, leader: _Waiting) -> None:
        """Commits a batch, in which the leader is, and hands on to the first of those who have come meanwhile."""
        batch = self._join([])
        try:
            self._commit_each(batch)
        finally:
            for waiting in batch:
                if waiting.verdict is None and waiting.error is None:
                    waiting.error = OperationalError("the commit was given up")
                if waiting is not leader:
                    waiting.wake()
            with self._lock:
                self._committing = bool(self._queue)
                if self._queue:
                    self._queue[0].leads = True
                    self._queue[0].wake()

    def _join(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Takes who waits into the batch, as many as have room there; returns them.

        No SOP Instance UID twice: the second object with one is judged when the first is in.
        """
        joined: list[_Waiting] = []
        with self._lock:
            if self._queue:
                seen = {waiting.candidate.facts.sop_instance for waiting in batch}
                left: list[_Waiting] = []
                for waiting in self._queue:
                    uid = waiting.candidate.facts.sop_instance
                    if len(batch) + len(joined) < _MOST_TOGETHER and uid not in seen:
                        seen.add(uid)
                        joined.append(waiting)
                    else:
                        left.append(waiting)
                self._queue = left
        batch += joined
        return joined

    def _commit_each(self, batch: list[_Waiting]) -> None:
        try:
            retrying(lambda: self._commit(batch))
        except Exception as failed:  # noqa: BLE001 - whatever it is, nobody may be left waiting
            # One bad row must not take the others with it: each on its own, and only the bad one fails.
            log.warning("a commit of %d objects failed (%s): each on its own", len(batch), type(failed).__name__)
            for waiting in batch:
                try:
                    [waiting.verdict] = retrying(partial(add_together, [waiting.candidate]))
                except Exception as error:  # noqa: BLE001 - raised by `add` to whoever brought it
                    waiting.error = error

    def _commit(self, batch: list[_Waiting]) -> None:
        """Commits the batch together with those who come while its rows are written: they share the flush."""
        verdicts: list[Verdict] = []
        with transaction.atomic():
            joined: Sequence[_Waiting] = batch
            while joined:
                verdicts += add_together([waiting.candidate for waiting in joined])
                joined = self._join(batch)
        for waiting, verdict in zip(batch, verdicts, strict=True):
            waiting.verdict = verdict


def retrying(work: Callable[[], Done]) -> Done:
    """Does ``work`` again when the database undid it for somebody else's sake (deadlock, lock time-out)."""
    for attempt in range(_TRIES):
        try:
            return work()
        except OperationalError:
            if attempt == _TRIES - 1:
                raise
            connection.close_if_unusable_or_obsolete()
            time.sleep(0.05 * 2**attempt)
    raise AssertionError("unreachable")


@dataclass(slots=True)
class _Place:
    """The series that an object goes into, with the rows above it."""

    series_id: int
    study_id: int
    study_uid: str
    identity_removed: bool  # so far; what was said once by one object is never taken back
    identity: PatientIdentity


def add_together(batch: Sequence[Candidate]) -> list[Verdict]:
    """Adds candidates (no SOP Instance UID twice) and their audit rows in one transaction; says what became of each."""
    now = timezone.now()
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        places = _places(cursor, batch, now)
        misfits = {c.facts.sop_instance: _misfit(c.facts, places.get(c.facts.series)) for c in batch}
        fitting = [c for c in batch if c.facts.series in places and misfits[c.facts.sop_instance] is None]
        ids = _insert_instances(cursor, [(c, places[c.facts.series]) for c in fitting], now)
        first = _known(c.facts.sop_instance for c in batch if c.facts.sop_instance not in ids)
        verdicts = [
            _verdict(c, c.facts.sop_instance in ids, first.get(c.facts.sop_instance), misfits[c.facts.sop_instance])
            for c in batch
        ]
        added = [(ids[c.facts.sop_instance], c, places[c.facts.series]) for c in fitting if c.facts.sop_instance in ids]
        _insert_sequences(added)
        entries = [candidate.audit(verdict) for candidate, verdict in zip(batch, verdicts, strict=True)]
        with together(cursor):
            _insert_objects(cursor, added)
            _count(cursor, added, now)
            _unveil(cursor, added)
            record_many(entries, cursor)
        for candidate in batch:
            candidate.durable()
    return verdicts


def _misfit(facts: Facts, place: _Place | None) -> tuple[Reason, str] | None:
    """Why the object cannot go into the series of its UID, or None when it can."""
    if place is None:
        study = Study.objects.filter(uid=facts.study).select_related("patient").first()
        if study is None or _identity(study.patient) == facts.identity:
            return None
    elif place.study_uid != facts.study:
        return Reason.SERIES_OF_OTHER_STUDY, "the series belongs to another study in the archive"
    elif place.identity == facts.identity:
        return None
    return Reason.STUDY_OF_OTHER_PATIENT, "the study belongs to another patient in the archive"


def _verdict(
    candidate: Candidate, inserted: bool, first: StoredObject | None, misfit: tuple[Reason, str] | None
) -> Verdict:
    if inserted:
        return Verdict(Finding.STORED, candidate.key)
    if first is not None:
        if first.sha256 == candidate.sha256 and first.transfer_syntax == candidate.transfer_syntax:
            return Verdict(Finding.DUPLICATE, first.key)
        misfit = Reason.SAME_UID_OTHER_CONTENT, "an object with this SOP Instance UID and other content is stored"
    if misfit is None:
        raise OperationalError("the object that was in the way is gone")  # tried again by `retrying`
    return _conflict(candidate, *misfit)


def _identity(patient: Patient) -> PatientIdentity:
    return PatientIdentity(patient.issuer, patient.patient_id, patient.alone)


def _conflict(candidate: Candidate, reason: Reason, explanation: str) -> Verdict:
    case, _ = raise_case(candidate.case(reason, explanation))
    return Verdict(Finding.CONFLICT, case.key, reason, explanation)


def _known(uids: Iterable[str]) -> dict[str, StoredObject]:
    """The stored objects with these SOP Instance UIDs."""
    wanted = list(uids)
    rows = StoredObject.objects.filter(instance__uid__in=wanted).select_related("instance") if wanted else ()
    return {row.instance.uid: row for row in rows}


def _places(cursor: CursorWrapper, batch: Sequence[Candidate], now: datetime) -> dict[str, _Place]:
    """For the series UIDs of the batch their places; nearly always all are there and one query finds them.

    A new series is made only for an object that will go into it: one that the archive has already, or whose study
    belongs to somebody else, must leave no empty row behind.
    """
    places = _existing_places(cursor, {candidate.facts.series for candidate in batch})
    homeless = [candidate for candidate in batch if candidate.facts.series not in places]
    if homeless:
        known = _known(candidate.facts.sop_instance for candidate in homeless)
        # In the order of their keys: processes that insert the same rows wait for each other, not in a circle.
        for candidate in sorted(homeless, key=lambda c: (c.facts.study, c.facts.series)):
            facts = candidate.facts
            if facts.series not in places and facts.sop_instance not in known and _misfit(facts, None) is None:
                places.update(_new_place(cursor, candidate, now))
    return places


def _new_place(cursor: CursorWrapper, candidate: Candidate, now: datetime) -> dict[str, _Place]:
    facts = candidate.facts
    study = _study(cursor, candidate, now)
    if _identity(study.patient) != facts.identity:  # somebody else's, made a moment ago
        return {}
    series = _inserted(cursor, _SERIES, {"uid": facts.series, "study_id": study.pk, **facts.series_columns()})
    if series is None:  # somebody else's, made a moment ago: perhaps in another study
        return _existing_places(cursor, [facts.series])
    Study.objects.filter(pk=study.pk).update(series_count=F("series_count") + 1)
    insert_sequence_rows("series", series, facts.sequence_values("SERIES"))
    if study.facility != candidate.facility:
        _report(
            candidate,
            Reason.STUDY_OF_OTHER_FACILITY,
            "a device of one facility brought a series of another facility's study; it is stored, and seen there only",
        )
    return {facts.series: _Place(series, study.pk, study.uid, study.identity_removed, _identity(study.patient))}


def _existing_places(cursor: CursorWrapper, uids: Iterable[str]) -> dict[str, _Place]:
    wanted = list(uids)
    rows = fetch(cursor, _PLACES.format(", ".join(["%s"] * len(wanted))), wanted)
    return {
        uid: _Place(pk, study_id, study, bool(removed), PatientIdentity(*rest))
        for uid, pk, study_id, study, removed, *rest in rows
    }


_PLACES: Final = (
    "SELECT series.uid, series.id, study.id, study.uid, study.identity_removed,"
    " patient.issuer, patient.patient_id, patient.alone"
    " FROM archive_series series JOIN archive_study study ON study.id = series.study_id"
    " JOIN archive_patient patient ON patient.id = study.patient_id WHERE series.uid IN ({})"
)


def _study(cursor: CursorWrapper, candidate: Candidate, now: datetime) -> Study:
    """The study of the candidate, inserted when it is new, with its patient."""
    facts = candidate.facts
    study = Study.objects.filter(uid=facts.study).select_related("patient").first()
    if study is not None:
        return study
    patient, known = _patient(cursor, candidate)
    new = _inserted(
        cursor,
        _STUDIES,
        {
            "uid": facts.study,
            "patient_id": patient.pk,
            "facility": candidate.facility,
            "department": candidate.department,
            "identity_removed": facts.identity_removed,
            "received_at": now,
            "changed_at": now,
            **{f"patient_{name}": value for name, value in facts.patient_columns().items()},
            **facts.study_columns(),
        },
    )
    study = Study.objects.select_related("patient").get(uid=facts.study)
    if new is not None:
        insert_name_words(study)
        insert_referrals(study)
        insert_sequence_rows("study", study.pk, facts.sequence_values("STUDY"))
        if known:
            _compare_patient(candidate, patient)
            cover(study)
    return study


def _patient(cursor: CursorWrapper, candidate: Candidate) -> tuple[Patient, bool]:
    """The patient of the candidate, inserted when they are new, and whether they were known before."""
    identity = candidate.facts.identity
    columns = candidate.facts.patient_columns()
    who = dataclasses.asdict(identity)
    new = _inserted(cursor, _PATIENTS, {**who, **columns})
    # Locked: whoever corrects the patient waits until the new study can be seen, and we until theirs can (see `cover`).
    patient = Patient.objects.select_for_update().get(**who)
    if new is None:
        _fill_gaps(patient, columns)
    return patient, new is None


def _fill_gaps(patient: Patient, columns: dict[str, Any]) -> None:
    """A later study may tell what the first one left open; what is known, or was corrected, is never replaced.

    A study that names somebody else under the same number tells nothing of this person.
    """
    if not _gaps(patient, columns) or _differs(patient, columns):
        return
    patient.refresh_from_db(from_queryset=Patient.objects.select_for_update())
    fresh = {name: columns[name] for name in _gaps(patient, columns) - _corrected(patient)}
    if fresh:
        for name, value in fresh.items():
            setattr(patient, name, value)
        patient.save(update_fields=list(fresh))


def _gaps(patient: Patient, columns: dict[str, Any]) -> set[str]:
    return {name for name, value in columns.items() if value and not getattr(patient, name)}


def _corrected(patient: Patient) -> set[str]:
    """The columns that corrections in force speak of: somebody may have emptied them on purpose."""
    in_force = Correction.objects.filter(level="PATIENT", uid=str(patient.pk), undone_at=None)
    states = (state for made in in_force for state in made.before.values())
    return {name for state in states for name in (state["columns"] or ("attributes",))}


def _compare_patient(candidate: Candidate, patient: Patient) -> None:
    """Raises an exception (the study stays stored) when a known number comes with another name or birth date."""
    if _differs(patient, candidate.facts.patient_columns()):
        _report(
            candidate, Reason.PATIENT_DIFFERS, "this patient number came with another name or birth date than before"
        )


def _differs(patient: Patient, columns: dict[str, Any]) -> bool:
    pairs = (
        (columns["name_alphabetic_key"], patient.name_alphabetic_key),
        (columns["birth_date"], patient.birth_date),
    )
    return any(came and known and came != known for came, known in pairs)


def _report(candidate: Candidate, reason: Reason, explanation: str) -> None:
    """Raises an exception about an object that is stored in its place: nothing lies in quarantine."""
    case = candidate.case(reason, explanation)
    case.key = ""
    raise_case(case)


_PATIENTS: Final = Insert(Patient, unique="patient_id")
_STUDIES: Final = Insert(Study, unique="uid")
_SERIES: Final = Insert(Series, unique="uid")
_INSTANCES: Final = Insert(Instance, unique="uid")
_OBJECTS: Final = Insert(StoredObject)


def _inserted(cursor: CursorWrapper, insert: Insert, row: Row) -> int | None:
    """Inserts one row unless its unique values are taken; returns its id, or None when they are."""
    return next(iter(insert(cursor, [row]).values()), None)


def _insert_instances(
    cursor: CursorWrapper, items: Sequence[tuple[Candidate, _Place]], now: datetime
) -> dict[str, int]:
    """Inserts the instances that are new; returns their row ids by SOP Instance UID."""
    rows = [
        {**candidate.instance, "series_id": place.series_id, "received_at": now}
        for candidate, place in sorted(items, key=lambda item: item[0].facts.sop_instance)
    ]
    return _INSTANCES(cursor, rows)


def _insert_objects(cursor: CursorWrapper, added: Sequence[tuple[int, Candidate, _Place]]) -> None:
    rows = [
        {
            "instance_id": instance_id,
            "key": candidate.key,
            "sha256": candidate.sha256,
            "header_sha256": candidate.header_sha256,
            "dataset_offset": candidate.dataset_offset,
            "length": candidate.length,
            "transfer_syntax": candidate.transfer_syntax,
        }
        for instance_id, candidate, _ in added
    ]
    _OBJECTS(cursor, rows)


def _insert_sequences(added: Sequence[tuple[int, Candidate, _Place]]) -> None:
    for instance_id, candidate, _ in added:
        insert_sequence_rows("instance", instance_id, candidate.facts.sequence_values("IMAGE"))


def _count(cursor: CursorWrapper, added: Sequence[tuple[int, Candidate, _Place]], now: datetime) -> None:
    """Adds the new objects to the counts of their series and studies."""
    if added:
        stamped = (("stamp", fresh()),)
        _add_up(cursor, "archive_series", Counter(place.series_id for _, _, place in added), *stamped)
        changed = (("changed_at", moment(cursor, now)),)
        _add_up(cursor, "archive_study", Counter(place.study_id for _, _, place in added), *changed)


def _unveil(cursor: CursorWrapper, added: Sequence[tuple[int, Candidate, _Place]]) -> None:
    """A study is de-identified only as long as each of its objects says so; nearly none are, and cost nothing here."""
    named = {p.study_id for _, c, p in added if p.identity_removed and not c.facts.identity_removed}
    for study in sorted(named):
        run(cursor, "UPDATE archive_study SET identity_removed = %s WHERE id = %s", [False, study])


def _add_up(cursor: CursorWrapper, table: str, counts: Mapping[int, int], *others: tuple[str, Any]) -> None:
    """Adds to ``instance_count`` by row id. Rows are locked in the order of their ids (see `_places`).

    Who joins a commit brings its rows in another statement: where that closes a circle, PostgreSQL ends one of the two
    transactions, and `retrying` does it again.
    """
    those = ", ".join(["%s"] * len(counts))
    if len(counts) > 1 and cursor.db.features.has_select_for_update:
        those = f"SELECT id FROM {table} WHERE id IN ({those}) ORDER BY id FOR UPDATE"  # noqa: S608 - our own names
    cases = " ".join(["WHEN %s THEN %s"] * len(counts))
    columns = "".join(f", {column} = %s" for column, _ in others)
    statement = (
        f"UPDATE {table} SET instance_count = instance_count + CASE id {cases} END{columns}"  # noqa: S608 - our own names
        f" WHERE id IN ({those})"
    )
    pairs = [value for pair in counts.items() for value in pair]
    run(cursor, statement, [*pairs, *(value for _, value in others), *counts])
