"""Emergency access in the browser: a patient is opened with a reason, found, ended, and reviewed by somebody else."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from hozi.accounts import drift
from hozi.accounts.models import EmergencyAccess, Grant, Person, Role
from hozi.audit.models import Event
from tests.archive.test_reach import kept

pytestmark = pytest.mark.django_db

SignedIn = Callable[..., Client]
NEW = {"issuer": "GRANARY-HOSPITAL", "patient_id": "ZW-1", "reason": "brought in unconscious"}


@pytest.fixture
def radiologist(signed_in: SignedIn) -> Client:
    signed_in("manager", facility="GRANARY")
    kept(1, {"PatientName": "Moyo^Tendai", "PatientID": "ZW-1", "IssuerOfPatientID": "GRANARY-HOSPITAL"})
    return signed_in("radiologist", facility="ELSEWHERE")


def text(answer: object) -> str:
    return answer.content.decode()  # type: ignore[attr-defined]


def test_the_list_of_studies_leads_to_it(radiologist: Client, signed_in: SignedIn) -> None:
    assert 'href="/emergency/"' in text(radiologist.get("/studies/"))
    assert 'href="/emergency/"' not in text(signed_in("student").get("/studies/"))


def test_a_patient_is_opened_found_and_closed_again(radiologist: Client) -> None:
    assert "Moyo" not in text(radiologist.get("/studies/"))
    page = text(radiologist.post("/emergency/", NEW, follow=True))
    assert "The patient is open to you until" in page
    assert "ZW-1" in page and "GRANARY-HOSPITAL" in page
    found = text(radiologist.post("/studies/", {"text": "ZW-1"}, follow=True))
    assert "Moyo" in found
    assert "1 patient is open to you by emergency access" in text(radiologist.get("/"))
    number = EmergencyAccess.objects.get().pk
    assert "Emergency access is ended." in text(radiologist.post(f"/emergency/{number}/end/", follow=True))
    assert "Moyo" not in text(radiologist.get("/studies/"))
    assert "has ended already" in text(radiologist.post(f"/emergency/{number}/end/", follow=True))


def test_a_number_that_was_given_elsewhere_can_be_opened_too(radiologist: Client) -> None:
    new = {**NEW, "issuer": "*", "other": "HOZI-DEMO"}
    assert "HOZI-DEMO" in text(radiologist.post("/emergency/", new, follow=True))
    assert radiologist.post("/emergency/", {**new, "patient_id": "2", "other": ""}).status_code == 422
    assert radiologist.post("/emergency/", {**new, "issuer": NEW["issuer"]}).status_code == 422


def test_what_is_wrong_stands_beside_its_field_and_nothing_is_lost(radiologist: Client) -> None:
    answer = radiologist.post("/emergency/", {**NEW, "reason": "urgent"})
    page = text(answer)
    assert answer.status_code == 422
    assert "hz-wrong" in page and ">urgent</textarea>" in page.replace("\n", "") and 'value="ZW-1"' in page
    assert radiologist.post("/emergency/", {**NEW, "issuer": "NOBODY"}).status_code == 422
    assert not EmergencyAccess.objects.exists()


def test_a_patient_that_is_not_there_looks_the_same(radiologist: Client) -> None:
    there = text(radiologist.post("/emergency/", NEW, follow=True)).replace("ZW-1", "ID")
    EmergencyAccess.objects.update(ended_at=timezone.now())
    nowhere = text(radiologist.post("/emergency/", {**NEW, "patient_id": "ZW-9"}, follow=True)).replace("ZW-9", "ID")

    def shape(page: str) -> list[str]:
        hidden = ("csrf", "CSRF", "open to you until")
        return [
            re.sub(r"/emergency/\d+/", "", line) for line in page.splitlines() if not any(w in line for w in hidden)
        ]

    assert shape(there) == shape(nowhere)


def test_nobody_uses_it_without_the_permission(signed_in: SignedIn) -> None:
    for role in ("student", "manager", "it_support", "dpo"):
        assert signed_in(role).get("/emergency/").status_code == 403, role
        assert signed_in(role).post("/emergency/", NEW).status_code == 403, role


def test_it_is_reviewed_by_somebody_else(radiologist: Client, signed_in: SignedIn) -> None:
    radiologist.post("/emergency/", NEW)
    number = EmergencyAccess.objects.get().pk
    dpo = signed_in("dpo")
    assert "1 emergency access has not been reviewed. 1 patient is open by it at this moment." in text(dpo.get("/"))
    waiting = text(dpo.get("/emergency/review/"))
    assert "brought in unconscious" in waiting and "Open now" in waiting
    assert Event.objects.filter(code="110101", actor="dprotector").exists()
    way = f"/emergency/{number}/"
    refused = dpo.post(way, {"verdict": "not-justified", "note": ""})
    assert refused.status_code == 422 and "Say why" in text(refused)
    done = text(dpo.post(way, {"verdict": "not-justified", "note": "a neighbour, out of curiosity"}, follow=True))
    assert "The review is written down." in done and "Nothing to review" in done
    assert "Moyo" not in text(radiologist.get("/studies/")), "what was not justified is over at once"
    log = text(dpo.get("/emergency/log/"))
    assert "Not justified" in log
    assert "a neighbour" in text(dpo.get(way))


def test_nobody_reviews_their_own(signed_in: SignedIn) -> None:
    administrator = signed_in("pacs_admin")
    issuer = "MAIN"
    administrator.post("/emergency/", {**NEW, "issuer": issuer})
    number = EmergencyAccess.objects.get().pk
    assert "somebody else reviews it" in text(administrator.get(f"/emergency/{number}/"))
    answer = administrator.post(f"/emergency/{number}/", {"verdict": "justified"})
    assert answer.status_code == 422
    assert EmergencyAccess.objects.get().verdict == "open"


def test_a_reviewer_of_another_facility_sees_nothing(radiologist: Client, signed_in: SignedIn) -> None:
    radiologist.post("/emergency/", NEW)
    number = EmergencyAccess.objects.get().pk
    other = signed_in("dpo", facility="THIRD")
    assert "ZW-1" not in text(other.get("/emergency/review/")) + text(other.get("/emergency/log/"))
    assert other.get(f"/emergency/{number}/").status_code == 404
    assert other.post(f"/emergency/{number}/end/").status_code == 404
    assert radiologist.get("/emergency/log/").status_code == 403


def test_the_log_goes_back_page_by_page(radiologist: Client, signed_in: SignedIn) -> None:
    radiologist.post("/emergency/", NEW)
    one = EmergencyAccess.objects.get()
    copies = []
    for number in range(60):
        one.pk, one.patient_id, one.opened_at = None, f"E-{number}", timezone.now() - timedelta(days=number)
        copies.append(EmergencyAccess(**{f.attname: getattr(one, f.attname) for f in one._meta.concrete_fields}))
    EmergencyAccess.objects.bulk_create(copies)
    dpo = signed_in("dpo")
    first = text(dpo.get("/emergency/log/"))
    last = int(first.split("?before=")[1].split('"')[0])
    assert first.count("/emergency/") >= 50
    assert "ZW-1" in text(dpo.get(f"/emergency/log/?before={last}"))


def test_what_was_changed_past_hozi_is_shown(signed_in: SignedIn) -> None:
    dpo = signed_in("dpo")
    assert "Not compared yet." in text(dpo.get("/audit/drift/"))
    Grant.objects.create(
        person=Person.objects.get(username="dprotector"),
        role=Role.objects.get(key="ministry"),
        granted_at=timezone.now(),
        granted_by="root",
    )
    page = text(dpo.post("/audit/drift/", follow=True))
    assert "dprotector holds the role ministry at all facilities" in page
    assert "changed outside of Hozi" in text(dpo.get("/"))
    assert drift.last() is not None
    assert signed_in("dpo", facility="ELSEWHERE").get("/audit/drift/").status_code == 403
    assert signed_in("manager").get("/audit/drift/").status_code == 403
