"""Every role before every page: who gets in is written down, line by line, in `matrix.csv`, and held here.

A page that is not in the table fails, and so does one that lets in anybody else than the table says. Rows read:
view, method, and the roles that get past the door; what lies behind it (another facility's things, what is not there)
is the business of the tests of each area.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from hozi.doors.console.access import Rule, rule_of
from tests.guards.test_access import _patterns
from tests.people import ACCOUNTS

TABLE = Path(__file__).with_name("matrix.csv")
EVERYBODY = "everybody"
FILLED = {"number": 999999, "pk": 999999, "grant": 999999, "token": 999999, "code": "NOWHERE", "part": "nothing"}
WORDS = {"frame": 1, "key": "nothing", "ticket": "none", "way": "suspend", "stamp": "nothing", "name": "nothing"}


def _pages() -> dict[tuple[str, str], URLPattern]:
    """The pages that need a permission or that all signed in may open, by name and method."""
    found = {}
    for pattern in _patterns(get_resolver()):
        rule = rule_of(pattern.callback, pattern.name)
        if rule is not None and rule.level in ("permission", "signed-in") and pattern.name:
            found |= {(pattern.name, method): pattern for method in ("GET", "POST") if rule.allows(method)}
    return found


def _table() -> dict[tuple[str, str], frozenset[str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {(row["view"], row["method"]): frozenset(row["roles"].split()) for row in csv.DictReader(file)}


def _expected(roles: frozenset[str]) -> frozenset[str]:
    return frozenset(ACCOUNTS) if roles == {EVERYBODY} else roles


def _address(name: str, pattern: URLPattern) -> str:
    wanted = pattern.pattern.converters if hasattr(pattern.pattern, "converters") else {}
    return reverse(name, kwargs={key: {**FILLED, **WORDS}[key] for key in wanted})


def test_every_page_is_in_the_table_and_no_other() -> None:
    assert set(_pages()) == set(_table())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", sorted(ACCOUNTS))
def test_a_role_gets_past_the_doors_that_were_decided_and_no_other(role: str, signed_in: Callable[..., Client]) -> None:
    client = signed_in(role)
    client.raise_request_exception = False
    table, wrong = _table(), []
    # What ends the session comes last.
    for (name, method), pattern in sorted(_pages().items(), key=lambda item: "sign-out" in item[0][0]):
        answer = client.generic(method, _address(name, pattern))
        passed = answer.status_code != 403
        # 503: what is not installed on this machine (OHIF), or busy.
        broken = answer.status_code >= 500 and answer.status_code != 503
        if passed != (role in _expected(table[name, method])) or broken:
            wrong.append(f"{method} {name}: {answer.status_code}")
    assert not wrong


def test_nobody_gets_past_a_door_without_signing_in(anybody: Client) -> None:
    for (name, method), pattern in _pages().items():
        answer = anybody.generic(method, _address(name, pattern))
        assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/account/login/"), name


def test_a_rule_that_lets_in_somebody_else_is_found() -> None:
    assert _expected(frozenset({EVERYBODY})) == set(ACCOUNTS)
    assert Rule("permission", ("audit.read",)).needed("GET") == ("audit.read",)
