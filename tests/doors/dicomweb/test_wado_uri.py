"""WADO-URI: one object by the parameters of an address (PS3.18 §9); and what DELETE does, and does not do."""

from __future__ import annotations

import io

import pydicom
import pytest
from PIL import Image

from hozi.accounts.authorise import of_operator
from hozi.archive import give, reject
from hozi.archive.models import Instance, Study
from tests import corpus
from tests.archive.conftest import Counter
from tests.archive.conftest import counter as counter
from tests.doors.dicomweb.conftest import Call
from tests.doors.dicomweb.test_wado import EXPLICIT, address, brought, find

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not corpus.rows(), reason="left out without the corpus"),
]


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    give.NOTED.forget()


def named(instance: Instance, **more: str) -> dict[str, str]:
    return {
        "requestType": "WADO",
        "studyUID": instance.series.study.uid,
        "seriesUID": instance.series.uid,
        "objectUID": instance.uid,
        **more,
    }


def test_an_object_comes_as_a_file_or_as_a_picture(counter: Counter, calls: Call) -> None:
    ct, rle, many = brought(counter, *find("CT_small.dcm", "MR_small_RLE.dcm", "emri_small_RLE.dcm"))
    caller = calls("pacs_admin")
    picture = caller.get("/wado", named(ct, rows="64", columns="64", windowCenter="40", windowWidth="400"))
    assert picture.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(picture.body)).size == (64, 64)
    other = caller.get("/wado", named(ct, contentType="image/png;q=1, image/jpeg;q=0.5"))
    assert Image.open(io.BytesIO(other.body)).format == "PNG"
    assert caller.get("/wado", named(ct), if_none_match=caller.get("/wado", named(ct)).headers["etag"]).status == 304
    # Of several frames, the file is meant unless one of them is named.
    assert caller.get("/wado", named(many)).headers["content-type"].startswith("application/dicom")
    assert caller.get("/wado", named(many, frameNumber="3")).headers["content-type"] == "image/jpeg"
    file = caller.get("/wado", named(rle, contentType="application/dicom"))
    assert pydicom.dcmread(io.BytesIO(file.body)).file_meta.TransferSyntaxUID == EXPLICIT
    stored = caller.get("/wado", named(rle, contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.5"))
    assert stored.headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.5"
    # Names of parameters in any case, as programs write them.
    assert (
        caller.get(
            "/wado", {"requesttype": "wado", **{k: v for k, v in named(ct).items() if k != "requestType"}}
        ).status
        == 200
    )


def test_what_is_wrong_is_said(counter: Counter, calls: Call, hospitals: None) -> None:
    [ct] = brought(counter, *find("CT_small.dcm"))
    caller = calls("pacs_admin")
    for wrong in (
        {"requestType": "QIDO"},
        {"studyUID": ""},
        {"objectUID": "../../etc"},
        {"anonymize": "yes"},
        {"region": "0,0,1,1"},
        {"windowCenter": "40"},
        {"windowCenter": "nan", "windowWidth": "400"},
        {"windowCenter": "40", "windowWidth": "0"},
        {"rows": "0"},
        {"rows": "99999"},
        {"frameNumber": "-1"},
    ):
        answer = caller.get("/wado", named(ct, **wrong))
        assert answer.status == 400, wrong
        assert answer.json()["field"] in {*wrong, "windowWidth"}
    assert caller.get("/wado", named(ct, contentType="text/html")).status == 406
    assert caller.get("/wado", named(ct, frameNumber="2")).status in (404, 422)
    stranger = calls("radiologist", "ELSEWHERE", username="olga")
    assert stranger.get("/wado", named(ct)).body == caller.get("/wado", named(ct, objectUID="1.2.3")).body


def test_delete_rejects_and_deletes_nothing(counter: Counter, calls: Call, hospitals: None) -> None:
    [ct] = brought(counter, *find("CT_small.dcm"))
    where, study = address(ct), f"/studies/{ct.series.study.uid}"
    assert calls("radiologist").ask("DELETE", where).status == 403
    assert calls("pacs_admin", "ELSEWHERE", username="alois.e").ask("DELETE", where).status == 404
    caller = calls("pacs_admin")
    assert caller.ask("DELETE", f"{study}/series/1.2.3").status == 404
    answer = caller.ask("DELETE", where, {"reason": "wrong patient"})
    assert answer.status == 200
    for path in (
        where,
        f"{where}/frames/1",
        f"{where}/metadata",
        f"{where}/bulkdata/7FE00010",
        f"{where}/rendered",
        study,
    ):
        assert caller.get(path).status == 404, path
    assert caller.get("/studies", {"StudyInstanceUID": ct.series.study.uid}).status == 204
    assert caller.ask("DELETE", where).status == 404
    [line] = reject.lines(of_operator())
    assert (line.pk, line.reason) == (answer.json()["rejection"], "wrong patient")
    reject.undo(of_operator(), line.pk)
    assert caller.get(f"{where}/frames/1").status == 200
    assert Study.objects.get().uid == ct.series.study.uid
