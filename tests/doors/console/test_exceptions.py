"""Exceptions in the browser: the right ones, explained, compared, decided with a look before and a way back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client

from hozi.archive.models import ExceptionCase, Instance, Study
from hozi.audit.models import Event
from tests.archive.conftest import Counter, counter
from tests.dicom_files import write

__all__ = ["counter"]

STUDY, SERIES = "1.2.826.95.1", "1.2.826.95.1.1"
SignedIn = Callable[..., Client]


@pytest.fixture
def case(counter: Counter, tmp_path: Path) -> ExceptionCase:
    told = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}
    write(tmp_path / "a" / "1.dcm", **told, SOPInstanceUID=f"{SERIES}.1")
    counter.bring(tmp_path / "a")
    other = {"PatientID": "E-1000", "PatientName": "<script>alert(1)</script>^Other"}
    write(tmp_path / "b" / "1.dcm", **told, **other, SOPInstanceUID=f"{SERIES}.2")
    counter.bring(tmp_path / "b")
    return ExceptionCase.objects.get()


def text(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def decide(client: Client, case: ExceptionCase, what: str, note: str = "looked at it", version: int = 1) -> str:
    response = client.post(f"/exceptions/{case.pk}/", {"what": what, "note": note, "version": version}, follow=True)
    return response.content.decode()


def test_the_list_says_what_waits_and_home_says_so_too(case: ExceptionCase, signed_in: SignedIn) -> None:
    client = signed_in("pacs_admin")
    page = text(client, "/exceptions/")
    for words in ("1 waits for a decision", "Study of another patient", "clerk", "CT Image", "Put aside"):
        assert words in page
    assert "E-1000" not in page and "script>alert" not in page
    assert "1 exception waits for a decision." in text(client, "/")
    assert "no exception is like that" in text(client, "/exceptions/?reason=unreadable").lower()
    assert "Study of another patient" in text(client, f"/exceptions/?study={Study.objects.get().pk}")
    assert client.get("/exceptions/?after=x").status_code == 404


def test_one_stands_beside_what_it_collides_with(case: ExceptionCase, signed_in: SignedIn) -> None:
    page = text(signed_in("pacs_admin"), f"/exceptions/{case.pk}/")
    for words in ("The study is in the archive under another patient.", "E-1000", "E-0001", "Chikomba, Rutendo"):
        assert words in page
    assert "<script>alert" not in page and "&lt;script&gt;" in page
    assert page.count("differs") >= 2
    for way in ("same-patient", "as-own", "discard"):
        assert f'value="{way}"' in page
    assert "new number of the study" in page and "in this study of the archive" in page


def test_it_is_taken_in_and_that_is_taken_back(case: ExceptionCase, signed_in: SignedIn) -> None:
    client = signed_in("records_officer")
    page = decide(client, case, "same-patient", "typing error")
    assert "It is part of the archive now" in page and "“typing error”" in page and 'value="undo"' in page
    assert Instance.objects.count() == 2
    assert "Decided" in text(client, "/exceptions/?decided=1")
    page = decide(client, case, "undo", "no", version=2)
    assert "it waits for another one" in page and "waits again" in page
    assert Instance.objects.count() == 1
    said = [row.detail for row in Event.objects.filter(actor="orecords", action="U").order_by("pk")]
    assert [one["note"] for one in said] == ["typing error", "no"]


def test_what_is_wrong_is_said_beside_the_field_and_nothing_is_lost(case: ExceptionCase, signed_in: SignedIn) -> None:
    client = signed_in("pacs_admin")
    response = client.post(f"/exceptions/{case.pk}/", {"what": "discard", "note": "  ", "version": 1})
    assert response.status_code == 422
    assert "hz-wrong" in response.content.decode()
    assert re.search(r'value="discard"[^>]*checked', response.content.decode())
    decide(client, case, "discard")
    second = client.post(f"/exceptions/{case.pk}/", {"what": "undo", "note": "mine", "version": 1})
    assert second.status_code == 422
    assert "Somebody else has decided" in second.content.decode() and "mine" in second.content.decode()


def test_several_are_put_aside_at_once(case: ExceptionCase, signed_in: SignedIn) -> None:
    client = signed_in("pacs_admin")
    page = client.post("/exceptions/several/", {"case": [f"{case.pk}:1", "999:1", "x:y"], "note": "old"}, follow=True)
    assert "1 is put aside. 2 could not be." in page.content.decode()
    case.refresh_from_db()
    assert (case.decision, case.note) == ("discarded", "old")
    assert "Mark at least one" in client.post("/exceptions/several/", {"note": "x"}, follow=True).content.decode()
    again = client.post("/exceptions/several/", {"case": [f"{case.pk}:2"], "note": ""}, follow=True)
    assert "Say why" in again.content.decode()


def test_those_of_other_hospitals_are_not_there(case: ExceptionCase, signed_in: SignedIn) -> None:
    stranger = signed_in("pacs_admin", facility="ELSEWHERE")
    assert "Nothing waits for a decision" in text(stranger, "/exceptions/")
    for url in (f"/exceptions/{case.pk}/", f"/exceptions/{case.pk}/elements/", f"/exceptions/{case.pk}/picture/"):
        assert stranger.get(url).status_code == 404
    assert stranger.post(f"/exceptions/{case.pk}/", {"what": "discard", "note": "n", "version": 1}).status_code == 404
    assert stranger.post(f"/exceptions/{case.pk}/download/").status_code == 404
    case.refresh_from_db()
    assert case.state == "open"


def test_support_sees_what_happened_and_no_patient(case: ExceptionCase, signed_in: SignedIn) -> None:
    client = signed_in("it_support")
    page = text(client, f"/exceptions/{case.pk}/")
    assert "The study is in the archive under another patient." in page
    for words in ("E-1000", "E-0001", "Rutendo", "Decide so", "/picture/", "/download/"):
        assert words not in page
    assert client.get(f"/exceptions/{case.pk}/elements/").status_code == 403
    assert client.post(f"/exceptions/{case.pk}/", {"what": "discard", "note": "n", "version": 1}).status_code == 403
    assert "Put aside" not in text(client, "/exceptions/")
    assert signed_in("referrer").get("/exceptions/").status_code == 403


def test_the_object_can_be_examined(case: ExceptionCase, signed_in: SignedIn) -> None:
    client = signed_in("pacs_admin")
    found = client.post(f"/exceptions/{case.pk}/elements/", {"wanted": "PatientID"}).content.decode()
    assert "E-1000" in found
    picture = client.get(f"/exceptions/{case.pk}/picture/")
    assert picture.headers["Content-Type"] == "image/jpeg" and picture.headers["Cache-Control"].startswith("private")
    given = client.post(f"/exceptions/{case.pk}/download/")
    assert b"".join(given.streaming_content)[128:132] == b"DICM"  # type: ignore[attr-defined]
    assert given.headers["Content-Disposition"] == f'attachment; filename="exception-{case.pk}.dcm"'


def test_the_page_of_the_study_leads_there(case: ExceptionCase, signed_in: SignedIn) -> None:
    study = Study.objects.get()
    client = signed_in("pacs_admin")
    assert f"/exceptions/?study={study.pk}" in text(client, f"/studies/{study.pk}/")
    assert f"/exceptions/{case.pk}/" in text(client, f"/studies/{study.pk}/history/")
