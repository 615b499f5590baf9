"""Images are rejected: from then on they are not there, at any door, for anybody, until that is taken back.

Nothing is deleted and no stored byte changes (promise 2). The rows of what is rejected are put aside, below a study
with invented UIDs that `reach` never lets through; so nothing else has to know of rejections, and archives without any
pay nothing for them. An object that was rejected and comes again stays what it is: known, and not shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from hozi.accounts.authorise import Who, check, home, reach
from hozi.archive import reach as reaching
from hozi.archive.models import Instance, Rejection, Series, Study
from hozi.archive.stamp import fresh
from hozi.audit.record import Code, Entry, record
from hozi.core.errors import NotThere, Refused

PERMISSION: Final = "studies.reject"

_LONGEST_REASON: Final = 500
_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be rejected: ``objects`` in so many ``series``; ``left`` objects of the study would stay."""

    level: str
    series: int
    objects: int
    left: int


@dataclass(frozen=True, slots=True)
class Line:
    """A rejection. ``study``: row id of the one that it was made of, if that is still there."""

    pk: int
    level: str
    objects: int
    whole: bool
    patient: tuple[str, str, str]
    date: str
    description: str
    facility: str
    reason: str
    actor: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class _What:
    """What a rejection is about: a study, one series of it or one object of that."""

    study: Study
    series: Series | None
    instance: Instance | None

    @property
    def level(self) -> str:
        return "IMAGE" if self.instance else "SERIES" if self.series else "STUDY"

    @property
    def uid(self) -> str:
        return (self.instance or self.series or self.study).uid


def preview(who: Who, study: str, series: str = "", instance: str = "") -> Preview:
    """What rejecting this would hide. Raises `NotThere` out of reach."""
    what = _found(who, study, series, instance, lock=False)
    moving = _series_of(what)
    objects = 1 if what.instance else sum(row.instance_count for row in moving)
    return Preview(what.level, len(moving), objects, what.study.instance_count - objects)


def reject(
    who: Who, study: str, series: str = "", instance: str = "", *, reason: str, permission: str = PERMISSION
) -> int:
    """Rejects a study, a series of it or one object of that, by UIDs; returns the number with which to take it back.

    ``permission``: another one, where a room has asked already whether who asks may do this to this very object.
    Raises `NotThere` out of reach, `Refused` without a reason, and where a part of the study is out of reach.
    """
    check(who, permission)
    reason = reason.strip()
    if not reason:
        raise Refused("Say why: whoever looks for these images later needs to know.", field="reason")
    if len(reason) > _LONGEST_REASON:
        raise Refused(f"At most {_LONGEST_REASON} characters", field="reason")
    with transaction.atomic():
        what = _found(who, study, series, instance, lock=True, permission=permission)
        made = Rejection.objects.create(
            level=what.level,
            uid=what.uid,
            study_uid=what.study.uid,
            reason=reason,
            actor=who.actor[:128],
            made_at=timezone.now(),
        )
        entry = _entry(who, what.study, made, "D", {"rejected": made.pk, "reason": reason})
        _put_aside(made, what)
        record(entry)
    return made.pk


def undo(who: Who, number: int) -> None:
    """Takes a rejection back: what it hid is there again, together with what has come meanwhile.

    Raises `NotThere` out of reach; `Refused` when it was taken back before, and when the rest of the study is rejected.
    """
    reached = reaching.studies(reach(who, PERMISSION), "hidden__", rejected=True)
    with transaction.atomic():
        made = Rejection.objects.select_for_update(of=("self",)).filter(reached, pk=number).first()
        if made is None:
            if Rejection.objects.filter(pk=number, hidden=None).exists():
                raise Refused("That rejection was taken back before.")
            raise NotThere("There is no such rejection, or it is not yours to take back.")
        hidden = Study.objects.select_for_update(no_key=True).get(rejections=made)
        target = Study.objects.select_for_update(no_key=True).filter(uid=made.study_uid).first()
        if target is None and not made.whole:
            raise Refused("The rest of the study is rejected too: take that back first.")
        if target is None:
            hidden.uid, hidden.rejected = made.study_uid, False
            hidden.save(update_fields=["uid", "rejected"])
            target = hidden
        _bring_back(made, hidden, target)
        made.undone_at, made.undone_by, made.hidden = timezone.now(), who.actor[:128], None
        made.save(update_fields=["undone_at", "undone_by", "hidden"])
        record(_entry(who, target, made, "U", {"rejection": made.pk, "undone": True}))
        if hidden != target:
            hidden.delete()


def lines(who: Who) -> list[Line]:
    """The rejections in force that who asks may take back, the latest first, at most some hundred; a recorded query."""
    reached = reaching.studies(reach(who, PERMISSION), "hidden__", rejected=True)
    rows = Rejection.objects.filter(reached, undone_at=None).select_related("hidden__patient").order_by("-made_at")
    found = [_line(made, made.hidden) for made in rows[:_MOST] if made.hidden is not None]
    detail = {"level": "STUDY", "keys": {"rejected": "yes"}, "matches": len(found)}
    record(Entry(Code.QUERY, "E", who.actor, address=who.address, facility=home(who), detail=detail))
    return found


def _line(made: Rejection, study: Study) -> Line:
    return Line(
        pk=made.pk,
        level=made.level,
        objects=made.objects_count,
        whole=made.whole,
        patient=(study.patient_name, study.patient.patient_id, study.patient.issuer),
        date=study.date,
        description=study.description,
        facility=study.facility,
        reason=made.reason,
        actor=made.actor,
        made_at=made.made_at,
    )


# Rows ---------------------------------------------------------------------------------------------------


def _found(who: Who, study: str, series: str, instance: str, *, lock: bool, permission: str = PERMISSION) -> _What:
    reached = reach(who, permission)
    rows = Study.objects.filter(reaching.studies(reached), uid=study)
    # Whoever brings more of it meanwhile waits until it is put aside.
    found = (rows.select_for_update() if lock else rows).first()
    if found is None:
        raise NotThere("There is no such study, or it is not yours to reject.")
    own = Series.objects.filter(reaching.series(reached), study=found)
    if reaching.by_series(reached) and not series and own.count() < found.series_count:
        raise Refused("You see a part of this study only: reject its series one by one.")
    if not series:
        return _What(found, None, None)
    row = (own.select_for_update(of=("self",)) if lock else own).filter(uid=series).first()
    if row is None:
        raise NotThere("There is no such series, or it is not yours to reject.")
    if not instance:
        return _What(found, row, None)
    one = Instance.objects.filter(series=row, uid=instance).first()
    if one is None:
        raise NotThere("There is no such object, or it is not yours to reject.")
    return _What(found, row, one)


def _series_of(what: _What) -> list[Series]:
    return [what.series] if what.series else list(Series.objects.filter(study=what.study))


def _put_aside(made: Rejection, what: _What) -> None:
    """Moves the rows below a study that is not there."""
    study, series, instance = what.study, what.series, what.instance
    if instance is not None and series is not None and series.instance_count == 1:
        instance = None
    if instance is None and series is not None and study.series_count == 1:
        series = None
    if series is None:
        moving, made.whole, hidden = _series_of(_What(study, None, None)), True, study
        hidden.uid, hidden.rejected = f"rejected.{made.pk}", True
        hidden.save(update_fields=["uid", "rejected"])
    else:
        hidden = Study.objects.get(pk=study.pk)
        hidden.pk, hidden._state.adding = None, True
        hidden.uid, hidden.rejected, hidden.stamp = f"rejected.{made.pk}", True, fresh()
        hidden.save(force_insert=True)
        moving = [series]
    for row in moving:
        made.names[str(row.pk)] = row.uid
    if instance is not None and series is not None:
        aside = Series.objects.get(pk=series.pk)
        aside.pk, aside._state.adding = None, True
        aside.uid, aside.study, aside.stamp = f"rejected.{made.pk}", hidden, fresh()
        aside.save(force_insert=True)
        made.names = {str(aside.pk): series.uid}
        Instance.objects.filter(pk=instance.pk).update(series=aside)
        _count_series(series, aside)
    else:
        for row in moving:
            row.uid, row.study, row.stamp = f"rejected.{made.pk}.{row.pk}", hidden, fresh()
            row.save(update_fields=["uid", "study", "stamp"])
    _count_studies(*{study.pk: study, hidden.pk: hidden}.values())
    made.hidden, made.objects_count = hidden, Instance.objects.filter(series__study=hidden).count()
    made.save()


def _bring_back(made: Rejection, hidden: Study, target: Study) -> None:
    """Moves the rows back: into the series of their own UIDs, if those have come again meanwhile."""
    for row in Series.objects.select_for_update(of=("self",)).filter(study=hidden):
        uid = made.names[str(row.pk)]
        there = Series.objects.select_for_update(of=("self",)).filter(uid=uid).first()
        if there is None:
            row.uid, row.study, row.stamp = uid, target, fresh()
            row.save(update_fields=["uid", "study", "stamp"])
            continue
        if there.study_id != target.pk:
            raise Refused("A series of it belongs to another study now: it cannot be brought back.")
        Instance.objects.filter(series=row).update(series=there)
        row.delete()
        _count_series(there)
    _count_studies(target)


def _count_series(*rows: Series) -> None:
    for row in rows:
        count = Instance.objects.filter(series=row).count()
        Series.objects.filter(pk=row.pk).update(instance_count=count, stamp=fresh())


def _count_studies(*rows: Study) -> None:
    for row in rows:
        own = Series.objects.filter(study=row)
        objects = own.aggregate(count=Sum("instance_count"))["count"] or 0
        Study.objects.filter(pk=row.pk).update(
            series_count=own.count(), instance_count=objects, stamp=fresh(), changed_at=timezone.now()
        )


def _entry(who: Who, study: Study, made: Rejection, action: str, detail: dict[str, object]) -> Entry:
    return Entry(
        code=Code.INSTANCES_ACCESSED,
        action=action,
        actor=who.actor,
        address=who.address,
        issuer=study.patient.issuer,
        patient_id=study.patient.patient_id,
        study_uid=made.study_uid,
        object_uid=made.uid if made.level == "IMAGE" else "",
        facility=study.facility,
        detail={"level": made.level, **({"series": made.uid} if made.level == "SERIES" else {}), **detail},
    )
