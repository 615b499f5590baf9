"""The page of a study: the right patient, nothing of others, nothing in addresses, small, and in the audit."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client

from hozi.archive import correct
from hozi.archive.models import Instance, Series, Study
from hozi.audit.models import Event
from hozi.core.dicom.keys import tag_of
from tests.archive.conftest import Counter, counter
from tests.dicom_files import write

__all__ = ["counter"]

STUDY = "1.2.826.92.1"
SignedIn = Callable[..., Client]


@pytest.fixture
def study(counter: Counter, tmp_path: Path) -> Study:
    for number in range(3):
        write(
            tmp_path / "disc" / f"{number}.dcm",
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=f"{STUDY}.{number // 2}",
            SOPInstanceUID=f"{STUDY}.9.{number}",
            SeriesNumber=number // 2 + 1,
            InstanceNumber=number,
            StudyDescription="CHEST <script>alert(1)</script>",
            SeriesDescription="Axial",
        )
    counter.bring(tmp_path / "disc")
    return Study.objects.get()


def text(client: Client, url: str, **headers: str) -> str:
    response = client.get(url, headers=headers)
    assert response.status_code == 200, url
    return response.content.decode()


def plain(content: bytes) -> str:
    """The page without what is another every time."""
    return re.sub(r'csrf[^>]*value="[^"]+"|"X-CSRFToken": "[^"]+"', "", content.decode())


def addresses(study: Study) -> list[str]:
    series, instance = Series.objects.all()[0], Instance.objects.all()[0]
    return [
        f"/studies/{study.pk}/",
        f"/studies/{study.pk}/now/",
        f"/studies/{study.pk}/series/",
        f"/studies/{study.pk}/history/",
        f"/series/{series.pk}/",
        f"/series/{series.pk}/picture/",
        f"/objects/{instance.pk}/",
        f"/objects/{instance.pk}/picture/",
    ]


def test_it_says_whose_study_it_is_and_shows_its_series(study: Study, signed_in: SignedIn) -> None:
    page = text(signed_in("radiologist"), f"/studies/{study.pk}/")
    for words in ("Chikomba, Rutendo", "E-0001", "(MAIN)", "12 Nov 1979", "2 series", "3 objects", "Axial"):
        assert words in page
    assert "<script>alert" not in page and "&lt;script&gt;" in page
    assert page.count("/picture/") == 2
    row = Event.objects.filter(code="110103").get()
    assert (row.actor, row.study_uid) == ("rradiologist", STUDY)


def test_every_page_of_it_says_who_the_patient_is(study: Study, signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    for url in addresses(study):
        if url.endswith(("/now/", "/picture/")) or url.endswith(f"{study.pk}/series/"):
            continue
        page = text(client, url)
        assert all(words in page for words in ("Chikomba, Rutendo", "E-0001", "(MAIN)", "12 Nov 1979")), url


def test_nobody_else_can_tell_that_it_is_there(study: Study, signed_in: SignedIn) -> None:
    stranger = signed_in("radiologist", facility="ELSEWHERE")
    missing = plain(stranger.get("/studies/99999/").content)
    assert "Chikomba" not in missing
    for url in addresses(study):
        answer = stranger.get(url)
        assert answer.status_code == 404, url
        assert plain(answer.content).replace(url, "") == missing.replace("/studies/99999/", "")
    assert stranger.post(f"/studies/{study.pk}/download/").status_code == 404


def test_those_who_may_only_search_see_no_images(study: Study, signed_in: SignedIn) -> None:
    client = signed_in("records_officer")
    page = text(client, f"/studies/{study.pk}/")
    assert "/picture/" not in page and "/download/" not in page
    for url in addresses(study)[5:]:
        assert client.get(url).status_code == 403, url
    assert client.post(f"/studies/{study.pk}/download/").status_code == 403
    assert signed_in("it_support").get(f"/studies/{study.pk}/").status_code == 403


def test_pictures_are_small_and_kept_by_nobody_between(study: Study, signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    answer = client.get(f"/series/{Series.objects.all()[0].pk}/picture/")
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.content.startswith(b"\xff\xd8") and len(answer.content) < 10_000
    assert answer.headers["Cache-Control"].startswith("private")
    again = client.get(answer.wsgi_request.path, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304 and not again.content


def test_what_cannot_be_shown_is_said_so_in_a_picture(counter: Counter, tmp_path: Path, signed_in: SignedIn) -> None:
    write(tmp_path / "a" / "1.dcm", Rows=5000, Columns=5000)
    write(tmp_path / "a" / "2.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", PixelData=None)
    counter.bring(tmp_path / "a")
    client = signed_in("radiologist")
    answers = [client.get(f"/objects/{one.pk}/picture/") for one in Instance.objects.order_by("pk")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert {answer.headers["Content-Type"] for answer in answers} == {"image/svg+xml"}
    assert "cannot be shown" in answers[0].content.decode()
    assert "report" in answers[1].content.decode()


def test_elements_can_be_read_and_searched_without_naming_anybody_in_an_address(
    study: Study, signed_in: SignedIn
) -> None:
    client, url = signed_in("radiologist"), f"/objects/{Instance.objects.all()[0].pk}/"
    page = text(client, url)
    assert "(0010,0010)" in page and "Patient&#x27;s Name" in page and "64 bytes of binary data" in page
    found = client.post(url, {"wanted": "chikomba"}, headers={"HX-Request": "true"}).content.decode()
    assert "(0010,0010)" in found and "(0010,0020)" not in found and "<html" not in found
    assert 'method="post"' in page and "?wanted" not in page
    assert client.post(url, {"first": "x" * 50, "as": "nonsense", "wanted": "\0"}).status_code == 200


def test_elements_read_as_corrected_and_as_stored(study: Study, signed_in: SignedIn) -> None:
    correct.edit("STUDY", STUDY, {tag_of("StudyDescription"): ["ABDOMEN"]}, reason="wrong", actor="onai")
    client, url = signed_in("radiologist"), f"/objects/{Instance.objects.all()[0].pk}/"
    assert "corrected" in text(client, url)
    stored = client.post(url, {"as": "stored", "wanted": "StudyDescription"}).content.decode()
    assert "CHEST &lt;script&gt;" in stored
    story = text(client, f"/studies/{study.pk}/history/", **{"HX-Request": "true"})
    assert "onai corrected StudyDescription" in story and "wrong" in story and "clerk imported 3 objects" in story
    assert "<html" not in story


def test_it_tells_when_more_has_come_and_when_there_is_nothing_to_wait_for(study: Study, signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    page = text(client, f"/studies/{study.pk}/")
    assert f"/studies/{study.pk}/now/?seen=3" in page
    same = client.get(f"/studies/{study.pk}/now/?seen=3")
    assert "HX-Trigger" not in same.headers and len(same.content) < 1000
    assert client.get(f"/studies/{study.pk}/now/?seen=2").headers["HX-Trigger"] == "hz-arrived"
    Instance.objects.update(received_at="2020-01-01T00:00:00Z")
    done = client.get(f"/studies/{study.pk}/now/?seen=3")
    assert done.status_code == 286 and "hx-get" not in done.content.decode()
    assert Event.objects.filter(code="110103").count() == 1


def test_it_can_be_downloaded(study: Study, signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    assert client.get(f"/studies/{study.pk}/download/").headers["Content-Type"].startswith("text/html")  # the form
    answer = client.post(f"/studies/{study.pk}/download/")
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="study-{study.pk}.zip"'
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:  # type: ignore[attr-defined]
        assert len(archive.namelist()) == 4
    assert [row.detail["objects"] for row in Event.objects.filter(code="110106").order_by("pk")] == [3, 3]


def test_pages_are_small(study: Study, signed_in: SignedIn) -> None:
    from django.contrib.staticfiles import finders

    client = signed_in("radiologist")
    for number in range(400):
        Series.objects.create(uid=f"7.{number}", study=study, number=number + 10, modality="CT")
    page = text(client, f"/studies/{study.pk}/")
    assert "More series" in page
    assert len(page.encode()) < 25_000
    assert finders.find("console/console.css")
    more = client.get(f"/studies/{study.pk}/series/?after=10.x")
    assert more.status_code == 404


def test_who_saw_the_patient_is_one_click_away_for_those_who_read_the_audit(study: Study, signed_in: SignedIn) -> None:
    assert "who-saw" not in text(signed_in("radiologist"), f"/studies/{study.pk}/")
    client = signed_in("pacs_admin")
    page = text(client, f"/studies/{study.pk}/")
    [form] = re.findall(r'<form method="post" action="(/audit/who-saw/)">(.*?)</form>', page, re.DOTALL)
    fields = dict(re.findall(r'name="(issuer|patient_id)" value="([^"]*)"', form[1]))
    assert fields == {"issuer": "MAIN", "patient_id": "E-0001"}
    answer = client.post(form[0], fields, follow=True)
    assert "rradiologist" in answer.content.decode() and "E-0001" not in answer.redirect_chain[-1][0]


def test_numbers_in_addresses_that_no_row_has_are_not_there(study: Study, signed_in: SignedIn) -> None:
    client, series = signed_in("pacs_admin"), Series.objects.all()[0]
    huge = "9" * 40
    for url in (f"/studies/{huge}/", f"/series/{huge}/", f"/objects/{huge}/picture/", f"/exceptions/{huge}/"):
        assert client.get(url).status_code == 404, url
    for after in (f"{huge}.1", f"1.{huge}", f"-{huge}.{huge}", "%00", "1.1.1", ".", "١.١"):
        assert client.get(f"/studies/{study.pk}/series/?after={after}").status_code in (200, 404), after
        assert client.get(f"/series/{series.pk}/?after={after}").status_code in (200, 404), after
    for query in ("device=%00", f"study={huge}", "study=%D9%A1", "reason=%00x", f"after={huge}", "facility=%00"):
        assert client.get(f"/exceptions/?{query}").status_code in (200, 404), query
