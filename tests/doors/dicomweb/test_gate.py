"""Nobody comes in unknown or where they may not, what goes wrong is said in one form, and everything is closed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.middleware.csrf import _get_new_csrf_string

from hozi.accounts.models import Token
from hozi.audit.models import Event
from hozi.core.errors import NotThere, Refused, Unavailable
from hozi.doors.dicomweb import exchange
from hozi.doors.dicomweb.application import Door
from hozi.doors.dicomweb.exchange import Request, Response
from hozi.doors.dicomweb.routes import ANYBODY, Table
from tests.doors.dicomweb.conftest import Call, Caller

UID = "1.2.826.0.1.3680043.2.1125.1"
ERRORS: dict[str, tuple[Exception, int]] = {
    "none": (NotThere("study 7 is not there"), 404),
    "refused": (Refused("Say which", field="limit"), 400),
    "accept": (exchange.NotAcceptable("There is no such form of it"), 406),
    "type": (exchange.Unsupported("Send DICOM"), 415),
    "large": (exchange.TooLarge("Send less at once"), 413),
    "room": (exchange.NoRoom("the disk is full"), 503),
    "later": (Unavailable("the database is away"), 503),
    "slip": (ZeroDivisionError("Banda^Tariro"), 500),
}


class Pieces:
    """Pieces that say when they were closed."""

    def __init__(self) -> None:
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        yield b"one"
        yield memoryview(b"two")

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def pieces() -> Pieces:
    return Pieces()


@pytest.fixture
def door(pieces: Pieces) -> Door:
    """A door with a few routes, to try what stands before every view."""
    table = Table()

    def look(request: Request) -> Response:
        told = [request.who.actor, request.method, *request.names.values(), *(value for _, value in request.query)]
        return Response(body="|".join([*told, request.base, request.headers.get("accept", "-")]).encode())

    def fail(request: Request) -> Response:
        raise ERRORS[request.names["error"]][0]

    def keep(request: Request) -> Response:
        return Response(201, body=request.body.read(request.length or 0))

    table.enter("GET", "/studies/{study}", "studies.open", look)
    table.enter("GET", "/studies/{study}/series/{series}", "studies.open", look)
    table.enter("POST", "/studies", "studies.store", keep)
    table.enter("GET", "/errors/{error}", ANYBODY, fail)
    table.enter("GET", "/pieces", ANYBODY, lambda request: Response(pieces=pieces))
    return Door(table)


@pytest.fixture
def reader(calls: Call, door: Door) -> Caller:
    return replace(calls("radiologist"), door=door)


@pytest.mark.django_db
def test_without_a_token_nobody_learns_even_what_there_is(nobody: Caller, door: Door) -> None:
    for caller in (nobody, replace(nobody, door=door)):
        for path in ("", "/studies", f"/studies/{UID}", "/nothing/here"):
            answer = caller.get(path)
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"] == "Show a token that works, or sign in"


@pytest.mark.parametrize("shown", ["Bearer hozi_wrong", "Bearer ", "Bearer", "Basic YTpi", "hozi_x", "Bearer \xff"])
def test_a_wrong_token_opens_nothing(shown: str, reader: Caller) -> None:
    assert reader.get(f"/studies/{UID}", authorization=shown).status == 401


def test_a_token_opens_what_its_person_may_do(reader: Caller) -> None:
    answer = reader.get(f"/studies/{UID}/series/1.2", "x=a+b%2C&x=", accept="image/jpeg")
    assert answer.status == 200
    assert answer.body.decode() == f"rradiologist|GET|{UID}|1.2|a b,||http://pacs.example/dicom-web|image/jpeg"
    assert answer.route == "/dicom-web/studies/{study}/series/{series}"
    assert reader.get(f"/studies/{UID}/").status == 200


@pytest.mark.parametrize("changes", [{"networks": ["10.9.8.0/24"]}, {"scopes": []}])
def test_a_token_that_was_changed_opens_nothing_more_a_moment_later(
    reader: Caller, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reader.get(f"/studies/{UID}").status == 200
    Token.objects.update(**changes)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2.1)
    assert reader.get(f"/studies/{UID}").status in (401, 403)


def test_what_a_token_opens_from_one_address_says_nothing_of_another(calls: Call, door: Door) -> None:
    caller = replace(calls("radiologist", networks=["127.0.0.0/8"]), door=door)
    assert caller.get(f"/studies/{UID}").status == 200
    assert replace(caller, address="10.0.0.1").get(f"/studies/{UID}").status == 401


def test_whoever_may_not_is_refused_and_that_stands_in_the_audit(calls: Call, door: Door) -> None:
    answer = replace(calls("it_support", "GRANARY"), door=door).get(f"/studies/{UID}")
    assert (answer.status, answer.json()["detail"]) == (403, "You may not do this")
    event = Event.objects.get(type="110132")
    assert (event.actor, event.outcome, event.facility) == ("iitperson.granary", 4, "GRANARY")
    assert event.detail["page"] == "dicomweb GET /studies/{study}"


def test_a_session_opens_what_its_person_may_do(signed_in: Call, door: Door) -> None:
    page = replace(signed_in("radiologist"), door=door)
    assert page.get(f"/studies/{UID}").body.startswith(b"rradiologist|GET|")
    # A token that is shown counts, even when it is none.
    assert page.get(f"/studies/{UID}", authorization="Bearer hozi_wrong").status == 401


def test_a_session_that_ended_or_whose_shift_is_over_opens_nothing(signed_in: Call, door: Door) -> None:
    page = replace(signed_in("radiologist"), door=door)
    session = Session.objects.get()
    began = session.get_decoded() | {"began": 1}
    Session.objects.update(session_data=Session.objects.encode(began))
    assert page.get(f"/studies/{UID}").status == 401
    assert page.get(f"/studies/{UID}", cookie=f"{settings.SESSION_COOKIE_NAME}=invented").status == 401


def test_a_session_without_the_second_factor_that_is_required_opens_nothing(signed_in: Call, door: Door) -> None:
    from allauth.mfa.models import Authenticator

    page = replace(signed_in("pacs_admin"), door=door)
    Authenticator.objects.all().delete()
    for session in Session.objects.all():
        known = session.get_decoded()
        known.pop("second_factor", None)
        Session.objects.filter(pk=session.pk).update(session_data=Session.objects.encode(known))
    answer = page.get(f"/studies/{UID}")
    assert (answer.status, answer.json()["detail"]) == (403, "Set up a second factor in the console first")


def test_a_forged_request_with_a_session_does_nothing(signed_in: Call, door: Door) -> None:
    page = replace(signed_in("radiographer"), door=door)
    secret = _get_new_csrf_string()
    cookie = f"{page.headers['cookie']}; {settings.CSRF_COOKIE_NAME}={secret}"
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert page.ask("POST", "/studies", body=b"x").status == 403
    assert page.ask("POST", "/studies", body=b"x", cookie=cookie).status == 403
    forged = page.ask("POST", "/studies", body=f"csrfmiddlewaretoken={secret}".encode(), cookie=cookie, **form)
    assert forged.status == 403
    answer = page.ask("POST", "/studies", body=b"kept", cookie=cookie, x_csrftoken=secret)
    assert (answer.status, answer.body) == (201, b"kept")


@pytest.mark.parametrize(("name", "status"), [(name, status) for name, (_, status) in ERRORS.items()])
def test_what_goes_wrong_is_told_in_one_form_and_names_no_patient(reader: Caller, name: str, status: int) -> None:
    answer = reader.get(f"/errors/{name}")
    told = answer.json()
    assert (answer.status, told["status"]) == (status, status)
    assert told["title"] and told["detail"]
    assert b"Banda" not in answer.body and b"study 7" not in answer.body
    assert ("id" in told) == (status >= 500)
    assert ("retry-after" in answer.headers) == (status == 503)


def test_what_is_no_uid_is_refused_and_what_is_not_there_is_not(reader: Caller) -> None:
    for wrong in ("1.2.x", "1" * 65, "..", "%2e%2e", "-", "1.2\x00"):
        assert reader.get(f"/studies/{wrong}").status == 400, wrong
    assert reader.get("/studies/1.2/nothing").status == 404
    assert reader.get("/studies//series/1.2").status == 400


def test_a_method_that_is_none_of_the_place_is_told_which_there_are(reader: Caller) -> None:
    answer = reader.ask("DELETE", f"/studies/{UID}")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert reader.ask("OPTIONS", f"/studies/{UID}").status == 204
    head = reader.ask("HEAD", f"/studies/{UID}")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0


def test_a_hostile_number_of_parameters_is_refused(reader: Caller) -> None:
    assert reader.get(f"/studies/{UID}", "&".join("x=1" for _ in range(300))).status == 400
    assert reader.get(f"/studies/{UID}", "x=%ff").status == 400


def test_pieces_are_streamed_and_closed_whoever_asks(reader: Caller, pieces: Pieces) -> None:
    answer = reader.get("/pieces")
    assert (answer.streamed, answer.body, pieces.closed) == (True, b"onetwo", 1)
    assert reader.ask("HEAD", "/pieces").body == b""
    assert pieces.closed == 2


def test_no_transaction_stays_open(reader: Caller) -> None:
    before = len(connection.savepoint_ids)
    for name in ("slip", "none", "later"):
        reader.get(f"/errors/{name}")
    assert len(connection.savepoint_ids) == before and not connection.needs_rollback


def test_a_table_takes_no_route_without_a_permission_and_none_twice() -> None:
    table = Table()
    for permission in ("", "studies.invented"):
        with pytest.raises(ValueError, match="permission"):
            table.enter("GET", "/studies", permission, lambda request: Response())
    table.enter("GET", "/studies/{study}", "studies.open", lambda request: Response())
    for pattern in ("/studies/{study}", "/studies/{other}"):
        with pytest.raises(ValueError, match="already"):
            table.enter("GET", pattern, "studies.open", lambda request: Response())
