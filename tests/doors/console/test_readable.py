"""What is no image is shown readably, and harmlessly: reports, waveforms, documents; in pages, and bare in frames."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from pydicom.dataset import Dataset

from hozi.archive.models import Instance
from hozi.audit.models import Event
from tests.archive.conftest import Counter, counter
from tests.core.dicom.test_structured import coded, item
from tests.corpus import CORPUS
from tests.dicom_files import write

__all__ = ["counter"]

SignedIn = Callable[..., Client]
BASIC_TEXT = "1.2.840.10008.5.1.4.1.1.88.11"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
CDA = "1.2.840.10008.5.1.4.1.1.104.2"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
HARM = ("<script>alert", "<img src=x")


def no_image(path: Path, sop_class: str, **elements: object) -> Dataset:
    """An object of Rutendo Chikomba without pixels."""
    pixels = dict.fromkeys(("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"))
    left_out = pixels | dict.fromkeys(("PixelRepresentation", "PhotometricInterpretation", "PixelData"))
    return write(path, SOPClassUID=sop_class, **left_out, **elements)


def only(**narrowed: object) -> Instance:
    return Instance.objects.get(**narrowed)


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not there")
def test_what_other_makers_wrote_is_read(counter: Counter, signed_in: SignedIn) -> None:
    counter.bring(CORPUS / "sr", CORPUS / "waveform", CORPUS / "pdf")
    client, shown = signed_in("radiologist"), {"report": 0, "waveform": 0, "document": 0}
    for one in Instance.objects.all():
        answers = {kind: client.get(f"/objects/{one.pk}/{kind}/") for kind in shown}
        right = [kind for kind, answer in answers.items() if answer.status_code == 200]
        assert all(answer.status_code in (200, 422) for answer in answers.values())
        for kind in right:
            shown[kind] += 1
            for headers in ({}, {"HX-Request": "true"}):
                assert client.get(f"/objects/{one.pk}/{kind}/", headers=headers).status_code == 200
    assert shown == {"report": 7, "waveform": 1, "document": 1}
    ecg = only(sop_class="1.2.840.10008.5.1.4.1.1.9.1.1")
    assert f'data-open="/objects/{ecg.pk}/waveform/"' in client.get(f"/series/{ecg.series_id}/").content.decode()
    assert f'href="/objects/{ecg.pk}/waveform/"' in client.get(f"/objects/{ecg.pk}/").content.decode()
    page = client.get(f"/objects/{ecg.pk}/waveform/").content.decode()
    assert page.count("data-lead=") == 24 and "Lead aVF" in page and "1.25 uV" in page and "RITMO SINUSALE" in page
    assert 'width="265mm"' in page and 'viewBox="0 0 265' in page
    opened = {
        (row.object_uid, row.detail["opened"]) for row in Event.objects.exclude(object_uid="") if row.action == "R"
    }
    assert (ecg.uid, "waveform") in opened and len(opened - {(ecg.uid, "elements")}) == 9


def test_a_report_reads_as_text_and_its_references_are_links(
    counter: Counter, tmp_path: Path, signed_in: SignedIn
) -> None:
    image = write(tmp_path / "a" / "1.dcm")
    referenced, lost = Dataset(), Dataset()
    referenced.ReferencedSOPClassUID, referenced.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    referenced.ReferencedFrameNumber = [2, 5]
    lost.ReferencedSOPClassUID, lost.ReferencedSOPInstanceUID = image.SOPClassUID, "1.2.3.4.5.6"
    no_image(
        tmp_path / "a" / "2.dcm",
        BASIC_TEXT,
        StudyInstanceUID=image.StudyInstanceUID,
        ConceptNameCodeSequence=[coded(f"Chest {HOSTILE}")],
        CompletionFlag="COMPLETE",
        VerificationFlag="UNVERIFIED",
        ContentSequence=[
            item("TEXT", "Finding", TextValue=f"Two lines\r\n{HOSTILE}"),
            item("DATE", "Seen on", Date="20261124"),
            item("PNAME", "Seen by", PersonName="Moyo^Tendai"),
            item("IMAGE", "Source", ReferencedSOPSequence=[referenced]),
            item("IMAGE", ReferencedSOPSequence=[lost]),
        ],
    )
    counter.bring(tmp_path / "a")
    report, pixels = only(sop_class=BASIC_TEXT), only(uid=image.SOPInstanceUID)
    page = signed_in("radiologist").get(f"/objects/{report.pk}/report/").content.decode()
    for words in ("Finding", "24 Nov 2026", "Moyo, Tendai", "complete", "not verified", "Chikomba, Rutendo", "E-0001"):
        assert words in page
    assert not any(harm in page for harm in HARM)
    assert re.search(rf'<a href="/objects/{pixels.pk}/">CT Image</a> <small>\(2, 5\)</small>', page)
    assert "1.2.3.4.5.6" not in page and 'title="Not in this archive' in page


def test_a_frame_of_ours_may_hold_them_and_nobody_elses(counter: Counter, tmp_path: Path, signed_in: SignedIn) -> None:
    no_image(tmp_path / "1.dcm", BASIC_TEXT, ContentSequence=[])
    counter.bring(tmp_path)
    client, url = signed_in("radiologist"), f"/objects/{only().pk}/report/"
    whole, bare = client.get(url), client.get(f"{url}?bare=1")
    assert whole.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in whole.headers["Content-Security-Policy"]
    assert bare.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in bare.headers["Content-Security-Policy"]
    assert "script-src 'self'" in bare.headers["Content-Security-Policy"]
    assert "hz-top" in whole.content.decode() and "hz-top" not in bare.content.decode()
    assert "Chikomba, Rutendo" in bare.content.decode()


def test_a_document_is_given_and_never_run(counter: Counter, tmp_path: Path, signed_in: SignedIn) -> None:
    pdf, cda = b"%PDF-1.4 harmless", b"<script>alert(1)</script>"
    told = {"MIMETypeOfEncapsulatedDocument": "application/pdf", "DocumentTitle": HOSTILE}
    no_image(tmp_path / "1.dcm", PDF, EncapsulatedDocument=pdf + b"\0", EncapsulatedDocumentLength=len(pdf), **told)
    no_image(tmp_path / "2.dcm", CDA, EncapsulatedDocument=cda + b" ", MIMETypeOfEncapsulatedDocument="text/html")
    # One that only says that it is a PDF.
    no_image(tmp_path / "3.dcm", PDF, InstanceNumber=9, EncapsulatedDocument=cda + b" ", **told)
    counter.bring(tmp_path)
    client = signed_in("radiologist")
    answers, contents = {}, {}
    for one in Instance.objects.all():
        page = client.get(f"/objects/{one.pk}/document/?bare=1")
        assert page.status_code == 200 and not any(harm in page.content.decode() for harm in HARM)
        answer = client.get(f"/objects/{one.pk}/document/file/")
        answers[one.sop_class, one.number == 9] = answer
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Type"] in ("application/pdf", "application/octet-stream")
        contents[one.sop_class, one.number == 9] = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
        answer.close()
    real, other, false = answers[PDF, False], answers[CDA, False], answers[PDF, True]
    assert (contents[PDF, False], contents[CDA, False]) == (pdf, cda + b" ")
    assert (real.headers["Content-Type"], real.headers["Content-Length"]) == ("application/pdf", str(len(pdf)))
    assert re.fullmatch(r'inline; filename="document-\d+\.pdf"', real.headers["Content-Disposition"])
    for one in (other, false):
        assert one.headers["Content-Type"] == "application/octet-stream"
        assert one.headers["Content-Disposition"].startswith("attachment")
    framed = client.get(real.wsgi_request.path.replace("file/", "?bare=1"))
    assert f'<iframe class="hz-pdf" src="{real.wsgi_request.path}"' in framed.content.decode()
    assert "frame-src 'self'" in framed.headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in real.headers["Content-Security-Policy"]
    kept = client.get(f"{real.wsgi_request.path}?keep=1")
    assert kept.headers["Content-Disposition"].startswith("attachment")
    kept.close()


def test_damage_is_said_and_the_original_stays(counter: Counter, tmp_path: Path, signed_in: SignedIn) -> None:
    no_image(tmp_path / "1.dcm", "1.2.840.10008.5.1.4.1.1.9.1.1", WaveformSequence=[Dataset()])
    counter.bring(tmp_path)
    page = signed_in("radiologist").get(f"/objects/{only().pk}/waveform/")
    assert page.status_code == 422
    assert "cannot be shown" in page.content.decode() and "Chikomba, Rutendo" in page.content.decode()


def test_they_are_for_those_who_may_look(counter: Counter, tmp_path: Path, signed_in: SignedIn) -> None:
    no_image(tmp_path / "1.dcm", BASIC_TEXT, ContentSequence=[item("TEXT", "Finding", TextValue="Secret")])
    counter.bring(tmp_path)
    pk = only().pk
    for path in ("report", "waveform", "document", "document/file"):
        assert signed_in("radiologist", facility="ELSEWHERE").get(f"/objects/{pk}/{path}/").status_code == 404
        assert signed_in("records_officer").get(f"/objects/{pk}/{path}/").status_code == 403
    assert not Event.objects.filter(detail__opened="report").exists()
