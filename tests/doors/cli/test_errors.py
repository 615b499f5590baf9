"""Every error of the command line is one clear line, and every command speaks JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from hozi.doors.cli.app import app
from hozi.doors.cli.output import printable
from tests.doors.cli.conftest import Command, program


def commands(group: object, name: str = "") -> Iterator[tuple[str, object]]:
    for key, command in getattr(group, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name}{key} ")
        else:
            yield name + key, command


def test_every_command_takes_json() -> None:
    found = dict(commands(get_command(app)))
    assert "device add" in found
    without = [
        name
        for name, command in found.items()
        if not any("--json" in parameter.opts for parameter in command.params)  # type: ignore[attr-defined]
    ]
    assert not without


def test_every_command_says_what_it_does() -> None:
    assert not [name for name, command in commands(get_command(app)) if not getattr(command, "help", "")]


def test_settings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    result = program("device", "list", HOZI_HOME=str(tmp_path), HOZI_DICOM_PORT="99999", HOZI_AE_TITLE="A\\B")
    assert result.returncode == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert "HOZI_AE_TITLE: an AE title has 1 to 16" in line
    assert "HOZI_DICOM_PORT: Input should be less than or equal to 65535" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [("HOZI_DATABASE_URL", "mysql://hozi@localhost/hozi"), ("HOZI_STORAGE_URL", "s3://bucket")],
)
def test_urls_that_cannot_be_used_are_named(name: str, value: str, tmp_path: Path) -> None:
    result = program("device", "list", "--json", HOZI_HOME=str(tmp_path), **{name: value})
    assert result.returncode == 1
    assert json.loads(result.stdout)["error"].startswith(f"{name} must be")


def test_a_database_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    result = program("device", "list", HOZI_HOME=str(tmp_path), HOZI_DATABASE_URL="postgresql://hozi@127.0.0.1:1/hozi")
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert "refused" in line
    assert "hozi doctor" in line


def test_a_home_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = program("device", "list", HOZI_HOME=str(tmp_path / "file" / "home"))
    assert result.returncode == 1
    assert result.stderr == f"hozi: Not a directory ({tmp_path / 'file' / 'home'})\n"


def test_help_needs_no_settings(tmp_path: Path) -> None:
    result = program("device", "add", "--help", HOZI_HOME=str(tmp_path / "home"), HOZI_DICOM_PORT="wrong")
    assert result.returncode == 0
    assert "--called-as" in result.stdout
    assert not (tmp_path / "home").exists()


@pytest.mark.database
def test_the_first_command_makes_a_home_and_a_database_for_this_account_only(
    tmp_path: Path, empty_database: str
) -> None:
    home = tmp_path / "home"
    result = program("facility", "list", "--json", HOZI_HOME=str(home), HOZI_DATABASE_URL=empty_database)
    assert [place["code"] for place in json.loads(result.stdout)] == ["MAIN"]
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_wrong_command_line_is_exit_code_2(hozi: Command) -> None:
    assert hozi("device", "add").code == 2
    assert hozi("serve", "--only", "kitchen").code == 2
    assert hozi("no-such-command").code == 2


def test_an_error_that_nobody_expected_is_one_line_and_shows_no_data(
    hozi: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("Moyo^Tendai")

    another = typer.Typer()
    another.command("broken")(broken)
    another.command("other")(lambda: None)
    monkeypatch.setattr("hozi.doors.cli.app.app", another)
    said = hozi("broken")
    assert said.code == 1
    assert said.err.startswith("hozi: An error that Hozi did not expect: RuntimeError in test_errors.py:")
    assert "Moyo" not in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.django_db
def test_small_commands_leave_a_database_of_another_version_alone(
    hozi: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hozi.doors.cli import prepare

    behind = prepare.Schema(applied=3, pending=("facilities.0003_next",), unknown=())
    monkeypatch.setattr(prepare, "schema", lambda: behind)
    assert "`hozi serve` brings it up to date" in hozi("device", "list").err
    ahead = prepare.Schema(applied=3, pending=(), unknown=("facilities.0009_future",))
    monkeypatch.setattr(prepare, "schema", lambda: ahead)
    assert "written by a newer version" in hozi("device", "list").err


@pytest.mark.parametrize(
    ("text", "shown"), [("Moyo é 木", "Moyo é 木"), ("\x1b[31m\r\n\0", "\\x1b[31m\\r\\n\\x00"), ("\u202e", "\\u202e")]
)
def test_nothing_that_is_not_printable_reaches_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
