"""Stamps say that something has changed since: who made something of a series keeps them, and looks at them again.

A series has one that changes when objects come into it or go, its study one that changes with every correction of
anything in it, each in the transaction that makes the change. They are random: no two states ever have the same, not
even after a database was put back to an earlier one.
"""

from __future__ import annotations

import secrets
from typing import Final

_BITS: Final = 62


def fresh() -> int:
    """A stamp that nothing ever had."""
    return secrets.randbits(_BITS)
