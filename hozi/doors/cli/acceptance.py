"""`hozi device acceptance`: the trial of a new device, step by step, and its sheet as a PDF."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hozi.core.errors import Refused
from hozi.doors.cli.devices import group
from hozi.doors.cli.output import AsJson, actor, say, say_json, table
from hozi.doors.cli.prepare import ready

if TYPE_CHECKING:
    from hozi.facilities.acceptance import Trial


def register(app: typer.Typer) -> None:
    """Nothing to enter: the command belongs to the group of devices."""


@group.command()
def acceptance(
    name: Annotated[str, typer.Argument(help="The device's name.")],
    begin: Annotated[bool, typer.Option("--begin", help="Begin a trial; evidence counts from now on.")] = False,
    call: Annotated[bool, typer.Option("--call", help="Call the device now (C-ECHO).")] = False,
    send: Annotated[bool, typer.Option("--send", help="Send it an image of an invented patient.")] = False,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Leave a step out, with the reason: query='it has no search'.")
    ] = None,
    sign: Annotated[bool, typer.Option("--sign", help="Accept the device, when nothing is open any more.")] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="End the trial without accepting the device.")] = False,
    remark: Annotated[str, typer.Option(help="What should stand on the sheet besides.")] = "",
    pdf: Annotated[Path | None, typer.Option(help="Write the acceptance sheet into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try a new device step by step; show how its last trial stands; write the sheet to be signed."""
    ready()
    from hozi.doors.dimse import acceptance as trials
    from hozi.facilities import acceptance as room

    who = actor()
    trial = room.begin(name, actor=who) if begin else _last(name)
    if call:
        trials.call(trial.number)
    if send:
        trials.send(trial.number, actor=who)
    for told in leave_out or ():
        key, _, reason = told.partition("=")
        room.leave_out(trial.number, key.strip(), reason, actor=who)
    if sign:
        version = room.get(trial.number).version
        trials.sign(trial.number, version=version, remark=remark, actor=who)
    elif give_up:
        room.give_up(trial.number, remark, actor=who)
    trial = trials.look(trial.number)
    if pdf is not None:
        from hozi.facilities import sheet

        pdf.write_bytes(sheet.pdf(trial, room.device_of(trial)))
    if as_json:
        say_json(_as_dict(trial))
    else:
        _show(trial)
        if pdf is not None:
            say(f"The acceptance sheet is in {pdf}.")


def _last(name: str) -> Trial:
    from hozi.facilities import acceptance as room

    trials = room.of_device(name.strip())
    if not trials:
        raise Refused(f"There was no trial of {name!r} yet: hozi device acceptance {name} --begin")
    return trials[0]


def _show(trial: Trial) -> None:
    if trial.open:
        say(f"The trial of {trial.name} ({trial.identity}) goes on; evidence counts since {_at(trial.since)}.")
    else:
        what = "accepted" if trial.accepted else "not accepted"
        say(f"{trial.name} ({trial.identity}) was {what} by {trial.ended_by} on {_at(trial.ended_at)}.")
    print()
    words = {"passed": "passed", "failed": "FAILED", "left_out": "left out", "waiting": "not yet"}
    rows = []
    for step in trial.steps:
        told = step.evidence or (step.reason or step.explanation,)
        rows.append((step.key, step.title, words[step.state], told[0]))
        rows += [("", "", "", line) for line in (*told[1:], *([step.advice] if not step.done else [])) if line]
    table(("step", "", "", "what was seen"), rows)


def _as_dict(trial: Trial) -> dict[str, Any]:
    return {**asdict(trial), "open": trial.open, "ready": trial.ready}


def _at(moment: Any) -> str:
    from django.utils import timezone

    return f"{timezone.localtime(moment):%d %b %Y %H:%M}"
