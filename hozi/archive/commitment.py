"""Storage commitment: which of the objects that a device names does the archive hold safely (PS3.4 Annex J)?

The device's question and the answer that it was given stay in the database. The answer is delivered by a job, so it
survives restarts and a device that is switched off.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from hozi.accounts.authorise import Reach
from hozi.archive import reach as reaching
from hozi.archive.models import Commitment, StoredObject
from hozi.archive.place import volume
from hozi.audit.record import Code, Entry, brought, record
from hozi.jobs import queue
from hozi.settings import HOZI

REPORT = "commitment.report"

#: Failure reasons of PS3.3 C.14.1.1.
PROCESSING_FAILURE = 0x0110
NO_SUCH_OBJECT_INSTANCE = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to one request: objects that are safe, and those that are not with the reason why."""

    transaction_uid: str
    device: str
    address: str
    safe: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a device: of how many objects, when it was told, how many were not safe, what hinders the answer."""

    at: datetime
    objects: int
    told_at: datetime | None
    failed: int
    trouble: str


def asked_since(device: str, since: datetime) -> Asked | None:
    """The last time that the device asked since then; None when it did not."""
    row = Commitment.objects.filter(device=device, asked_at__gte=since).order_by("-asked_at", "-pk").first()
    if row is None:
        return None
    hindered = "" if row.reported_at else queue.trouble(REPORT, commitment=row.pk)
    return Asked(row.asked_at, len(row.references), row.reported_at, len(row.failures), hindered)


def ask(transaction_uid: str, device: str, address: str, references: Sequence[tuple[str, str]]) -> None:
    """Keeps the request that ``device`` made from ``address``, and sees to it that it is answered.

    ``references``: (SOP class UID, SOP instance UID). The same transaction asked again is answered again.
    """
    now = timezone.now()
    with transaction.atomic():
        row, _ = Commitment.objects.update_or_create(
            transaction_uid=transaction_uid,
            device=device,
            defaults={
                "address": address,
                "references": [list(pair) for pair in references],
                "asked_at": now,
                "reported_at": None,
            },
        )
        detail = {"commitment": transaction_uid, "objects": len(references)}
        record(Entry(Code.INSTANCES_ACCESSED, "E", device, address=address, detail=detail))
        queue.enqueue(REPORT, {"commitment": row.pk}, give_up_at=now + timedelta(days=HOZI.commitment_retry_days))


def asked_by(commitment: int) -> str:
    """The name of the device that asked."""
    return Commitment.objects.get(pk=commitment).device


def answer(commitment: int, reach: Reach) -> Report | None:
    """The report to send now; None when objects may still arrive and it is too early to say that they are missing.

    ``reach``: what the device may know of. Anything else counts as there only when the device has brought it itself.
    """
    row = Commitment.objects.get(pk=commitment)
    references = [(sop_class, uid) for sop_class, uid in row.references]
    failures = _failures(references, row.device, reach)
    waits_until = row.asked_at + timedelta(minutes=HOZI.commitment_wait_minutes)
    if NO_SUCH_OBJECT_INSTANCE in failures.values() and timezone.now() < waits_until:
        return None
    return Report(
        row.transaction_uid,
        row.device,
        row.address,
        tuple(pair for pair in references if pair[1] not in failures),
        tuple((sop_class, uid, failures[uid]) for sop_class, uid in references if uid in failures),
    )


def delivered(commitment: int, report: Report) -> None:
    """The device has taken the report."""
    Commitment.objects.filter(pk=commitment).update(
        reported_at=timezone.now(), failures={uid: reason for _, uid, reason in report.failed}
    )


def _failures(references: Sequence[tuple[str, str]], device: str, reach: Reach) -> dict[str, int]:
    """Failure reason by SOP Instance UID, for those that are not safely held: in the index and whole on the disk."""
    failures: dict[str, int] = {}
    for start in range(0, len(references), _AT_ONCE):
        part = references[start : start + _AT_ONCE]
        rows = _held({uid for _, uid in part})
        reached = _reached(rows.values(), reach)
        for sop_class, uid in part:
            row = rows.get(uid)
            if row is None or not (row.pk in reached or _brought(row, device)):
                failures[uid] = NO_SUCH_OBJECT_INSTANCE
            elif row.instance.sop_class != sop_class:
                failures[uid] = CLASS_INSTANCE_CONFLICT
            elif volume().size(row.key) != row.dataset_offset + row.length:
                failures[uid] = PROCESSING_FAILURE
    return failures


def _reached(rows: Iterable[StoredObject], reach: Reach) -> set[int]:
    ids = [row.pk for row in rows]
    if reach.everything:
        return set(ids)
    reached = StoredObject.objects.filter(reaching.series(reach, "instance__series__"), pk__in=ids)
    return set(reached.values_list("pk", flat=True))


def _brought(row: StoredObject, device: str) -> bool:
    return brought(device, row.instance.series.study.uid, row.instance.uid)


def _held(uids: Collection[str]) -> dict[str, StoredObject]:
    rows = StoredObject.objects.filter(instance__uid__in=uids).select_related("instance__series__study")
    return {row.instance.uid: row for row in rows}
