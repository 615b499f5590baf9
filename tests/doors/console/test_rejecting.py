"""A study is rejected from its page: first what would go is shown, then it is gone everywhere, and it can come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from django.test import Client

from hozi.archive.models import Instance, Series, Study
from tests.archive.conftest import Counter
from tests.archive.conftest import counter as counter
from tests.archive.stock import keep

SignIn = Callable[..., Client]

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    for number in (1, 2):
        keep(
            number,
            {"PatientID": "P1", "StudyInstanceUID": "1.1", "PatientName": "Moyo^Tendai", "IssuerOfPatientID": "M"},
        )
    Study.objects.update(series_count=2, instance_count=2)
    return Study.objects.get()


def test_what_would_go_is_shown_and_it_goes_and_comes_back(study: Study, signed_in: SignIn) -> None:
    client, url = signed_in("pacs_admin"), f"/studies/{study.pk}/reject/"
    assert url in client.get(f"/studies/{study.pk}/").content.decode()
    assert "2 objects would not be shown" in client.get(url).content.decode()
    one = Series.objects.order_by("pk")[0]
    part = client.get(url, {"series": one.pk}).content.decode()
    assert "1 object would not be shown" in part
    assert "1 object of the study stays" in part
    answer = client.post(url, {"series": one.pk, "reason": ""})
    assert answer.status_code == 200
    assert Series.objects.filter(study=study).count() == 2
    page = client.post(url, {"series": one.pk, "reason": "blurred <b>"}, follow=True).content.decode()
    assert "Moyo" in page
    assert "blurred &lt;b&gt;" in page
    assert Series.objects.filter(study=study).count() == 1
    told = client.get(f"/studies/{study.pk}/history/").content.decode()
    assert "rejected 1 object" in told
    client.post(url, {"reason": "all of it"})
    assert client.get(f"/studies/{study.pk}/").status_code == 404
    assert "Moyo" not in client.get("/studies/").content.decode()
    for form in ("all of it", "blurred"):
        lines = client.get("/rejected/").content.decode()
        assert form in lines
        number = lines.split('action="/rejected/')[1].split("/")[0]
        client.post(f"/rejected/{number}/undo/")
    assert Study.objects.get().instance_count == 2
    assert "Nothing is rejected" in client.get("/rejected/").content.decode()
    assert "took a rejection back" in client.get(f"/studies/{study.pk}/history/").content.decode()


def test_one_object_is_rejected_from_its_own_page(counter: Counter, signed_in: SignIn, tmp_path: Path) -> None:
    for number in (1, 2):
        picture = numbered(number)
        picture.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    counter.bring(tmp_path)
    client, one = signed_in("pacs_admin"), Instance.objects.select_related("series").order_by("pk")[0]
    url = f"/studies/{one.series.study_id}/reject/?object={one.pk}"
    assert url in client.get(f"/objects/{one.pk}/").content.decode()
    assert "1 object of the study stays" in client.get(url).content.decode()
    client.post(url.partition("?")[0], {"object": one.pk, "reason": "blurred"})
    assert client.get(f"/objects/{one.pk}/").status_code == 404
    assert Study.objects.get(rejected=False).instance_count == 1
    # An object of another study is no part of this one.
    other = keep(9, {}).series.study
    assert client.post(f"/studies/{other.pk}/reject/", {"object": one.pk + 1, "reason": "x"}).status_code == 404


def numbered(number: int) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.3.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = "1.1", "1.2", "P1"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    return dataset


def test_only_who_may_reject_is_offered_it(study: Study, signed_in: SignIn) -> None:
    url = f"/studies/{study.pk}/reject/"
    radiologist = signed_in("radiologist")
    assert url not in radiologist.get(f"/studies/{study.pk}/").content.decode()
    assert radiologist.post(url, {"reason": "mine"}).status_code == 403
    assert radiologist.get("/rejected/").status_code == 403
    other = signed_in("pacs_admin", facility="ELSEWHERE")
    assert other.post(url, {"reason": "mine"}).status_code == 404
    assert Study.objects.filter(rejected=False).count() == 1
