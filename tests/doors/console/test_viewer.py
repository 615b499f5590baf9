"""Quick view's pages: whose study it is, the first picture before any script, nothing for others, and in the audit."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from pydicom.encaps import encapsulate

from hozi.archive.models import Instance, Series, Study
from hozi.audit.models import Event
from tests.archive.conftest import Counter, counter
from tests.dicom_files import file_bytes, write
from tests.doors.dimse.images import image

__all__ = ["counter"]

STUDY = "1.2.826.95.1"
SignedIn = Callable[..., Client]


@pytest.fixture
def study(counter: Counter, tmp_path: Path) -> Study:
    for number in (1, 2):
        write(
            tmp_path / "disc" / f"{number}.dcm",
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=f"{STUDY}.1",
            SOPInstanceUID=f"{STUDY}.1.{number}",
            InstanceNumber=number,
            SeriesDescription="</script><script>alert(1)</script>",
        )
    counter.bring(tmp_path / "disc")
    return Study.objects.get()


def addresses(study: Study) -> list[str]:
    series, instance = Series.objects.all()[0], Instance.objects.order_by("number")[0]
    return [
        f"/view/{study.pk}/",
        f"/view/{study.pk}/series/",
        f"/view/series/{series.pk}/",
        f"/view/objects/{instance.pk}/1/picture/?size=512",
        f"/view/objects/{instance.pk}/1/values/",
    ]


def test_the_first_picture_stands_before_any_script_and_nothing_is_run_that_a_file_says(
    study: Study, signed_in: SignedIn
) -> None:
    page = signed_in("radiologist").get(f"/view/{study.pk}/")
    text = page.content.decode()
    first = Instance.objects.order_by("number")[0]
    assert text.index(f'src="/view/objects/{first.pk}/1/picture/') < text.index("<script")
    assert all(words in text for words in ("Chikomba, Rutendo", "E-0001", "12 Nov 1979", "not for diagnosis"))
    assert "<script>alert" not in text
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "script-src 'self'" in policy
    row = Event.objects.filter(code="110103").get()
    assert (row.actor, row.study_uid) == ("rradiologist", STUDY)


def test_values_are_those_of_the_file(study: Study, signed_in: SignedIn) -> None:
    answer = signed_in("radiologist").get(addresses(study)[4])
    assert answer.headers["Content-Encoding"] == "gzip"
    data = gzip.decompress(answer.content)
    assert struct.unpack_from("<4sHHBBB", data) == (b"HZV1", 8, 8, 1, 8, 0)
    first, *rest = data[24:32]
    assert (first, set(rest)) == (0, {1})
    assert answer.headers["Cache-Control"].startswith("private")
    again = signed_in("radiologist").get(addresses(study)[4], headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_it_begins_where_it_is_asked_to(study: Study, signed_in: SignedIn) -> None:
    series, last = Series.objects.all()[0], Instance.objects.order_by("-number")[0]
    text = signed_in("radiologist").get(f"/view/{study.pk}/?series={series.pk}&object={last.pk}").content.decode()
    told = json.loads(text.partition('<script id="told" type="application/json">')[2].partition("</script>")[0])
    assert told["begin"] == {"series": series.pk, "object": last.pk, "frame": 1}
    assert f'src="/view/objects/{last.pk}/1/picture/' in text


def test_nobody_else_can_tell_that_it_is_there(study: Study, signed_in: SignedIn) -> None:
    stranger = signed_in("radiologist", facility="ELSEWHERE")
    for url in addresses(study):
        answer = stranger.get(url)
        assert answer.status_code == 404, url
        assert b"Chikomba" not in answer.content
    told = {"images": f"{Instance.objects.all()[0].pk}.1", "title": "113000"}
    assert stranger.post(f"/view/{study.pk}/key-images/", told).status_code == 404


def test_those_who_may_only_search_see_nothing_and_those_who_may_not_mark_have_no_form(
    study: Study, signed_in: SignedIn
) -> None:
    for url in addresses(study):
        assert signed_in("records_officer").get(url).status_code == 403, url
    assert 'id="marked"' in signed_in("radiologist").get(f"/view/{study.pk}/").content.decode()
    assert 'id="marked"' not in signed_in("student").get(f"/view/{study.pk}/").content.decode()


def test_numbers_and_windows_that_are_none_do_no_harm(study: Study, signed_in: SignedIn) -> None:
    client, pk = signed_in("radiologist"), Instance.objects.all()[0].pk
    for url in (
        f"/view/{study.pk}/?series=x&object={'9' * 40}",
        f"/view/{study.pk}/?object=999999",
        f"/view/objects/{pk}/99999/values/",
        f"/view/objects/{pk}/0/picture/",
        f"/view/objects/{pk}/1/picture/?center=nan&width=inf&size={'9' * 20}",
        f"/view/objects/{pk}/1/picture/?center=1e300&width=-1&size=-5",
    ):
        assert client.get(url).status_code in (200, 404, 422), url


def test_a_film_comes_whole_or_in_the_part_that_is_asked_for(
    counter: Counter, tmp_path: Path, signed_in: SignedIn
) -> None:
    stream = bytes(range(256)) * 40
    pieces = [stream[:6000], stream[6000:]]
    dataset = image(PixelData=encapsulate(pieces, has_bot=False), NumberOfFrames=25, Rows=64, Columns=64)
    dataset["PixelData"].is_undefined_length = True
    (tmp_path / "film.dcm").write_bytes(file_bytes(dataset, "1.2.840.10008.1.2.4.102"))
    counter.bring(tmp_path / "film.dcm")
    client, url = signed_in("radiologist"), f"/view/objects/{Instance.objects.get().pk}/video/"

    def ask(wanted: str = "") -> tuple[int, bytes, str]:
        answer = client.get(url, headers={"Range": wanted} if wanted else {})
        body = answer.getvalue()
        assert int(answer.headers.get("Content-Length", 0)) == len(body)
        return answer.status_code, body, answer.headers.get("Content-Range", "")

    assert ask() == (200, stream, "")
    assert ask("bytes=5990-6009") == (206, stream[5990:6010], "bytes 5990-6009/10240")
    assert ask("bytes=-4") == (206, stream[-4:], "bytes 10236-10239/10240")
    assert ask("bytes=10240-")[0] == 416
    assert ask("bytes=1-2,5-6") == (200, stream, "")
