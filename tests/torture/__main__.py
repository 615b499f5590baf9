"""`make torture`: stores, kills, starts again, and looks whether anything that was acknowledged is gone.

Exits 0 only when nothing is and every check holds. The last line says `N kills, N acknowledged, N lost`.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.torture import disk
from tests.torture.database import killable_postgresql
from tests.torture.rounds import Tally, torture

DATABASES = ("sqlite", "postgresql")
DISK = "disk"


def say(text: str) -> None:
    """One line of the report, at once."""
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="rounds on each database")
    parser.add_argument("--first", type=int, default=1, help="number of the first round, to repeat one")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000), help="repeats a run")
    parser.add_argument("--only", choices=(*DATABASES, DISK), action="append", help="one part of it (may be repeated)")
    parser.add_argument("--folder", type=Path, default=Path("var/torture"), help="where the home folders are made")
    chosen = parser.parse_args(arguments)
    parts = chosen.only or (*DATABASES, DISK)
    folder = (chosen.folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{chosen.seed}").absolute()
    numbers = range(chosen.first, chosen.first + chosen.rounds)
    say(f"seed {chosen.seed}, {chosen.rounds} rounds on each database; repeat with --seed {chosen.seed}")
    sum_of_all = Tally()
    if "sqlite" in parts:
        home = folder / "sqlite"
        sum_of_all.add(torture("sqlite", home, f"sqlite:///{home / 'hozi.sqlite3'}", chosen.seed, numbers, say))
    if "postgresql" in parts:
        with killable_postgresql() as server:
            home = folder / "postgresql"
            sum_of_all.add(torture("postgresql", home, server.create("hozi"), chosen.seed, numbers, say, server=server))
    if DISK in parts:
        sum_of_all.add(disk.all_ways(folder, chosen.seed, say))
    if sum_of_all.clean:
        folder.rmdir()
    else:
        say(f"{sum_of_all.faults} checks did not hold")
    say(sum_of_all.moments)
    say(str(sum_of_all))
    return 0 if sum_of_all.clean else 1


if __name__ == "__main__":
    sys.exit(main())
