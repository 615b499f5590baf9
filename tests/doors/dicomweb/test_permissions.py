"""Every route, every role: who may, may; nobody else. The table says by hand what each route needs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hozi.accounts.defaults import DEFAULT_ROLES
from hozi.doors.dicomweb.exchange import Response
from hozi.doors.dicomweb.routes import ANYBODY, TABLE, Table
from tests.doors.dicomweb.conftest import Call

NEEDS: dict[str, str] = {
    # Method and pattern, and the permission; in the order of the alphabet.
    "DELETE /studies/{study}": "studies.reject",
    "DELETE /studies/{study}/series/{series}": "studies.reject",
    "DELETE /studies/{study}/series/{series}/instances/{instance}": "studies.reject",
    "GET /wado": "studies.open",
    "GET /studies/{study}": "studies.open",
    "GET /studies/{study}/series/{series}": "studies.open",
    "GET /studies/{study}/series/{series}/instances/{instance}": "studies.open",
    **{
        f"GET /studies/{{study}}/series/{{series}}/instances/{{instance}}/bulkdata/{path}": "studies.open"
        for depth in range(8)
        for path in [
            "".join(f"{{tag_{one}}}/{{item_{one}}}/" for one in "abcdefg"[:depth]) + f"{{tag_{'abcdefgh'[depth]}}}"
        ]
    },
    "GET /studies/{study}/series/{series}/instances/{instance}/frames/{frames}": "studies.open",
    "GET /studies/{study}/series/{series}/instances/{instance}/metadata": "studies.open",
    **{
        f"GET /studies/{{study}}{path}/{kind}": "studies.open"
        for kind in ("rendered", "thumbnail")
        for path in (
            "",
            "/series/{series}",
            "/series/{series}/instances/{instance}",
            "/series/{series}/instances/{instance}/frames/{frames}",
        )
    },
    "GET /studies/{study}/series/{series}/metadata": "studies.open",
    "GET /studies/{study}/metadata": "studies.open",
    "GET /": ANYBODY,
    "OPTIONS /": ANYBODY,
    "GET /instances": "studies.find",
    "GET /series": "studies.find",
    "GET /studies": "studies.find",
    "GET /studies/{study}/instances": "studies.find",
    "GET /studies/{study}/series": "studies.find",
    "GET /studies/{study}/series/{series}/instances": "studies.find",
    "POST /studies": "studies.store",
    "POST /studies/{study}": "studies.store",
}


def _asked(table: Table) -> dict[str, str]:
    return {f"{route.method} {route.pattern}": route.permission for route in table}


def _unlike(table: Table, needs: dict[str, str]) -> set[str]:
    """Routes that ask for something else than was decided, and those about which nothing was, or that are gone."""
    return {name for name, _ in _asked(table).items() ^ needs.items()}


def test_every_route_asks_for_the_permission_that_was_decided() -> None:
    assert not _unlike(TABLE, NEEDS)


def test_a_route_about_which_nothing_was_decided_is_found() -> None:
    table = Table()
    table.enter("GET", "/studies", ANYBODY, lambda request: Response())
    assert _unlike(table, {}) == {"GET /studies"}
    assert _unlike(table, {"GET /studies": "studies.find"}) == {"GET /studies"}


@pytest.mark.django_db
@pytest.mark.parametrize("role", DEFAULT_ROLES, ids=lambda role: role.key)
def test_whoever_may_may_and_nobody_else(role: Any, calls: Call) -> None:
    caller = calls(role.key)
    wrong = []
    for route in TABLE:
        path = re.sub(r"\{[a-z_]+\}", "1", route.pattern)
        may = route.permission == ANYBODY or route.permission in role.permissions
        status = caller.ask(route.method, path, body=b"" if route.method == "POST" else None).status
        if (status >= 500 and status != 503) or status == 401 or (status == 403) == may:
            wrong.append(f"{route.method} {route.pattern}: {status}")
    assert not wrong
