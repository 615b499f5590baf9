"""What a command needs before it can work: settings that are right, the home folder, a database up to date."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hozi.core.errors import HoziError, Refused
from hozi.doors.cli import logs

if TYPE_CHECKING:
    from hozi.settings import Settings


class WrongSettings(HoziError):
    """A setting cannot be used as it stands."""


def load() -> Settings:
    """Reads the settings and loads Django; raises WrongSettings naming the variables that are wrong."""
    try:
        import hozi.settings

        hozi.settings.HOZI.storage  # noqa: B018 - says what is wrong with the URL
    except ValidationError as error:
        raise WrongSettings("; ".join(_lines(error))) from None
    except ValueError as error:
        raise WrongSettings(str(error)) from None
    import django

    # `hozi serve` says more. A command is quiet, and what it says is not JSON.
    logs.configure("WARNING", as_json=False)
    django.setup()
    return hozi.settings.HOZI


def ready() -> Settings:
    """`load`, with a home folder and a database that can be worked on.

    A new database gets its tables. One that is behind is left to `hozi serve`, so that a small command
    does not change it under a server of the older version. Raises Refused then.
    """
    settings = load()
    open_home(settings)
    state = schema()
    if state.unknown:
        raise Refused(_newer(state))
    if state.new:
        migrate(settings)
    elif state.pending:
        raise Refused("The database is of an earlier version of Hozi; `hozi serve` brings it up to date")
    return settings


def open_home(settings: Settings) -> None:
    """Makes the home folder and `run` in it, for this account only (0700), where they do not exist yet."""
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    run_folder(settings).mkdir(mode=0o700, exist_ok=True)
    try:
        settings.storage.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise WrongSettings(f"HOZI_STORAGE_URL: {settings.storage} cannot be made: {error.strerror}") from None


def run_folder(settings: Settings) -> Path:
    """The folder of what holds only while Hozi runs: locks, ports."""
    return settings.home / "run"


@dataclass(frozen=True, slots=True)
class Schema:
    """The database's tables beside those that this version wants, as names of migrations."""

    applied: int
    pending: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def new(self) -> bool:
        """Whether nothing is there yet."""
        return self.applied == 0


def schema() -> Schema:
    """Looks at the database; changes nothing."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    applied = executor.loader.applied_migrations
    known = executor.loader.disk_migrations
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return Schema(
        applied=len(applied),
        pending=tuple(f"{migration.app_label}.{migration.name}" for migration, _ in plan),
        unknown=tuple(sorted(".".join(key) for key in applied if key not in known)),
    )


def migrate(settings: Settings) -> bool:
    """Brings the database up to date, one process at a time; returns whether there was anything to do.

    Raises Refused when a newer version of Hozi wrote it.
    """
    from django.core.management import call_command
    from django.db import connections

    with locked(run_folder(settings) / "migrate.lock"):
        state = schema()
        if state.unknown:
            raise Refused(_newer(state))
        if state.pending:
            call_command("migrate", verbosity=0, interactive=False)
        # Whoever goes on opens one of its own; a supervisor needs none.
        connections.close_all()
        return bool(state.pending)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock file and holds it. The kernel frees it when the process dies, however it dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Holds the lock file for as long as ``what`` runs; raises Refused when another process holds it."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(20).strip() or "unknown"
            raise Refused(f"{what} runs on {path.parent.parent} already (process {holder})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _newer(state: Schema) -> str:
    return f"The database was written by a newer version of Hozi (it has {state.unknown[-1]}): use that version"


def _lines(error: ValidationError) -> Iterator[str]:
    for wrong in error.errors(include_url=False, include_context=False, include_input=False):
        name = "_".join(str(part) for part in wrong["loc"]).upper()
        said = wrong["msg"].removeprefix("Value error, ")
        yield f"HOZI_{name}: {said}" if name else said
