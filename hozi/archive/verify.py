"""Do disk and index agree? Reports, never mends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, F

from hozi.archive.models import ExceptionCase, Series, StoredObject, Study
from hozi.archive.place import volume
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

    Faults: ``missing`` (indexed, no file), ``length``, ``damaged`` (dataset hash), ``header`` (header hash),
    ``unindexed`` (a file that no row names), ``count`` (a series or study whose count is wrong). Objects that arrive
    meanwhile are no faults: files are listed before rows are read, and an unknown file is looked up once more.
    """
    found = Verification()
    listed = set(volume().keys())
    known: set[str] = set()
    for row in _rows():
        known.add(row["key"])
        found.objects += 1
        found.bytes += row["length"]
        found.faults.extend(_compare(row, hashes))
        if progress is not None:
            progress(found.objects)
    for case in ExceptionCase.objects.exclude(key="").values(
        "key", "sha256", "dataset_offset", "length", "sop_instance_uid"
    ):
        known.add(case["key"])
        found.quarantined += 1
        found.faults.extend(_compare({**case, "uid": case["sop_instance_uid"], "header_sha256": None}, hashes))
    found.faults.extend(Fault("unindexed", key) for key in sorted(listed - known) if not _named(key))
    found.faults.extend(_miscounted())
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
        except (Missing, OSError):
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


def _named(key: str) -> bool:
    """Whether a row names the file by now."""
    return StoredObject.objects.filter(key=key).exists() or ExceptionCase.objects.filter(key=key).exists()


def _miscounted() -> Iterator[Fault]:
    series = Series.objects.annotate(real=Count("instances")).exclude(instance_count=F("real"))
    for uid in series.values_list("uid", flat=True).iterator():
        yield Fault("count", "", uid)
    studies = Study.objects.annotate(real=Count("series__instances")).exclude(instance_count=F("real"))
    for uid in studies.values_list("uid", flat=True).iterator():
        yield Fault("count", "", uid)
