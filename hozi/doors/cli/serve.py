"""`hozi serve`: everything that runs all the time; and each part of it alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer

from hozi.doors.cli import logs, supervise
from hozi.doors.cli.output import AsJson, say, say_json
from hozi.doors.cli.prepare import WrongSettings, alone, load, migrate, open_home, run_folder

if TYPE_CHECKING:
    from hozi.doors.cli.preflight import Finding
    from hozi.settings import Settings

PARTS = ("dimse", "web", "worker")
"""What runs: the DICOM listener, the console, and the worker that does durable jobs."""

log = structlog.get_logger(__name__)


def register(app: typer.Typer) -> None:
    """Enters this command into the program."""
    app.command()(serve)


def serve(
    only: Annotated[str, typer.Option(help="Run these parts only: dimse, web, worker; several with commas.")] = "",
    supervisor: Annotated[int, typer.Option(hidden=True)] = 0,
    as_json: AsJson = False,
) -> None:
    """Run the archive until it is told to stop (Ctrl-C or SIGTERM)."""
    parts = list(dict.fromkeys(part.strip() for part in only.split(",") if part.strip())) or list(PARTS)
    if wrong := [part for part in parts if part not in PARTS]:
        raise typer.BadParameter(f"there is no part {wrong[0]!r} (there are: {', '.join(PARTS)})")
    if supervisor:
        supervise.die_with(supervisor)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    os.umask(0o077)
    settings = load()
    from hozi.settings import unknown_variables

    open_home(settings)
    run = run_folder(settings)
    [name, what] = [parts[0], f"Hozi's part {parts[0]}"] if len(parts) == 1 else ["serve", "Hozi"]
    logs.configure(settings.log_level, part=name, as_json=as_json or None)
    if not supervisor:
        for variable, advice in unknown_variables().items():
            log.warning("no such setting", variable=variable, advice=advice)
    _check_tls(settings, parts)
    with alone(run / f"{name}.lock", what):
        if migrate(settings):
            log.info("database brought up to date")
        with nullcontext() if supervisor else _audited(parts):
            if len(parts) == 1:
                run_part(name, settings, stop, as_json=as_json)
            else:
                watch = supervise.Supervisor(parts, run, stop, lambda part: _command(part, as_json))
                watch.run(lambda: _banner(settings, run, as_json))


def _check_tls(settings: Settings, parts: list[str]) -> None:
    """Says what is wrong with the certificates before anything starts, not in a part that starts again and again."""
    from hozi.doors.cli import preflight_network, preflight_web

    findings: list[Finding] = []
    if "dimse" in parts and settings.dicom_tls_port is not None:
        findings += preflight_network.tls(settings)
    if "web" in parts:
        findings += preflight_web.tls(settings)
        findings += preflight_web.key(settings)
    for finding in findings:
        if finding.state == "fail":
            raise WrongSettings(f"{finding.about}: {finding.found}: {finding.advice}")


def run_part(part: str, settings: Settings, stop: threading.Event, *, as_json: bool = False) -> None:
    """Runs one part in this process until ``stop`` is set. ``run/<part>.json`` says that it is ready, and its ports."""
    file = run_folder(settings) / f"{part}.json"
    file.unlink(missing_ok=True)

    def ready(facts: dict[str, Any]) -> None:
        unfinished = file.with_suffix(".new")
        unfinished.write_text(json.dumps({"pid": os.getpid(), **facts}))
        unfinished.replace(file)
        log.info("ready", **facts)

    try:
        if part == "dimse":
            from hozi.doors.dimse import server

            server.run(stop, ready)
        elif part == "web":
            from hozi.doors.cli import web

            web.run(settings, stop, ready, as_json=as_json or None)
        else:
            # Registers the handlers of the jobs that this worker can do.
            from hozi.doors.cli import routine
            from hozi.doors.dimse import commitment, sending  # noqa: F401
            from hozi.jobs import worker

            routine.register()
            ready({})
            worker.run(stop)
    finally:
        file.unlink(missing_ok=True)
    log.info("stopped")


@contextmanager
def _audited(parts: list[str]) -> Iterator[None]:
    """Records that the archive starts, once for the whole of it, and that it stops (PS3.15 §A.5.3.1).

    Raises Broken before anything starts when this node would mark the audit with another key than the rest.
    """
    from django.db import DatabaseError, connections

    from hozi.audit import chain
    from hozi.audit.record import Code, Entry, Type, record

    def tell(kind: Type) -> None:
        detail = {"type": kind, "parts": parts, "host": socket.gethostname(), "pid": os.getpid()}
        record(Entry(Code.APPLICATION_ACTIVITY, "E", "hozi", detail=detail))
        connections.close_all()  # a supervisor needs none while it waits

    chain.check_key()
    tell(Type.APPLICATION_START)
    try:
        yield
    finally:
        try:
            tell(Type.APPLICATION_STOP)
        except DatabaseError as error:
            log.warning("that Hozi stopped is not in the audit", error=type(error).__name__)


def _command(part: str, as_json: bool) -> list[str]:
    serve = [sys.executable, "-m", "hozi", "serve", "--only", part, "--supervisor", str(os.getpid())]
    return [*serve, "--json"] if as_json else serve


def ports(run: Path, part: str = "dimse") -> dict[str, Any]:
    """What a part said about itself when it was ready: ``pid``, ``port`` ...; empty when it is not."""
    try:
        facts: dict[str, Any] = json.loads((run / f"{part}.json").read_text())
    except (OSError, ValueError):
        return {}
    return facts


def _setup_link(console: str) -> str | None:
    """The link that makes the first administrator, while nobody can administer; each start makes a new one."""
    from django.db import connections

    from hozi.accounts import invitations

    secret = invitations.setup_link() if console else None
    connections.close_all()
    return f"{console.rstrip('/')}{invitations.path(secret)}" if secret else None


def _banner(settings: Settings, run: Path, as_json: bool) -> None:
    facts, web = ports(run), ports(run, "web")
    tls_port = facts.get("tls_port")
    link = _setup_link(str(web.get("url", "")))
    if as_json:
        say_json(
            {
                "ae_title": settings.ae_title,
                "host": settings.dicom_host,
                "port": facts.get("port"),
                "tls_port": tls_port,
                "console": web.get("url"),
                "setup_link": link,
                "home": settings.home.absolute(),
            }
        )
    else:
        say("Hozi is ready.")
        if web:
            say(f"  console    {web['url']}")
        if link:
            say(f"  begin      {link}")
            say("             (nobody can administer it yet: this link makes the first administrator, once)")
        say(f"  DICOM      AE title {settings.ae_title}, address {settings.dicom_host}, port {facts.get('port')}")
        say(f"  DICOM TLS  {f'port {tls_port}' if tls_port else 'switched off (HOZI_DICOM_TLS_PORT)'}")
        say(f"  home       {settings.home.absolute()}")
        say("  devices    let one call, then: hozi device knocked; hozi device admit NO. [NAME]")
        say("  stop       Ctrl-C")
    sys.stdout.flush()
