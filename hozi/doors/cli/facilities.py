"""`hozi facility ...`: the hospitals and clinics of this archive."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from hozi.doors.cli.output import AsJson, actor, say, say_json, table
from hozi.doors.cli.prepare import ready

group = typer.Typer(help="Hospitals and clinics. Each issues patient numbers of its own.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Enters this group into the program."""
    app.add_typer(group, name="facility")


@group.command()
def add(
    code: Annotated[str, typer.Argument(help="Short code, for example NORTH.")],
    name: Annotated[str, typer.Argument(help="Its name.")],
    issuer: Annotated[str, typer.Option(help="Name of who issues its patient numbers; the code when left out.")] = "",
    organisation: Annotated[str, typer.Option(help="Who runs it; added in the console.")] = "",
    level: Annotated[str, typer.Option(help="Level of care, for example DISTRICT.")] = "",
    province: Annotated[str, typer.Option(help="Province, 01 to 10.")] = "",
    district: Annotated[str, typer.Option(help="District.")] = "",
    registry_code: Annotated[str, typer.Option(help="The ministry's code, for example ZW020145.")] = "",
    as_json: AsJson = False,
) -> None:
    """Add a facility."""
    ready()
    from hozi.facilities import places

    place = places.add(
        code,
        name,
        issuer,
        organisation=organisation,
        level=level,
        province=province,
        district=district,
        registry_code=registry_code,
        actor=actor(),
    )
    if as_json:
        say_json(asdict(place))
    else:
        say(f"Added {place.code}, {place.name}. Its patient numbers are issued by {place.issuer}.")


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the facilities."""
    ready()
    from hozi.facilities import places

    found = places.listed()
    if as_json:
        say_json([asdict(place) for place in found])
    else:
        rows = ((place.code, place.name, place.issuer, place.devices) for place in found)
        table(("code", "name", "issuer of patient numbers", "devices"), rows)
