"""Metadata of series: what fetching gives, made once, never out of date, and never half."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from hozi.accounts.authorise import Held, Scope, Who
from hozi.archive import correct, decide, fetch, give, metadata, metadata_copies, reject
from hozi.archive.metadata import Settling, of_instance, of_series, of_study
from hozi.archive.models import ExceptionCase, Series, StoredObject
from hozi.archive.place import volume
from hozi.audit.models import Event
from hozi.core.dicom import part10
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import NotThere
from tests.archive.asking import ROLES, somebody
from tests.archive.conftest import Counter
from tests.dicom_files import file_bytes
from tests.doors.dimse.images import image

pytestmark = [pytest.mark.database]

RADIOLOGIST = somebody("radiologist")
BASE = "https://hozi.test/dicom-web"
STUDY, SERIES = "1.2.826.91", "1.2.826.91.1"


def bring(counter: Counter, *datasets: Dataset) -> None:
    folder = counter.journals.parent / f"in-{len(list(counter.journals.parent.iterdir()))}"
    folder.mkdir()
    for number, dataset in enumerate(datasets):
        (folder / f"{number:04d}.dcm").write_bytes(file_bytes(dataset))
    counter.bring(folder)


def slices(numbers: Sequence[int], series: str = SERIES, **more: Any) -> list[Dataset]:
    told = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": series, **more}
    return [image(**told, SOPInstanceUID=f"{series}.{number}", InstanceNumber=number) for number in numbers]


def read(found: metadata.Metadata) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = json.loads(gzip.decompress(found.packed()))
    assert objects == json.loads(found.plain())
    return objects


def told(series: str = SERIES, base: str = BASE) -> list[dict[str, Any]]:
    return read(of_series(RADIOLOGIST, STUDY, series, base))


def value(element: str, objects: list[dict[str, Any]]) -> list[Any]:
    return [(one.get(f"{tag_of(element):08X}", {}).get("Value") or [None])[0] for one in objects]


def sent(uid: str) -> dict[str, Any]:
    """What fetching an object gives, as pydicom reads it."""
    holding = fetch.holding(uid)
    dataset = b"".join(holding.send_as(holding.transfer_syntax))
    header = part10.write_header(holding.sop_class, uid, holding.transfer_syntax)
    found: dict[str, Any] = dcmread(BytesIO(header + dataset)).to_json_dict(1024, lambda element: f"{element.tag:08X}")
    return found


def edit(level: str, uid: str, **changes: Any) -> int:
    return correct.edit(
        level, uid, {tag_of(keyword): new for keyword, new in changes.items()}, reason="typing error", actor="rutendo"
    )


def files() -> list[Path]:
    return [path for _, path in metadata_copies.everything()]


@pytest.fixture(autouse=True)
def _nothing_kept(counter: Counter) -> None:
    metadata_copies.forget()
    give.NOTED.forget()
    for path in metadata_copies.folder().rglob("*"):
        if path.is_file():
            path.unlink()


def test_it_says_what_fetching_gives(counter: Counter) -> None:
    bring(counter, *slices(range(1, 4), PatientName="Chikomba^Rutendo", SpecificCharacterSet="ISO_IR 100"))
    edit("SERIES", SERIES, SeriesDescription=["Kōpu 山"])
    edit("IMAGE", f"{SERIES}.2", ContentDate=["20260101"])

    objects = told()

    assert value("SOPInstanceUID", objects) == [f"{SERIES}.{number}" for number in (1, 2, 3)]
    assert value("SeriesDescription", objects) == ["Kōpu 山"] * 3
    assert value("ContentDate", objects)[1] == "20260101"
    for one in objects:
        uid = one["00080018"]["Value"][0]
        assert one.pop("00083002") == {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]}
        assert one.pop("7FE00010")["BulkDataURI"] == (
            f"{BASE}/studies/{STUDY}/series/{SERIES}/instances/{uid}/bulkdata/7FE00010"
        )
        expected = sent(uid)
        del expected["7FE00010"]
        assert one == expected | {"00080005": one["00080005"]}
        [alone] = read(of_instance(RADIOLOGIST, STUDY, SERIES, uid, BASE))
        assert alone.items() >= one.items()


def test_corrections_their_undoing_and_arrivals_show_at_the_next_request(counter: Counter) -> None:
    bring(counter, *slices([1, 2]))
    assert len(told()) == 2
    tags = {of_series(RADIOLOGIST, STUDY, SERIES, BASE).tag}
    made = [
        edit("IMAGE", f"{SERIES}.1", ImageComments=["one"]),
        edit("SERIES", SERIES, SeriesDescription=["chest"]),
        edit("STUDY", STUDY, StudyDescription=["trauma"]),
        edit("PATIENT", str(Series.objects.get().study.patient_id), PatientName=["Moyo^Tendai"]),
    ]
    tags.add(of_series(RADIOLOGIST, STUDY, SERIES, BASE).tag)
    objects = told()
    assert value("ImageComments", objects) == ["one", None]
    assert value("SeriesDescription", objects) == ["chest", "chest"]
    assert value("StudyDescription", objects) == ["trauma", "trauma"]
    assert value("PatientName", objects) == [{"Alphabetic": "Moyo^Tendai"}] * 2

    for one in made:
        correct.undo(one, actor="rutendo")
    assert value("ImageComments", told()) == [None, None]
    assert value("PatientName", told()) != [{"Alphabetic": "Moyo^Tendai"}] * 2

    bring(counter, *slices([3]))
    assert value("InstanceNumber", told()) == [1, 2, 3]
    tags.add(of_series(RADIOLOGIST, STUDY, SERIES, BASE).tag)
    assert len(tags) == 3


def test_what_is_rejected_taken_back_taken_in_and_given_back_shows_at_the_next_request(counter: Counter) -> None:
    administrator = somebody("pacs_admin")
    bring(counter, *slices([1, 2]))
    assert value("InstanceNumber", told()) == [1, 2]
    made = reject.reject(administrator, STUDY, SERIES, f"{SERIES}.1", reason="moved")
    assert value("InstanceNumber", told()) == [2]
    reject.undo(administrator, made)
    assert value("InstanceNumber", told()) == [1, 2]
    made = reject.reject(administrator, STUDY, SERIES, reason="moved")
    with pytest.raises(NotThere):
        told()
    assert metadata.sweep() == 1
    reject.undo(administrator, made)
    assert value("InstanceNumber", told()) == [1, 2]

    bring(counter, *slices([3], PatientID="E-1000", PatientName="X^Y"))
    case = ExceptionCase.objects.get()
    decide.take_in(administrator, case.pk, way="same-patient", note="typing error", version=case.version)
    assert value("PatientID", told()) == [value("PatientID", told())[0]] * 3
    case.refresh_from_db()
    decide.undo(administrator, case.pk, note="a mistake", version=case.version)
    assert value("InstanceNumber", told()) == [1, 2]


def test_what_is_kept_is_sent_without_looking_at_the_files_and_by_other_processes_too(counter: Counter) -> None:
    bring(counter, *slices(range(5)))
    first = of_series(RADIOLOGIST, STUDY, SERIES, BASE)
    for key in list(volume().keys()):
        with volume().local(key) as path:
            path.rename(path.with_suffix(".away"))
    metadata_copies.forget()  # as after a restart

    assert of_series(RADIOLOGIST, STUDY, SERIES, BASE) == first
    assert of_series(RADIOLOGIST, STUDY, SERIES, BASE, known=[first.tag]).copies == ()


def test_ten_slices_that_come_to_many_cost_ten(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(counter, *slices(range(150)))
    told()
    opened: list[str] = []
    stored = fetch.Holding.stored
    monkeypatch.setattr(fetch.Holding, "stored", lambda self: opened.append(self.sop_instance) or stored(self))

    bring(counter, *slices(range(200, 210)))
    assert value("InstanceNumber", told()) == [*range(150), *range(200, 210)]
    assert len(opened) == 10

    opened.clear()
    edit("IMAGE", f"{SERIES}.140", ImageComments=["one"])
    assert value("ImageComments", told()).count("one") == 1
    assert len(opened) < 30  # the piece in which it is


def test_the_address_of_bulk_data_is_that_at_which_was_asked(counter: Counter) -> None:
    bring(counter, *slices([1]))
    other = "http://10.0.0.7/dicom-web"
    uris = [told(base=base)[0]["7FE00010"]["BulkDataURI"] for base in (BASE, other, BASE, other)]

    assert [uri.startswith(base) for uri, base in zip(uris, (BASE, other, BASE, other), strict=True)] == [True] * 4
    assert len(files()) == 1


def test_a_damaged_or_half_written_copy_is_made_again(counter: Counter) -> None:
    bring(counter, *slices([1, 2]))
    expected = told()
    [path] = files()
    whole = path.read_bytes()
    for spoilt in (
        b"",
        whole[:-5],
        b"\0" * len(whole),
        b"{}\n" + whole,
        whole.replace(SERIES.encode(), b"1.2.826.91.9"),
    ):
        path.write_bytes(spoilt)
        metadata_copies.forget()
        assert told() == expected
    (path.parent / ".new-killed").write_bytes(whole[:100])  # whoever was killed while writing left this
    os.utime(path.parent / ".new-killed", (1, 1))
    assert told() == expected
    metadata.sweep()
    assert files() == [path]
    assert not (path.parent / ".new-killed").exists()


def test_a_missing_file_is_told_by_what_is_known_and_not_for_good(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "_MOST_TOGETHER", 1)
    opened: list[str] = []
    stored = fetch.Holding.stored
    monkeypatch.setattr(fetch.Holding, "stored", lambda self: opened.append(self.sop_instance) or stored(self))
    bring(counter, *slices([1, 2]))
    key = StoredObject.objects.order_by("pk")[0].key
    with volume().local(key) as path:
        path.rename(path.with_suffix(".away"))
        objects = told()
        assert value("SOPInstanceUID", objects) == [f"{SERIES}.1", f"{SERIES}.2"]
        assert value("InstanceNumber", objects) == [None, 2]
        told()
        assert opened == [f"{SERIES}.1", f"{SERIES}.2", f"{SERIES}.1"]
        path.with_suffix(".away").rename(path)
    assert value("InstanceNumber", told()) == [1, 2]


def test_who_asks_together_waits_for_one(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(counter, *slices(range(20)))
    made: list[str] = []
    making = metadata._made

    def slowly(*asked: Any) -> Any:
        made.append("once")
        time.sleep(0.2)
        return making(*asked)

    monkeypatch.setattr(metadata, "_made", slowly)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: (found.append(len(told())), _close())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20] * 4
    assert made == ["once"]


def _close() -> None:
    from django.db import connection

    connection.close()


def test_a_study_has_those_series_that_are_reached(counter: Counter) -> None:
    bring(counter, *slices([1, 2]), *slices([1], f"{STUDY}.2", Modality="MR"))
    assert len(read(of_study(RADIOLOGIST, STUDY, BASE))) == 3
    held = Held(ROLES["radiologist"].permissions, Scope(facility="MAIN", modality="MR"))
    only_mr = Who("person", "mara", "192.168.1.9", (held,), 3)
    found = read(of_study(only_mr, STUDY, BASE))
    assert value("Modality", found) == ["MR"]
    for asked in (
        lambda: of_series(only_mr, STUDY, SERIES, BASE),
        lambda: of_instance(only_mr, STUDY, SERIES, f"{SERIES}.1", BASE),
        lambda: of_series(RADIOLOGIST, "1.2.3", SERIES, BASE),
        lambda: of_instance(RADIOLOGIST, STUDY, f"{STUDY}.2", f"{SERIES}.1", BASE),
        lambda: of_study(RADIOLOGIST, "1.2.3", BASE),
    ):
        with pytest.raises(NotThere):
            asked()


def test_who_has_looked_stands_in_the_audit(counter: Counter) -> None:
    bring(counter, *slices([1]))
    for _ in range(3):
        told()
    assert Event.objects.filter(actor=RADIOLOGIST.actor, study_uid=STUDY, detail__opened="pictures").count() == 1


def test_what_has_settled_is_made_before_somebody_asks_where_somebody_ever_asked(counter: Counter) -> None:
    settling = Settling(seconds=0.0)
    bring(counter, *slices([1]))
    assert settling.look() == 0
    told()
    settling.look()
    bring(counter, *slices([2, 3]))
    patient = Settling(seconds=60.0)
    patient.look()
    assert settling.look() == 1
    copy = metadata_copies.read(SERIES)
    assert copy is not None
    assert copy.count == 3
    assert settling.look() == 0


def test_copies_of_series_that_are_gone_are_removed(counter: Counter) -> None:
    bring(counter, *slices([1]), *slices([1], f"{STUDY}.2"))
    told()
    told(f"{STUDY}.2")
    assert metadata.sweep() == 0
    StoredObject.objects.filter(instance__series__uid=SERIES).delete()
    assert metadata.sweep() == 1
    assert len(files()) == 1
