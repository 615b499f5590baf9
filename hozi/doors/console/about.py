"""About: which version this is, how it stands, whom to call, and who made what it is made of."""

from __future__ import annotations

from typing import Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.doors.console import health, licences, needs
from hozi.doors.console.access import Request, signed_in
from hozi.doors.console.needs import Need

_SYSTEM: Final = "system.see"


@signed_in()
def about(request: Request) -> HttpResponse:
    """Version, licence and help for everybody; the state of the system for whoever may see it."""
    looks = authorise.may(request.who, _SYSTEM)
    findings = health.findings() if looks else []
    context = {
        "place": "about",
        "versions": health.versions() if looks else health.versions()[:1],
        "findings": findings,
        "wrong": sum(entry.state in ("warn", "bad") for entry in findings),
        "report": health.report(with_settings=authorise.may(request.who, "settings.see")) if looks else "",
    }
    return render(request, "console/about/about.html", context)


@signed_in()
def of_others(request: Request) -> HttpResponse:
    """What others made, with the licence of each."""
    return render(request, "console/about/licences.html", {"place": "about", "packages": licences.packages()})


urlpatterns: list[URLPattern] = [
    path("about/", about, name="about"),
    path("about/licences/", of_others, name="licences"),
]


def _waiting(who: Who) -> list[Need]:
    """What is wrong with the system, each a need of its own."""
    return [
        Need(
            "now" if entry.state == "bad" else "soon",
            f"{entry.about}: {entry.found}. {entry.advice}".strip(),
            _("Look at it"),
            reverse("about"),
        )
        for entry in health.findings()
        if entry.state in ("warn", "bad")
    ]


needs.register(_SYSTEM, _waiting)
