"""Rows of facilities, for this room: found, locked, checked for changes, and written into the audit."""

from __future__ import annotations

from typing import Any

from hozi.audit.record import Code, Entry, Type, record
from hozi.core.errors import Changed, NotThere
from hozi.facilities.models import Facility


def facility(code: str, *, lock: bool = False) -> Facility:
    """The row of the facility of that code, locked until the transaction ends if asked. Raises NotThere."""
    rows = Facility.objects.select_related("organisation").filter(code=code.strip().upper())
    row = (rows.select_for_update(of=("self",)) if lock else rows).first()
    if row is None:
        raise NotThere(f"There is no facility {code!r}", field="facility")
    return row


def to_change(code: str, expected: int) -> Facility:
    """`facility`, locked. Raises Changed when it is not of the version that the caller has looked at."""
    row = facility(code, lock=True)
    if row.version != expected:
        raise Changed(f"Somebody else has changed {row.code} since you looked: look again, then change it")
    return row


def audit(
    action: str,
    row: Facility,
    detail: dict[str, Any],
    actor: str,
    address: str,
    kind: Type = Type.SOFTWARE_CONFIGURATION,
) -> None:
    """Records an act on a facility or a part of it (PS3.15 A.5.3.11, Security Alert)."""
    told = {"type": kind.value, "facility": row.code, **detail}
    record(Entry(Code.SECURITY_ALERT, action, actor, address=address, facility=row.code, detail=told))
