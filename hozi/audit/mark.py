"""The mark of a row: a keyed hash over everything that the row says, written together with it.

What is hashed is JSON: an array of text, in UTF-8, without spaces: the version of this form, the salt, and then the
columns in the order of `COLUMNS`, numbers in digits, the time as ``2026-11-24 08:31:00.123456`` in UTC (without the
fraction when it is none), the detail as JSON text with sorted names. No two rows have the same form.
"""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any, Final

COLUMNS: Final = (
    "at",
    "code",
    "action",
    "outcome",
    "actor",
    "address",
    "issuer",
    "patient_id",
    "study_uid",
    "object_uid",
    "facility",
    "type",
    "detail",
)
"""What a mark covers; the row's number is covered by the chain."""

SALT_BYTES: Final = 8
MARK_BYTES: Final = SALT_BYTES + 32

_VERSION: Final = "1"
_PLAIN: Final = frozenset((str, int, bool, type(None)))
_compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_sorted: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def mark(key: bytes, salt: bytes, texts: Sequence[str]) -> bytes:
    """The mark of a row whose columns (`COLUMNS`) are these texts: the salt, and then the hash.

    The salt makes the marks of two rows differ that say the same: a row with the mark of another one is a copy.
    """
    form = _compact([_VERSION, salt.hex(), *texts]).encode("utf-8", "surrogateescape")
    return salt + hmac.digest(key, form, "sha256")


def moment_text(at: datetime) -> str:
    """A time as it stands in the hashed form."""
    return str(at.astimezone(UTC).replace(tzinfo=None))


def detail_text(detail: dict[str, Any]) -> str:
    """The detail as JSON text that stays the same when it comes back from the database; takes what JSON does not."""
    for value in detail.values():
        if type(value) not in _PLAIN:
            detail = plain(detail)
            break
    return _sorted(detail)


def detail_again(value: str) -> str:
    """`detail_text` of a detail that a database gives back as JSON text of its own making."""
    return _sorted(json.loads(value))


def clean(text: str) -> str:
    """The text as every database takes it: no NUL, nothing that is no character."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def plain(value: Any) -> Any:
    """The value as JSON that every database gives back as it was: no fractions that change, no NUL, text for the rest.

    Lazy texts, enumerations, paths, UUIDs and times become text.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str):
        return clean(str(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        return {clean(str(plain(name))): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        members = [plain(one) for one in value]
        return sorted(members, key=str) if isinstance(value, (set, frozenset)) else members
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _number(value.total_seconds())
    return clean(str(value))


def _number(value: float) -> float | int | str:
    """PostgreSQL keeps numbers as decimals and forgets how they were written: only forms without exponent last."""
    if math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    text = repr(value)
    return text if "e" in text or "n" in text else value
