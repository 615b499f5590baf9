"""Programs in front of DICOMweb: the WSGI application as the server calls it, with a bearer token or a session."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from hozi.accounts import authorise, failures, tokens
from hozi.doors.dicomweb import application as module
from hozi.doors.dicomweb import gate
from hozi.doors.dicomweb.application import Door, application
from hozi.doors.http import denials
from hozi.facilities import places
from tests.people import ACCOUNTS, settle

OPERATOR = authorise.of_operator("root")
ALL = ("read", "write", "admin")


@dataclass(frozen=True)
class Answer:
    """What was answered, its body whole."""

    status: int
    headers: dict[str, str]
    body: bytes
    route: str = ""
    streamed: bool = False

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Caller:
    """A program (or a page) that asks this door in this process."""

    headers: dict[str, str] = field(default_factory=dict)
    person: int = 0
    door: Door = application
    address: str = "127.0.0.1"

    def ask(self, method: str, path: str, query: Any = "", body: bytes | None = None, **headers: str) -> Answer:
        """``path`` is what stands behind /dicom-web; underscores in header names stand for hyphens."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": quote(f"/dicom-web{path}", safe="/%").encode().decode("latin-1"),
            "QUERY_STRING": query if isinstance(query, str) else urlencode(query, doseq=True),
            "SERVER_NAME": "pacs.example",
            "SERVER_PORT": "80",
            "HTTP_HOST": "pacs.example",
            "REMOTE_ADDR": self.address,
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body or b""),
        }
        if body is not None:
            environ["CONTENT_LENGTH"] = str(len(body))
        for name, value in {**self.headers, **headers}.items():
            key = name.replace("-", "_").upper()
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        started: list[Any] = []
        pieces = self.door(environ, lambda status, pairs: started.extend((status, pairs)))
        try:
            told = b"".join(pieces)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        status, pairs = started
        streamed = bool(getattr(pieces, "streaming", False))
        return Answer(int(status.split()[0]), dict(pairs), told, str(environ.get("hozi.route", "")), streamed)

    def get(self, path: str, query: Any = "", **headers: str) -> Answer:
        return self.ask("GET", path, query, **headers)


Call = Callable[..., Caller]


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The test's own transaction is open on this connection; Django's client leaves it open in the same way.
    monkeypatch.setattr(module, "close_old_connections", lambda: None)
    gate.KEPT.forget()
    failures.forget()
    denials.forget()
    yield
    gate.KEPT.forget()


@pytest.fixture
def nobody() -> Caller:
    """Somebody without a token."""
    return Caller()


@pytest.fixture
def calls(db: None) -> Call:
    """Gives a caller with a token of somebody with a role: ``calls("radiologist", "ELSEWHERE")``."""

    def make(
        role: str, facility: str | None = None, *, username: str = "", scopes: tuple[str, ...] = ALL, **more: Any
    ) -> Caller:
        account = replace(ACCOUNTS[role], username=username) if username else ACCOUNTS[role]
        person = settle(account, facility=facility)
        secret = tokens.make(OPERATOR, person, "test", scopes=scopes, **more).secret
        return Caller({"authorization": f"Bearer {secret}"}, person)

    return make


@pytest.fixture
def signed_in(db: None) -> Call:
    """Gives a page of the console in which somebody with a role is signed in."""

    def make(role: str, facility: str | None = None) -> Caller:
        person = get_user_model()._default_manager.get(pk=settle(ACCOUNTS[role], facility=facility))
        client = Client(enforce_csrf_checks=True)
        client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
        client.get("/")  # the shift begins
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        return Caller({"cookie": cookies}, person.pk)

    return make


@pytest.fixture
def hospitals(db: None) -> None:
    """Two hospitals beside MAIN."""
    places.add("GRANARY", "Granary Hospital", "GRANARY-HOSPITAL", actor="test")
    places.add("ELSEWHERE", "Elsewhere Hospital", "ELSEWHERE-HOSPITAL", actor="test")
