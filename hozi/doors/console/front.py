"""What a person chooses for themselves: language and look."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from hozi.doors.console import acts
from hozi.doors.console.access import public, settling
from hozi.doors.console.middleware import LANGUAGES

_YEAR = 365 * 24 * 3600
THEMES = ("light", "dark", "auto")


@settling()
def settle(request: HttpRequest) -> HttpResponse:
    """Says that a second factor is needed, and leads to the ways of setting one up."""
    return render(request, "console/settle.html")


@public(post=True)
def language(request: HttpRequest) -> HttpResponse:
    """Takes another language: for good when somebody is signed in, else for this browser."""
    answer = acts.there(request, _back(request))
    chosen = request.POST.get("language", "")
    if chosen in LANGUAGES:
        answer.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            chosen,
            max_age=_YEAR,
            httponly=True,
            samesite="Lax",
            secure=request.is_secure(),
        )
        _keep(request, language=chosen)
    return answer


@settling(post=True, get=False)
def theme(request: HttpRequest) -> HttpResponse:
    """Takes another look: light, dark, or as the device says."""
    chosen = request.POST.get("theme", "")
    if chosen in THEMES:
        _keep(request, theme=chosen)
    return acts.there(request, _back(request))


def _keep(request: HttpRequest, **choice: str) -> None:
    if request.user.is_authenticated:
        get_user_model()._default_manager.filter(pk=request.user.pk).update(**choice)


def _back(request: HttpRequest) -> str:
    back = request.POST.get("next", "/")
    return back if url_has_allowed_host_and_scheme(back, allowed_hosts=None) else "/"
