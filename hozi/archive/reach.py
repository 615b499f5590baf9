"""How far somebody sees (`accounts.authorise.Reach`), as conditions on the tables of the archive.

Whatever finds, gives or counts studies adds one of these conditions, so that what is out of reach is not there, and
what was rejected is there for nobody. A scope of a modality reaches series of that modality, and studies that have one:
of such a study, the others are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from typing import Any, Final

from django.db.models import CharField, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Cast

from hozi.accounts.authorise import Denied, Reach, Scope, Who, facilities
from hozi.archive import comparisons as comparisons
from hozi.archive.models import Correction, ExceptionCase, Instance, Referral, Series, Study
from hozi.core.dicom import names

_NONE: Final = Q(pk__in=[])


def studies(reach: Reach, to_study: str = "", *, rejected: bool = False) -> Q:
    """What it reaches, on a table from which ``to_study`` leads to the study and that knows no series.

    With ``rejected``: of those that hold what was rejected, and of no others.
    """

    def modality(wanted: str) -> Q:
        return Q(Exists(Series.objects.filter(study=OuterRef(f"{to_study}pk"), modality=wanted)))

    return _condition(reach, to_study, modality, rejected)


def series(reach: Reach, to_series: str = "") -> Q:
    """What it reaches, on a table from which ``to_series`` leads to the series."""
    return _condition(reach, f"{to_series}study__", lambda wanted: Q(**{f"{to_series}modality": wanted}))


def patients(reach: Reach) -> Q:
    """Patients of whom it reaches a study.

    What a patient's row says comes from any of their studies: where only de-identified ones are reached, the patient is
    there only when all are.
    """
    if reach.everything:
        return Q(Exists(Study.objects.filter(patient=OuterRef("pk"), rejected=False)))
    open_ones = Reach(tuple(scope for scope in reach.scopes if not scope.deidentified))
    parts = [Q(Exists(_of_patient(open_ones)))]
    veiled = Reach(tuple(scope for scope in reach.scopes if scope.deidentified))
    if veiled.scopes:
        named = Study.objects.filter(patient=OuterRef("pk")).exclude(_deidentified(""))
        parts.append(Q(Exists(_of_patient(veiled))) & ~Q(Exists(named)))
    return reduce(or_, parts)


def _of_patient(reach: Reach) -> QuerySet[Study]:
    return Study.objects.filter(studies(reach), patient=OuterRef("pk"))


def by_series(reach: Reach) -> bool:
    """Whether it reaches some studies in part only: what their rows say of them as a whole must then not be told."""
    return not reach.everything and any(scope.modality for scope in reach.scopes)


def exceptions(who: Who, permission: str = "exceptions.see") -> QuerySet[ExceptionCase]:
    """The exceptions of the facilities for which who asks has the permission. Raises `Denied` when for none."""
    codes = facilities(who, permission)
    rows = ExceptionCase.objects.all()
    return rows if codes is None else rows.filter(facility__in=codes)


def exceptions_beside(who: Who, seen: Reach) -> QuerySet[ExceptionCase]:
    """The exceptions that who asks hears of beside the studies of ``seen``: none without the permission for any, and
    none when studies are seen in part only.
    """
    try:
        return ExceptionCase.objects.none() if by_series(seen) else exceptions(who)
    except Denied:
        return ExceptionCase.objects.none()


def _condition(reach: Reach, to_study: str, modality: Callable[[str], Q], rejected: bool = False) -> Q:
    there = Q(**{f"{to_study}rejected": rejected})
    if reach.everything:
        return there
    parts = []
    # Whole facilities, as nearly everybody has them, in one condition that no index is taken for.
    facilities = {scope.facility for scope in reach.scopes if scope == Scope(facility=scope.facility)}
    if facilities or not reach.scopes:
        parts.append(Q(**{f"{to_study}facility__of_few": facilities}))
    parts += [_scope(scope, to_study, modality) for scope in reach.scopes if scope != Scope(facility=scope.facility)]
    return there & reduce(or_, parts)


def _scope(scope: Scope, to_study: str, modality: Callable[[str], Q]) -> Q:
    said = Q()
    if scope.facility:
        said &= Q(**{f"{to_study}facility__of_few": [scope.facility]})
    if scope.department:
        said &= Q(**{f"{to_study}department": scope.department})
    if scope.modality:
        said &= modality(scope.modality)
    if scope.referring is not None:
        said &= _referred_by(scope.referring, to_study)
    if scope.patient is not None:
        issuer, patient_id = scope.patient
        said &= Q(**{f"{to_study}patient__issuer": issuer, f"{to_study}patient__patient_id": patient_id})
    if scope.deidentified:
        said &= _deidentified(to_study)
    return said


def _referred_by(referring: Iterable[str], to_study: str) -> Q:
    own = sorted({name for one in referring if (name := names.person(one)[:256])})
    if not own:
        return _NONE
    return Q(**{f"{to_study}pk__in": Referral.objects.filter(name__in=own).values("study")})


def _deidentified(to_study: str) -> Q:
    """All of its objects say so, and nobody has written anything over them since."""
    corrected = Correction.objects.filter(undone_at=None)

    def at(level: str) -> Any:
        return corrected.filter(level=level).values("uid")

    of_patient = corrected.filter(level="PATIENT", uid=Cast(OuterRef(f"{to_study}patient_id"), CharField()))
    return (
        Q(**{f"{to_study}identity_removed": True})
        & ~Q(Exists(of_patient))
        & ~Q(**{f"{to_study}uid__in": at("STUDY")})
        & ~Q(**{f"{to_study}pk__in": Series.objects.filter(uid__in=at("SERIES")).values("study")})
        & ~Q(**{f"{to_study}pk__in": Instance.objects.filter(uid__in=at("IMAGE")).values("series__study")})
    )
