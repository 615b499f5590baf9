"""`hozi doctor`: is this machine fit to run the archive? Looks, measures and advises; changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from hozi.doors.cli import preflight, preflight_network, preflight_web
from hozi.doors.cli.output import AsJson, printable, say, say_json
from hozi.doors.cli.preflight import Finding
from hozi.doors.cli.prepare import load

if TYPE_CHECKING:
    from hozi.settings import Settings

_WORDS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def register(app: typer.Typer) -> None:
    """Enters this command into the program."""
    app.command()(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Check disk, clock, ports, database, certificates and permissions; says what to do about each."""
    settings = load()
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            say(f"{_WORDS[finding.state]}  {finding.about:<12} {finding.found}")
            if finding.advice:
                print(f"      {'':<12} -> {printable(finding.advice)}")
    failed = sum(finding.state == "fail" for finding in findings)
    warned = sum(finding.state == "warn" for finding in findings)
    if as_json:
        say_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
    elif failed:
        print()
        say(f"{failed} of {len(findings)} checks failed: the archive cannot run well here.")
    else:
        print()
        say(f"Nothing stands in the way{f'; {warned} to look at' if warned else ''}.")
    if failed:
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, one after the other. A check that breaks is itself a finding."""
    started = time.time(), time.monotonic()
    checks: list[Callable[[Settings], Iterator[Finding]]] = [
        preflight.variables,
        preflight.home,
        preflight.room,
        preflight.flushes,
        preflight.clock,
        preflight_network.ports,
        preflight_network.tls,
        preflight_web.port,
        preflight_web.tls,
        preflight_web.key,
        preflight_web.files,
        preflight.database,
    ]
    for check in checks:
        try:
            yield from check(settings)
        except Exception as error:  # noqa: BLE001 - the other checks still say what they see
            yield Finding("fail", check.__name__, f"could not be checked ({type(error).__name__})", "")
    yield from preflight.clock_ran_evenly(*started)
