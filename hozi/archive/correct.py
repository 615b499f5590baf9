"""Corrections: what elements of a patient, study, series or object read from now on, for everybody who asks.

The stored bytes never change. A `Correction` is an overlay that `fetch` lays over them on the way out; here it is made
and taken back, and the index is brought in line, so that a query answers what a retrieve gives. What the index said
before stands in the correction: taking it back restores that exactly, in whatever order corrections are taken back.
A patient's correction is one of all their studies, each of which may have said something else before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, Final, TypeAlias

from django.db import transaction
from django.utils import timezone

from hozi.archive import criteria
from hozi.archive.facts import INSTANCE_NUMBER, PATIENT_NAME, REFERRING_PHYSICIAN, Facts
from hozi.archive.lookup import insert_name_words, insert_referrals, insert_sequence_rows
from hozi.archive.models import Correction, Instance, NameWord, Patient, Referral, SequenceValue, Series, Study
from hozi.archive.stamp import fresh
from hozi.audit.record import Code, Entry, record
from hozi.core.dicom import keys, rewrite, scan, syntaxes, validity
from hozi.core.dicom.keys import Key, tag_of
from hozi.core.errors import Refused

Changes: TypeAlias = Mapping[int, Sequence[Any] | None]
_Row: TypeAlias = Patient | Study | Series | Instance

#: They say whose an object is, and which: moving and merging are acts of their own.
IDENTIFYING: Final = frozenset(
    map(
        tag_of,
        (
            "PatientID",
            "IssuerOfPatientID",
            "IssuerOfPatientIDQualifiersSequence",
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "SOPInstanceUID",
            "SOPClassUID",
        ),
    )
)
#: They say how the pixels are written, which no correction changes (PS3.3 §C.7.6.3).
PIXELS: Final = frozenset(
    map(
        tag_of,
        (
            "SamplesPerPixel",
            "PhotometricInterpretation",
            "PlanarConfiguration",
            "NumberOfFrames",
            "Rows",
            "Columns",
            "BitsAllocated",
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
        ),
    )
)
_MOST_BYTES: Final = 64 << 10
_TABLES: Final[dict[str, type[_Row]]] = {"PATIENT": Patient, "STUDY": Study, "SERIES": Series, "IMAGE": Instance}
#: Before the names of the columns in which a study keeps what it says of its patient.
_OF_PATIENT: Final = "patient_"
_SEQUENCE_OWNERS: Final = {"STUDY": "study", "SERIES": "series", "IMAGE": "instance"}


def edit(level: str, uid: str, changes: Changes, *, reason: str, actor: str) -> int:
    """Corrects elements of one patient, study, series or object (level ``IMAGE``); returns the correction's id.

    ``uid``: the UID, for a patient its row id as text. ``changes``: by tag the new values as in the DICOM JSON model
    (PS3.18 §F.2; `[]` empties the element), or None to leave the element out. Elements that queries know are corrected
    at their own level, all others at any.

    Raises `Refused`, naming the element and never a value, when there is no such thing, when an element may not be
    changed (`IDENTIFYING`, `PIXELS`, private ones ...), and when values are not valid for it.
    """
    if level not in _TABLES:
        raise Refused(f"There is no level {level!r}: there are {', '.join(_TABLES)}.")
    if not reason.strip():
        raise Refused("A correction needs a reason.")
    told = _told(level, changes)
    with transaction.atomic():
        row = _locked(level, uid)
        made = Correction.objects.create(
            level=level,
            uid=uid,
            changes={f"{tag:08X}": None if new is None else list(new) for tag, new in sorted(changes.items())},
            before={key.name: _state(row, key) for key in told},
            reason=reason.strip(),
            actor=actor[:128],
            made_at=timezone.now(),
        )
        _restate(row, told)
        _finish(made, row, actor, {"reason": made.reason})
    return made.pk


def undo(correction: int, *, actor: str) -> None:
    """Takes a correction back: elements read as if it had never been made; later corrections of them stay in force.

    Raises `Refused` when there is no such correction, or it was taken back before.
    """
    with transaction.atomic():
        made = Correction.objects.filter(pk=correction).first()
        if made is None:
            raise Refused(f"There is no correction {correction}.")
        if made.level not in _TABLES:
            raise Refused("It belongs to an object that was taken in from quarantine: undo that decision.")
        row = _locked(made.level, made.uid)  # whoever corrects this row waits here, so what is read now stays true
        in_force = list(
            Correction.objects.filter(level=made.level, uid=made.uid, undone_at=None, pk__gte=correction).order_by("pk")
        )
        if not in_force or in_force[0].pk != correction:
            raise Refused(f"Correction {correction} was taken back before.")
        made, *later = in_force
        _restate(row, {keys.BY_TAG[int(name, 16)]: state for name, state in _uncovered(made, later)})
        made.undone_at = timezone.now()
        made.undone_by = actor[:128]
        made.save(update_fields=["undone_at", "undone_by"])
        _finish(made, row, actor, {"undone": True})


def cover(study: Study) -> None:
    """Lays the corrections of its patient over what a study that has just come says of them.

    To be called in the transaction that inserts the study.
    """
    in_force = Correction.objects.filter(level="PATIENT", uid=str(study.patient_id), undone_at=None)
    for made in in_force.select_for_update().order_by("pk"):
        told = _told("PATIENT", {int(name, 16): new for name, new in made.changes.items()})
        for key in told:
            _remember(made.before[key.name], study, key)
        made.save(update_fields=["before"])
        _write(study, _OF_PATIENT, told)


def _uncovered(made: Correction, later: Sequence[Correction]) -> Iterable[tuple[str, dict[str, Any]]]:
    """What was before the correction, of elements that no later one covers; for others, the next one remembers it."""
    for name, state in made.before.items():
        covering = next((other for other in later if name in other.before), None)
        if covering is None:
            yield name, state
        else:
            covering.before[name] = state
            covering.save(update_fields=["before"])


# What may be changed --------------------------------------------------------------------------------


def _facts(level: str, changes: Changes) -> Facts:
    """The new values as the index would read them from an object that came with them. Raises `Refused`."""
    if not changes:
        raise Refused("A correction needs at least one element.")
    for tag, new in changes.items():
        _check(level, tag, new)
    syntax = syntaxes.for_unknown(syntaxes.EXPLICIT_LITTLE)
    # The same code that writes them on the way out: what it refuses must not get in.
    dataset = b"".join(rewrite.rewrite(BytesIO(), syntax, 0, changes))
    if len(dataset) > _MOST_BYTES:
        raise Refused(f"A correction holds at most {_MOST_BYTES >> 10} KiB.")
    try:
        json.dumps(dict(changes), allow_nan=False)
    except (TypeError, ValueError):
        raise Refused("A correction holds texts and numbers only.") from None
    return Facts(scan.scan(dataset, syntax), issuer="", default_charset="")


def _check(level: str, tag: int, new: Sequence[Any] | None) -> None:
    key = keys.BY_TAG.get(tag)
    where = key.keyword if key is not None else f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    if tag in IDENTIFYING:
        raise Refused(f"{where} says whose or which object it is: it is not corrected but moved or merged.")
    if tag in PIXELS:
        raise Refused(f"{where} says how the pixels are written: it cannot be corrected.")
    if tag >> 16 & 1:
        raise Refused(f"{where} is private: it cannot be corrected.")
    if key is not None and key.source == "computed":
        raise Refused(f"{where} stands in no object: the archive works it out.")
    if key is not None and key.level not in (level, "ANY"):
        raise Refused(f"{where} is corrected at level {key.level}.")
    if new is not None:
        validity.check(tag, new)


# The index ------------------------------------------------------------------------------------------


def _locked(level: str, uid: str) -> _Row:
    """The row that a correction is about, for this transaction alone."""
    rows: Any = _TABLES[level]._default_manager.select_for_update()
    if level == "PATIENT":
        row = rows.filter(pk=int(uid)).first() if uid.isdecimal() and len(uid) < 19 else None
    else:
        row = rows.filter(uid=uid).first()
    if row is None:
        raise Refused(f"The archive has no such {level.lower()}.")
    found: _Row = row
    return found


def _indexed(tag: int) -> Key | None:
    """The key of an element that the index keeps."""
    key = keys.BY_TAG.get(tag)
    return key if key is not None and key.usage != "-" else None


def _fields(key: Key) -> tuple[str, ...]:
    """The columns that an element fills."""
    column = criteria.COLUMNS.get(key.tag)
    return () if column is None else (column.field, *column.matched)


def _columns(facts: Facts, level: str) -> dict[str, Any]:
    if level == "PATIENT":
        return facts.patient_columns()
    if level == "STUDY":
        return facts.study_columns()
    return facts.series_columns() if level == "SERIES" else {"number": facts.integer(INSTANCE_NUMBER)}


def _told(level: str, changes: Changes) -> dict[Key, dict[str, Any]]:
    """What the index is to say of those elements that it knows. Raises `Refused` where `_facts` does."""
    corrected = _facts(level, changes)
    columns, attributes = _columns(corrected, level), corrected.attributes(level)
    return {
        key: {"columns": {name: columns[name] for name in _fields(key)}, "attribute": attributes.get(key.name)}
        for tag in changes
        if (key := _indexed(tag)) is not None
    }


def _reading(row: _Row, prefix: str, key: Key) -> dict[str, Any]:
    """What a row says of one element now: its columns, and what stands among the attributes (None: nothing)."""
    columns = {name: getattr(row, prefix + name) for name in _fields(key)}
    return {"columns": columns, "attribute": getattr(row, f"{prefix}attributes").get(key.name)}


def _state(row: _Row, key: Key) -> dict[str, Any]:
    """What the index says of one element now, in all rows that a correction of this one changes."""
    state = _reading(row, "", key)
    if isinstance(row, Patient):
        for study in row.studies.all():
            _remember(state, study, key)
    return state


def _remember(state: dict[str, Any], study: Study, key: Key) -> None:
    """Adds to a patient's state what one of the studies says, if that is something else."""
    said = _reading(study, _OF_PATIENT, key)
    if any(said[part] != state[part] for part in said):
        state.setdefault("studies", {})[study.uid] = said


def _restate(row: _Row, states: Mapping[Key, Mapping[str, Any]]) -> None:
    """Makes the index say so."""
    _write(row, "", states)
    if isinstance(row, Patient):
        for study in row.studies.all():
            own = {key: state.get("studies", {}).get(study.uid, state) for key, state in states.items()}
            _write(study, _OF_PATIENT, own)


def _write(row: _Row, prefix: str, states: Mapping[Key, Mapping[str, Any]]) -> None:
    attributes = getattr(row, f"{prefix}attributes")
    changed = {f"{prefix}attributes"}
    for key, state in states.items():
        for name, value in state["columns"].items():
            setattr(row, prefix + name, value)
            changed.add(prefix + name)
        attributes.pop(key.name, None)
        if state["attribute"] is not None:
            attributes[key.name] = state["attribute"]
    row.save(update_fields=sorted(changed))
    for key in states:
        if key.tag == PATIENT_NAME and isinstance(row, Study):
            NameWord.objects.filter(study=row).delete()
            insert_name_words(row)
        elif key.tag == REFERRING_PHYSICIAN and isinstance(row, Study):
            Referral.objects.filter(study=row).delete()
            insert_referrals(row)
        elif key.vr == "SQ" and key.level in _SEQUENCE_OWNERS:
            owner = _SEQUENCE_OWNERS[key.level]
            SequenceValue.objects.filter(**{owner: row}, sequence=key.name).delete()
            insert_sequence_rows(owner, row.pk, _sequence_values(key, row.attributes.get(key.name, ())))


def _sequence_values(key: Key, items: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    return [
        {"sequence": key.name, "item": number, "element": element, "value": value}
        for number, item in enumerate(items)
        for element, value in item.items()
    ]


def _finish(made: Correction, row: _Row, actor: str, detail: dict[str, Any]) -> None:
    """Says that the studies have changed, and who has changed them."""
    series = row.series if isinstance(row, Instance) else row if isinstance(row, Series) else None
    study = series.study if series is not None else row if isinstance(row, Study) else None
    patient = study.patient if study is not None else row
    assert isinstance(patient, Patient)  # noqa: S101 - there is no other kind of row
    studies = Study.objects.filter(patient=patient) if study is None else Study.objects.filter(pk=study.pk)
    studies.update(changed_at=timezone.now(), stamp=fresh())
    record(
        Entry(
            code=Code.INSTANCES_ACCESSED,
            action="U",
            actor=actor,
            issuer=patient.issuer,
            patient_id=patient.patient_id,
            study_uid=study.uid if study is not None else "",
            object_uid=row.uid if isinstance(row, Instance) else "",
            facility=studies.order_by("pk").values_list("facility", flat=True).first() or "",
            detail={"correction": made.pk, "level": made.level, "elements": list(made.changes), **detail},
        )
    )
