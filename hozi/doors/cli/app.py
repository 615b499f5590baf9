"""The command line: all commands under one program, and every error as one clear line.

A group of commands is a module with `register(app)`; it is entered in `_GROUPS` and nowhere else.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import typer

from hozi.core.errors import HoziError
from hozi.doors.cli import (
    acceptance,
    adopt,
    assets,
    bring,
    check,
    demo,
    devices,
    doctor,
    export,
    facilities,
    people,
    serve,
)
from hozi.doors.cli.output import fail

_GROUPS = (assets, serve, devices, acceptance, facilities, people, bring, export, check, adopt, doctor, demo)

app = typer.Typer(
    name="hozi",
    help="Hozi keeps medical images safe, and gives them back fast.",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks with local variables would show patient data.
    pretty_exceptions_enable=False,
)
for group in _GROUPS:
    group.register(app)


def run(arguments: list[str]) -> int:
    """Runs a command line and returns the exit code: 0 only when all went well, 2 for a wrong command line."""
    as_json = "--json" in arguments
    try:
        app(args=arguments, prog_name="hozi")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except HoziError as error:
        return fail(str(error), as_json)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return fail("Another program holds the port; `hozi doctor` says which", as_json)
        where = f" ({error.filename})" if error.filename else ""
        return fail(f"{error.strerror or type(error).__name__}{where}", as_json)
    except Exception as error:
        if os.environ.get("HOZI_LOG_LEVEL", "").upper() == "DEBUG":
            raise
        return fail(_unexpected(error), as_json)
    return 0


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _unexpected(error: Exception) -> str:
    # Django is not loaded before a command needs it, so its errors are told by their name.
    if any(base.__module__ == "django.db.utils" for base in type(error).__mro__):
        return f"The database does not do what it should ({_first_line(error)}). `hozi doctor` looks closer."
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "an unknown place"
    return (
        f"An error that Hozi did not expect: {type(error).__name__} in {place}. "
        "Run it again with HOZI_LOG_LEVEL=DEBUG for the details."
    )
