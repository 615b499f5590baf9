"""The trial of a new device: its steps, what was seen of each, what was left out and why, and who signed.

What counts as seen is found out above this room (`doors/dimse/acceptance.py`), from what the archive itself saw since
the trial began: here it is kept. A step that has passed stays passed; until then it is looked at again each time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hozi.audit.record import Code, Entry, Type, record
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities.models import Acceptance
from hozi.facilities.recognise import Permit, permit_of, with_place

State = Literal["waiting", "passed", "failed", "left_out"]

STEPS: Final[dict[str, str | Promise]] = {
    "names": _("Names and addresses"),
    "echo": _("The archive calls the device"),
    "call": _("The device calls the archive"),
    "store": _("The device stores an image"),
    "send": _("The archive sends an image"),
    "query": _("The device searches"),
    "retrieve": _("The device fetches images"),
    "commitment": _("The device asks whether its images are safe"),
}
"""Every step, in the order in which it is walked, with its title."""


@dataclass(frozen=True, slots=True)
class Step:
    """How one step stands. ``evidence``: what was seen, a line each; ``at``: when (first) it was.

    ``explanation``, ``advice`` and ``technical`` say what is missing or went wrong. ``reason`` and ``by``: why it was
    left out, and by whom (nobody: the device may not do it here).
    """

    key: str
    state: State = "waiting"
    at: datetime | None = None
    evidence: tuple[str, ...] = ()
    explanation: str = ""
    advice: str = ""
    technical: str = ""
    reason: str = ""
    by: str = ""

    @property
    def title(self) -> str:
        """What is tried."""
        return str(STEPS[self.key])

    @property
    def done(self) -> bool:
        """Whether nothing more needs to be seen."""
        return self.state in ("passed", "left_out")


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a device. ``since``: from when on evidence counts (its beginning, or when its address changed)."""

    number: int
    name: str
    facility: str
    identity: str
    begun_at: datetime
    begun_by: str
    since: datetime
    steps: tuple[Step, ...]
    ended_at: datetime | None
    ended_by: str
    accepted: bool
    remark: str
    version: int

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None

    @property
    def ready(self) -> bool:
        """Whether each step has passed or was left out: it can be signed."""
        return all(step.done for step in self.steps)

    def step(self, key: str) -> Step:
        """The step of that key. Raises KeyError."""
        return {step.key: step for step in self.steps}[key]


def identity(device: Permit) -> str:
    """What a device is called by; evidence for one identity says nothing of another."""
    where = f"{device.host}:{device.port}" if device.port else device.host
    return f"{device.ae_title} at {where}{' over TLS' if device.tls else ''}"


def begin(name: str, *, actor: str, address: str = "") -> Trial:
    """Begins the trial of a device. Raises NotThere; Refused when one is going on already."""
    with transaction.atomic():
        device = with_place().filter(name=name.strip()).first()
        if device is None:
            raise NotThere(f"There is no device {name!r}")
        now = timezone.now()
        permit = permit_of(device)
        row = Acceptance(
            device=device,
            name=device.name,
            facility=permit.facility,
            identity=identity(permit),
            begun_at=now,
            begun_by=actor[:128],
            since=now,
        )
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError:
            raise Refused(f"The trial of {device.name} is going on already") from None
        _audit(row, "C", "begun", actor, address)
    return _trial(row)


def get(number: int, within: Collection[str] | None = None) -> Trial:
    """The trial of that number, in one of these facilities (None: any). Raises NotThere."""
    return _trial(_row(number, within))


def going_on(name: str) -> Trial | None:
    """The trial of that device that goes on, if one does."""
    row = Acceptance.objects.filter(device__name=name, ended_at=None).first()
    return _trial(row) if row else None


def of_device(name: str) -> list[Trial]:
    """All trials of devices of that name, the last first; those of one that was removed, too."""
    return [_trial(row) for row in Acceptance.objects.filter(name=name).order_by("-begun_at", "-pk")]


def all_going_on(within: Collection[str] | None = None) -> list[Trial]:
    """The trials that go on in these facilities (None: all), the oldest first."""
    rows = Acceptance.objects.filter(ended_at=None).order_by("begun_at")
    return [_trial(row) for row in (rows if within is None else rows.filter(facility__in=within))]


def keep(number: int, device: Permit, seen: Collection[Step]) -> Trial:
    """Keeps the steps that have passed, for good; and begins anew when the device is called otherwise by now.

    What was left out, and what has passed before, stays as it is. Raises NotThere.
    """
    with transaction.atomic():
        row = _row(number, lock=True)
        if row.ended_at is not None:
            return _trial(row)
        if row.identity != identity(device):
            row.steps = {key: told for key, told in row.steps.items() if told["state"] == "left_out"}
            row.identity, row.since = identity(device), timezone.now()
            row.save()
        elif new := {step.key: _written(step) for step in seen if step.state == "passed" and step.key not in row.steps}:
            row.steps = {**row.steps, **new}
            row.save()
    return _trial(row)


def leave_out(number: int, key: str, reason: str, *, actor: str, address: str = "") -> Trial:
    """Leaves a step out, with the reason why. Raises NotThere, Refused."""
    reason = reason.strip()
    if key not in STEPS:
        raise NotThere(f"There is no step {key!r} (there are: {', '.join(STEPS)})", field="step")
    if not 3 <= len(reason) <= 200 or not reason.isprintable():
        raise Refused("Say in a few words why this step is left out (3 to 200 characters)", field="reason")
    with transaction.atomic():
        row = _open_row(number)
        told = _written(Step(key, "left_out", timezone.now(), reason=reason, by=actor))
        row.steps = {**row.steps, key: told}
        row.save()
        _audit(row, "U", "left out", actor, address, step=key, reason=reason)
    return _trial(row)


def take_up(number: int, key: str, *, actor: str, address: str = "") -> Trial:
    """Takes up again a step that was left out. Raises NotThere, Refused."""
    with transaction.atomic():
        row = _open_row(number)
        if row.steps.get(key, {}).get("state") == "left_out":
            row.steps = {other: told for other, told in row.steps.items() if other != key}
            row.save()
            _audit(row, "U", "taken up", actor, address, step=key)
    return _trial(row)


def sign(
    number: int, device: Permit, steps: Collection[Step], *, version: int, remark: str = "", signer: str = "",
    actor: str, address: str = "",
) -> Trial:  # fmt: skip
    """Ends the trial: the device is accepted, with the steps as they stand. Nothing of it changes afterwards.

    ``version`` is that of the trial that the caller has looked at; ``signer`` is who signs, as it stands on the sheet
    (without it: the actor). Raises Changed, NotThere; Refused while a step is open, or when the device is called
    otherwise by now.
    """
    remark = _remark(remark)
    with transaction.atomic():
        row = _open_row(number)
        if row.version != version + 1:  # this act is the next
            raise Changed("Somebody else has worked on this trial meanwhile: look at it again, then sign it")
        if row.identity != identity(device):
            raise Refused(f"{row.name} is called otherwise by now ({identity(device)}): the steps are walked again")
        if undone := [step.title for step in steps if not step.done]:
            raise Refused(f"Not done yet: {', '.join(undone)}. Leave out, with the reason, what this device cannot do")
        row.steps = {step.key: _written(step) for step in steps}
        _end(row, signer or actor, remark, accepted=True)
        _audit(row, "U", "accepted", actor, address)
    return _trial(row)


def give_up(number: int, remark: str = "", *, actor: str, address: str = "") -> Trial:
    """Ends the trial without accepting the device. Raises NotThere, Refused."""
    remark = _remark(remark)
    with transaction.atomic():
        row = _open_row(number)
        _end(row, actor, remark, accepted=False)
        _audit(row, "U", "given up", actor, address)
    return _trial(row)


def device_of(trial: Trial) -> Permit | None:
    """The device that is tried, as it is now; None when it was removed."""
    row = with_place().filter(acceptances=trial.number).first()
    return permit_of(row) if row else None


def _remark(text: str) -> str:
    text = " ".join(text.split())
    if len(text) > 500 or not text.isprintable():
        raise Refused("A remark has at most 500 characters", field="remark")
    return text


def _end(row: Acceptance, by: str, remark: str, *, accepted: bool) -> None:
    row.ended_at, row.ended_by, row.accepted, row.remark = timezone.now(), by[:128], accepted, remark
    row.save()


def _row(number: int, within: Collection[str] | None = None, *, lock: bool = False) -> Acceptance:
    rows = Acceptance.objects.filter(pk=number)
    if within is not None:
        rows = rows.filter(facility__in=within)
    row = (rows.select_for_update() if lock else rows).first()
    if row is None:
        raise NotThere("There is no such trial of a device")
    return row


def _open_row(number: int) -> Acceptance:
    row = _row(number, lock=True)
    if row.ended_at is not None:
        raise Refused(f"The trial of {row.name} is over: begin a new one")
    row.version += 1
    return row


def _written(step: Step) -> dict[str, Any]:
    told = {name: value for name, value in dataclasses.asdict(step).items() if value not in ("", (), None)}
    del told["key"]
    told.setdefault("state", step.state)
    if step.at is not None:
        told["at"] = step.at.isoformat()
    return told


def _read(key: str, told: Mapping[str, Any]) -> Step:
    at = told.get("at")
    more = {**told, "at": datetime.fromisoformat(at) if at else None, "evidence": tuple(told.get("evidence", ()))}
    return Step(key, **more)


def _trial(row: Acceptance) -> Trial:
    return Trial(
        number=row.pk,
        name=row.name,
        facility=row.facility,
        identity=row.identity,
        begun_at=row.begun_at,
        begun_by=row.begun_by,
        since=row.since,
        steps=tuple(_read(key, row.steps[key]) if key in row.steps else Step(key) for key in STEPS),
        ended_at=row.ended_at,
        ended_by=row.ended_by,
        accepted=row.accepted,
        remark=row.remark,
        version=row.version,
    )


def _audit(row: Acceptance, action: str, act: str, actor: str, address: str, **more: str) -> None:
    detail = {"type": Type.NETWORK_CONFIGURATION, "acceptance": row.pk, "device": row.name, "act": act, **more}
    record(Entry(Code.SECURITY_ALERT, action, actor, address=address, facility=row.facility, detail=detail))
