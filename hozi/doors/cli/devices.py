"""`hozi device ...`: who may talk to the archive, who knocked, and whether a device can be reached."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hozi.core.errors import Refused
from hozi.doors.cli.output import AsJson, actor, say, say_json, table
from hozi.doors.cli.prepare import ready

if TYPE_CHECKING:
    from hozi.facilities.devices import Permit
    from hozi.facilities.models import Knock

group = typer.Typer(help="Devices: who may talk to the archive. Everybody else is refused.", no_args_is_help=True)

May = Annotated[
    str | None,
    typer.Option(
        help="What it may do: store,query,retrieve,receive (some or all). "
        "Left out: the first three, and receive when it has a port."
    ),
]
Port = Annotated[int | None, typer.Option(help="Port at which it listens, to send images to it.")]
FacilityCode = Annotated[
    str | None, typer.Option("--facility", help="Code of its hospital; may be left out when there is only one.")
]
DepartmentCode = Annotated[str, typer.Option("--department", help="Code of a department of its hospital.")]
Modality = Annotated[str, typer.Option(help="What kind of images it makes: CT, MR, US, CR, DX ...")]
Tls = Annotated[bool, typer.Option("--tls", help="Reach it over TLS.")]
SeesAll = Annotated[bool, typer.Option("--sees-all", help="It may see every facility's studies.")]


def register(app: typer.Typer) -> None:
    """Enters this group into the program."""
    app.add_typer(group, name="device")


@group.command()
def add(
    name: Annotated[str, typer.Argument(help="What people call it, for example CT1.")],
    ae: Annotated[str, typer.Option(help="Its AE title.")],
    host: Annotated[str, typer.Option(help="Address, or network (192.168.1.0/24), from which it calls.")],
    port: Port = None,
    may: May = None,
    facility: FacilityCode = None,
    department: DepartmentCode = "",
    modality: Modality = "",
    tls: Tls = False,
    tls_subject: Annotated[str, typer.Option(help="Subject that its certificate must have (RFC 4514).")] = "",
    sees_all: SeesAll = False,
    username: Annotated[str, typer.Option(help="User identity that it must present.")] = "",
    passcode_file: Annotated[
        Path | None, typer.Option(help="File with the passcode to it (only a hash is kept).")
    ] = None,
    called_as: Annotated[str, typer.Option(help="Another AE title by which it may call this archive.")] = "",
    as_json: AsJson = False,
) -> None:
    """Admit a device."""
    ready()
    from hozi.facilities import devices

    permit = devices.add(
        name,
        ae_title=ae,
        host=host,
        port=port,
        may=_words(may),
        facility=facility,
        department=department,
        modality=modality,
        tls=tls,
        tls_subject=tls_subject,
        sees_all=sees_all,
        username=username,
        passcode=_passcode(passcode_file),
        called_as=called_as,
        actor=actor(),
    )
    _told("Admitted", permit, as_json)


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the devices that are admitted."""
    ready()
    from hozi.facilities import devices

    permits = devices.listed()
    if as_json:
        say_json([_as_dict(permit) for permit in permits])
    elif permits:
        rows = (
            (
                permit.name,
                permit.ae_title,
                permit.host,
                permit.port,
                "yes" if permit.tls else "",
                permit.facility + (" (sees all)" if permit.sees_all else ""),
                ", ".join(permit.may) or "nothing but echo",
            )
            for permit in permits
        )
        table(("name", "AE title", "address", "port", "TLS", "facility", "may"), rows)
    else:
        say("No device is admitted yet. Let one call, see `hozi device knocked`, and admit it.")


@group.command()
def knocked(as_json: AsJson = False) -> None:
    """List who called and was refused, the last first."""
    settings = ready()
    from hozi.facilities import devices
    from hozi.facilities.suggest import why

    knocks = devices.recent()
    if as_json:
        say_json([_knock_as_dict(knock) for knock in knocks])
    elif knocks:
        rows = (
            (
                knock.pk,
                knock.calling_ae,
                knock.address,
                why(knock, settings.ae_title).sentence,
                knock.count,
                f"{_local(knock.last_at):%d %b %Y %H:%M}",
            )
            for knock in knocks
        )
        table(("no.", "AE title", "address", "why it was refused", "times", "last"), rows)
        print()
        say("To admit one: hozi device admit NO. [NAME]")
    else:
        say("Nobody knocked.")


@group.command()
def admit(
    knock: Annotated[str, typer.Argument(help="Number in `hozi device knocked`, or the AE title.")],
    name: Annotated[
        str, typer.Argument(help="What to call the device; that of a known one when it has only moved.")
    ] = "",
    port: Port = None,
    may: May = None,
    facility: FacilityCode = None,
    department: DepartmentCode = "",
    modality: Modality = "",
    tls: Tls = False,
    sees_all: SeesAll = False,
    as_json: AsJson = False,
) -> None:
    """Admit a device that knocked. Without a name it is called by its AE title."""
    settings = ready()
    from hozi.facilities import devices

    permit = devices.admit(
        _chosen(devices.recent(), knock),
        name,
        own_ae=settings.ae_title,
        may=_words(may),
        port=port,
        facility=facility,
        department=department,
        modality=modality,
        tls=tls,
        sees_all=sees_all,
        actor=actor(),
    )
    _told("Admitted", permit, as_json)


@group.command()
def change(
    name: Annotated[str, typer.Argument(help="Its name.")],
    ae: Annotated[str | None, typer.Option(help="Its AE title.")] = None,
    host: Annotated[str | None, typer.Option(help="Address, or network, from which it calls.")] = None,
    port: Annotated[int | None, typer.Option(help="Port at which it listens; 0: it does not.")] = None,
    may: Annotated[str | None, typer.Option(help="What it may do: store,query,retrieve,receive, or none.")] = None,
    facility: Annotated[str | None, typer.Option(help="Code of its hospital.")] = None,
    department: Annotated[str | None, typer.Option(help="Code of its department; empty: none.")] = None,
    modality: Annotated[str | None, typer.Option(help="What kind of images it makes.")] = None,
    tls: Annotated[bool | None, typer.Option("--tls/--no-tls", help="Whether to reach it over TLS.")] = None,
    tls_subject: Annotated[str | None, typer.Option(help="Subject that its certificate must have.")] = None,
    sees_all: Annotated[
        bool | None, typer.Option("--sees-all/--sees-own", help="Whether it may see every facility's studies.")
    ] = None,
    username: Annotated[str | None, typer.Option(help="User identity that it must present; empty: none.")] = None,
    passcode_file: Annotated[Path | None, typer.Option(help="File with the passcode to it.")] = None,
    called_as: Annotated[
        str | None, typer.Option(help="Another AE title by which it may call this archive; empty: none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change what is said of a device; what is left out stays as it is. Its name stays."""
    ready()
    from hozi.facilities import devices

    asked: dict[str, Any] = {
        "ae_title": ae,
        "host": host,
        "may": None if may is None else [] if may.strip() == "none" else _words(may),
        "facility": facility,
        "department": department,
        "modality": modality,
        "tls": tls,
        "tls_subject": tls_subject,
        "sees_all": sees_all,
        "username": username,
        "passcode": _passcode(passcode_file) or None,
        "called_as": called_as,
    }
    changes = {key: value for key, value in asked.items() if value is not None}
    if port is not None:
        changes["port"] = port or None
    if not changes:
        raise Refused("Say what is to be changed: see hozi device change --help")
    _told("Changed", devices.change(name, actor=actor(), **changes), as_json)


@group.command()
def dismiss(
    knock: Annotated[str, typer.Argument(help="Number in `hozi device knocked`, or the AE title.")],
    as_json: AsJson = False,
) -> None:
    """Take a knock off the list without admitting it. Who knocks again is listed again."""
    ready()
    from hozi.facilities import devices, knocks

    dismissed = knocks.dismiss(_chosen(devices.recent(), knock).pk, actor=actor())
    if as_json:
        say_json({"dismissed": dismissed.calling_ae, "address": dismissed.address})
    else:
        say(f"Dismissed {dismissed.calling_ae} at {dismissed.address}. It stays refused.")


@group.command()
def remove(name: Annotated[str, typer.Argument(help="Its name.")], as_json: AsJson = False) -> None:
    """Remove a device: it is refused from now on. Its images stay."""
    ready()
    from hozi.facilities import devices

    permit = devices.remove(name, actor=actor())
    if as_json:
        say_json(_as_dict(permit))
    else:
        say(f"Removed {permit.name}. It is refused within two seconds; associations that it has now go on.")


@group.command()
def echo(name: Annotated[str, typer.Argument(help="Its name.")], as_json: AsJson = False) -> None:
    """Call a device (C-ECHO), and say what is wrong when it does not answer."""
    ready()
    from hozi.doors.dimse.liveness import echo_now
    from hozi.doors.dimse.reach import timeouts
    from hozi.facilities import devices

    permit = devices.permit_by_name(name)
    if permit is None:
        raise Refused(f"There is no device {name!r}")
    report = echo_now(permit, timeouts())
    if as_json:
        say_json(asdict(report))
    else:
        say(report.summary)
        if report.advice:
            say(f"  What to do: {report.advice}")
        if report.technical:
            say(f"  For the engineer: {report.technical}")
    if not report.ok:
        raise typer.Exit(1)


def _words(may: str | None) -> list[str] | None:
    return None if may is None else [word.strip() for word in may.split(",") if word.strip()]


def _passcode(file: Path | None) -> str:
    if file is None:
        return ""
    lines = file.read_text(encoding="utf-8").splitlines()
    if len(lines) != 1 or not lines[0]:
        raise Refused(f"{file} must hold the passcode in its first and only line")
    return lines[0]


def _chosen(knocks: list[Knock], which: str) -> Knock:
    by_number = [knock for knock in knocks if str(knock.pk) == which]
    found = by_number or [knock for knock in knocks if knock.calling_ae == which.strip()]
    if not found:
        raise Refused(f"Nobody of that number or AE title knocked: {which} (see `hozi device knocked`)")
    if len(found) > 1:
        raise Refused(
            f"{which} knocked in several ways, say which: "
            + ", ".join(f"{knock.pk} (from {knock.address} calling {knock.called_ae})" for knock in found)
        )
    return found[0]


def _told(what: str, permit: Permit, as_json: bool) -> None:
    if as_json:
        say_json(_as_dict(permit))
        return
    may = ", ".join(permit.may) or "do nothing but echo"
    sees = "every facility's studies" if permit.sees_all else f"the studies of {permit.facility}"
    say(f"{what} {permit.name}: {permit.ae_title} at {permit.host} may {may}.")
    say(f"It belongs to {permit.facility} and sees {sees}.")
    if permit.called_as:
        say(f"It may call this archive {permit.called_as}.")
    if permit.tls_subject:
        say(f"Its certificate must be that of {permit.tls_subject}.")


def _as_dict(permit: Permit) -> dict[str, Any]:
    known = asdict(permit)
    # A hash is still a secret to guess at.
    del known["passcode"], known["version"], known["number"]
    for word in ("store", "query", "retrieve", "receive"):
        del known[f"may_{word}"]
    return {**known, "may": list(permit.may)}


def _knock_as_dict(knock: Knock) -> dict[str, Any]:
    fields = ("calling_ae", "called_ae", "address", "tls_subject", "reason", "count", "first_at", "last_at")
    return {"number": knock.pk, **{name: getattr(knock, name) for name in fields}}


def _local(moment: Any) -> Any:
    from django.utils import timezone

    return timezone.localtime(moment)
