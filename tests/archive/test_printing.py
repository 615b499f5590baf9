"""Images on paper: the right patient on every page, what was asked for and no more, hostile names harmless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hozi.accounts.authorise import Denied
from hozi.archive.models import Instance, Series, Study
from hozi.archive.printing import Print, Wanted, print_study
from hozi.audit.models import Event
from hozi.core.errors import NotThere, Refused
from tests.archive.asking import somebody
from tests.archive.conftest import Counter
from tests.dicom_files import write
from tests.pdf_text import Page, pages

RADIOLOGIST = somebody("radiologist")
STUDY = "1.2.826.93.1"
HOSTILE = '#panic("x") $ * _ ] \\ <script> @label // /* "'


@pytest.fixture
def study(counter: Counter, tmp_path: Path) -> Study:
    for number in range(7):
        write(
            tmp_path / "disc" / f"{number}.dcm",
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=f"{STUDY}.{number // 5}",
            SOPInstanceUID=f"{STUDY}.9.{number}",
            SeriesNumber=number // 5 + 1,
            InstanceNumber=number + 1,
            StudyDescription=HOSTILE,
            SeriesDescription="Axial",
            Rows=32,
            Columns=32,
            PixelData=np.arange(1024, dtype="u1").tobytes(),
        )
    counter.bring(tmp_path / "disc")
    return Study.objects.get()


def read(made: Print) -> list[Page]:
    assert made.pdf.startswith(b"%PDF-")
    found = pages(made.pdf)
    assert len(found) == made.pages and sum(page.pictures for page in found) == made.images
    return found


def test_every_page_says_whose_images_these_are(study: Study) -> None:
    made = print_study(RADIOLOGIST, study.pk, Wanted(rows=2, columns=2, remark="For theatre 2"), by="Dr Rudo Moyo")
    found = read(made)
    assert (made.images, made.pages, made.lossy) == (7, 2, True)
    for number, page in enumerate(found, 1):
        for words in (
            "Chikomba, Rutendo",
            "E-0001 (MAIN)",
            "born 12 Nov 1979",
            "sex F",
            "5 Jan 2026 08:15",
            "A-77",
            "Main facility",
            "Printed by Dr Rudo Moyo",
            "Not for diagnosis",
            f"page {number} / 2",
            "Axial",
            "For theatre 2",
        ):
            assert words in page.text, words
    assert "CT 1 · image 1 · Axial" in found[0].text and "CT 2 · image 7" in found[1].text


def test_hostile_texts_are_printed_as_they_are(study: Study) -> None:
    [page] = read(print_study(RADIOLOGIST, study.pk, Wanted(remark=HOSTILE)))
    assert page.text.count('#panic("x") $ * _ ]') == 2
    assert "<script> @label // /*" in page.text


def test_one_image_to_a_page_is_printed_without_loss(study: Study) -> None:
    image = Instance.objects.get(uid=f"{STUDY}.9.3")
    made = print_study(RADIOLOGIST, study.pk, Wanted(images=((image.pk, 0),), rows=1, columns=1))
    [page] = read(made)
    assert not made.lossy and "Not for diagnosis" not in page.text and "image 4" in page.text
    assert b"/DCTDecode" not in made.pdf


def test_it_prints_one_series_or_every_so_many_th_image(study: Study) -> None:
    series = Series.objects.get(uid=f"{STUDY}.1")
    assert print_study(RADIOLOGIST, study.pk, Wanted(series=series.pk)).images == 2
    assert print_study(RADIOLOGIST, study.pk, Wanted(every=3)).images == 3


def test_frames_are_images_of_their_own(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "1.dcm", NumberOfFrames=3, Rows=8, Columns=8, PixelData=bytes(range(192)))
    counter.bring(tmp_path)
    [page] = read(print_study(RADIOLOGIST, Study.objects.get().pk, Wanted(images=(), rows=2, columns=2)))
    assert page.pictures == 3 and "frame 3" in page.text


def test_an_image_that_cannot_be_shown_says_so_in_its_place(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "1.dcm", StudyInstanceUID=STUDY, Rows=5000, Columns=5000)
    write(tmp_path / "2.dcm", StudyInstanceUID=STUDY)
    counter.bring(tmp_path)
    made = print_study(RADIOLOGIST, Study.objects.get().pk, Wanted())
    [page] = pages(made.pdf)
    assert (made.images, page.pictures) == (2, 1)


def test_too_much_is_refused_with_what_to_do(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "1.dcm", NumberOfFrames=450, Rows=8, Columns=8, PixelData=bytes(64 * 450))
    counter.bring(tmp_path)
    pk = Study.objects.get().pk
    with pytest.raises(Refused, match=r"450 images; at most 200 .* to 3") as refused:
        print_study(RADIOLOGIST, pk, Wanted())
    assert refused.value.field == "every"
    for wrong in (Wanted(rows=0), Wanted(columns=99), Wanted(paper="../../etc"), Wanted(every=0)):
        with pytest.raises(Refused):
            print_study(RADIOLOGIST, pk, wrong)
    with pytest.raises(Refused, match="no image"):
        print_study(RADIOLOGIST, pk, Wanted(key_images=True))
    assert not Event.objects.filter(code="110106").exists()


def test_it_is_in_the_audit_and_for_those_who_may(study: Study, counter: Counter, tmp_path: Path) -> None:
    print_study(RADIOLOGIST, study.pk, Wanted())
    [row] = Event.objects.filter(code="110106")
    assert (row.actor, row.study_uid, row.patient_id, row.facility) == ("rudo", STUDY, "E-0001", "MAIN")
    assert row.detail == {"target": "paper", "printed": "whole study", "objects": 7, "pages": 1}
    with pytest.raises(NotThere):
        print_study(somebody("radiologist", "ELSEWHERE"), study.pk, Wanted())
    with pytest.raises(Denied):
        print_study(somebody("student"), study.pk, Wanted())
    write(tmp_path / "other" / "1.dcm", SOPInstanceUID="1.2.3.4")
    counter.bring(tmp_path / "other")
    others = Instance.objects.get(uid="1.2.3.4")
    with pytest.raises(NotThere):  # an image of another study
        print_study(RADIOLOGIST, study.pk, Wanted(images=((others.pk, 0),)))
