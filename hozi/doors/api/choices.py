"""Settings that people choose, with their history."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from ninja import Schema
from pydantic import Field

from hozi.accounts import authorise
from hozi.accounts.authorise import Denied
from hozi.choices import values
from hozi.choices.values import Standing
from hozi.doors.api.gate import Area, Request
from hozi.doors.api.schemas import Chars, In, Name

area = Area("settings")

Value = bool | int | float | str | None
Seen = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Setting(Schema):
    """What holds of a choice, and from where; ``version`` counts its changes."""

    key: str
    label: str
    help: str
    takes: str
    value: Value
    default: Value
    source: Literal["environment", "chosen", "default"]
    security: bool
    version: int
    at: datetime | None
    by: str
    reason: str


class Past(Schema):
    """One change of a choice; null stands for the default."""

    version: int
    before: Value
    after: Value
    at: datetime
    by: str
    reason: str


class NewValue(In):
    """Another value (null: the default). A rule of access needs a reason. ``version``: that was looked at; 0: none."""

    value: bool | int | float | Annotated[str, Chars(500)] | None
    version: Seen
    reason: Annotated[str, Chars(200)] = ""


class TakeBack(In):
    """The version that was looked at."""

    version: Seen


def _shown(standing: Standing) -> Setting:
    choice = standing.choice
    return Setting(
        key=choice.key,
        label=str(choice.label),
        help=str(choice.help),
        takes=choice.takes,
        value=standing.value,
        default=choice.default,
        source=standing.source,
        security=choice.security,
        version=standing.version,
        at=standing.at,
        by=standing.by,
        reason=standing.reason,
    )


@area.get("/settings", list[Setting], "settings.see")
def list_settings(request: Request) -> object:
    """Everything that can be chosen, and what holds."""
    return [_shown(standing) for standing in values.listed()]


@area.get("/settings/{key}", Setting, "settings.see")
def get_setting(request: Request, key: Name) -> object:
    """One choice."""
    return _shown(values.standing(key))


@area.get("/settings/{key}/history", list[Past], "settings.see")
def setting_history(request: Request, key: Name) -> object:
    """The last changes of a choice, the newest first."""
    return values.history(key)


@area.post("/settings/{key}", Setting, "settings.change")
def change_setting(request: Request, key: Name, data: NewValue) -> object:
    """Chooses another value; it holds everywhere within two seconds."""
    _check_everywhere(request)
    by = {"actor": request.auth.actor, "address": request.auth.address}
    return _shown(values.change(key, data.value, expected_version=data.version, reason=data.reason, **by))


@area.post("/settings/{key}/undo", Setting, "settings.change")
def undo_setting(request: Request, key: Name, data: TakeBack) -> object:
    """Takes the last change of a choice back."""
    _check_everywhere(request)
    who = request.auth
    return _shown(values.undo(key, expected_version=data.version, actor=who.actor, address=who.address))


def _check_everywhere(request: Request) -> None:
    """Settings hold for all facilities."""
    if authorise.facilities(request.auth, "settings.change") is not None:
        raise Denied("settings.change everywhere")
