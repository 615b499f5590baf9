"""`hozi export`: images into a folder or a ZIP archive, with a DICOMDIR."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hozi.core.errors import Refused
from hozi.doors.cli.output import AsJson, actor, say, say_json
from hozi.doors.cli.prepare import ready

Uids = Annotated[list[str] | None, typer.Option(metavar="UID", help="May be given several times.")]


def register(app: typer.Typer) -> None:
    """Enters this command into the program."""
    app.command()(export)


def export(
    target: Annotated[Path, typer.Argument(help="A folder, or the name of a ZIP archive to be made (.zip).")],
    study: Uids = None,
    series: Uids = None,
    patient: Annotated[str | None, typer.Option(metavar="ID", help="The patient's number.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Who issued the patient's number, if several did.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that the archive holds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write images into a folder or a ZIP archive, with a DICOMDIR. Nothing that exists is overwritten."""
    if everything == bool(study or series or patient):
        raise Refused("Say what to export: --study, --series, --patient, or --all")
    ready()
    from hozi.accounts import authorise
    from hozi.archive import export as exporting
    from hozi.archive.fetch import ISSUER_OF_PATIENT_ID, PATIENT_ID, SERIES_INSTANCE_UID, STUDY_INSTANCE_UID

    who = authorise.of_operator(actor())
    reach = authorise.reach(who, "studies.export")
    told = {
        STUDY_INSTANCE_UID: study or [],
        SERIES_INSTANCE_UID: series or [],
        PATIENT_ID: [patient] if patient else [],
        ISSUER_OF_PATIENT_ID: [issuer] if issuer else [],
    }
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=as_json or not sys.stderr.isatty()) as bar:
        task = bar.add_task("exporting", total=None)

        def progress(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        exported = exporting.export(
            None if everything else told, target, actor=who.actor, reach=reach, progress=progress
        )
    if as_json:
        say_json({**asdict(exported), "target": target})
    else:
        for failure in exported.failures:
            say(f"not exported: {failure.sop_instance}: {failure.reason}")
        size = f"{exported.bytes / 1e6:.1f} MB"
        where = f"in {target}" if exported.objects else "and nothing was written"
        counts = (
            (exported.patients, "patient", "patients"),
            (exported.studies, "study", "studies"),
            (exported.series, "series", "series"),
            (exported.objects, "object", "objects"),
        )
        written = ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts)
        say(f"{written} ({size}) {where}")
    if not exported.clean:
        raise typer.Exit(1)
