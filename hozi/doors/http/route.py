"""Tells the access log which page answered, by its route: an address with values in it may say too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse


class Route:
    """Middleware: leaves the route of the view that is chosen where the access log finds it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Nothing but the next one."""
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: Any, arguments: Any, keywords: Any) -> None:
        """Called when the view is known."""
        if request.resolver_match is not None:
            request.META["hozi.route"] = f"/{request.resolver_match.route}"
