"""The door itself, a WSGI application beside Django's: who asks, which route, what became of it.

It does not go through Django's middleware (decision record 18): what a page needs costs more than a frame does.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections

from hozi.accounts import authorise
from hozi.accounts.authorise import Denied, Who
from hozi.core.errors import Changed, HoziError, NotThere, Refused, Unavailable
from hozi.doors.dicomweb import (
    capabilities,
    frames,
    gate,
    metadata,
    objects,
    qido,
    rejecting,
    rendered,
    routes,
    stow,
    wado_uri,
)
from hozi.doors.dicomweb.exchange import (
    Malformed,
    NotAcceptable,
    Piece,
    Request,
    Response,
    TooLarge,
    Unprocessable,
    Unsupported,
)
from hozi.doors.dicomweb.gate import Forged, NotKnown
from hozi.doors.dicomweb.routes import ANYBODY, TABLE, Place, Route, Table
from hozi.doors.http import denials
from hozi.doors.http.signed_in import FactorMissing
from hozi.jobs.queue import describe

PREFIX: Final = "/dicom-web"
MOST_PARAMETERS: Final = 256
RETRY_SECONDS: Final = 5

log = structlog.get_logger(__name__)

Start = Callable[[str, list[tuple[str, str]]], Any]

_LINES: Final = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
# The body of "not there" says the same of what is not there and of what is not yours.
_NOT_THERE: Final = "There is nothing here, or it is not yours"


def register() -> None:
    """Enters the routes of every module of views."""
    for module in _MODULES:
        module.register()


_MODULES: Final[tuple[Any, ...]] = (
    # One line for each module of views.
    capabilities,
    objects,
    frames,
    rendered,
    qido,
    metadata,
    stow,
    rejecting,
    wado_uri,
)


def is_ours(environ: dict[str, Any]) -> bool:
    """Whether a request is for this door."""
    path: str = environ["PATH_INFO"]
    return path.startswith(PREFIX) and path[len(PREFIX) : len(PREFIX) + 1] in ("", "/")


class Door:
    """The application that answers what stands in a table of routes (PEP 3333)."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        """Answers one request."""
        close_old_connections()
        try:
            response = _answer(self._table, environ)
        finally:
            # A connection on which something went wrong is closed, as Django does at the end of a request.
            close_old_connections()
        start_response(_LINES[response.status], _headers(response))
        without_body = environ["REQUEST_METHOD"] == "HEAD" or response.status in (204, 304)
        if response.pieces is None:
            return [] if without_body else [response.body]
        pieces = Pieces(response.pieces)
        if without_body:
            pieces.close()
            return []
        return pieces


class Pieces:
    """An answer that streams; whoever sends it closes it."""

    streaming = True

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            yield piece if isinstance(piece, bytes) else bytes(piece)

    def close(self) -> None:
        """Closes what the view gave."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def _headers(response: Response) -> list[tuple[str, str]]:
    pairs = response.headers
    if response.pieces is None and response.status not in (204, 304) and not response.header("content-length"):
        pairs = [*pairs, ("content-length", str(len(response.body)))]
    return pairs


class _Asked:
    """What is known of a request so far, for what is said when it fails."""

    def __init__(self) -> None:
        self.who: Who | None = None
        self.page = "dicomweb"
        self.names: dict[str, str] = {}


def _answer(table: Table, environ: dict[str, Any]) -> Response:
    asked = _Asked()
    try:
        return _view(table, environ, asked)
    except Exception as error:  # noqa: BLE001 - a door: each becomes a status, and of what is unknown the log has more
        return _translate(error, asked)


def _view(table: Table, environ: dict[str, Any], asked: _Asked) -> Response:
    method: str = environ["REQUEST_METHOD"]
    found = table.find(_path(environ))
    if found is None:
        # Who is not known learns nothing, not even what there is.
        gate.who_asks(environ)
        raise NotThere(_NOT_THERE)
    place, names = found
    environ["hozi.route"] = PREFIX + place.pattern
    asked.page = f"dicomweb {method if len(method) < 8 else '?'} {place.pattern}"
    asked.who = who = gate.who_asks(environ)
    asked.names = names
    route = place.routes.get("GET" if method == "HEAD" else method)
    if route is None:
        return _other_method(method, place)
    if route.permission != ANYBODY:
        authorise.check(who, route.permission)
    routes.check(names)
    return route.view(_request(environ, route, who, names))


def _request(environ: dict[str, Any], route: Route, who: Who, names: dict[str, str]) -> Request:
    length = environ.get("CONTENT_LENGTH") or None
    return Request(
        who=who,
        method=route.method,
        names=names,
        query=_query(environ.get("QUERY_STRING", "")),
        headers=_Headers(environ),
        base=f"{environ['wsgi.url_scheme']}://{_host(environ)}{PREFIX}",
        body=environ["wsgi.input"],
        length=None if length is None else int(length),
    )


def _path(environ: dict[str, Any]) -> str:
    path: str = environ["PATH_INFO"]
    return path[len(PREFIX) :].encode("latin-1").decode("utf-8", "replace")


def _query(text: str) -> list[tuple[str, str]]:
    if not text:
        return []
    try:
        # As a URL has it, a plus is a plus where nobody filled in a form; but everybody's forms write spaces so.
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS, errors="strict")
    except UnicodeDecodeError:
        raise Malformed("The parameters are not in UTF-8") from None
    except ValueError:
        raise Malformed(f"There are more than {MOST_PARAMETERS} parameters") from None


class _Headers(dict[str, str]):
    """A request's headers by their names in small letters."""

    def __init__(self, environ: dict[str, Any]) -> None:
        super().__init__(
            (name[5:].replace("_", "-").lower(), value) for name, value in environ.items() if name.startswith("HTTP_")
        )
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if environ.get(name):
                self[name.replace("_", "-").lower()] = environ[name]


def _host(environ: dict[str, Any]) -> str:
    return str(environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}")


def _other_method(method: str, place: Place) -> Response:
    allowed = sorted({"OPTIONS", *place.routes, *(("HEAD",) if "GET" in place.routes else ())})
    if method == "OPTIONS":
        return Response(204, [("allow", ", ".join(allowed))])
    answer = problem(405, f"This can be asked with {', '.join(allowed)}")
    answer.headers.append(("allow", ", ".join(allowed)))
    return answer


def problem(status: int, detail: str, *, field: str = "", number: str = "") -> Response:
    """What went wrong, as RFC 9457 writes it."""
    told: dict[str, Any] = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    told |= {"field": field} if field else {}
    told |= {"id": number} if number else {}
    return Response(status, [("content-type", "application/problem+json")], json.dumps(told).encode())


def _translate(error: Exception, asked: _Asked) -> Response:
    """The one place where what went wrong becomes a status."""
    match error:
        case NotKnown():
            answer = problem(401, str(error))
            answer.headers.append(("www-authenticate", 'Bearer realm="hozi"'))
            return answer
        case FactorMissing() | Forged():
            return problem(403, str(error))
        case Denied():
            if asked.who is not None:
                denials.tell(asked.who, str(error), asked.page)
            return problem(403, "You may not do this")
        case NotThere():
            uid = next((asked.names[name] for name in ("instance", "series", "study") if name in asked.names), "")
            if asked.who is not None and uid:
                denials.not_theirs(asked.who, uid, asked.page)
            return problem(404, _NOT_THERE)
        case Changed():
            return problem(409, str(error), field=error.field)
        case Refused():
            return problem(400, str(error), field=error.field)
        case NotAcceptable():
            return problem(406, str(error))
        case Unsupported():
            return problem(415, str(error))
        case Unprocessable():
            return problem(422, str(error))
        case TooLarge():
            return problem(413, str(error))
        case Unavailable() | InterfaceError():
            answer = _logged(503, "Not possible now; try again later", error, asked)
            answer.headers.append(("retry-after", str(RETRY_SECONDS)))
            return answer
    return _logged(500, "Something went wrong here; the log says more", error, asked)


def _logged(status: int, detail: str, error: Exception, asked: _Asked) -> Response:
    number = uuid.uuid4().hex[:12]
    known = isinstance(error, HoziError | DatabaseError)
    log.error("DICOMweb failed", id=number, route=asked.page, error=describe(error), known=known)
    return problem(status, detail, number=number)


register()

application: Final = Door(TABLE)
