"""`make bench` runs, and says truly what reaches: the real program in its short form, whose figures mean nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from bench.archives import postgresql_plugin
from bench.ground import Missing
from bench.rows import ROWS
from hozi.core.storage import file_system
from hozi.core.storage.file_system import Keeping
from hozi.doors.console.ohif import taken
from tests.guards.rules import ROOT
from tests.peers import PEERS

pytestmark = pytest.mark.timeout(300)


def bench(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the short form; what the tests' own process has in its environment does not reach it."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("HOZI_", "DJANGO_"))}
    command = [sys.executable, "-m", "bench", "--short", "--folder", str(folder), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=given, text=True, **pipes) as process:
        try:
            told, complaints = process.communicate(timeout=280)
        except BaseException:
            process.terminate()  # so that it stops the servers that it has started
            raise
    return subprocess.CompletedProcess(command, process.returncode, told, complaints)


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder on a disk, as the benchmark demands, that PostgreSQL gets through, which is never root."""
    folder = Path(tempfile.mkdtemp(prefix="hozi-tests-", dir="/var/tmp"))
    folder.chmod(0o711)
    try:
        if file_system.under(folder).keeping is Keeping.MEMORY:
            pytest.skip("not meant for machines whose /var/tmp is in memory")
        yield folder
    finally:
        shutil.rmtree(folder)


MISSES = "store-dcmqrscp"
GROUPS = {
    "storing": ("store-shipped", "store", "store-4"),
    "fetching, memory": ("get", "move", "memory"),
    "a full archive": ("find-million", "store-million", "browse-million"),
    "storing on PostgreSQL": ("store-postgresql", "store-4-postgresql"),
    "a full archive on PostgreSQL": (
        "find-million-postgresql",
        "store-million-postgresql",
        "browse-million-postgresql",
    ),
    "the audit": ("audit", "audit-postgresql"),
    "other images": ("store-cr", "store-us"),
    "DICOMweb": ("web-qido", "web-frame", "web-metadata", "web-series", "web-frames", "web-stow", "web-rendered"),
    "DICOMweb's limits": ("web-qido-million", "web-memory"),
    "the first image": ("web-first-image",),
}
"""All rows but `MISSES`; those that share something (a server, a full archive) run together."""


def reached_by_any_figure(rows: Iterable[str]) -> list[str]:
    """Options that demand so little of each line that it reaches if only its row does the whole work, durably."""
    lines = [demand for row in rows for demand in ROWS[row].demands]
    return [word for line in lines for word in ("--demand", f"{line.name}={0 if line.more_is_better else 1e9:g}")]


def test_no_row_is_left_out() -> None:
    assert sorted([MISSES, *(row for rows in GROUPS.values() for row in rows)]) == sorted(ROWS)


@pytest.mark.dcmtk
@pytest.mark.orthanc
@pytest.mark.postgresql
@pytest.mark.parametrize("rows", GROUPS.values(), ids=GROUPS.keys())
def test_every_row_runs_and_leaves_nothing_running(rows: tuple[str, ...], on_disk: Path) -> None:
    if "web-first-image" in rows:
        if PEERS["chromium"].missing():
            pytest.skip(f"left out without {PEERS['chromium'].name}")
        if taken() is None:
            pytest.skip("OHIF was not set up here; `make install` fetches it")
    if "store-postgresql" in rows:
        try:
            postgresql_plugin()
        except Missing as missing:
            pytest.skip(str(missing))
    done = bench("--rows", ",".join(rows), *reached_by_any_figure(rows), folder=on_disk)
    count = sum(len(ROWS[row].demands) for row in rows)
    assert done.stdout.splitlines()[-1] == f"{count} of {count} rows reach", done.stdout + done.stderr
    assert done.returncode == 0
    assert list(on_disk.iterdir()) == [], "something was left behind"
    assert not [process for process in psutil.process_iter(["environ"]) if str(on_disk) in _home(process)]


@pytest.mark.dcmtk
def test_a_row_that_misses_makes_the_run_fail_and_the_report_is_kept(on_disk: Path) -> None:
    results, work = on_disk / "results", on_disk / "work"
    work.mkdir()
    done = bench("--rows", MISSES, "--demand", f"{MISSES}=1e9", "--results", results, folder=work)
    assert done.stdout.splitlines()[-1] == "0 of 1 rows reach", done.stderr
    assert done.returncode == 1
    [file] = results.glob("*.json")
    report = json.loads(file.read_text())
    [line] = report["rows"]
    assert line["reached"] is False
    assert line["ours"] > 0 and line["peer"] > 0 and line["ratio"] == pytest.approx(line["ours"] / line["peer"])
    assert 0 <= line["load"] <= os.cpu_count()
    assert "synchronous FULL" in report["conditions"]["Hozi's durability, SQLite"]
    assert report["conditions"]["its journal"] == file_system.under(on_disk).keeping.value
    text = file.with_suffix(".md").read_text() + file.read_text()
    assert str(on_disk) not in text and os.uname().nodename not in text


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
