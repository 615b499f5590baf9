"""Finds the newest studies that meet conditions, at a cost that hardly grows with the archive.

Two ways lead there: to look up, in an index, the few studies that meet one of the conditions, or to walk from the
newest study backwards until enough have met all. What is rare is quick to look up, what is common is met soon on the
walk; how many are few is asked of the index itself, since SQLite keeps no statistics.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from math import isqrt
from typing import Any, Final

from django.db.models import Exists, Max, OuterRef, Q, QuerySet

from hozi.accounts.authorise import Reach, Scope
from hozi.archive import criteria
from hozi.archive import reach as reaching
from hozi.archive.models import (
    Correction,
    ExceptionCase,
    Instance,
    NameWord,
    Patient,
    Referral,
    Series,
    Study,
)
from hozi.core.dicom import names
from hozi.core.dicom.times import Range

Ids = QuerySet[Any, Any]

_FEW: Final = 1000
#: Below so few, no further condition is looked up.
_VERY_FEW: Final = 100


@dataclass(frozen=True)
class Part:
    """One condition: ``check`` says it of a study; ``rows`` give the ids of all that meet it, and perhaps of others."""

    check: Q
    rows: tuple[Ids, ...] = ()


@dataclass(frozen=True)
class Spot:
    """A place in an order of studies: behind (or, ``newer``, in front of) this study."""

    pk: int
    date: str
    newer: bool = False


@dataclass
class Newest:
    """Asks for studies. Each branch is a list of parts that must hold together; a study of any branch is one."""

    branches: Sequence[Sequence[Part]]
    order: str = "received"
    _few: int = field(default=0, init=False)

    def ids(self, most: int, spot: Spot | None = None) -> list[int]:
        """Their row ids, the newest first, at most ``most``: those nearest behind the spot, or in front of it."""
        # Looking up costs what is found, walking what lies between what is found: here, both cost the same.
        self._few = max(_FEW, isqrt(100 * (Study.objects.aggregate(last=Max("pk"))["last"] or 0)))
        newer = spot is not None and spot.newer
        found = {key for parts in self.branches for key in self._keys(parts, most, spot)}
        nearest = sorted(found, reverse=not newer)[:most]
        return [key[-1] for key in sorted(nearest, reverse=True)]

    def _keys(self, parts: Sequence[Part], most: int, spot: Spot | None) -> Iterable[tuple[Any, ...]]:
        few = self._looked_up(parts)
        if few is not None and not few:
            return ()
        rows = Study.objects.filter(rejected=False)
        rows = rows if few is None else rows.filter(pk__among=few)
        for part in parts:
            rows = rows.filter(part.check)
        key = ("date", "pk") if self.order == "date" else ("pk",)
        sign = "" if spot is not None and spot.newer else "-"
        if spot is not None:
            rows = rows.filter(self._beyond(spot))
        return rows.order_by(*(sign + name for name in key)).values_list(*key)[:most]

    def _beyond(self, spot: Spot) -> Q:
        way = "gt" if spot.newer else "lt"
        if self.order == "received":
            return Q(**{f"pk__{way}": spot.pk})
        # The first of the two says nothing new, but lets the index be used.
        return Q(**{f"date__{way}e": spot.date}) & (Q(**{f"date__{way}": spot.date}) | Q(**{f"pk__{way}": spot.pk}))

    def _looked_up(self, parts: Sequence[Part]) -> set[int] | None:
        """The studies that meet the conditions of which few do; None when many meet each of them."""
        few: set[int] | None = None
        for part in parts:
            if part.rows and (few is None or len(few) > _VERY_FEW):
                found = list(chain.from_iterable(rows.order_by()[: self._few + 1] for rows in part.rows))
                if len(found) <= self._few:
                    few = set(found) if few is None else few & set(found)
        return few


NOTHING: Final = Part(criteria.NOTHING, (Study.objects.none().values_list("pk", flat=True),))
"""What no study meets."""


# Conditions -----------------------------------------------------------------------------------------------


def within(reach: Reach) -> Iterator[Part]:
    """What it reaches; no part at all when that is everything."""
    if not reach.everything:
        rows = [one for scope in reach.scopes if (one := _of_scope(scope)) is not None]
        yield Part(reaching.studies(reach), tuple(rows) if len(rows) == len(reach.scopes) else ())


def _of_scope(scope: Scope) -> Ids | None:
    """The studies that meet that condition of the scope which fewest meet, as far as one can tell."""
    if scope.patient is not None:
        issuer, patient_id = scope.patient
        return _ids(Study.objects.filter(patient__issuer=issuer, patient__patient_id=patient_id))
    if scope.referring is not None:
        own = [names.person(name)[:256] for name in scope.referring]
        return Referral.objects.filter(name__in=own).values_list("study_id", flat=True)
    if scope.deidentified:
        return _ids(Study.objects.filter(identity_removed=True))
    if scope.modality:
        return _with_series(Series.objects.filter(modality=scope.modality))
    return _ids(Study.objects.filter(facility=scope.facility)) if scope.facility else None


def of_facility(code: str) -> Part:
    """Studies of one facility."""
    return Part(Q(facility__of_few=[code]), (_ids(Study.objects.filter(facility=code)),))


def with_modality(modality: str, reach: Reach) -> Part:
    """Studies that have a series of this modality, of those series that are reached."""
    series = Series.objects.filter(modality=modality)
    if reaching.by_series(reach):
        series = series.filter(reaching.series(reach))
    return Part(Q(Exists(series.filter(study=OuterRef("pk")))), (_with_series(series),))


def of_days(first: str, last: str) -> Part:
    """Studies of these days (``YYYYMMDD``)."""
    said = criteria.days(Range(first, last), "STUDY")
    return Part(said, (_ids(Study.objects.filter(said)),))


def named(text: str) -> list[Part]:
    """Studies in whose patient's name a word begins with each of these words."""
    parts = []
    # The longest word first: fewest begin with it.
    for word in sorted(names.words(text), key=len, reverse=True):
        begins = NameWord.objects.filter(word__wild=f"{word}*")
        rows = begins.values_list("study_id", flat=True)
        parts.append(Part(Q(Exists(begins.filter(study=OuterRef("pk")))), (rows,)))
    return parts


def of_patient(patient_id: str, *, begins: bool) -> Part:
    """Studies of patients with this number, or with one that begins so."""
    meets = _text("patient_id", patient_id, begins=begins)
    own = Patient.objects.filter(meets)
    rows = Study.objects.filter(patient__in=own).values_list("pk", flat=True)
    return Part(Q(Exists(own.filter(pk=OuterRef("patient_id")))), (rows,))


def of_request(accession: str, *, begins: bool) -> Part:
    """Studies with this accession number, or with one that begins so."""
    meets = _text("accession_number", accession, begins=begins)
    return Part(meets, (_ids(Study.objects.filter(meets)),))


def of_uid(uid: str) -> Part:
    """The study with this UID."""
    return Part(Q(uid=uid), (_ids(Study.objects.filter(uid=uid)),))


def with_exceptions(cases: QuerySet[ExceptionCase]) -> Part:
    """Studies about which one of these exceptions waits for a person."""
    waiting = cases.filter(state=ExceptionCase.State.OPEN).exclude(study_uid="")
    return _only(Study.objects.filter(uid__in=waiting.values("study_uid")))


def corrected() -> Part:
    """Studies of which, or of whose patient, a correction is in force."""
    in_force = Correction.objects.filter(undone_at=None)
    of = {level: in_force.filter(level=level).values_list("uid", flat=True) for level in ("STUDY", "SERIES", "IMAGE")}
    patients = [int(uid) for uid in in_force.filter(level="PATIENT").values_list("uid", flat=True)]
    series = Series.objects.filter(uid__in=of["SERIES"]).values_list("study_id", flat=True)
    objects = Instance.objects.filter(uid__in=of["IMAGE"]).values_list("series__study_id", flat=True)
    whose, itself = Q(patient__pk__among=patients), Q(uid__in=of["STUDY"])
    rows = (_ids(Study.objects.filter(whose)), _ids(Study.objects.filter(itself)), series, objects)
    return Part(whose | itself | Q(pk__in=series) | Q(pk__in=objects), rows)


def touched(studies: Collection[Study]) -> set[int]:
    """Those of these studies of which, or of whose patient, a correction is in force."""
    in_force = Correction.objects.filter(undone_at=None)
    if not in_force.exists():  # as nearly always
        return set()
    own = {study.uid: [study.pk] for study in studies}
    for study in studies:
        own.setdefault(str(study.patient_id), []).append(study.pk)
    series = Series.objects.filter(study__in=studies).values_list("uid", "study_id")
    own |= {uid: [study] for uid, study in series}
    found = {pk for uid in in_force.filter(uid__among=own).values_list("uid", flat=True) for pk in own[uid]}
    of_objects = in_force.filter(level="IMAGE")
    if of_objects.exists():
        objects = Instance.objects.filter(uid__in=of_objects.values("uid")).values_list("series__study_id", flat=True)
        found |= set(objects) & {study.pk for study in studies}
    return found


def arriving(since: datetime) -> Part:
    """Studies of which an object came since then. The newest objects are looked at, however many others there are."""
    return _only(Study.objects.filter(pk__in=_with_objects(Instance.objects.filter(pk__gt=_before(since)))))


def still_arriving(studies: Iterable[int], since: datetime) -> set[int]:
    """Those of these studies of which an object came since then."""
    rows = Instance.objects.filter(pk__gt=_before(since), series__study__in=list(studies))
    return set(_with_objects(rows))


def _before(moment: datetime) -> int:
    """The row id of the last object that came before that moment; objects get their ids in the order of arrival."""
    rows = Instance.objects.filter(received_at__lt=moment).order_by("-pk").values_list("pk", flat=True)
    return next(iter(rows[:1]), 0)


def _with_objects(rows: QuerySet[Instance]) -> Ids:
    return rows.order_by().values_list("series__study_id", flat=True).distinct()


def _text(field: str, value: str, *, begins: bool) -> Q:
    return Q(**{f"{field}__wild": f"{value}*"}) if begins else Q(**{field: value})


def _ids(rows: QuerySet[Study]) -> Ids:
    return rows.values_list("pk", flat=True)


def _with_series(rows: QuerySet[Series]) -> Ids:
    return rows.values_list("study_id", flat=True).distinct()


def _only(rows: QuerySet[Study]) -> Part:
    """What can only be looked up."""
    return Part(Q(pk__in=rows.values("pk")), (_ids(rows),))
