"""`hozi adopt`: takes in again what lies in the store and not in the index."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from hozi.doors.cli.output import AsJson, actor, say, say_json
from hozi.doors.cli.prepare import ready

if TYPE_CHECKING:
    from hozi.archive.adopt import Adoption

_MOST_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Enters this command into the program."""
    app.command()(adopt)


def adopt(as_json: AsJson = False) -> None:
    """Take in again what lies in the store and not in the index, after a database was lost or restored from a copy.

    Moves, changes and removes nothing. Cut off, the same command goes on; the archive may run meanwhile.
    """
    ready()
    from hozi.archive.adopt import adopt as take_in

    console = Console(stderr=True)
    columns = (TextColumn("{task.description} {task.completed:.0f} files"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=as_json or not sys.stderr.isatty()) as bar:
        task = bar.add_task("looking at", total=None)
        adoption = take_in(actor=actor(), progress=lambda found: bar.update(task, completed=found))
    _tell(adoption, as_json)
    if not adoption.clean:
        raise typer.Exit(1)


def _tell(adoption: Adoption, as_json: bool) -> None:
    from hozi.archive.adopt import FATES

    counts = {fate: adoption.counts[fate] for fate in FATES}
    if as_json:
        named = {fate.replace(" ", "_"): count for fate, count in counts.items()}
        problems = [asdict(seen) for seen in adoption.problems]
        say_json({"found": adoption.found, **named, "exceptions": adoption.exceptions, "problems": problems})
        return
    for seen in adoption.problems[:_MOST_SHOWN]:
        say(f"{seen.fate}: {seen.key}{f' ({seen.object})' if seen.object else ''}: {seen.reason}")
    if len(adoption.problems) > _MOST_SHOWN:
        say(f"... and {len(adoption.problems) - _MOST_SHOWN} more (--json names all)")
    if adoption.exceptions:
        one = adoption.exceptions == 1
        are, them = ("is an exception", "it") if one else ("are exceptions", "them")
        say(f"{adoption.exceptions} of the adopted ones {are}: `hozi exceptions` lists {them}.")
    say(f"{' + '.join(f'{count} {fate}' for fate, count in counts.items())} = {adoption.found} found")
