"""The one way to write into the audit: rows are added, never changed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Final

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Count, Max, Min
from django.utils import timezone

from hozi.audit.key import key
from hozi.audit.mark import COLUMNS, SALT_BYTES, clean, detail_text, mark, moment_text, plain
from hozi.audit.models import Event
from hozi.rows import Insert, Json, Row

_INSERT: Final = Insert(Event)
_MOST_AT_ONCE: Final = 500  # databases limit how many values one statement may have


class Code(StrEnum):
    """Kinds of event, by their DICOM code (PS3.15 A.5, PS3.16 CID 400)."""

    APPLICATION_ACTIVITY = "110100"
    AUDIT_LOG_USED = "110101"
    BEGIN_TRANSFERRING = "110102"
    INSTANCES_ACCESSED = "110103"
    INSTANCES_TRANSFERRED = "110104"
    STUDY_DELETED = "110105"
    EXPORT = "110106"
    IMPORT = "110107"
    PATIENT_RECORD = "110110"
    PROCEDURE_RECORD = "110111"
    QUERY = "110112"
    SECURITY_ALERT = "110113"
    USER_AUTHENTICATION = "110114"


class Type(StrEnum):
    """What exactly happened, by its DICOM code (PS3.16 CID 401); stands in ``detail["type"]``."""

    APPLICATION_START = "110120"
    APPLICATION_STOP = "110121"
    LOGIN = "110122"
    LOGOUT = "110123"
    NODE_AUTHENTICATION = "110126"
    EMERGENCY_OVERRIDE_STARTED = "110127"
    NETWORK_CONFIGURATION = "110128"
    SECURITY_CONFIGURATION = "110129"
    SOFTWARE_CONFIGURATION = "110131"
    RESTRICTED_FUNCTION = "110132"
    AUDIT_RECORDING_STOPPED = "110133"
    AUDIT_RECORDING_STARTED = "110134"
    OBJECT_ATTRIBUTES_CHANGED = "110135"
    SECURITY_ROLES_CHANGED = "110136"
    USER_ATTRIBUTES_CHANGED = "110137"
    EMERGENCY_OVERRIDE_STOPPED = "110138"


class Outcome(IntEnum):
    """How it ended (PS3.15 A.5, EventOutcomeIndicator)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


@dataclass(frozen=True, slots=True)
class Entry:
    """One event to be recorded. ``action``: Create, Read, Update, Delete or Execute, by its first letter.

    ``facility`` is the code of the one to which what was done belongs; whoever may read one facility's audit sees it.
    """

    code: Code
    action: str
    actor: str
    outcome: Outcome = Outcome.SUCCESS
    address: str = ""
    issuer: str = ""
    patient_id: str = ""
    study_uid: str = ""
    object_uid: str = ""
    facility: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    at: datetime | None = None


def brought(actor: str, study_uid: str, object_uid: str) -> bool:
    """Whether somebody has brought this object into the archive, or brought it again."""
    came = Event.objects.filter(study_uid=study_uid, object_uid=object_uid, actor=actor, action="C")
    return came.filter(code=Code.INSTANCES_TRANSFERRED, outcome=Outcome.SUCCESS).exists()


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Objects of a study that one actor brought from one place: how many, and when the first and last came."""

    code: str
    actor: str
    address: str
    count: int
    first: datetime
    last: datetime


def arrivals(study_uid: str) -> list[Arrivals]:
    """Who has brought objects of this study into the archive, the first to come first; at most some hundred."""
    came = Event.objects.filter(study_uid=study_uid, action="C", code__in=(Code.INSTANCES_TRANSFERRED, Code.IMPORT))
    groups = came.filter(outcome=Outcome.SUCCESS).values_list("code", "actor", "address").order_by()
    rows = groups.annotate(count=Count("pk"), first=Min("at"), last=Max("at")).order_by("first")
    return [Arrivals(*row) for row in rows[:_MOST_AT_ONCE]]


def looked_since(look: Entry, since: datetime) -> bool:
    """Whether the audit has a row from then on of the same look: by whom, at what of whom."""
    rows = Event.objects.filter(study_uid=look.study_uid, object_uid=look.object_uid, actor=look.actor)
    same = rows.filter(issuer=look.issuer, patient_id=look.patient_id, facility=look.facility)
    kind = same.filter(code=look.code, action=look.action, outcome=look.outcome, detail__opened=look.detail["opened"])
    return kind.filter(at__gte=since).exists()


def record(*entries: Entry) -> None:
    """Adds the entries within the transaction that is open: they stand or fall with it."""
    record_many(entries)


def record_many(entries: Iterable[Entry], cursor: CursorWrapper | None = None) -> None:
    """`record` for any number of entries, in one statement; through a cursor that is open, where there is one."""
    now = timezone.now()
    now_text = moment_text(now)
    secret = key()
    entries = list(entries)
    salts = os.urandom(SALT_BYTES * len(entries))
    rows = [
        _row(entry, now if entry.at is None else entry.at, now_text if entry.at is None else "", secret, salt)
        for entry, salt in zip(entries, _pieces(salts), strict=True)
    ]
    with nullcontext(cursor) if cursor is not None else connection.cursor() as given:
        for first in range(0, len(rows), _MOST_AT_ONCE):
            _INSERT(given, rows[first : first + _MOST_AT_ONCE])


def _pieces(salts: bytes) -> Iterator[bytes]:
    return (salts[at : at + SALT_BYTES] for at in range(0, len(salts), SALT_BYTES))


def _row(entry: Entry, at: datetime, at_text: str, secret: bytes, salt: bytes) -> Row:
    """The columns of an entry's row, with its mark."""
    kind = entry.detail.get("type", "")
    texts = [
        at_text or moment_text(at),
        entry.code.value,
        entry.action,
        str(entry.outcome.value),
        entry.actor[:128],
        entry.address[:64],
        entry.issuer[:64],
        entry.patient_id[:256],
        entry.study_uid[:64],
        entry.object_uid[:64],
        entry.facility[:16],
        str(kind)[:16] if kind else "",
        detail_text(entry.detail),
    ]
    try:
        marked = mark(secret, salt, texts)
        if "\0" in "".join(texts) or "\\u0000" in texts[-1]:
            raise ValueError
    except ValueError:  # NUL, or half a character: what a stranger sent must not keep an act out of the audit
        texts = [clean(text) for text in texts[:-1]] + [detail_text(plain(entry.detail))]
        marked = mark(secret, salt, texts)
    row: dict[str, Any] = dict(zip(COLUMNS, texts, strict=True))
    row["at"], row["outcome"], row["detail"], row["mark"] = at, entry.outcome.value, Json(texts[-1]), marked
    return row
