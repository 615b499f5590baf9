"""The ground that tests stand on: a home folder and a database for each worker, and what to do without a peer.

`HOZI_TEST_DATABASE_URL` names a PostgreSQL server to run on; without it, tests run on SQLite.
`HOZI_TEST_ALL=1` turns every test that was left out into a failure of the run.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import hypothesis
import pytest

from tests import prepared
from tests.peers import PEERS

# Loaded after this file, when Django is set up.
pytest_plugins = ["tests.archive_running"]

# Before anything loads the settings: every process that runs tests (pytest-xdist starts several) has a home of
# its own, and nothing that is set in the caller's environment reaches the tests.
HOME = Path(tempfile.mkdtemp(prefix="hozi-tests-"))
DATABASE_URL = os.environ.get("HOZI_TEST_DATABASE_URL", "")
for _name in [name for name in os.environ if name.startswith("HOZI_")]:
    if not _name.startswith("HOZI_TEST_") and _name != "HOZI_CORPUS":
        del os.environ[_name]
os.environ["HOZI_HOME"] = str(HOME)
if DATABASE_URL:
    os.environ["HOZI_DATABASE_URL"] = DATABASE_URL
os.environ["DJANGO_SETTINGS_MODULE"] = "hozi.settings"

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from hozi.doors.cli.tongues import compiled  # noqa: E402

django.setup()
# Pages in other languages do not depend on whether somebody has run `hozi assets` since the last change.
compiled(Path(settings.LOCALE_PATHS[0]))
# Not left in the environment: a worker process that inherited it would load the settings before it reads this file.
del os.environ["DJANGO_SETTINGS_MODULE"]
if not DATABASE_URL:
    # Not SQLite's database in memory, which Django takes for tests: threads and processes share this one, and it
    # is to behave as it does in hospitals (WAL, locks).
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = str(HOME / "test.sqlite3")

# How long one example takes says how busy the machine is, and nothing of what is promised.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")

MISSING = {marker: peer for marker, peer in PEERS.items() if peer.missing()}
LEFT_OUT = "left out without "
NOT_MEANT = "not meant for "
TOUCHES_THE_INDEX = {"db", "transactional_db", "django_db_setup", "own_database", "empty_database", "archive"}
OWN = "own.sqlite3"


def _nothing_left_out() -> bool:
    return os.environ.get("HOZI_TEST_ALL", "") not in ("", "0")


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what touches the index (it runs on PostgreSQL too), and skips what needs a missing peer."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("django_db") or fixtures & TOUCHES_THE_INDEX:
            item.add_marker(pytest.mark.database)
            # Tests with real transactions empty all tables; the rows that migrations made come back for the next.
            # The marker says so too: pytest-django keeps these rows only where it, or an unmarked test, asks for them.
            if marker := item.get_closest_marker("django_db"):
                more = {**marker.kwargs, "serialized_rollback": True}
                item.add_marker(pytest.mark.django_db(*marker.args, **more), append=False)
            getattr(item, "fixturenames", []).insert(0, "django_db_serialized_rollback")
            marker = item.get_closest_marker("django_db")
            if marker is not None and marker.kwargs.get("transaction"):
                # What pytest-django looks at when it decides whether to keep those rows at all.
                marker.kwargs["serialized_rollback"] = True
        for name, peer in MISSING.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=LEFT_OUT + peer.name))


def _skip_reasons(config: pytest.Config) -> Counter[str]:
    """Why tests were skipped, how often; skips that are meant (`NOT_MEANT`) do not count."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    reasons: Counter[str] = Counter()
    for report in terminal.stats.get("skipped", []) if terminal else []:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(NOT_MEANT):
            reasons[reason] += 1
    return reasons


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _nothing_left_out() and _skip_reasons(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says what was left out, and how to get what it needs."""
    reasons = _skip_reasons(config)
    if not reasons:
        return
    terminalreporter.section("Left out", yellow=not _nothing_left_out(), red=_nothing_left_out())
    for peer in PEERS.values():
        count = reasons.pop(LEFT_OUT + peer.name, 0)
        if count:
            terminalreporter.line(f"{_tests(count)} for want of {peer.name}; `apt install {peer.package}` brings it")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{_tests(count)}: {reason}")
    if _nothing_left_out():
        terminalreporter.line("HOZI_TEST_ALL=1: nothing may be left out, so this run has failed.")


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"


@pytest.fixture
def empty_database(tmp_path: Path) -> Iterator[str]:
    """URL of an empty database for this test alone: for programs that the test starts (`HOZI_DATABASE_URL`)."""
    with _database(tmp_path, "") as url:
        yield url


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[str]:
    """The same, but with all its tables, as a program makes them when it starts: its home is ``tmp_path / "home"``."""
    home = tmp_path / "home"
    if DATABASE_URL:
        with _database(tmp_path, f'TEMPLATE "{prepared.template(DATABASE_URL)}"') as url:
            prepared.put_key(home)
            yield url
        return
    with _database(tmp_path, "") as url:
        prepared.put(tmp_path / OWN, home)
        yield url


@contextmanager
def _database(folder: Path, like: str) -> Iterator[str]:
    if not DATABASE_URL:
        yield f"sqlite:///{folder / OWN}"
        return
    import psycopg

    name = f"own_{secrets.token_hex(8)}"
    with psycopg.connect(DATABASE_URL, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" {like}')
        try:
            yield urlsplit(DATABASE_URL)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
