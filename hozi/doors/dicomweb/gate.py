"""Who asks at this door: a program with a bearer token, or a page of the console with its session.

The same rules as at the other doors for programs; what they say of somebody is believed for KEPT_SECONDS, since a
viewer asks for a thousand frames in a second. A session counts as it does in the console (second factor, end of the
shift), and its unsafe requests need the token against forged ones.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.middleware import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.functional import SimpleLazyObject

from hozi.accounts import sessions, tokens
from hozi.accounts.authorise import Denied, Who
from hozi.core.errors import HoziError
from hozi.doors.http import signed_in

KEPT_SECONDS: Final = 2.0
"""So long may a token that was ended go on opening what it opened."""

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_MOST_KEPT: Final = 1000


class NotKnown(HoziError):
    """Nobody is signed in, and no token that works was shown: 401."""


class Forged(Denied):
    """An unsafe request with a session, but without the token that only our own pages know: 403."""


class Kept:
    """What was found out about somebody, for a moment; bounded."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._found: dict[tuple[str, ...], tuple[float, Who]] = {}

    def get(self, key: tuple[str, ...], find: Callable[[], Who | None]) -> Who | None:
        """What ``find`` says, or said a moment ago. That nobody is known is not kept."""
        now = time.monotonic()
        kept = self._found.get(key)
        if kept is not None and now - kept[0] < self._seconds:
            return kept[1]
        who = find()
        if who is not None:
            if len(self._found) >= _MOST_KEPT:
                self._found.clear()
            self._found[key] = (now, who)
        return who

    def forget(self) -> None:
        """Asks anew."""
        self._found.clear()


KEPT: Final = Kept(KEPT_SECONDS)


def who_asks(environ: dict[str, Any]) -> Who:
    """Whoever shows a token that works, or is signed in. Raises NotKnown, FactorMissing and Forged."""
    address = str(environ.get("REMOTE_ADDR") or "")
    shown = environ.get("HTTP_AUTHORIZATION")
    if shown is not None:
        who = KEPT.get(("token", shown, address), lambda: _of_token(shown, address))
    else:
        who = _of_session(environ, address)
    if who is None:
        raise NotKnown("Show a token that works, or sign in")
    return who


def _of_token(shown: str, address: str) -> Who | None:
    scheme, _, token = shown.partition(" ")
    return tokens.of_token(token.strip(), address) if scheme.lower() == "bearer" else None


def _of_session(environ: dict[str, Any], address: str) -> Who | None:
    if settings.SESSION_COOKIE_NAME not in environ.get("HTTP_COOKIE", ""):
        return None
    # The body stays unread: what it says is for the view, and a token in a form does not count here.
    without = {**environ, "wsgi.input": io.BytesIO(), "CONTENT_LENGTH": "", "CONTENT_TYPE": ""}
    request = WSGIRequest(without)
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    if request.method not in SAFE:
        who = _signed_in(request, key)
        if who is not None and _is_forged(request):
            raise Forged("Send the token of the console's page (X-CSRFToken) with this")
        return who
    return KEPT.get(("session", key, address), lambda: _signed_in(request, key))


def _signed_in(request: HttpRequest, key: str) -> Who | None:
    request.session = SessionStore(key)
    request.user = SimpleLazyObject(lambda: get_user(request))  # type: ignore[assignment]
    try:
        if not signed_in.is_signed_in(request):
            return None
        who = signed_in.who_asks(request)
        if who is not None and who.person is not None:
            browser = request.META.get("HTTP_USER_AGENT", "")
            sessions.seen(who.person, key, signed_in.address_of(request) or "0.0.0.0", browser)  # noqa: S104
        return who
    finally:
        if request.session.modified and not request.session.is_empty():
            request.session.save()


def _is_forged(request: HttpRequest) -> bool:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    middleware = CsrfViewMiddleware(view)
    middleware.process_request(request)
    return middleware.process_view(request, view, (), {}) is not None
