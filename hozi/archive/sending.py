"""A study is sent to a device because a person asked for it: asked, kept as a job, and told how it went.

The job holds numbers of rows only. Whoever asked is asked for again when it is done: by then they may have lost the
permission, the study may be out of their reach, the device may be gone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from hozi.accounts import authorise
from hozi.accounts.authorise import Denied, Who
from hozi.archive import reach as reaching
from hozi.archive.fetch import STUDY_INSTANCE_UID, Selection
from hozi.archive.looks import note
from hozi.archive.models import Study
from hozi.archive.study_page import study_of
from hozi.audit.record import Code, Entry, Outcome, record
from hozi.core.errors import NotThere, Refused
from hozi.facilities.devices import Permit, listed, permit_by_number
from hozi.jobs import queue
from hozi.jobs.queue import GiveUp

PERMISSION: Final = "studies.export"
SEND: Final = "study.send"

TRY_FOR: Final = timedelta(days=1)
"""So long a device that does not answer is tried again; who asked has found another way by then."""

LOST: Final = gettext_noop("who asked may not send this study there any more, or the device takes no images any more")
AWAY: Final = gettext_noop("the device did not answer, or broke off, for a whole day")
SOME: Final = gettext_noop("the device refused some images, takes no format of theirs, or they are damaged here")

_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Line:
    """What was asked for lately. ``state``: waiting, done or failed; ``tried``: the device did not answer so far.

    ``sent`` of ``objects`` are known when it has ended; ``reason`` says in plain words why it failed.
    """

    device: str
    state: str
    tried: bool
    sent: int
    objects: int
    reason: str
    asked_at: datetime
    again_at: datetime


def destinations(who: Who) -> list[Permit]:
    """The devices to which who asks may send: those of their facilities that may receive images and have a port."""
    return [permit for permit in listed() if _takes(permit) and _within(who, permit)]


def ask(who: Who, pk: int, number: int) -> Permit | None:
    """Sees to it that the study is sent to the device of that number; None when that waits to be done already.

    Raises `NotThere` when the study or the device is out of reach, `Denied` without the permission, `Refused` for an
    empty study.
    """
    with transaction.atomic():
        study = study_of(who, PERMISSION, pk)
        device = _destination(who, number)
        if who.person is None:
            raise Refused("Only people send studies to devices: sign in at the console.")
        # Of two clicks at the same time the second waits here, and then sees the job of the first.
        Study.objects.select_for_update(no_key=True).get(pk=pk)
        if queue.waits(SEND, study=pk, device=number):
            return None
        count = _images(who, study).count
        if not count:
            raise Refused("The study has no objects.")
        until = timezone.now() + TRY_FOR
        payload = {
            "ask": secrets.token_hex(8),
            "study": pk,
            "device": number,
            "person": who.person,
            "actor": who.actor,
            "address": who.address,
            "until": until.isoformat(),
        }
        _record(who.actor, who.address, study, {"receiver": device.name, "objects": count, "begun": True})
        queue.enqueue(SEND, payload, give_up_at=until)
    return device


def lately(who: Who, pk: int) -> list[Line]:
    """What was asked for lately of this study, the latest first, to devices that who asks may send to.

    Who sees a part of the study only hears of what they asked for themselves. Raises as `ask` does.
    """
    study = study_of(who, PERMISSION, pk)
    own = {"person": who.person} if reaching.by_series(authorise.reach(who, PERMISSION)) else {}
    names = {permit.number: permit.name for permit in listed() if _within(who, permit)}
    found = queue.standing(SEND, _MOST, study=study.pk, **own)
    note(who, study, "page")
    return [_line(one, names[one.payload["device"]]) for one in found if one.payload["device"] in names]


def _line(one: queue.Standing, device: str) -> Line:
    told = one.payload
    reason = one.error if one.error in (LOST, AWAY, SOME) else ""
    sent, objects = told.get("sent", 0), told.get("objects", 0)
    return Line(device, one.state, bool(one.error), sent, objects, reason, one.asked_at, one.due_at)


# When it is done ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be sent now, to which device, for whom."""

    payload: dict[str, Any]
    who: Who
    study: Study
    device: Permit
    images: Selection


def due(payload: dict[str, Any]) -> Due:
    """What a job asks for, as far as who asked for it still may. Raises `GiveUp`, which stands in the audit."""
    who = authorise.of_person(payload["person"], payload["address"])
    try:
        if who is None:
            raise Denied("the account is not in use any more")
        study = study_of(who, PERMISSION, payload["study"])
        device = _destination(who, payload["device"])
        images = _images(who, study)
    except (Denied, NotThere):
        _record_lost(payload)
        raise GiveUp(LOST) from None
    return Due(payload, who, study, device, images)


def tell(due: Due, sent: int, failed: int, *, whole: bool) -> None:
    """Keeps how it went, also in the audit; ``whole``: all has been tried, else the device was gone before.

    Raises `GiveUp` when it has ended and not all was sent.
    """
    over = whole or timezone.now() >= datetime.fromisoformat(due.payload["until"])
    with transaction.atomic():
        if sent or failed or over:
            outcome = Outcome.SUCCESS if whole and not failed else Outcome.MINOR_FAILURE
            detail = {"receiver": due.device.name, "objects": due.images.count, "sent": sent, "failed": failed}
            _record(due.who.actor, due.who.address, due.study, detail, outcome)
        if over:
            queue.remember(SEND, due.payload, sent=sent, objects=due.images.count)
    if over and not (whole and not failed):
        raise GiveUp(SOME if whole else AWAY)


def _record_lost(payload: dict[str, Any]) -> None:
    study = Study.objects.filter(pk=payload["study"]).select_related("patient").first()
    device = next((permit.name for permit in listed() if permit.number == payload["device"]), "")
    detail = {"receiver": device, "sent": 0, "reason": "out of reach"}
    if study is not None:
        _record(payload["actor"], payload["address"], study, detail, Outcome.SERIOUS_FAILURE)


def _record(actor: str, address: str, study: Study, detail: dict[str, Any], outcome: Outcome = Outcome.SUCCESS) -> None:
    record(
        Entry(
            code=Code.EXPORT,
            action="R",
            actor=actor,
            outcome=outcome,
            address=address,
            issuer=study.patient.issuer,
            patient_id=study.patient.patient_id,
            study_uid=study.uid,
            facility=study.facility,
            detail=detail,
        )
    )


def _images(who: Who, study: Study) -> Selection:
    return Selection({STUDY_INSTANCE_UID: [study.uid]}, authorise.reach(who, PERMISSION))


def _destination(who: Who, number: int) -> Permit:
    device = permit_by_number(number)
    if not (_takes(device) and _within(who, device)):
        raise NotThere("There is no such device (any more)")
    return device


def _takes(device: Permit) -> bool:
    return device.may_receive and device.port is not None


def _within(who: Who, device: Permit) -> bool:
    try:
        codes = authorise.facilities(who, PERMISSION)
    except Denied:  # held for single patients only: no facility is theirs
        return False
    return codes is None or device.facility in codes
