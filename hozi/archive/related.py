"""What a study or a patient has below it, for a page of answers at once (PS3.4 §C.3.4, §C.6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Final

from django.db.models import Count, Sum

from hozi.archive.models import Instance, Series, Study
from hozi.core.dicom.keys import tag_of

MODALITIES_IN_STUDY: Final = tag_of("ModalitiesInStudy")
SOP_CLASSES_IN_STUDY: Final = tag_of("SOPClassesInStudy")
PATIENT_COUNTS: Final = (
    tag_of("NumberOfPatientRelatedStudies"),
    tag_of("NumberOfPatientRelatedSeries"),
    tag_of("NumberOfPatientRelatedInstances"),
)

# The level whose rows each of them belongs to.
OWNERS: Final[dict[int, str]] = {
    MODALITIES_IN_STUDY: "STUDY",
    SOP_CLASSES_IN_STUDY: "STUDY",
    **dict.fromkeys(PATIENT_COUNTS, "PATIENT"),
}


def of_page(
    tags: Iterable[int], ids: dict[str, set[int]], facilities: Collection[str] | None
) -> dict[int, dict[int, str]]:
    """Work out the asked elements for the rows of a page: ``{tag: {row id of the owner: text}}``.

    ``ids``: the row ids that occur in the page, by level. One query for each kind of element.
    """
    asked = set(tags)
    found: dict[int, dict[int, str]] = {}
    if MODALITIES_IN_STUDY in asked:
        series = Series.objects.filter(study__in=ids["STUDY"]).exclude(modality="")
        found[MODALITIES_IN_STUDY] = _joined(series.values_list("study_id", "modality").distinct())
    if SOP_CLASSES_IN_STUDY in asked:
        instances = Instance.objects.filter(series__study__in=ids["STUDY"])
        found[SOP_CLASSES_IN_STUDY] = _joined(instances.values_list("series__study_id", "sop_class").distinct())
    if asked & set(PATIENT_COUNTS):
        found.update(_patient_counts(ids["PATIENT"], facilities))
    return found


def _joined(pairs: Iterable[tuple[int, str]]) -> dict[int, str]:
    values: defaultdict[int, set[str]] = defaultdict(set)
    for owner, value in pairs:
        values[owner].add(value)
    return {owner: "\\".join(sorted(several)) for owner, several in values.items()}


def _patient_counts(patients: set[int], facilities: Collection[str] | None) -> dict[int, dict[int, str]]:
    """Counts of what the asker may see."""
    studies = Study.objects.filter(patient__in=patients)
    if facilities is not None:
        studies = studies.filter(facility__of_few=facilities)
    rows = studies.values_list("patient_id").annotate(Count("pk"), Sum("series_count"), Sum("instance_count"))
    counts: dict[int, dict[int, str]] = {tag: {} for tag in PATIENT_COUNTS}
    for patient, *numbers in rows:
        for tag, number in zip(PATIENT_COUNTS, numbers, strict=True):
            counts[tag][patient] = str(number)
    return counts
