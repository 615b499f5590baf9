"""Devices as they are: who may talk to the archive, who answers, who knocked, and what one did lately."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.core.errors import Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.devices import knocks, lately
from hozi.doors.dimse import liveness as calls
from hozi.facilities import acceptance, heard, liveness
from hozi.facilities.devices import Permit, listed, permit_by_number
from hozi.facilities.heard import LastHeard
from hozi.facilities.liveness import Alive
from hozi.settings import HOZI

_WIDTH, _HEIGHT = 96, 16
_SHORTEST_MEMORY = 15  # minutes


@dataclass(frozen=True, slots=True)
class Row:
    """A device as the list shows it. ``spark``: points of a line (milliseconds of the last echoes)."""

    device: Permit
    alive: Alive | None
    heard: LastHeard | None
    spark: str

    @property
    def old(self) -> bool:
        """Whether it was not called lately, so that nobody knows how it is now."""
        return self.alive is not None and is_old(self.alive)

    @property
    def called_at(self) -> datetime | None:
        """When it called last."""
        return self.heard.called_at if self.heard else None

    @property
    def stored_at(self) -> datetime | None:
        """When it last brought an image."""
        return self.heard.stored_at if self.heard else None


@page("devices.see")
def devices(request: Request) -> HttpResponse:
    """All devices, and who knocked; the tables alone when they are asked for again."""
    rows = _rows(request.who)
    states = [row.alive.state for row in rows if row.alive is not None and not row.old]
    context: dict[str, Any] = {
        "place": "devices",
        "rows": rows,
        "down": states.count("down"),
        "knocks": knocks.shown(request.who),
        "own": HOZI,
        "may_change": authorise.may(request.who, "devices.change"),
        "trials": acceptance.all_going_on(within(request.who)),
    }
    told = [(one.knock.pk, one.knock.count, one.suggestions) for one in context["knocks"]]
    context["seen"] = seen(rows, [row.old for row in rows], told, context["trials"])
    if not acts.is_part(request):
        return render(request, "console/devices/list.html", context)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "console/devices/tables.html", context)


@page("devices.see")
def device(request: Request, number: int) -> HttpResponse:
    """One device: what it is, whether it answers, what it did lately, its trials."""
    permit = permit_by_number(number, within(request.who))
    alive = liveness.of(permit.name)
    context = {
        "place": "devices",
        "device": permit,
        "alive": alive,
        "old": alive is not None and is_old(alive),
        "spark": spark(alive, 4 * _WIDTH, 2 * _HEIGHT) if alive else "",
        "heard": heard.last_heard().get(permit.name),
        "lines": lately.of(permit),
        "days": lately.DAYS,
        "trials": acceptance.of_device(permit.name),
        "going_on": acceptance.going_on(permit.name),
        "may_change": may_change(request.who, permit),
    }
    return render(request, "console/devices/one.html", context)


@action("devices.see")
def call(request: Request, number: int) -> HttpResponse:
    """Calls the device now (C-ECHO), and goes back to its page, which says how that went."""
    permit = permit_by_number(number, within(request.who))
    try:
        report = calls.echo_now(permit)
    except Refused as refused:
        return acts.not_done(request, str(refused), "device", number)
    if report.ok:
        return acts.done(request, report.summary, "device", number)
    return acts.not_done(request, _("It does not answer: see why below."), "device", number)


def seen(*told: object) -> str:
    """A short name for what a part of a page tells: while it is the same, the part is left as it is.

    Whoever reads a part, or has opened something in it, is not disturbed for nothing.
    """
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def within(who: Who) -> frozenset[str] | None:
    """The facilities whose devices are seen (None: all)."""
    codes = authorise.facilities(who, "devices.see")
    return None if codes is None else frozenset(codes)


def may_change(who: Who, permit: Permit) -> bool:
    """Whether who asks may change this device."""
    if not authorise.may(who, "devices.change"):
        return False
    codes = authorise.facilities(who, "devices.change")
    return codes is None or permit.facility in codes


def is_old(alive: Alive) -> bool:
    """Whether the last echo is too long ago to say how the device is now: it is not called any more."""
    after = timedelta(minutes=max(3 * HOZI.echo_minutes, _SHORTEST_MEMORY))
    return timezone.now() - alive.last.at > after


def spark(alive: Alive, width: int = _WIDTH, height: int = _HEIGHT) -> str:
    """The answers of the last echoes as points of an SVG line, oldest left; a device that did not answer is at 0."""
    taken = [milliseconds for _at, milliseconds in alive.history]
    if len(taken) < 2:
        return ""
    most = max((value for value in taken if value is not None), default=0) or 1
    step = width / (len(taken) - 1)

    def high(value: int | None) -> float:
        return 0.0 if value is None else (height - 2) * (0.25 + 0.75 * value / most)

    return " ".join(f"{number * step:.1f},{height - 1 - high(value):.1f}" for number, value in enumerate(taken))


def _rows(who: Who) -> Sequence[Row]:
    codes = within(who)
    known, called = liveness.standing(), heard.last_heard()
    rows = [
        Row(permit, alive, called.get(permit.name), spark(alive) if alive else "")
        for permit in listed()
        if codes is None or permit.facility in codes
        for alive in (known.get(permit.name),)
    ]
    return sorted(rows, key=lambda row: _RANK[row.alive.state if row.alive else "unknown"])


_RANK = {"down": 0, "unsteady": 1, "up": 2, "unknown": 2}
