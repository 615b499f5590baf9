"""Exceptions are decided: taken in, discarded, or acknowledged; each with a reason, and each can be taken back.

Nothing is moved, changed or removed by a decision. What is taken in stays where it lies, and the index learns of it;
where it reads something that cannot stand in the archive (a UID that another object has, another patient's number), an
overlay says what it reads instead on the way out (`Correction`, level TAKEN). What is discarded is only marked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from hozi.accounts.authorise import Who, may, reach
from hozi.archive import reach as reaching
from hozi.archive.arrived import Whole, candidate_for, facts_of
from hozi.archive.exceptions import TAKEN
from hozi.archive.facts import (
    ISSUER_OF_PATIENT_ID,
    PATIENT_BIRTH_DATE,
    PATIENT_ID,
    PATIENT_NAME,
    PATIENT_SEX,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    Facts,
    PatientIdentity,
)
from hozi.archive.index import Finding, add_together, retrying
from hozi.archive.models import Correction, ExceptionCase, Instance, Patient, Series, StoredObject, Study
from hozi.archive.place import volume
from hozi.archive.quarantine import State, case_of, note_patient, opened, patient_in
from hozi.archive.stamp import fresh
from hozi.archive.study_page import SEE, PatientBlock, patient_of
from hozi.audit.record import Code, Entry, record
from hozi.core.dicom import scan, syntaxes, uids
from hozi.core.errors import Changed, Refused, Unavailable, Unreadable
from hozi.core.storage.incoming import mapped_file
from hozi.settings import HOZI

PERMISSION: Final = "exceptions.decide"
CORRECT: Final = "studies.correct"

Way = Literal["as-it-is", "same-patient", "as-own"]
Decision = Literal["discarded", "acknowledged"]

_LONGEST_NOTE: Final = 500
_OF_PATIENT: Final = (PATIENT_NAME, PATIENT_BIRTH_DATE, PATIENT_SEX)


@dataclass(frozen=True, slots=True)
class Plan:
    """One way in which an object can be taken in, and what it will be afterwards.

    ``patient`` is whose it will be; ``study``, ``series`` and ``instance`` its UIDs, of which those in ``given`` are
    new ones (by ``study``, ``series``, ``instance``). ``joins``: the row id of the study that it becomes a part of.
    """

    way: Way
    patient: PatientBlock
    study: str
    series: str
    instance: str
    given: tuple[str, ...] = ()
    joins: int | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What can be decided: ways to take it in, and whether it can be discarded or acknowledged."""

    plans: tuple[Plan, ...] = ()
    discard: bool = False
    acknowledge: bool = False
    undo: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A plan with what the index is told, and what the object reads instead from then on."""

    plan: Plan
    facts: Facts
    changes: Mapping[str, Any] = field(default_factory=dict)


class _Undone(Exception):
    """Takes back what the index did."""


def options(who: Who, pk: int) -> Options:
    """What whoever asks can decide about an exception, each with what would be.

    The audit says whose patients they have seen there. Raises as `case_of` does.
    """
    case = case_of(who, pk, PERMISSION)
    if case.state != State.OPEN:
        return Options(undo=True)
    if not case.key:
        return Options(acknowledge=True)
    try:
        with opened(case) as whole:
            fitting = _fitting(who, case, whole)
    except (Unreadable, Unavailable) as error:
        return Options(discard=True, problem=str(error))
    for one in fitting:
        note_patient(who, case, one.plan.patient)
    return Options(tuple(one.plan for one in fitting), discard=True)


def take_in(who: Who, pk: int, *, way: str, note: str, version: int) -> int:
    """Takes the object into the archive, in one of the ways of `options`; returns the row id of its study.

    Raises `Refused` when that is not possible (any more), `Changed` when somebody else has decided meanwhile.
    """
    try:
        return retrying(lambda: _take_in(who, pk, way, note, version))
    except Unreadable as error:
        raise Refused(f"It cannot be taken in: {error}.") from None


def _take_in(who: Who, pk: int, way: str, note: str, version: int) -> int:
    with _deciding(who, pk, note, version) as case:
        if not case.key:
            raise Refused("It is in the archive already: there is nothing to take in.")
        with opened(case) as whole:
            chosen = next((one for one in _fitting(who, case, whole) if one.plan.way == way), None)
            if chosen is None:
                raise Refused("It cannot be taken in that way: look at what it collides with now.", field="way")
            instance = _taken(who, case, whole, chosen, note)
        _close(case, f"{TAKEN}-{way}", who, note)
        return instance.series.study_id


def discard(who: Who, pk: int, *, note: str, version: int) -> None:
    """Marks the object as not wanted. It stays on the disk. Raises as `take_in` does."""
    with _deciding(who, pk, note, version) as case:
        if not case.key:
            raise Refused("The object is in the archive: acknowledge the exception instead.")
        _close(case, "discarded", who, note)


def acknowledge(who: Who, pk: int, *, note: str, version: int) -> None:
    """Says that somebody has looked: of what is stored, and needs nothing more. Raises as `take_in` does."""
    with _deciding(who, pk, note, version) as case:
        if case.key:
            raise Refused("The object lies in quarantine: take it in or discard it.")
        _close(case, "acknowledged", who, note)


def undo(who: Who, pk: int, *, note: str, version: int) -> None:
    """Takes the last decision back: the exception is open again, and what was taken in is no part of the archive.

    Raises as `take_in` does, and `Refused` when what was taken in was corrected since.
    """
    with _deciding(who, pk, note, version, state=State.RESOLVED) as case:
        before = case.decision
        if before.startswith(TAKEN):
            _give_back(who, case)
        case.state = State.OPEN
        _save(case)
        record(_entry(who, case, {"undone": before, "note": note}))


@contextmanager
def _deciding(who: Who, pk: int, note: str, version: int, state: str = State.OPEN) -> Iterator[ExceptionCase]:
    """The exception, for this transaction alone."""
    if not note.strip():
        raise Refused("Say why: whoever looks at it later will ask.", field="note")
    if len(note) > _LONGEST_NOTE or "\0" in note:
        raise Refused(f"At most {_LONGEST_NOTE} characters, all of them readable.", field="note")
    case_of(who, pk, PERMISSION)
    with transaction.atomic():
        case = ExceptionCase.objects.select_for_update().get(pk=pk)
        if case.version != version or case.state != state:
            raise Changed("Somebody else has decided about it meanwhile, or it has come again: look at it again.")
        yield case


def _close(case: ExceptionCase, decision: str, who: Who, note: str) -> None:
    case.state = State.RESOLVED
    case.decision = decision
    case.decided_at = timezone.now()
    case.decided_by = who.actor[:128]
    case.note = note.strip()
    _save(case)
    record(_entry(who, case, {"decision": decision, "note": case.note}))


def _save(case: ExceptionCase) -> None:
    case.version += 1
    case.save(update_fields=["state", "decision", "decided_at", "decided_by", "note", "version"])


def _entry(who: Who, case: ExceptionCase, detail: dict[str, Any]) -> Entry:
    return Entry(
        code=Code.INSTANCES_ACCESSED,
        action="U",
        actor=who.actor,
        address=who.address,
        study_uid=case.study_uid,
        object_uid=case.sop_instance_uid,
        facility=case.facility,
        detail={"exception": case.pk, "reason": case.reason, **detail},
    )


# Ways to take it in -----------------------------------------------------------------------------------


def _fitting(who: Who, case: ExceptionCase, whole: Whole) -> list[_Fitting]:
    """The ways in which the object would fit into the archive as it is now."""
    if whole.expected_sha256 not in (whole.sha256, ""):
        raise Unreadable("the transfer was cut off: it is not whole")
    facts = facts_of(whole)
    if not uids.is_valid(facts.sop_class):
        raise Unreadable("it does not say what kind of object it is")
    study = Study.objects.filter(uid=facts.study).select_related("patient").first()
    foreign = study is not None and _identity(study.patient) != facts.identity
    found = [_as_it_is(facts) if not foreign else None]
    if found[0] is None:
        if study is not None and foreign and _reaches(who, study):
            found.append(_as_same_patient(facts, study))
        found.append(_as_own(facts, foreign, case))
    return [one for one in found if one is not None]


def _reaches(who: Who, study: Study) -> bool:
    """Whether somebody may say whose the study's objects are."""
    if not (may(who, CORRECT) and may(who, SEE)):
        return False
    seen = reaching.studies(reach(who, CORRECT)) & reaching.studies(reach(who, SEE))
    return Study.objects.filter(seen, pk=study.pk).exists()


def _identity(patient: Patient) -> PatientIdentity:
    return PatientIdentity(patient.issuer, patient.patient_id, patient.alone)


def _elsewhere(series: str, study: str) -> bool:
    """Whether the series is in the archive, in another study."""
    return Series.objects.filter(uid=series).exclude(study__uid=study).exists()


def _as_it_is(facts: Facts) -> _Fitting | None:
    """Where nothing is in its way (any more)."""
    named = (facts.study, facts.series, facts.sop_instance)
    if not all(map(uids.is_valid, named)) or Instance.objects.filter(uid=facts.sop_instance).exists():
        return None
    if _elsewhere(facts.series, facts.study):
        return None
    study = Study.objects.filter(uid=facts.study).first()
    return _Fitting(Plan("as-it-is", patient_in(facts), *named, joins=study.pk if study else None), facts)


def _as_same_patient(facts: Facts, study: Study) -> _Fitting:
    """As an object of the archive's patient: the device had named somebody else."""
    new: dict[int, str] = {}
    if not uids.is_valid(facts.series) or _elsewhere(facts.series, study.uid):
        new[SERIES_INSTANCE_UID] = uids.derived_uid(study.uid, facts.series)
    _free_instance(facts, new)
    changes = {f"{tag:08X}": [uid] for tag, uid in new.items()} | _as_siblings(study)
    return _planned("same-patient", facts.retold(new, _identity(study.patient)), patient_of(study), new, study, changes)


def _as_own(facts: Facts, foreign: bool, case: ExceptionCase) -> _Fitting:
    """Under UIDs of its own, where another has its: the same ones for all objects that came with the same."""
    new: dict[int, str] = {}
    who = facts.identity
    if foreign or not uids.is_valid(facts.study):
        told = facts.study if facts.study else case.sha256
        new[STUDY_INSTANCE_UID] = uids.derived_uid(who.issuer, who.patient_id, told)
    study = new.get(STUDY_INSTANCE_UID, facts.study)
    if not uids.is_valid(facts.series) or _elsewhere(facts.series, study):
        new[SERIES_INSTANCE_UID] = uids.derived_uid(study, facts.series if facts.series else case.sha256)
    _free_instance(facts, new, case.sha256)
    retold = facts.retold(new)
    joins = Study.objects.filter(uid=study).first()
    changes = {f"{tag:08X}": [uid] for tag, uid in new.items()}
    return _planned("as-own", retold, patient_in(retold), new, joins, changes)


def _free_instance(facts: Facts, new: dict[int, str], salt: str = "") -> None:
    if not uids.is_valid(facts.sop_instance) or Instance.objects.filter(uid=facts.sop_instance).exists():
        new[SOP_INSTANCE_UID] = uids.derived_uid(facts.sop_instance, salt, *sorted(new.values()))


def _planned(
    way: Way,
    facts: Facts,
    patient: PatientBlock,
    new: Mapping[int, str],
    joins: Study | None,
    changes: Mapping[str, Any],
) -> _Fitting:
    names = {STUDY_INSTANCE_UID: "study", SERIES_INSTANCE_UID: "series", SOP_INSTANCE_UID: "instance"}
    given = tuple(names[tag] for tag in names if tag in new)
    plan = Plan(way, patient, facts.study, facts.series, facts.sop_instance, given, joins.pk if joins else None)
    return _Fitting(plan, facts, changes)


def _as_siblings(study: Study) -> dict[str, Any]:
    """What the study's own objects say of the patient, without corrections: these are laid over it as over them."""
    texts = _said_in(study)
    patient = study.patient
    issuer = texts[ISSUER_OF_PATIENT_ID]
    changes: dict[str, Any] = {
        f"{PATIENT_ID:08X}": [patient.patient_id] if patient.patient_id else [],
        f"{ISSUER_OF_PATIENT_ID:08X}": [issuer] if issuer else None,
    }
    return changes | {f"{tag:08X}": [texts[tag]] if texts[tag] else [] for tag in _OF_PATIENT}


def _said_in(study: Study) -> dict[int, str]:
    """The patient's elements in the first object of a study, or as the index has them where that cannot be read."""
    told = {
        ISSUER_OF_PATIENT_ID: study.patient.issuer,
        PATIENT_NAME: study.patient_name,
        PATIENT_BIRTH_DATE: study.patient_birth_date,
        PATIENT_SEX: study.patient_sex,
    }
    stored = StoredObject.objects.filter(instance__series__study=study).order_by("pk").first()
    if stored is None:
        return told
    try:
        there = volume().local(stored.key)
        with there as path, mapped_file(path) as held, memoryview(held) as view, view[stored.dataset_offset :] as data:
            found = scan.scan(data, syntaxes.for_unknown(stored.transfer_syntax))
    except (Unreadable, Unavailable, OSError):
        return told
    facts = Facts(found, issuer="", default_charset=HOZI.default_charset)
    return {tag: facts.text(tag, 512) for tag in told}


# The index --------------------------------------------------------------------------------------------


def _taken(who: Who, case: ExceptionCase, whole: Whole, chosen: _Fitting, note: str) -> Instance:
    """Makes the object a part of the archive, where it lies. Raises `Refused` when the index finds otherwise."""
    made = candidate_for(whole, chosen.facts)

    def raised(reason: Any, explanation: str) -> ExceptionCase:
        new = made.case(reason, explanation)
        new.key = case.key
        return new

    def audit(verdict: Any) -> Entry:
        entry = made.audit(verdict)
        detail = {
            **entry.detail,
            "exception": case.pk,
            "way": chosen.plan.way,
            "note": note,
            "sent_by": entry.actor,
            "sent_from": entry.address,
        }
        return dataclasses.replace(
            entry,
            code=Code.INSTANCES_ACCESSED,
            actor=who.actor,
            address=who.address,
            object_uid=chosen.facts.sop_instance,
            facility=case.facility,
            detail=detail,
        )

    candidate = dataclasses.replace(made, key=case.key, durable=lambda: None, case=raised, audit=audit)
    try:
        with transaction.atomic():
            [verdict] = add_together([candidate])
            if verdict.finding is not Finding.STORED:
                raise _Undone
    except _Undone:
        raise Refused(f"It does not fit: {verdict.explanation or 'the archive has it already'}.") from None
    if chosen.changes:
        Correction.objects.create(
            level="TAKEN",
            uid=chosen.facts.sop_instance,
            changes=dict(chosen.changes),
            reason=note.strip(),
            actor=who.actor[:128],
            made_at=timezone.now(),
        )
    return Instance.objects.select_related("series").get(uid=chosen.facts.sop_instance)


def _give_back(who: Who, case: ExceptionCase) -> None:
    """Takes an object out of the index again; its file stays where it is. Counts and empty rows follow."""
    stored = StoredObject.objects.filter(key=case.key).select_related("instance__series__study__patient").first()
    if stored is None:
        return
    instance = stored.instance
    if Correction.objects.filter(level="IMAGE", uid=instance.uid, undone_at=None).exists():
        raise Refused("The object was corrected since: take that back first.")
    series, study = instance.series, instance.series.study
    Study.objects.select_for_update().get(pk=study.pk)
    made = Correction.objects.filter(level="TAKEN", uid=instance.uid, undone_at=None)
    made.update(undone_at=timezone.now(), undone_by=who.actor[:128])
    stored.delete()
    instance.delete()
    Series.objects.filter(pk=series.pk).update(instance_count=F("instance_count") - 1, stamp=fresh())
    Study.objects.filter(pk=study.pk).update(instance_count=F("instance_count") - 1, changed_at=timezone.now())
    if not Instance.objects.filter(series=series).exists():
        series.delete()
        Study.objects.filter(pk=study.pk).update(series_count=F("series_count") - 1)
    if not Series.objects.filter(study=study).exists():
        study.delete()
        _drop_patient(study.patient)


def _drop_patient(patient: Patient) -> None:
    """Somebody of whom nothing is left, and of whom nobody has said anything, was known by that object only."""
    if not patient.studies.exists() and not Correction.objects.filter(level="PATIENT", uid=str(patient.pk)).exists():
        patient.delete()
