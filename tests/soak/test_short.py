"""The short form of `make soak`: it runs, it watches, and it notices what grows."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.guards.rules import ROOT
from tests.soak.watch import MEBIBYTE, Limits, Sample, growth, slope

SECONDS = 25


@pytest.mark.timeout(240)
def test_a_short_day_of_a_hospital_is_flat() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--seconds", str(SECONDS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=220,
    )
    last = done.stdout.splitlines()[-1] if done.stdout else done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert last.startswith(f"{SECONDS} s, 20 associations: ")
    assert last.endswith(": flat")


def samples(**grows: float) -> list[Sample]:
    """A hundred samples, one a second; what is named grows by so much a second, with some noise."""
    start = {"memory": 300 * MEBIBYTE, "threads": 30, "handles": 60, "database": 10**6, "wal": 4 * MEBIBYTE}
    return [
        Sample(
            seconds=float(at),
            images=10 * at,
            **{name: int(value + at * grows.get(name, 0) + at % 3) for name, value in start.items()},
        )
        for at in range(100)
    ]


LIMITS = Limits(memory=24 * MEBIBYTE)


def test_what_is_flat_is_called_flat() -> None:
    assert growth(samples(database=30_000)).complaints(LIMITS) == []


@pytest.mark.parametrize(
    ("name", "each_second", "word"),
    [
        ("memory", MEBIBYTE, "memory"),
        ("threads", 1, "threads"),
        ("handles", 1, "file handles"),
        ("wal", MEBIBYTE, "write-ahead log"),
        ("database", 1_000_000, "database"),
    ],
)
def test_what_grows_is_named(name: str, each_second: float, word: str) -> None:
    [complaint] = growth(samples(**{name: each_second})).complaints(LIMITS)
    assert word in complaint


def test_growth_in_the_first_half_is_no_growth() -> None:
    warming = [
        Sample(at, 100 * MEBIBYTE + min(at, 40) * MEBIBYTE, min(at, 40), min(at, 40), 0, 0, at) for at in range(100)
    ]
    assert growth(warming).complaints(LIMITS) == []


def test_the_straight_line_is_the_one_that_fits_best() -> None:
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == 2
    assert slope([0, 1, 2, 3], [1, 0, 0, 1]) == 0
    assert slope([1, 1], [3, 4]) == 0
