"""What others made and Hozi uses, with the licence of each, as the packages themselves say it."""

from __future__ import annotations

import importlib.metadata
import json
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[3]
_NAME: Final = re.compile(r"([A-Za-z0-9_.-]+)\s*(?:\[([^\]]*)\])?")
_EXTRA: Final = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
#: Packages that say nothing of their licence in their metadata; it stands in their source.
_SILENT: Final = {"pysqlite3": "Zlib"}


@dataclass(frozen=True, slots=True)
class Package:
    """Something that others made. ``where``: Python or browser."""

    name: str
    version: str
    licence: str
    where: str


@cache
def packages() -> tuple[Package, ...]:
    """Everything that Hozi needs to run here, and what it needs for that in turn; by name."""
    return tuple(sorted((*_python(), *_browser()), key=lambda package: package.name.lower()))


def _python() -> list[Package]:
    found: dict[str, Package] = {}
    waiting = [_named(line) for line in _asked_by_hozi()]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (key := _plain(name)) in found and all((key, extra) in seen for extra in extras):
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # meant for another system, or another version of Python
        seen.update((key, extra) for extra in extras)
        found[key] = Package(package.metadata["Name"], package.version, _licence(package), "Python")
        for line in package.requires or ():
            wanted = _EXTRA.search(line)
            if wanted is None or wanted.group(1) in extras:
                waiting.append(_named(line))
    return list(found.values())


def _asked_by_hozi() -> list[str]:
    try:
        asked = importlib.metadata.requires("hozi") or []
        return [line for line in asked if not _EXTRA.search(line)]
    except importlib.metadata.PackageNotFoundError:
        project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return list(project["dependencies"])


def _named(line: str) -> tuple[str, tuple[str, ...]]:
    match = _NAME.match(line)
    if match is None:
        raise ValueError(f"no requirement: {line!r}")
    return match.group(1), tuple(part.strip() for part in (match.group(2) or "").split(",") if part.strip())


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _licence(package: importlib.metadata.Distribution) -> str:
    said = package.metadata
    for text in [*(said.get_all("License-Expression") or []), *(said.get_all("License") or [])]:
        if text and "\n" not in text and len(text) <= 80:
            return str(text)
    named = [text for text in said.get_all("Classifier") or [] if text.startswith("License ::")]
    if named:
        return ", ".join(text.rsplit(" :: ", 1)[-1] for text in named)
    return _SILENT.get(_plain(package.metadata["Name"]), "–")


def _browser() -> list[Package]:
    """What npm fetched for browsers, as its lock file says; none where that is not there."""
    try:
        lock = json.loads((_ROOT / "frontend" / "package-lock.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [
        Package(path.removeprefix("node_modules/"), facts.get("version", ""), facts.get("license", "–"), "browser")
        for path, facts in lock.get("packages", {}).items()
        if path.startswith("node_modules/") and not facts.get("dev")
    ]
