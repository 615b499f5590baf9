"""Metadata over DICOMweb: JSON and XML, compressed or not, and not again for who has it."""

from __future__ import annotations

import gzip
import json
from email.parser import BytesParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from hozi.archive import give, metadata_copies
from hozi.core.dicom.xml_model import NAMESPACE
from tests.archive.conftest import Counter
from tests.archive.conftest import counter as counter
from tests.archive.test_metadata import SERIES, STUDY, bring, slices
from tests.doors.dicomweb.conftest import Call, Caller

pytestmark = [pytest.mark.django_db(transaction=True)]

ONE = f"/studies/{STUDY}/series/{SERIES}"
OBJECT = f"{ONE}/instances/{SERIES}.1"


@pytest.fixture
def reader(counter: Counter, calls: Call) -> Caller:
    """A radiologist's program; the archive has a series of two slices."""
    metadata_copies.forget()
    give.NOTED.forget()
    bring(counter, *slices([1, 2]))
    return calls("radiologist")


def uids(objects: list[dict[str, Any]]) -> list[str]:
    return [one["00080018"]["Value"][0] for one in objects]


def test_every_level_is_given_packed_or_not(reader: Caller) -> None:
    for path, count in ((f"/studies/{STUDY}", 2), (ONE, 2), (OBJECT, 1)):
        plain = reader.get(f"{path}/metadata")
        packed = reader.get(f"{path}/metadata", accept_encoding="br, gzip")
        assert plain.headers["content-type"] == packed.headers["content-type"] == "application/dicom+json"
        assert plain.headers["vary"] == "Accept, Accept-Encoding"
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        assert uids(plain.json()) == [f"{SERIES}.{number}" for number in (1, 2)][:count]
        uri = plain.json()[0]["7FE00010"]["BulkDataURI"]
        assert uri == f"http://pacs.example/dicom-web{OBJECT}/bulkdata/7FE00010"
        got = reader.get(uri.removeprefix("http://pacs.example/dicom-web"), accept="application/octet-stream")
        assert got.status == 200


def test_who_has_it_is_told_so_for_the_form_that_they_have(reader: Caller) -> None:
    for path in (f"/studies/{STUDY}", ONE, OBJECT):
        packed = reader.get(f"{path}/metadata", accept_encoding="gzip")
        tag = packed.headers["etag"]
        same = reader.get(f"{path}/metadata", accept_encoding="gzip", if_none_match=f'"other", {tag}')
        assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
        assert reader.get(f"{path}/metadata", if_none_match=tag).status == 200


def test_it_is_given_as_xml_in_parts(reader: Caller) -> None:
    accept = 'multipart/related; type="application/dicom+xml"'
    got = reader.get(f"{ONE}/metadata", accept=accept)
    message = BytesParser().parsebytes(f"Content-Type: {got.headers['content-type']}\r\n\r\n".encode() + got.body)
    found = []
    for part in message.walk():
        if part.get_content_type() == "application/dicom+xml":
            root = ET.fromstring(part.get_payload(decode=True))
            found += [one[0].text for one in root if one.get("keyword") == "SOPInstanceUID"]
    assert root.tag == f"{{{NAMESPACE}}}NativeDicomModel"
    assert found == [f"{SERIES}.1", f"{SERIES}.2"]


@pytest.mark.parametrize(
    ("accept", "status", "kind"),
    [
        ("*/*", 200, "application/dicom+json"),
        ("application/json", 200, "application/json"),
        ("application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*", 200, ""),
        ("application/dicom+xml;q=0.5, application/dicom+json;q=0.9", 200, "application/dicom+json"),
        ("image/jpeg", 406, ""),
    ],
)
def test_what_the_client_takes_is_heard(reader: Caller, accept: str, status: int, kind: str) -> None:
    got = reader.get(f"{ONE}/metadata", accept=accept)
    assert got.status == status, got.body
    if kind:
        assert got.headers["content-type"] == kind
        assert len(json.loads(got.body)) == 2


def test_what_is_not_there_and_what_is_not_yours_are_answered_alike(reader: Caller, calls: Call) -> None:
    stranger = calls("radiologist", "ELSEWHERE", username="stranger")
    for path in (f"/studies/{STUDY}", ONE, OBJECT):
        theirs = stranger.get(f"{path}/metadata", if_none_match=reader.get(f"{path}/metadata").headers["etag"])
        nothing = reader.get(f"{path.replace(STUDY, '1.2.3')}/metadata")
        assert theirs.status == nothing.status == 404
        assert theirs.body == nothing.body


def test_another_series_study_is_not_a_way_to_it(reader: Caller) -> None:
    assert reader.get(f"/studies/1.2.3/series/{SERIES}/metadata").status == 404
    assert reader.get(f"/studies/{STUDY}/series/1.2.3/instances/{SERIES}.1/metadata").status == 404
