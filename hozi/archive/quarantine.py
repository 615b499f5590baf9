"""What waits for a person's decision: listed, looked at, beside what it collides with, and given out to be examined.

Exceptions belong to the facility whose device brought them. Whoever may see them sees what happened, from which device
and when; who the patient is only those see who may search that facility's studies; images and elements only those who
may open them; and what it collides with in the archive only when that is in reach, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

from django.db.models import Count, Min, Q

from hozi.accounts.authorise import Denied, Scope, Who, reach
from hozi.archive import reach as reaching
from hozi.archive import thumbnail
from hozi.archive.arrived import Whole, facts_of, nameless, recovered
from hozi.archive.exceptions import IN_WORDS
from hozi.archive.facts import INSTANCE_NUMBER, Facts
from hozi.archive.looks import note, once
from hozi.archive.models import ExceptionCase, Instance, Patient, Series, Study
from hozi.archive.place import volume
from hozi.archive.study_page import LOOK, SEE, PatientBlock, kind_of, patient_of, study_of
from hozi.archive.thumbnail import Thumbnail
from hozi.audit.record import Code, Entry, record
from hozi.core.dicom import syntaxes
from hozi.core.dicom.keys import tag_of
from hozi.core.dicom.listing import Listing, harmless, listing
from hozi.core.errors import NotThere, Unavailable, Unreadable
from hozi.settings import HOZI

PERMISSION: Final = "exceptions.see"
_DOWNLOAD: Final = "studies.download"
_PIECE: Final = 1 << 20

Reason = ExceptionCase.Reason
State = ExceptionCase.State


@dataclass(frozen=True, slots=True)
class CaseLine:
    """One exception. ``device`` brought it; ``quarantined``: the object itself lies in quarantine (or did, until it was
    taken in). ``key``: where the list goes on.
    """

    pk: int
    reason: str
    meaning: str
    explanation: str
    kind: str
    facility: str
    device: str
    address: str
    bytes: int
    quarantined: bool
    count: int
    first_at: datetime
    last_at: datetime
    open: bool
    decision: str
    decided_at: datetime | None
    decided_by: str
    note: str
    version: int

    @property
    def key(self) -> str:
        """Where the list goes on behind this line."""
        return str(self.pk)


@dataclass(frozen=True, slots=True)
class Compared:
    """One thing, as the object says it and as the archive has it."""

    what: str
    here: str
    there: str

    @property
    def differs(self) -> bool:
        """Whether the two contradict each other."""
        return self.here != self.there


@dataclass(frozen=True, slots=True)
class Side:
    """A patient, and row ids: of the object in quarantine (once it was taken in), or of what it collides with."""

    patient: PatientBlock | None
    study: int | None = None
    instance: int | None = None
    series: int | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """One exception, looked at. ``here``: what the object says; ``there``: what it collides with, and None where that
    is nothing or out of reach (``hidden``). ``problem``: why the object cannot be read.
    """

    line: CaseLine
    here: Side | None
    there: Side | None
    compared: tuple[Compared, ...]
    hidden: bool
    may_see_patient: bool
    may_look: bool
    may_download: bool
    problem: str = ""


# The list ---------------------------------------------------------------------------------------------


def case_of(who: Who, pk: int, permission: str = PERMISSION) -> ExceptionCase:
    """The exception, if the permission reaches its facility. Raises `NotThere`, or `Denied` without the permission."""
    found = reaching.exceptions(who, permission).filter(pk=pk).first()
    if found is None:
        raise NotThere("There is no such exception, or it is not yours to see.")
    return found


def cases(
    who: Who,
    *,
    reason: str = "",
    device: str = "",
    facility: str = "",
    study: int | None = None,
    decided: bool = False,
    after: str = "",
    most: int = 50,
) -> list[CaseLine]:
    """The exceptions that wait, the oldest first; with ``decided``, those that do not, the latest first.

    ``study``: row id of the study that they are about.
    """
    rows = reaching.exceptions(who).filter(state=State.RESOLVED if decided else State.OPEN)
    for field, wanted in (("reason", reason), ("actor", device), ("facility", facility)):
        if wanted:
            rows = rows.filter(**{field: wanted.replace("\0", "")})  # which no database keeps
    if study is not None:
        rows = rows.filter(study_uid=study_of(who, SEE, study).uid)
    if after:
        if not (after.isascii() and after.isdecimal() and len(after) < 19):
            raise NotThere("There is no such page.")
        rows = rows.filter(**{"pk__lt" if decided else "pk__gt": int(after)})
    return [line_of(row) for row in rows.order_by("-pk" if decided else "pk")[:most]]


def waiting(who: Who) -> tuple[int, datetime | None]:
    """How many exceptions wait for a decision of whoever asks, and since when the oldest does."""
    told = reaching.exceptions(who).filter(state=State.OPEN).aggregate(count=Count("pk"), oldest=Min("first_at"))
    return told["count"], told["oldest"]


def choices(who: Who, field: str, *, decided: bool = False) -> list[tuple[str, int]]:
    """What the list can be narrowed to by ``field`` (reason, device, facility), with how many there are."""
    column = {"reason": "reason", "device": "actor", "facility": "facility"}[field]
    rows = reaching.exceptions(who).filter(state=State.RESOLVED if decided else State.OPEN)
    found = rows.values_list(column).annotate(count=Count("pk")).order_by("-count", column)
    return [(value, count) for value, count in found[:100] if value]


def line_of(row: ExceptionCase) -> CaseLine:
    """One exception, as lists show it."""
    return CaseLine(
        pk=row.pk,
        reason=row.reason,
        meaning=IN_WORDS[row.reason],
        explanation=row.explanation,
        kind=kind_of(row.sop_class) if row.sop_class else "",
        facility=row.facility,
        device=row.actor,
        address=row.address,
        bytes=row.length,
        quarantined=bool(row.key),
        count=row.count,
        first_at=row.first_at,
        last_at=row.last_at,
        open=row.state == State.OPEN,
        decision=row.decision,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        note=row.note,
        version=row.version,
    )


# One of them ------------------------------------------------------------------------------------------


def holds(who: Who, permission: str, facility: str) -> bool:
    """Whether who asks has the permission for all studies of a facility: what is in quarantine is none yet."""
    whole = (Scope(), Scope(facility=facility))
    return any(permission in held.permissions and held.scope in whole for held in who.held)


def look(who: Who, pk: int) -> Looked:
    """The exception, what the object says, and what it collides with; patients only for those who may see them.

    The audit says who has looked. Raises as `case_of` does.
    """
    case = case_of(who, pk)
    sees = holds(who, SEE, case.facility)
    here: Side | None = None
    there: Side | None = None
    compared: tuple[Compared, ...] = ()
    hidden, problem = False, ""
    if sees:
        here, there, compared, hidden, problem = _sides(who, case)
    patient = here.patient if here else None
    if there and there.study:
        for study in Study.objects.filter(pk=there.study).select_related("patient"):
            note(who, study, "page")
    record(_entry(who, case, "R", {"opened": "exception"}, patient))
    return Looked(
        line=line_of(case),
        here=here,
        there=there,
        compared=compared,
        hidden=hidden,
        may_see_patient=sees,
        may_look=bool(case.key) and holds(who, LOOK, case.facility),
        may_download=bool(case.key) and holds(who, _DOWNLOAD, case.facility),
        problem=problem,
    )


_Sides = tuple[Side | None, Side | None, tuple[Compared, ...], bool, str]


def _sides(who: Who, case: ExceptionCase) -> _Sides:
    if case.key:
        try:
            with opened(case) as whole:
                facts = facts_of(whole)
        except (Unreadable, Unavailable, OSError) as error:
            problem = str(error) if isinstance(error, (Unreadable, Unavailable)) else "the disk cannot read the file"
            return None, None, (), False, problem
        return _beside(who, facts, case)
    own = Study.objects.filter(reaching.studies(reach(who, SEE)), uid=case.study_uid).select_related("patient").first()
    if own is None:
        return None, None, (), Study.objects.filter(uid=case.study_uid).exists(), ""
    here = Side(patient_of(own), own.pk)
    if case.reason != Reason.PATIENT_DIFFERS:
        return here, None, (), False, ""
    known = _known(own.patient)
    return here, Side(known), tuple(_compared_patients(here.patient, known)), False, ""


def _known(patient: Patient) -> PatientBlock:
    return PatientBlock(
        patient.name,
        patient.patient_id,
        patient.issuer if patient.patient_id else "",
        patient.birth_date,
        patient.sex,
    )


def patient_in(facts: Facts) -> PatientBlock:
    """Who the patient of an object is, as it says itself. What is not for reading is a sign instead."""
    told = facts.patient_columns()
    identity = facts.identity
    return PatientBlock(
        harmless(told["name"]),
        harmless(identity.patient_id),
        harmless(identity.issuer) if identity.patient_id else "",
        harmless(told["birth_date"]),
        harmless(told["sex"]),
    )


def _beside(who: Who, facts: Facts, case: ExceptionCase) -> _Sides:
    here = Side(patient_in(facts))
    known = Instance.objects.select_related("series__study__patient", "stored")
    own = known.filter(stored__key=case.key).first()
    if own is not None:  # it was taken in
        return Side(here.patient, own.series.study_id, own.pk), None, (), False, ""
    instance = known.filter(uid=facts.sop_instance).first()
    study = (
        instance.series.study
        if instance
        else Study.objects.filter(Q(uid=facts.study) | Q(series__uid=facts.series)).select_related("patient").first()
    )
    if study is None:
        return here, None, (), False, ""
    if not Study.objects.filter(reaching.studies(reach(who, SEE)), pk=study.pk).exists():
        return here, None, (), True, ""
    series = instance.series if instance else Series.objects.filter(study=study).order_by("number", "pk").first()
    there = Side(patient_of(study), study.pk, instance.pk if instance else None, series.pk if series else None)
    compared = [*_compared_patients(here.patient, there.patient), *_compared_studies(facts, study)]
    if instance is not None:
        compared += _compared_objects(facts, case, instance)
    return here, there, tuple(compared), False, ""


def _compared_patients(here: PatientBlock | None, there: PatientBlock | None) -> Iterator[Compared]:
    for what in ("name", "patient_id", "issuer", "birth_date", "sex"):
        yield Compared(what, getattr(here, what), getattr(there, what))


def _compared_studies(facts: Facts, study: Study) -> Iterator[Compared]:
    told = facts.study_columns()
    for what in ("date", "time", "accession_number", "description", "referring"):
        yield Compared(what, harmless(str(told[what])), str(getattr(study, what)))
    yield Compared("study", facts.study, study.uid)


def _compared_objects(facts: Facts, case: ExceptionCase, instance: Instance) -> Iterator[Compared]:
    series, told = instance.series, facts.series_columns()
    yield Compared("series", facts.series, series.uid)
    yield Compared("modality", harmless(told["modality"]), series.modality)
    yield Compared("series_number", _text(told["number"]), _text(series.number))
    description = f"{tag_of('SeriesDescription'):08X}"
    yield Compared(
        "series_description",
        harmless(str(told["attributes"].get(description, ""))),
        str(series.attributes.get(description, "")),
    )
    yield Compared("kind", kind_of(facts.sop_class), kind_of(instance.sop_class))
    yield Compared("number", _text(facts.integer(INSTANCE_NUMBER)), _text(instance.number))
    yield Compared("object", facts.sop_instance, instance.uid)
    yield Compared("transfer_syntax", _syntax(case.transfer_syntax), _syntax(instance.stored.transfer_syntax))
    yield Compared("length", str(case.length), str(instance.stored.length))
    yield Compared("sha256", case.sha256, instance.stored.sha256)


def _syntax(uid: str) -> str:
    known = syntaxes.get(uid)
    return known.name if known is not None else uid


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


@contextmanager
def opened(case: ExceptionCase) -> Iterator[Whole]:
    """The object in quarantine, as it came. Raises `Missing`, and `Unreadable` when it is not what had come."""
    with volume().local(case.key) as path:
        try:
            whole = recovered(path)
        except Unreadable:
            whole = nameless(path)
        if whole.sha256 != case.sha256:
            raise Unreadable("the file in quarantine is not what was received; run `hozi verify`")
        if not whole.offset:
            raise Unreadable("not even its header had come")
        yield whole


def note_patient(who: Who, case: ExceptionCase, patient: PatientBlock) -> None:
    """A row in the audit that says who saw this patient beside the exception, unless it was written a moment ago."""
    once(_entry(who, case, "R", {"opened": "exception"}, patient))


def _entry(
    who: Who, case: ExceptionCase, action: str, detail: dict[str, object], patient: PatientBlock | None = None
) -> Entry:
    return Entry(
        code=Code.INSTANCES_ACCESSED,
        action=action,
        actor=who.actor,
        address=who.address,
        issuer=patient.issuer if patient else "",
        patient_id=patient.patient_id if patient else "",
        study_uid=case.study_uid,
        object_uid=case.sop_instance_uid,
        facility=case.facility,
        detail={"exception": case.pk, "reason": case.reason, **detail},
    )


# The object itself ------------------------------------------------------------------------------------


def _quarantined(who: Who, pk: int, permission: str) -> ExceptionCase:
    case = case_of(who, pk)
    if not holds(who, permission, case.facility):
        raise Denied(f"{who.actor} may not: {permission}")
    if not case.key:
        raise NotThere("The object of this exception is in the archive.")
    return case


def elements(who: Who, pk: int, *, wanted: str = "", first: int = 0, most: int = 200) -> Listing:
    """The elements of an object in quarantine, as `listing` gives them. The audit says who has looked."""
    case = _quarantined(who, pk, LOOK)
    record(_entry(who, case, "R", {"opened": "elements"}))
    if not case.dataset_offset:
        return Listing(problem="not even its header had come")
    with volume().open(case.key) as file:
        file.seek(case.dataset_offset)
        return listing(
            file,
            syntaxes.for_unknown(case.transfer_syntax),
            case.length,
            default_character_set=HOZI.default_charset,
            wanted=wanted,
            first=first,
            most=most,
        )


def picture(who: Who, pk: int) -> Thumbnail:
    """The picture of an object in quarantine. The audit says who has looked."""
    case = _quarantined(who, pk, LOOK)
    once(_entry(who, case, "R", {"opened": "pictures"}))
    if not case.dataset_offset:
        return Thumbnail("damaged", case.sha256)
    return thumbnail.of_file(case.key, case.dataset_offset, case.transfer_syntax, case.sop_class)


@dataclass(frozen=True, slots=True)
class GivenOut:
    """A file from quarantine as it lies there; ``name`` holds no patient data. ``pieces`` is to be closed."""

    name: str
    length: int
    pieces: Iterator[bytes]


def give_out(who: Who, pk: int) -> GivenOut:
    """The file as it lies in quarantine, for those who examine what a device sends. It is in the audit."""
    case = _quarantined(who, pk, _DOWNLOAD)
    length = volume().size(case.key)
    if length is None:
        raise NotThere("The file is gone; run `hozi verify`.")
    name = f"exception-{case.pk}.dcm"
    detail: dict[str, object] = {"target": name, "objects": 1, "exception": case.pk}
    record(
        Entry(
            code=Code.EXPORT,
            action="R",
            actor=who.actor,
            address=who.address,
            study_uid=case.study_uid,
            object_uid=case.sop_instance_uid,
            facility=case.facility,
            detail=detail,
        )
    )
    return GivenOut(name, length, _pieces(volume().open(case.key)))


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
