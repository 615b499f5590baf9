"""What a study or a patient has below it, for a page of answers at once (PS3.4 §C.3.4, §C.6).

Only what the asker reaches is counted and named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from django.db.models import Count, Sum

from hozi.accounts.authorise import Reach
from hozi.archive import reach as reaching
from hozi.archive.models import Instance, Series, Study
from hozi.archive.remembered import Statement, stand_in_number, statement
from hozi.core.dicom.keys import tag_of

MODALITIES_IN_STUDY: Final = tag_of("ModalitiesInStudy")
SOP_CLASSES_IN_STUDY: Final = tag_of("SOPClassesInStudy")
PATIENT_COUNTS: Final = (
    tag_of("NumberOfPatientRelatedStudies"),
    tag_of("NumberOfPatientRelatedSeries"),
    tag_of("NumberOfPatientRelatedInstances"),
)
STUDY_COUNTS: Final = (tag_of("NumberOfStudyRelatedSeries"), tag_of("NumberOfStudyRelatedInstances"))

# The level whose rows each of them belongs to.
_OWNERS: Final[dict[int, str]] = {
    MODALITIES_IN_STUDY: "STUDY",
    SOP_CLASSES_IN_STUDY: "STUDY",
    **dict.fromkeys(PATIENT_COUNTS, "PATIENT"),
}
# Those of which a study's row knows only the whole.
_OF_PARTS: Final[dict[int, str]] = {**_OWNERS, **dict.fromkeys(STUDY_COUNTS, "STUDY")}


def owners(reach: Reach) -> dict[int, str]:
    """The elements that are worked out here for somebody with this reach, and the level whose rows they belong to."""
    return _OF_PARTS if reaching.by_series(reach) else _OWNERS


def of_page(tags: Iterable[int], ids: dict[str, set[int]], reach: Reach) -> dict[int, dict[int, str]]:
    """Work out the asked elements for the rows of a page: ``{tag: {row id of the owner: text}}``.

    ``ids``: the row ids that occur in the page, by level. One query for each kind of element.
    """
    asked = set(tags)
    found: dict[int, dict[int, str]] = {}
    # The studies of the page are reached: what is left to hold is of which of their series.
    parts = reach if reaching.by_series(reach) else None
    if MODALITIES_IN_STUDY in asked and parts is None and len(ids["STUDY"]) <= _FEW:
        found[MODALITIES_IN_STUDY] = _joined(_modalities_of_few(ids["STUDY"]))
        asked.remove(MODALITIES_IN_STUDY)
    if not asked:
        return found
    series = Series.objects.filter(study__in=ids["STUDY"])
    if parts is not None:
        series = series.filter(reaching.series(parts))
    if MODALITIES_IN_STUDY in asked:
        pairs = series.exclude(modality="").values_list("study_id", "modality")
        found[MODALITIES_IN_STUDY] = _joined(pairs.distinct())
    if SOP_CLASSES_IN_STUDY in asked:
        instances = Instance.objects.filter(series__study__in=ids["STUDY"])
        if parts is not None:
            instances = instances.filter(reaching.series(parts, "series__"))
        found[SOP_CLASSES_IN_STUDY] = _joined(instances.values_list("series__study_id", "sop_class").distinct())
    if asked & set(STUDY_COUNTS):
        counted = series.order_by().values_list("study_id").annotate(Count("pk"), Sum("instance_count"))
        found.update(_told(STUDY_COUNTS, counted))
    if asked & set(PATIENT_COUNTS):
        found.update(_told(PATIENT_COUNTS, _patient_counts(ids["PATIENT"], reach)))
    return found


_FEW: Final = 128


def _modalities_of_few(studies: set[int]) -> Iterable[Any]:
    """Rows of study and modality."""
    said = _modalities(len(studies))
    return said.rows({stand_in_number(place): study for place, study in enumerate(studies)})


@lru_cache(maxsize=_FEW + 1)
def _modalities(count: int) -> Statement:
    ids = [stand_in_number(place) for place in range(count)]
    pairs = Series.objects.filter(study__in=ids).exclude(modality="").values_list("study_id", "modality").distinct()
    said = statement(pairs, ids)
    assert said is not None  # noqa: S101 - nothing in it but numbers and one text
    return said


def _joined(pairs: Iterable[tuple[int, str]]) -> dict[int, str]:
    values: defaultdict[int, set[str]] = defaultdict(set)
    for owner, value in pairs:
        values[owner].add(value)
    return {owner: "\\".join(sorted(several)) for owner, several in values.items()}


def _told(tags: Iterable[int], rows: Iterable[Any]) -> dict[int, dict[int, str]]:
    counts: dict[int, dict[int, str]] = {tag: {} for tag in tags}
    for owner, *numbers in rows:
        for told, number in zip(counts.values(), numbers, strict=True):
            told[owner] = str(number)
    return counts


def _patient_counts(patients: set[int], reach: Reach) -> Iterable[Any]:
    """Rows of patient, studies, series and instances."""
    if reaching.by_series(reach):
        series = Series.objects.filter(reaching.series(reach), study__patient__in=patients).order_by()
        numbers = (Count("study", distinct=True), Count("pk"), Sum("instance_count"))
        return series.values_list("study__patient_id").annotate(*numbers)
    studies = Study.objects.filter(reaching.studies(reach), patient__in=patients)
    return studies.values_list("patient_id").annotate(Count("pk"), Sum("series_count"), Sum("instance_count"))
