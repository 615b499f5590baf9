"""Established associations and peers that behave in every way, good and bad, at the level of PDUs."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hozi.core.dimse import command as commands
from hozi.core.dimse import pdu, status
from hozi.core.dimse.acceptor import Acceptor
from hozi.core.dimse.association import Aborted, Association, Lost, ProtocolError, TimedOut, Timeouts
from hozi.core.dimse.command import Command
from hozi.core.dimse.requestor import associate, propose
from hozi.core.errors import Refused
from tests.core.dimse.listening import (
    CT_IMAGE,
    IMPATIENT,
    IMPLICIT,
    RELEASE_RP,
    RELEASE_RQ,
    STUDY_FIND,
    STUDY_GET,
    VERIFICATION,
    Raw,
    Received,
    asking,
    last_word,
    listening,
    p_data,
    pdv,
    receive_all,
    served,
    store_command,
    store_message,
)

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
