"""Do disk and index agree? Reports, never mends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.db.models import Count, F

from hozi.archive.models import ExceptionCase, Instance, Series, StoredObject, Study
from hozi.archive.place import left_behind, volume
from hozi.core.storage.volume import Missing

_PAGE = 500
_BLOCK = 1 << 20
#: An object that was committed this very moment may not have reached its place yet.
_ON_ITS_WAY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Fault:
    """One disagreement: what kind, and where. ``key`` names the file; ``object`` the SOP Instance UID where known."""

    kind: str
    key: str
    object: str = ""


@dataclass
class Verification:
    """What was looked at, and every fault that was found."""

    objects: int = 0
    bytes: int = 0
    quarantined: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether index and disk agree in everything."""
        return not self.faults


def verify(*, hashes: bool = True, progress: Callable[[int], None] | None = None) -> Verification:
    """Compares index and disk in both directions; with ``hashes`` reads every byte that is stored.

    Faults: ``missing`` (indexed, no file), ``length``, ``unreadable`` (the disk cannot read it), ``damaged`` (dataset
    hash), ``header`` (header hash), ``unindexed`` (a file that no row names), ``left`` (a file that a stopped process
    left in the incoming area), ``incomplete`` (an object of which the index does not say where it is), ``count`` (a
    series or study whose counts are wrong). Objects that arrive meanwhile are no faults: what looks like one is looked
    at once more.
    """
    found = Verification()
    for row in _rows():
        found.objects += 1
        found.bytes += row["length"]
        found.faults.extend(_compare(row, hashes))
        if progress is not None:
            progress(found.objects)
    for case in ExceptionCase.objects.exclude(key="").values(
        "key", "sha256", "dataset_offset", "length", "sop_instance_uid"
    ):
        found.quarantined += 1
        found.faults.extend(_compare({**case, "uid": case["sop_instance_uid"], "header_sha256": None}, hashes))
    found.faults.extend(Fault("unindexed", key) for key in _unknown(volume().keys()))
    found.faults.extend(Fault("left", path.name) for path in left_behind())
    found.faults.extend(_half_indexed())
    return found


def _rows() -> Iterator[dict[str, Any]]:
    last = 0
    while True:
        page = list(
            StoredObject.objects.filter(pk__gt=last)
            .order_by("pk")
            .values("pk", "key", "sha256", "header_sha256", "dataset_offset", "length", "instance__uid")[:_PAGE]
        )
        if not page:
            return
        yield from ({**row, "uid": row["instance__uid"]} for row in page)
        last = page[-1]["pk"]


def _compare(row: dict[str, Any], hashes: bool) -> Iterator[Fault]:
    try:
        yield from _differences(row, hashes)
    except OSError:
        yield Fault("unreadable", row["key"], row["uid"])


def _differences(row: dict[str, Any], hashes: bool) -> Iterator[Fault]:
    size = volume().size(row["key"])
    if size is None:
        time.sleep(_ON_ITS_WAY_SECONDS)
        size = volume().size(row["key"])
    if size is None:
        yield Fault("missing", row["key"], row["uid"])
    elif size != row["dataset_offset"] + row["length"]:
        yield Fault("length", row["key"], row["uid"])
    elif hashes:
        try:
            header, dataset = _hashes(row["key"], row["dataset_offset"])
        except Missing:
            yield Fault("missing", row["key"], row["uid"])
            return
        if dataset != row["sha256"]:
            yield Fault("damaged", row["key"], row["uid"])
        if row["header_sha256"] not in (None, header):
            yield Fault("header", row["key"], row["uid"])


def _hashes(key: str, offset: int) -> tuple[str, str]:
    digest = hashlib.sha256()
    with volume().open(key) as file:
        header = hashlib.sha256(file.read(offset)).hexdigest()
        while block := file.read(_BLOCK):
            digest.update(block)
    return header, digest.hexdigest()


def _unknown(keys: Iterator[str]) -> Iterator[str]:
    """Those keys that no row names, page by page: no list of all is ever in memory."""
    while page := set(islice(keys, _PAGE)):
        for table in (StoredObject, ExceptionCase):
            page -= set(table._default_manager.filter(key__in=page).values_list("key", flat=True))
        yield from sorted(page)


def _half_indexed() -> Iterator[Fault]:
    without = Instance.objects.filter(stored=None)
    for uid in without.values_list("uid", flat=True).iterator():
        yield Fault("incomplete", "", uid)
    series = Series.objects.annotate(real=Count("instances")).exclude(instance_count=F("real"), real__gt=0)
    for uid in series.values_list("uid", flat=True).iterator():
        yield Fault("count", "", uid)
    studies = Study.objects.annotate(
        real=Count("series__instances", distinct=True), parts=Count("series", distinct=True)
    ).exclude(instance_count=F("real"), series_count=F("parts"), parts__gt=0)
    for uid in studies.values_list("uid", flat=True).iterator():
        yield Fault("count", "", uid)
