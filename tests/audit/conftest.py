"""An audit of a few days, with several links and seals, for tests that do something to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from hozi.audit import chain
from hozi.audit.record import Code, Entry, Outcome, Type, record_many

DAYS, LINKS_A_DAY, ROWS_A_LINK = 3, 2, 4


@pytest.fixture
def written(db: None) -> None:
    """Rows of three days: the first two are sealed, the last one is today's."""
    now = timezone.now()
    for day in range(DAYS):
        at = now - timedelta(days=DAYS - 1 - day)
        for part in range(LINKS_A_DAY):
            record_many(
                entry(f"{day}.{part}.{number}", at + timedelta(microseconds=number)) for number in range(ROWS_A_LINK)
            )
            chain.link()
    chain.seal()


def entry(name: str, at: object = None) -> Entry:
    """An entry with something in every column."""
    return Entry(
        Code.INSTANCES_ACCESSED,
        "R",
        f"Rumbi {name}",
        Outcome.MINOR_FAILURE,
        address="192.0.2.7",
        issuer="GRANARY-HOSPITAL",
        patient_id=f"P{name}",
        study_uid="1.2.3",
        object_uid=f"1.2.3.{name}",
        facility="GRANARY",
        detail={"type": Type.RESTRICTED_FUNCTION, "Ünïcode": "→ \u05d0", "number": 3, "list": [1, "a", None]},
        at=at,  # type: ignore[arg-type]
    )


@contextmanager
def undone() -> Iterator[None]:
    """What is done in here is undone at the end, whatever a database would say against it."""
    if connection.vendor == "sqlite":
        connection.cursor().execute("PRAGMA ignore_check_constraints=1")
    try:
        with transaction.atomic():
            yield
            transaction.set_rollback(True)
    finally:
        if connection.vendor == "sqlite":
            connection.cursor().execute("PRAGMA ignore_check_constraints=0")
