"""The acceptance sheet of a device as a PDF, to be printed, signed and filed.

What devices and people wrote goes into the template as data, never as markup (`core.paper`).
"""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from typing import Any, Final

from django.utils import timezone, translation

from hozi.core import paper
from hozi.facilities.acceptance import Step, Trial
from hozi.facilities.models import Facility
from hozi.facilities.recognise import Permit

RESULTS: Final = {"passed": "passed", "failed": "FAILED", "left_out": "left out", "waiting": "not yet"}


def pdf(trial: Trial, device: Permit | None) -> bytes:
    """The sheet of a trial as it stands. ``device``: as it is now; None when it was removed."""
    template = files("hozi.facilities").joinpath("sheet.typ").read_bytes()
    return paper.pdf(template, content(trial, device))


def content(trial: Trial, device: Permit | None) -> dict[str, Any]:
    """Everything that stands on the sheet, in the form in which the template takes it."""
    # What was seen is kept in English, so the sheet is in one language, whoever prints it.
    with translation.override("en"):
        return _content(trial, device)


def _content(trial: Trial, device: Permit | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "title": f"Acceptance of {trial.name}",
        "hospital": _hospital(trial.facility),
        "state": _state(trial),
        "facts": [[name, value] for name, value in _facts(trial, device) if value],
        "steps": [_row(number, step) for number, step in enumerate(trial.steps, 1)],
        "remark": trial.remark,
        "made": f"Hozi, trial {trial.number}, printed {_moment(timezone.now())}",
        "signers": [
            "For the hospital: name, date, signature",
            "For the supplier of the device: name, date, signature",
        ],
        "words": {"step": "Step", "result": "Result", "evidence": "What was seen", "remark": "Remark", "page": "page"},
    }
    clean: dict[str, Any] = paper.clean(told)
    return clean


def _hospital(code: str) -> str:
    name = Facility.objects.filter(code=code).values_list("name", flat=True).first()
    return f"{name} ({code})" if name else code


def _state(trial: Trial) -> str:
    if trial.ended_at is None:
        return "The trial is going on: this sheet accepts nothing yet."
    what = "Accepted" if trial.accepted else "Given up, NOT accepted,"
    return f"{what} by {trial.ended_by} on {_moment(trial.ended_at)}."


def _facts(trial: Trial, device: Permit | None) -> list[tuple[str, str]]:
    facts = [("Device", trial.name), ("Called by", trial.identity)]
    if device is not None:
        department = f", {device.department}" if device.department else ""
        facts += [
            ("Images", device.modality),
            ("Belongs to", f"{device.facility}{department}"),
            ("It may", ", ".join(device.may) or "nothing but echo"),
            ("Sees", "the studies of every facility" if device.sees_all else f"the studies of {device.facility}"),
            ("Its certificate", device.tls_subject),
        ]
    else:
        facts.append(("Removed", "this device is not registered any more"))
    facts.append(("Trial begun", f"{_moment(trial.begun_at)} by {trial.begun_by}"))
    if trial.since != trial.begun_at:
        facts.append(("Evidence since", f"{_moment(trial.since)} (its address or name changed then)"))
    return facts


def _row(number: int, step: Step) -> dict[str, Any]:
    lines = list(step.evidence)
    if step.state == "left_out":
        lines.append(f"{step.reason} (left out by {step.by})" if step.by else step.reason)
    elif step.state != "passed":
        lines += [line for line in (step.explanation, step.technical) if line]
    return {"number": str(number), "title": step.title, "result": RESULTS[step.state], "lines": lines}


def _moment(at: datetime) -> str:
    return f"{timezone.localtime(at):%d %b %Y %H:%M}"
