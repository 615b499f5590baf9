"""Who has looked at a study stands in the audit: noted here, whichever way it was that they came by it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal

from django.db import transaction
from django.utils import timezone

from hozi.accounts.authorise import Who
from hozi.archive.models import Study
from hozi.audit.record import Code, Entry, looked_since, record

_ONE_LOOK: Final = timedelta(minutes=30)
"""What somebody sees of a study for so long is one look at it."""

Kind = Literal["page", "pictures"]
"""What was seen: what the index says of the study, or its images."""


def note(who: Who, study: Study, kind: Kind) -> None:
    """A row in the audit that says who looks at the study, unless one for the same kind was written a moment ago.

    A study that has another patient or facility since then is looked at anew.
    """
    once(accessed(who, study, {"opened": kind}))


def once(entry: Entry) -> None:
    """This row in the audit, unless one of the same look was written a moment ago. Its detail has what was opened."""
    if looked_since(entry, timezone.now() - _ONE_LOOK):
        return
    with transaction.atomic():
        # The pictures of a page are asked for all at once: whoever comes second waits, and finds the row of the first.
        Study.objects.select_for_update(no_key=True).filter(uid=entry.study_uid).values_list("pk").first()
        if not looked_since(entry, timezone.now() - _ONE_LOOK):
            record(entry)


def accessed(who: Who, study: Study, detail: dict[str, Any], object_uid: str = "") -> Entry:
    """The audit's row of somebody who looks at a study."""
    return Entry(
        code=Code.INSTANCES_ACCESSED,
        action="R",
        actor=who.actor,
        address=who.address,
        issuer=study.patient.issuer,
        patient_id=study.patient.patient_id,
        study_uid=study.uid,
        object_uid=object_uid,
        facility=study.facility,
        detail=detail,
    )
