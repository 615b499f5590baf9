"""A program brings objects by STOW-RS: each is told what became of it, and what is told is so."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from hozi.accounts.models import Grant
from hozi.archive import bringing, place, receive
from hozi.archive.models import ExceptionCase, Instance, StoredObject
from hozi.settings import HOZI
from tests.archive_running import empty
from tests.dicom_files import file_bytes
from tests.doors.dicomweb.conftest import Answer, Call, Caller
from tests.doors.dimse.images import image

BOUNDARY = "hozi-boundary"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
FAILED, STORED, OTHERS, REASON = "00081198", "00081199", "0008119A", "00081197"


@pytest.fixture(autouse=True)
def _empty(transactional_db: None) -> Iterator[None]:
    bringing.forget()
    empty()
    yield
    bringing.forget()


@pytest.fixture
def sender(calls: Call) -> Caller:
    """A program that may store at MAIN."""
    return calls("radiographer", "MAIN")


def multipart(*parts: bytes, kind: str = "application/dicom", end: bool = True) -> bytes:
    told = b"".join(
        b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (BOUNDARY.encode(), kind.encode(), part) for part in parts
    )
    return told + (b"--%s--\r\n" % BOUNDARY.encode() if end else b"")


def send(sender: Caller, *parts: bytes, path: str = "/studies", **more: Any) -> Answer:
    return sender.ask(
        "POST", path, body=multipart(*parts), content_type=RELATED, accept="application/dicom+json", **more
    )


def told(answer: Answer, sequence: str) -> list[tuple[str, int]]:
    """UID and failure reason (0: none) of each item of a sequence of the answer."""
    items = answer.json().get(sequence, {"Value": []})["Value"]
    return [
        (item.get("00081155", {}).get("Value", [""])[0], item.get(REASON, {"Value": [0]})["Value"][0]) for item in items
    ]


def test_objects_that_come_in_one_body_are_stored_byte_for_byte_and_named_in_their_order(sender: Caller) -> None:
    study, series = generate_uid(), generate_uid()
    images = [image(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=n) for n in range(40)]
    files = [file_bytes(one) for one in images]
    answer = send(sender, *files, path=f"/studies/{study}")
    assert answer.status == 200
    assert told(answer, STORED) == [(one.SOPInstanceUID, 0) for one in images]
    assert answer.json()["00081190"]["Value"] == [f"http://pacs.example/dicom-web/studies/{study}"]
    first = answer.json()[STORED]["Value"][0]
    assert first["00081190"]["Value"] == [
        f"http://pacs.example/dicom-web/studies/{study}/series/{series}/instances/{images[0].SOPInstanceUID}"
    ]
    assert first["00081150"] == {"vr": "UI", "Value": [images[0].SOPClassUID]}
    for one, file in zip(images, files, strict=True):
        row = StoredObject.objects.get(instance__uid=one.SOPInstanceUID)
        with place.volume().local(row.key) as path:
            dataset = path.read_bytes()[row.dataset_offset :]
        assert file.endswith(dataset)
        assert len(file) - len(dataset) < 1024
    # The same once more: they are there, which is what the sender wanted.
    again = send(sender, *files[:2])
    assert again.status == 200
    assert len(told(again, STORED)) == 2
    assert Instance.objects.count() == 40


def test_each_object_is_told_what_became_of_it(sender: Caller) -> None:
    study = generate_uid()
    good = image(StudyInstanceUID=study)
    other = image()
    twin = image(StudyInstanceUID=study, SOPInstanceUID=good.SOPInstanceUID, PatientName="Moyo^Tendai")
    nameless = image(StudyInstanceUID=study, SeriesInstanceUID=None)
    cut = file_bytes(image(StudyInstanceUID=study))[:-20]
    answer = send(
        sender,
        *(file_bytes(one) for one in (good, other, nameless)),
        cut,
        b"no DICOM at all",
        b"",
        path=f"/studies/{study}",
    )
    assert answer.status == 202
    assert told(answer, STORED) == [(good.SOPInstanceUID, 0)]
    assert told(answer, FAILED)[:2] == [(other.SOPInstanceUID, 0xA901), (nameless.SOPInstanceUID, 0xC000)]
    assert told(answer, FAILED)[2][1] == 0xC000
    assert told(answer, OTHERS) == [("", 0xC000), ("", 0xC000)]
    assert not Instance.objects.filter(uid=other.SOPInstanceUID)
    # Kept aside is not stored.
    conflict = send(sender, file_bytes(twin))
    assert conflict.status == 409
    assert told(conflict, FAILED) == [(twin.SOPInstanceUID, 0x0111)]
    assert ExceptionCase.objects.count() == 3


def test_a_single_object_and_one_whose_header_says_another_uid_come_in(sender: Caller) -> None:
    alone, changed = image(), image()
    answer = sender.ask("POST", "/studies", body=file_bytes(alone), content_type="application/dicom")
    assert (answer.status, told(answer, STORED)) == (200, [(alone.SOPInstanceUID, 0)])
    before = changed.SOPInstanceUID
    file = file_bytes(changed).replace(
        before.encode(), generate_uid()[: len(before)].ljust(len(before), "1").encode(), 1
    )
    answer = send(sender, file)
    assert (answer.status, told(answer, STORED)) == (200, [(before, 0)])


def test_the_answer_comes_in_xml_to_whoever_takes_no_json(sender: Caller) -> None:
    one = image()
    body = multipart(file_bytes(one), b"none")
    answer = sender.ask("POST", "/studies", body=body, content_type=RELATED, accept="application/dicom+xml")
    assert (answer.status, answer.headers["content-type"]) == (202, "application/dicom+xml")
    attributes = ElementTree.fromstring(answer.body).findall("{*}DicomAttribute")
    assert [each.get("tag") for each in attributes] == ["00081190", "00081199", "0008119A"]
    assert one.SOPInstanceUID in answer.body.decode()


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (RELATED, b"", 400),
        (RELATED, b"--hozi-boundary--", 400),
        (RELATED.replace(BOUNDARY, "other"), multipart(b"a"), 400),
        ('multipart/related; type="application/dicom"', multipart(b"a"), 400),
        ('multipart/related; type="application/dicom+json"; boundary=hozi-boundary', multipart(b"{}"), 415),
        ('multipart/related; type="application/dicom+xml"; boundary=hozi-boundary', multipart(b"<a/>"), 415),
        ("multipart/form-data; boundary=hozi-boundary", multipart(b"a"), 415),
        ("application/json", b"{}", 415),
        ("", b"a", 415),
        (RELATED, multipart(b"--a\r\n\r\nb\r\n--a--", kind="multipart/related; boundary=a"), 400),
        (RELATED, multipart(b"a", kind="application/dicom\r\nContent-Transfer-Encoding: base64"), 400),
        (RELATED, b"--hozi-boundary\r\nX: " + b"y" * 100_000, 400),
    ],
)
def test_what_is_no_body_of_objects_is_refused(sender: Caller, kind: str, body: bytes, status: int) -> None:
    answer = sender.ask("POST", "/studies", body=body, content_type=kind)
    assert answer.status == status
    assert answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_cannot_be_answered_is_refused_before_anything_is_stored(sender: Caller) -> None:
    file = file_bytes(image())
    for headers in ({"accept": "text/html"}, {"content-encoding": "gzip"}):
        answer = sender.ask("POST", "/studies", body=multipart(file), content_type=RELATED, **headers)
        assert answer.status in (406, 415)
    chunked = sender.ask("POST", "/studies", content_type="application/dicom")
    assert chunked.status == 400
    assert not Instance.objects.exists()


def test_of_a_body_that_breaks_off_what_came_whole_is_kept_and_nothing_is_claimed(sender: Caller) -> None:
    whole, half = image(), image()
    body = multipart(file_bytes(whole), file_bytes(half), end=False)[:-60]
    answer = sender.ask("POST", "/studies", body=body, content_type=RELATED)
    assert answer.status == 400
    assert "1" in answer.json()["detail"]
    assert list(Instance.objects.values_list("uid", flat=True)) == [whole.SOPInstanceUID]
    # Without its last delimiter, although every object in it is whole.
    answer = sender.ask("POST", "/studies", body=multipart(file_bytes(half), end=False), content_type=RELATED)
    assert answer.status == 400


def test_a_bomb_in_a_deflated_object_costs_nothing_but_itself(sender: Caller) -> None:
    deflate = zlib.compressobj(9, wbits=-15)
    packed = deflate.compress(b"\x09\x00\x01\x00OB\0\0" + (1 << 30).to_bytes(4, "little"))
    packed += b"".join(deflate.compress(bytes(1 << 20)) for _ in range(520)) + deflate.flush()
    head = file_bytes(Dataset(), "1.2.840.10008.1.2.1.99")
    answer = send(sender, head + packed, file_bytes(image()))
    assert answer.status == 202
    assert len(told(answer, STORED)) == 1


def test_without_room_nothing_is_stored_and_the_sender_is_told_to_come_again(
    sender: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "HOZI", HOZI.model_copy(update={"min_free_bytes": 1 << 62}))
    answer = send(sender, file_bytes(image()))
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert told(answer, FAILED)[0][1] == 0xA700


def test_only_whoever_may_store_stores_and_at_their_own_facility(calls: Call, hospitals: None) -> None:
    file = file_bytes(image())
    reader = calls("student", "MAIN")
    assert send(reader, file).status == 403
    assert send(Caller(), file).status == 401
    readonly = calls("radiographer", "MAIN", username="readonly", scopes=("read",))
    assert send(readonly, file).status == 403
    there = calls("radiographer", "GRANARY", username="granary")
    assert send(there, file, query={"facility": "ELSEWHERE"}).status == 400
    assert send(there, file).status == 200
    row = Instance.objects.get()
    assert row.series.study.facility == "GRANARY"
    assert row.series.study.patient.issuer == "GRANARY-HOSPITAL"
    everywhere = calls("service", username="everywhere")
    unsaid = send(everywhere, file_bytes(image()))
    assert (unsaid.status, unsaid.json()["field"]) == (400, "facility")
    assert send(everywhere, file_bytes(image()), query={"facility": "MAIN"}).status == 200


def test_whoever_may_bring_one_modality_only_brings_no_other(sender: Caller) -> None:
    Grant.objects.filter(person=sender.person).update(modality="MR")
    one, other = image(Modality="MR"), image(Modality="CT")
    answer = send(sender, file_bytes(one), file_bytes(other))
    assert answer.status == 202
    assert told(answer, STORED) == [(one.SOPInstanceUID, 0)]
    assert told(answer, FAILED) == [(other.SOPInstanceUID, 0x0124)]
    assert Instance.objects.count() == 1
