"""Calls devices to see that they answer: one when somebody asks, all of them again and again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from django.utils import timezone

from hozi.core.dimse.terms import Timeouts
from hozi.core.errors import Refused
from hozi.doors.dimse.echo import EchoReport, explain_echo
from hozi.doors.dimse.reach import reach
from hozi.facilities import liveness
from hozi.facilities.devices import Permit, listed
from hozi.facilities.liveness import Echo

AT_ONCE: Final = 4
"""Calls at the same time; a hospital whose scanners are all off costs so many waits, and not one after the other."""

PATIENCE: Final = Timeouts(artim=5.0, idle=5.0, message=5.0)
"""How long a device may take at each step: a scanner in the same house answers in milliseconds."""


def echo_now(device: Permit, timeouts: Timeouts = PATIENCE) -> EchoReport:
    """Calls the device, keeps how it went, and says it in words. Raises Refused where there is no port to call."""
    report = _call(device, timeouts)
    _keep(device, report)
    return report


def echo_all(timeouts: Timeouts = PATIENCE) -> int:
    """Calls every device that has a port, some at a time, and keeps how each went. Returns how many answered."""
    devices = [device for device in listed() if device.port is not None]
    reports = _call_all(devices, timeouts)
    for device, report in zip(devices, reports, strict=True):
        _keep(device, report)
    return sum(report.ok for report in reports)


def _call_all(devices: Sequence[Permit], timeouts: Timeouts) -> list[EchoReport]:
    # The threads touch sockets alone; what they bring back is written down by one, with one connection.
    if not devices:
        return []
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(devices)), thread_name_prefix="echo") as callers:
        return list(callers.map(lambda device: _reported(device, timeouts), devices))


def _reported(device: Permit, timeouts: Timeouts) -> EchoReport:
    try:
        return _call(device, timeouts)
    except Refused as error:  # TLS without a certificate of ours, say
        return EchoReport(False, f"{device.name} cannot be called from here.", f"{error}.")


def _call(device: Permit, timeouts: Timeouts) -> EchoReport:
    way = reach(device)
    return explain_echo(
        way["host"],
        way["port"],
        calling_ae=way["calling_ae"],
        called_ae=way["called_ae"],
        tls=way["tls"],
        timeouts=timeouts,
    )


def _keep(device: Permit, report: EchoReport) -> None:
    echo = Echo(timezone.now(), report.ok, report.summary, report.advice, report.technical, report.milliseconds)
    liveness.note(device.name, echo)
