"""`hozi import`: images from folders, files, ZIP archives and CDs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hozi.doors.cli.output import AsJson, actor, printable, say, say_json
from hozi.doors.cli.prepare import ready

if TYPE_CHECKING:
    from hozi.archive.bring import Seen, Summary

_MOST_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Enters this command into the program."""
    app.command("import")(import_)


def import_(
    names: Annotated[
        list[str], typer.Argument(metavar="PATHS", help="Folders, DICOM files, ZIP archives or a DICOMDIR.")
    ],
    facility: Annotated[str | None, typer.Option(help="Code of the facility that the images belong to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take images in from files. Cut off, the same command goes on where it stopped."""
    if not all(name.strip() for name in names):
        raise typer.BadParameter("a path is empty; for the folder that you are in, write a dot")
    paths = [Path(name) for name in names]
    settings = ready()
    from hozi.archive.arrived import Origin
    from hozi.archive.bring import bring
    from hozi.archive.receive import Receiver
    from hozi.facilities import places

    place = places.choose(facility)
    origin = Origin(actor=actor(), address="", facility=place.code, issuer=place.issuer, source="import")
    receiver = Receiver()
    receiver.take_in_leftovers()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, disable=as_json or not sys.stderr.isatty()) as bar:
            task = bar.add_task("importing", total=None if as_json else _count(paths))

            def progress(seen: Seen) -> None:
                bar.advance(task)

            summary = bring(paths, receiver, origin, journals=settings.home / "run" / "imports", progress=progress)
    finally:
        receiver.close()
    _tell(summary, as_json)
    if not summary.clean:
        raise typer.Exit(1)


def _count(paths: list[Path]) -> int:
    """About how many files there are; entries of ZIP archives come on top."""
    return sum(sum(1 for one in path.rglob("*") if one.is_file()) if path.is_dir() else 1 for path in paths)


def _tell(summary: Summary, as_json: bool) -> None:
    odd = [seen for seen in summary.files if seen.fate in ("quarantined", "refused")]
    counts = summary.counts
    if as_json:
        say_json({**counts, "resumed": summary.resumed, "problems": [_printable(seen) for seen in odd]})
        return
    for seen in odd[:_MOST_SHOWN]:
        say(f"{seen.fate}: {seen.name}: {seen.reason}")
    if len(odd) > _MOST_SHOWN:
        say(f"... and {len(odd) - _MOST_SHOWN} more (--json names all)")
    if summary.resumed:
        say(f"{summary.resumed} of the files were done by an earlier run that was cut off.")
    parts = " + ".join(f"{counts[fate]} {fate}" for fate in ("stored", "duplicate", "quarantined", "refused"))
    say(f"{parts} = {counts['seen']} seen")


def _printable(seen: Seen) -> dict[str, str]:
    """As JSON has it: names of files may hold bytes that are no text."""
    return {"name": printable(seen.name), "fate": seen.fate, "reason": seen.reason}
