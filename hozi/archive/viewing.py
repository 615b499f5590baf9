"""What Quick view needs to know of a study: its series, and of each series the images in their order with where they
lie in the body and how they are shown. Only what who asks may open is there, and the audit says who has looked.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from django.db.models import F, QuerySet

from hozi.accounts.authorise import EVERYTHING, Who, reach
from hozi.archive import reach as reaching
from hozi.archive import study_page, thumbnail
from hozi.archive.fetch import SERIES_INSTANCE_UID, Holding, Selection
from hozi.archive.fetch import holding as holding_of
from hozi.archive.looks import note
from hozi.archive.models import Instance, Series, Study
from hozi.archive.study_page import LOOK, OtherStudy, PatientBlock
from hozi.core.dicom import shown, syntaxes
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import HoziError
from hozi.settings import HOZI

MOST_SERIES: Final = 300
MOST_IMAGES: Final = 5_000
"""Objects of one series that are told of."""
MOST_PRIORS: Final = 30
_VERSION: Final = 2
"""Another number when `shown` says other things: what was kept is not used any more."""
_LOOKED_AT: Final = 40
"""Objects of a series among which its first image is looked for."""

_DESCRIPTION: Final = f"{tag_of('SeriesDescription'):08X}"
_BODY_PART: Final = f"{tag_of('BodyPartExamined'):08X}"


@dataclass(frozen=True, slots=True)
class SeriesTold:
    """A series in the strip beside the images. ``kind``: what is in it (`thumbnail.kind`); ``first``: its first object
    by number of that kind."""

    pk: int
    number: int | None
    modality: str
    description: str
    count: int
    kind: str
    first: int


@dataclass(frozen=True, slots=True)
class StudyTold:
    """A study as Quick view opens it. ``priors``: others of the same patient within reach, the latest first."""

    pk: int
    patient: PatientBlock
    date: str
    time: str
    description: str
    accession_number: str
    facility: str
    series: tuple[SeriesTold, ...]
    priors: tuple[OtherStudy, ...]


def open_study(who: Who, pk: int) -> StudyTold:
    """The study, its series and the other studies of the patient. Raises `NotThere` when it is out of reach."""
    study = study_page.study_of(who, LOOK, pk)
    told = StudyTold(
        pk=study.pk,
        patient=study_page.patient_of(study),
        date=study.date,
        time=study.time,
        description=study.description,
        accession_number=study.accession_number,
        facility=study.facility,
        series=tuple(_series_told(row) for row in _series(who, study)[:MOST_SERIES]),
        priors=_priors(who, study),
    )
    note(who, study, "pictures")
    return told


def _series(who: Who, study: Study) -> QuerySet[Series]:
    rows = Series.objects.filter(reaching.series(reach(who, LOOK)), study=study)
    return rows.order_by(F("number").asc(nulls_last=True), "pk")


def _series_told(row: Series) -> SeriesTold:
    objects = Instance.objects.filter(series=row).order_by(F("number").asc(nulls_last=True), "pk")
    first, kind = 0, "other"
    for pk, sop_class, syntax in objects.values_list("pk", "sop_class", "stored__transfer_syntax")[:_LOOKED_AT]:
        found = thumbnail.kind(sop_class, syntax)
        if not first or found == "image":
            first, kind = pk, found
        if found == "image":
            break
    return SeriesTold(
        row.pk,
        row.number,
        row.modality,
        row.attributes.get(_DESCRIPTION) or row.attributes.get(_BODY_PART, ""),
        row.instance_count,
        kind,
        first,
    )


def _priors(who: Who, study: Study) -> tuple[OtherStudy, ...]:
    reached = reach(who, LOOK)
    others = Study.objects.filter(reaching.studies(reached), patient=study.patient).exclude(pk=study.pk)
    rows = list(others.order_by("-date", "-pk")[:MOST_PRIORS])
    modalities: dict[int, set[str]] = {}
    of_series = Series.objects.filter(reaching.series(reached), study__in=rows)
    for owner, modality in of_series.values_list("study_id", "modality").distinct():
        modalities.setdefault(owner, set()).add(modality)
    return tuple(
        OtherStudy(row.pk, row.date, row.description, tuple(sorted(modalities.get(row.pk, set()) - {""})), row.facility)
        for row in rows
    )


def image_of(who: Who, pk: int) -> Holding:
    """The object, to be shown. Raises `NotThere` when it is out of reach."""
    row = study_page.instance_of(who, LOOK, pk)
    note(who, row.series.study, "pictures")
    return holding_of(row.uid)


# A series ---------------------------------------------------------------------------------------------


def open_series(who: Who, pk: int) -> dict[str, Any]:
    """The objects of a series in the order in which they are leafed through, as JSON has them.

    ``base``: what all images say; ``images``: each with its row id ``pk`` and what it says otherwise; ``others``: what
    is no image; ``more``: how many are not told of. Raises `NotThere` when it is out of reach.
    """
    row = study_page.series_of(who, LOOK, pk)
    note(who, row.study, "pictures")
    objects = Instance.objects.filter(series=row).order_by(F("number").asc(nulls_last=True), "pk")
    found = list(objects.select_related("stored")[:MOST_IMAGES])
    told = _told(row, found)
    images = [one for one in told if "rows" in one]
    others = [one for one in told if "rows" not in one]
    base, images = _without_repeating(_in_order(images))
    return {
        "pk": row.pk,
        "study": row.study_id,
        "number": row.number,
        "modality": row.modality,
        "description": row.attributes.get(_DESCRIPTION, ""),
        "base": base,
        "images": images,
        "others": others,
        "more": max(row.instance_count - len(found), 0),
    }


def _told(series: Series, objects: Sequence[Instance]) -> list[dict[str, Any]]:
    """What each object says, read once and kept as long as nothing of the series changes."""
    holdings = {one.sop_instance: one for one in Selection({SERIES_INSTANCE_UID: [series.uid]}, EVERYTHING)}
    said = [(row, holdings[row.uid]) for row in objects if row.uid in holdings]
    parts = [f"{_VERSION}"] + [f"{row.pk} {held.sha256} {sorted(held.changes.items())}" for row, held in said]
    path = _folder() / hashlib.sha256("\n".join(parts).encode()).hexdigest()
    kept = _kept(path)
    if kept is None:
        kept = [_object(row, held) for row, held in said]
        _keep(path, kept)
    return kept


def _object(row: Instance, held: Holding) -> dict[str, Any]:
    kind = thumbnail.kind(row.sop_class, held.transfer_syntax)
    told: dict[str, Any] = {"pk": row.pk, "number": row.number}
    if kind not in ("image", "video"):
        return told | {"kind": kind, "title": study_page.kind_of(row.sop_class)}
    try:
        with held.stored() as file:
            offset = file.tell()
            with (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
                memoryview(mapped) as view,
                view[offset:] as dataset,
            ):
                syntax = syntaxes.for_unknown(held.transfer_syntax)
                told |= shown.of_dataset(dataset, syntax, held.changes, HOZI.default_charset)
    except (HoziError, OSError, ValueError):
        return told | {"kind": "damaged", "title": study_page.kind_of(row.sop_class)}
    if "rows" not in told or "columns" not in told:
        return {"pk": row.pk, "number": row.number, "kind": "other", "title": study_page.kind_of(row.sop_class)}
    if kind == "video":
        told["video"] = True
    return told


def _in_order(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By where they lie, in the direction in which they are numbered; by number where they do not lie side by side."""
    if len(images) < 2 or any(image.get("frames") or "position" not in image for image in images):
        return images
    first = images[0].get("orientation")
    if first is None or any(not _alike(image.get("orientation"), first) for image in images):
        return images
    normal = normal_of(first)
    places = [sum(a * b for a, b in zip(image["position"], normal, strict=True)) for image in images]
    if len({round(place, 2) for place in places}) < len(images):
        return images
    order = sorted(range(len(images)), key=places.__getitem__)
    forward = sum(1 for before, after in pairwise(order) if before < after)
    return [images[index] for index in (order if forward * 2 >= len(order) - 1 else reversed(order))]


def _alike(one: list[float] | None, other: list[float]) -> bool:
    return one is not None and all(abs(a - b) < 0.01 for a, b in zip(one, other, strict=True))


def normal_of(orientation: Sequence[float]) -> tuple[float, float, float]:
    """The direction from one slice to the next: the cross product of rows and columns (PS3.3 §C.7.6.2.1.1)."""
    a, b, c, d, e, f = orientation
    return b * f - c * e, c * d - a * f, a * e - b * d


def _without_repeating(images: list[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What most images say once for all, and of each what it says otherwise (None: that it does not say it)."""
    if len(images) < 2:
        return {}, images
    base: dict[str, Any] = {}
    for key in {key for image in images for key in image} - {"pk", "number", "each"}:
        counts = Counter(json.dumps(image.get(key)) for image in images)
        value, count = counts.most_common(1)[0]
        if count * 2 > len(images) and value != "null":
            base[key] = json.loads(value)
    rest = []
    for image in images:
        own = {key: value for key, value in image.items() if key not in base or base[key] != value}
        rest.append(own | {key: None for key in base if key not in image})
    return base, rest


# Keeping ----------------------------------------------------------------------------------------------


_MOST_KEPT: Final = 4_000


def _folder() -> Path:
    return HOZI.home / "cache" / "viewing"


def _kept(path: Path) -> list[dict[str, Any]] | None:
    try:
        told: list[dict[str, Any]] = json.loads(zlib.decompress(path.read_bytes()))
        os.utime(path)
    except (OSError, ValueError, zlib.error):
        return None
    return told


def _keep(path: Path, told: list[dict[str, Any]]) -> None:
    """Keeps what was read, if that is possible: without, it is read again."""
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as file:
            file.write(zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 5))
        Path(temporary).replace(path)
        kept = sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime)
        for old in kept[: max(len(kept) - _MOST_KEPT, 0)]:
            old.unlink(missing_ok=True)
