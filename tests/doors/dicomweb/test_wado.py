"""WADO-RS: what was brought in goes out again, byte for byte, whole or by frames, to whom may see it (PS3.18 §10.4)."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import UID

from hozi.archive import correct, give
from hozi.archive.models import Instance, StoredObject
from hozi.archive.place import volume
from hozi.audit.models import Event
from hozi.core.dicom import part10, syntaxes
from hozi.doors.dicomweb import whole
from tests import corpus
from tests.archive.conftest import Counter
from tests.archive.conftest import counter as counter
from tests.doors.dicomweb.conftest import Answer, Call, Caller

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not corpus.rows(), reason="left out without the corpus"),
]

ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
ANY_FRAME = "multipart/related; type=application/octet-stream; transfer-syntax=*"
EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    give.NOTED.forget()


def parts_of(answer: Answer) -> list[tuple[dict[str, str], bytes]]:
    """The parts of an answer, found by their boundary alone; what they say of their length must be true."""
    assert answer.headers["content-type"].startswith("multipart/related; type="), answer
    boundary = re.search(r"boundary=([A-Za-z0-9-]+)", answer.headers["content-type"])
    assert boundary
    mark = b"--" + boundary[1].encode()
    assert answer.body.startswith(mark + b"\r\n")
    assert answer.body.endswith(b"\r\n" + mark + b"--\r\n")
    found = []
    for piece in answer.body[len(mark) + 2 : -len(mark) - 6].split(b"\r\n" + mark + b"\r\n"):
        head, _, body = piece.partition(b"\r\n\r\n")
        told = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        assert int(told.get("Content-Length", len(body))) == len(body)
        found.append((told, body))
    return found


def address(instance: Instance) -> str:
    series = instance.series
    return f"/studies/{series.study.uid}/series/{series.uid}/instances/{instance.uid}"


def brought(counter: Counter, *names: str) -> list[Instance]:
    paths = [corpus.CORPUS / name for name in names]
    counter.bring(*paths)
    uids = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in paths]
    rows = Instance.objects.select_related("series__study", "stored").in_bulk(uids, field_name="uid")
    return [rows[uid] for uid in uids]


def find(*wanted: str) -> list[str]:
    """Files of the corpus by the ends of their names."""
    names = [row.name for row in corpus.rows()]
    return [next(name for name in names if name.endswith(end)) for end in wanted]


def test_every_file_comes_back_as_it_came_and_frame_by_frame(counter: Counter, calls: Call) -> None:
    counter.bring(corpus.CORPUS)
    caller = calls("pacs_admin")
    rows = StoredObject.objects.select_related("instance__series__study").order_by("pk")
    assert rows.count() > 200
    with_frames = 0
    for row in rows:
        with volume().open(row.key) as file:
            file.seek(row.dataset_offset)
            stored = file.read()
        where = address(row.instance)
        answer = caller.get(where, accept=ANY)
        assert answer.status == 200, (where, answer.body)
        [(told, part)] = parts_of(answer)
        header = part10.read_header(part)
        assert part[header.dataset_offset :] == stored
        assert (header.transfer_syntax, header.sop_instance) == (row.transfer_syntax, row.instance.uid)
        assert told["Content-Type"] == f"application/dicom; transfer-syntax={row.transfer_syntax}"
        with_frames += _frames_are_those_of_pydicom(caller, where, part, row.transfer_syntax)
    assert with_frames > 150
    # All of a study at once, in parts.
    study = max({row.instance.series.study for row in rows}, key=lambda study: study.instance_count)
    answer = caller.get(f"/studies/{study.uid}", accept=ANY)
    uids = [part10.read_header(part).sop_instance for _, part in parts_of(answer)]
    assert sorted(uids) == sorted(Instance.objects.filter(series__study=study).values_list("uid", flat=True))


def _frames_are_those_of_pydicom(caller: Caller, where: str, file: bytes, syntax: str) -> int:
    try:
        dataset = pydicom.dcmread(io.BytesIO(file), force=True)
        count = int(dataset.get("NumberOfFrames") or 1)
        if "PixelData" not in dataset or not dataset.PixelData or syntaxes.for_unknown(syntax).video:
            return 0
        if UID(syntax).is_encapsulated:
            theirs = list(generate_frames(dataset.PixelData, number_of_frames=count))
        elif dataset.BitsAllocated == 8 * (dataset.BitsAllocated // 8) and syntax != "1.2.840.10008.1.2.2":
            size = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated // 8
            theirs = [dataset.PixelData[at * size : (at + 1) * size] for at in range(count)]
        else:
            return 0
    except Exception:  # noqa: BLE001 - what pydicom cannot read is no measure
        return 0
    numbers = sorted({1, (count + 1) // 2, count})
    answer = caller.get(f"{where}/frames/{','.join(map(str, numbers))}", accept=ANY_FRAME)
    if len(theirs[0]) == 0 or answer.status >= 500:
        return 0
    assert answer.status == 200, (where, answer.body)
    assert [body for _, body in parts_of(answer)] == [theirs[number - 1] for number in numbers], where
    return 1


def test_frames_are_given_in_what_the_client_takes(counter: Counter, calls: Call) -> None:
    names = find("CT0012.fragmented_no_bot_jpeg_ls.81.dcm", "CT_small.dcm", "MR_small_RLE.dcm", "emri_small_RLE.dcm")
    lossy, plain, rle, many = brought(counter, *names)
    caller = calls("pacs_admin")

    def kind(instance: Instance, accept: str, frames: str = "1") -> str:
        answer = caller.get(f"{address(instance)}/frames/{frames}", accept=accept)
        return answer.headers["content-type"] if answer.status == 200 else str(answer.status)

    assert kind(lossy, "*/*").startswith('multipart/related; type="image/jls"; boundary=')
    assert kind(lossy, "image/jls") == "image/jls; transfer-syntax=1.2.840.10008.1.2.4.81"
    assert kind(rle, "image/dicom-rle, */*;q=0.1") == "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"
    assert kind(plain, "application/octet-stream") == f"application/octet-stream; transfer-syntax={EXPLICIT}"
    assert kind(plain, "image/jpeg") == kind(plain, "image/jls, text/html") == "406"
    told = caller.get(f"{address(rle)}/frames/1", accept="image/jpeg")
    assert told.status == 406
    assert "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5" in told.json()["detail"]
    # What is stored compressed, as plain numbers: those of the same image that is not compressed.
    decoded = caller.get(f"{address(rle)}/frames/1", accept="application/octet-stream")
    assert decoded.status == 200
    ours = pydicom.dcmread(corpus.CORPUS / names[2])
    assert decoded.body == ours.pixel_array.astype("<i2").tobytes()
    # A viewer that can take it gets HTJ2K, without loss.
    htj2k = caller.get(f"{address(plain)}/frames/1", accept="image/jphc")
    assert htj2k.headers["content-type"] == "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.201"
    assert np.array_equal(imagecodecs.htj2k_decode(htj2k.body), pydicom.dcmread(corpus.CORPUS / names[1]).pixel_array)
    # Frames that are decoded on the way, several of them.
    decoded = caller.get(f"{address(many)}/frames/2,1", accept="multipart/related; type=application/octet-stream")
    theirs = pydicom.dcmread(corpus.CORPUS / names[3]).pixel_array.astype("<u2")
    assert [body for _, body in parts_of(decoded)] == [theirs[1].tobytes(), theirs[0].tobytes()]
    # One by itself is for one; several come in parts.
    assert kind(many, "image/dicom-rle", "1,2") == "406"
    assert kind(many, "multipart/related; type=image/dicom-rle", "1,2,10").startswith("multipart/related")
    for wrong, status in (("0", 400), ("a", 400), ("1,", 400), ("11", 404), ("1,11", 404), ("999999999", 404)):
        assert caller.get(f"{address(many)}/frames/{wrong}", accept=ANY_FRAME).status == status


def test_whoever_may_not_see_it_is_told_what_everybody_is_told_of_what_is_not_there(
    counter: Counter, calls: Call, hospitals: None
) -> None:
    [instance] = brought(counter, *find("CT_small.dcm"))
    stranger, owner = calls("radiologist", "ELSEWHERE", username="olga"), calls("radiologist")
    series, study = instance.series, instance.series.study
    other = f"/studies/{study.uid}/series/{series.uid}/instances/1.2.3.4"
    for path in ("", "/frames/1", "/bulkdata/7FE00010", "/bulkdata/00081140/1/00081150"):
        hidden = stranger.get(address(instance) + path)
        assert hidden.status == 404
        assert hidden.body == stranger.get(other + path).body == owner.get(other + path).body
        # The right object in the wrong place is no object.
        assert owner.get(f"/studies/1.2.3/series/{series.uid}/instances/{instance.uid}{path}").status == 404
        assert owner.get(f"/studies/{study.uid}/series/1.2.3/instances/{instance.uid}{path}").status == 404
    for path in (f"/studies/{study.uid}", f"/studies/{study.uid}/series/{series.uid}"):
        assert stranger.get(path).status == 404
        assert owner.get(path, accept=ANY).status == 200
    assert owner.get(address(instance) + "/frames/1").status == 200
    # One row says that the owner has looked, however much they asked for; the stranger was written down as refused.
    looks = Event.objects.filter(study_uid=study.uid, action="R", detail__opened="pictures")
    assert list(looks.values_list("actor", flat=True)) == ["rradiologist"]
    assert Event.objects.filter(actor="olga.elsewhere", code="110113").exists()


def test_an_object_alone_is_asked_for_in_ranges_and_whether_it_changed(
    counter: Counter, calls: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    [instance] = brought(counter, *find("CT_small.dcm"))
    caller, where = calls("pacs_admin"), address(instance)
    answer = caller.get(where, accept="application/dicom")
    total, tag = len(answer.body), answer.headers["etag"]
    assert answer.headers["content-length"] == str(total)
    assert answer.headers["cache-control"] == "private, no-cache"
    for asked, first, last in (
        ("0-0", 0, 0),
        ("100-", 100, total - 1),
        ("-7", total - 7, total - 1),
        ("5-99999999", 5, total - 1),
    ):
        part = caller.get(where, accept="application/dicom", range=f"bytes={asked}")
        assert (part.status, part.headers["content-range"]) == (206, f"bytes {first}-{last}/{total}")
        assert part.body == answer.body[first : last + 1]
    beyond = caller.get(where, accept="application/dicom", range=f"bytes={total}-")
    assert (beyond.status, beyond.headers["content-range"], beyond.body) == (416, f"bytes */{total}", b"")
    for nonsense in ("bytes=9-2", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=" + "1" * 50 + "-"):
        assert caller.get(where, accept="application/dicom", range=nonsense).body == answer.body
    assert caller.get(where, accept="application/dicom", range="bytes=0-0", if_range='"other"').status == 200
    same = caller.get(where, accept="application/dicom", if_none_match=f'"x", W/{tag}')
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
    head = caller.ask("HEAD", where, accept="application/dicom")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(total))
    # What is longer streams, and is the same.
    monkeypatch.setattr(whole, "AT_ONCE", 1000)
    monkeypatch.setattr(whole, "_PIECE", 999)
    streamed = caller.get(where, accept="application/dicom", range="bytes=10-8000")
    assert (streamed.streamed, streamed.body) == (True, answer.body[10:8001])
    # The patient is called otherwise since: that is another file.
    patient = instance.series.study.patient
    correct.edit("PATIENT", str(patient.pk), {0x00100010: [{"Alphabetic": "Moyo^Tendai"}]}, reason="typo", actor="a")
    changed = caller.get(where, accept="application/dicom", if_none_match=tag)
    assert changed.status == 200
    assert str(pydicom.dcmread(io.BytesIO(changed.body)).PatientName) == "Moyo^Tendai"
    assert changed.headers["etag"] != tag


def test_who_names_no_transfer_syntax_gets_what_everybody_reads(counter: Counter, calls: Call) -> None:
    rle, lossy = brought(counter, *find("MR_small_RLE.dcm", "CT0012.fragmented_no_bot_jpeg_ls.81.dcm"))
    caller = calls("pacs_admin")
    answer = caller.get(address(rle), accept="application/dicom")
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
    ours = pydicom.dcmread(io.BytesIO(answer.body))
    assert ours.file_meta.TransferSyntaxUID == EXPLICIT
    assert len(ours.PixelData) == 2 * ours.Rows * ours.Columns
    # What was compressed with loss stays what it is, unless it is asked for.
    assert caller.get(address(lossy), accept="application/dicom").headers["content-type"].endswith(".4.81")
    named = caller.get(address(lossy), accept=f"application/dicom; transfer-syntax={EXPLICIT}")
    assert pydicom.dcmread(io.BytesIO(named.body)).LossyImageCompression == "01"
    refused = caller.get(address(rle), accept="application/dicom; transfer-syntax=1.2.840.10008.1.2.4.70")
    assert refused.status == 406


def test_a_study_comes_as_an_archive_to_whom_may_take_it_away(counter: Counter, calls: Call) -> None:
    [instance] = brought(counter, *find("CT_small.dcm"))
    study = instance.series.study.uid
    answer = calls("pacs_admin").get(f"/studies/{study}", accept="application/zip")
    assert answer.status == 200
    assert answer.streamed
    assert "DICOMDIR" in zipfile.ZipFile(io.BytesIO(answer.body)).namelist()
    assert calls("radiographer").get(f"/studies/{study}", accept="application/zip").status == 403


def test_values_that_metadata_leaves_out_are_given(counter: Counter, calls: Call, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(corpus.CORPUS / find("CT_small.dcm")[0])
    inner = pydicom.Dataset()
    inner.add_new(0x00420011, "OB", b"%PDF-" + b"a" * 5000)
    first = pydicom.Dataset()
    first.PatientID = "other"
    dataset.add_new(0x00081115, "SQ", [first, inner])
    dataset.save_as(tmp_path / "one.dcm")
    counter.bring(tmp_path / "one.dcm")
    instance = Instance.objects.select_related("series__study").get()
    caller, where = calls("pacs_admin"), address(instance) + "/bulkdata"
    answer = caller.get(f"{where}/00081115/2/00420011", accept="application/octet-stream")
    assert answer.body == inner[0x00420011].value + b"\0" * (len(inner[0x00420011].value) % 2)
    [(told, body)] = parts_of(caller.get(f"{where}/00081115/2/00420011", accept=ANY_FRAME))
    assert (told["Content-Type"], body) == ("application/octet-stream", answer.body)
    zipped = caller.get(
        f"{where}/00081115/2/00420011", accept="*/*;q=0.1, application/octet-stream", accept_encoding="gzip"
    )
    assert zipped.headers["content-encoding"] == "gzip"
    assert caller.get(f"{where}/7FE00010", accept="application/octet-stream").body == dataset.PixelData
    part = caller.get(f"{where}/7FE00010", accept="application/octet-stream", range="bytes=2-5")
    assert (part.status, part.body) == (206, dataset.PixelData[2:6])
    for wrong, status in (("00081115", 200), ("00081115/3/00420011", 404), ("00990011", 404), ("xyz", 400)):
        assert caller.get(f"{where}/{wrong}").status == status, wrong


def test_what_is_damaged_is_never_given_as_if_it_were_whole(counter: Counter, calls: Call) -> None:
    good, bad = brought(counter, *find("CT_small.dcm", "MR_small_RLE.dcm"))
    path = volume().folder / bad.stored.key  # type: ignore[attr-defined]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-100])
    caller = calls("pacs_admin")
    for where in (address(bad), f"{address(bad)}/frames/1", f"{address(bad)}/bulkdata/7FE00010"):
        answer = caller.get(where, accept="*/*")
        assert answer.status == 500
        assert answer.json()["id"]
    path.unlink()
    assert caller.get(address(bad)).status == 503
    if good.series.study_id == bad.series.study_id:
        with pytest.raises(Exception, match=r"not in the store|shorter"):
            caller.get(f"/studies/{good.series.study.uid}", accept=ANY)
