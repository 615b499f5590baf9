"""`hozi demo`: images that nobody was X-rayed for."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from hozi.doors.cli.output import AsJson, actor, say, say_json
from hozi.doors.cli.prepare import ready

if TYPE_CHECKING:
    from hozi.core.phantoms.studies import Study


def register(app: typer.Typer) -> None:
    """Enters this command into the program."""
    app.command()(demo)


def demo(
    facility: Annotated[str | None, typer.Option(help="Code of the facility that the images belong to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put generated demo images of invented patients into the archive: a CT, a chest radiograph, an ultrasound loop."""
    ready()
    from hozi.archive.arrived import Origin
    from hozi.archive.demo import fill
    from hozi.archive.receive import Receiver
    from hozi.core.phantoms.studies import ISSUER, STUDIES
    from hozi.facilities import places

    place = places.choose(facility)
    origin = Origin(actor=actor(), address="", facility=place.code, issuer=ISSUER, source="import")
    receiver = Receiver()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, console=console, disable=as_json or not sys.stderr.isatty()) as bar:
            tasks = {study.uid: bar.add_task(study.name, total=study.count) for study in STUDIES}

            def progress(study: Study, done: int) -> None:
                bar.update(tasks[study.uid], completed=done)

            shown = fill(receiver, origin, progress=progress)
    finally:
        receiver.close()
    if as_json:
        say_json({"studies": [asdict(study) for study in shown]})
    else:
        for study in shown:
            fates = {"stored": study.stored, "there already": study.there, "quarantined": study.quarantined}
            told = ", ".join(f"{count} {fate}" for fate, count in fates.items() if count)
            say(f"{study.name}: {told} (study {study.study_uid})")
    if any(study.quarantined for study in shown):
        raise typer.Exit(1)
