"""Does what people may do agree with what was decided? How the last comparison ended, and a new one on demand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from hozi.accounts import authorise
from hozi.accounts import drift as room
from hozi.accounts.authorise import Denied, Who
from hozi.doors.console import acts, needs
from hozi.doors.console.access import Request, page
from hozi.doors.console.needs import Need

READ: Final = "audit.read"


@page(READ, post=READ)
def drift(request: Request) -> HttpResponse:
    """What the last comparison found; sending the page compares anew."""
    if not _everywhere(request.who):
        raise Denied(READ)
    if request.method == "POST":
        count = len(room.run())
        if not count:
            return acts.done(request, _("Everything is as it was decided."), "drift")
        text = ngettext("%(count)d thing was changed outside of Hozi.", "%(count)d things were.", count)
        return acts.not_done(request, text % {"count": count}, "drift")
    return render(request, "console/drift/drift.html", {"place": "audit", "last": room.last()})


def _everywhere(who: Who) -> bool:
    """It is about all people: for whoever reads the audit of all facilities."""
    return authorise.facilities(who, READ) is None


def _found(who: Who) -> Iterable[Need]:
    last = room.last() if _everywhere(who) else None
    if last is not None and last.count:
        text = ngettext(
            "%(count)d thing that people may do was changed outside of Hozi.",
            "%(count)d things that people may do were changed outside of Hozi.",
            last.count,
        )
        yield Need("now", text % {"count": last.count}, _("See what"), reverse("drift"), last.at)


needs.register(READ, _found)

urlpatterns: list[URLPattern] = [path("audit/drift/", drift, name="drift")]
