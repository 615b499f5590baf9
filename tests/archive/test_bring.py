"""What is brought in has a fate, every file of it; what is stored comes back bit for bit."""

from __future__ import annotations

import json
import os
import tracemalloc
import zipfile
from collections import Counter as Tally
from pathlib import Path

import pytest

from hozi.accounts.authorise import EVERYTHING
from hozi.archive import bring
from hozi.archive.arrived import Origin
from hozi.archive.bring import FATES, Seen
from hozi.archive.exceptions import Reason
from hozi.archive.export import export
from hozi.archive.models import Instance, Study
from hozi.archive.verify import verify
from hozi.audit.models import Event
from hozi.audit.record import Code
from hozi.core.dicom import part10
from hozi.core.errors import Refused
from hozi.settings import HOZI
from tests.archive.conftest import Counter
from tests.corpus import CORPUS, rows
from tests.dicom_files import file_bytes, write, write_dicomdir
from tests.doors.dimse.images import image


def dataset_of(path: Path) -> bytes:
    """The dataset's bytes of a file."""
    data = path.read_bytes()
    return data[part10.read_header(data).dataset_offset :]


def scratch() -> list[Path]:
    """What was left in the scratch folder."""
    return [path for path in (HOZI.storage / "scratch").rglob("*") if path.is_file()]


def test_every_file_of_the_corpus_has_a_fate_and_what_is_stored_comes_back_bit_identical(
    counter: Counter, tmp_path: Path
) -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    summary = counter.bring(CORPUS)
    assert sorted(seen.name for seen in summary.files) == sorted(map(str, files))
    fates = {seen.name: seen for seen in summary.files}
    assert summary.counts["stored"] > 230
    reasons = {reason.value for reason in Reason}
    assert all(seen.reason.partition(":")[0] in reasons for seen in summary.files if seen.fate == "quarantined")
    assert all(seen.reason for seen in summary.files if seen.fate == "refused")
    assert {fates[str(row.path)].fate for row in rows() if "DICOMDIR" in row.name} == {"refused"}

    done = export(None, tmp_path / "out", actor="clerk", reach=EVERYTHING)
    assert done.clean
    assert done.objects == summary.counts["stored"]
    stored = [dataset_of(Path(seen.name)) for seen in summary.files if seen.fate == "stored"]
    assert sorted(map(dataset_of, (tmp_path / "out").rglob("IM*"))) == sorted(stored)
    assert verify().clean
    assert counter.bring(CORPUS).counts["stored"] == 0


def test_what_comes_again_is_a_duplicate(counter: Counter, tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / "cd" / f"{number}.dcm")
    assert counter.bring(tmp_path / "cd").counts == _counts(stored=5)
    again = counter.bring(tmp_path / "cd")
    assert again.counts == _counts(duplicate=5)
    assert again.clean
    assert not again.resumed


def _counts(**fates: int) -> dict[str, int]:
    return {"seen": sum(fates.values()), **dict.fromkeys(FATES, 0), **fates}


def test_it_takes_folders_files_zip_archives_and_what_a_dicomdir_names(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "folder" / "deep" / "deeper" / "a")
    write(tmp_path / "single.dcm")
    write(tmp_path / "cd" / "DICOM" / "IM1")
    write(tmp_path / "cd" / "NOTNAMED")
    write_dicomdir(tmp_path / "cd" / "DICOMDIR", [[], ["DICOM", "IM1"]])
    with zipfile.ZipFile(tmp_path / "folder" / "some.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/y/z.dcm", file_bytes(image()))
        archive.writestr("readme.txt", "Read me!")
    summary = counter.bring(tmp_path / "folder", tmp_path / "single.dcm", tmp_path / "cd" / "DICOMDIR")
    assert summary.counts == _counts(stored=4, refused=1)
    [readme] = [seen for seen in summary.files if seen.fate == "refused"]
    assert readme == Seen(f"{tmp_path}/folder/some.zip!readme.txt", "refused", "not DICOM")
    assert not scratch()


def test_a_folder_with_a_dicomdir_says_that_it_is_no_image(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "cd" / "IM1")
    write_dicomdir(tmp_path / "cd" / "DICOMDIR", [["IM1"]])
    summary = counter.bring(tmp_path / "cd")
    assert [(seen.fate, seen.reason) for seen in summary.files] == [
        ("refused", "media directory, not an image"),
        ("stored", ""),
    ]


def test_a_dicomdir_finds_its_files_as_systems_show_their_names(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "dicom" / "im000001")
    write(tmp_path / "dicom" / "IM000002;1")
    write_dicomdir(tmp_path / "dicomdir", [["DICOM", "IM000001"], ["DICOM", "IM000002"], ["DICOM", "IM000003"]])
    summary = counter.bring(tmp_path / "dicomdir")
    assert [(seen.fate, seen.reason) for seen in summary.files] == [
        ("stored", ""),
        ("stored", ""),
        ("refused", "the DICOMDIR names it, but it is not there"),
    ]


def test_whose_it_is_follows_the_facility(counter: Counter, tmp_path: Path) -> None:
    dataset = write(tmp_path / "a.dcm")
    counter.bring(tmp_path / "a.dcm", facility="NORTH", issuer="NORTH-HOSPITAL")
    study = Study.objects.get(uid=dataset.StudyInstanceUID)
    assert (study.facility, study.patient.issuer) == ("NORTH", "NORTH-HOSPITAL")
    event = Event.objects.get(code=Code.IMPORT)
    assert (event.actor, event.patient_id, event.study_uid) == ("clerk", "E-0001", dataset.StudyInstanceUID)


def test_a_link_is_followed_inside_the_folder_only(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "outside" / "secret.dcm")
    write(tmp_path / "inside" / "sub" / "a.dcm")
    (tmp_path / "inside" / "again.dcm").symlink_to("sub/a.dcm")
    (tmp_path / "inside" / "loop").symlink_to(".")
    (tmp_path / "inside" / "way-out").symlink_to(tmp_path / "outside")
    (tmp_path / "inside" / "way-out.dcm").symlink_to(tmp_path / "outside" / "secret.dcm")
    (tmp_path / "inside" / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "inside" / "pipe")
    fates = {Path(seen.name).name: (seen.fate, seen.reason) for seen in counter.bring(tmp_path / "inside").files}
    assert fates == {
        "a.dcm": ("duplicate", ""),
        "again.dcm": ("stored", ""),
        "way-out": ("refused", "a link that leads out of the folder"),
        "way-out.dcm": ("refused", "a link that leads out of the folder"),
        "broken": ("refused", "no regular file"),
        "pipe": ("refused", "no regular file"),
    }
    assert Instance.objects.count() == 1


def test_names_that_are_no_text_do_no_harm(counter: Counter, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/cd"
    os.mkdir(folder)
    with open(folder + b"/R\xf6ntgen\n.dcm", "wb") as file:
        file.write(file_bytes(image()))
    with open(folder + b"/\xff\xfe", "wb") as file:
        file.write(b"no image")
    assert counter.bring(tmp_path / "cd").counts == _counts(stored=1, refused=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="not meant for root, who may read everything")
def test_what_may_not_be_read_is_told(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "cd" / "a.dcm")
    (tmp_path / "cd" / "a.dcm").chmod(0)
    write(tmp_path / "cd" / "closed" / "b.dcm")
    (tmp_path / "cd" / "closed").chmod(0)
    summary = counter.bring(tmp_path / "cd")
    (tmp_path / "cd" / "closed").chmod(0o700)
    assert summary.counts == _counts(refused=2)
    assert all("Permission denied" in seen.reason for seen in summary.files)


def test_a_path_that_is_not_there_is_refused(counter: Counter, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not exist"):
        counter.bring(tmp_path / "nowhere")


class PulledOut(Exception):
    """The stick was pulled out, the power failed."""


def _interrupted(counter: Counter, folder: Path, after: int) -> None:
    done: list[Seen] = []

    def progress(seen: Seen) -> None:
        done.append(seen)
        if len(done) == after:
            raise PulledOut

    origin = Origin(actor="clerk", address="", facility="MAIN", issuer="MAIN", source="import")
    with pytest.raises(PulledOut):
        bring.bring([folder], counter.receiver, origin, journals=counter.journals, progress=progress)


def test_it_goes_on_where_it_was_interrupted(counter: Counter, tmp_path: Path) -> None:
    folder = tmp_path / "cd"
    for number in range(8):
        write(folder / f"{number}.dcm")
    (folder / "0.txt").write_text("no image")
    _interrupted(counter, folder, after=5)
    [journal] = counter.journals.iterdir()
    with journal.open("a") as file:
        file.write('["torn')  # the line that was being written
    write(folder / "1.dcm")  # has changed since: another image now
    _interrupted(counter, folder, after=7)
    summary = counter.bring(folder)
    assert summary.counts == _counts(stored=8, refused=1)
    assert summary.resumed == 7
    assert Instance.objects.count() == 9
    assert not list(counter.journals.iterdir())
    assert counter.bring(folder).counts == _counts(duplicate=8, refused=1)


def test_a_journal_holds_for_its_own_paths_and_facility(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "cd" / "a.dcm")
    write(tmp_path / "cd" / "b.dcm")
    _interrupted(counter, tmp_path / "cd", after=1)
    assert counter.bring(tmp_path / "cd", facility="NORTH", issuer="NORTH").resumed == 0
    assert counter.bring(tmp_path / "cd").resumed == 1


def test_large_objects_pass_through(counter: Counter, tmp_path: Path) -> None:
    large = image(Rows=8192, Columns=8192, PixelData=bytes(8192 * 8192))
    with zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("large.dcm", file_bytes(large))
    del large
    tracemalloc.start()
    try:
        assert counter.bring(tmp_path / "large.zip").counts == _counts(stored=1)
        assert export(None, tmp_path / "out.zip", actor="clerk", reach=EVERYTHING).objects == 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_the_journal_is_plain_json(counter: Counter, tmp_path: Path) -> None:
    write(tmp_path / "cd" / "a.dcm")
    write(tmp_path / "cd" / "b.dcm")
    _interrupted(counter, tmp_path / "cd", after=2)
    [journal] = counter.journals.iterdir()
    fates = Tally(json.loads(line)[2] for line in journal.read_text().splitlines())
    assert fates == {"stored": 2}
