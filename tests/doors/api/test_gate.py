"""Nobody comes in unknown, nobody does what they may not, and what goes wrong is said in the same form everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from hozi.accounts import lifecycle
from hozi.accounts.models import Person, Token
from hozi.audit.models import Event
from hozi.core.pace import Bucket
from hozi.doors.api import gate
from hozi.doors.api.gate import Area
from hozi.doors.http import shift
from tests.doors.api.conftest import OPERATOR, Call, Caller

pytestmark = pytest.mark.django_db


def test_without_a_token_nobody_comes_in() -> None:
    answer = Client().get("/api/me")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["detail"] == "Show a token that works, or sign in"


@pytest.mark.parametrize("shown", ["Bearer hozi_wrong", "Bearer ", "Bearer", "Basic YTpi", "hozi_x", "Bearer \xff"])
def test_a_wrong_token_opens_nothing(shown: str, admin: Caller) -> None:
    assert Client(headers={"Authorization": shown}).get("/api/me").status_code == 401


def test_a_token_opens_what_its_person_may_do(admin: Caller) -> None:
    said = admin.get("/me").json()
    assert (said["kind"], said["actor"], said["person"]) == ("token", "aadministrator", admin.person)
    assert "people.grant" in said["held"][0]["permissions"]


def test_a_token_for_reading_does_not_write(calls: Call) -> None:
    reader = calls("pacs_admin", scopes=("read",))
    assert reader.get("/devices").status_code == 200
    answer = reader.post("/devices", {"name": "CT1", "ae_title": "CT1", "host": "10.0.0.1"})
    assert answer.status_code == 403
    assert answer.json()["detail"] == "You may not do this"


def test_what_is_refused_for_want_of_a_permission_stands_in_the_audit(calls: Call) -> None:
    calls("student").get("/devices")
    event = Event.objects.get(detail__type="110132")
    assert (event.actor, event.outcome, event.detail["permission"]) == ("sstudent", 4, "devices.see")
    assert event.detail["page"] == "api GET api/devices"
    calls("student", "GRANARY").get("/devices")
    assert Event.objects.filter(detail__type="110132").latest("pk").facility == "GRANARY"


@pytest.mark.parametrize("area", ["studies", "exceptions", "people", "audit/rows"])
def test_what_is_out_of_reach_stands_in_the_audit(calls: Call, area: str) -> None:
    role = "dpo" if area == "audit/rows" else "pacs_admin"
    assert calls(role, "GRANARY").get(f"/{area}/999999").status_code == 404
    event = Event.objects.get(type="110132")
    assert (event.outcome, event.facility, event.detail["number"]) == (4, "GRANARY", "999999")
    assert event.detail["page"].startswith(f"api GET api/{area}/")


@pytest.mark.parametrize(
    "changes",
    [
        {"ended_at": timezone.now()},
        {"expires_at": timezone.now() - timedelta(seconds=1)},
        {"networks": ["10.9.8.0/24"]},
    ],
)
def test_a_token_that_ended_or_comes_from_elsewhere_is_dead(admin: Caller, changes: dict[str, object]) -> None:
    Token.objects.update(**changes)
    assert admin.get("/me").status_code == 401


def test_a_token_works_from_its_networks(calls: Call) -> None:
    assert calls("pacs_admin", networks=["127.0.0.0/8"]).get("/me").status_code == 200


def test_a_token_dies_with_the_account(calls: Call, admin: Caller) -> None:
    student = calls("student")
    assert student.get("/me").status_code == 200
    lifecycle.suspend(OPERATOR, student.person, "a rest")
    assert student.get("/me").status_code == 401
    Person.objects.filter(pk=admin.person).update(ends_on=timezone.localdate() - timedelta(days=1))
    assert admin.get("/me").status_code == 401


def test_a_browser_that_is_signed_in_may_look_and_with_its_token_against_forgery_act(
    signed_in: Callable[..., Client],
) -> None:
    browser = signed_in("pacs_admin")
    assert browser.get("/api/me").json()["kind"] == "person"
    new = {"name": "CT1", "ae_title": "CT1", "host": "10.0.0.1"}
    refused = browser.post("/api/devices", new, content_type="application/json")
    assert refused.status_code == 403
    assert "CSRF" in refused.json()["detail"]
    browser.get("/")
    from django.middleware.csrf import get_token
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    secret = get_token(request)
    browser.cookies["hozi_csrf"] = request.META["CSRF_COOKIE"]
    done = browser.post("/api/devices", new, content_type="application/json", headers={"X-CSRFToken": secret})
    assert done.status_code == 201


def test_a_browser_without_the_second_factor_that_is_required_does_nothing(signed_in: Callable[..., Client]) -> None:
    from allauth.mfa.models import Authenticator

    browser = signed_in("pacs_admin")
    Authenticator.objects.all().delete()
    answer = browser.get("/api/devices")
    assert answer.status_code == 403
    assert "second factor" in answer.json()["detail"]


def test_a_browser_whose_session_has_lasted_long_enough_does_nothing(
    signed_in: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = signed_in("pacs_admin")
    assert browser.get("/api/me").status_code == 200
    now = shift.time.time()
    monkeypatch.setattr(shift.time, "time", lambda: now + 40 * 24 * 3600)
    assert browser.get("/api/me").status_code == 401


def test_a_token_that_is_shown_counts_even_in_a_browser_that_is_signed_in(signed_in: Callable[..., Client]) -> None:
    browser = signed_in("pacs_admin")
    assert browser.get("/api/me", headers={"Authorization": "Bearer hozi_wrong"}).status_code == 401


def test_whoever_asks_too_fast_is_told_to_wait(admin: Caller, calls: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "Bucket", lambda burst, per_second: Bucket(2, 0.001))
    gate._bucket.cache_clear()
    assert [admin.get("/me").status_code for _ in range(3)] == [200, 200, 429]
    assert admin.get("/me")["Retry-After"] == "5"
    assert calls("student").get("/me").status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"name": NaN}', 400),
        (b'{"name": "a", "name": "b"}', 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b"", 422),
        (b'{"name": 1, "ae_title": "A", "host": "10.0.0.1"}', 422),
        (b'{"name": "a\\u0000", "ae_title": "A", "host": "10.0.0.1"}', 422),
        (b'{"name": "\\ud800", "ae_title": "A", "host": "10.0.0.1"}', 422),
        (b'{"name": "A", "ae_title": "A", "host": "10.0.0.1", "added_at": "2020-01-01"}', 422),
        (b'{"name": "A", "ae_title": "A", "host": "10.0.0.1", "port": 1e300}', 422),
        (b'{"name": "A", "ae_title": "A", "host": "no address"}', 422),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_is_done(admin: Caller, body: bytes, status: int) -> None:
    answer = admin.client.post("/api/devices", body, content_type="application/json")
    assert answer.status_code == status
    assert set(answer.json()) == {"detail", "field", "id"}
    assert admin.get("/devices").json()["items"] == []


def test_a_request_that_is_too_large_is_refused(admin: Caller) -> None:
    body = json.dumps({"name": "A" * (3 << 20), "ae_title": "A", "host": "10.0.0.1"})
    assert admin.client.post("/api/devices", body, content_type="application/json").status_code in (400, 413)


def test_what_is_wrong_stands_beside_its_field(admin: Caller) -> None:
    answer = admin.post("/devices", {"name": "CT1", "ae_title": "CT1", "host": "nowhere at all"})
    assert (answer.status_code, answer.json()["field"]) == (422, "host")
    answer = admin.post("/devices", {"name": "CT1", "ae_title": "CT1", "host": "10.0.0.1", "colour": "red"})
    assert (answer.status_code, answer.json()["field"]) == (422, "colour")


@pytest.mark.parametrize("path", ["/api/nothing", "/api/devices/", "/api/devices/CT1/x/y", "/api/x%00"])
def test_what_is_not_there_is_said_in_json(admin: Caller, path: str) -> None:
    answer = admin.client.get(path)
    assert answer.status_code in (404, 405)
    if answer.status_code == 404:
        assert answer.json()["detail"]


def test_the_root_leads_to_the_description(admin: Caller) -> None:
    assert Client().get("/api/")["Location"] == "/api/docs"


def test_what_nobody_expected_is_logged_under_a_number_and_says_nothing(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("Patient^Secret")

    monkeypatch.setattr("hozi.doors.api.about.regular.standing", breaks)
    answer = admin.get("/health")
    assert answer.status_code == 500
    assert len(answer.json()["id"]) == 12
    assert "Secret" not in answer.content.decode()


def test_a_route_without_a_permission_cannot_be_made() -> None:
    for needs in ((), ("devices.fly",)):
        with pytest.raises(ValueError, match="needs a permission"):
            Area("x").get("/x", None, *needs)
