"""`hozi user ...`: people and programs, from the server's own command line, which may do everything."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hozi.core.errors import HoziError, Refused
from hozi.doors.cli import serve
from hozi.doors.cli.output import AsJson, actor, say, say_json, table
from hozi.doors.cli.prepare import ready, run_folder

if TYPE_CHECKING:
    from hozi.accounts.authorise import Who
    from hozi.accounts.lifecycle import Account
    from hozi.settings import Settings

group = typer.Typer(
    help="People and programs: who may do what. The console does the same with a mouse.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="Name with which they sign in.")]


def register(app: typer.Typer) -> None:
    """Enters this group into the program."""
    app.add_typer(group, name="user")


@group.command()
def add(
    name: Annotated[str, typer.Argument(help='Name to sign in with (t.moyo), or "Tendai Moyo": one is made from it.')],
    role: Annotated[str, typer.Option(help="Key of the role, for example pacs_admin or radiographer.")],
    email: Annotated[str, typer.Option(help="E-mail address.")] = "",
    facility: Annotated[str, typer.Option(help="Code of the facility; left out: the role reaches all.")] = "",
    full_name: Annotated[str, typer.Option(help="Name that people read.")] = "",
    last_day: Annotated[str, typer.Option(help="Last day of the account, for example 2027-12-31.")] = "",
    referring_name: Annotated[
        list[str] | None, typer.Option(help="Name as ReferringPhysicianName has it (Moyo^Tendai); repeat for more.")
    ] = None,
    program: Annotated[bool, typer.Option("--program", help="A program: it uses tokens and never signs in.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an account with a role, and print the one-time link with which the person comes in."""
    settings = ready()
    from django.db import transaction

    from hozi.accounts import lifecycle, names

    who, is_username = _operator(), names.looks_like_username(name)
    with transaction.atomic():
        asked = lifecycle.request(
            who,
            username=name if is_username else "",
            full_name=full_name or name,
            email=email,
            role=role,
            facility=facility,
            ends_on=_day(last_day),
            referring_names=referring_name or (),
            is_program=program,
        )
        account = lifecycle.admit(who, asked.id)
    _told(account, settings, as_json, f"{account.full_name} signs in as {account.username}.")


@group.command("list")
def list_(
    state: Annotated[str, typer.Option(help="Only those in this state: active, requested, invited ...")] = "",
    as_json: AsJson = False,
) -> None:
    """List people and programs."""
    ready()
    from hozi.accounts import listed

    lines, after = list[listed.Line](), None
    while True:
        page = listed.people(_operator(), state=state, after=after, limit=500)
        lines += page.lines
        if (after := page.next) is None:
            break
    if as_json:
        say_json([{**asdict(line), "clock": None} | _clock(line) for line in lines])
    elif lines:
        columns = ("name", "signs in as", "state", "roles", "last seen", "last day")
        table(
            columns,
            (
                (
                    line.full_name,
                    line.username,
                    line.state,
                    ", ".join(line.roles) or "none",
                    _moment(line.last_seen_at),
                    f"{line.ends_on:%d %b %Y}" if line.ends_on else "",
                )
                for line in lines
            ),
        )
    else:
        say("Nobody yet. The link that `hozi serve` prints makes the first administrator.")


@group.command()
def disable(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit.")] = "disabled by the operator",
    as_json: AsJson = False,
) -> None:
    """End an account: its sessions and tokens end at once; it can be given back in the console."""
    settings = ready()
    from hozi.accounts import lifecycle, profile

    account = lifecycle.disable(_operator(), profile.number_of(name), reason)
    _told(account, settings, as_json, f"{account.username} is disabled.")


@group.command()
def link(name: Name, as_json: AsJson = False) -> None:
    """Print a new one-time link: for who was invited, or has forgotten the password. Earlier links end."""
    settings = ready()
    from hozi.accounts import lifecycle, profile

    account = lifecycle.link(_operator(), profile.number_of(name))
    _told(account, settings, as_json, f"A new link for {account.username}.")


@group.command()
def token(
    name: Name,
    scope: Annotated[str, typer.Option(help="What it is for: read, write, admin, with commas between them.")],
    days: Annotated[int, typer.Option(help="How many days it lives, 365 at most.")] = 90,
    network: Annotated[
        list[str] | None, typer.Option(help="Address or network from which it works (any when left out); repeat.")
    ] = None,
    label: Annotated[str, typer.Option(help="What uses it.")] = "made on the command line",
    as_json: AsJson = False,
) -> None:
    """Make a token for /dicom-web/, /api/ and /fhir/, and print it: this once."""
    ready()
    from hozi.accounts import profile, tokens

    made = tokens.make(
        _operator(), profile.number_of(name), label, scopes=scope.split(","), days=days, networks=network or ()
    )
    if as_json:
        say_json(
            {"token": made.secret, "scopes": made.scopes, "networks": made.networks, "expires_at": made.expires_at}
        )
    else:
        say(made.secret)
        say(f"It works until {_moment(made.expires_at)}, as far as {name} may {' and '.join(made.scopes)}.")
        say("Keep it like a password; it is not shown again.")


@group.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV file; its first line names the columns.")],
    links: Annotated[Path | None, typer.Option(help="Write the one-time links to this new file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is wrong, and take nobody in.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take in many people from a table: all of them, or nobody when anything is wrong."""
    settings = ready()
    from hozi.accounts import csv_import

    data, who = file.read_bytes(), _operator()
    seen = csv_import.preview(who, data)
    if seen.wrong and not as_json:
        table(("line", "column", "what is wrong"), ((one.line, one.column, one.text) for one in seen.wrong))
    if seen.wrong or dry_run:
        if as_json:
            say_json({"people": len(seen.people), "wrong": [asdict(one) for one in seen.wrong]})
        if seen.wrong:
            raise Refused(f"{len(seen.wrong)} mistakes in the file: nobody was taken in")
        if not as_json:
            say(f"Nothing is wrong: {len(seen.people)} people would come in.")
        return
    target = links or file.with_name(f"{file.stem}-links.csv")
    # Opened first: whoever was taken in must not be without a link because a file cannot be written.
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", newline="") as out:
        try:
            accounts = csv_import.take(who, data)
        except HoziError:
            target.unlink()
            raise
        out.write(csv_import.links(accounts, _console(settings)))
    if as_json:
        say_json({"people": len(accounts), "links": target})
    else:
        say(f"{len(accounts)} people were taken in. Their one-time links stand in {target}; each works for three days.")


def _operator() -> Who:
    from hozi.accounts import authorise

    return authorise.of_operator(actor())


def _console(settings: Settings) -> str:
    """Where the console is: as the part that runs says, else where it would be."""
    url = serve.ports(run_folder(settings), "web").get("url")
    return str(url or f"http://{settings.http_bind}").rstrip("/")


def _told(account: Account, settings: Settings, as_json: bool, text: str) -> None:
    from hozi.accounts import invitations

    url = _console(settings) + invitations.path(account.secret) if account.secret else None
    if as_json:
        facts = {"id": account.id, "username": account.username, "full_name": account.full_name, "state": account.state}
        say_json({**facts, "link": url})
        return
    say(text)
    if url:
        say(f"  {url}")
        say("Hand this link over; it works once, for three days.")


def _clock(line: Any) -> dict[str, Any]:
    clock = line.clock
    return {} if clock is None else {"clock": {"due_at": clock.due_at, "breached": clock.breached}}


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a day is written as 2027-12-31", param_hint="--last-day") from None


def _moment(at: datetime | None) -> str:
    from django.utils import timezone

    return f"{timezone.localtime(at):%d %b %Y %H:%M}" if at else "never"
