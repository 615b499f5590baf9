"""The documentation says what is: generated pages are current, every dependency has its reason, no link is dead."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import typer.main

from tests.guards.generators import load
from tests.guards.rules import ROOT

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
ROW = re.compile(r"^\| ([A-Za-z0-9_.@/-]+)(?:\[[a-z]+\])? \|", re.MULTILINE)
NAME = re.compile(r"[A-Za-z0-9_.-]+")
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"\bHOZI_[A-Z][A-Z_]*[A-Z]\b")
TEST_VARIABLES = {"HOZI_TEST_ALL", "HOZI_TEST_DATABASE_URL", "HOZI_CORPUS", "HOZI_TEST_PICTURES"}


def test_the_page_of_settings_is_current() -> None:
    generator = load("make_settings")
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page(), "run `make docs`"


def test_the_page_of_settings_has_every_setting_with_a_meaning() -> None:
    from hozi.settings import Settings

    page = load("make_settings").page()
    rows = dict(re.findall(r"^\| `(HOZI_\w+)` \|.*\| ([^|]*) \|$", page, re.MULTILINE))
    assert set(rows) == {f"HOZI_{name.upper()}" for name in Settings.model_fields}
    assert all(rows.values())


def _undocumented(dependencies: set[str], page: str) -> set[str]:
    """Dependencies without a row in the page, and rows without a dependency."""
    return dependencies ^ {name.lower() for name in ROW.findall(page) if name != "package"}


def _dependencies() -> set[str]:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, groups = told["project"], told["dependency-groups"]
    lists = [project["dependencies"], *project["optional-dependencies"].values(), *groups.values()]
    python = {NAME.match(line).group().lower() for lines in lists for line in lines}  # type: ignore[union-attr]
    browser = json.loads((ROOT / "frontend" / "package.json").read_text(encoding="utf-8"))
    return python | {*browser["dependencies"], *browser["optionalDependencies"], *browser["devDependencies"]}


def test_every_dependency_says_why_it_is_there() -> None:
    page = (ROOT / "docs" / "develop" / "dependencies.md").read_text(encoding="utf-8")
    assert not _undocumented(_dependencies(), page)


def test_a_dependency_without_a_reason_is_found() -> None:
    page = "| package | licence | why |\n|---|---|---|\n| django | BSD | all |\n| psycopg[binary] | LGPL | database |\n"
    assert _undocumented({"django", "psycopg"}, page) == set()
    assert _undocumented({"django", "psycopg", "leftpad"}, page) == {"leftpad"}
    assert _undocumented({"django"}, page) == {"psycopg"}


def _dead_links(page: Path) -> list[str]:
    """Links of a page to files that are not there."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    return [
        target
        for target in targets
        if not target.startswith(("http:", "https:", "mailto:")) and not (page.parent / target).exists()
    ]


def _pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_no_link_is_dead() -> None:
    dead = {str(page.relative_to(ROOT)): links for page in _pages() if (links := _dead_links(page))}
    assert not dead


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[itself](page.md#part) [elsewhere](https://example.org/x) [gone](gone/page.md)")
    assert _dead_links(page) == ["gone/page.md"]


def test_every_page_is_in_the_index() -> None:
    docs = ROOT / "docs"
    index = docs / "README.md"
    linked = {(docs / target).resolve() for target in LINK.findall(index.read_text(encoding="utf-8"))}
    records = (docs / "decisions").glob("*.md")  # listed as a folder
    pages = {page.resolve() for page in docs.rglob("*.md")} - {index.resolve()} - {page.resolve() for page in records}
    assert pages <= linked, pages - linked


def _commands(page: str) -> list[list[str]]:
    """The words of every `hozi ...` in a page's shell blocks, without the first."""
    lines = "\n".join(SHELL.findall(page)).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines if re.match(r"(\.venv/bin/)?hozi ", line)]
    return [command[1:] for command in words]


def _unknown_to_the_program(words: list[str]) -> str | None:
    """The first command or option that the program `hozi` does not have, or None."""
    from hozi.doors.cli.app import app

    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        word, *words = words or ["(nothing)"]
        if word not in command.commands:
            return word
        command = command.commands[word]
    options = {name for parameter in command.params for name in parameter.opts}
    return next((word for word in words if word.startswith("-") and word.partition("=")[0] not in options), None)


def test_every_command_in_the_documentation_exists() -> None:
    unknown = {
        f"{page.relative_to(ROOT)}: hozi {' '.join(command)}": wrong
        for page in _pages()
        for command in _commands(page.read_text(encoding="utf-8"))
        if (wrong := _unknown_to_the_program(command))
    }
    assert not unknown


def test_a_command_that_does_not_exist_is_found() -> None:
    first = ".venv/bin/hozi device add A \\\n  --ae X --hots Y  # why\n"
    page = f"text\n```sh\n{first}hozi device lost\nhozi device list --json\n```\n"
    assert [_unknown_to_the_program(command) for command in _commands(page)] == ["--hots", "lost", None]


def _unknown_variables(page: str) -> set[str]:
    """Variables that a page names and that are no settings."""
    from hozi.settings import Settings

    return set(VARIABLE.findall(page)) - {f"HOZI_{name.upper()}" for name in Settings.model_fields} - TEST_VARIABLES


def test_every_variable_in_the_documentation_exists() -> None:
    named = {str(page.relative_to(ROOT)): _unknown_variables(page.read_text(encoding="utf-8")) for page in _pages()}
    assert not {page: names for page, names in named.items() if names}


def test_a_variable_that_does_not_exist_is_found() -> None:
    assert _unknown_variables("Set `HOZI_HOME` and `HOZI_MOOD=good`.") == {"HOZI_MOOD"}
