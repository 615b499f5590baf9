"""Programs in front of the API: Django's own client with a bearer token, through the whole of middleware."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from hozi.accounts import authorise, failures, tokens
from hozi.doors.api import gate
from hozi.doors.http import denials
from hozi.facilities import places
from tests.people import ACCOUNTS, settle

OPERATOR = authorise.of_operator("root")
ALL = ("read", "write", "admin")


@dataclass(frozen=True)
class Caller:
    """A program that asks with a token of somebody."""

    client: Client
    person: int
    secret: str

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api{path}", query)

    def post(self, path: str, data: Any = None) -> Any:
        return self.client.post(f"/api{path}", data={} if data is None else data, content_type="application/json")

    def patch(self, path: str, data: Any) -> Any:
        return self.client.patch(f"/api{path}", data=data, content_type="application/json")

    def delete(self, path: str) -> Any:
        return self.client.delete(f"/api{path}")


Call = Callable[..., Caller]


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    gate._bucket.cache_clear()
    failures.forget()
    denials.forget()
    yield
    gate._bucket.cache_clear()


@pytest.fixture
def calls(db: None) -> Call:
    """Gives a caller with a token of somebody with a role: ``calls("radiologist", "ELSEWHERE")``."""

    def make(
        role: str, facility: str | None = None, *, username: str = "", scopes: tuple[str, ...] = ALL, **more: Any
    ) -> Caller:
        account = replace(ACCOUNTS[role], username=username) if username else ACCOUNTS[role]
        person = settle(account, facility=facility)
        secret = tokens.make(OPERATOR, person, "test", scopes=scopes, **more).secret
        return Caller(Client(headers={"Authorization": f"Bearer {secret}"}), person, secret)

    return make


@pytest.fixture
def admin(calls: Call) -> Caller:
    """A PACS administrator of all facilities."""
    return calls("pacs_admin")


@pytest.fixture
def signed_in(db: None) -> Callable[..., Client]:
    """Gives a browser in which somebody with a role is signed in; it minds forged requests."""

    def make(role: str, facility: str | None = None) -> Client:
        person = get_user_model()._default_manager.get(pk=settle(ACCOUNTS[role], facility=facility))
        client = Client(enforce_csrf_checks=True)
        client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
        return client

    return make


@pytest.fixture
def hospitals(db: None) -> None:
    """Two hospitals beside MAIN."""
    places.add("GRANARY", "Granary Hospital", "GRANARY-HOSPITAL", actor="test")
    places.add("ELSEWHERE", "Elsewhere Hospital", "ELSEWHERE-HOSPITAL", actor="test")
