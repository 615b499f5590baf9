"""Who asks, and whether they may: every route is made here, and says which permission it needs.

A program asks with a bearer token, a page of the console with its session (and the token against forged requests). A
route without a permission cannot be made; one for everybody who is known says so (`ANYBODY`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from django.conf import settings
from django.http import HttpRequest
from ninja import Router
from ninja.operation import Operation
from ninja.security import APIKeyCookie, HttpBearer

from hozi.accounts import authorise, tokens
from hozi.accounts.authorise import Denied, Who
from hozi.accounts.permissions import BY_KEY
from hozi.core.errors import Refused
from hozi.core.pace import Bucket
from hozi.doors.api.schemas import Problem
from hozi.doors.http import signed_in
from hozi.doors.http.signed_in import address_of
from hozi.settings import HOZI

ANYBODY: Final = "anybody"
"""Instead of a permission: whoever is known at all."""

PROBLEMS: Final = (400, 401, 403, 404, 409, 413, 422, 429, 500, 503)
"""The statuses with which a route may refuse; each with a `Problem`."""

_BURST: Final = 300
_MOST_PACED: Final = 10_000

View = TypeVar("View", bound=Callable[..., Any])


class Request(HttpRequest):
    """A request behind the gate: ``auth`` is who asks."""

    auth: Who


class TooFast(Exception):
    """Whoever asks has asked too often."""


@dataclass
class Route:
    """What a route needs (one of these permissions), and the parameters that its address may have."""

    needs: tuple[str, ...]
    parameters: frozenset[str] = frozenset()


class Token(HttpBearer):
    """Lets in whoever shows a bearer token that works, and holds one of the permissions."""

    openapi_name = "token"
    openapi_description = "A token: `hozi user token`, or *My account* in the console."

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.route = route

    def authenticate(self, request: HttpRequest, token: str) -> Who | None:
        """Who asks; None when the token does not work (any more, or from there)."""
        who = tokens.of_token(token, address_of(request))
        return None if who is None else _let_in(request, who, self.route)


class Session(APIKeyCookie):
    """Lets in whoever is signed in to the console, second factor and all, and holds one of the permissions."""

    param_name = settings.SESSION_COOKIE_NAME

    def __init__(self, route: Route) -> None:
        super().__init__(csrf=True)
        self.route = route
        self.openapi_name = "session"

    def __call__(self, request: HttpRequest) -> Who | None:
        """Who asks; None when nobody is signed in, or when a token was shown: that one counts."""
        return super().__call__(request) if signed_in.is_signed_in(request) else None

    def authenticate(self, request: HttpRequest, key: str | None) -> Who | None:
        """Who asks; None when the account does not work any more."""
        who = signed_in.who_asks(request)
        return None if who is None else _let_in(request, who, self.route)


class Area:
    """The routes of one area (devices, people ...), each with what it needs: one of the permissions named."""

    def __init__(self, name: str) -> None:
        self.router = Router(tags=[name])

    def get(self, path: str, answer: Any, *needs: str, extra: Any = None) -> Callable[[View], View]:
        """Something is looked at. ``extra``: what else OpenAPI is to say."""
        return self._route("GET", path, {200: answer}, needs, extra)

    def post(
        self, path: str, answer: Any, *needs: str, status: int = 200, extra: Any = None
    ) -> Callable[[View], View]:  # fmt: skip
        """Something is done; ``status`` 201: something was made."""
        return self._route("POST", path, {status: answer}, needs, extra)

    def patch(self, path: str, answer: Any, *needs: str) -> Callable[[View], View]:
        """Something is changed: what is named, and nothing else."""
        return self._route("PATCH", path, {200: answer}, needs)

    def delete(self, path: str, *needs: str) -> Callable[[View], View]:
        """Something is removed."""
        return self._route("DELETE", path, {204: None}, needs)

    def _route(
        self, method: str, path: str, answers: dict[Any, Any], needs: tuple[str, ...], extra: Any = None
    ) -> Callable[[View], View]:
        if not needs or not all(key == ANYBODY or key in BY_KEY for key in needs):
            raise ValueError(f"{method} {path}: a route needs a permission that is there, or ANYBODY")

        route = Route(needs)

        def enter(view: View) -> View:
            self.router.api_operation(
                [method],
                path,
                auth=[Token(route), Session(route)],
                response=answers | dict.fromkeys(PROBLEMS, Problem),
                operation_id=view.__name__,
                summary=_first_line(view),
                openapi_extra={"x-permissions": list(needs), **(extra or {})},
            )(view)
            route.parameters = _parameters(self.router.path_operations[path].operations[-1])
            return view

        return enter


def _parameters(operation: Operation) -> frozenset[str]:
    """What may stand behind the question mark."""
    models = [model for model in operation.models if model.__ninja_param_source__ == "query"]
    return frozenset(name for model in models for name in getattr(model, "__ninja_flatten_map__", model.model_fields))


def _let_in(request: HttpRequest, who: Who, route: Route) -> Who:
    request.who = who  # type: ignore[attr-defined]
    if _bucket(who.actor).take() is None:
        raise TooFast
    if ANYBODY not in route.needs and not any(authorise.may(who, permission) for permission in route.needs):
        raise Denied(" / ".join(route.needs))
    # A filter with a slip in its name must not read as none.
    if unknown := sorted(set(request.GET) - route.parameters):
        raise Refused("There is no such parameter", field=unknown[0][:64])
    return who


@functools.lru_cache(maxsize=_MOST_PACED)
def _bucket(actor: str) -> Bucket:
    """How fast this one may ask, in this process."""
    return Bucket(burst=_BURST, per_second=HOZI.api_requests_per_minute / 60)


def _first_line(view: Callable[..., Any]) -> str:
    return (view.__doc__ or "").strip().split("\n")[0].rstrip(".")
