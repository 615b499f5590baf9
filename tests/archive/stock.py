"""Fills the index with objects that nobody sent: one chain of patient, study, series and instance at a time."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.utils import timezone

from hozi.accounts.authorise import EVERYTHING, Reach, Scope
from hozi.archive.models import Instance, NameWord, Patient, SequenceValue, Series, Study
from hozi.core.dicom import names, times
from hozi.core.dicom.keys import BY_KEYWORD, LEVELS, Key

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"

Value = str | list[dict[int, str]]


def of_facilities(codes: Collection[str] | None) -> Reach:
    """The reach of somebody who sees the studies of these facilities (None: of all)."""
    return EVERYTHING if codes is None else Reach(tuple(Scope(facility=code) for code in codes))


def keep(number: int, elements: dict[str, Value], facility: str = "GRANARY") -> Instance:
    """Keep one object with these elements (by keyword), as the index does; what is not told is made of ``number``."""
    told = {
        "PatientID": f"P{number}",
        "IssuerOfPatientID": f"ISSUER{number}",
        "StudyInstanceUID": f"1.1.{number}",
        "AccessionNumber": f"A{number}",
        "SeriesInstanceUID": f"1.2.{number}",
        "Modality": "CT",
        "SOPInstanceUID": f"1.3.{number}",
        "SOPClassUID": CT_IMAGE,
        **elements,
    }
    patient = _patient(told)
    study = _study(told, patient, facility)
    series = _series(told, study)
    Study.objects.filter(pk=study.pk).update(
        series_count=int(_text(told, "NumberOfStudyRelatedSeries") or 1),
        instance_count=int(_text(told, "NumberOfStudyRelatedInstances") or 1),
    )
    for modality in _values(told, "ModalitiesInStudy"):
        Series.objects.create(uid=f"{study.uid}.{modality}", study=study, modality=modality)
    instance = _instance(told, series)
    for sop_class in _values(told, "SOPClassesInStudy"):
        Instance.objects.create(
            uid=f"{study.uid}.{sop_class}", series=series, sop_class=sop_class, received_at=timezone.now()
        )
    for key in map(BY_KEYWORD.__getitem__, elements):
        if key.vr == "SQ" and key.level != "PATIENT":
            _sequence_values(key, elements[key.keyword], {"STUDY": study, "SERIES": series, "IMAGE": instance})
    return instance


def _patient_columns(told: dict[str, Value]) -> dict[str, Any]:
    name = _text(told, "PatientName")
    alphabetic, ideographic, phonetic = names.keys(name)
    return {
        "name": name,
        "name_alphabetic_key": alphabetic,
        "name_ideographic_key": ideographic,
        "name_phonetic_key": phonetic,
        "birth_date": _date(told, "PatientBirthDate"),
        "sex": _text(told, "PatientSex"),
        "attributes": _attributes(told, "PATIENT"),
    }


def _patient(told: dict[str, Value]) -> Patient:
    patient, _ = Patient.objects.get_or_create(
        issuer=_text(told, "IssuerOfPatientID"),
        patient_id=_text(told, "PatientID"),
        defaults=_patient_columns(told),
    )
    return patient


def _study(told: dict[str, Value], patient: Patient, facility: str) -> Study:
    referring = _text(told, "ReferringPhysicianName")
    study, new = Study.objects.get_or_create(
        uid=_text(told, "StudyInstanceUID"),
        defaults={
            "patient": patient,
            **{f"patient_{name}": value for name, value in _patient_columns(told).items()},
            "facility": facility,
            "date": _date(told, "StudyDate"),
            "time": _text(told, "StudyTime"),
            "time_key": times.time_key(_text(told, "StudyTime")),
            "accession_number": _text(told, "AccessionNumber"),
            "study_id": _text(told, "StudyID"),
            "description": _text(told, "StudyDescription"),
            "referring": referring,
            "referring_key": names.key(referring),
            "attributes": _attributes(told, "STUDY"),
            "received_at": timezone.now(),
            "changed_at": timezone.now(),
        },
    )
    if new:
        NameWord.objects.bulk_create(
            NameWord(study=study, word=word, sound=names.sound(word)) for word in names.words(study.patient_name)
        )
    return study


def _series(told: dict[str, Value], study: Study) -> Series:
    series, _ = Series.objects.get_or_create(
        uid=_text(told, "SeriesInstanceUID"),
        defaults={
            "study": study,
            "modality": _text(told, "Modality"),
            "number": _number(told, "SeriesNumber"),
            "instance_count": int(_text(told, "NumberOfSeriesRelatedInstances") or 1),
            "attributes": _attributes(told, "SERIES"),
        },
    )
    return series


def _instance(told: dict[str, Value], series: Series) -> Instance:
    return Instance.objects.create(
        uid=_text(told, "SOPInstanceUID"),
        series=series,
        sop_class=_text(told, "SOPClassUID"),
        number=_number(told, "InstanceNumber"),
        attributes=_attributes(told, "IMAGE"),
        received_at=timezone.now(),
    )


def _sequence_values(key: Key, items: Value, owners: dict[str, Any]) -> None:
    field = {"STUDY": "study", "SERIES": "series", "IMAGE": "instance"}[key.level]
    SequenceValue.objects.bulk_create(
        SequenceValue(**{field: owners[key.level]}, sequence=key.name, item=number, element=f"{tag:08X}", value=value)
        for number, item in enumerate(items)
        if isinstance(item, dict)
        for tag, value in item.items()
        if value
    )


def _attributes(told: dict[str, Value], level: str) -> dict[str, Any]:
    """Everything of a level; that some of it is a column, too, does no harm."""
    assert level in LEVELS
    return {
        key.name: value if isinstance(value, str) else [{f"{tag:08X}": text for tag, text in i.items()} for i in value]
        for keyword, value in told.items()
        for key in [BY_KEYWORD[keyword]]
        if key.level == level and key.source == "dataset" and value
    }


def _text(told: dict[str, Value], keyword: str) -> str:
    value = told.get(keyword, "")
    assert isinstance(value, str)
    return value


def _values(told: dict[str, Value], keyword: str) -> list[str]:
    return [value for value in _text(told, keyword).split("\\") if value]


def _date(told: dict[str, Value], keyword: str) -> str:
    return times.date_key(_text(told, keyword)) or _text(told, keyword)


def _number(told: dict[str, Value], keyword: str) -> int | None:
    try:
        number = int(_text(told, keyword))
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None
