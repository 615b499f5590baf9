"""Reads the tables of the conformance statement, as the maker of another device would."""

from __future__ import annotations

import re

from tests.guards.rules import ROOT

_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
STATEMENT = (ROOT / "docs" / "conformance" / "dicom.md").read_text(encoding="utf-8")


def tables(heading: str) -> list[list[dict[str, str]]]:
    """The tables under a heading: rows by their column's title, without the marks of code."""
    [begin] = [found.end() for found in _HEADING.finditer(STATEMENT) if found[1] == heading]
    following = _HEADING.search(STATEMENT, begin)
    lines = STATEMENT[begin : following.start() if following else None].splitlines()
    found: list[list[list[str]]] = [[]]
    for line in lines:
        if line.startswith("|"):
            found[-1].append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [[dict(zip(head, row, strict=True)) for row in rows] for head, _, *rows in filter(None, found)]


def table(heading: str) -> list[dict[str, str]]:
    """The first table under a heading."""
    return tables(heading)[0]
