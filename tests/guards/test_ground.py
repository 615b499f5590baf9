"""What the tests stand on: a missing peer is told, and fails the run where nothing may be left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from tests import conftest, peers
from tests.guards.rules import ROOT

WITHOUT_PEERS = """\
from tests import peers
peers._folders = lambda: iter(())
from tests.conftest import *
"""
TWO_TESTS = """\
import pytest

@pytest.mark.dcmtk
def test_it_needs_a_peer(): ...

@pytest.mark.skip(reason="{reason}")
def test_it_is_skipped(): ...

def test_it_needs_nothing(): ...
"""


def _run(
    folder: Path, everything: str, reason: str = "not meant for this database"
) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(WITHOUT_PEERS)
    (folder / "test_it.py").write_text(TWO_TESTS.format(reason=reason))
    options = ["-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-W", "ignore::pytest.PytestUnknownMarkWarning", str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOZI_TEST_ALL": everything},
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_it_says_what_was_left_out_and_how_to_get_it(tmp_path: Path) -> None:
    result = _run(tmp_path, "")
    assert result.returncode == 0, result.stdout
    assert "1 test for want of DCMTK; `apt install dcmtk` brings it" in result.stdout
    assert "not meant for" not in result.stdout


def test_a_missing_peer_fails_the_run_where_nothing_may_be_left_out(tmp_path: Path) -> None:
    result = _run(tmp_path, "1")
    assert result.returncode == 1
    assert "this run has failed" in result.stdout


def test_any_other_skip_is_told_too(tmp_path: Path) -> None:
    assert "1 test: no mood today" in _run(tmp_path, "", "no mood today").stdout


def test_each_worker_has_a_home_and_a_database_of_its_own(db: None) -> None:
    from hozi.settings import HOZI

    assert HOZI.home == conftest.HOME
    assert "hozi-tests-" in str(HOZI.home)
    if connection.vendor == "sqlite":
        assert Path(connection.settings_dict["NAME"]).parent == HOZI.home
        with connection.cursor() as cursor:
            assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_script_is_not_taken_for_a_program_of_dcmtk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("script", b"#!/bin/sh\n"), ("binary", b"\x7fELF")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "storescu").write_bytes(content)
        (tmp_path / name / "storescu").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / name) for name in ("script", "binary")))
    assert peers.find("storescu", compiled=True) == str(tmp_path / "binary" / "storescu")
    assert peers.find("storescu", compiled=False) == str(tmp_path / "script" / "storescu")
