"""How a page ends after something was done: say so, and go on."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.functional import Promise


def is_part(request: HttpRequest) -> bool:
    """Whether a part of a page is asked for, and not a whole one (htmx says so)."""
    return request.headers.get("HX-Request") == "true"


def done(request: HttpRequest, text: str | Promise, to: str, *args: Any, **kwargs: Any) -> HttpResponse:
    """Says at the top of the next page what was done, and goes to ``to`` (a URL or its name; 303, PRG)."""
    messages.success(request, str(text))
    return there(request, to, *args, **kwargs)


def not_done(request: HttpRequest, text: str | Promise, to: str, *args: Any, **kwargs: Any) -> HttpResponse:
    """Says at the top of the next page why something was not done, and goes to ``to``."""
    messages.error(request, str(text))
    return there(request, to, *args, **kwargs)


def there(request: HttpRequest, to: str, *args: Any, **kwargs: Any) -> HttpResponse:
    """Goes to ``to`` with GET, from a whole page or from a part of one."""
    url = resolve_url(to, *args, **kwargs)
    if is_part(request):
        response = HttpResponse(status=204)
        response.headers["HX-Redirect"] = url
        return response
    answer = HttpResponseRedirect(url)
    answer.status_code = 303
    return answer
