"""What stands before every page: who asks, whether they may, in which language, and what becomes of refusals."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from hozi.accounts import authorise, sessions
from hozi.accounts.authorise import Denied, Who
from hozi.choices.values import get_or_default as chosen
from hozi.core.errors import Changed, NotThere, Refused
from hozi.doors.console import acts
from hozi.doors.console.access import OTHER_DOORS, Rule, rule_of
from hozi.doors.http import denials, second_factor, shift
from hozi.doors.http.signed_in import address_of

log = logging.getLogger(__name__)

_NOBODY: Final = Who("person", "nobody")

Respond = Callable[[HttpRequest], HttpResponseBase]


class Gate:
    """Lets a request through to a view when the view's rule allows it; a view without a rule is not there.

    Sets ``request.who`` and ``request.address``; turns `Denied`, `NotThere`, `Changed` and `Refused` that a view did
    not deal with into pages.
    """

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        address = address_of(request)
        request.address = address  # type: ignore[attr-defined]
        request.who = SimpleLazyObject(lambda: who_asks(request, address))  # type: ignore[attr-defined]
        response = self._respond(request)
        if "Cache-Control" not in response.headers:
            # Whoever takes this computer next finds nothing of patients behind the button Back.
            response.headers["Cache-Control"] = "no-store"
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Asks the view's rule."""
        match = request.resolver_match
        if match is not None and OTHER_DOORS & set(match.app_names + match.namespaces):
            return None
        rule = rule_of(view, match.url_name if match else None)
        if rule is None:
            log.error("a view has no rule of access: %s.%s", view.__module__, getattr(view, "__qualname__", "?"))
            return _not_there(request)
        method = request.method or ""
        if not rule.allows(method):
            return HttpResponseNotAllowed(_methods(rule))
        if rule.level == "public":
            return None
        if not request.user.is_authenticated or shift.is_over(request):
            return _to_sign_in(request)
        _note(request)
        if rule.level == "settling":
            return None
        if second_factor.is_missing(request):
            return _elsewhere(request, reverse("settle"))
        who: Who = request.who  # type: ignore[attr-defined]
        needed = rule.needed(method)
        if needed and not any(authorise.may(who, permission) for permission in needed):
            return _denied(request, " / ".join(needed))
        return None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Refusals as pages in plain words."""
        if isinstance(error, Denied):
            return _denied(request, str(error))
        if isinstance(error, NotThere):
            denials.out_of_reach(request, request.who, _name(request))  # type: ignore[attr-defined]
            return _not_there(request)
        if isinstance(error, Changed):
            return _page(request, 409, _("Somebody else has changed it"), str(error))
        if isinstance(error, Refused):
            return _page(request, 422, _("That is not possible"), str(error))
        return None


class Language:
    """In the language that the person chose, else that of the cookie, of the hospital, or of the browser."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        person = getattr(request.user, "language", "") if request.user.is_authenticated else ""
        chosen = person if person in LANGUAGES else _language_of(request)
        with translation.override(chosen):
            request.LANGUAGE_CODE = chosen
            response = self._respond(request)
        response.headers.setdefault("Content-Language", chosen)
        return response


LANGUAGES: Final = ("en", "sn", "nd")
_PROBES: Final = ("/healthz", "/readyz")


def _language_of(request: HttpRequest) -> str:
    """English is what the hospital has when it has chosen nothing: the browser's language goes before it."""
    if request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME) not in LANGUAGES and request.path not in _PROBES:
        hospital = str(chosen("console.default_language"))
        if hospital != settings.LANGUAGE_CODE:
            return hospital
    return translation.get_language_from_request(request)


def who_asks(request: HttpRequest, address: str) -> Who:
    """The signed-in person, as one who asks; nobody, when none is."""
    if not request.user.is_authenticated or request.user.pk is None:
        return _NOBODY
    return authorise.of_person(request.user.pk, address) or _NOBODY


def _note(request: HttpRequest) -> None:
    """Whoever is signed in is here now: for the list of their sessions, and since idle accounts are disabled."""
    key, browser = request.session.session_key, request.META.get("HTTP_USER_AGENT", "")
    if key and request.user.pk is not None:
        sessions.seen(request.user.pk, key, address_of(request) or "0.0.0.0", browser)  # noqa: S104


def _methods(rule: Rule) -> list[str]:
    return [method for method in ("GET", "HEAD", "POST") if rule.allows(method)]


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    back = request.get_full_path() if request.method in ("GET", "HEAD") and not acts.is_part(request) else "/"
    return _elsewhere(request, f"{reverse('account_login')}?{urlencode({'next': back})}")


def _elsewhere(request: HttpRequest, url: str) -> HttpResponse:
    if acts.is_part(request):
        response = HttpResponse(status=204)
        response.headers["HX-Redirect"] = url
        return response
    return HttpResponseRedirect(url)


def _denied(request: HttpRequest, permission: str) -> HttpResponse:
    who: Who = request.who  # type: ignore[attr-defined]
    denials.tell(who, permission, _name(request))
    return _page(
        request,
        403,
        _("You may not do this"),
        _("Your roles do not allow it. Whoever looks after people here can give you a role that does."),
    )


def _name(request: HttpRequest) -> str:
    """The name of the page."""
    return request.resolver_match.view_name if request.resolver_match else ""


def _not_there(request: HttpRequest) -> HttpResponse:
    return _page(
        request, 404, _("There is nothing here"), _("The address is wrong, it has been removed, or it is not yours.")
    )


def _page(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    name = "console/refused_part.html" if acts.is_part(request) else "console/refused.html"
    return render(request, name, {"title": title, "text": text, "status": status}, status=status)
