"""What this door offers, told to programs (PS3.18 §8.9), in WADL or the same in JSON: made from the table of routes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from hozi.core.dicom.keys import BY_TAG
from hozi.doors.dicomweb import accept, qido, routes
from hozi.doors.dicomweb.accept import Offer
from hozi.doors.dicomweb.asked import OWN, everything
from hozi.doors.dicomweb.exchange import PRIVATE, Request, Response
from hozi.doors.dicomweb.routes import ANYBODY, TABLE, Route, View

_WADL: Final = Offer("application/vnd.sun.wadl+xml")
_OTHER_XML: Final = Offer("application/xml")
_JSON: Final = Offer("application/json")
_OFFERS: Final = (_WADL, _OTHER_XML, _JSON)

_NAME: Final = re.compile(r"\{([a-z_]+)\}")

#: The levels whose elements the resources of queries match.
_LEVELS: Final[dict[View, str]] = {qido.studies: "STUDY", qido.series: "SERIES", qido.instances: "IMAGE"}


def register() -> None:
    """Enters the routes of the description."""
    routes.enter("GET", "/", ANYBODY, describe)
    routes.enter("OPTIONS", "/", ANYBODY, describe)


def describe(request: Request) -> Response:
    """Everything that can be asked here, and what may stand in a query."""
    offer = accept.choose(accept.wanted(request.headers.get("accept", "")), _OFFERS)
    body = _json(request.base) if offer is _JSON else _wadl(request.base)
    headers = [("content-type", f"{offer.media}; charset=utf-8"), ("cache-control", PRIVATE), ("vary", "Accept")]
    return Response(200, headers, body)


def parameters(route: Route) -> list[str]:
    """What may stand behind the question mark of a query, sorted; of another route: nothing is told."""
    level = _LEVELS.get(route.view)
    if level is None:
        return []
    return sorted(OWN - {"charset"}) + sorted(BY_TAG[tag].keyword for tag in everything(level))


def _each(tell: Callable[[Route], Any]) -> Iterator[tuple[str, list[Any]]]:
    """What is to be told of each route, by its pattern."""
    for pattern in sorted({route.pattern for route in TABLE}):
        yield pattern, [tell(route) for route in TABLE if route.pattern == pattern]


@lru_cache(maxsize=16)
def _json(base: str) -> bytes:
    def tell(route: Route) -> dict[str, Any]:
        return {"method": route.method, "does": _does(route), "parameters": parameters(route)}

    resources = [{"path": pattern, "methods": methods} for pattern, methods in _each(tell)]
    return json.dumps({"base": base, "resources": resources}).encode()


@lru_cache(maxsize=16)
def _wadl(base: str) -> bytes:
    def tell(route: Route) -> str:
        inside = "".join(f'<param name={quoteattr(name)} style="query"/>' for name in parameters(route))
        asked = f"<request>{inside}</request>" if inside else ""
        return f"<method name={quoteattr(route.method)}><doc title={quoteattr(_does(route))}/>{asked}</method>"

    resources = "".join(
        f"<resource path={quoteattr(pattern.strip('/'))}>"
        + "".join(f'<param name="{name}" style="template"/>' for name in _NAME.findall(pattern))
        + f"{''.join(methods)}</resource>"
        for pattern, methods in _each(tell)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<application xmlns="http://wadl.dev.java.net/2009/02">'
        f"<resources base={quoteattr(f'{base}/')}>{resources}</resources></application>\n"
    ).encode()


def _does(route: Route) -> str:
    return (route.view.__doc__ or "").strip().split("\n")[0].rstrip(".")
