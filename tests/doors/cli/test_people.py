"""`hozi user` lets people and programs in from the server, says what it did, and refuses in one line."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from hozi.accounts import authorise, invitations, tokens
from hozi.audit.models import Event
from tests.doors.cli.conftest import Command

pytestmark = pytest.mark.django_db

PASSWORD = "a granary keeps the harvest dry"


def secret_of(link: str) -> str:
    return link.rstrip("/").rsplit("/", 1)[1]


def test_it_lets_somebody_in_with_a_link_that_works(hozi: Command) -> None:
    said = hozi("user", "add", "t.moyo", "--email", "t@example.org", "--role", "radiographer", "--json")
    assert said.code == 0
    assert said.json["username"] == "t.moyo"
    assert said.json["link"].startswith("http://127.0.0.1:8080/enter/")
    number = invitations.accept(token=secret_of(said.json["link"]), password=PASSWORD)
    who = authorise.of_person(number)
    assert who is not None
    assert authorise.may(who, "studies.store")


def test_it_says_in_words_what_to_do_with_the_link(hozi: Command) -> None:
    said = hozi("user", "add", "Tendai Moyo", "--role", "pacs_admin", "--facility", "MAIN").out.splitlines()
    assert said[0] == "Tendai Moyo signs in as tendai.moyo."
    assert "/enter/" in said[1]
    assert said[2] == "Hand this link over; it works once, for three days."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("t.moyo", "--role", "king"), "There is no role 'king' (there are: dpo,"),
        (("t.moyo", "--role", "student"), "Whoever becomes Student needs a last day"),
        (("t.moyo", "--role", "manager", "--facility", "NOWHERE"), "NOWHERE"),
        (("t.moyo", "--role", "manager", "--email", "nobody"), "no e-mail address"),
    ],
)
def test_it_refuses_in_one_line_and_leaves_nothing_behind(hozi: Command, arguments: tuple[str, ...], said: str) -> None:
    answer = hozi("user", "add", *arguments)
    assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert said in answer.err
    assert hozi("user", "list", "--json").json == []


def test_the_list_says_who_is_there(hozi: Command) -> None:
    assert "first administrator" in hozi("user", "list").out
    last = timezone.localdate() + timedelta(days=30)
    hozi("user", "add", "Sihle Student", "--role", "student", "--last-day", f"{last}")
    line = hozi("user", "list").out.splitlines()[1]
    assert ("Sihle Student" in line, "sihle.student" in line, "invited" in line, "Student" in line) == (True,) * 4
    assert [one["username"] for one in hozi("user", "list", "--state", "invited", "--json").json] == ["sihle.student"]
    assert hozi("user", "list", "--state", "active", "--json").json == []


def test_a_new_link_ends_the_one_before(hozi: Command) -> None:
    first = hozi("user", "add", "t.moyo", "--role", "manager", "--json").json["link"]
    second = hozi("user", "link", "T.Moyo", "--json").json["link"]
    assert invitations.look(secret_of(first)) is None
    assert invitations.look(secret_of(second)) is not None


def test_a_program_has_a_token_that_is_shown_once(hozi: Command) -> None:
    added = hozi("user", "add", "ris", "--program", "--role", "service", "--json").json
    assert (added["state"], added["link"]) == ("active", None)
    made = hozi("user", "token", "ris", "--scope", "read,write", "--network", "10.0.0.0/8", "--json").json
    who = tokens.of_token(made["token"], "10.1.2.3")
    assert who is not None
    assert authorise.may(who, "studies.store")
    assert tokens.of_token(made["token"], "192.168.1.1") is None
    assert hozi("user", "token", "ris", "--scope", "all").code == 1
    words = hozi("user", "token", "ris", "--scope", "read").out
    assert words.startswith("hozi_")
    assert "not shown again" in words


def test_a_disabled_account_stands_in_the_audit_with_who_gave_the_command(
    hozi: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "alois")
    hozi("user", "add", "t.moyo", "--role", "manager")
    said = hozi("user", "disable", "t.moyo", "--reason", "left", "--json").json
    assert said["state"] == "disabled"
    told = Event.objects.filter(detail__person="t.moyo", detail__to="disabled").get()
    assert told.actor.startswith("alois (as ")
    assert told.detail["reason"] == "left"


def test_somebody_who_is_not_there_is_said_to_be_not_there(hozi: Command) -> None:
    for command in (("disable", "nobody"), ("link", "nobody"), ("token", "nobody", "--scope", "read")):
        answer = hozi("user", *command)
        assert (answer.code, "Nobody signs in as 'nobody'" in answer.err) == (1, True)


def test_a_class_comes_in_from_a_table_and_its_links_are_for_this_account_only(hozi: Command, tmp_path: Path) -> None:
    file, links = tmp_path / "class.csv", tmp_path / "links.csv"
    file.write_text("full_name,role,ends_on\nTendai Moyo,student,31/12/2099\nSihle Ncube,student,31/12/2099\n")
    assert "2 people would come in" in hozi("user", "import", str(file), "--dry-run").out
    assert hozi("user", "list", "--json").json == []
    assert hozi("user", "import", str(file), "--links", str(links), "--json").json["people"] == 2
    assert stat.S_IMODE(links.stat().st_mode) == 0o600
    assert links.read_text().count("/enter/") == 2
    again = hozi("user", "import", str(file), "--links", str(links))
    assert again.code == 1


def test_a_table_with_mistakes_lets_nobody_in(hozi: Command, tmp_path: Path) -> None:
    file = tmp_path / "class.csv"
    file.write_text("full_name,role\nTendai Moyo,student\nSihle Ncube,manager\n")
    answer = hozi("user", "import", str(file))
    assert (answer.code, "needs a last day" in answer.out) == (1, True)
    assert hozi("user", "list", "--json").json == []
    assert not (tmp_path / "class-links.csv").exists()
