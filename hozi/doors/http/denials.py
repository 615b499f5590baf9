"""Who tried what they may not, for the audit: the same words behind every door that speaks HTTP."""

from __future__ import annotations

from hozi.accounts.authorise import Who
from hozi.audit.record import Code, Entry, Outcome, Type, record


def tell(who: Who, permission: str, page: str) -> None:
    """Writes down that somebody was refused for want of a permission, and where (PS3.15 A.5.3.11, Security Alert)."""
    detail = {"type": Type.RESTRICTED_FUNCTION, "permission": permission[:200], "page": page[:200]}
    record(Entry(Code.SECURITY_ALERT, "E", who.actor, Outcome.MINOR_FAILURE, address=who.address, detail=detail))
