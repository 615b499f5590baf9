"""The listening port and everybody who comes to it: callers, strangers, crowds and rubbish."""

from __future__ import annotations

import logging
import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from hozi.core.dimse import pdu, status
from hozi.core.dimse.acceptor import Acceptance, Acceptor, AcceptorLimits, Rejection
from hozi.core.dimse.association import AssociateRequest, Association, Peer, ProposedContext, Timeouts, UserIdentity
from hozi.core.dimse.failures import Rejected
from hozi.core.dimse.negotiation import choose
from hozi.core.dimse.requestor import associate, propose
from hozi.core.dimse.terms import CALLED_AE_NOT_RECOGNIZED, CALLING_AE_NOT_RECOGNIZED
from tests.core.dimse.listening import (
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    STUDY_FIND,
    VERIFICATION,
    Everything,
    Raw,
    Received,
    accept_everything,
    echo_command,
    listening,
    p_data,
    pdv,
    store_command,
    store_message,
)

REQUEST = pdu.encode_request(AssociateRequest("RAW", "HOZI", (ProposedContext(1, VERIFICATION, (IMPLICIT,)),)))


def only_the_scanner(request: AssociateRequest, peer: Peer) -> Acceptance | Rejection:
    assert peer.address == "127.0.0.1"
    assert (peer.calling_ae, peer.called_ae) == (request.calling_ae, request.called_ae)
    if request.called_ae != "HOZI":
        return CALLED_AE_NOT_RECOGNIZED
    if request.calling_ae != "CT1":
        return CALLING_AE_NOT_RECOGNIZED
    return accept_everything(request, peer)


def echo_works(port: int) -> bool:
    """Whether an ordinary device gets in and gets an answer."""
    with associate(
        "127.0.0.1", port, calling_ae="CT1", called_ae="HOZI", contexts=propose({VERIFICATION: [IMPLICIT]})
    ) as association:
        return association.echo(association.contexts[1]).status == status.SUCCESS


@pytest.mark.parametrize(
    ("calling", "called", "rejection"),
    [("CT2", "HOZI", (1, 1, 3)), ("CT1", "HOZI1", (1, 1, 7)), ("CT1", "hozi", (1, 1, 7)), ("ct1", "HOZI", (1, 1, 3))],
)
def test_it_rejects_with_the_reason_that_was_decided_e02_a01_a03(
    received: Received, calling: str, called: str, rejection: tuple[int, int, int]
) -> None:
    with listening(received.serve, decide=only_the_scanner) as acceptor:
        with pytest.raises(Rejected) as caught:
            associate(
                "127.0.0.1",
                acceptor.port,
                calling_ae=calling,
                called_ae=called,
                contexts=propose({VERIFICATION: [IMPLICIT]}),
            )
        assert (caught.value.result, caught.value.source, caught.value.reason) == rejection
        assert echo_works(acceptor.port)


def test_it_answers_100_wrong_titles_and_still_serves_a03(received: Received) -> None:
    with listening(received.serve, decide=only_the_scanner) as acceptor:
        for number in range(100):
            with Raw.to(acceptor.port) as peer:
                peer.send(
                    pdu.encode_request(
                        AssociateRequest("CT1", f"GUESS{number}", (ProposedContext(1, VERIFICATION, (IMPLICIT,)),))
                    )
                )
                assert peer.pdu() == (pdu.ASSOCIATE_RJ, bytes((0, 1, 1, 7)))
        assert echo_works(acceptor.port)


def test_it_accepts_when_no_context_is_acceptable_e05(received: Received) -> None:
    def decide(request: AssociateRequest, peer: Peer) -> Acceptance:
        return Acceptance(choose(request, {CT_IMAGE: {EXPLICIT}}.get))

    with listening(received.serve, decide=decide) as acceptor, Raw.to(acceptor.port) as peer:
        contexts = (ProposedContext(1, "1.2.3", (IMPLICIT,)), ProposedContext(3, CT_IMAGE, (IMPLICIT,)))
        peer.send(pdu.encode_request(AssociateRequest("RAW", "HOZI", contexts)))
        kind, body = peer.pdu()
        assert kind == pdu.ASSOCIATE_AC
        assert [(answer.id, answer.result) for answer in pdu.decode_answer(body).contexts] == [(1, 3), (3, 4)]
        peer.send(pdu.encode_release_request())
        assert peer.pdu()[0] == pdu.RELEASE_RP


def test_it_refuses_contexts_that_nobody_decided_on(received: Received) -> None:
    with listening(received.serve, decide=lambda request, peer: Acceptance([])) as acceptor:
        with Raw.to(acceptor.port) as peer:
            assert [answer.result for answer in peer.associate(CT_IMAGE, VERIFICATION).contexts] == [2, 2]


def test_it_never_answers_with_an_asynchronous_window_e08(acceptor: Acceptor) -> None:
    with Raw.to(acceptor.port) as peer:
        request = AssociateRequest("RAW", "HOZI", (ProposedContext(1, CT_IMAGE, (IMPLICIT,)),), async_window=(1, 1))
        peer.send(pdu.encode_request(request))
        _, body = peer.pdu()
        assert b"\x53\0\0\4" not in body


def test_it_returns_only_what_was_agreed_and_proposed_e09_e10(received: Received) -> None:
    def decide(request: AssociateRequest, peer: Peer) -> Acceptance:
        return Acceptance(
            choose(request, lambda uid: Everything()),
            roles={CT_IMAGE: (True, True), VERIFICATION: (True, True)},
            extended={STUDY_FIND: b"\1\0", CT_IMAGE: b"\1"},
        )

    with listening(received.serve, decide=decide) as acceptor, Raw.to(acceptor.port) as peer:
        answer = peer.associate(
            CT_IMAGE, STUDY_FIND, VERIFICATION, roles={CT_IMAGE: (True, True)}, extended={STUDY_FIND: b"\1\1\1\1\1"}
        )
        assert answer.extended == {STUDY_FIND: b"\1\0"}
        assert answer.roles == {CT_IMAGE: (True, True)}


@pytest.mark.parametrize("response", [b"", b"ticket", None])
def test_it_answers_a_user_identity_as_decided_e11(received: Received, response: bytes | None) -> None:
    def decide(request: AssociateRequest, peer: Peer) -> Acceptance:
        assert request.identity == UserIdentity(2, True, b"radiographer", b"invented")
        return Acceptance(choose(request, lambda uid: Everything()), identity_response=response)

    with listening(received.serve, decide=decide) as acceptor, Raw.to(acceptor.port) as peer:
        answer = peer.associate(identity=UserIdentity(2, True, b"radiographer", b"invented"))
        assert answer.identity_response == response


@pytest.mark.parametrize(
    ("request_", "rejection"),
    [
        (AssociateRequest("RAW", "HOZI", (), application_context="1.2.3"), (1, 1, 2)),
        (REQUEST[:6] + b"\0\2" + REQUEST[8:], (1, 2, 2)),
    ],
    ids=["application context", "protocol version"],
)
def test_it_rejects_what_is_not_this_version_of_dicom(
    acceptor: Acceptor, request_: AssociateRequest | bytes, rejection: tuple[int, int, int]
) -> None:
    with Raw.to(acceptor.port) as peer:
        peer.send(request_ if isinstance(request_, bytes) else pdu.encode_request(request_))
        assert peer.pdu() == (pdu.ASSOCIATE_RJ, bytes((0, *rejection)))


def test_it_ends_an_association_with_a_peer_that_nothing_fits_into_e06(acceptor: Acceptor) -> None:
    with Raw.to(acceptor.port) as peer:
        context = ProposedContext(1, VERIFICATION, (IMPLICIT,))
        peer.send(pdu.encode_request(AssociateRequest("RAW", "HOZI", (context,), max_pdu=6)))
        assert peer.pdu() == (pdu.ABORT, bytes((0, 0, 2, 6)))


# Rubbish


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: archive\r\n\r\n", 1),
        (bytes.fromhex("16030100c8010000c403035f") + os.urandom(190), 1),
        (b"\0" * 100, 1),
        (b"SSH-2.0-OpenSSH_9\r\n", 1),
        (p_data(pdv(1, 3, store_command())), 2),
        (pdu.encode_release_request(), 2),
        (pdu.encode_abort(0, 0), 2),
        (b"\1\0\xff\xff\xff\xf0" + b"x" * 1000, 6),
        (b"\1\0\0\x10\0\1", 6),
        (b"\1\0\0\0\0\4" + b"abcd", 6),
        (REQUEST[:2] + struct.pack(">I", len(REQUEST) - 6 + 3) + REQUEST[6:] + b"abc", 6),
        (REQUEST[:76] + b"\xff\xff" + REQUEST[78:], 6),
    ],
    ids=[
        "HTTP",
        "TLS",
        "zeros",
        "SSH",
        "data first a10",
        "release first",
        "abort first",
        "4 GiB a05",
        "more than 1 MiB a05",
        "too short",
        "bytes left over",
        "item beyond the PDU a09",
    ],
)
def test_it_aborts_rubbish_quietly_a05_a07_a09_a10(
    acceptor: Acceptor, caplog: pytest.LogCaptureFixture, data: bytes, reason: int
) -> None:
    with caplog.at_level(logging.DEBUG), Raw.to(acceptor.port) as peer:
        peer.send(data)
        assert peer.pdu() == (pdu.ABORT, bytes((0, 0, 2, reason)))
        assert echo_works(acceptor.port)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info]


def test_it_takes_no_memory_for_a_pdu_that_only_claims_to_be_large_a05(acceptor: Acceptor) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peers = [Raw.to(acceptor.port) for _ in range(16)]
    for peer in peers:
        peer.send(b"\1\0\xff\xff\xff\xf0")
        assert peer.pdu()[0] == pdu.ABORT
        peer.sock.close()
    peers = [Raw.to(acceptor.port) for _ in range(16)]
    for peer in peers:
        peer.send(b"\1\0\0\x0f\xff\xff", b"x" * 100)
    time.sleep(0.1)
    for peer in peers:
        peer.sock.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5 * 1024


def test_it_survives_random_bytes_a07(acceptor: Acceptor, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(60):
        with Raw.to(acceptor.port) as peer:
            peer.send((b"\1\0\0\0\1\0" if number % 2 else b"") + os.urandom(300))
    assert echo_works(acceptor.port)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("data", [b"", b"\1", REQUEST[:100]], ids=["nothing", "a byte", "half a request"])
def test_it_closes_on_a_caller_that_does_not_finish_a06(received: Received, data: bytes) -> None:
    with listening(received.serve, timeouts=Timeouts(artim=0.3)) as acceptor, Raw.to(acceptor.port) as peer:
        peer.send(data)
        assert peer.is_closed()


def test_it_closes_on_a_caller_that_sends_byte_by_byte_a06(received: Received) -> None:
    with listening(received.serve, timeouts=Timeouts(artim=0.3)) as acceptor, Raw.to(acceptor.port) as peer:
        with pytest.raises(OSError):
            for byte in REQUEST * 10:
                peer.send(bytes((byte,)))
                time.sleep(0.01)
        assert received.associations == []


# Crowds


def test_it_lets_a_device_in_behind_200_silent_connections_of_its_own_address_a04(received: Received) -> None:
    with listening(received.serve) as acceptor:
        silent = [socket.create_connection(("127.0.0.1", acceptor.port)) for _ in range(200)]
        try:
            assert echo_works(acceptor.port)
            time.sleep(0.1)
            closed = sum(is_closed_now(sock) for sock in silent)
            assert closed >= 200 - acceptor.limits.pending_per_address
            assert not is_closed_now(silent[-1])
        finally:
            for sock in silent:
                sock.close()


def test_it_bounds_the_silent_connections_of_all_addresses_together_a04(received: Received) -> None:
    with listening(received.serve, limits=AcceptorLimits(pending_per_address=6, pending_total=10)) as acceptor:
        silent = []
        try:
            for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
                for _ in range(5):
                    silent.append(socket.create_connection(("127.0.0.1", acceptor.port), source_address=(host, 0)))
            assert echo_works(acceptor.port)
            time.sleep(0.1)
            assert 15 - sum(is_closed_now(sock) for sock in silent) <= 10
        finally:
            for sock in silent:
                sock.close()


def is_closed_now(sock: socket.socket) -> bool:
    sock.settimeout(0)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize(
    "limits", [AcceptorLimits(total=2), AcceptorLimits(per_address=2)], ids=["in all", "per address"]
)
def test_it_rejects_more_associations_than_it_has_places_for(received: Received, limits: AcceptorLimits) -> None:
    with listening(received.serve, limits=limits) as acceptor:
        inside = [Raw.to(acceptor.port) for _ in range(2)]
        for peer in inside:
            peer.associate()
        with Raw.to(acceptor.port) as third:
            third.send(REQUEST)
            assert third.pdu() == (pdu.ASSOCIATE_RJ, bytes((0, 2, 3, 2)))
        inside[0].send(pdu.encode_release_request())
        assert inside[0].pdu()[0] == pdu.RELEASE_RP
        received.wait_for_end()
        assert eventually(lambda: echo_or_rejected(acceptor.port))
        for peer in inside:
            peer.sock.close()


def echo_or_rejected(port: int) -> bool:
    try:
        return echo_works(port)
    except Rejected:
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_it_frees_the_place_of_a_peer_that_vanishes_e12(received: Received) -> None:
    with listening(received.serve, limits=AcceptorLimits(total=1)) as acceptor:
        for number in range(5):
            with Raw.to(acceptor.port) as peer:
                peer.associate(CT_IMAGE)
                peer.send(p_data(pdv(1, 3, store_command())), p_data(pdv(1, 0, b"half")))
            received.wait_for_end(number + 1)
            assert eventually(lambda: not acceptor.slots.connections())
        assert echo_works(acceptor.port)


def test_it_serves_many_at_once(acceptor: Acceptor, received: Received) -> None:
    def send(number: int) -> None:
        with associate(
            "127.0.0.1",
            acceptor.port,
            calling_ae=f"CT{number}",
            called_ae="HOZI",
            contexts=propose({CT_IMAGE: [IMPLICIT]}),
        ) as association:
            for image in range(5):
                data = bytes((number, image)) * 50_000
                response = association.store(association.contexts[1], CT_IMAGE, f"1.{number}.{image}", [data])
                assert response.status == status.SUCCESS

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))
    assert len(received.messages) == 40
    for command, _, dataset in received.messages:
        number, image = map(int, command.affected_sop_instance.split(".")[1:])
        assert dataset == bytes((number, image)) * 50_000


# What goes wrong on our side


def test_it_aborts_and_logs_no_word_of_an_error_in_serving(caplog: pytest.LogCaptureFixture) -> None:
    def serve(association: Association) -> None:
        association.receive()
        raise KeyError("Chipo Invented 1.2.3.4")

    with listening(serve) as acceptor, Raw.to(acceptor.port) as peer:
        peer.associate()
        peer.send(p_data(pdv(1, 3, echo_command())))
        assert peer.pdu() == (pdu.ABORT, bytes(4))
        peer.sock.close()
        assert eventually(lambda: bool(caplog.records))
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert record.message == "dimse.failed"
    assert record.error == "KeyError"  # type: ignore[attr-defined]
    assert "test_acceptor.py" in record.place  # type: ignore[attr-defined]
    assert record.exc_info is None
    assert "Chipo" not in str(vars(record))


def test_it_asks_the_peer_to_come_again_when_it_cannot_decide(caplog: pytest.LogCaptureFixture) -> None:
    def decide(request: AssociateRequest, peer: Peer) -> Acceptance:
        raise OSError("the database is gone")

    with listening(lambda association: None, decide=decide) as acceptor, Raw.to(acceptor.port) as peer:
        peer.send(REQUEST)
        assert peer.pdu() == (pdu.ASSOCIATE_RJ, bytes((0, 2, 3, 1)))
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["dimse.undecided"]


def test_it_aborts_an_association_that_serving_left_open() -> None:
    with listening(lambda association: None) as acceptor, Raw.to(acceptor.port) as peer:
        peer.associate()
        assert peer.pdu()[0] == pdu.ABORT


# Start and stop


def test_it_lets_what_is_under_way_finish_when_it_stops() -> None:
    received = Received()
    go = threading.Event()

    def serve(association: Association) -> None:
        message = association.receive()
        assert message is not None
        next(message.fragments())
        go.wait(10)
        message.dataset()
        association.respond(message, status.SUCCESS)
        received.serve(association)

    with listening(serve) as acceptor, Raw.to(acceptor.port) as peer, ThreadPoolExecutor(1) as pool:
        peer.associate(CT_IMAGE)
        peer.send(store_message(1, b"x" * 100))
        stopped = pool.submit(acceptor.stop, 60)
        assert eventually(lambda: not can_connect(acceptor_port(peer)))
        assert not stopped.done()
        go.set()
        assert peer.command().status == status.SUCCESS
        # Now nothing is under way any more, so the association is ended long before the minute is over.
        assert peer.pdu()[0] == pdu.ABORT
        peer.sock.close()
        stopped.result(5)


def acceptor_port(peer: Raw) -> int:
    port: int = peer.sock.getpeername()[1]
    return port


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_it_aborts_what_does_not_finish_in_time_when_it_stops() -> None:
    received = Received()
    with listening(received.serve) as acceptor:
        peers = [Raw.to(acceptor.port) for _ in range(3)]
        for peer in peers:
            peer.associate(CT_IMAGE)
            peer.send(p_data(pdv(1, 3, store_command())), p_data(pdv(1, 0, b"half")))
        silent = Raw.to(acceptor.port)
        assert eventually(lambda: len(received.associations) == 3)
        acceptor.stop(0.2)
        assert received.ended == 3
        for peer in peers:
            assert peer.pdu()[0] == pdu.ABORT
            peer.sock.close()
        assert silent.is_closed()
        silent.sock.close()
        acceptor.stop(0)


def test_it_listens_where_it_is_told_and_says_where() -> None:
    first = Acceptor("127.0.0.1", 0, decide=accept_everything, serve=lambda association: None)
    assert first.port == 0
    first.start()
    assert first.port > 0
    second = Acceptor("127.0.0.1", first.port, decide=accept_everything, serve=lambda association: None)
    with pytest.raises(OSError):
        second.start()
    first.stop(0)
    assert not can_connect(second.port)


def test_it_listens_on_all_addresses_and_knows_callers_by_their_plain_address() -> None:
    addresses = []

    def decide(request: AssociateRequest, peer: Peer) -> Acceptance:
        addresses.append(peer.address)
        return accept_everything(request, peer)

    acceptor = Acceptor("", 0, decide=decide, serve=Received().serve)
    acceptor.start()
    try:
        assert echo_works(acceptor.port)
    finally:
        acceptor.stop(0)
    assert addresses == ["127.0.0.1"]
