"""`python -m bench`, which `make bench` runs: measures the rows, prints and keeps the report."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench import conditions, report
from bench.ground import FULL, ROOT, SHORT, Broken, Ground, Missing, prepared
from bench.report import Demand, Line
from bench.rows import ROWS, Row
from hozi.core.storage import file_system
from hozi.core.storage.file_system import Keeping

RESULTS: Final = ROOT / "bench" / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns 0 when every judged row reaches, 1 when one does not, 2 when it cannot run."""
    signal.signal(signal.SIGTERM, _stop)
    options = _options(arguments)
    sizes = SHORT if options.short else FULL
    if options.runs:
        sizes = dataclasses.replace(sizes, runs=options.runs)
    if complaint := _unfit(options.folder, sizes.disk_bytes):
        print(complaint, file=sys.stderr)
        return 2
    form = "short" if options.short else "full"
    results = options.results or (None if options.short else RESULTS)
    earlier = report.kept(results) if results else []
    with prepared(options.folder, sizes, options.seed) as ground:
        facts = conditions.before(ground, form)
        if options.demand:
            facts["demanded otherwise"] = ", ".join(f"{name} {figure:g}" for name, figure in options.demand.items())
        lines = [line for row in options.rows for line in _lines(row, ground, options.demand)]
        facts |= conditions.after(ground)
    _tell(lines, facts, report.compare(lines, earlier, facts), results)
    return 0 if report.all_reach(lines) else 1


def _lines(row: Row, ground: Ground, demanded: dict[str, float]) -> Iterator[Line]:
    """Measures one row. What goes wrong in it does not end the others."""
    demands = [_demanded(demand, demanded) for demand in row.demands]
    print(f"{row.name} ...", file=sys.stderr, flush=True)
    load = conditions.load(ground.sizes.look_seconds)
    try:
        lines = [Line(demand, found, load=load) for demand, found in zip(demands, row.measure(ground), strict=True)]
    except (Missing, Broken) as error:
        lines = [Line(demand, failure=str(error), load=load) for demand in demands]
    except Exception as error:  # noqa: BLE001 - the other rows can be measured
        traceback.print_exc()
        lines = [Line(demand, failure=f"failed: {type(error).__name__}", load=load) for demand in demands]
    for line in lines:
        print("  " + "  ".join(report.cells(line)), file=sys.stderr, flush=True)
    yield from lines


def _demanded(demand: Demand, demanded: dict[str, float]) -> Demand:
    return dataclasses.replace(demand, least=demanded[demand.name]) if demand.name in demanded else demand


def _tell(lines: list[Line], facts: dict[str, object], comparison: list[str], results: Path | None) -> None:
    now = time.localtime()
    when, commit = time.strftime("%Y-%m-%d %H:%M", now), conditions.commit()
    print(report.table(lines))
    if told := report.warning(lines):
        print(told)
    print()
    for name, value in facts.items():
        print(f"{name}: {value}")
    print()
    print("Beside what was kept before:")
    for text in comparison:
        print(f"  {text}")
    if results is not None:
        name = f"{time.strftime('%Y-%m-%d-%H%M%S', now)}-{commit}"
        markdown = report.as_markdown(lines, facts, when, commit, comparison)
        report.keep(results, name, report.as_json(lines, facts, when, commit), markdown)
    print()
    print(report.summary(lines))


def _unfit(folder: Path, wanted: int) -> str:
    """Why this folder cannot be measured on; empty when it can."""
    if not folder.is_dir():
        return "There is no such folder; --folder names one on the disk that is to be measured"
    if file_system.under(folder).keeping is Keeping.MEMORY:
        return "The folder lies in memory, where durability costs nothing; --folder names one on a disk"
    free = shutil.disk_usage(folder).free
    if free < wanted:
        return f"{wanted >> 30} GiB must be free on the disk, and there are {free >> 30}; --folder names another place"
    return ""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Hozi beside its peers, on this machine.")
    parser.add_argument("--rows", type=_rows, default=list(ROWS.values()), help="some rows only, with commas between")
    parser.add_argument("--runs", type=int, default=0, help="pairs of runs that count, for each row")
    parser.add_argument("--short", action="store_true", help="only show that it runs; the figures mean nothing")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where to work, on a disk")
    parser.add_argument("--results", type=Path, help="where to keep the report (short: nowhere unless it is said)")
    parser.add_argument("--seed", type=int, default=1, help="what the images and questions follow from")
    parser.add_argument(
        "--demand",
        type=_demand,
        action="append",
        default=[],
        metavar="LINE=NUMBER",
        help="demand something else",
    )
    options = parser.parse_args(arguments)
    if options.runs < 0:
        parser.error("--runs must be at least 1")
    options.demand = dict(options.demand)
    return options


def _rows(text: str) -> list[Row]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in ROWS]:
        raise argparse.ArgumentTypeError(f"there is no row {unknown[0]} (there are: {', '.join(ROWS)})")
    return [ROWS[name] for name in names]


def _demand(text: str) -> tuple[str, float]:
    name, _, figure = text.partition("=")
    if name not in {demand.name for row in ROWS.values() for demand in row.demands}:
        raise argparse.ArgumentTypeError(f"there is no line {name}")
    return name, float(figure)


def _stop(*_: object) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())
