"""DELETE: what it names is rejected. It is not there any more, and nothing of it is deleted (see `archive.reject`)."""

from __future__ import annotations

import json

from hozi.archive import reject
from hozi.doors.dicomweb.exchange import Request, Response
from hozi.doors.dicomweb.frames import INSTANCE
from hozi.doors.dicomweb.routes import enter

_WHY = "Rejected by a program, without a word"


def register() -> None:
    """Enters the routes."""
    for pattern in ("/studies/{study}", "/studies/{study}/series/{series}", INSTANCE):
        enter("DELETE", pattern, reject.PERMISSION, delete)


def delete(request: Request) -> Response:
    """Rejects a study, a series or an object. Why may be told by the parameter ``reason``."""
    names = [request.names[name] for name in ("study", "series", "instance") if name in request.names]
    told = next(iter(request.asked("reason")), "").strip()
    number = reject.reject(request.who, *names, reason=told or _WHY)
    body = {"rejection": number, "detail": "It is not shown any more. The console takes that back, under Rejected."}
    return Response(200, [("content-type", "application/json")], json.dumps(body).encode())
