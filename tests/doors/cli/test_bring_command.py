"""`hozi import`, `export`, `verify`, `exceptions` and `demo`, as people type them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import pytest
from pydicom import dcmread
from pydicom.encaps import get_frame

from hozi.archive.models import Instance, Patient, StoredObject
from hozi.archive.place import volume
from hozi.core.phantoms.studies import STUDIES
from hozi.facilities import places
from hozi.settings import HOZI
from tests.dicom_files import file_bytes, write
from tests.doors.cli.conftest import Command, program
from tests.doors.cli.test_serve import Archive
from tests.doors.dimse.images import image
from tests.guards.rules import ROOT

pytestmark = pytest.mark.database


@pytest.fixture
def home(transactional_db: None) -> Iterator[Path]:
    """The tests' home folder, without images."""
    for folder in ("objects", "incoming", "scratch"):
        shutil.rmtree(HOZI.storage / folder, ignore_errors=True)
    volume.cache_clear()
    yield HOZI.home


@pytest.fixture
def archive(tmp_path: Path, own_database: str) -> Iterator[Archive]:
    """A home of its own, for programs that are started."""
    archive = Archive(tmp_path / "home", own_database)
    yield archive
    for process in archive.processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def test_the_summary_adds_up_and_the_exit_code_says_whether_all_is_in(
    hozi: Command, home: Path, tmp_path: Path
) -> None:
    first = write(tmp_path / "cd" / "1.dcm")
    write(tmp_path / "cd" / "2.dcm")
    answer = hozi("import", str(tmp_path / "cd"))
    assert (answer.code, answer.out) == (0, "2 stored + 0 duplicate + 0 quarantined + 0 refused = 2 seen\n")
    write(tmp_path / "cd" / "3.dcm", StudyInstanceUID=first.StudyInstanceUID, PatientID="OTHER")
    (tmp_path / "cd" / "readme.txt").write_text("Read me!")
    answer = hozi("import", str(tmp_path / "cd"))
    assert answer.code == 1
    assert answer.out.splitlines() == [
        f"quarantined: {tmp_path}/cd/3.dcm: study-of-other-patient:"
        " the study belongs to another patient in the archive",
        f"refused: {tmp_path}/cd/readme.txt: not DICOM",
        "0 stored + 2 duplicate + 1 quarantined + 1 refused = 4 seen",
    ]


def test_it_answers_as_json(hozi: Command, home: Path, tmp_path: Path) -> None:
    write(tmp_path / "1.dcm")
    (tmp_path / "odd\n\udcff").write_text("no image")
    answer = hozi("import", str(tmp_path), "--json")
    assert answer.code == 1
    assert answer.json == {
        **{"seen": 2, "stored": 1, "duplicate": 0, "quarantined": 0, "refused": 1, "resumed": 0},
        "problems": [{"name": f"{tmp_path}/odd\\n\\udcff", "fate": "refused", "reason": "not DICOM"}],
    }


def test_images_belong_to_the_facility_that_is_named(hozi: Command, home: Path, tmp_path: Path) -> None:
    places.add("NORTH", "Northern hospital", actor="test")
    write(tmp_path / "1.dcm")
    unsaid = hozi("import", str(tmp_path))
    assert (unsaid.code, "Say to which facility it belongs" in unsaid.err) == (1, True)
    assert hozi("import", str(tmp_path), "--facility", "north").code == 0
    assert Patient.objects.get().issuer == "NORTH"


def test_a_path_that_is_not_there_is_one_clear_line(hozi: Command, home: Path) -> None:
    answer = hozi("import", "/nowhere/at/all")
    assert (answer.code, answer.err) == (1, "hozi: /nowhere/at/all does not exist\n")


@pytest.mark.parametrize("paths", [[""], [" "], ["{cd}", ""]], ids=["empty", "blank", "one of two"])
def test_an_empty_path_is_not_the_folder_one_is_in(
    hozi: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str]
) -> None:
    """`hozi import "$CD"` with a variable that is not set must not take in whatever lies around."""
    write(tmp_path / "cd" / "1.dcm")
    monkeypatch.chdir(tmp_path)
    answer = hozi("import", *(path.format(cd=tmp_path / "cd") for path in paths))
    assert answer.code not in (0, None)
    assert answer.out == ""
    assert "a path is empty; for the folder that you are in, write a dot" in " ".join(answer.err.split())
    assert not Instance.objects.exists()
    assert hozi("import", ".").code == 0
    assert Instance.objects.count() == 1


def test_an_import_of_the_folder_around_the_archive_takes_in_all_but_the_archive(
    archive: Archive, tmp_path: Path
) -> None:
    """While it runs, under whatever name its files are met; and afterwards it is what it was."""
    write(tmp_path / "first.dcm")
    assert archive.run("import", str(tmp_path / "first.dcm")).returncode == 0
    archive.start("--only", "dimse")
    archive.ready("dimse")
    for number in range(2):
        write(tmp_path / "cd" / f"{number}.dcm")
    (tmp_path / "cd" / "home").symlink_to(archive.home)
    (tmp_path / "z.dcm").symlink_to(next((archive.home / "objects").rglob("*.dcm")))
    answer = archive.run("import", str(tmp_path), str(archive.home / "objects"), "--json")
    told = json.loads(answer.stdout)
    assert (answer.returncode, told["stored"], told["duplicate"], told["quarantined"]) == (1, 2, 1, 0)
    reasons = {problem["name"]: problem["reason"] for problem in told["problems"]}
    own = {str(tmp_path / name) for name in ("home", "cd/home", "z.dcm")} | {str(archive.home / "objects")}
    assert own <= set(reasons)
    # On SQLite, the database lies beside the home.
    assert set(reasons) <= own | {str(tmp_path / f"own.sqlite3{suffix}") for suffix in ("", "-wal", "-shm")}
    assert set(reasons.values()) == {"belongs to this archive itself (HOZI_HOME)"}
    assert archive.run("verify").returncode == 0


def test_it_exports_studies_series_patients_and_everything(hozi: Command, home: Path, tmp_path: Path) -> None:
    one = write(tmp_path / "in" / "1.dcm", PatientID="1")
    write(tmp_path / "in" / "2.dcm", PatientID="2")
    hozi("import", str(tmp_path / "in"))
    for number, (options, objects) in enumerate(
        [
            (("--study", one.StudyInstanceUID), 1),
            (("--series", one.SeriesInstanceUID), 1),
            (("--patient", "2"), 1),
            (("--patient", "2", "--issuer", "MAIN"), 1),
            (("--all",), 2),
        ]
    ):
        answer = hozi("export", *options, str(tmp_path / f"{number}.zip"), "--json")
        assert (answer.code, answer.json["objects"], answer.json["failures"]) == (0, objects, [])
        with zipfile.ZipFile(tmp_path / f"{number}.zip") as archive:
            assert len(archive.namelist()) == objects + 1
    answer = hozi("export", "--all", str(tmp_path / "out"))
    assert answer.out == f"2 patients, 2 studies, 2 series, 2 objects (0.0 MB) in {tmp_path}/out\n"
    assert (tmp_path / "out" / "DICOMDIR").is_file()


@pytest.mark.parametrize("options", [(), ("--all", "--study", "1.2"), ("--issuer", "NORTH")])
def test_an_export_has_to_be_named(hozi: Command, home: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    answer = hozi("export", *options, str(tmp_path / "out"))
    assert (answer.code, answer.err) == (
        1,
        "hozi: Say what to export: --study, --series, --patient, or --all\n",
    )


def test_an_export_of_nothing_is_refused(hozi: Command, home: Path, tmp_path: Path) -> None:
    answer = hozi("export", "--study", "1.2.3", str(tmp_path / "out"))
    assert (answer.code, answer.err) == (1, "hozi: the archive holds nothing of that\n")
    assert not (tmp_path / "out").exists()


def test_what_could_not_be_exported_is_named(hozi: Command, home: Path, tmp_path: Path) -> None:
    dataset = write(tmp_path / "in" / "1.dcm")
    hozi("import", str(tmp_path / "in"))
    (HOZI.storage / "objects" / StoredObject.objects.get().key).unlink()
    answer = hozi("export", "--all", str(tmp_path / "out"))
    assert answer.code == 1
    assert answer.out.startswith(f"not exported: {dataset.SOPInstanceUID}: ")
    assert "nothing was written" in answer.out


def test_verify_names_every_fault_and_mends_none(hozi: Command, home: Path, tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / "in" / f"{number}.dcm")
    hozi("import", str(tmp_path / "in"))
    answer = hozi("verify")
    assert (answer.code, answer.out.endswith("every byte: no faults.\n")) == (0, True)

    flipped, cut, gone, whole = StoredObject.objects.order_by("pk")
    objects = HOZI.storage / "objects"
    data = bytearray((objects / flipped.key).read_bytes())
    data[-1] ^= 1
    (objects / flipped.key).write_bytes(data)
    (objects / cut.key).write_bytes((objects / cut.key).read_bytes()[:-1])
    (objects / gone.key).unlink()
    (objects / "strange.dcm").write_bytes(b"what is this?")
    header = bytearray((objects / whole.key).read_bytes())
    header[200] ^= 1
    (objects / whole.key).write_bytes(header)
    before = {path: path.read_bytes() for path in objects.rglob("*") if path.is_file()}
    found = {(fault["kind"], fault["object"] or fault["key"]) for fault in hozi("verify", "--json").json["faults"]}
    assert found == {
        ("damaged", flipped.instance.uid),
        ("length", cut.instance.uid),
        ("missing", gone.instance.uid),
        ("unindexed", "strange.dcm"),
        ("header", whole.instance.uid),
    }
    quick = hozi("verify", "--quick")
    assert quick.code == 1
    assert "names and lengths: 3 faults." in quick.out
    assert {path: path.read_bytes() for path in objects.rglob("*") if path.is_file()} == before


def test_verify_looks_into_quarantine_too(hozi: Command, home: Path, tmp_path: Path) -> None:
    first = write(tmp_path / "in" / "1.dcm")
    write(tmp_path / "in" / "2.dcm", StudyInstanceUID=first.StudyInstanceUID, PatientID="OTHER")
    hozi("import", str(tmp_path / "in"))
    assert hozi("verify").code == 0
    [kept] = (HOZI.storage / "objects" / "quarantine").rglob("*.dcm")
    kept.write_bytes(kept.read_bytes() + b"more")
    assert [fault["kind"] for fault in hozi("verify", "--json").json["faults"]] == ["length"]


def test_exceptions_are_listed_with_what_they_mean(hozi: Command, home: Path, tmp_path: Path) -> None:
    assert hozi("exceptions").out == "No exceptions. Nothing needs you.\n"
    assert hozi("exceptions", "--json").json == []
    (tmp_path / "odd.dcm").write_bytes(file_bytes(image(), preamble=b"MZ\x90\0"))
    hozi("import", str(tmp_path / "odd.dcm"))
    answer = hozi("exceptions")
    assert answer.code == 0
    assert "executable-preamble: The file began with an executable program" in answer.out
    [case] = hozi("exceptions", "--json").json
    assert (case["reason"], case["quarantined"], case["count"]) == ("executable-preamble", False, 1)


def test_demo_images_are_there_to_be_looked_at_and_come_once(hozi: Command, home: Path, tmp_path: Path) -> None:
    answer = hozi("demo", "--json")
    assert answer.code == 0
    assert [(study["name"], study["stored"], study["there"]) for study in answer.json["studies"]] == [
        (study.name, study.count, 0) for study in STUDIES
    ]
    assert sorted(Patient.objects.values_list("issuer", "patient_id")) == [
        ("HOZI-DEMO", f"DEMO-000{number}") for number in (1, 2, 3)
    ]
    names = set(Patient.objects.values_list("name", flat=True))
    assert names == {"Muenzaniso^Tariro", "Mihon^Hanako=見本^花子=みほん^はなこ", "Exemple^Zoé"}
    again = hozi("demo")
    assert again.out.splitlines() == [
        f"{study.name}: {study.count} there already (study {study.uid})" for study in STUDIES
    ]
    assert Instance.objects.count() == sum(study.count for study in STUDIES)
    assert hozi("verify").code == 0
    assert hozi("export", "--study", STUDIES[2].uid, str(tmp_path / "loop")).code == 0
    [path] = (tmp_path / "loop").rglob("IM*")
    loop = dcmread(path)
    last = get_frame(loop.PixelData, loop.NumberOfFrames - 1, number_of_frames=loop.NumberOfFrames)
    assert imagecodecs.jpeg8_decode(last).shape == (loop.Rows, loop.Columns, 3)


def test_a_new_home_is_made_ready_and_a_running_archive_is_no_hindrance(archive: Archive, tmp_path: Path) -> None:
    write(tmp_path / "in" / "1.dcm")
    first = archive.run("import", str(tmp_path / "in"), "--json")
    assert (first.returncode, json.loads(first.stdout)["stored"]) == (0, 1)
    archive.start("--only", "dimse")
    archive.ready("dimse")
    write(tmp_path / "in" / "2.dcm")
    second = archive.run("import", str(tmp_path / "in"), "--json")
    assert (second.returncode, json.loads(second.stdout)["stored"]) == (0, 1)
    assert archive.run("export", "--all", str(tmp_path / "out.zip")).returncode == 0
    assert archive.run("verify").returncode == 0


def test_it_goes_on_after_a_power_cut(archive: Archive, tmp_path: Path) -> None:
    for number in range(150):
        write(tmp_path / "cd" / f"{number:03}.dcm")
    assert archive.run("verify").returncode == 0  # makes the home ready, so that the import starts at once
    process = subprocess.Popen(
        [sys.executable, "-m", "hozi", "import", str(tmp_path / "cd")],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **archive.facts},
        stdout=subprocess.DEVNULL,
    )
    archive.processes.append(process)  # type: ignore[arg-type]  # has no text to read
    deadline = time.monotonic() + 60
    while sum(path.read_bytes().count(b"\n") for path in archive.home.glob("run/imports/*.journal")) < 20:
        assert time.monotonic() < deadline
        assert process.poll() is None, "it was through before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = archive.run("import", str(tmp_path / "cd"), "--json")
    told = json.loads(again.stdout)
    assert again.returncode == 0
    assert told["seen"] == told["stored"] + told["duplicate"] == 150
    assert 20 <= told["resumed"] < 150
    assert told["duplicate"] <= 1  # the one that was under way
    verified = json.loads(archive.run("verify", "--json").stdout)
    assert (verified["objects"], verified["faults"]) == (150, [])
    assert not list(archive.home.glob("run/imports/*"))


def test_an_empty_path_is_not_the_folder_that_one_is_in(tmp_path: Path) -> None:
    """As a script gives it whose variable is not set."""
    done = program("import", "", HOZI_HOME=str(tmp_path / "home"))
    assert done.returncode == 2
    assert "a path is empty" in done.stderr
