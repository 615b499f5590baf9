"""The audit leaves as a table or as the standard's messages, harmless, streamed, and never unrecorded."""

from __future__ import annotations

import base64
import csv
import io
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hozi.audit import export
from hozi.audit.message import message
from hozi.audit.models import Event
from hozi.audit.record import Code, Entry, Outcome, Type, record, record_many
from hozi.audit.search import Line, Question
from hozi.core.errors import Refused
from tests.audit.conftest import entry
from tests.audit.schema import faults

NOON = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

codes = st.sampled_from([*Code, *["999"]]).map(str)
types = st.sampled_from(["", *Type]).map(str)
texts = st.text(max_size=12) | st.sampled_from(
    ["=1+1", "@x", "\x00", "]]>", "<a b='c'>&", "\ud800", "a\r\nb", "  two  "]
)
any_lines = st.builds(
    Line,
    id=st.integers(1, 2**62),
    at=st.datetimes(min_value=datetime(1900, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
    code=codes,
    type=types,
    action=st.sampled_from("CRUDE"),
    outcome=st.sampled_from([0, 4, 8, 12]),
    actor=texts,
    address=texts | st.just("192.0.2.1"),
    issuer=texts,
    patient_id=texts,
    study_uid=texts,
    object_uid=texts,
    facility=texts,
    detail=st.dictionaries(texts, texts | st.integers() | st.none() | st.lists(texts, max_size=2), max_size=3)
    | st.fixed_dictionaries({"reason": texts, "receiver": texts, "model": texts}),
)


def read(form: export.Form, question: Question = Question(), **more: Any) -> bytes:  # noqa: B008 - frozen
    return b"".join(export.export(question, form, actor="dpo", **more))


# XML -----------------------------------------------------------------------------------------------


@given(any_lines)
@settings(max_examples=400, deadline=None)
def test_every_message_follows_the_schema_of_the_standard_whatever_is_in_it(line: Line) -> None:
    assert faults(ElementTree.fromstring(message(line))) == []


def test_the_check_against_the_schema_finds_what_is_wrong() -> None:
    line = Line(1, NOON, "110103", "", "R", 0, "a", "", "", "", "", "", "", {})
    good = message(line)
    for wrong in (
        good.replace('EventActionCode="R"', 'EventActionCode="X"'),
        good.replace('csd-code="110103"', ""),
        good.replace("<ActiveParticipant", "<Other"),
        good.replace("<AuditSourceIdentification", "<EventIdentification/><AuditSourceIdentification"),
        good.replace("UserIsRequestor", "Requestor"),
    ):
        try:
            root = ElementTree.fromstring(wrong)
        except ElementTree.ParseError:
            continue
        assert wrong == good or faults(root), wrong


@pytest.mark.django_db
def test_a_message_says_what_the_row_says() -> None:
    record(
        Entry(
            Code.INSTANCES_TRANSFERRED, "C", "CT1", Outcome.MINOR_FAILURE, address="192.0.2.7", issuer="GRANARY",
            patient_id="P&1", study_uid="1.2.3", object_uid="1.2.3.4", facility="MAIN", at=NOON,
            detail={"reason": "no room <on> the disk"},
        ),
        Entry(Code.SECURITY_ALERT, "U", "alois", detail={"type": Type.NETWORK_CONFIGURATION, "device": "CT1"}, at=NOON),
    )  # fmt: skip
    alert, transferred = ElementTree.fromstring(read("xml"))[:2]
    event = transferred.find("EventIdentification")
    assert event is not None and event.attrib == {
        "EventActionCode": "C",
        "EventDateTime": "2026-11-23T10:00:00.000Z",
        "EventOutcomeIndicator": "4",
    }
    assert event[0].attrib == {
        "csd-code": "110104",
        "codeSystemName": "DCM",
        "originalText": "DICOM Instances Transferred",
    }
    assert event[1].text == "no room <on> the disk"
    people = [
        (one.get("UserID"), one.get("UserIsRequestor"), one.get("NetworkAccessPointID"), one[0].get("csd-code"))
        for one in transferred.iter("ActiveParticipant")
    ]
    assert people == [("CT1", "true", "192.0.2.7", "110153"), ("HOZI", "false", None, "110152")]
    source = transferred.find("AuditSourceIdentification")
    assert source is not None and source.attrib == {"AuditEnterpriseSiteID": "MAIN", "AuditSourceID": "HOZI"}
    objects = [one.get("ParticipantObjectID") for one in transferred.iter("ParticipantObjectIdentification")]
    first = Event.objects.order_by("pk")[0].pk
    assert objects == ["1.2.3", "P&1^^^GRANARY", f"urn:hozi:audit:{first}"]
    assert [one.get("UID") for one in transferred.iter("Instance")] == ["1.2.3.4"]
    assert [one.get("csd-code") for one in alert.iter("EventTypeCode")] == ["110128"]
    details = {one.get("type"): base64.b64decode(one.get("value", "")) for one in alert.iter("ParticipantObjectDetail")}
    assert details["device"] == b"CT1"


@pytest.mark.django_db
def test_the_whole_document_is_well_formed_and_every_message_in_it_valid() -> None:
    record(*(entry(str(number)) for number in range(5)))
    root = ElementTree.fromstring(read("xml"))
    assert [faults(one) for one in root] == [[]] * 5


# CSV -----------------------------------------------------------------------------------------------


@given(texts | st.text(alphabet="=+-@\t\r\n\"',; a\x1b\u202e", max_size=6))
@settings(max_examples=400, deadline=None)
def test_no_cell_is_a_formula_or_leaves_its_cell(text: str) -> None:
    written = f"{export.cell(text)},next\r\n"
    [[found, after]] = csv.reader(io.StringIO(written, newline=""))
    assert after == "next"
    assert not found.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert found.isprintable()
    if text.isprintable() and not text.startswith(("=", "+", "-", "@")):
        assert found == text


@pytest.mark.django_db
def test_a_table_has_every_row_newest_first_in_the_time_of_the_hospital() -> None:
    record(Entry(Code.INSTANCES_ACCESSED, "R", "=cmd|' /C calc'!A0", patient_id='<script>"', at=NOON))
    record(Entry(Code.QUERY, "E", "Ünï", at=NOON + timedelta(seconds=1)))
    content = read("csv")
    assert content.startswith("\ufeff".encode())
    head, first, second = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert head[:4] == ["row", "time", "what", "code"]
    assert (first[1], first[2], first[7]) == ("2026-11-23 12:00:01.000+02:00", "Searched", "Ünï")
    assert (second[7], second[10]) == ("'=cmd|' /C calc'!A0", '<script>"')


# Both ----------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["csv", "xml"])
def test_an_export_is_recorded_before_its_first_byte_leaves(form: export.Form) -> None:
    record(entry("one"))
    pieces = export.export(Question(patient_id="Pone"), form, actor="dpo", address="192.0.2.1", facilities={"GRANARY"})
    told = Event.objects.get(code=Code.EXPORT)
    assert (told.action, told.actor, told.address, told.patient_id) == ("R", "dpo", "192.0.2.1", "Pone")
    assert told.detail["form"] == form
    content = b"".join(pieces)
    assert b"Rumbi one" in content
    assert b"dpo" not in content, "what came later is in it"


@pytest.mark.django_db
def test_rows_of_other_facilities_do_not_leave() -> None:
    record(entry("ours"), Entry(Code.QUERY, "E", "theirs", facility="ELSEWHERE"))
    content = read("csv", facilities={"GRANARY"})
    assert b"ours" in content and b"theirs" not in content


@pytest.mark.django_db
def test_an_export_of_many_rows_streams() -> None:
    record_many(entry(str(number)) for number in range(2500))
    assert read("csv").count(b"\r\n") == 2501
    tracemalloc.start()
    try:
        size = sum(map(len, export.export(Question(), "xml", actor="dpo")))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 3_000_000
    assert peak < size, "the whole file was in memory"


@pytest.mark.django_db
def test_a_question_that_cannot_be_is_refused_before_anything_leaves() -> None:
    with pytest.raises(Refused):
        export.export(Question(kind="nonsense"), "csv", actor="dpo")
    assert not Event.objects.exists()
