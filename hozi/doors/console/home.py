"""Home: what needs me now, the worst first. Each line is one sentence with a figure, and one action."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from hozi.doors.console import acts, needs
from hozi.doors.console.access import Request, signed_in


@signed_in()
def home(request: Request) -> HttpResponse:
    """What needs whoever looks; the list alone when it is asked for again."""
    found = needs.of(request.who)
    context = {"place": "home", "needs": found, "at": timezone.now()}
    part = acts.is_part(request)
    return render(request, "console/home/needs.html" if part else "console/home/home.html", context)
