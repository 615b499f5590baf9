"""What needs somebody: each area says what of its own does, and Home shows it to whoever may do something about it.

An area registers a source beside its views:

    def _waiting(who: Who) -> Iterable[Need]:
        count = exceptions.count(who)
        if count:
            yield Need(
                "now",
                ngettext("%(count)d object lies in quarantine.", "%(count)d objects lie in quarantine.", count)
                % {"count": count},
                _("Look at it"),
                reverse("exceptions"),
            )

    needs.register("exceptions.see", _waiting)

One sentence with a figure, one action; say what is, not what ought to be done in general. A source is asked at every
look at Home: it counts with one cheap query, in reach of ``who`` (`authorise.facilities`), and names no patient. What
needs nobody is not said.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.accounts.permissions import BY_KEY

log = logging.getLogger(__name__)

Urgency = Literal["now", "soon", "sometime"]

_RANK: Final[dict[Urgency, int]] = {"now": 0, "soon": 1, "sometime": 2}
_EVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that needs somebody: a sentence with a figure, and where it is dealt with.

    ``urgency``: ``now`` (people wait, or something may be lost), ``soon`` (it gets worse by itself), ``sometime``.
    ``act`` are the words of the link to ``url``. ``since``: the older of two equally urgent ones comes first.
    """

    urgency: Urgency
    text: str | Promise
    act: str | Promise
    url: str
    since: datetime | None = None


Source = Callable[[Who], Iterable[Need]]

_sources: list[tuple[str, Source]] = []


def register(permission: str, source: Source) -> Source:
    """Asks the source from now on for everybody who holds the permission; returns it. Twice is once."""
    if permission not in BY_KEY:
        raise ValueError(f"there is no permission {permission!r}")
    if (permission, source) not in _sources:
        _sources.append((permission, source))
    return source


def of(who: Who) -> list[Need]:
    """What needs whoever asks, the worst first. A source that breaks is logged with an id, and is itself a need."""
    found: list[Need] = []
    for permission, source in _sources:
        if not authorise.may(who, permission):
            continue
        try:
            found.extend(source(who))
        except Exception:
            number = secrets.token_hex(4)
            log.exception("a source of needs broke (%s)", number, extra={"source": source.__module__})
            found.append(_broken(source, number))
    return sorted(found, key=lambda need: (_RANK[need.urgency], need.since or _EVER))


def _broken(source: Source, number: str) -> Need:
    area = source.__module__.rsplit(".", 1)[-1]
    try:
        url = reverse("about")
    except NoReverseMatch:
        url = "/"
    text = _("What needs you in “%(area)s” cannot be told: an error (%(number)s in the log).")
    return Need("now", text % {"area": area, "number": number}, _("About this system"), url)
