"""Command sets, held against pynetdicom's and against what peers get wrong."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode as pynetdicom_decode
from pynetdicom.dsutils import encode as pynetdicom_encode

from hozi.core.dimse import command as commands
from hozi.core.dimse.command import Command, decode, encode
from hozi.core.dimse.failures import ProtocolError
from tests.core.dimse.listening import COMMITMENT, COMMITMENT_INSTANCE, CT_IMAGE, STUDY_MOVE

STORE = Command(
    commands.C_STORE_RQ,
    message_id=7,
    affected_sop_class=CT_IMAGE,
    affected_sop_instance="1.2.3.4.5",
    priority=commands.HIGH_PRIORITY,
    has_dataset=True,
    move_originator_ae="VIEWER",
    move_originator_message_id=3,
)


def element(number: int, value: bytes, group: int = 0, length: int | None = None) -> bytes:
    return struct.pack("<HHI", group, number, len(value) if length is None else length) + value


def test_it_writes_command_sets_that_pydicom_reads_the_same() -> None:
    raw = encode(STORE)
    read = pynetdicom_decode(BytesIO(raw), True, True)
    assert read.CommandGroupLength == len(raw) - 12
    assert read.CommandField == 0x0001
    assert read.MessageID == 7
    assert read.Priority == 1
    assert read.AffectedSOPClassUID == CT_IMAGE
    assert read.AffectedSOPInstanceUID == "1.2.3.4.5"
    assert read.MoveOriginatorApplicationEntityTitle == "VIEWER"
    assert read.MoveOriginatorMessageID == 3
    assert read.CommandDataSetType != 0x0101
    assert [element.tag for element in read] == sorted(element.tag for element in read)
    assert "Status" not in read
    assert "MessageIDBeingRespondedTo" not in read


def test_it_reads_command_sets_that_pydicom_writes() -> None:
    written = Dataset()
    written.AffectedSOPClassUID = STUDY_MOVE
    written.CommandField = 0x8021
    written.MessageIDBeingRespondedTo = 9
    written.CommandDataSetType = 0x0101
    written.Status = 0xFF00
    written.OffendingElement = [0x00100010, 0x00080050]
    written.ErrorComment = "no such study"
    written.NumberOfRemainingSuboperations = 5
    written.NumberOfCompletedSuboperations = 1
    written.NumberOfFailedSuboperations = 0
    written.NumberOfWarningSuboperations = 2
    read = decode(pynetdicom_encode(written, True, True) or b"")
    assert read == Command(
        commands.C_MOVE_RSP,
        message_id_responded_to=9,
        affected_sop_class=STUDY_MOVE,
        status=0xFF00,
        offending_elements=(0x00100010, 0x00080050),
        error_comment="no such study",
        remaining=5,
        completed=1,
        failed=0,
        warning=2,
    )
    assert read.is_response


NUMBER = st.integers(0, 0xFFFF)
UID = st.from_regex(r"[1-9][0-9.]{0,62}", fullmatch=True)
TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\"), max_size=16)


@given(
    st.builds(
        Command,
        st.sampled_from([commands.C_STORE_RQ, commands.C_FIND_RQ, commands.C_GET_RQ, commands.C_MOVE_RQ]),
        message_id=NUMBER,
        affected_sop_class=UID,
        affected_sop_instance=UID,
        priority=st.integers(0, 2),
        has_dataset=st.booleans(),
        move_destination=TEXT,
        move_originator_ae=TEXT,
        move_originator_message_id=NUMBER,
    )
    | st.builds(
        Command,
        st.sampled_from([commands.N_ACTION_RSP, commands.C_MOVE_RSP, commands.N_EVENT_REPORT_RSP]),
        message_id_responded_to=NUMBER,
        status=NUMBER,
        remaining=st.none() | NUMBER,
        failed=st.none() | NUMBER,
        error_comment=TEXT,
        error_id=st.none() | NUMBER,
        offending_elements=st.lists(st.integers(0, 0xFFFFFFFF), max_size=4).map(tuple),
        action_type=st.none() | NUMBER,
        event_type=st.none() | NUMBER,
    )
)
def test_it_reads_back_what_it_writes(command: Command) -> None:
    raw = encode(command)
    assert len(raw) % 2 == 0
    assert decode(raw) == command


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: struct.pack("<HHII", 0, 0, 4, 1) + raw[12:],
        lambda raw: struct.pack("<HHII", 0, 0, 4, 0xFFFFFFFF) + raw[12:],
        lambda raw: raw[12:],
        lambda raw: raw + element(0x0001, b"\x10\0\0\0") + element(0x4010, b"private"),
        lambda raw: raw + element(0x0010, b"ISO_IR 100", group=8),
        lambda raw: element(0x0200, b"old initiator") + raw,
    ],
    ids=["group length too small", "huge", "missing", "retired elements", "other group", "out of order"],
)
def test_it_tolerates_wrong_group_lengths_and_extra_elements_e13(change) -> None:  # type: ignore[no-untyped-def]
    assert decode(change(encode(STORE))) == STORE


def test_it_takes_values_of_a_wrong_length_for_absent() -> None:
    raw = encode(STORE) + element(0x1031, b"")
    assert decode(raw).move_originator_message_id == 3
    raw = element(0x0100, b"\x30\0") + element(0x0110, b"\1\0\0\0") + element(0x0800, b"")
    assert decode(raw) == Command(commands.C_ECHO_RQ, message_id=1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0\0",
        element(0x0110, b"\1\0"),
        element(0x0100, b"\1\0"),
        element(0x0100, b"\1\x80") + element(0x0120, b"\1\0"),
        element(0x0100, b"\1\x80") + element(0x0900, b"\0\0"),
        element(0x0100, b"\1\0") + element(0x0110, b"\1\0", length=3),
        element(0x0100, b"\1\0") + element(0x0110, b"\1\0", length=0xFFFFFFFF),
    ],
    ids=["empty", "cut", "no field", "no id", "no status", "no responded id", "too long", "undefined length"],
)
def test_it_refuses_what_says_nothing_or_lies(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(raw)


@given(st.binary(max_size=300))
def test_it_reads_or_refuses_any_bytes(raw: bytes) -> None:
    for data in (raw, element(0x0100, b"\1\0") + element(0x0110, b"\1\0") + raw):
        try:
            decode(data)
        except ProtocolError:
            pass


def test_it_hands_hostile_uids_on_as_they_are() -> None:
    read = decode(encode(STORE)[: -0 or None] + element(0x1000, b"../../etc/passwd\0") + element(0x0002, b"\xff1"))
    assert read.affected_sop_instance == "../../etc/passwd"
    assert read.affected_sop_class == "\\xff1"


def test_it_cuts_comments_to_what_the_standard_allows() -> None:
    response = Command(commands.C_STORE_RSP, status=0xC000, error_comment="a\\b\né" + "x" * 100)
    comment = decode(encode(response)).error_comment
    assert comment == "a/b ?" + "x" * 59


def test_it_writes_no_number_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="remaining"):
        encode(Command(commands.C_MOVE_RSP, remaining=70000))


def test_it_writes_an_action_for_storage_commitment_as_pydicom_reads_it() -> None:
    command = Command(
        commands.N_ACTION_RQ,
        message_id=1,
        requested_sop_class=COMMITMENT,
        requested_sop_instance=COMMITMENT_INSTANCE,
        action_type=1,
        has_dataset=True,
    )
    read = pynetdicom_decode(BytesIO(encode(command)), True, True)
    assert (read.RequestedSOPClassUID, read.RequestedSOPInstanceUID) == (COMMITMENT, COMMITMENT_INSTANCE)
    assert read.ActionTypeID == 1
    assert "Priority" not in read
