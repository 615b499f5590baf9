"""The state of this system in a few findings, for About, Home and whoever supports it. No patient data.

Cheap enough for every look at Home; `hozi doctor` looks closer, on the machine itself.
"""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

import django
import psutil
from django.db import DatabaseError, connection
from django.utils import timezone
from django.utils.translation import gettext as _

import hozi
from hozi.choices import environment
from hozi.jobs import regular
from hozi.settings import HOZI, Settings

State = Literal["ok", "warn", "bad", "off"]

PARTS: Final = ("dimse", "web", "worker")
LATE: Final = timedelta(minutes=15)
"""Regular work that is due for so long is not done by anybody."""

GONE: Final = timedelta(days=7)
"""Regular work that is due for so long, while other work is done, is no longer any."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it stands in words, and what to do about it."""

    state: State
    about: str
    found: str
    advice: str = ""


def findings(settings: Settings = HOZI) -> list[Finding]:
    """Everything that is looked at, in a fixed order."""
    found = [_database()]
    if found[0].state == "ok":
        found.extend(_regular_work())
    return [*found, *_room(settings), *_parts(settings)]


def versions() -> list[tuple[str, str]]:
    """What runs here, by name and version: the first thing that a support person asks."""
    return [
        ("Hozi", hozi.__version__),
        ("Python", platform.python_version()),
        ("Django", django.get_version()),
        (_database_name(), _database_version()),
        (_("Operating system"), f"{platform.system()} {platform.release()} ({platform.machine()})"),
    ]


def report(settings: Settings = HOZI, *, with_settings: bool) -> str:
    """All of it as text to be copied into a message to whoever helps: no patients, no names, no secrets."""
    lines = [f"{name}: {version}" for name, version in versions()]
    lines += [f"[{entry.state}] {entry.about}: {entry.found}" for entry in findings(settings)]
    if with_settings:
        lines += [f"{row.variable}={row.value}" for row in environment.shown(settings) if row.source == "environment"]
    return "\n".join([*lines, f"{timezone.now():%Y-%m-%d %H:%M} UTC"])


def _database() -> Finding:
    about = _("Database")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return Finding("bad", about, _("does not answer"), _("Start it, and check HOZI_DATABASE_URL."))
    return Finding("ok", about, _("answers (%(name)s)") % {"name": _database_name()})


def _database_name() -> str:
    return "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"


def _database_version() -> str:
    try:
        return ".".join(str(part) for part in connection.get_database_version())
    except DatabaseError:
        return _("does not answer")


def _regular_work() -> list[Finding]:
    """Whether anybody does what must be done again and again."""
    about = _("Regular work")
    now = timezone.now()
    pieces = regular.standing()
    if any(piece.due_at > now - LATE for piece in pieces):
        # Somebody works; what nobody has done for so long was work of an earlier version.
        pieces = [piece for piece in pieces if piece.due_at > now - GONE]
    late = [piece for piece in pieces if piece.due_at < now - LATE]
    failed = [piece for piece in pieces if piece.last_error]
    if not pieces:
        return [Finding("off", about, _("has never been done: the worker has not run yet"))]
    if late:
        found = _("%(count)d of %(all)d pieces are not done, %(name)s among them")
        told = found % {"count": len(late), "all": len(pieces), "name": late[0].name}
        return [Finding("bad", about, told, _("Start the worker: `hozi serve`."))]
    if failed:
        told = _("%(name)s went wrong last time") % {"name": failed[0].name}
        return [Finding("warn", about, told, _("The log says why; it is tried again."))]
    return [Finding("ok", about, _("all %(count)d pieces are on time") % {"count": len(pieces)})]


def _room(settings: Settings) -> list[Finding]:
    """Room on the disks of the images and of the home folder."""
    found = []
    for folder in dict.fromkeys((settings.home.absolute(), settings.storage.absolute())):
        usage = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists()))
        numbers = {"free": _gigabytes(usage.free), "total": _gigabytes(usage.total), "folder": folder}
        told = _("%(free)s of %(total)s GB free for %(folder)s") % numbers
        about = _("Disk")
        if usage.free < settings.min_free_bytes:
            found.append(Finding("bad", about, told, _("Make room: images are refused.")))
        elif usage.free < max(2 * settings.min_free_bytes, usage.total // 20):
            found.append(Finding("warn", about, told, _("Make room soon, or add a disk.")))
        else:
            found.append(Finding("ok", about, told))
    return found


def _parts(settings: Settings) -> list[Finding]:
    """What of Hozi runs on this machine. A supervisor that runs without one of its parts is trying to start it."""
    run = settings.home / "run"
    names = {"dimse": _("DICOM listener"), "web": _("Web server"), "worker": _("Worker")}
    supervised = _alive(_number(run / "serve.lock"))
    found = []
    for part in PARTS:
        pid = _pid(run / f"{part}.json")
        if _alive(pid):
            found.append(Finding("ok", names[part], _("runs (process %(pid)d)") % {"pid": pid}))
        elif supervised:
            found.append(Finding("bad", names[part], _("does not run"), _("The log of `hozi serve` says why.")))
        else:
            found.append(Finding("off", names[part], _("does not run on this machine")))
    return found


def _pid(file: Path) -> int:
    try:
        return int(json.loads(file.read_text()).get("pid", 0))
    except (OSError, ValueError, AttributeError, TypeError):
        return 0


def _number(file: Path) -> int:
    try:
        return int(file.read_text().strip() or 0)
    except (OSError, ValueError):
        return 0


def _alive(pid: int) -> bool:
    return pid > 0 and psutil.pid_exists(pid)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f}"
