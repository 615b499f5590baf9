"""The doctor's checks of the machine: home folder, disk, clock and database."""

from __future__ import annotations

import os
import shutil
import stat
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from hozi.core.storage import file_system
from hozi.core.storage.file_system import Keeping
from hozi.doors.cli.prepare import schema

if TYPE_CHECKING:
    from hozi.settings import Settings

State = Literal["ok", "warn", "fail"]

SLOW_DISK = 60
"""Images a second below which the disk will be what people wait for: a spinning disk keeps about half as many."""

IMAGE_BYTES = 512 << 10

LEAST_SQLITE = (3, 51, 3)
LEAST_POSTGRESQL = 15
_COMMIT_BYTES = 64 << 10  # what SQLite writes for one image
_FIRST_RELEASE_YEAR = 2026
_CLOCK_TOLERANCE = 60.0

#: What a power cut, or less, can do to images that were acknowledged; and what to do about it.
_UNSAFE = {
    Keeping.NOTHING: (
        "a power cut can lose acknowledged images",
        "use xfs, btrfs, or ext4 as it is made by default (`tune2fs -O has_journal` on a disk that is not mounted)",
    ),
    Keeping.MEMORY: ("a power cut empties it", "set HOZI_HOME to a disk"),
    Keeping.LAYER: ("what is in it goes with the container", "mount a disk there"),
    Keeping.SERVER: (
        "what is acknowledged is as safe as that machine keeps it",
        "let it flush before it answers (NFS: export with `sync`), on a file system with a journal",
    ),
    Keeping.UNKNOWN: ("a power cut may lose acknowledged images", "make sure that it keeps a journal, or use xfs"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw, and what to do about it. Only `fail` stands in the way."""

    state: State
    about: str
    found: str
    advice: str = ""


def variables(settings: Settings) -> Iterator[Finding]:
    """No variable of the environment is a setting that was mistyped."""
    from hozi.settings import unknown_variables

    for name, advice in unknown_variables().items():
        yield Finding("warn", "settings", f"{name} is no setting", advice)


def home(settings: Settings) -> Iterator[Finding]:
    """The home folder can be written to, by nobody else, and lies on a disk that keeps it."""
    folder = settings.home.absolute()
    if not folder.exists():
        nearest = _nearest(folder)
        if os.access(nearest, os.W_OK | os.X_OK):
            yield Finding("ok", "home", f"{folder} does not exist yet; `hozi serve` makes it")
        else:
            yield Finding("fail", "home", f"{folder} does not exist", f"allow writing in {nearest}, or set HOZI_HOME")
    elif not folder.is_dir():
        yield Finding("fail", "home", f"{folder} is not a folder", "set HOZI_HOME to a folder")
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            "fail", "home", f"{folder} cannot be written to", f"chown it to the account that runs Hozi: {_me()}"
        )
    else:
        yield Finding("ok", "home", f"{folder} can be written to")
        yield from _permissions(folder)
    yield from _file_systems(settings)


def _permissions(folder: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & stat.S_IRWXO:
        yield Finding("fail", "permissions", f"every account can enter {folder} ({mode:04o})", f"chmod 700 {folder}")
    elif mode & stat.S_IWGRP:
        yield Finding("warn", "permissions", f"a group can write in {folder} ({mode:04o})", f"chmod 700 {folder}")
    else:
        yield Finding("ok", "permissions", f"{folder} is closed to other accounts ({mode:04o})")


def _file_systems(settings: Settings) -> Iterator[Finding]:
    for what, folder in _folders(settings):
        found = file_system.under(folder)
        told = f"the {what} {'are' if what.endswith('s') else 'is'} on {found}"
        sqlite = what == "home" and settings.database()["ENGINE"].endswith("sqlite3")
        if found.keeping is Keeping.SERVER and sqlite:
            yield Finding(
                "fail",
                "disk",
                f"the database would lie on {found}, where SQLite can be corrupted",
                "set HOZI_HOME to a local disk and HOZI_STORAGE_URL to the network folder, or use PostgreSQL",
            )
        elif found.keeping in _UNSAFE:
            danger, advice = _UNSAFE[found.keeping]
            yield Finding("warn", "disk", f"{told}: {danger}", advice)
        else:
            yield Finding("ok", "disk", told)


def room(settings: Settings) -> Iterator[Finding]:
    """There is room for images, on the disk of each folder."""
    for what, folder in _folders(settings):
        usage = shutil.disk_usage(_nearest(folder))
        found = f"{_size(usage.free)} of {_size(usage.total)} are free for the {what}"
        if usage.free < settings.min_free_bytes:
            advice = f"make room: below {_size(settings.min_free_bytes)} (HOZI_MIN_FREE_BYTES) nothing is stored"
            yield Finding("fail", "room", found, advice)
        elif usage.free < max(2 * settings.min_free_bytes, usage.total // 20):
            yield Finding("warn", "room", found, "make room soon, or add a disk")
        else:
            yield Finding("ok", "room", found)


def flushes(settings: Settings) -> Iterator[Finding]:
    """How many images a second the disk can keep for one device: each waits for its own flush and for a commit's."""
    seconds = seconds_to_keep(_nearest(settings.storage.absolute()), IMAGE_BYTES)
    found = "this disk can keep"
    if settings.database()["ENGINE"].endswith("sqlite3"):
        seconds += seconds_to_keep(_nearest(settings.home.absolute()), _COMMIT_BYTES)
    else:
        found = "beside what the database's own disk takes, this disk can keep"
    rate = 1 / seconds
    found = f"{found} about {rate:,.0f} images a second from one device (CT slices of 512 KiB)"
    if rate < SLOW_DISK:
        advice = "an image cannot be answered before it is kept: an SSD makes this ten times faster and more"
        yield Finding("warn", "flushes", found, advice)
    else:
        yield Finding("ok", "flushes", found)


def seconds_to_keep(folder: Path, size: int, seconds: float = 0.5) -> float:
    """Measures how long the disk of that folder takes to write and flush a new file (median). Leaves nothing behind."""
    flush = getattr(os, "fdatasync", os.fsync)
    times: list[float] = []
    block, begun = os.urandom(size), time.monotonic()
    while not times or time.monotonic() - begun < seconds:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            start = time.perf_counter()
            file.write(block)
            flush(file.fileno())
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def clock(settings: Settings) -> Iterator[Finding]:
    """The clock is not in the past (a dead battery after a power cut), and something keeps it right."""
    now = time.time()
    year = datetime.fromtimestamp(now, UTC).year
    newest = _newest(settings.home)
    shown = f"{datetime.now().astimezone():%d %b %Y %H:%M %Z}"
    if year < _FIRST_RELEASE_YEAR or newest - now > _CLOCK_TOLERANCE:
        seen = "" if year < _FIRST_RELEASE_YEAR else ", but files in the home folder are newer than that"
        yield Finding(
            "fail", "clock", f"it says {shown}{seen}", "set date and time, and switch time synchronisation on"
        )
    else:
        yield Finding("ok", "clock", f"it says {shown}")
    yield from _synchronised()


def _synchronised() -> Iterator[Finding]:
    program = shutil.which("timedatectl")
    answer = ""
    if program:
        asked = [program, "show", "--property=NTPSynchronized", "--value"]
        try:
            answer = subprocess.run(asked, capture_output=True, text=True, timeout=5).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            pass
    if answer == "yes":
        yield Finding("ok", "time source", "the clock is synchronised")
    elif answer == "no":
        advice = "timedatectl set-ntp true; audit and images carry this clock's time"
        yield Finding("warn", "time source", "the clock is not synchronised", advice)
    else:
        advice = "make sure that something keeps it right (chrony, systemd-timesyncd)"
        yield Finding("warn", "time source", "cannot tell whether the clock is synchronised", advice)


def clock_ran_evenly(wall: float, monotonic: float) -> Iterator[Finding]:
    """Whether the clock jumped since those two readings of it."""
    jumped = (time.time() - wall) - (time.monotonic() - monotonic)
    if abs(jumped) > 0.5:
        advice = "two things may be setting it (the virtual machine's host and a time service): keep one"
        yield Finding("warn", "clock", f"it jumped by {jumped:+.1f} s while it was looked at", advice)


def database(settings: Settings) -> Iterator[Finding]:
    """The database answers, is recent enough, and has the tables of this version."""
    from django.db import DatabaseError, connection

    path = Path(str(connection.settings_dict["NAME"]))
    if connection.vendor == "sqlite":
        yield from _sqlite_version()
        if not path.exists():
            yield Finding("ok", "database", "there is none yet; `hozi serve` makes it")
            return
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        yield Finding("fail", "database", f"it does not answer: {reason}", "start it, and check HOZI_DATABASE_URL")
        return
    if connection.vendor == "postgresql":
        yield from _postgresql()
    yield from _tables()


def _sqlite_version() -> Iterator[Finding]:
    # The library that Django uses: `hozi.settings` has put pysqlite3 in its place.
    import sqlite3

    version = sqlite3.sqlite_version_info
    shown = ".".join(map(str, version))
    if version < LEAST_SQLITE:
        advice = "set Hozi up again (make run): earlier ones can corrupt a database; its own comes with pysqlite3"
        yield Finding("fail", "SQLite", f"version {shown}", advice)
    else:
        yield Finding("ok", "SQLite", f"version {shown}")


def _postgresql() -> Iterator[Finding]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())")
        version, now = cursor.fetchone()
    if int(str(version).split(".")[0]) < LEAST_POSTGRESQL:
        yield Finding("fail", "PostgreSQL", f"version {version}", f"Hozi needs {LEAST_POSTGRESQL} or later")
    else:
        yield Finding("ok", "PostgreSQL", f"version {version}")
    if abs(float(now) - time.time()) > _CLOCK_TOLERANCE:
        found = f"the database's clock differs by {float(now) - time.time():+.0f} s"
        yield Finding("warn", "clock", found, "synchronise the clocks of both machines")


def _tables() -> Iterator[Finding]:
    state = schema()
    if state.unknown:
        advice = f"use the version that wrote it (it has {state.unknown[-1]})"
        yield Finding("fail", "database", "it was written by a newer version of Hozi", advice)
    elif state.pending:
        found = f"{len(state.pending)} changes of its tables are due"
        yield Finding("warn", "database", found, "`hozi serve` makes them when it starts")
    else:
        yield Finding("ok", "database", "it answers, and its tables are up to date")


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield "home", settings.home.absolute()
    if settings.storage != settings.home:
        yield "images", settings.storage.absolute()


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _newest(folder: Path) -> float:
    """When the youngest file directly in the folder was written (seconds since 1970); 0 when there is none."""
    if not folder.is_dir():
        return 0.0
    return max((entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(folder)), default=0.0)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _me() -> str:
    return str(psutil.Process().username())
