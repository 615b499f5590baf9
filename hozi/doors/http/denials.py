"""Who tried what they may not, for the audit: the same words behind every door that speaks HTTP."""

from __future__ import annotations

import functools
import re
from typing import Any, Final

from django.http import HttpRequest

from hozi.accounts.authorise import Who, home
from hozi.audit.record import Code, Entry, Outcome, Type, record
from hozi.core.pace import Bucket

#: Routes by which one thing is asked for by its number, of what is not everybody's.
_NUMBERED: Final = re.compile(r"(?:api/)?(?:studies|series|objects|exceptions|people|grants|tokens|reviews|audit)/")
_IN_ADDRESS: Final = ("number", "pk")
_IN_QUERY: Final = ("row", "study")
_BURST: Final = 10
_SECONDS: Final = 60.0
_MOST_PACED: Final = 10_000


def tell(who: Who, permission: str, page: str) -> None:
    """Writes down that somebody was refused for want of a permission, and where (PS3.15 A.5.3.11, Security Alert)."""
    _record(who, permission=permission[:200], page=page[:200])


def out_of_reach(request: HttpRequest, who: Who, page: str) -> None:
    """Writes down that somebody asked for one study, person ... by its number that is not there for them, or not at
    all: nobody looks which. Of each, in this process, ten and then as many a minute; the next says how many more.
    """
    match = request.resolver_match
    if match is None or not _NUMBERED.match(match.route):
        return
    said = [match.kwargs[name] for name in _IN_ADDRESS if name in match.kwargs]
    # What a program sends is JSON: there, nothing is to be read (again) here.
    forms = (request.GET,) if match.route.startswith("api/") else (request.GET, request.POST)
    said += [form[name] for form in forms for name in _IN_QUERY if name in form]
    number = str(said[0]) if said else ""
    if not (number.isascii() and number.isdecimal()):
        return
    _out_of_reach(who, page, number=number[:20])


def not_theirs(who: Who, uid: str, page: str) -> None:
    """The same for what is asked for by a UID."""
    _out_of_reach(who, page, uid=uid[:64])


def forget() -> None:
    """Begins to count anew."""
    _bucket.cache_clear()


@functools.lru_cache(maxsize=_MOST_PACED)
def _bucket(actor: str) -> Bucket:
    """How many attempts of this one are told, in this process."""
    return Bucket(_BURST, _BURST / _SECONDS)


def _out_of_reach(who: Who, page: str, **named: str) -> None:
    untold = _bucket(who.actor).take()
    if untold is not None:
        _record(who, page=page[:200], **named, **({"more": untold} if untold else {}))


def _record(who: Who, **detail: Any) -> None:
    told = {"type": Type.RESTRICTED_FUNCTION, **detail}
    facility, failed = home(who), Outcome.MINOR_FAILURE
    record(Entry(Code.SECURITY_ALERT, "E", who.actor, failed, address=who.address, facility=facility, detail=told))
