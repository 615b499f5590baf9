"""What somebody looks for, kept in their session under a key without meaning: no address says whom they look for."""

from __future__ import annotations

import secrets
from typing import Final

from hozi.doors.console.access import Request

_MOST: Final = 12


def keep(request: Request, place: str, told: dict[str, str]) -> str:
    """Keeps what was asked at a place of the console; returns the key for it. Nothing asked for has none.

    The oldest of a place is forgotten when there are more than twelve.
    """
    if not told:
        return ""
    kept: dict[str, dict[str, str]] = dict(request.session.get(place, {}))
    for key, one in kept.items():
        if one == told:
            return key
    key = secrets.token_urlsafe(6)
    kept[key] = told
    while len(kept) > _MOST:
        del kept[next(iter(kept))]
    request.session[place] = kept
    return key


def under(request: Request, place: str, key: str) -> dict[str, str]:
    """What was kept under that key; an unknown or forgotten key means nothing."""
    return dict(request.session.get(place, {}).get(key, {}))
