"""Pictures of series: small, kept, made again when they are gone, and never a failure of the page."""

from __future__ import annotations

import os
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset

from hozi.accounts.authorise import Denied
from hozi.archive.kept import clear
from hozi.archive.models import Instance, Series
from hozi.archive.study_page import open_study
from hozi.archive.thumbnail import Thumbnail, of_instance, of_series
from hozi.audit.models import Event
from hozi.core.errors import NotThere
from hozi.settings import HOZI
from tests.archive.asking import somebody
from tests.archive.conftest import Counter
from tests.dicom_files import file_bytes, write
from tests.doors.dimse.images import image

RADIOLOGIST = somebody("radiologist")
SERIES = "1.2.826.90.1"


def bring(counter: Counter, folder: Path, *datasets: Dataset) -> list[Instance]:
    folder.mkdir()
    for number, dataset in enumerate(datasets):
        (folder / f"{number}.dcm").write_bytes(file_bytes(dataset))
    counter.bring(folder)
    return list(Instance.objects.order_by("pk"))


def grey(picture: bytes) -> float:
    return float(imagecodecs.jpeg8_decode(picture).mean())


@pytest.fixture
def series(counter: Counter, tmp_path: Path) -> Series:
    """Three images: dark, grey, bright."""
    told = {"StudyInstanceUID": f"{SERIES}.9", "SeriesInstanceUID": SERIES, "WindowCenter": "128", "WindowWidth": "256"}
    pixels = [bytes(range(value, value + 64)) for value in (0, 96, 190)]
    bring(counter, tmp_path / "a", *(image(**told, InstanceNumber=n, PixelData=p) for n, p in enumerate(pixels)))
    return Series.objects.get()


def test_it_is_a_small_picture_of_the_image_in_the_middle(series: Series) -> None:
    found = of_series(RADIOLOGIST, series.pk)
    assert found.kind == "image"
    assert 100 < grey(found.picture) < 160
    assert len(found.picture) < 10_000
    first = Instance.objects.order_by("number")[0]
    assert grey(of_instance(RADIOLOGIST, first.pk).picture) < 60


def test_it_is_kept_and_made_again_when_it_is_gone(series: Series) -> None:
    found = of_series(RADIOLOGIST, series.pk)
    [path] = (HOZI.home / "cache" / "pictures").rglob(f"{found.name}.jpg")
    path.write_bytes(b"kept")
    assert of_series(RADIOLOGIST, series.pk).picture == b"kept"
    path.unlink()
    assert of_series(RADIOLOGIST, series.pk) == found


def test_the_pictures_that_nobody_asked_for_go_first() -> None:
    folder = HOZI.home / "cache" / "pictures" / "zz"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(10):
        (folder / f"{number}.jpg").write_bytes(bytes(4096))
        os.utime(folder / f"{number}.jpg", (1000 + number, 1000 + number))
    clear(0)
    for number in range(10):
        (folder / f"{number}.jpg").write_bytes(bytes(4096))
        os.utime(folder / f"{number}.jpg", (1000 + number, 1000 + number))
    assert clear(4 * 4096) == 6
    assert sorted(path.stem for path in folder.iterdir()) == ["6", "7", "8", "9"]


def test_a_damaged_image_is_said_to_be_one_and_tried_once_an_hour(counter: Counter, tmp_path: Path) -> None:
    [one] = bring(counter, tmp_path / "a", image(Rows=4000, Columns=4000))
    found = of_instance(RADIOLOGIST, one.pk)
    assert (found.kind, found.picture) == ("damaged", b"")
    [path] = (HOZI.home / "cache" / "pictures").rglob(f"{found.name}.jpg")
    tried = path.stat().st_mtime_ns
    of_instance(RADIOLOGIST, one.pk)
    assert path.stat().st_mtime_ns == tried
    os.utime(path, (time.time() - 4000, time.time() - 4000))
    of_instance(RADIOLOGIST, one.pk)
    assert path.stat().st_mtime > time.time() - 100


@pytest.mark.parametrize(
    ("sop_class", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.11", "report"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "document"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "waveform"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "other"),
    ],
)
def test_what_has_no_pixels_has_a_kind_instead(sop_class: str, kind: str, counter: Counter, tmp_path: Path) -> None:
    [one] = bring(counter, tmp_path / "a", image(SOPClassUID=sop_class, PixelData=None, Rows=None))
    assert of_instance(RADIOLOGIST, one.pk) == Thumbnail(kind, of_instance(RADIOLOGIST, one.pk).name)  # type: ignore[arg-type]


def test_it_is_for_those_who_may_look_and_in_the_audit_once(series: Series) -> None:
    for _ in range(3):
        of_series(RADIOLOGIST, series.pk)
    assert Event.objects.filter(code="110103", actor="rudo").count() == 1
    other = somebody("radiologist", actor="nyasha")
    open_study(other, series.study_id)
    of_series(other, series.pk)
    told = Event.objects.filter(code="110103", actor="nyasha").order_by("pk")
    assert [row.detail["opened"] for row in told] == ["page", "pictures"]
    with pytest.raises(NotThere):
        of_series(somebody("radiologist", "ELSEWHERE"), series.pk)
    with pytest.raises(Denied):
        of_series(somebody("records_officer"), series.pk)


def test_the_first_picture_takes_a_moment_and_the_next_ones_none(series: Series) -> None:
    of_series(RADIOLOGIST, series.pk)
    begun = time.monotonic()
    for _ in range(20):
        of_series(RADIOLOGIST, series.pk)
    assert (time.monotonic() - begun) / 20 < 0.05
    assert np.isfinite(grey(of_series(RADIOLOGIST, series.pk).picture))


def test_an_empty_folder_of_files_is_written_with_no_names(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.dcm", PatientID="SECRET-1", SOPInstanceUID="1.2.826.90.7.7")
    counter.bring(tmp_path / "a")
    of_instance(RADIOLOGIST, Instance.objects.get().pk)
    names = [str(path) for path in (HOZI.home / "cache").rglob("*")]
    assert names and not any("SECRET" in name or "1.2.826" in name for name in names)
