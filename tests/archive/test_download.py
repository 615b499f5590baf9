"""A study as one ZIP archive: whole, corrected, made while it goes out, named by numbers, and in the audit."""

from __future__ import annotations

import io
import re
import tracemalloc
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydicom import dcmread

from hozi.accounts.authorise import Denied
from hozi.archive import correct
from hozi.archive.download import download
from hozi.archive.models import Series, StoredObject, Study
from hozi.archive.place import scratch, volume
from hozi.audit.models import Event
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import NotThere, Refused
from tests.archive.asking import somebody
from tests.archive.conftest import Counter
from tests.dicom_files import write

RADIOLOGIST = somebody("radiologist")
STUDY = "1.2.826.91.1"


@pytest.fixture
def study(counter: Counter, tmp_path: Path) -> Study:
    for number in range(4):
        write(
            tmp_path / "disc" / f"{number}.dcm",
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=f"{STUDY}.{number // 2}",
            SOPInstanceUID=f"{STUDY}.9.{number}",
            InstanceNumber=number,
        )
    counter.bring(tmp_path / "disc")
    return Study.objects.get()


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def rows() -> list[Event]:
    return list(Event.objects.filter(code="110106").order_by("pk"))


def test_it_holds_every_object_and_a_directory_of_them(study: Study) -> None:
    correct.edit("STUDY", STUDY, {tag_of("StudyDescription"): ["RIGHT"]}, reason="r", actor="a")
    made = download(RADIOLOGIST, study.pk)
    files = unpacked(b"".join(made.pieces))
    assert made.objects == 4
    directory = dcmread(io.BytesIO(files.pop("DICOMDIR")))
    named = {
        "/".join(record.ReferencedFileID)
        for record in directory.DirectoryRecordSequence
        if record.DirectoryRecordType == "IMAGE"
    }
    assert named == set(files)
    datasets = [dcmread(io.BytesIO(data)) for data in files.values()]
    assert sorted(one.SOPInstanceUID for one in datasets) == [f"{STUDY}.9.{number}" for number in range(4)]
    assert {one.StudyDescription for one in datasets} == {"RIGHT"}
    assert {one.PixelData for one in datasets} == {bytes(range(64))}


def test_names_of_files_tell_nothing_of_the_patient(study: Study) -> None:
    made = download(RADIOLOGIST, study.pk)
    assert re.fullmatch(r"study-\d+\.zip", made.name)
    names = set(unpacked(b"".join(made.pieces))) - {"DICOMDIR"}
    assert all(re.fullmatch(r"DICOM(/[A-Z]{2}\d{6}){4}", name) for name in names)


def test_it_is_in_the_audit_before_the_first_byte_and_when_it_is_through(study: Study) -> None:
    made = download(RADIOLOGIST, study.pk)
    [begun] = rows()
    assert (begun.actor, begun.address, begun.patient_id, begun.study_uid) == ("rudo", "192.168.1.9", "E-0001", STUDY)
    assert (begun.detail["begun"], begun.detail["objects"], begun.facility) == (True, 4, "MAIN")
    b"".join(made.pieces)
    _, ended = rows()
    assert (ended.outcome, ended.detail["objects"], ended.detail["failed"], ended.facility) == (0, 4, 0, "MAIN")
    assert "interrupted" not in ended.detail and ended.address == "192.168.1.9"


def test_one_that_breaks_off_is_in_the_audit_as_such_and_leaves_nothing(study: Study) -> None:
    made = download(RADIOLOGIST, study.pk)
    next(made.pieces)
    made.pieces.close()  # type: ignore[attr-defined]  # a generator, which a server closes when its client is gone
    _, ended = rows()
    assert (ended.outcome, ended.detail["interrupted"], ended.detail["objects"]) == (4, True, 1)
    assert not list(scratch().iterdir())


def test_a_damaged_object_is_left_out_and_counted(study: Study) -> None:
    stored = StoredObject.objects.order_by("pk")[1]
    with volume().local(stored.key) as path:
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-8] + b"damaged!")
    files = unpacked(b"".join(download(RADIOLOGIST, study.pk).pieces))
    assert len(files) == 4  # three and the directory
    assert (rows()[-1].outcome, rows()[-1].detail["objects"], rows()[-1].detail["failed"]) == (4, 3, 1)


def test_it_is_for_those_who_may(study: Study) -> None:
    with pytest.raises(NotThere):
        download(somebody("radiologist", "ELSEWHERE"), study.pk)
    with pytest.raises(Denied):
        download(somebody("radiographer"), study.pk)
    StoredObject.objects.all().delete()
    with pytest.raises(Refused, match="no objects"):
        download(RADIOLOGIST, study.pk)
    assert not rows()


def test_some_series_go_out_without_the_others(study: Study) -> None:
    series = Series.objects.get(uid=f"{STUDY}.1")
    made = download(RADIOLOGIST, study.pk, series=[series.pk])
    files = unpacked(b"".join(made.pieces))
    datasets = [dcmread(io.BytesIO(data)) for name, data in files.items() if name != "DICOMDIR"]
    assert made.objects == 2 and {one.SeriesInstanceUID for one in datasets} == {f"{STUDY}.1"}
    with pytest.raises(NotThere):
        download(RADIOLOGIST, study.pk, series=[series.pk, 999_999])


class Index(HTMLParser):
    """What a page of HTML loads, which elements it has, and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.elements: set[str] = set()
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_index_shows_what_is_there_without_a_viewer_and_runs_nothing(study: Study) -> None:
    hostile = "<script>alert(1)</script>'\"&"
    correct.edit("STUDY", STUDY, {tag_of("StudyDescription"): [hostile]}, reason="r", actor="a")
    Study.objects.update(patient_name=f"Chikomba^{hostile}")
    files = unpacked(b"".join(download(RADIOLOGIST, study.pk, index=True).pieces))
    index = Index(files["index.html"])
    assert {"script", "iframe", "object", "link", "form"}.isdisjoint(index.elements)
    assert hostile in index.text and "E-0001 (MAIN)" in index.text and "12 Nov 1979" in index.text
    assert "not for diagnosis" in index.text and "Main facility" in index.text
    shown = set(index.loads)
    assert len(shown) == 4 and shown <= set(files)
    assert all(files[name].startswith(b"\xff\xd8") for name in shown)
    images = {name for name in files if name.startswith("DICOM/")}
    assert len(images) == 4 and all(name in index.text for name in images)
    directory = dcmread(io.BytesIO(files["DICOMDIR"]))
    named = [one for one in directory.DirectoryRecordSequence if one.DirectoryRecordType == "IMAGE"]
    assert len(named) == 4  # the index is no part of the DICOM medium


def test_without_being_asked_for_there_is_no_index(study: Study) -> None:
    assert "index.html" not in unpacked(b"".join(download(RADIOLOGIST, study.pk).pieces))


def test_memory_holds_a_piece_and_not_the_study(counter: Counter, tmp_path: Path) -> None:
    size = 3000
    for number in range(3):
        write(
            tmp_path / "disc" / f"{number}.dcm",
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=f"{STUDY}.1",
            Rows=size,
            Columns=size,
            PixelData=bytes(size * size),
        )
    counter.bring(tmp_path / "disc")
    pieces = download(RADIOLOGIST, Study.objects.get().pk).pieces
    tracemalloc.start()
    try:
        assert sum(map(len, pieces)) > 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size * size / 2
