"""One's own account: what one may do, where one is signed in, one's tokens, language and look."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from hozi.accounts import profile, tokens
from hozi.accounts.profile import LANGUAGES, THEMES
from hozi.core.errors import NotThere
from hozi.doors.console import acts
from hozi.doors.console.access import Request, signed_in
from hozi.doors.console.people import once


@signed_in()
def me(request: Request) -> HttpResponse:
    """One's own account."""
    shown = profile.own(request.who)
    secret = once.seen(request, shown.id)
    context = {
        "place": "",
        "person": shown,
        "tokens": tokens.listed(request.who, shown.id),
        "sessions": profile.signed_in_at(request.who, shown.id),
        "this": request.session.session_key,
        "secret": secret,
        "languages": [("", _("As the hospital")), ("en", "English"), ("sn", "chiShona"), ("nd", "isiNdebele")],
        "themes": [
            ("", _("As the hospital")),
            ("auto", _("As the device")),
            ("light", _("Light")),
            ("dark", _("Dark")),
        ],
    }
    answer = render(request, "console/people/me.html", context)
    return once.forget(answer) if secret else answer


@signed_in(post=True, get=False)
def choices(request: Request) -> HttpResponse:
    """Takes another language or look."""
    language, theme = request.POST.get("language", ""), request.POST.get("theme", "")
    if language in LANGUAGES and theme in THEMES:
        profile.choose(request.who, language=language, theme=theme)
    return acts.done(request, _("Kept."), "me")


@signed_in(post=True, get=False)
def sign_out(request: Request) -> HttpResponse:
    """Signs oneself out of another browser, or of all others."""
    number, session = profile.own(request.who).id, request.POST.get("session", "")
    this = request.session.session_key or ""
    if session.isdigit():
        mine = {one.id: one.key for one in profile.signed_in_at(request.who, number)}
        if mine.get(int(session)) == this:
            raise NotThere("Sign out of this browser with Sign out")
        profile.sign_out(request.who, number, int(session))
    else:
        profile.sign_out(request.who, number, but=this)
    return acts.done(request, _("Signed out there."), "me")
