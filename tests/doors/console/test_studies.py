"""The list of studies in the browser: what people look for is found, never stands in an address, and stays theirs."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hozi.archive.models import ExceptionCase, Instance, SavedFilter, Study
from hozi.audit.models import Event
from hozi.audit.record import Code
from tests.archive.stock import keep
from tests.archive.test_reach import kept

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Enter = Callable[..., Client]


def shown(page: Any) -> list[int]:
    """The numbers of the studies on a page."""
    return [int(line.uid.split(".")[-1]) for line in page.context["lines"]]


def search(client: Client, **typed: str) -> Any:
    answer = client.post("/studies/", typed)
    assert answer.status_code == 303, answer.context["form"].errors
    return client.get(answer.url)


@pytest.fixture
def two_hospitals() -> None:
    kept(1, {"PatientName": "Moyo^Tendai", "PatientID": "0042", "StudyDate": "20260105"}, facility="GRANARY")
    kept(2, {"PatientName": "Ncube^Sipho", "PatientID": "0043", "Modality": "MR"}, facility="ELSEWHERE")


def test_everybody_sees_the_studies_that_their_role_reaches(two_hospitals: None, signed_in: Enter) -> None:
    assert shown(signed_in("pacs_admin").get("/studies/")) == [2, 1]
    assert shown(signed_in("radiologist", facility="GRANARY").get("/studies/")) == [1]
    assert shown(signed_in("radiologist", facility="ELSEWHERE").get("/studies/")) == [2]
    assert shown(signed_in("radiologist", facility="GRANARY", username="u", modality="US").get("/studies/")) == []
    page = signed_in("referrer", referring_names=("Banda^Chipo",)).get("/studies/")
    assert shown(page) == []
    assert "Tendai" not in page.content.decode()


@pytest.mark.parametrize("role", ["ministry", "manager"])
def test_who_may_not_search_studies_has_no_list(role: str, signed_in: Enter) -> None:
    assert signed_in(role).get("/studies/").status_code == 403


def test_a_search_never_stands_in_an_address_and_survives_a_reload(two_hospitals: None, signed_in: Enter) -> None:
    client = signed_in("pacs_admin")
    answer = client.post("/studies/", {"text": "moyo ten", "since": "2026-01-01"})
    assert re.fullmatch(r"/studies/\?s=[\w-]{8}", answer.url)
    for _ in range(2):
        page = client.get(answer.url)
        assert shown(page) == [1]
        assert 'value="moyo ten"' in page.content.decode() and 'value="2026-01-01"' in page.content.decode()
    # The same search again has the same address; nothing looked for has none.
    assert client.post("/studies/", {"text": "moyo ten", "since": "2026-01-01"}).url == answer.url
    assert client.post("/studies/", {"text": " "}).url == "/studies/"


def test_nobody_finds_the_search_of_somebody_else(two_hospitals: None, signed_in: Enter) -> None:
    address = signed_in("pacs_admin").post("/studies/", {"text": "moyo"}).url
    page = signed_in("radiologist", facility="GRANARY").get(address)
    assert page.context["searched"] is False
    assert "moyo" not in page.context["form"].initial["text"]


def test_two_searches_stand_side_by_side_and_old_ones_are_forgotten(two_hospitals: None, signed_in: Enter) -> None:
    client = signed_in("pacs_admin")
    first = client.post("/studies/", {"text": "moyo"}).url
    second = client.post("/studies/", {"text": "ncube"}).url
    assert (shown(client.get(first)), shown(client.get(second))) == ([1], [2])
    for number in range(12):
        client.post("/studies/", {"text": f"number {number}"})
    assert client.get(first).context["searched"] is False


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"since": "soon"}, "since"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "until"),
        ({"modality": "<script>"}, "modality"),
        ({"text": "x" * 200}, "text"),
        ({"status": "lost"}, "status"),
    ],
)
def test_what_cannot_be_searched_for_is_said_beside_the_field(
    typed: dict[str, str], field: str, two_hospitals: None, signed_in: Enter
) -> None:
    page = signed_in("pacs_admin").post("/studies/", {"text": "moyo", **typed})
    assert page.status_code == 422
    assert list(page.context["form"].errors) == [field]
    assert shown(page) == []
    assert "<script>&" not in page.content.decode()
    assert typed.get("text", "moyo") in page.content.decode()


def test_hostile_text_is_shown_as_text(signed_in: Enter) -> None:
    kept(1, {"PatientName": "<script>alert(1)</script>", "StudyDescription": '"><img src=x onerror=alert(1)>'})
    client = signed_in("pacs_admin")
    assert "<script>alert" not in client.get("/studies/").content.decode()
    assert "<img src=x" not in search(client, text='"><img src=x>').content.decode()


def test_today_is_one_button(signed_in: Enter) -> None:
    today = timezone.localdate()
    kept(1, {"StudyDate": f"{today:%Y%m%d}"})
    kept(2, {"StudyDate": f"{today - timedelta(days=5):%Y%m%d}"})
    kept(3, {"StudyDate": "20200101"})
    client = signed_in("pacs_admin")
    assert shown(search(client, days="0")) == [1]
    assert shown(search(client, days="7")) == [1, 2]
    assert shown(search(client, days="x")) == [3, 2, 1]


def test_pages_go_to_the_older_ones_and_back(signed_in: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    from hozi.doors.console import studies

    monkeypatch.setattr(studies, "PAGE", 2)
    for number in range(5):
        kept(number, {"PatientName": "Moyo^Tendai"})
    client = signed_in("pacs_admin")
    page = search(client, text="moyo")
    seen = [shown(page)]
    assert not page.context["newer"]
    while page.context["older"]:
        page = client.get(page.context["older"])
        seen.append(shown(page))
    assert seen == [[4, 3], [2, 1], [0]]
    page = client.get(page.context["newer"])
    assert shown(page) == [2, 1]
    assert "moyo" not in page.context["newer"] + page.context["older"]


@pytest.mark.parametrize("where", ["after=999", "before=x", "after=99999999999999999999", "s=none", "after=-1"])
def test_an_address_that_leads_nowhere_leads_to_the_newest(where: str, two_hospitals: None, signed_in: Enter) -> None:
    page = signed_in("pacs_admin").get(f"/studies/?{where}", follow=True)
    assert shown(page) == [2, 1]


def test_a_page_that_begins_at_a_study_out_of_reach_tells_nothing_of_it(two_hospitals: None, signed_in: Enter) -> None:
    other = Study.objects.get(uid="1.1.2").pk
    answer = signed_in("radiologist", facility="GRANARY").get(f"/studies/?after={other}")
    gone = signed_in("radiologist", facility="GRANARY").get("/studies/?after=987654")
    assert (answer.status_code, answer.url) == (gone.status_code, gone.url) == (303, "/studies/")


def test_empty_lists_say_what_to_do(signed_in: Enter) -> None:
    client = signed_in("pacs_admin")
    assert "No study yet" in client.get("/studies/").content.decode()
    kept(1)
    assert "No study like that" in search(client, text="nobody").content.decode()


def test_what_arrives_is_counted_while_one_looks(signed_in: Enter) -> None:
    study = kept(1)
    client = signed_in("pacs_admin")
    page = client.get("/studies/")
    assert "Arriving" in page.content.decode()
    live = page.context["live"]
    assert f"of={study.pk}" in live["url"]
    keep(2, {"StudyInstanceUID": study.uid, "SeriesInstanceUID": "1.2.1"})
    Study.objects.update(instance_count=2)
    answer = client.get(live["url"])
    body = answer.content.decode()
    assert f'<span id="i{study.pk}" hx-swap-oob="true">2</span>' in body
    assert len(answer.content) < 1500
    assert "Moyo" not in body and "PatientName" not in body
    # When it has come to rest, it is looked at no longer; what is new is told.
    Instance.objects.update(received_at=timezone.now() - timedelta(hours=1))
    kept(3)
    body = client.get(live["url"]).content.decode()
    assert "1 new study" in body and "of=" not in body and "Arriving" not in body


def test_what_arrives_elsewhere_is_not_told(two_hospitals: None, signed_in: Enter) -> None:
    client = signed_in("radiologist", facility="GRANARY")
    other = Study.objects.get(uid="1.1.2").pk
    body = client.get(f"/studies/now/?of={other}.x.-1.99999999999999999999&newest=0").content.decode()
    assert f"i{other}" not in body
    assert "1 new study" in body


def test_a_study_with_an_exception_or_a_correction_says_so(signed_in: Enter) -> None:
    study = kept(1)
    now = timezone.now()
    ExceptionCase.objects.create(
        reason="patient-differs", sha256="1", study_uid=study.uid, first_at=now, last_at=now
    )  # fmt: skip
    client = signed_in("pacs_admin")
    assert "1 exception" in client.get("/studies/").content.decode()
    assert shown(search(client, status="exceptions")) == [1]
    assert shown(search(client, status="corrected")) == []


def test_a_search_can_be_kept_used_and_removed(two_hospitals: None, signed_in: Enter) -> None:
    client = signed_in("pacs_admin")
    key = client.post("/studies/", {"text": "moyo"}).url.partition("=")[2]
    client.post("/studies/kept/", {"s": key, "name": "The Moyos"})
    [row] = SavedFilter.objects.all()
    assert "The Moyos" in client.get("/studies/").content.decode()
    answer = client.post(f"/studies/kept/{row.pk}/")
    assert shown(client.get(answer.url)) == [1]
    other = signed_in("radiologist", facility="GRANARY")
    assert "The Moyos" not in other.get("/studies/").content.decode()
    assert other.post(f"/studies/kept/{row.pk}/").status_code == 404
    assert other.post(f"/studies/kept/{row.pk}/forget/").status_code == 404
    client.post(f"/studies/kept/{row.pk}/forget/")
    assert not SavedFilter.objects.exists()


def test_a_search_without_a_name_is_not_kept(two_hospitals: None, signed_in: Enter) -> None:
    client = signed_in("pacs_admin")
    key = client.post("/studies/", {"text": "moyo"}).url.partition("=")[2]
    page = client.post("/studies/kept/", {"s": key, "name": " "}, follow=True)
    assert not SavedFilter.objects.exists()
    assert "alert-danger" in page.content.decode()


def test_a_full_page_is_small_enough_for_a_slow_link(signed_in: Enter) -> None:
    for number in range(50):
        names = {"PatientName": f"Mukwindidza^Tendai {number}", "ReferringPhysicianName": "Ndlovukazi^Nomathemba"}
        kept(number, {**names, "StudyDescription": "CT of the thorax and abdomen with contrast"})
    page = signed_in("pacs_admin").get("/studies/", HTTP_ACCEPT_ENCODING="gzip")
    assert page["Content-Encoding"] == "gzip"
    assert len(page.content) < 20_000


def test_looking_is_in_the_audit(two_hospitals: None, signed_in: Enter) -> None:
    client = signed_in("radiologist", facility="GRANARY")
    search(client, text="moyo")
    row = Event.objects.filter(code=Code.QUERY).latest("pk")
    assert row.actor.startswith("rradiologist") and row.patient_id == "0042" and row.detail["asked"] == ["text"]


def test_only_who_sees_several_hospitals_is_asked_which(two_hospitals: None, signed_in: Enter) -> None:
    assert "facility" not in signed_in("radiologist", facility="GRANARY").get("/studies/").context["form"].fields
    client = signed_in("pacs_admin")
    assert "facility" in client.get("/studies/").context["form"].fields
    assert shown(search(client, facility="GRANARY")) == [1]
