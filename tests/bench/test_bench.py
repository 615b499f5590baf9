"""`make bench` runs, and says truly what reaches: the real program in its short form, whose figures mean nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hozi.core.storage import file_system
from hozi.core.storage.file_system import Keeping
from tests.guards.rules import ROOT


def bench(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the short form; what the tests' own process has in its environment does not reach it."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("HOZI_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "-m", "bench", "--short", "--folder", str(folder), *map(str, arguments)],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    """A folder that is not in memory, as the benchmark demands."""
    if file_system.under(tmp_path).keeping is Keeping.MEMORY:
        pytest.skip("not meant for temporary folders in memory")
    return tmp_path


@pytest.mark.dcmtk
@pytest.mark.orthanc
def test_a_row_that_misses_makes_the_run_fail_and_the_last_line_counts(on_disk: Path) -> None:
    results, work = on_disk / "results", on_disk / "work"
    work.mkdir()
    done = bench("--rows", "store", "--demand", "store=1e9", "--results", results, folder=work)
    assert done.stdout.splitlines()[-1] == "0 of 1 rows reach", done.stderr
    assert done.returncode == 1
    [file] = results.glob("*.json")
    report = json.loads(file.read_text())
    [row] = report["rows"]
    assert row["reached"] is False
    assert row["ours"] > 0 and row["peer"] > 0 and row["ratio"] == pytest.approx(row["ours"] / row["peer"])
    assert "synchronous FULL" in report["conditions"]["Hozi's durability, SQLite"]
    text = file.with_suffix(".md").read_text() + file.read_text()
    assert str(on_disk) not in text and os.uname().nodename not in text
    assert list(work.iterdir()) == [], "something was left behind"


@pytest.mark.dcmtk
@pytest.mark.parametrize(
    ("row", "lines"),
    [
        ("find-million", ("find-million-patient-id", "find-million-date-range", "find-million-name-prefix")),
        ("memory", ("memory",)),
    ],
)
def test_the_run_succeeds_when_all_reach_and_leaves_nothing_running(
    row: str, lines: tuple[str, ...], on_disk: Path
) -> None:
    demands = (word for line in lines for word in ("--demand", f"{line}=1e9"))  # milliseconds, MB: always reached
    done = bench("--rows", row, *demands, folder=on_disk)
    assert done.stdout.splitlines()[-1] == f"{len(lines)} of {len(lines)} rows reach", done.stderr
    assert done.returncode == 0
    assert not [process for process in psutil.process_iter(["environ"]) if str(on_disk) in _home(process)]


def _home(process: psutil.Process) -> str:
    return str((process.info["environ"] or {}).get("HOZI_HOME", ""))


def test_it_says_which_rows_there_are(tmp_path: Path) -> None:
    done = bench("--rows", "storr", folder=tmp_path)
    assert done.returncode == 2
    assert "there is no row storr" in done.stderr and "store-4-postgresql" in done.stderr


def test_it_refuses_to_measure_in_memory() -> None:
    memory = Path("/dev/shm")
    if file_system.under(memory).keeping is not Keeping.MEMORY:
        pytest.skip("not meant for systems without /dev/shm")
    done = bench(folder=memory)
    assert done.returncode == 2
    assert "in memory" in done.stderr
