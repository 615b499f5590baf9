"""What gets installed is locked: every package at one version, with its hashes, from wherever the installer is told."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.guards.rules import ROOT

LOCKED = re.compile(
    r"^([a-z0-9-]+)==(\S+)(?: ; [^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)
COMMENT = re.compile(r"^ *#.*\n", re.MULTILINE)


def _locked(text: str) -> dict[str, str]:
    """Package → version. AssertionError where a line is anything but a version with hashes."""
    rest = COMMENT.sub("", LOCKED.sub("", text))
    assert not rest, f"not a version with hashes: {rest[:200]}"
    return {name: version for name, version, _ in LOCKED.findall(text)}


def _unmet(wanted: list[str], locked: dict[str, str]) -> list[str]:
    """The requirements that the lock does not meet."""
    unmet = []
    for line in wanted:
        requirement = Requirement(line)
        version = locked.get(_plain(requirement.name))
        if version is None or not requirement.specifier.contains(version):
            unmet.append(line)
    return unmet


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _file(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "extras"), [("requirements.txt", ["build"]), ("requirements-dev.txt", ["build", "dev"])]
)
def test_the_locked_versions_are_those_that_the_project_asks_for(name: str, extras: list[str]) -> None:
    project = tomllib.loads(_file("pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    assert not _unmet(wanted, _locked(_file(name))), "run `make lock`"


def test_what_stands_in_for_npm_is_locked_too() -> None:
    groups = tomllib.loads(_file("pyproject.toml"))["dependency-groups"]
    assert not _unmet(groups["node"], _locked(_file("requirements-node.txt"))), "run `make lock`"


def test_tests_run_with_the_versions_that_hospitals_get() -> None:
    run, dev = _locked(_file("requirements.txt")), _locked(_file("requirements-dev.txt"))
    assert run.items() <= dev.items()


def test_an_unmet_requirement_is_found() -> None:
    locked = {"django": "5.2.19", "import-linter": "2.16"}
    assert _unmet(["django>=5.2", "Import_Linter>=2"], locked) == []
    assert _unmet(["django>=6", "leftpad"], locked) == ["django>=6", "leftpad"]


@pytest.mark.parametrize(
    "line",
    [
        "django==5.2.19\n",
        "--find-links /somewhere\n",
        "--index-url https://example.org/simple\n",
        "hozi @ file:///somewhere\n",
    ],
)
def test_a_line_that_is_not_locked_is_found(line: str) -> None:
    with pytest.raises(AssertionError, match="not a version with hashes"):
        _locked(line)
