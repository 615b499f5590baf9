"""Files that a browser sends in pieces: what came is kept, each byte is taken once, and what became of it is told."""

from __future__ import annotations

import fcntl
import io
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from pydicom.uid import generate_uid

from hozi.archive import bringing, uploads
from hozi.archive.models import ExceptionCase, Instance, Study
from hozi.settings import HOZI
from tests.archive_running import empty
from tests.dicom_files import file_bytes
from tests.doors.dimse.images import image

KEY = "0123456789abcdef" * 2
OTHER = "f" * 32
SignedIn = Callable[..., Client]


@pytest.fixture(autouse=True)
def _empty(transactional_db: None) -> Iterator[None]:
    bringing.forget()
    empty()
    yield
    bringing.forget()


@pytest.fixture
def client(signed_in: SignedIn) -> Client:
    """Somebody who may bring images to MAIN."""
    return signed_in("radiographer", facility="MAIN")


def send(client: Client, piece: bytes, length: int, offset: int = 0, key: str = KEY, **headers: str) -> Any:
    told = {"Upload-Key": key, "Upload-Length": str(length), "Upload-Offset": str(offset), **headers}
    return client.post("/upload/send/", piece, content_type="application/octet-stream", headers=told)


def state(client: Client, length: int, key: str = KEY) -> Any:
    answer = client.post("/upload/state/", {"files": [[key, length]]}, content_type="application/json")
    assert answer.status_code == 200, answer.content
    [one] = answer.json()["files"]
    return one


def parts() -> list[str]:
    return os.listdir(HOZI.storage / "uploads")


def test_a_file_that_comes_in_pieces_is_received_with_its_last_byte_and_never_twice(client: Client) -> None:
    dataset = image()
    file = file_bytes(dataset)
    size, half = len(file), len(file) // 2
    assert state(client, size) == {"offset": 0}
    assert send(client, file[:half], size).json() == {"offset": half}
    assert state(client, size) == {"offset": half}
    assert not Instance.objects.exists()
    # What came already, or what is not next, changes nothing.
    for offset in (0, half - 1, half + 1):
        assert send(client, file[offset:], size, offset).status_code == 409
    done = send(client, file[half:], size, half).json()
    study = Study.objects.get()
    assert done["fate"]["counts"] == {"stored": 1, "duplicate": 0, "quarantined": 0, "refused": 0}
    assert done["fate"]["studies"] == [f"/studies/{study.pk}/"]
    assert Instance.objects.get().uid == dataset.SOPInstanceUID
    assert state(client, size) == done
    assert send(client, b"", size).json() == done
    assert parts() == []
    again = send(client, file, size, key=OTHER).json()
    assert again["fate"]["counts"]["duplicate"] == 1


def test_what_is_no_image_and_what_is_kept_aside_is_told_with_its_reason(signed_in: SignedIn) -> None:
    client = signed_in("pacs_admin")
    text = b"no image at all, but long enough to look like one" * 9
    told = send(client, text, len(text)).json()["fate"]
    assert (told["counts"]["refused"], told["whys"][0]["text"]) == (1, "No DICOM file.")
    first = image()
    twin = file_bytes(image(SOPInstanceUID=first.SOPInstanceUID, PatientName="Moyo^Tendai"))
    send(client, file_bytes(first), len(file_bytes(first)), key=OTHER)
    told = send(client, twin, len(twin), key="a" * 32).json()["fate"]
    case = ExceptionCase.objects.get()
    assert told["counts"]["quarantined"] == 1
    assert told["whys"] == [{"text": "Same number, other content", "url": f"/exceptions/{case.pk}/"}]
    assert client.get(told["whys"][0]["url"]).status_code == 200


def test_of_a_zip_archive_each_image_comes_in_and_nothing_is_named_by_it(client: Client) -> None:
    packed = io.BytesIO()
    study = generate_uid()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"../../{number}", file_bytes(image(StudyInstanceUID=study)))
        archive.writestr("readme.txt", "hello")
    body = packed.getvalue()
    told = send(client, body, len(body)).json()["fate"]
    assert told["counts"] == {"stored": 3, "duplicate": 0, "quarantined": 0, "refused": 1}
    assert len(told["studies"]) == 1


def test_what_is_wrong_is_refused_and_nothing_of_it_stays(client: Client) -> None:
    for key in ("", "../../../../etc/passwd", "0" * 31, "A" * 32, "0" * 33):
        assert send(client, b"a", 1, key=key).status_code == 400, key
    assert send(client, b"ab", 1).status_code == 400
    assert send(client, b"", 0).status_code == 400
    assert send(client, b"a", HOZI.max_object_bytes + 1).status_code == 400
    assert send(client, b"a", 2, **{"Upload-Offset": "-1"}).status_code == 400
    assert send(client, b"a", 2, **{"Upload-Facility": "NOWHERE"}).status_code == 400
    for body in ("", "[]", '{"files": [1]}', '{"files": [["a", "b"]]}'):
        assert client.post("/upload/state/", body, content_type="application/json").status_code == 400
    many = {"files": [[KEY, 1]] * (uploads.MOST_ASKED + 1)}
    assert client.post("/upload/state/", many, content_type="application/json").status_code == 400


def test_one_person_has_so_many_unfinished_files_and_old_ones_go_away(
    client: Client, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_FILES", 2)
    for number in range(2):
        assert send(client, b"a", 10, key=f"{number:032x}").status_code == 200
    assert send(client, b"a", 10).status_code == 400
    assert send(client, b"b", 10, 1, key=f"{0:032x}").json() == {"offset": 2}
    # Another person's file of that key is another file.
    other = signed_in("radiographer", facility="MAIN", username="another")
    assert send(other, b"c", 10, key=f"{0:032x}").json() == {"offset": 1}
    client.post("/upload/forget/", {"files": [[f"{0:032x}", 10]]}, content_type="application/json")
    assert len(parts()) == 2
    old = time.time() - (uploads.DAYS + 1) * 86_400
    os.utime(HOZI.storage / "uploads" / parts()[0], (old, old))
    assert uploads.sweep() == 1
    assert len(parts()) == 1


def test_two_connections_do_not_write_one_file(client: Client) -> None:
    send(client, b"a", 10)
    [part] = parts()
    with (HOZI.storage / "uploads" / part).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert send(client, b"b", 10, 1).status_code == 423
    assert send(client, b"b", 10, 1).json() == {"offset": 2}
