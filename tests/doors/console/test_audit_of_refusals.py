"""What people tried in vain, searched, and their sign-ins: in the audit, where their facility's auditor sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache
from django.test import Client

from hozi.audit.models import Event
from hozi.audit.record import Code, Type
from hozi.doors.http import denials
from tests.archive.test_reach import kept
from tests.doors.console.test_sign_in import _code as code
from tests.people import ACCOUNTS, PASSWORD, settle

pytestmark = pytest.mark.django_db

SignedIn = Callable[..., Client]

_OF_NOBODY = 999_999


@pytest.fixture(autouse=True)
def _nothing_counted(db: None) -> Iterator[None]:
    cache.clear()
    denials.forget()
    yield
    denials.forget()


def shown(client: Client) -> str:
    return client.get("/audit/").content.decode()


def tried() -> list[tuple[str, int, str, object]]:
    rows = Event.objects.filter(type=Type.RESTRICTED_FUNCTION).order_by("pk")
    return [(row.actor, row.outcome, row.detail["page"], row.detail.get("number")) for row in rows]


def test_a_facility_s_auditor_sees_what_its_people_were_refused_and_searched(signed_in: SignedIn) -> None:
    auditor, other = signed_in("dpo", facility="GRANARY"), signed_in("dpo", facility="ELSEWHERE")
    referrer = signed_in("referrer", facility="GRANARY")
    assert referrer.get("/devices/").status_code == 403
    assert referrer.get("/studies/").status_code == 200
    assert {row.facility for row in Event.objects.filter(actor="rreferrer.granary")} == {"GRANARY"}
    assert "rreferrer.granary" in shown(auditor)
    assert "rreferrer.granary" not in shown(other)


def test_who_is_at_home_everywhere_is_in_the_audit_of_no_single_facility(signed_in: SignedIn) -> None:
    signed_in("referrer").get("/devices/")
    assert Event.objects.get(type=Type.RESTRICTED_FUNCTION).facility == ""


def test_what_somebody_searches_elsewhere_is_not_hidden_from_their_own_auditor(signed_in: SignedIn) -> None:
    client = signed_in("radiologist", facility="GRANARY")
    client.post("/studies/", {"facility": "ELSEWHERE"}, follow=True)
    client.get("/studies/?facility=ELSEWHERE")
    assert {row.facility for row in Event.objects.filter(code=Code.QUERY)} == {"GRANARY"}


def test_a_facility_s_auditor_sees_who_signed_in_and_who_failed(signed_in: SignedIn, anybody: Client) -> None:
    settle(ACCOUNTS["manager"], facility="GRANARY")
    for name in ("MManager.Granary", "nobodyatall"):
        Client().post("/account/login/", {"login": name, "password": "wrong"})
    anybody.post("/account/login/", {"login": "mmanager.granary", "password": PASSWORD})
    anybody.post("/account/factors/authenticate/", {"code": code()})
    signs = Event.objects.filter(code=Code.USER_AUTHENTICATION, type=Type.LOGIN).order_by("pk")
    own = "mmanager.granary"
    told = [(row.actor.lower(), row.outcome, row.facility) for row in signs]
    assert told == [(own, 4, "GRANARY"), ("nobodyatall", 4, ""), (own, 0, "GRANARY")]
    assert "mmanager.granary" in shown(signed_in("dpo", facility="GRANARY"))


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("/studies/{}/", "study"),
        ("/series/{}/", "series"),
        ("/objects/{}/", "elements"),
        ("/exceptions/{}/", "exception"),
        ("/people/{}/", "person"),
        ("/audit/rows/{}/", "audit_row"),
    ],
)
def test_what_is_out_of_reach_leaves_a_trace_whether_it_exists_or_not(url: str, page: str, signed_in: SignedIn) -> None:
    role = {"person": "pacs_admin", "audit_row": "dpo"}.get(page, "radiologist")
    client = signed_in(role, facility="GRANARY")
    assert client.get(url.format(_OF_NOBODY), REMOTE_ADDR="192.0.2.7").status_code == 404
    [row] = Event.objects.filter(type=Type.RESTRICTED_FUNCTION)
    assert (row.outcome, row.address, row.facility) == (4, "192.0.2.7", "GRANARY")
    assert row.detail == {"type": Type.RESTRICTED_FUNCTION, "page": page, "number": str(_OF_NOBODY)}
    assert not (row.patient_id or row.study_uid or row.object_uid)


def test_a_study_of_another_facility_and_one_of_nobody_leave_the_same_trace(signed_in: SignedIn) -> None:
    there = kept(1, facility="ELSEWHERE")
    client = signed_in("radiologist", facility="GRANARY")
    for number in (there.pk, _OF_NOBODY):
        assert client.get(f"/studies/{number}/").status_code == 404
    actor = "rradiologist.granary"
    assert tried() == [(actor, 4, "study", str(there.pk)), (actor, 4, "study", str(_OF_NOBODY))]


def test_an_audit_row_that_is_asked_for_by_a_form_leaves_a_trace_too(signed_in: SignedIn) -> None:
    client = signed_in("dpo", facility="GRANARY")
    assert client.post("/audit/who-saw/", {"row": str(_OF_NOBODY)}).status_code == 404
    assert tried() == [("dprotector.granary", 4, "audit_who_saw", str(_OF_NOBODY))]


def test_an_address_that_names_nothing_and_other_routes_leave_none(signed_in: SignedIn) -> None:
    client = signed_in("pacs_admin", facility="GRANARY")
    for url in ("/nothing/", "/devices/999999/", "/exceptions/?after=x", "/studies/x/"):
        assert client.get(url).status_code == 404, url
    assert tried() == []


def test_who_tries_one_number_after_the_other_does_not_fill_the_disk(signed_in: SignedIn) -> None:
    clients = [signed_in(role, facility="GRANARY") for role in ("radiologist", "radiographer")]
    for number in range(40):
        clients[0].get(f"/studies/{_OF_NOBODY + number}/")
    assert 5 <= len(tried()) <= 15
    clients[1].get(f"/studies/{_OF_NOBODY}/")
    assert tried()[-1][0] == "rradiographer.granary", "another person's attempts are told all the same"
