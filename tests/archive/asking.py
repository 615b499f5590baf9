"""Who asks, in tests of the rooms above the accounts: what they may do is held as a grant would give it."""

from __future__ import annotations

from hozi.accounts.authorise import Held, Scope, Who
from hozi.accounts.defaults import DEFAULT_ROLES

ROLES = {role.key: role for role in DEFAULT_ROLES}


def somebody(role: str, facility: str = "MAIN", *, actor: str = "rudo", permissions: str = "") -> Who:
    """Somebody with a role at one facility (empty: at all), or with just these permissions."""
    allowed = frozenset(permissions.split()) or ROLES[role].permissions
    return Who("person", actor, "192.168.1.9", (Held(allowed, Scope(facility=facility)),), 1)


def nobody() -> Who:
    """Somebody who is signed in and may do nothing."""
    return Who("person", "nobody", "192.168.1.9", (), 2)
