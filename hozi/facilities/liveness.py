"""Whether devices answer when they are called: the state of each, since when, and what the last echoes said."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from django.db import transaction

from hozi.facilities.models import Device, Liveness

State = Literal["unknown", "up", "unsteady", "down"]

KEPT: Final = 48
"""So many echoes are remembered of each device: four hours, when it is called each five minutes."""

FAILURES_UNTIL_DOWN: Final = 2
"""One echo may be lost; a device that fails twice in a row is down."""


@dataclass(frozen=True, slots=True)
class Echo:
    """How one call went: a sentence, what to do about it, the protocol's own words, and how long it took."""

    at: datetime
    ok: bool
    summary: str
    advice: str = ""
    technical: str = ""
    milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class Alive:
    """Whether a device (of that ``number``) answers. ``since``: how long it has been up or down (None: not known yet).

    ``history``: the last echoes, the oldest first; None instead of milliseconds where it did not answer.
    """

    name: str
    number: int
    up: bool | None
    since: datetime | None
    failures: int
    last: Echo
    history: tuple[tuple[datetime, int | None], ...]

    @property
    def state(self) -> State:
        """`down` after two failures in a row; `unsteady` after one; `up`; `unknown` before the first answer."""
        if self.up is False:
            return "down"
        if self.failures:
            return "unsteady"
        return "up" if self.up else "unknown"


def note(name: str, echo: Echo) -> Alive | None:
    """Keeps how an echo to that device went, and returns how it stands now; None when there is no such device."""
    with transaction.atomic():
        device = Device.objects.filter(name=name).first()
        if device is None:
            return None
        row = Liveness.objects.select_for_update().filter(device=device).first() or Liveness(device=device)
        if echo.ok:
            if not row.up:
                row.up, row.since = True, echo.at
            row.failures, row.failing_since = 0, None
        else:
            row.failures += 1
            row.failing_since = row.failing_since or echo.at
            if row.failures >= FAILURES_UNTIL_DOWN and row.up is not False:
                row.up, row.since = False, row.failing_since
        row.at, row.milliseconds = echo.at, echo.milliseconds if echo.ok else None
        row.summary, row.advice, row.technical = echo.summary, echo.advice, echo.technical
        row.history = [*row.history, [round(echo.at.timestamp()), row.milliseconds]][-KEPT:]
        row.save()
    return _alive(name, row)


def standing() -> dict[str, Alive]:
    """By name, every device that was ever called."""
    return {row.device.name: _alive(row.device.name, row) for row in Liveness.objects.select_related("device")}


def down(within: Collection[str] | None = None) -> list[Alive]:
    """The devices of these facilities (None: all) that are down, the one that has been so longest first."""
    rows = Liveness.objects.filter(up=False).select_related("device").order_by("since")
    if within is not None:
        rows = rows.filter(device__facility__code__in=within)
    return [_alive(row.device.name, row) for row in rows]


def of(name: str) -> Alive | None:
    """How the device of that name stands; None when it was never called."""
    row = Liveness.objects.filter(device__name=name).first()
    return _alive(name, row) if row else None


def forget(device: Device) -> None:
    """The device is called at another place, or by another name, from now on: what was known holds no more."""
    Liveness.objects.filter(device=device).delete()


def _alive(name: str, row: Liveness) -> Alive:
    ok = row.failures == 0
    return Alive(
        name=name,
        number=row.device_id,
        up=row.up,
        since=row.since,
        failures=row.failures,
        last=Echo(row.at, ok, row.summary, row.advice, row.technical, row.milliseconds),
        history=tuple((datetime.fromtimestamp(at, UTC), milliseconds) for at, milliseconds in row.history),
    )
