"""All regular work of the archive, in one list: what the worker does again and again, and how often."""

from __future__ import annotations

from typing import Final

from hozi.jobs import regular
from hozi.settings import HOZI

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


def register() -> None:
    """Enters every piece of regular work; the worker then does what is due (`jobs/regular.py`)."""
    from hozi.accounts import drift, emergency, reviews, sweep
    from hozi.archive import metadata, uploads
    from hozi.audit import chain, forward, verify
    from hozi.doors.dimse import liveness

    if HOZI.echo_minutes:
        regular.every(HOZI.echo_minutes * MINUTE, "echo devices", liveness.echo_all)
    regular.every(1, "chain of the audit", chain.link_and_seal)
    if HOZI.audit_syslog:
        regular.every(1, "copy of the audit", forward.forward)
    regular.every(DAY, "is the audit whole", verify.verify_daily)
    regular.every(HOUR, "accounts whose time is up", sweep.sweep)
    regular.every(5 * MINUTE, "end of emergency access", emergency.expire)
    regular.every(HOUR, "access reviews", reviews.look)
    regular.every(DAY, "drift of access", drift.run)
    regular.every(5, "metadata of series", metadata.settle)
    regular.every(DAY, "metadata of series that are gone", metadata.sweep)
    regular.every(HOUR, "uploads that nobody went on with", uploads.sweep)
