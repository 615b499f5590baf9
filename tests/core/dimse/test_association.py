"""Established associations and peers that behave in every way, good and bad, at the level of PDUs."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from hozi.core.dimse import command as commands
from hozi.core.dimse import pdu, status
from hozi.core.dimse.acceptor import Acceptor
from hozi.core.dimse.association import Aborted, Association, Lost, ProtocolError, TimedOut, Timeouts
from hozi.core.dimse.command import Command
from hozi.core.dimse.requestor import associate, propose
from hozi.core.errors import Refused, Unreadable
from tests.core.dimse.listening import (
    CT_IMAGE,
    IMPATIENT,
    IMPLICIT,
    STUDY_FIND,
    STUDY_GET,
    VERIFICATION,
    Raw,
    Received,
    echo_command,
    listening,
    p_data,
    pdv,
    store_command,
    store_message,
    whole,
)

RELEASE_RQ = pdu.encode_release_request()
RELEASE_RP = pdu.encode_release_response()


@contextmanager
def served(serve: Callable[[Association], object], *sop_classes: str, **options: object) -> Iterator[tuple[Raw, Future]]:
    """A raw peer associated with an acceptor that runs ``serve``; the future gives what that returned or raised."""
    outcome: Future[object] = Future()

    def keep(association: Association) -> None:
        try:
            outcome.set_result(serve(association))
        except BaseException as error:
            outcome.set_exception(error)

    with listening(keep, **options) as acceptor, Raw.to(acceptor.port) as peer:
        peer.associate(*sop_classes or (CT_IMAGE, VERIFICATION))
        yield peer, outcome


@contextmanager
def asking(*sop_classes: str, timeouts: Timeouts | None = None) -> Iterator[tuple[Association, Raw]]:
    """An association that we asked for, and the raw peer that accepted it."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        future = pool.submit(
            associate,
            "127.0.0.1",
            server.getsockname()[1],
            calling_ae="HOZI",
            called_ae="RAW",
            contexts=propose({uid: [IMPLICIT] for uid in sop_classes or (CT_IMAGE,)}),
            timeouts=timeouts,
        )
        with Raw(server.accept()[0]) as peer:
            peer.accept()
            association = future.result(10)
            try:
                yield association, peer
            finally:
                association.close()


def receive_all(association: Association) -> list[bytes]:
    datasets = []
    while (message := association.receive()) is not None:
        datasets.append(whole(message))
        association.respond(message, status.SUCCESS)
    return datasets


def last_word(peer: Raw) -> bytes:
    """Read up to an A-ABORT, close as the standard has it, and return what it says."""
    while True:
        kind, body = peer.pdu()
        if kind == pdu.ABORT:
            peer.sock.close()
            return body
        assert kind == pdu.P_DATA_TF


# Release


def test_it_answers_a_release_and_closes() -> None:
    with served(receive_all) as (peer, outcome):
        peer.send(RELEASE_RQ)
        assert peer.pdu()[0] == pdu.RELEASE_RP
        assert peer.is_closed()
        assert outcome.result(10) == []


def test_it_releases_and_takes_what_the_peer_still_sends() -> None:
    with asking() as (association, peer), ThreadPoolExecutor(1) as pool:
        released = pool.submit(association.release)
        assert peer.pdu()[0] == pdu.RELEASE_RQ
        peer.send(store_message(1, b"late" * 1000), RELEASE_RP)
        released.result(10)
        assert peer.is_closed()
        assert not association.is_open


def test_it_survives_a_release_collision_as_requestor() -> None:
    """PS3.8 §9.2, AR-8 and AR-9: the requestor answers, then waits for its own answer."""
    with asking() as (association, peer), ThreadPoolExecutor(1) as pool:
        released = pool.submit(association.release)
        assert peer.pdu()[0] == pdu.RELEASE_RQ
        peer.send(RELEASE_RQ)
        assert peer.pdu()[0] == pdu.RELEASE_RP
        peer.send(RELEASE_RP)
        released.result(10)
        assert peer.is_closed()


def test_it_survives_a_release_collision_as_acceptor() -> None:
    """PS3.8 §9.2, AR-8 and AR-10: the acceptor waits for its own answer, then answers."""
    with served(Association.release) as (peer, outcome):
        peer.send(RELEASE_RQ)
        assert peer.pdu()[0] == pdu.RELEASE_RQ
        peer.send(RELEASE_RP)
        assert peer.pdu()[0] == pdu.RELEASE_RP
        assert peer.is_closed()
        outcome.result(10)


@pytest.mark.parametrize("answer", [b"", pdu.encode_abort(0, 0), b"nonsense that is no PDU"])
def test_its_release_never_fails(answer: bytes) -> None:
    with asking(timeouts=IMPATIENT) as (association, peer), ThreadPoolExecutor(1) as pool:
        released = pool.submit(association.release)
        assert peer.pdu()[0] == pdu.RELEASE_RQ
        peer.send(answer)
        if not answer:
            peer.sock.close()
        released.result(10)
        assert not association.is_open


def test_it_does_not_wait_for_a_release_answer_for_ever() -> None:
    with asking(timeouts=IMPATIENT) as (association, peer), ThreadPoolExecutor(1) as pool:
        released = pool.submit(association.release)
        assert peer.pdu()[0] == pdu.RELEASE_RQ
        assert last_word(peer) == bytes((0, 0, 2, 0))
        released.result(10)


def test_it_takes_a_release_in_the_middle_of_a_dataset_for_a_fault() -> None:
    with served(receive_all) as (peer, outcome):
        peer.send(p_data(pdv(1, 3, store_command())), p_data(pdv(1, 0, b"half")), RELEASE_RQ)
        assert last_word(peer) == bytes((0, 0, 2, 2))
        assert isinstance(outcome.exception(10), ProtocolError)


def test_it_releases_after_a_block_and_aborts_after_an_error() -> None:
    with asking() as (association, peer), ThreadPoolExecutor(1) as pool:

        def leave() -> None:
            with association:
                pass

        left = pool.submit(leave)
        assert peer.pdu()[0] == pdu.RELEASE_RQ
        peer.send(RELEASE_RP)
        left.result(10)
    with asking() as (association, peer):
        with pytest.raises(ZeroDivisionError), association:
            peer.sock.shutdown(socket.SHUT_WR)
            raise ZeroDivisionError
        assert peer.pdu() == (pdu.ABORT, bytes(4))


# Aborts and lost connections


@pytest.mark.parametrize(
    "before",
    [
        b"",
        p_data(pdv(1, 1, store_command()[:20])),
        p_data(pdv(1, 3, store_command())),
        p_data(pdv(1, 3, store_command())) + p_data(pdv(1, 0, b"x" * 1000)),
    ],
    ids=["idle", "in the command", "before the dataset", "in the dataset"],
)
def test_it_notices_an_abort_at_any_moment_e12(before: bytes) -> None:
    with served(receive_all) as (peer, outcome):
        peer.send(before, pdu.encode_abort(2, 6))
        error = outcome.exception(10)
        assert isinstance(error, Aborted)
        assert (error.source, error.reason) == (2, 6)
        assert "invalid PDU parameter value" in str(error)
        assert peer.is_closed()


@pytest.mark.parametrize(
    "before",
    [
        b"",
        RELEASE_RQ[:3],
        p_data(pdv(1, 3, store_command()))[:40],
        p_data(pdv(1, 3, store_command())) + p_data(pdv(1, 0, b"x" * 1000))[:500],
    ],
    ids=["idle", "in a header", "in the command", "in the dataset"],
)
@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
def test_it_notices_a_lost_connection_at_any_moment_e12(before: bytes, hard: bool) -> None:
    with served(receive_all) as (peer, outcome):
        peer.send(before)
        if hard:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.sock.close()
        assert isinstance(outcome.exception(10), Lost)


def test_it_keeps_earlier_instances_when_a_later_one_breaks_off_e12(acceptor: Acceptor, received: Received) -> None:
    with Raw.to(acceptor.port) as peer:
        peer.associate(CT_IMAGE)
        peer.send(store_message(1, b"first"))
        assert peer.command().status == status.SUCCESS
        peer.send(p_data(pdv(1, 3, store_command(2))), p_data(pdv(1, 0, b"half")))
    received.wait_for_end()
    assert [dataset for _, _, dataset in received.messages] == [b"first"]
    assert isinstance(received.errors[0], Lost)


def test_it_says_that_the_peer_aborted_while_we_were_sending() -> None:
    with asking() as (association, peer), ThreadPoolExecutor(1) as pool:

        def chunks() -> Iterator[bytes]:
            for _ in range(2000):
                yield bytes(1 << 20)

        stored = pool.submit(association.store, association.contexts[1], CT_IMAGE, "1.2.3", chunks())
        peer.exactly(100_000)
        peer.send(pdu.encode_abort(2, 0))
        peer.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        peer.sock.close()
        with pytest.raises((Aborted, Lost)):
            stored.result(20)
        assert not association.is_open


def test_it_aborts_when_the_source_of_a_dataset_fails() -> None:
    def chunks() -> Iterator[bytes]:
        yield bytes(300_000)
        raise OSError("the disk is gone")

    with asking() as (association, peer), ThreadPoolExecutor(1) as pool:
        stored = pool.submit(association.store, association.contexts[1], CT_IMAGE, "1.2.3", chunks())
        with pytest.raises(OSError, match="disk"):
            last_word(peer)
            stored.result(20)
        assert not association.is_open




def test_it_can_be_closed_and_aborted_again_and_again() -> None:
    with asking() as (association, peer):
        peer.sock.shutdown(socket.SHUT_WR)
        for _ in range(3):
            association.abort()
            association.close()
            association.release()
        assert peer.pdu() == (pdu.ABORT, bytes(4))
        with pytest.raises(Lost):
            association.receive()
        with pytest.raises(Lost):
            association.echo(association.contexts[1])


# Silence


def test_it_aborts_an_idle_peer() -> None:
    with served(receive_all, timeouts=Timeouts(idle=0.2)) as (peer, outcome):
        assert last_word(peer) == bytes((0, 0, 2, 0))
        assert isinstance(outcome.exception(10), TimedOut)


@pytest.mark.parametrize(
    "start",
    [p_data(pdv(1, 1, store_command()[:20])), p_data(pdv(1, 3, store_command())) + b"\4\0\0\0\0\x64\0\0\0\x60\1"],
    ids=["in the command", "in the dataset"],
)
def test_it_aborts_a_peer_that_falls_silent_in_a_message(start: bytes) -> None:
    with served(receive_all, timeouts=Timeouts(idle=60, message=0.2)) as (peer, outcome):
        peer.send(start)
        assert last_word(peer) == bytes((0, 0, 2, 0))
        assert isinstance(outcome.exception(10), TimedOut)


def test_it_aborts_a_peer_that_does_not_answer() -> None:
    with asking(timeouts=Timeouts(response=0.2)) as (association, peer):
        with pytest.raises(TimedOut), ThreadPoolExecutor(1) as pool:
            echoed = pool.submit(association.echo, association.contexts[1])
            assert peer.command().field == commands.C_ECHO_RQ
            last_word(peer)
            echoed.result(10)


def test_it_gives_up_a_peer_that_takes_nothing() -> None:
    with asking(timeouts=Timeouts(message=0.2)) as (association, _), pytest.raises(TimedOut):
        association.store(association.contexts[1], CT_IMAGE, "1.2.3", (bytes(1 << 20) for _ in range(200)))


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

    with served_with_roles(serve) as (peer, outcome):
        peer.send(store_message(5, b"query"))
        kind, body = peer.pdu()
        command = commands.decode(body[6:])
        assert (command.field, command.move_originator_ae) == (commands.C_STORE_RQ, "VIEWER")
        assert command.move_originator_message_id == 5
        assert peer.pdu()[1][6:] == b"image"
        answer = Command(commands.C_STORE_RSP, message_id_responded_to=command.message_id)
        peer.send(cancel(5), p_data(pdv(3, 3, commands.encode(answer))))
        assert peer.command().status == status.CANCEL
        assert outcome.result(10)


@contextmanager
def served_with_roles(serve: Callable[[Association], object]) -> Iterator[tuple[Raw, Future]]:
    outcome: Future[object] = Future()

    def keep(association: Association) -> None:
        try:
            outcome.set_result(serve(association))
        except BaseException as error:
            outcome.set_exception(error)

    with listening(keep) as acceptor, Raw.to(acceptor.port) as peer:
        answer = peer.associate(STUDY_GET, CT_IMAGE, roles={CT_IMAGE: (False, True)})
        assert answer.roles == {CT_IMAGE: (False, True)}
        yield peer, outcome


# As the one who asks


def test_it_uses_only_the_roles_that_were_agreed_on() -> None:
    def serve(association: Association) -> None:
        context = association.contexts[1]
        with pytest.raises(Refused):
            association.store(context, CT_IMAGE, "1.2.3", [b""])
        with pytest.raises(Refused):
            list(association.find(context, b""))

    with served(serve) as (_, outcome):
        outcome.result(10)
    with asking() as (association, _):
        with pytest.raises(Refused):
            association.event_report(association.contexts[1], "1.2", "1.2.3", 1)
        assert association.is_open


@pytest.mark.parametrize(
    "answer",
    [
        Command(commands.C_ECHO_RSP, message_id_responded_to=9),
        Command(commands.C_FIND_RSP, message_id_responded_to=1),
        Command(commands.C_ECHO_RQ, message_id=1, affected_sop_class=VERIFICATION),
    ],
    ids=["to another request", "of another kind", "a request"],
)
def test_it_takes_no_answer_but_its_own(answer: Command) -> None:
    with asking() as (association, peer), ThreadPoolExecutor(1) as pool:
        echoed = pool.submit(association.echo, association.contexts[1])
        peer.command()
        peer.send(p_data(pdv(1, 3, commands.encode(answer))))
        last_word(peer)
        assert isinstance(echoed.exception(10), ProtocolError)


def test_it_says_that_the_peer_left_instead_of_answering() -> None:
    with asking() as (association, peer), ThreadPoolExecutor(1) as pool:
        echoed = pool.submit(association.echo, association.contexts[1])
        peer.command()
        peer.send(RELEASE_RQ)
        assert peer.pdu()[0] == pdu.RELEASE_RP
        with pytest.raises(Lost, match="released"):
            echoed.result(10)


def test_it_cancels_a_query_whose_answers_nobody_wants_and_stays_usable() -> None:
    with asking(STUDY_FIND) as (association, peer), ThreadPoolExecutor(1) as pool:
        context = association.contexts[1]

        def first_only() -> tuple[Command, bytes | None]:
            for answer in association.find(context, b"query"):
                return answer
            raise AssertionError

        first = pool.submit(first_only)
        assert peer.command().field == commands.C_FIND_RQ
        assert peer.pdu()[1][6:] == b"query"
        pending = Command(commands.C_FIND_RSP, message_id_responded_to=1, status=0xFF00, has_dataset=True)
        answer = p_data(pdv(1, 3, commands.encode(pending))) + p_data(pdv(1, 2, b"match"))
        peer.send(answer)
        assert first.result(10)[1] == b"match"
        cancelled = peer.command()
        assert (cancelled.field, cancelled.message_id_responded_to) == (commands.C_CANCEL_RQ, 1)
        echoed = pool.submit(association.echo, context)
        assert peer.command().field == commands.C_ECHO_RQ
        done = Command(commands.C_FIND_RSP, message_id_responded_to=1, status=0xFE00)
        echo = Command(commands.C_ECHO_RSP, message_id_responded_to=2)
        peer.send(answer, *(p_data(pdv(1, 3, commands.encode(one))) for one in (done, echo)))
        assert echoed.result(10).status == status.SUCCESS


def test_it_aborts_a_get_whose_receiver_fails() -> None:
    def broken(message: object) -> int:
        raise OSError("the disk is full")

    with asking(STUDY_GET, CT_IMAGE) as (association, peer), ThreadPoolExecutor(1) as pool:
        got = pool.submit(lambda: list(association.get(association.contexts[1], b"query", broken)))
        peer.command()
        peer.pdu()
        peer.send(store_message(1, b"image", context_id=3))
        last_word(peer)
        with pytest.raises(OSError, match="full"):
            got.result(10)


def test_it_numbers_its_messages_within_16_bits() -> None:
    with asking() as (association, _):
        numbers = [association._new_message_id() for _ in range(70000)]
        assert min(numbers) == 1
        assert max(numbers) == 0xFFFF


def test_it_streams_a_file_in_and_out_without_holding_it(tmp_path: Path) -> None:
    """200 MB through both roles with a peak of a few megabytes."""
    import tracemalloc

    total = 0

    def serve(association: Association) -> None:
        nonlocal total
        while (message := association.receive()) is not None:
            for piece in message.fragments():
                total += len(piece)
            association.respond(message, status.SUCCESS)

    def chunks() -> Iterator[memoryview]:
        buffer = memoryview(bytearray(1 << 20))
        for _ in range(200):
            yield buffer

    with listening(serve) as acceptor:
        tracemalloc.start()
        try:
            with associate(
                "127.0.0.1",
                acceptor.port,
                calling_ae="CT1",
                called_ae="HOZI",
                contexts=propose({CT_IMAGE: [IMPLICIT]}),
            ) as association:
                association.store(association.contexts[1], CT_IMAGE, "1.2.3", chunks())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert total == 200 << 20
    assert peak < 8 << 20
