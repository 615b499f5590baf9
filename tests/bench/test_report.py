"""What the benchmark says of its figures: medians of pairs, what reaches, what got slower."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench import report
from bench.report import Demand, Line, Measured

RATE = Demand("store", "storing", "a peer", "images/s", least=1.3, aim=2.5)
LATENCY = Demand("find", "asking", "itself", "ms", least=1.5, aim=1.0, more_is_better=False)
GROWTH = Demand("memory", "growing", "nothing", "MB", least=96, aim=48, more_is_better=False, absolute=True)
INFORMATIVE = Demand("store-cr", "storing", "a peer", "images/s")


def line(demand: Demand, ours: list[float], peer: list[float] | None = None) -> Line:
    return Line(demand, Measured(ours, peer or []))


def test_a_moment_that_slows_both_down_does_not_count() -> None:
    slow_moment = line(RATE, [200, 40, 210], [100, 20, 105])
    assert slow_moment.ratio == 2.0
    assert slow_moment.reached


def test_one_lucky_pair_does_not_make_a_row_reach() -> None:
    assert not line(RATE, [100, 100, 1000], [100, 100, 100]).reached


@pytest.mark.parametrize(
    ("judged", "reached"),
    [
        (line(RATE, [130], [100]), True),
        (line(RATE, [129.9], [100]), False),
        (line(LATENCY, [15], [10]), True),
        (line(LATENCY, [15.1], [10]), False),
        (line(GROWTH, [96.0]), True),
        (line(GROWTH, [10, 96.1, 10]), False),
        (line(RATE, [], []), False),
        (dataclasses.replace(line(RATE, [200], [100]), failure="Orthanc is not here"), False),
    ],
)
def test_a_row_reaches_what_is_demanded_and_not_less(judged: Line, reached: bool) -> None:
    assert judged.reached is reached
    assert report.all_reach([judged]) is reached
    assert report.summary([judged]) == f"{int(reached)} of 1 rows reach"


def test_a_row_of_which_nothing_is_demanded_does_not_count() -> None:
    lines = [line(RATE, [200], [100]), line(INFORMATIVE, [1], [100])]
    assert report.summary(lines) == "1 of 1 rows reach"
    assert report.all_reach(lines)


def test_a_ratio_is_never_rounded_to_what_was_not_reached() -> None:
    assert report.cells(line(RATE, [129.9], [100]))[4] == "1.29"
    assert report.cells(line(RATE, [130], [100]))[4] == "1.30"
    assert report.cells(line(LATENCY, [15.01], [10]))[4] == "1.51"


def test_the_table_says_why_a_row_has_no_figures() -> None:
    missing = Line(RATE, failure="Orthanc is not here: apt install orthanc")
    shown = report.table([line(GROWTH, [12.5]), missing])
    assert "apt install orthanc" in shown and "NO" in shown and "yes" in shown


def test_a_row_that_began_while_others_were_at_work_is_marked(tmp_path: Path) -> None:
    quiet = line(LATENCY, [10], [10])
    busy = dataclasses.replace(line(RATE, [200], [100]), load=1.4)
    assert busy.reached
    assert "1.40 BUSY" in report.table([quiet, busy])
    assert report.warning([quiet, busy]).endswith("measure them again: store")
    assert report.warning([quiet]) == ""
    assert "BUSY" not in report.table([quiet]) + report.as_markdown([quiet], {}, "now", "abc1234", [])
    kept(tmp_path, "2026-11-23-100000-b", "full", quiet, busy)
    [file] = tmp_path.glob("*.json")
    rows = json.loads(file.read_text())["rows"]
    assert [(row["load"], row["busy"]) for row in rows] == [(0, False), (1.4, True)]
    assert report.warning([busy]) in file.with_suffix(".md").read_text()
    slower = [line(RATE, [100], [100])]
    [said] = report.compare(slower, report.kept(tmp_path), {"form": "full"})
    assert said.endswith("(BUSY)")


def kept(folder: Path, name: str, form: str, *lines: Line) -> None:
    content = report.as_json(lines, {"form": form}, name, "abc1234")
    report.keep(folder, name, content, report.as_markdown(lines, {"form": form}, name, "abc1234", []))


def test_what_got_slower_than_the_newest_kept_result_is_named(tmp_path: Path) -> None:
    kept(tmp_path, "2026-11-22-100000-a", "full", line(RATE, [50], [100]), line(GROWTH, [10.0]))
    kept(tmp_path, "2026-11-23-100000-b", "full", line(RATE, [200], [100]), line(LATENCY, [10], [10]))
    kept(tmp_path, "2026-11-24-100000-c", "short", line(RATE, [1], [1]))
    now = [line(RATE, [150], [100]), line(LATENCY, [11], [10]), line(GROWTH, [20.0]), line(INFORMATIVE, [1], [1])]
    store, memory = report.compare(now, report.kept(tmp_path), {"form": "full"})
    assert store.startswith("store: 150 images/s, 200 on 2026-11-23-100000-b") and "25% SLOWER" in store
    assert "the peer: as before" in store
    assert memory.startswith("memory:") and "MORE" in memory


def test_a_slower_machine_shows_in_the_peer(tmp_path: Path) -> None:
    kept(tmp_path, "2026-11-23-100000-b", "full", line(RATE, [200], [100]))
    [said] = report.compare([line(RATE, [100], [50])], report.kept(tmp_path), {"form": "full"})
    assert "50% SLOWER (the peer: 50% SLOWER)" in said


def test_another_machine_is_nothing_to_compare_with(tmp_path: Path) -> None:
    kept(tmp_path, "2026-11-23-100000-b", "full", line(RATE, [200], [100]))
    [said] = report.compare([line(RATE, [100], [50])], report.kept(tmp_path), {"form": "full", "cores": 64})
    assert said.startswith("nothing changed")


def test_noise_is_not_reported(tmp_path: Path) -> None:
    kept(tmp_path, "2026-11-23-100000-b", "full", line(RATE, [200], [100]), line(LATENCY, [10], [10]))
    now = [line(RATE, [165], [100]), line(LATENCY, [12], [10])]
    [said] = report.compare(now, report.kept(tmp_path), {"form": "full"})
    assert said.startswith("nothing changed")


def test_a_report_is_kept_whole(tmp_path: Path) -> None:
    kept(tmp_path, "2026-11-23-100000-b", "full", line(RATE, [200, 210], [100, 100]))
    [file] = tmp_path.glob("*.json")
    [row] = json.loads(file.read_text())["rows"]
    assert row["runs"] == {"ours": [200, 210], "peer": [100, 100]}
    assert (row["at_least"], row["aim"], row["reached"]) == (1.3, 2.5, True)
    assert "| store | images/s |" in file.with_suffix(".md").read_text()
