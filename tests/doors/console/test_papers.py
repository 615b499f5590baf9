"""Printing, marking and downloading from a study's page: forms that work without scripts, for those who may."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import Client

from hozi.archive import bringing
from hozi.archive.models import Instance, Series, Study
from hozi.audit.models import Event
from hozi.core.dicom.key_objects import SOP_CLASS
from tests.archive.conftest import Counter, counter
from tests.dicom_files import write
from tests.pdf_text import pages

__all__ = ["counter"]

STUDY = "1.2.826.95.1"
HOSTILE = "<script>alert(1)</script>"
SignedIn = Callable[..., Client]


@pytest.fixture(autouse=True)
def own_way_in() -> Iterator[None]:
    bringing.forget()
    yield
    bringing.forget()


@pytest.fixture
def study(counter: Counter, tmp_path: Path) -> Study:
    for number in range(3):
        write(
            tmp_path / "disc" / f"{number}.dcm",
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=f"{STUDY}.{number // 2}",
            SOPInstanceUID=f"{STUDY}.9.{number}",
            InstanceNumber=number,
            SeriesDescription=HOSTILE,
        )
    counter.bring(tmp_path / "disc")
    return Study.objects.get()


def first() -> Instance:
    return Instance.objects.get(uid=f"{STUDY}.9.0")


def test_a_print_is_a_pdf_that_names_who_printed_it(study: Study, signed_in: SignedIn) -> None:
    client, url = signed_in("radiologist"), f"/studies/{study.pk}/print/"
    form = client.get(url).content.decode()
    assert "the whole study" in form and HOSTILE not in form and "Chikomba, Rutendo" in form
    sent = {"what": "study", "layout": "2x2", "every": "1", "paper": "a4", "remark": HOSTILE}
    answer = client.post(url, sent)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/pdf")
    assert answer.headers["Content-Disposition"] == f'inline; filename="study-{study.pk}.pdf"'
    [page] = pages(answer.content)
    assert page.pictures == 3 and HOSTILE in page.text
    assert f"Printed by {answer.wsgi_request.user.full_name}" in page.text
    refused = client.post(url, sent | {"every": "0"})
    assert refused.status_code == 422 and b"is-invalid" in refused.content


def test_the_chosen_images_are_printed(study: Study, signed_in: SignedIn) -> None:
    client, url = signed_in("radiologist"), f"/studies/{study.pk}/print/"
    form = client.get(f"{url}?image={first().pk}.1&image=nonsense").content.decode()
    assert f'name="image" value="{first().pk}.1"' in form and "the chosen ones (1)" in form
    sent = {"what": "images", "image": f"{first().pk}.1", "layout": "1x1", "every": "1", "paper": "a4"}
    [page] = pages(client.post(url, sent).content)
    assert page.pictures == 1 and "Not for diagnosis" not in page.text


def test_marking_shows_on_the_page_of_the_study(study: Study, signed_in: SignedIn) -> None:
    client, url = signed_in("radiologist"), f"/studies/{study.pk}/key-images/"
    series = client.get(f"/series/{first().series_id}/").content.decode()
    assert f'name="image" value="{first().pk}" form="chosen"' in series and "For Teaching" in series
    answer = client.post(url, {"image": str(first().pk), "title": "113004", "description": HOSTILE}, follow=True)
    assert "1 image is marked." in answer.content.decode()
    part = client.get(url, headers={"HX-Request": "true"}).content.decode()
    assert "For Teaching" in part and HOSTILE not in part and f"/objects/{first().pk}/picture/" in part
    document = Instance.objects.get(sop_class=SOP_CLASS)
    report = client.get(f"/objects/{document.pk}/report/").content.decode()
    assert "For Teaching" in report and f'href="/objects/{first().pk}/"' in report
    assert "key images (1)" in client.get(f"/studies/{study.pk}/print/").content.decode()
    assert f'action="/objects/{document.pk}/take-back/"' in part
    answer = client.post(f"/objects/{document.pk}/take-back/", follow=True)
    assert "These marks are taken back" in answer.content.decode()
    assert "No image of this study is marked" in client.get(url, headers={"HX-Request": "true"}).content.decode()


def test_the_viewer_is_answered_in_its_own_way(study: Study, signed_in: SignedIn) -> None:
    client, url = signed_in("radiologist"), f"/studies/{study.pk}/key-images/"
    json = {"Accept": "application/json"}
    answer = client.post(url, {"image": f"{first().pk}.1", "title": "113000"}, headers=json)
    assert (answer.status_code, answer.json()["marked"]) == (201, 1)
    answer = client.post(url, {"title": "113000"}, headers=json)
    assert answer.status_code == 422 and "at least one" in answer.json()["refused"]


def test_a_download_may_be_of_some_series_and_with_an_index(study: Study, signed_in: SignedIn) -> None:
    client, url = signed_in("radiologist"), f"/studies/{study.pk}/download/"
    form = client.get(url).content.decode()
    assert form.count('name="series"') == 2 and HOSTILE not in form
    series = Series.objects.get(uid=f"{STUDY}.0")
    answer = client.post(url, {"series": str(series.pk), "index": "1"})
    data = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        assert "index.html" in names and HOSTILE.encode() not in archive.read("index.html")
    assert len([name for name in names if name.startswith("DICOM/")]) == 2
    assert Event.objects.filter(code="110106").order_by("pk")[0].detail["series"] == 1


def test_what_is_not_yours_is_not_there(study: Study, signed_in: SignedIn) -> None:
    stranger = signed_in("radiologist", facility="ELSEWHERE")
    sent = {"what": "study", "layout": "2x2", "every": "1", "paper": "a4", "image": str(first().pk), "title": "113000"}
    for path in ("print", "key-images", "download"):
        assert stranger.get(f"/studies/{study.pk}/{path}/").status_code == 404
        assert stranger.post(f"/studies/{study.pk}/{path}/", sent).status_code == 404
    assert not Instance.objects.filter(sop_class=SOP_CLASS).exists()


def test_the_list_has_tiny_pictures_that_can_be_switched_off(study: Study, signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    page = client.get("/studies/").content.decode()
    [url] = re.findall(r'<img src="(/studies/\d+/picture/\w+/)"[^>]* loading="lazy"', page)
    picture = client.get(url)
    assert picture.headers["Content-Type"] == "image/jpeg" and len(picture.content) < 2500
    [row] = Event.objects.filter(code="110112")
    assert row.detail["pictures"] == [study.pk]  # one row for all that the list shows
    assert not Event.objects.filter(code="110103").exists()
    assert client.get("/studies/", headers={"Save-Data": "on"}).content.count(b"/picture/") == 0
    client.post("/studies/pictures/", {"pictures": "off"})
    assert b"/picture/" not in client.get("/studies/").content
    client.post("/studies/pictures/", {"pictures": "on"})
    assert b"/picture/" in client.get("/studies/", headers={"Save-Data": "on"}).content


def test_a_picture_of_a_list_is_for_whom_it_was_listed(study: Study, signed_in: SignedIn) -> None:
    page = signed_in("radiologist").get("/studies/").content.decode()
    [url] = re.findall(r'"(/studies/\d+/picture/\w+/)"', page)
    assert signed_in("pacs_admin").get(url).status_code == 404
    assert b"/picture/" not in signed_in("records_officer").get("/studies/").content
    assert signed_in("records_officer").get(url).status_code == 403
