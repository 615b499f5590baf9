"""The pages of the audit: who may look, what they find, and that no patient stands in an address."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from django.test import Client
from django.utils import timezone

from hozi.audit import chain, verify
from hozi.audit.models import Event, Forwarding
from hozi.audit.record import Code, Entry, Outcome, Type, record
from tests.audit.schema import faults

pytestmark = pytest.mark.django_db

SignedIn = Callable[..., Client]

HOSTILE = "<script>alert(1)</script>"


def opened(actor: str, patient: str = "P-4711", **more: Any) -> Entry:
    given: dict[str, Any] = {"issuer": "GRANARY-HOSPITAL", "patient_id": patient, "facility": "GRANARY", **more}
    return Entry(Code.INSTANCES_ACCESSED, "R", actor, address="192.0.2.7", **given)


def page(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, answer.content.decode()
    return answer.content.decode()


def send(client: Client, url: str, **data: str) -> str:
    """Sends a form; follows to the page that it leads to, in whose address no patient stands."""
    answer = client.post(url, data)
    assert answer.status_code == 303, answer.content.decode()
    assert "4711" not in answer["Location"]
    return page(client, answer["Location"])


@pytest.mark.parametrize("url", ["/audit/", "/audit/rows/1/", "/audit/who-saw/", "/audit/reports/", "/audit/state/"])
def test_only_those_who_may_read_the_audit_get_in(url: str, signed_in: SignedIn) -> None:
    assert signed_in("radiologist").get(url).status_code == 403
    assert signed_in("dpo").get(url, follow=True).status_code in (200, 404)


def test_the_newest_rows_stand_first_and_what_strangers_wrote_is_harmless(signed_in: SignedIn) -> None:
    record(opened("earlier"), opened(HOSTILE))
    text = page(signed_in("dpo"), "/audit/")
    assert text.index("&lt;script&gt;") < text.index("earlier")
    assert HOSTILE not in text
    assert "Opened images or a study" in text and "P-4711" in text


def test_a_search_for_a_patient_leaves_no_trace_in_the_address_and_is_in_the_audit(signed_in: SignedIn) -> None:
    record(opened("rumbi"), opened("olga", "P-9"))
    text = send(signed_in("dpo"), "/audit/", patient_id="P-4711", issuer="GRANARY-HOSPITAL")
    assert "rumbi" in text and "olga" not in text
    told = Event.objects.filter(code=Code.AUDIT_LOG_USED).latest("pk")
    assert (told.patient_id, told.detail["read"]) == ("P-4711", "search")
    assert told.actor.startswith("d")


def test_a_search_by_days_includes_both(signed_in: SignedIn) -> None:
    today = timezone.localdate()
    record(opened("today"), opened("before", at=timezone.now() - timedelta(days=3)))
    text = send(signed_in("dpo"), "/audit/", since=f"{today:%Y-%m-%d}", until=f"{today:%Y-%m-%d}")
    assert "today" in text and ">before<" not in text


def test_what_cannot_be_searched_is_said_and_nothing_typed_is_lost(signed_in: SignedIn) -> None:
    answer = signed_in("dpo").post("/audit/", {"actor": "rumbi", "since": "2026-11-24", "until": "2026-11-01"})
    assert answer.status_code == 422
    assert "The time must begin before it ends" in answer.content.decode()
    assert 'value="rumbi"' in answer.content.decode()
    answer = signed_in("dpo").post("/audit/", {"who": "1", "actor": "rumbi"})
    assert answer.status_code == 422
    assert "Type the patient&#x27;s number" in answer.content.decode()


def test_older_rows_are_a_page_away(signed_in: SignedIn) -> None:
    record(*(opened(f"person {number:03}") for number in range(60)))
    client = signed_in("dpo")
    first = page(client, "/audit/")
    [older] = re.findall(r'rel="next" href="([^"]+)"', first)
    second = page(client, older.replace("&amp;", "&"))
    assert "person 059" in first and "person 000" not in first
    assert "person 000" in second and "person 059" not in second
    assert client.get("/audit/?before=nonsense").status_code == 303


def test_one_row_says_everything_and_where_it_stands_in_the_chain(signed_in: SignedIn) -> None:
    record(opened(HOSTILE, study_uid="1.2.3", detail={"reason": HOSTILE, "sent": 3}))
    row = Event.objects.latest("pk").pk
    client = signed_in("dpo")
    assert "chained within a second" in page(client, f"/audit/rows/{row}/")
    chain.link()
    text = page(client, f"/audit/rows/{row}/")
    assert "1.2.3" in text and "110103" in text and "link 1" in text
    assert HOSTILE not in text
    assert client.get("/audit/rows/999999/").status_code == 404


def test_who_saw_a_patient_is_one_click_from_any_row(signed_in: SignedIn) -> None:
    record(opened("rumbi"), opened("rumbi"), opened("olga", outcome=Outcome.MINOR_FAILURE))
    emergency = {"type": Type.EMERGENCY_OVERRIDE_STARTED}
    record(Entry(Code.SECURITY_ALERT, "E", "rumbi", issuer="GRANARY-HOSPITAL", patient_id="P-4711", detail=emergency))
    client = signed_in("dpo")
    text = send(client, "/audit/who-saw/", row=str(Event.objects.order_by("pk")[0].pk))
    assert "1 person or device saw the images" in text
    assert "opened once by emergency access" in text
    assert "2 times" in text and "1 refused" in text
    assert "4711" in send(client, "/audit/who-saw/", issuer="GRANARY-HOSPITAL", patient_id="P-4711")
    assert "rumbi" in send(client, "/audit/", who="1", patient_id="P-4711", issuer="GRANARY-HOSPITAL")
    assert client.get("/audit/who-saw/").status_code == 303


def test_rows_of_other_facilities_are_not_there(signed_in: SignedIn) -> None:
    record(opened("ours"), opened("theirs", facility="ELSEWHERE"))
    client = signed_in("dpo", facility="GRANARY")
    text = page(client, "/audit/")
    assert "ours" in text and "theirs" not in text
    theirs = Event.objects.get(actor="theirs").pk
    assert client.get(f"/audit/rows/{theirs}/").status_code == 404
    assert client.post("/audit/who-saw/", {"row": str(theirs)}).status_code == 404
    assert "theirs" not in send(client, "/audit/", patient_id="P-4711")


def test_what_a_person_did_is_one_click_from_their_page(signed_in: SignedIn) -> None:
    client = signed_in("dpo")
    [url] = set(re.findall(r'href="(/people/\d+/)"', page(client, "/people/")))
    [actor] = re.findall(r'name="actor" value="([^"]+)"', page(client, url))
    record(opened(actor, "P-1"), opened("olga", "P-2"))
    text = send(client, "/audit/", actor=actor)
    assert "P-1" in text and "P-2" not in text


# Files ---------------------------------------------------------------------------------------------


def taken(client: Client, url: str, **data: str) -> bytes:
    answer = client.post(url, data)
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith("attachment")
    return b"".join(answer.streaming_content)  # type: ignore[arg-type]


def test_what_was_searched_leaves_as_a_table_and_as_messages(signed_in: SignedIn) -> None:
    record(opened("=rumbi"), opened("olga", "P-9"))
    client = signed_in("dpo")
    where = client.post("/audit/", {"patient_id": "P-4711", "kind": "opened"})["Location"]
    [key] = re.findall(r"s=([\w-]+)", where)
    [_, row] = csv.reader(io.StringIO(taken(client, "/audit/export/", s=key, form="csv").decode("utf-8-sig")))
    assert row[7] == "'=rumbi"
    [one] = ElementTree.fromstring(taken(client, "/audit/export/", s=key, form="xml"))
    assert faults(one) == []
    assert Event.objects.filter(code=Code.EXPORT, patient_id="P-4711").count() == 2
    assert client.post("/audit/export/", {"form": "exe"}).status_code == 404


def test_whoever_may_only_read_takes_nothing_out(signed_in: SignedIn) -> None:
    assert signed_in("radiologist").post("/audit/export/", {"form": "csv"}).status_code == 403
    assert signed_in("dpo").get("/audit/export/").status_code == 405


# Reports -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report", ["patients", "people", "emergency", "disclosures", "sign-ins", "refusals", "configuration"]
)
def test_every_report_has_a_page_and_a_table(report: str, signed_in: SignedIn) -> None:
    record(
        opened("rumbi"),
        Entry(Code.EXPORT, "R", "rumbi", patient_id="P-4711"),
        Entry(Code.SECURITY_ALERT, "E", "rumbi", patient_id="P-4711", detail={"type": Type.EMERGENCY_OVERRIDE_STARTED}),
        Entry(Code.SECURITY_ALERT, "U", "rumbi", detail={"type": Type.NETWORK_CONFIGURATION}),
        Entry(Code.SECURITY_ALERT, "E", "rumbi", Outcome.MINOR_FAILURE, detail={"type": Type.RESTRICTED_FUNCTION}),
        Entry(Code.USER_AUTHENTICATION, "E", "rumbi", Outcome.MINOR_FAILURE, detail={"type": Type.LOGIN}),
    )
    client = signed_in("dpo")
    text = page(client, f"/audit/reports/?report={report}")
    assert re.search(r"<strong>[12]</strong>", text)
    today = f"{timezone.localdate():%Y-%m-%d}"
    rows = list(csv.reader(io.StringIO(taken(client, "/audit/reports/export/", report=report, until=today).decode())))
    assert sum(int(row[-3]) for row in rows[1:]) in (1, 2)


def test_a_report_that_cannot_be_is_said(signed_in: SignedIn) -> None:
    client = signed_in("dpo")
    assert client.get("/audit/reports/?report=nonsense").status_code == 422
    assert client.get("/audit/reports/?since=2026-11-24&until=2026-11-01").status_code == 422
    assert client.get("/audit/reports/?since=yesterday").status_code == 422


# Whole? --------------------------------------------------------------------------------------------


def test_the_state_says_when_the_audit_was_looked_at_and_what_is_sealed(signed_in: SignedIn) -> None:
    client = signed_in("dpo")
    assert "was not looked at yet" in page(client, "/audit/state/")
    record(opened("rumbi", at=timezone.now() - timedelta(days=1)))
    verify.verify_and_record("alois")
    text = page(client, "/audit/state/")
    assert "every row is as it was written" in text
    assert "alois" in text and "No sealed" not in text
    Event.objects.filter(actor="rumbi").update(actor="x")
    verify.verify_and_record("alois")
    assert "No: 1 finding." in page(client, "/audit/state/")


def test_home_says_when_the_audit_is_not_whole_or_its_copy_is_behind(
    signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(client: Client) -> str:
        return page(client, "/")

    dpo = signed_in("dpo")
    record(opened("rumbi"))
    verify.verify_and_record("hozi")
    assert "audit is not whole" not in told(dpo)
    Event.objects.filter(actor="rumbi").update(actor="x")
    verify.verify_and_record("hozi")
    assert "The audit is not whole: 1 finding." in told(dpo)
    assert "audit is not whole" not in told(signed_in("dpo", facility="GRANARY"))
    chain.link()
    record(opened("late", at=timezone.now() - timedelta(hours=1)))
    assert "to be chained" in told(dpo)
    monkeypatch.setattr("hozi.audit.forward.HOZI", type("S", (), {"audit_syslog": "tls://collector.example"})())
    Forwarding.objects.create(pk=1, error="gone", failing_since=timezone.now() - timedelta(hours=1))
    assert "The copy of the audit is" in told(dpo)
