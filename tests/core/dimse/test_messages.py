"""Messages that come in and go out: broken rules (A10), responses, and cancels in the middle of an operation."""

from __future__ import annotations

import struct
import threading
import time

import pytest

from hozi.core.dimse import command as commands
from hozi.core.dimse import pdu, status
from hozi.core.dimse.association import Aborted, Association, Lost, ProtocolError
from hozi.core.dimse.command import Command
from hozi.core.errors import Unreadable
from tests.core.dimse.listening import (
    CT_IMAGE,
    RELEASE_RQ,
    STUDY_FIND,
    STUDY_GET,
    Raw,
    echo_command,
    last_word,
    listening,
    p_data,
    pdv,
    receive_all,
    served,
    store_command,
    store_message,
)

# Broken rules (A10)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (p_data(pdv(9, 3, echo_command())), 6),
        (p_data(pdv(2, 3, echo_command())), 6),
        (p_data(pdv(1, 2, b"dataset")), 2),
        (p_data(pdv(1, 3, store_command())) + p_data(pdv(3, 2, b"other context")), 2),
        (p_data(pdv(1, 3, store_command())) + p_data(pdv(1, 3, echo_command())), 2),
        (p_data(pdv(1, 1, echo_command()[:20])) + p_data(pdv(3, 3, echo_command()[20:])), 6),
        (p_data(struct.pack(">IBB", 0, 1, 3)), 6),
        (p_data(struct.pack(">IBB", 1, 1, 3)), 6),
        (p_data(struct.pack(">IBB", 500, 1, 3)), 6),
        (p_data(struct.pack(">IBB", 0xFFFFFFFF, 1, 3)), 6),
        (p_data(pdv(1, 3, echo_command()) + b"\0\0\0"), 6),
        (p_data(b""), 6),
        (b"\x01\0\0\0\0\4....", 2),
        (b"\x02\0\0\0\0\4....", 2),
        (b"\x06\0\0\0\0\4....", 2),
        (b"\x63\0\0\0\0\4....", 1),
        (b"\x05\0\0\0\0\5.....", 6),
        (b"\x05\0\xff\xff\xff\xf0....", 6),
        (p_data(pdv(1, 3, echo_command()[:-4])), 0),
        (p_data(pdv(1, 3, b"")), 0),
        (p_data(pdv(1, 3, commands.encode(Command(commands.C_STORE_RSP, message_id_responded_to=1)))), 2),
    ],
    ids=[
        "unknown context",
        "even context",
        "dataset first",
        "dataset in another context",
        "command in a dataset",
        "command in two contexts",
        "fragment of length 0",
        "fragment of length 1",
        "fragment longer than its PDU",
        "fragment of 4 GiB",
        "rest in a PDU",
        "empty PDU",
        "another request for an association",
        "an acceptance",
        "release response",
        "unknown PDU",
        "release too long",
        "release of 4 GiB",
        "command cut",
        "command empty",
        "response to nothing",
    ],
)
def test_it_aborts_a_peer_that_breaks_the_rules_a10(data: bytes, reason: int) -> None:
    with served(receive_all) as (peer, outcome):
        peer.send(data)
        assert last_word(peer) == bytes((0, 0, 2, reason))
        assert isinstance(outcome.exception(10), ProtocolError)


@pytest.mark.parametrize("fragment", [b"x" * 4000, b"x", b""], ids=["large", "of one byte", "empty"])
def test_it_aborts_a_command_that_never_ends_a10(fragment: bytes) -> None:
    with served(receive_all) as (peer, outcome):
        data = p_data(*[pdv(1, 1, fragment)] * 100)
        for _ in range(70_000 // (100 * max(len(fragment), 1)) + 1):
            try:
                peer.send(data)
            except OSError:
                break
        assert last_word(peer) == bytes((0, 0, 2, 6))
        assert isinstance(outcome.exception(10), ProtocolError)


def test_it_takes_empty_fragments_of_a_dataset() -> None:
    with served(receive_all) as (peer, outcome):
        peer.send(p_data(pdv(1, 3, store_command()), pdv(1, 0, b""), pdv(1, 0, b"data"), pdv(1, 2, b"")))
        assert peer.command().status == status.SUCCESS
        peer.send(RELEASE_RQ)
        assert outcome.result(10) == [b"data"]


def test_it_streams_a_pdu_longer_than_its_own_maximum() -> None:
    with served(receive_all, max_pdu=4096) as (peer, outcome):
        peer.send(store_message(1, b"x" * 3_000_000))
        assert peer.command().status == status.SUCCESS
        peer.send(RELEASE_RQ)
        assert outcome.result(10) == [b"x" * 3_000_000]


def test_it_refuses_a_long_dataset_where_a_short_one_is_expected_and_goes_on() -> None:
    def serve(association: Association) -> bytes:
        message = association.receive()
        assert message is not None
        with pytest.raises(Unreadable):
            message.dataset(limit=1000)
        association.respond(message, status.UNABLE_TO_PROCESS, error_comment="the identifier is too long")
        message = association.receive()
        assert message is not None
        return message.dataset(limit=1000)

    with served(serve, STUDY_FIND) as (peer, outcome):
        peer.send(store_message(1, b"x" * 1_000_000))
        response = peer.command()
        assert (response.status, response.error_comment) == (0xC000, "the identifier is too long")
        peer.send(store_message(2, b"y" * 1000))
        assert outcome.result(10) == b"y" * 1000


# Responses


def test_it_repeats_in_a_response_what_the_standard_asks_for() -> None:
    with served(receive_all) as (peer, _):
        peer.send(store_message(77, b"data"))
        response = peer.command()
        assert response == Command(
            commands.C_STORE_RSP,
            message_id_responded_to=77,
            affected_sop_class=CT_IMAGE,
            affected_sop_instance="1.2.3.77",
        )
        action = Command(
            commands.N_ACTION_RQ,
            message_id=78,
            requested_sop_class="1.2",
            requested_sop_instance="1.2.3",
            action_type=1,
        )
        peer.send(p_data(pdv(1, 3, commands.encode(action))))
        response = peer.command()
        assert (response.affected_sop_class, response.affected_sop_instance) == ("1.2", "1.2.3")
        assert (response.field, response.action_type, response.has_dataset) == (commands.N_ACTION_RSP, 1, False)


def test_it_cuts_identifiers_to_the_peer_s_maximum_e06() -> None:
    def serve(association: Association) -> None:
        message = association.receive()
        assert message is not None
        association.respond(message, status.PENDING, identifier=b"i" * 9001, remaining=3)

    with listening(serve) as acceptor, Raw.to(acceptor.port) as peer:
        peer.associate(STUDY_FIND, max_pdu=4096)
        peer.send(p_data(pdv(1, 3, store_command(has_dataset=False))))
        response = peer.command()
        assert (response.status, response.remaining, response.has_dataset) == (status.PENDING, 3, True)
        bodies = [peer.pdu()[1] for _ in range(3)]
        assert [len(body) for body in bodies] == [4096, 4096, 9001 - 2 * 4090 + 6]
        assert b"".join(body[6:] for body in bodies) == b"i" * 9001
        assert [body[5] for body in bodies] == [0, 0, 2]


# C-CANCEL (E42 at this layer)


def cancel(message_id: int) -> bytes:
    raw = commands.encode(Command(commands.C_CANCEL_RQ, message_id_responded_to=message_id))
    return p_data(pdv(1, 1, raw[:11])) + p_data(pdv(1, 3, raw[11:]))


def test_it_sees_a_cancel_between_two_answers_without_waiting() -> None:
    def serve(association: Association) -> int:
        message = association.receive()
        assert message is not None
        number = message.command.message_id
        message.dataset()
        answers = 0
        while not association.cancelled(number):
            association.respond(message, status.PENDING, identifier=b"one more")
            answers += 1
        association.respond(message, status.CANCEL)
        assert association.receive() is None
        return answers

    with served(serve, STUDY_FIND) as (peer, outcome):
        peer.send(store_message(5, b"query"))
        assert peer.command().status == status.PENDING
        peer.send(cancel(4), cancel(5))
        while (kind_and_body := peer.pdu())[1][5] != 3 or commands.decode(kind_and_body[1][6:]).status != 0xFE00:
            pass
        peer.send(cancel(5), RELEASE_RQ)
        assert peer.pdu()[0] == pdu.RELEASE_RP
        assert outcome.result(10) >= 1


def test_it_does_not_take_an_old_cancel_for_a_new_one() -> None:
    def serve(association: Association) -> tuple[bool, bool]:
        message = association.receive()
        assert message is not None
        message.dataset()
        while not association.cancelled(5):
            time.sleep(0.001)
        seen = association.cancelled(4)
        association.respond(message, status.CANCEL)
        message = association.receive()
        assert message is not None
        message.dataset()
        return seen, association.cancelled(4)

    with served(serve, STUDY_FIND) as (peer, outcome):
        peer.send(store_message(5, b"query"), cancel(4), cancel(5))
        assert peer.command().status == status.CANCEL
        peer.send(store_message(4, b"query"))
        assert outcome.result(10) == (True, False)


@pytest.mark.parametrize("segment", [1, 7, 1000])
def test_it_sees_a_cancel_that_comes_in_pieces(segment: int) -> None:
    go, seen = threading.Event(), threading.Event()

    def serve(association: Association) -> bool:
        message = association.receive()
        assert message is not None
        message.dataset()
        assert not association.cancelled(5)
        go.set()
        while not association.cancelled(5):
            time.sleep(0.001)
        seen.set()
        return association.receive() is None

    with served(serve, STUDY_FIND) as (peer, outcome):
        peer.send(store_message(5, b"query"))
        assert go.wait(10)
        data = cancel(5)
        for at in range(0, len(data), segment):
            assert not seen.is_set()
            peer.send(data[at : at + segment])
        assert seen.wait(10)
        peer.send(RELEASE_RQ)
        assert outcome.result(10)


def test_it_stops_an_operation_for_a_peer_that_wants_to_leave() -> None:
    def serve(association: Association) -> bool:
        message = association.receive()
        assert message is not None
        message.dataset()
        while not association.cancelled(5):
            time.sleep(0.001)
        association.respond(message, status.CANCEL)
        return association.receive() is None

    with served(serve, STUDY_FIND) as (peer, outcome):
        peer.send(store_message(5, b"query"), RELEASE_RQ)
        assert peer.command().status == status.CANCEL
        assert peer.pdu()[0] == pdu.RELEASE_RP
        assert outcome.result(10)


@pytest.mark.parametrize(("last_word", "error"), [(pdu.encode_abort(0, 0), Aborted), (b"", Lost)])
def test_it_stops_an_operation_for_a_peer_that_has_gone(last_word: bytes, error: type[Exception]) -> None:
    def serve(association: Association) -> None:
        message = association.receive()
        assert message is not None
        message.dataset()
        while not association.cancelled(5):
            time.sleep(0.001)

    with served(serve, STUDY_FIND) as (peer, outcome):
        peer.send(store_message(5, b"query"), last_word)
        peer.sock.close()
        assert isinstance(outcome.exception(10), error)


def test_it_keeps_a_request_that_comes_before_its_turn() -> None:
    def serve(association: Association) -> list[bytes]:
        message = association.receive()
        assert message is not None
        message.dataset()
        for _ in range(50):
            assert not association.cancelled(5)
            time.sleep(0.002)
        association.respond(message, status.SUCCESS)
        return receive_all(association)

    with served(serve, STUDY_FIND) as (peer, outcome):
        peer.send(store_message(5, b"query"), p_data(pdv(1, 3, echo_command(6))), store_message(7, b"early"))
        assert [peer.command().message_id_responded_to for _ in range(3)] == [5, 6, 7]
        peer.send(RELEASE_RQ)
        assert outcome.result(10) == [b"", b"early"]


def test_it_remembers_a_cancel_that_comes_while_it_stores_on_the_same_association() -> None:
    """A C-GET's sub-operations: the peer's cancel arrives where our C-STORE's answer is awaited."""

    def serve(association: Association) -> bool:
        message = association.receive()
        assert message is not None
        message.dataset()
        (context,) = association.contexts_for(CT_IMAGE)
        response = association.store(context, CT_IMAGE, "1.2.3", [b"image"], originator=("VIEWER", 5))
        assert response.status == status.SUCCESS
        cancelled = association.cancelled(5)
        association.respond(message, status.CANCEL, remaining=1, completed=1, failed=0, warning=0)
        return cancelled

    with served(serve, STUDY_GET, CT_IMAGE, roles={CT_IMAGE: (False, True)}) as (peer, outcome):
        peer.send(store_message(5, b"query"))
        _kind, body = peer.pdu()
        command = commands.decode(body[6:])
        assert (command.field, command.move_originator_ae) == (commands.C_STORE_RQ, "VIEWER")
        assert command.move_originator_message_id == 5
        assert peer.pdu()[1][6:] == b"image"
        answer = Command(commands.C_STORE_RSP, message_id_responded_to=command.message_id)
        peer.send(cancel(5), p_data(pdv(3, 3, commands.encode(answer))))
        assert peer.command().status == status.CANCEL
        assert outcome.result(10)
