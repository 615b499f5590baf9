"""Puts generated studies of invented patients into the archive, so that there is something to look at (`hozi demo`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hozi.accounts.authorise import EVERYTHING
from hozi.archive.arrived import Announced, Origin
from hozi.archive.fetch import STUDY_INSTANCE_UID, Selection
from hozi.archive.receive import Receiver, Result
from hozi.core.phantoms.studies import STUDIES, Study


@dataclass(frozen=True, slots=True)
class Shown:
    """A study that is in the archive now: so many of its objects came now, so many were there before."""

    name: str
    study_uid: str
    stored: int
    there: int
    quarantined: int


def fill(
    receiver: Receiver, origin: Origin, *, progress: Callable[[Study, int], None] = lambda study, done: None
) -> list[Shown]:
    """Computes the demo studies and takes them in, as a device's; those that are there whole are left as they are.

    ``progress`` is told how many objects of a study are done. Raises `NoRoom` when the disk is full.
    """
    return [_take(study, receiver, origin, progress) for study in STUDIES]


def _take(study: Study, receiver: Receiver, origin: Origin, progress: Callable[[Study, int], None]) -> Shown:
    # Not by the hashes of the objects alone: other versions of the codecs may compress the same picture otherwise.
    if Selection({STUDY_INSTANCE_UID: [study.uid]}, EVERYTHING).count == study.count:
        progress(study, study.count)
        return Shown(study.name, study.uid, 0, study.count, 0)
    results: Counter[Result] = Counter()
    for image in study.images():
        announced = Announced(image.sop_class, image.sop_instance, image.transfer_syntax)
        results[receiver.receive(announced, origin, [image.dataset]).result] += 1
        progress(study, results.total())
    return Shown(study.name, study.uid, results[Result.STORED], results[Result.DUPLICATE], results[Result.QUARANTINED])
