"""A database with all its tables: made once in each process that runs tests, and copied from then on.

Programs that tests start would else each spend more than a second on making the same tables.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from tests.guards.rules import ROOT

_MIGRATE = """
import django
django.setup()
from django.core.management import call_command

call_command("migrate", verbosity=0)
"""


def _migrated(home: Path, **settings: str) -> None:
    facts = {"DJANGO_SETTINGS_MODULE": "hozi.settings", "HOZI_HOME": str(home), **settings}
    subprocess.run(
        [sys.executable, "-c", _MIGRATE],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **facts},
        check=True,
        timeout=120,
    )


@cache
def _home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="hozi-prepared-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


@cache
def _file() -> Path:
    _migrated(_home())
    return _home() / "hozi.sqlite3"


def put(target: Path, home: Path) -> None:
    """Puts such a SQLite database at ``target``, for programs with that home folder."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(_file(), target)
    target.chmod(0o600)
    put_key(home)


def put_key(home: Path) -> None:
    """Puts the key there with which the database's audit is marked."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copytree(_home() / "keys", home / "keys")


@cache
def template(server: str) -> str:
    """The name of such a database on a PostgreSQL server, to be given to ``CREATE DATABASE ... TEMPLATE``.

    It stays until the server goes, which `tests.postgresql` ends after the run.
    """
    import psycopg

    name = f"prepared_{secrets.token_hex(8)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    _migrated(_home(), HOZI_DATABASE_URL=urlsplit(server)._replace(path=f"/{name}").geturl())
    return name
