"""`hozi verify` and `hozi exceptions`: is all well with what is stored, and what waits for a person?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from hozi.doors.cli.output import AsJson, actor, say, say_json, table
from hozi.doors.cli.prepare import ready

_IN_WORDS = {
    "missing": "is in the index, but its file is gone",
    "length": "has a file of another length than was stored",
    "damaged": "has other bytes than were stored",
    "header": "has a damaged file header; the image itself is whole",
    "unindexed": "is a file that the index does not know",
    "unreadable": "has a file that the disk cannot read",
    "left": "is a file that a stopped server left; the next start takes it in",
    "incomplete": "is in the index, which does not say where its file is",
    "count": "is counted wrongly in the index",
}


def register(app: typer.Typer) -> None:
    """Enters these commands into the program."""
    app.command()(verify)
    app.command()(exceptions)


def verify(
    quick: Annotated[bool, typer.Option(help="Compare names and lengths only; read no file.")] = False,
    audit: Annotated[bool, typer.Option("--audit", help="Look at the audit instead: is every row as written?")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare index and disk, and every stored byte with its hash; or look at the audit. Reports, never mends."""
    ready()
    if audit:
        _verify_audit(as_json)
        return
    from hozi.archive import verify as checking

    found = checking.verify(hashes=not quick)
    if as_json:
        faults = [asdict(fault) for fault in found.faults]
        say_json({"objects": found.objects, "bytes": found.bytes, "quarantined": found.quarantined, "faults": faults})
    else:
        for fault in found.faults:
            say(f"{fault.object or fault.key} {_IN_WORDS[fault.kind]}{f' ({fault.key})' if fault.object else ''}")
        looked = "names and lengths" if quick else "every byte"
        say(
            f"{found.objects} objects ({found.bytes / 1e9:.1f} GB) and {found.quarantined} in quarantine, "
            f"{looked}: {len(found.faults) or 'no'} fault{'' if len(found.faults) == 1 else 's'}."
        )
        if any(fault.kind == "unindexed" for fault in found.faults):
            say("`hozi adopt` takes in what the index does not know, where it is this archive's and sound.")
    if not found.clean:
        raise typer.Exit(1)


def _verify_audit(as_json: bool) -> None:
    from hozi.audit.verify import Finding, verify_and_record

    found: list[Finding] = []

    def tell(finding: Finding) -> None:
        if as_json:
            found.append(finding)
            return
        where = f"row {finding.row}" if finding.row is not None else finding.kind
        say(f"{finding.day or '          '}  {where}: {finding.text}")

    summary = verify_and_record(actor(), tell)
    if as_json:
        say_json({**asdict(summary), "clean": summary.clean, "list": [asdict(finding) for finding in found]})
    else:
        say(
            f"{summary.rows} rows of the audit, {summary.links} links, {summary.seals} sealed days: "
            f"{summary.findings or 'no'} finding{'' if summary.findings == 1 else 's'}."
        )
        if summary.last_sealed:
            say(f"The last sealed day is {summary.last_sealed}.")
    if not summary.clean:
        raise typer.Exit(1)


def exceptions(as_json: AsJson = False) -> None:
    """List what the archive kept aside, or stored with a doubt, until a person decides."""
    ready()
    from django.utils import timezone

    from hozi.archive.exceptions import open_cases

    cases = list(open_cases())
    if as_json:
        say_json([asdict(case) for case in cases])
        return
    if not cases:
        say("No exceptions. Nothing needs you.")
        return
    rows = (
        (
            case.id,
            case.reason,
            "quarantine" if case.quarantined else "stored",
            case.actor,
            case.count,
            f"{timezone.localtime(case.last_at):%d %b %Y %H:%M}",
            case.sop_instance_uid,
        )
        for case in cases
    )
    table(("no.", "reason", "where it is", "from", "times", "last", "SOP Instance UID"), rows)
    for reason in sorted({case.reason for case in cases}):
        meaning = next(case.meaning for case in cases if case.reason == reason)
        say(f"{reason}: {meaning}")
