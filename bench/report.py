"""What is demanded of each row, what was measured, and whether it reaches; told as a table, as Markdown and as JSON."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

NOISE: Final = 0.20
"""Differences below this are noise on a small machine that also runs the clients."""

BUSY: Final = 0.5
"""Cores that others may keep busy when a row begins. With more, its figures may be theirs, and the report says so."""

ALIKE: Final = ("form", "processor", "cores", "file system")
"""The conditions that two reports must share to be compared."""


@dataclass(frozen=True)
class Demand:
    """One line of the table: what is done, beside what, and what is demanded of it.

    ``least`` and ``aim`` are ratios ours ÷ peer, or with ``absolute`` our own figure; None: nothing is demanded.
    ``more_is_better`` says of the figures, and so of what is demanded, which way is good.
    """

    name: str
    work: str
    peer: str
    unit: str
    least: float | None = None
    aim: float | None = None
    more_is_better: bool = True
    absolute: bool = False

    @property
    def judged(self) -> bool:
        """Whether this line has to reach something."""
        return self.least is not None


@dataclass
class Measured:
    """The figures of the runs that count, in pairs: ours and the peer's (none where there is no peer)."""

    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Line:
    """A demand and what became of it: figures, or a ``failure`` in words.

    ``load``: cores that others kept busy when it began.
    """

    demand: Demand
    measured: Measured = field(default_factory=Measured)
    failure: str = ""
    load: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether others were at work when it began."""
        return self.load > BUSY

    @property
    def ours(self) -> float | None:
        """Our figure: the median of the runs; where a limit is absolute, the worst of them."""
        if not self.measured.ours:
            return None
        if self.demand.absolute:
            return (min if self.demand.more_is_better else max)(self.measured.ours)
        return statistics.median(self.measured.ours)

    @property
    def peer(self) -> float | None:
        """The peer's figure: the median of the runs."""
        return statistics.median(self.measured.peer) if self.measured.peer else None

    @property
    def ratios(self) -> list[float]:
        """Ours ÷ peer, for each pair of runs."""
        return [ours / peer for ours, peer in zip(self.measured.ours, self.measured.peer, strict=False)]

    @property
    def ratio(self) -> float | None:
        """The median of the pairs' ratios: what slows both down at one moment is not in it."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def judged_by(self) -> float | None:
        """The figure that is held against what is demanded."""
        return self.ours if self.demand.absolute else self.ratio

    @property
    def reached(self) -> bool:
        """Whether what is demanded at least was reached; a line that failed did not."""
        figure = self.judged_by
        if self.failure or figure is None or self.demand.least is None:
            return False
        return figure >= self.demand.least if self.demand.more_is_better else figure <= self.demand.least

    @property
    def spread(self) -> tuple[float, float] | None:
        """The smallest and the largest ratio (or figure, without a peer) of the runs."""
        values = self.ratios or self.measured.ours
        return (min(values), max(values)) if values else None

    def as_json(self) -> dict[str, Any]:
        """Everything of the line, for programs."""
        demand = self.demand
        return {
            "row": demand.name,
            "work": demand.work,
            "beside": demand.peer,
            "unit": demand.unit,
            "more_is_better": demand.more_is_better,
            "ours": self.ours,
            "peer": self.peer,
            "ratio": self.ratio,
            "at_least" if demand.more_is_better else "at_most": demand.least,
            "aim": demand.aim,
            "reached": self.reached if demand.judged else None,
            "failure": self.failure,
            "load": round(self.load, 2),
            "busy": self.busy,
            "runs": {"ours": self.measured.ours, "peer": self.measured.peer},
        }


HEAD: Final = ("row", "unit", "ours", "peer", "ratio", "demanded", "aim", "reached", "load", "spread")


def cells(line: Line) -> tuple[str, ...]:
    """One line of the table, in the order of `HEAD`."""
    demand = line.demand
    sign = "≥" if demand.more_is_better else "≤"
    spread = line.spread
    return (
        demand.name,
        demand.unit,
        _figure(line.ours),
        _figure(line.peer),
        _ratio(line.ratio, demand),
        f"{sign} {demand.least:g}" if demand.least is not None else "-",
        f"{sign} {demand.aim:g}" if demand.aim is not None else "-",
        ("yes" if line.reached else "NO") if demand.judged else "-",
        f"{line.load:.2f}{' BUSY' if line.busy else ''}",
        " to ".join(_ratio(one, demand) if line.ratios else _figure(one) for one in spread) if spread else line.failure,
    )


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ratio(value: float | None, demand: Demand) -> str:
    """Two places, never rounded to what was not reached."""
    if value is None:
        return "-"
    cut = math.floor if demand.more_is_better else math.ceil
    return f"{cut(round(value * 100, 6)) / 100:.2f}"


def table(lines: Iterable[Line]) -> str:
    """The table for a terminal."""
    rows = [HEAD, *map(cells, lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    left = {0, 1, len(HEAD) - 1}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def warning(lines: Iterable[Line]) -> str:
    """Which rows began while the machine was busy, and what that means; empty when none did."""
    busy = [line.demand.name for line in lines if line.busy]
    if not busy:
        return ""
    return (
        f"BUSY: others kept more than {BUSY:g} cores busy when these began, and their figures may be no good;"
        f" measure them again: {', '.join(busy)}"
    )


def summary(lines: Sequence[Line]) -> str:
    """The last line: how many of the rows that are judged reach."""
    judged = [line for line in lines if line.demand.judged]
    return f"{sum(line.reached for line in judged)} of {len(judged)} rows reach"


def all_reach(lines: Sequence[Line]) -> bool:
    """Whether every row that is judged reaches."""
    return all(line.reached for line in lines if line.demand.judged)


def as_json(lines: Sequence[Line], conditions: Mapping[str, Any], when: str, commit: str) -> dict[str, Any]:
    """The whole report, for programs."""
    return {
        "when": when,
        "commit": commit,
        "conditions": dict(conditions),
        "rows": [line.as_json() for line in lines],
        "summary": summary(lines),
    }


def as_markdown(
    lines: Sequence[Line], conditions: Mapping[str, Any], when: str, commit: str, comparison: Iterable[str]
) -> str:
    """The whole report, for people."""
    parts = [f"# Benchmark of {when}, commit {commit}", ""]
    parts += [_row(HEAD), _row(["---"] * len(HEAD)), *(_row(cells(line)) for line in lines), "", summary(lines), ""]
    if told := warning(lines):
        parts += [told, ""]
    parts += [
        "Rows:",
        "",
        *(f"- `{one.demand.name}`: {one.demand.work}; beside {one.demand.peer}" for one in lines),
        "",
    ]
    parts += ["Conditions:", "", *(f"- {name}: {value}" for name, value in conditions.items()), ""]
    parts += ["Beside what was kept before:", "", *(f"- {text}" for text in comparison), ""]
    return "\n".join(parts)


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def keep(folder: Path, name: str, report: Mapping[str, Any], markdown: str) -> None:
    """Writes the report into ``folder``, as JSON and as Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(markdown, encoding="utf-8")


def kept(folder: Path) -> list[dict[str, Any]]:
    """The reports that were kept, the newest first (their names begin with the date)."""
    files = sorted(folder.glob("*.json"), key=lambda file: file.name, reverse=True)
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def compare(lines: Iterable[Line], earlier: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any]) -> list[str]:
    """What changed by more than `NOISE` since the newest kept report that has the row, in sentences.

    Only reports of the same form and the same kind of machine count (`ALIKE`). The peer's figure tells a slower Hozi
    from a slower machine, and BUSY says that others were at work during one of the two.
    """
    said = []
    for line in lines:
        found = next(
            (
                (report, row)
                for report in earlier
                if all(report["conditions"].get(name) == conditions.get(name) for name in ALIKE)
                for row in report["rows"]
                if row["row"] == line.demand.name and row["ours"]
            ),
            None,
        )
        if found is None or not line.ours:
            continue
        report, before = found
        change = _change(before["ours"], line.ours, line.demand)
        if change:
            peer = _change(before["peer"], line.peer, line.demand) if before["peer"] and line.peer else ""
            said.append(
                f"{line.demand.name}: {_figure(line.ours)} {line.demand.unit}, {_figure(before['ours'])} on"
                f" {report['when']} at {report['commit']}: {change}"
                + (f" (the peer: {peer or 'as before'})" if line.peer else "")
                + (" (BUSY)" if line.busy or before.get("busy") else "")
            )
    return said or ["nothing changed by more than 20 %, or there is nothing to compare with"]


def _change(before: float, now: float, demand: Demand) -> str:
    speed = now / before if demand.more_is_better else before / now
    if 1 - NOISE <= speed <= 1 / (1 - NOISE):
        return ""
    worse, better = ("SLOWER", "faster") if demand.unit != "MB" else ("MORE", "less")
    percent = f"{abs(1 - speed):.0%}" if speed < 1 else f"{speed - 1:.0%}"
    return f"{percent} {worse if speed < 1 else better}"
