"""Secrets that are shown once: from the answer that made them to the page that shows them, in a cookie of the browser
of whoever made them, for two minutes. So they stand neither in an address nor in the database.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from django.core import signing
from django.http import HttpRequest, HttpResponse

_COOKIE: Final = "hozi_once"
_SALT: Final = "hozi.console.once"
_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Secret:
    """What is shown: ``kind`` is link or token, ``of`` the id of the account, ``text`` the secret."""

    kind: str
    of: int
    text: str


def hand(answer: HttpResponse, request: HttpRequest, secret: Secret) -> HttpResponse:
    """Gives the secret to the browser with the answer, for the next page."""
    text = signing.dumps([request.user.pk, secret.kind, secret.of, secret.text], salt=_SALT)
    answer.set_cookie(
        _COOKIE, text, max_age=_SECONDS, httponly=True, samesite="Strict", secure=request.is_secure(), path="/"
    )
    return answer


def seen(request: HttpRequest, of: int) -> Secret | None:
    """The secret of that account that is to be shown now, if there is one; `forget` it with the answer."""
    try:
        by, kind, whose, text = signing.loads(request.COOKIES.get(_COOKIE, ""), salt=_SALT, max_age=_SECONDS)
    except (signing.BadSignature, ValueError, json.JSONDecodeError):
        return None
    return Secret(kind, whose, text) if (by, whose) == (request.user.pk, of) else None


def forget(answer: HttpResponse) -> HttpResponse:
    """The secret has been shown."""
    answer.delete_cookie(_COOKIE, path="/", samesite="Strict")
    return answer
