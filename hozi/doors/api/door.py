"""The door itself: its areas, its errors, its description."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any, NoReturn

import structlog
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser

from hozi.accounts.authorise import Denied, Who
from hozi.core.errors import Changed, HoziError, NotThere, Refused, Unavailable
from hozi.doors.api.gate import TooFast
from hozi.doors.http import denials
from hozi.doors.http.signed_in import FactorMissing
from hozi.jobs.queue import describe

log = structlog.get_logger(__name__)

Say = Callable[..., HttpResponse]
"""Gives a refusal: status, words, request; and beside which field, and the number of the line in the log."""

_DESCRIPTION = """\
Everything that the console does, for programs. A token is shown as `Authorization: Bearer hozi_...`; what it reaches is
what its person reaches. What is out of reach is not there (404). A change names the `version` that was looked at, and
is answered 409 when somebody else was faster. Lists come in parts: `next` of one is `after` of the next.
"""


class _Strict(Parser):
    """JSON as the standard has it: no NaN, no key twice, not nested beyond reason."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            return json.loads(request.body, object_pairs_hook=_once, parse_constant=_no_constant)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def new() -> NinjaAPI:
    """A door without areas: how it reads, and how it says what is wrong."""
    api = NinjaAPI(
        title="Hozi",
        version="1",
        description=_DESCRIPTION,
        urls_namespace="api",
        docs_url=None,
        openapi_url=None,
        parser=_Strict(),
    )

    def say(status: int, detail: str, request: HttpRequest, *, field: str = "", number: str = "") -> HttpResponse:
        return api.create_response(request, {"detail": detail, "field": field, "id": number}, status=status)

    @api.exception_handler(Exception)
    def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
        return _translate(say, request, error)

    # Those for which ninja has handlers of its own, which would be nearer than that for all others.
    for kind in (HttpError, ValidationError, AuthenticationError, Http404):
        api.exception_handler(kind)(_unexpected)
    return api


def _translate(say: Say, request: HttpRequest, error: Exception) -> HttpResponse:
    """The one place where what went wrong becomes a status."""
    match error:
        case TooFast():
            answer = say(429, "Too many requests: ask more slowly", request)
            answer["Retry-After"] = "5"
            return answer
        case AuthenticationError():
            answer = say(401, "Show a token that works, or sign in", request)
            answer["WWW-Authenticate"] = 'Bearer realm="hozi"'
            return answer
        case FactorMissing():
            return say(403, str(error), request)
        case Denied():
            return _denied(say, request, error)
        case NotThere():
            _out_of_reach(request)
            return say(404, str(error), request, field=error.field)
        case Changed():
            return say(409, str(error), request, field=error.field)
        case Refused():
            return say(422, str(error), request, field=error.field)
        case ValidationError():
            detail, field = _first(error)
            return say(422, detail, request, field=field)
        case RequestDataTooBig():
            return say(413, "That is more than a request may hold", request)
        case HttpError():
            return say(error.status_code, str(error), request)
        case Http404():
            return say(404, "There is nothing here", request)
        case SuspiciousOperation() | UnreadablePostError():
            return say(400, "That cannot be read", request)
        case Unavailable() | InterfaceError():
            return _logged(say, 503, "Not possible now; try again later", request, error)
        case _:
            return _logged(say, 500, "Something went wrong here; the log says more", request, error)


def _denied(say: Say, request: HttpRequest, error: Denied) -> HttpResponse:
    who: Who | None = getattr(request, "who", None)
    if who is not None:
        denials.tell(who, str(error), f"api {request.method} {_route(request)}")
    return say(403, "You may not do this", request)


def _out_of_reach(request: HttpRequest) -> None:
    who: Who | None = getattr(request, "who", None)
    if who is not None:
        denials.out_of_reach(request, who, f"api {request.method} {_route(request)}")


def _logged(say: Say, status: int, detail: str, request: HttpRequest, error: Exception) -> HttpResponse:
    number = uuid.uuid4().hex[:12]
    known = isinstance(error, HoziError | DatabaseError)
    log.error("the API failed", id=number, route=_route(request), error=describe(error), known=known)
    return say(status, detail, request, number=number)


def _route(request: HttpRequest) -> str:
    """The route without what was put into it."""
    return request.resolver_match.route if request.resolver_match else ""


def _first(error: ValidationError) -> tuple[str, str]:
    """The first thing that is wrong, in words without what was sent, and where."""
    wrong = error.errors[0] if error.errors else {"loc": (), "msg": "that cannot be read"}
    where = [str(part) for part in wrong["loc"] if part not in ("body", "query", "path", "data", "paging")]
    said = str(wrong["msg"]).removeprefix("Value error, ")
    field = ".".join(where)
    return (f"{field}: {said}" if field else said), field
