"""Pages that say what went wrong: plain, complete in themselves, without a word about what was asked for."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.utils.html import escape
from django.utils.translation import get_language, gettext_noop
from django.utils.translation import gettext as _

SAID: Final = {
    400: (gettext_noop("That was not understood"), gettext_noop("Go back, load the page again and try once more.")),
    403: (
        gettext_noop("This is not open to you"),
        gettext_noop(
            "If your work needs it, ask the administrator of this archive. If you have just signed in, try again."
        ),
    ),
    404: (gettext_noop("There is nothing here"), gettext_noop("It may have been removed, or it is not open to you.")),
    405: (gettext_noop("This cannot be done here"), gettext_noop("Go back and try another way.")),
    408: (gettext_noop("It took too long to arrive"), gettext_noop("The connection may be slow or broken. Try again.")),
    411: (gettext_noop("Its length is missing"), gettext_noop("Send it with a Content-Length.")),
    413: (gettext_noop("That is too large"), gettext_noop("Send a smaller file, or fewer at once.")),
    414: (gettext_noop("That address is too long"), gettext_noop("Go back and choose less at once.")),
    429: (gettext_noop("Too much at once"), gettext_noop("Wait a moment, then try again.")),
    431: (gettext_noop("The browser said too much"), gettext_noop("Delete this site's cookies, then try again.")),
    500: (
        gettext_noop("Something went wrong here"),
        gettext_noop("It is in the log. If it happens again, tell the administrator the number below."),
    ),
    503: (gettext_noop("Too busy at the moment"), gettext_noop("Wait a moment, then try again.")),
}
"""What each status means to a person, and what to do about it."""

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui,sans-serif;margin:12vh auto 0;max-width:32rem;padding:0 1rem}"
    "h1{font-size:1.4rem}p{margin:.6rem 0}small{opacity:.7}a{color:#96610b}"
    "@media(prefers-color-scheme:dark){a{color:#e0a94a}}"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of these pages: they load nothing, and run nothing."""


def page(status: int, number: str) -> bytes:
    """A page of HTML for that status; ``number`` is what the request is called in the log."""
    title, advice = (_(text) for text in SAID.get(status) or SAID[500 if status >= 500 else 400])
    return (
        f'<!doctype html>\n<html lang="{escape(get_language() or "en")}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Hozi</title><style>{_STYLE}</style></head>\n"
        f'<body><main><h1>{escape(title)}</h1><p>{escape(advice)}</p><p><a href="/">{escape(_("To the start"))}</a></p>'
        f"<p><small>{status} · {escape(number)}</small></p></main></body></html>\n"
    ).encode()


def answer(request: HttpRequest, status: int) -> HttpResponse:
    """That page as an answer; in plain text where no browser asked."""
    number = str(request.META.get("hozi.request", ""))
    if "text/html" in request.headers.get("Accept", "text/html"):
        response = HttpResponse(page(status, number), status=status)
        response["Content-Security-Policy"] = POLICY
    else:
        title, _advice = SAID.get(status) or SAID[400]
        response = HttpResponse(f"{title} ({number})\n", status=status, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    return response


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400; or 413 when more was sent than is taken."""
    return answer(request, 413 if isinstance(exception, RequestDataTooBig) else 400)


def denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403: whoever asks may not."""
    return answer(request, 403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403: the form came from elsewhere, or from before a new sign-in."""
    return answer(request, 403)


def not_there(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404: it is not there, or not for whoever asks; which of the two is not told."""
    return answer(request, 404)


def broken(request: HttpRequest) -> HttpResponse:
    """500: our fault. The log has the place, under the number that the page shows."""
    return answer(request, 500)
