"""Everything about one study, for the page on which people look at it: bounded, and only what who asks may see.

What the patient and the study read is what the index says, so corrections are in it. A study out of reach is not
there. Whatever is given out here, the audit says who has looked (`looks.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Sum

from hozi.accounts.authorise import Who, reach
from hozi.archive import reach as reaching
from hozi.archive.exceptions import IN_WORDS
from hozi.archive.looks import note
from hozi.archive.models import Correction, ExceptionCase, Instance, Rejection, Series, Study
from hozi.archive.readable import Readable, readable
from hozi.audit import record as audit
from hozi.audit.record import Code
from hozi.core.dicom import sop_classes
from hozi.core.dicom.keys import element, tag_of
from hozi.core.errors import NotThere

SEE: Final = "studies.find"
"""The permission with which the page is seen: what was examined, when, and for whom."""
LOOK: Final = "studies.open"
"""The permission with which images and their elements are looked at."""

_MOST_HISTORY: Final = 200


@dataclass(frozen=True, slots=True)
class PatientBlock:
    """Who a patient is, as every page says it: name, number with its issuer, birth date, sex. As DICOM writes them."""

    name: str
    patient_id: str
    issuer: str
    birth_date: str
    sex: str


@dataclass(frozen=True, slots=True)
class StudyHead:
    """What a study is. ``modalities``: those of its series, sorted. ``changed_at``: the last arrival or correction.

    ``open_exceptions``: how many about it wait, as far as whoever asks may see exceptions.
    """

    pk: int
    uid: str
    patient: PatientBlock
    date: str
    time: str
    accession_number: str
    study_id: str
    description: str
    referring: str
    facility: str
    modalities: tuple[str, ...]
    series_count: int
    instance_count: int
    bytes: int
    received_at: datetime
    last_received_at: datetime
    changed_at: datetime
    open_exceptions: int


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """A series. ``kinds``: SOP classes of its objects by name, with how many there are. ``key``: where to go on.

    ``study``: row id of the one that it belongs to.
    """

    pk: int
    study: int
    uid: str
    number: int | None
    modality: str
    description: str
    body_part: str
    instance_count: int
    first_received_at: datetime | None
    last_received_at: datetime | None
    kinds: tuple[tuple[str, int], ...]
    key: str


@dataclass(frozen=True, slots=True)
class InstanceLine:
    """An object of a series. ``readable``: how people read it, when it is no image."""

    pk: int
    uid: str
    number: int | None
    kind: str
    readable: Readable
    received_at: datetime
    bytes: int
    key: str


@dataclass(frozen=True, slots=True)
class Happened:
    """Something in the life of a study. ``actor`` did it, at ``until`` the last time when it was ``count`` times.

    ``what``: ``received``, ``imported``, ``corrected``, ``taken-back``, ``exception``, ``rejected`` (``count`` objects)
    or ``brought-back``, which takes a rejection back. ``elements``: what a
    correction is of; ``reason``: why, in the words of who did it. ``reference``: the row of the correction or
    exception.
    """

    at: datetime
    what: Literal["received", "imported", "corrected", "taken-back", "exception", "rejected", "brought-back"]
    actor: str
    address: str = ""
    count: int = 1
    until: datetime | None = None
    level: str = ""
    elements: tuple[str, ...] = ()
    reason: str = ""
    reference: int = 0
    in_force: bool = False


@dataclass(frozen=True, slots=True)
class OtherStudy:
    """Another study of the same patient."""

    pk: int
    date: str
    description: str
    modalities: tuple[str, ...]
    facility: str


def study_of(who: Who, permission: str, pk: int) -> Study:
    """The study, if the permission reaches it. Raises `NotThere`, or `Denied` without the permission."""
    found = Study.objects.filter(reaching.studies(reach(who, permission)), pk=pk).select_related("patient").first()
    if found is None:
        raise NotThere("There is no such study, or it is not yours to see.")
    return found


def number_of(who: Who, permission: str, uid: str) -> int:
    """The row id of the study with that UID. Raises as `study_of` does."""
    found = Study.objects.filter(reaching.studies(reach(who, permission)), uid=uid).values_list("pk", flat=True).first()
    if found is None:
        raise NotThere("There is no such study, or it is not yours to see.")
    return found


def series_of(who: Who, permission: str, pk: int) -> Series:
    """The series, if the permission reaches it. Raises as `study_of` does."""
    series = Series.objects.filter(reaching.series(reach(who, permission)), pk=pk).first()
    if series is None:
        raise NotThere("There is no such series, or it is not yours to see.")
    series.study = study_of(who, permission, series.study_id)
    return series


def instance_of(who: Who, permission: str, pk: int) -> Instance:
    """The object, if the permission reaches it. Raises as `study_of` does."""
    reached = reaching.series(reach(who, permission), "series__")
    instance = Instance.objects.filter(reached, pk=pk).select_related("series", "stored").first()
    if instance is None:
        raise NotThere("There is no such object, or it is not yours to see.")
    instance.series.study = study_of(who, permission, instance.series.study_id)
    return instance


def open_study(who: Who, pk: int) -> StudyHead:
    """The study as it is now. Raises as `study_of` does."""
    study = study_of(who, SEE, pk)
    told = _head(who, study)
    note(who, study, "page")
    return told


def patient_of(study: Study) -> PatientBlock:
    """Who the patient of a study is, as the study has it."""
    return PatientBlock(
        study.patient_name,
        study.patient.patient_id,
        study.patient.issuer if study.patient.patient_id else "",
        study.patient_birth_date,
        study.patient_sex,
    )


def _series(who: Who, study: Study) -> QuerySet[Series]:
    """The series of the study that are reached; of some studies, not all are."""
    return Series.objects.filter(reaching.series(reach(who, SEE)), study=study)


def _head(who: Who, study: Study) -> StudyHead:
    series = _series(who, study)
    objects = Instance.objects.filter(series__in=series)
    told = objects.aggregate(last=Max("received_at"), size=Sum("stored__length"))
    counts = series.aggregate(series=Count("pk"), objects=Sum("instance_count"))
    modalities = series.exclude(modality="").values_list("modality", flat=True).distinct()
    return StudyHead(
        pk=study.pk,
        uid=study.uid,
        patient=patient_of(study),
        date=study.date,
        time=study.time,
        accession_number=study.accession_number,
        study_id=study.study_id,
        description=study.description,
        referring=study.referring,
        facility=study.facility,
        modalities=tuple(sorted(modalities)),
        series_count=counts["series"],
        instance_count=counts["objects"] or 0,
        bytes=told["size"] or 0,
        received_at=study.received_at,
        last_received_at=told["last"] or study.received_at,
        changed_at=study.changed_at,
        open_exceptions=_waiting(who, study),
    )


def _waiting(who: Who, study: Study) -> int:
    """How many exceptions about the study wait, of those that who asks may see."""
    cases = reaching.exceptions_beside(who, reach(who, SEE))
    return cases.filter(study_uid=study.uid, state=ExceptionCase.State.OPEN).count()


# Series and objects, page by page ---------------------------------------------------------------------


def series_lines(who: Who, pk: int, *, after: str = "", most: int = 50) -> list[SeriesLine]:
    """The series of a study in the order of their numbers, those behind the line with the key ``after``."""
    study = study_of(who, SEE, pk)
    lines = _series_lines(list(_in_order(_series(who, study), after)[:most]))
    note(who, study, "page")
    return lines


def series_line(who: Who, pk: int) -> SeriesLine:
    """One series. Raises as `study_of` does."""
    row = series_of(who, SEE, pk)
    [line] = _series_lines([row])
    note(who, row.study, "page")
    return line


def _series_lines(rows: Sequence[Series]) -> list[SeriesLine]:
    kinds: dict[int, list[_Kind]] = {}
    groups = Instance.objects.filter(series__in=rows).values_list("series_id", "sop_class").order_by()
    for series, *told in groups.annotate(count=Count("pk"), first=Min("received_at"), last=Max("received_at")):
        kinds.setdefault(series, []).append(_Kind(*told))
    return [_series_line(row, kinds.get(row.pk, [])) for row in rows]


class _Kind(NamedTuple):
    """The objects of one SOP class in a series."""

    sop_class: str
    objects: int
    first: datetime
    last: datetime


def _series_line(row: Series, kinds: Sequence[_Kind]) -> SeriesLine:
    most_first = sorted(kinds, key=lambda kind: -kind.objects)
    return SeriesLine(
        pk=row.pk,
        study=row.study_id,
        uid=row.uid,
        number=row.number,
        modality=row.modality,
        description=row.attributes.get(_SERIES_DESCRIPTION, ""),
        body_part=row.attributes.get(_BODY_PART, ""),
        instance_count=row.instance_count,
        first_received_at=min((kind.first for kind in kinds), default=None),
        last_received_at=max((kind.last for kind in kinds), default=None),
        kinds=tuple((kind_of(kind.sop_class), kind.objects) for kind in most_first),
        key=_key(row),
    )


def instance_lines(who: Who, series: int, *, after: str = "", most: int = 100) -> list[InstanceLine]:
    """The objects of a series in the order of their numbers, those behind the line with the key ``after``."""
    row = series_of(who, SEE, series)
    found = _in_order(Instance.objects.filter(series=row), after).select_related("stored")[:most]
    lines = [
        InstanceLine(
            pk=one.pk,
            uid=one.uid,
            number=one.number,
            kind=kind_of(one.sop_class),
            readable=readable(one.sop_class),
            received_at=one.received_at,
            bytes=one.stored.length,
            key=_key(one),
        )
        for one in found
    ]
    note(who, row.study, "page")
    return lines


def kind_of(sop_class: str) -> str:
    """What people call objects of a SOP class."""
    return sop_classes.name(sop_class).removesuffix(" Storage")


def frame_count(row: Instance) -> int:
    """How many frames an object has, by what it says of itself; one, when it says nothing that can be."""
    told = str(row.attributes.get(_FRAMES, "")).strip()
    return max(int(told), 1) if told.isdecimal() and len(told) < 7 else 1


def _in_order(rows: QuerySet[Any], after: str) -> QuerySet[Any]:
    """By number, those without one at the end; behind the row with the key ``after``."""
    number, _, pk = after.partition(".")
    try:
        last = (int(number) if number else None, int(pk)) if after else None
    except ValueError:
        raise NotThere("There is no such page.") from None
    ordered = rows.order_by(F("number").asc(nulls_last=True), "pk")
    if last is None:
        return ordered
    if last[0] is None:
        return ordered.filter(number__isnull=True, pk__gt=last[1])
    behind = Q(number__gt=last[0]) | Q(number=last[0], pk__gt=last[1])
    return ordered.filter(behind | Q(number__isnull=True))


def _key(row: Series | Instance) -> str:
    return f"{'' if row.number is None else row.number}.{row.pk}"


# Beside it --------------------------------------------------------------------------------------------


def history(who: Who, pk: int) -> list[Happened]:
    """What has happened to the study, the latest first, at most some hundred lines: arrivals (each device together),
    corrections of it and of its patient and what is in it, and exceptions about it, of those that who asks may see.

    Of whom a part of the study is hidden, hears only of corrections of what they see.
    """
    study = study_of(who, SEE, pk)
    lines = list(_corrections(who, study))
    if not reaching.by_series(reach(who, SEE)):
        lines += _arrivals(study)
        lines += _exceptions(who, study)
        lines += _rejections(study)
    note(who, study, "page")
    return sorted(lines, key=lambda line: line.until or line.at, reverse=True)[:_MOST_HISTORY]


def _arrivals(study: Study) -> Iterator[Happened]:
    for came in audit.arrivals(study.uid):
        what: Literal["imported", "received"] = "imported" if came.code == Code.IMPORT else "received"
        yield Happened(came.first, what, came.actor, came.address, came.count, came.last)


def _corrections(who: Who, study: Study) -> Iterator[Happened]:
    inside = _series(who, study).filter(uid=OuterRef("uid"))
    objects = Instance.objects.filter(series__in=_series(who, study), uid=OuterRef("uid"))
    made = Correction.objects.filter(
        Q(level="PATIENT", uid=str(study.patient_id))
        | Q(level="STUDY", uid=study.uid)
        | (Q(level="SERIES") & Exists(inside))
        | (~Q(level__in=("PATIENT", "STUDY", "SERIES")) & Exists(objects))
    )
    for one in made.order_by("-pk")[:_MOST_HISTORY]:
        elements = tuple(_called(name) for name in one.changes)
        in_force = one.undone_at is None
        yield Happened(
            one.made_at,
            "corrected",
            one.actor,
            level=one.level,
            elements=elements,
            reason=one.reason,
            reference=one.pk,
            in_force=in_force,
        )
        if one.undone_at is not None:
            yield Happened(
                one.undone_at, "taken-back", one.undone_by, level=one.level, elements=elements, reference=one.pk
            )


def _rejections(study: Study) -> Iterator[Happened]:
    for made in Rejection.objects.filter(study_uid=study.uid).order_by("-pk")[:_MOST_HISTORY]:
        yield Happened(
            made.made_at,
            "rejected",
            made.actor,
            count=made.objects_count,
            level=made.level,
            reason=made.reason,
            reference=made.pk,
            in_force=made.undone_at is None,
        )
        if made.undone_at is not None:
            yield Happened(made.undone_at, "brought-back", made.undone_by, level=made.level, reference=made.pk)


def _called(name: str) -> str:
    try:
        return element(int(name, 16)).keyword
    except KeyError:
        return f"({name[:4]},{name[4:]})"


def _exceptions(who: Who, study: Study) -> Iterator[Happened]:
    cases = reaching.exceptions_beside(who, reach(who, SEE)).filter(study_uid=study.uid)
    for case in cases.order_by("-pk")[:_MOST_HISTORY]:
        yield Happened(
            case.first_at,
            "exception",
            case.actor,
            case.address,
            case.count,
            case.last_at,
            reason=IN_WORDS[case.reason],
            reference=case.pk,
            in_force=case.state == ExceptionCase.State.OPEN,
        )


def other_studies(who: Who, pk: int, *, most: int = 20) -> tuple[list[OtherStudy], int]:
    """Other studies of the same patient that who asks may see, the latest first; and how many there are in all."""
    study = study_of(who, SEE, pk)
    others = Study.objects.filter(reaching.studies(reach(who, SEE)), patient=study.patient).exclude(pk=study.pk)
    rows = list(others.order_by("-date", "-pk")[:most])
    modalities: dict[int, set[str]] = {}
    series = Series.objects.filter(reaching.series(reach(who, SEE)), study__in=rows)
    for owner, modality in series.values_list("study_id", "modality").distinct():
        modalities.setdefault(owner, set()).add(modality)
    lines = [
        OtherStudy(row.pk, row.date, row.description, tuple(sorted(modalities.get(row.pk, set()) - {""})), row.facility)
        for row in rows
    ]
    count = len(lines) if len(lines) < most else others.count()
    note(who, study, "page")
    return lines, count


_SERIES_DESCRIPTION: Final = f"{tag_of('SeriesDescription'):08X}"
_FRAMES: Final = f"{tag_of('NumberOfFrames'):08X}"
_BODY_PART: Final = f"{tag_of('BodyPartExamined'):08X}"
