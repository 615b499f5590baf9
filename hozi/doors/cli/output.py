"""What commands print: tables and sentences for people, JSON for programs."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
"""The option that every command takes."""


def say(text: str) -> None:
    """Prints a sentence. What strangers chose (AE titles) cannot steer the terminal."""
    print(printable(text))


def say_json(value: Any) -> None:
    """Prints a value as JSON, dates and paths as text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; on a terminal as wide as it, elsewhere as wide as the table needs."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 400)
    shown = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        shown.add_row(*(Text(printable("" if cell is None else str(cell))) for cell in row))
    with console.capture() as printed:
        console.print(shown)
    for line in printed.get().splitlines():
        print(line.rstrip())


def fail(text: str, as_json: bool) -> int:
    """Prints an error as one line, on the error channel; with ``as_json`` as JSON too. Returns exit code 1."""
    line = printable(" ".join(text.split()))
    if as_json:
        say_json({"ok": False, "error": line})
    print(f"hozi: {line}", file=sys.stderr)
    return 1


def printable(text: str) -> str:
    """The text with everything that is not printable written out: no escape sequence reaches a terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def actor() -> str:
    """Who gives this command, for the audit: the person behind sudo, else the account."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):
        account = str(os.getuid())
    person = os.environ.get("SUDO_USER")
    return f"{person} (as {account})" if person and person != account else account
