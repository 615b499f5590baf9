"""QIDO-RS finds what is asked for, gives what the standard wants, and says what was wrong or left out."""

from __future__ import annotations

import gzip
import time
from email import message_from_bytes
from typing import Any
from xml.etree import ElementTree

import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from hozi.audit.models import Event
from hozi.choices import answers
from hozi.core.dicom.keys import KEYS, tag_of
from tests.archive.stock import keep
from tests.archive_running import STUDY_ROOT, RunningArchive, identifier
from tests.doors.dicomweb.conftest import Answer, Call, Caller

pytestmark = [pytest.mark.django_db, pytest.mark.database]

REQUEST = tag_of("RequestedProcedureID")
STEP = tag_of("ScheduledProcedureStepID")


def element(answer: dict[str, Any], keyword: str) -> Any:
    """The first value of an element; None when it has none."""
    return (answer[f"{tag_for_keyword(keyword):08X}"].get("Value") or [None])[0]


def found(answer: Answer, keyword: str = "StudyInstanceUID") -> list[Any]:
    """The value of that element of each result."""
    assert answer.status in (200, 204), answer.body
    return [element(one, keyword) for one in answer.json()] if answer.body else []


def stock() -> None:
    """Four studies of three patients; the first with two series, of which one has two instances."""
    one = {"StudyInstanceUID": "1.1.1", "PatientID": "P1", "IssuerOfPatientID": "I1"}
    keep(
        1,
        one
        | {
            "PatientName": "Banda^Tariro=坂田",
            "PatientBirthDate": "19710304",
            "PatientSex": "F",
            "StudyDate": "20260301",
            "StudyTime": "101500",
            "StudyDescription": "Chest, p.a.",
            "ReferringPhysicianName": "Moyo^Nyasha",
            "StudyID": "77",
            "SeriesNumber": "2",
            "InstanceNumber": "1",
            "Rows": "512",
            "Columns": "256",
            "RequestAttributesSequence": [{REQUEST: "R1", STEP: "S1"}, {REQUEST: "R2", STEP: "S2"}],
        },
    )
    keep(10, one | {"SeriesInstanceUID": "1.2.1", "SOPInstanceUID": "1.3.1.2", "InstanceNumber": "2"})
    keep(11, one | {"SeriesInstanceUID": "1.2.1.9", "SOPInstanceUID": "1.3.1.3", "Modality": "SR"})
    keep(2, {"PatientName": "Bhunu^Chipo", "StudyDate": "20260302", "StudyTime": "0800", "Modality": "CR"})
    keep(3, {"PatientName": "Dube_100%", "StudyDate": "20260303", "AccessionNumber": "A[3]"})
    keep(4, {"PatientName": "Dubex100y", "StudyDate": "20260303", "PatientID": "P3", "IssuerOfPatientID": "ISSUER3"})


@pytest.fixture
def caller(calls: Call) -> Caller:
    stock()
    return calls("radiologist")


def test_studies_have_what_the_standard_wants(caller: Caller) -> None:
    answer = caller.get("/studies", {"PatientID": "P1"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert answer.headers["cache-control"] == "private, no-cache"
    [study] = answer.json()
    assert list(study) == sorted(study)
    assert {name: one.get("Value") for name, one in study.items()} == {
        "00080005": ["ISO_IR 192"],
        "00080020": ["20260301"],
        "00080030": ["101500"],
        "00080050": ["A1"],
        "00080054": ["HOZI"],
        "00080056": ["ONLINE"],
        "00080061": ["CT", "SR"],
        "00080090": [{"Alphabetic": "Moyo^Nyasha"}],
        "00081030": ["Chest, p.a."],
        "00081190": ["http://pacs.example/dicom-web/studies/1.1.1"],
        "00100010": [{"Alphabetic": "Banda^Tariro", "Ideographic": "坂田"}],
        "00100020": ["P1"],
        "00100021": ["I1"],
        "00100030": ["19710304"],
        "00100040": ["F"],
        "0020000D": ["1.1.1"],
        "00200010": ["77"],
        "00201206": [1],
        "00201208": [1],
    }
    assert study["00081190"]["vr"] == "UR" and study["00201206"]["vr"] == "IS"


def test_series_and_instances_have_what_the_standard_wants(caller: Caller) -> None:
    [one, other] = caller.get("/studies/1.1.1/series").json()
    assert (element(one, "SeriesInstanceUID"), element(other, "Modality")) == ("1.2.1", "SR")
    assert element(one, "RetrieveURL") == "http://pacs.example/dicom-web/studies/1.1.1/series/1.2.1"
    assert element(one, "SeriesNumber") == 2
    for keyword in ("SeriesDescription", "NumberOfSeriesRelatedInstances", "PerformedProcedureStepStartDate"):
        assert f"{tag_for_keyword(keyword):08X}" in one
    assert [item["00401001"]["Value"] for item in one["00400275"]["Value"]] == [["R1"], ["R2"]]
    # Whose study it is, the address says already.
    assert "00100010" not in one
    instances = caller.get("/studies/1.1.1/series/1.2.1/instances").json()
    assert [element(instance, "InstanceNumber") for instance in instances] == [1, 2]
    [first, second] = instances
    url = "http://pacs.example/dicom-web/studies/1.1.1/series/1.2.1/instances/1.3.1"
    assert (element(first, "RetrieveURL"), element(first, "InstanceAvailability")) == (url, "ONLINE")
    assert (element(first, "Rows"), element(first, "Columns"), element(second, "Rows")) == (512, 256, None)
    assert element(first, "SOPClassUID")


def test_without_a_study_in_the_address_each_says_whose_it_is(caller: Caller) -> None:
    everything = caller.get("/series").json()
    assert len(everything) == 5
    assert {element(one, "PatientID") for one in everything} == {"P1", "P2", "P3"}
    assert element(everything[0], "ModalitiesInStudy")
    instances = caller.get("/instances", {"PatientID": "P1", "Modality": "SR"}).json()
    assert [element(one, "SOPInstanceUID") for one in instances] == ["1.3.1.3"]
    assert (element(instances[0], "PatientID"), element(instances[0], "Modality")) == ("P1", "SR")
    assert found(caller.get("/studies/1.1.1/instances"), "SeriesInstanceUID") == ["1.2.1", "1.2.1", "1.2.1.9"]


@pytest.mark.parametrize(
    ("query", "studies"),
    [
        ("PatientID=P1", ["1.1.1"]),
        ("00100020=P1", ["1.1.1"]),
        ("patient_id=P1", 400),
        ("PatientName=banda*", ["1.1.1"]),
        ("PatientName=*", ["1.1.4", "1.1.3", "1.1.2", "1.1.1"]),
        ("PatientName=Dube_100%25", ["1.1.3"]),
        ("AccessionNumber=A[3]", ["1.1.3"]),
        ("StudyDate=20260302-", ["1.1.4", "1.1.3", "1.1.2"]),
        ("StudyDate=-20260302", ["1.1.2", "1.1.1"]),
        ("StudyDate=20260301-20260302&StudyTime=0900-0700", ["1.1.1"]),
        ("StudyDate=*", ["1.1.4", "1.1.3", "1.1.2", "1.1.1"]),
        ("ModalitiesInStudy=SR", ["1.1.1"]),
        ("ModalitiesInStudy=SR,CR", ["1.1.2", "1.1.1"]),
        ("ModalitiesInStudy=SR%5CCR", ["1.1.2", "1.1.1"]),
        ("StudyInstanceUID=1.1.1,1.1.3", ["1.1.3", "1.1.1"]),
        ("StudyInstanceUID=" + ",".join(f"1.1.{n}" for n in range(3, 60)), ["1.1.4", "1.1.3"]),
        ("ReferringPhysicianName=moyo*&StudyID=77", ["1.1.1"]),
        ("PatientID=NOBODY", []),
        ("limit=2", ["1.1.4", "1.1.3"]),
        ("limit=2&offset=1", ["1.1.3", "1.1.2"]),
        ("limit=0", []),
        ("offset=4", []),
        ("StudyDate=20260301-20260303&limit=1&offset=2", ["1.1.2"]),
        ("StudyDescription=*chest*&offset=0", []),
        ("StudyDescription=*hest*&offset=0", ["1.1.1"]),
        ("StudyDescription=*&PatientName=d*&offset=1", ["1.1.3"]),
    ],
)
def test_studies_are_found_by_their_keys(caller: Caller, query: str, studies: Any) -> None:
    answer = caller.get("/studies", query)
    if isinstance(studies, int):
        assert answer.status == studies
        return
    assert found(answer) == studies
    assert answer.status == (200 if studies else 204)


def test_series_are_found_by_what_stands_in_their_sequences(caller: Caller) -> None:
    for query, series in (
        ("RequestAttributesSequence.RequestedProcedureID=R2", ["1.2.1"]),
        ("00400275.00401001=R2&00400275.00400009=S2", ["1.2.1"]),
        ("RequestAttributesSequence.RequestedProcedureID=R2&00400275.00400009=S1", []),
    ):
        assert found(caller.get("/series", query), "SeriesInstanceUID") == series
    assert caller.get("/series", "RequestAttributesSequence=R2").status == 400
    assert len(found(caller.get("/series", "RequestAttributesSequence="))) == 5


def test_fuzzy_matching_hears_how_a_name_sounds(caller: Caller) -> None:
    assert found(caller.get("/studies", "PatientName=Bhunu+Chippo&fuzzymatching=true")) == ["1.1.2"]
    assert found(caller.get("/studies", "PatientName=Bhunu+Chippo&fuzzymatching=false")) == []


def test_what_is_to_be_included_is_and_what_nobody_knows_is_refused(caller: Caller) -> None:
    plain = caller.get("/studies/1.1.1/series").json()[0]
    assert "00180015" not in plain
    for query in (
        "includefield=BodyPartExamined,00081030&includefield=PatientName",
        "includefield=00180015&includefield=StudyDescription,PatientName",
        "includefield=all",
        "includefield=00080060,all",
    ):
        more = caller.get("/studies/1.1.1/series", query).json()[0]
        assert {"00180015", "00081030", "00100010"} <= set(more), query
    # What OHIF's list of studies sends: one of them belongs to series.
    listed = caller.get("/studies", "limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060")
    assert len(listed.json()) == 4
    refused = caller.get("/studies", "includefield=PatientNane")
    assert (refused.status, refused.json()["field"]) == (400, "includefield")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("PatientNane=x", "PatientNane"),
        ("x%00y=1", "x?y"),
        ("=1", ""),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=1e3", "offset"),
        ("offset=99999999999", "offset"),
        ("fuzzymatching=yes", "fuzzymatching"),
        ("PatientID=1&00100020=2", "00100020"),
        ("StudyInstanceUID=1.1.2", "StudyInstanceUID"),
        ("RequestAttributesSequence.RequestedProcedureID=1&00400275.00401001=2", "00400275.00401001"),
    ],
)
def test_a_wrong_parameter_is_named(caller: Caller, query: str, field: str) -> None:
    answer = caller.get("/studies/1.1.1/series", query)
    assert answer.status == 400, answer.body
    assert answer.json().get("field", "") == field


def test_a_key_that_the_archive_does_not_match_is_told_and_not_hidden(caller: Caller) -> None:
    answer = caller.get("/studies", "PatientID=P1&SliceThickness=5&Modality=CT&00091001=x")
    assert found(answer) == ["1.1.1"]
    assert answer.headers["warning"].startswith("299 http://pacs.example/dicom-web ")
    for name in ("SliceThickness", "Modality", "00091001"):
        assert name in answer.headers["warning"]


def test_when_there_is_more_than_was_given_it_says_so(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = caller.get("/studies", "limit=3")
    assert "offset=3" in cut.headers["warning"]
    assert "warning" not in caller.get("/studies", "limit=4").headers
    monkeypatch.setattr(answers, "max_results", lambda: 2)
    cut = caller.get("/studies", "limit=1000&offset=1")
    assert len(found(cut)) == 2 and "offset=3" in cut.headers["warning"]


def test_it_answers_in_the_form_that_is_asked_for(caller: Caller) -> None:
    for accept, kind in (
        ("*/*", "application/dicom+json"),
        ("application/json", "application/json"),
        ("application/dicom+json, application/json;q=0.5", "application/dicom+json"),
        ("application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*",) * 1
        + ("application/dicom+json",),
    ):
        assert caller.get("/studies", accept=accept).headers["content-type"] == kind
    assert caller.get("/studies", "accept=application/json", accept="image/jpeg").status == 200
    refused = caller.get("/studies", accept="image/jpeg")
    assert refused.status == 406
    assert "application/dicom+json" in refused.json()["detail"]


def test_it_says_the_same_in_xml(caller: Caller) -> None:
    answer = caller.get("/studies", "limit=2", accept='multipart/related; type="application/dicom+xml"')
    assert answer.headers["content-type"].startswith('multipart/related; type="application/dicom+xml"; boundary=')
    told = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode() + answer.body
    parts = message_from_bytes(told).get_payload()
    assert [part.get_content_type() for part in parts] == ["application/dicom+xml"] * 2  # type: ignore[union-attr]
    [first, second] = [ElementTree.fromstring(part.get_payload(decode=True)) for part in parts]  # type: ignore
    for model, uid in ((first, "1.1.4"), (second, "1.1.3")):
        values = {one.get("keyword"): one.findtext("{*}Value") for one in model}
        assert (values["StudyInstanceUID"], values["ModalitiesInStudy"]) == (uid, "CT")
        assert values["RetrieveURL"] == f"http://pacs.example/dicom-web/studies/{uid}"


def test_a_long_answer_is_packed_for_whoever_can_unpack_it(caller: Caller) -> None:
    for number in range(20, 40):
        keep(number, {"PatientName": f"Sibanda^{number}"})
    plain = caller.get("/studies")
    packed = caller.get("/studies", accept_encoding="br, gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 4


def test_what_is_out_of_reach_is_not_found_at_any_resource(calls: Call, hospitals: None) -> None:
    stock()
    keep(50, {"PatientID": "ELSE"}, facility="ELSEWHERE")
    stranger = calls("radiologist", "ELSEWHERE")
    for path in ("/studies", "/series", "/instances"):
        assert found(stranger.get(path), "PatientID") == ["ELSE"]
    for path in ("/studies/1.1.1/series", "/studies/1.1.1/instances", "/studies/1.1.1/series/1.2.1/instances"):
        theirs, nobodys = stranger.get(path), stranger.get(path.replace("1.1.1", "9.9.9"))
        assert (theirs.status, theirs.body) == (nobodys.status, nobodys.body) == (204, b"")
    assert found(stranger.get("/studies", "StudyInstanceUID=1.1.1,1.1.50")) == ["1.1.50"]


def test_a_query_stands_in_the_audit(calls: Call, hospitals: None) -> None:
    stock()
    calls("radiologist", "GRANARY").get("/studies", "PatientID=P1&PatientName=*&limit=5")
    event = Event.objects.get(code="110112")
    assert (event.actor, event.facility, event.action, event.outcome) == ("rradiologist.granary", "GRANARY", "E", 0)
    assert event.detail == {"level": "STUDY", "model": "QIDO-RS", "keys": {"00100020": "P1"}, "matches": 1}
    assert event.address == "127.0.0.1"


def test_a24_what_means_something_to_sql_is_matched_as_it_stands(caller: Caller) -> None:
    hostile = (
        "' OR 1=1 --",
        '"; DROP TABLE x',
        "%",
        "_",
        "\\",
        "\x00",
        "[a-z]",
        "?;",
        "{}",
        "$1",
        "%s",
        "\U0001f600",
    )
    every = [key.keyword for key in KEYS if key.usage != "-" and key.vr != "SQ" and key.source == "dataset"]
    for number, value in enumerate(hostile):
        for keyword in every[number :: len(hostile)]:
            answer = caller.get("/instances", {keyword: value})
            assert answer.status in (200, 204), (keyword, value, answer.body)
    assert found(caller.get("/studies", {"PatientName": "Dube%"})) == []
    assert len(found(caller.get("/studies"))) == 4


def test_a25_a_hostile_pattern_costs_little(caller: Caller) -> None:
    begun = time.monotonic()
    for pattern in ("*a" * 500, "*" * 6000, "?" * 1000, "*" + "%_" * 300):
        for keyword in ("PatientName", "StudyDescription", "PatientID"):
            assert caller.get("/studies", {keyword: pattern}).status in (200, 204, 400)
    assert caller.get("/studies", {"PatientID": "x" * 1000}).status == 204
    assert caller.get("/studies", {"PatientID": "\\".join(f"{n}*" for n in range(200))}).status == 400
    assert time.monotonic() - begun < 20


def test_a32_a_hostile_accept_header_costs_little(caller: Caller) -> None:
    begun = time.monotonic()
    for header in ("*/*;q=" * 5000, "a/b," * 8000, '"' * 20000, "multipart/related;" * 2000):
        assert caller.get("/studies", accept=header).status in (200, 406)
    assert time.monotonic() - begun < 10


SAME = (
    ("STUDY", {"PatientName": "Banda*"}),
    ("STUDY", {"PatientName": "*100*"}),
    ("STUDY", {"StudyDate": "20260301-20260302"}),
    ("STUDY", {"ModalitiesInStudy": "CT"}),
    ("STUDY", {"ReferringPhysicianName": "", "StudyDescription": "Chest*"}),
    ("STUDY", {"StudyTime": "0800-0930"}),
    ("SERIES", {"StudyInstanceUID": "1.1.1", "Modality": "SR"}),
    ("SERIES", {"SeriesNumber": "002"}),
    ("IMAGE", {"PatientID": "P1", "InstanceNumber": "2"}),
    ("IMAGE", {"Rows": 512}),
)


def test_it_finds_what_c_find_finds_and_says_the_same_of_it(archive: RunningArchive, calls: Call) -> None:
    stock()
    scanner, caller = archive.admit("CT1", sees_all=True), calls("radiologist")
    for level, keys in SAME:
        resource = {"STUDY": "/studies", "SERIES": "/series", "IMAGE": "/instances"}[level]
        told = caller.get(resource, keys)
        mine = [Dataset.from_json(one) for one in told.json()] if told.body else []
        asked = identifier(level, SpecificCharacterSet="ISO_IR 192", **keys)
        for each in mine[0]:
            if each.keyword != "RetrieveURL" and each.tag not in asked:
                asked.add_new(each.tag, each.VR, [] if each.VR == "SQ" else None)
        _, theirs = scanner.ask(asked, root=STUDY_ROOT, extended=b"\x01\x01\x00")
        assert len(mine) == len(theirs) > 0
        for one, other in zip(mine, theirs, strict=True):
            del one.RetrieveURL, one.SpecificCharacterSet  # JSON is in UTF-8 always
            for each in one:
                there = other[each.tag].value if each.tag in other else None
                assert (each.value or None) == (there or None), (level, keys, each.keyword)
