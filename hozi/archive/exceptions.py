"""What could not be put into its place: kept, with a reason, until a person decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_noop

from hozi.archive.models import ExceptionCase

Reason = ExceptionCase.Reason

#: How decisions begin by which an object was taken into the archive.
TAKEN: Final = "taken"

#: What each reason means, in the words of the people who read the list.
IN_WORDS: dict[str, str] = {
    Reason.SAME_UID_OTHER_CONTENT: gettext_noop(
        "An object with the same SOP Instance UID but other content is in the archive."
    ),
    Reason.STUDY_OF_OTHER_PATIENT: gettext_noop("The study is in the archive under another patient."),
    Reason.SERIES_OF_OTHER_STUDY: gettext_noop("The series is in the archive under another study."),
    Reason.CONTRADICTS_COMMAND: gettext_noop("The dataset says something else than the message that brought it."),
    Reason.UNREADABLE: gettext_noop("The dataset does not follow the DICOM encoding, or exceeds a limit."),
    Reason.INVALID_IDENTIFIERS: gettext_noop(
        "The dataset lacks a UID that it must have, or one of them is not a valid UID."
    ),
    Reason.INTERRUPTED: gettext_noop(
        "The transfer broke off when the server stopped; the sender was never told that it is safe."
    ),
    Reason.PATIENT_DIFFERS: gettext_noop("The patient number is known with another name or birth date."),
    Reason.EXECUTABLE_PREAMBLE: gettext_noop(
        "The file began with an executable program in front of the image; it was left out."
    ),
    Reason.STUDY_OF_OTHER_FACILITY: gettext_noop(
        "A device of one facility brought a series of another facility's study."
    ),
    Reason.UNEXPLAINED: gettext_noop(
        "It lay in quarantine when the database was lost that knew why; nothing wrong is seen with it."
    ),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One exception, as the doors show it. Holds UIDs, no names."""

    id: int
    reason: str
    meaning: str
    explanation: str
    sop_instance_uid: str
    study_uid: str
    actor: str
    address: str
    bytes: int
    quarantined: bool
    count: int
    first_at: datetime
    last_at: datetime


def open_cases() -> Iterator[Case]:
    """Every exception that waits for a person, the oldest first."""
    for row in ExceptionCase.objects.filter(state=ExceptionCase.State.OPEN).order_by("pk").iterator(500):
        yield Case(
            id=row.pk,
            reason=row.reason,
            meaning=IN_WORDS[row.reason],
            explanation=row.explanation,
            sop_instance_uid=row.sop_instance_uid,
            study_uid=row.study_uid,
            actor=row.actor,
            address=row.address,
            bytes=row.length,
            quarantined=bool(row.key),
            count=row.count,
            first_at=row.first_at,
            last_at=row.last_at,
        )


def raise_case(case: ExceptionCase) -> tuple[ExceptionCase, bool]:
    """Adds the case, or counts it up when the same content came for the same reason before. Returns (case, new).

    What was decided is to be decided again then, unless the content was taken in: nothing is missing.
    """
    now = timezone.now()
    case.first_at = case.last_at = now
    # An upsert, not a look and then an insert: two senders may bring the same content at the same moment.
    [stored] = ExceptionCase.objects.bulk_create(
        [case],
        update_conflicts=True,
        unique_fields=["reason", "sha256", "sop_instance_uid"],
        update_fields=["last_at"],
    )
    known = ExceptionCase.objects.get(reason=case.reason, sha256=case.sha256, sop_instance_uid=case.sop_instance_uid)
    if known.first_at != stored.first_at:
        again: dict[str, Any] = {"count": models.F("count") + 1, "key": known.key or case.key}
        if not known.decision.startswith(TAKEN) or known.state == ExceptionCase.State.OPEN:
            again |= {"state": ExceptionCase.State.OPEN, "version": models.F("version") + 1}
        ExceptionCase.objects.filter(pk=known.pk).update(**again)
        return known, False
    return known, True
