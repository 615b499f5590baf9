"""Asking for an association, and saying in plain words why there is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hozi.core.dimse import pdu
from hozi.core.dimse.acceptor import Acceptor
from hozi.core.dimse.association import Aborted, Association, Lost, ProposedContext, ProtocolError, TimedOut, Timeouts
from hozi.core.dimse.requestor import Rejected, Unreachable, associate, propose
from hozi.core.dimse.terms import AssociateAnswer, ContextAnswer, Rejection, UserIdentity
from hozi.core.errors import Refused
from tests.core.dimse.listening import CT_IMAGE, EXPLICIT, IMPLICIT, STUDY_FIND, VERIFICATION, Raw, Received
from tests.peers import free_port


def ask(port: int, **options: object) -> Association:
    arguments = {
        "calling_ae": "HOZI",
        "called_ae": "RAW",
        "contexts": propose({VERIFICATION: [IMPLICIT]}),
        "timeouts": Timeouts(artim=1),
    } | options
    return associate("127.0.0.1", port, **arguments)  # type: ignore[arg-type]


@contextmanager
def answering(answer: Callable[[Raw], object]) -> Iterator[int]:
    """A port where one caller gets this answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with Raw(server.accept()[0]) as peer:
                try:
                    answer(peer)
                    peer.sock.shutdown(socket.SHUT_WR)
                    while peer.sock.recv(1000):
                        pass
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_it_says_that_nothing_listens() -> None:
    with pytest.raises(Unreachable, match="nothing listens") as caught:
        ask(free_port())
    assert caught.value.kind == "refused"
    assert not caught.value.permanent


@pytest.mark.parametrize("host", ["no-such-host.invalid", "host with spaces", "é" * 70, "." * 5])
def test_it_says_that_a_name_is_unknown(host: str) -> None:
    with pytest.raises(Unreachable) as caught:
        associate(host, 104, calling_ae="HOZI", called_ae="RAW", contexts=propose({VERIFICATION: [IMPLICIT]}))
    assert caught.value.kind == "name"


def test_it_says_that_there_is_no_route() -> None:
    with pytest.raises(Unreachable) as caught:
        associate(
            "255.255.255.255",
            104,
            calling_ae="HOZI",
            called_ae="RAW",
            contexts=propose({VERIFICATION: [IMPLICIT]}),
            timeouts=Timeouts(artim=1),
        )
    assert caught.value.kind in ("no-route", "timeout")


def test_it_says_that_a_host_does_not_answer() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        waiting = []
        try:
            for _ in range(4):  # fill the queue of connections that nobody accepts
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
                waiting.append(sock)
            with pytest.raises(Unreachable) as caught:
                ask(port, timeouts=Timeouts(artim=0.3))
            assert caught.value.kind == "timeout"
        finally:
            for sock in waiting:
                sock.close()


@pytest.mark.parametrize(
    ("rejection", "words", "permanent"),
    [
        (Rejection(1, 1, 3), "calling", True),
        (Rejection(1, 1, 7), "another AE title", True),
        (Rejection(2, 3, 2), "as many associations as it allows", False),
        (Rejection(2, 3, 1), "congested", False),
        (Rejection(1, 9, 9), "does not know", True),
    ],
)
def test_it_says_why_the_peer_refused(rejection: Rejection, words: str, permanent: bool) -> None:
    with answering(lambda peer: (peer.pdu(), peer.send(pdu.encode_rejection(rejection)))) as port:
        with pytest.raises(Rejected, match=words) as caught:
            ask(port)
    error = caught.value
    assert (error.result, error.source, error.reason) == (rejection.result, rejection.source, rejection.reason)
    assert error.permanent is permanent


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"", Lost, "closed"),
        (pdu.encode_abort(2, 1), Aborted, "unrecognized PDU"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProtocolError, "another service"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ProtocolError, "another service"),
        (pdu.encode_release_response(), ProtocolError, "as DICOM says"),
        (b"\2\0\xff\xff\xff\xff", ProtocolError, "too long"),
        (b"\3\0\0\0\0\2ab", ProtocolError, "too short"),
        (b"\7\0\0\0\0\2ab", ProtocolError, "too short"),
        (b"\2\0\0\0\0\4abcd", ProtocolError, "too short"),
        (b"\x15\3\3\0\2\2\x28", Unreachable, "expects TLS"),
        (b"\2\0", Lost, "closed"),
    ],
)
def test_it_says_what_came_instead_of_an_answer(answer: bytes, error: type[Exception], words: str) -> None:
    with answering(lambda peer: (peer.pdu(), peer.send(answer))) as port, pytest.raises(error, match=words):
        ask(port)


def test_it_aborts_a_peer_that_does_not_answer_the_request() -> None:
    heard: list[tuple[int, bytes]] = []

    def answer(peer: Raw) -> None:
        peer.pdu()
        heard.append(peer.pdu())

    with answering(answer) as port, pytest.raises(TimedOut):
        ask(port, timeouts=Timeouts(artim=0.2))
    assert heard == [(pdu.ABORT, bytes((0, 0, 2, 0)))]


def test_it_has_no_patience_with_an_answer_byte_by_byte() -> None:
    stop = threading.Event()

    def answer(peer: Raw) -> None:
        peer.pdu()
        for byte in b"\2\0\0\0\xff\0" + bytes(600):
            peer.send(bytes((byte,)))
            if stop.wait(0.02):
                return

    with answering(answer) as port, pytest.raises(TimedOut):
        try:
            ask(port, timeouts=Timeouts(artim=0.3))
        finally:
            stop.set()


@pytest.mark.parametrize(
    "options",
    [
        {"calling_ae": ""},
        {"calling_ae": "A" * 17},
        {"called_ae": "HÔPITAL"},
        {"contexts": []},
        {"contexts": [ProposedContext(2, VERIFICATION, (IMPLICIT,))]},
        {"contexts": [ProposedContext(1, VERIFICATION, (IMPLICIT,))] * 2},
        {"contexts": [ProposedContext(257, VERIFICATION, (IMPLICIT,))]},
        {"contexts": [ProposedContext(1, "é", (IMPLICIT,))]},
    ],
)
def test_it_proposes_nothing_that_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises(Refused):
        ask(1, **options)


def test_it_proposes_at_most_128_contexts() -> None:
    contexts = propose({f"1.2.{number}": [IMPLICIT] for number in range(128)})
    assert (contexts[0].id, contexts[-1].id) == (1, 255)
    with pytest.raises(Refused, match="128"):
        propose({f"1.2.{number}": [IMPLICIT] for number in range(129)})


def test_it_knows_what_was_agreed_on() -> None:
    def answer(peer: Raw) -> None:
        _, body = peer.pdu()
        request = pdu.decode_request(body)
        assert request.identity == UserIdentity(1, True, b"radiographer")
        said = AssociateAnswer(
            (ContextAnswer(1, 0, EXPLICIT), ContextAnswer(3, 3, ""), ContextAnswer(5, 0, IMPLICIT)),
            roles={CT_IMAGE: (True, True)},
            extended={STUDY_FIND: b"\1\0"},
            identity_response=b"",
            max_pdu=4096,
            implementation_version="RAW",
        )
        peer.send(pdu.encode_answer(request, said))

    with answering(answer) as port:
        association = ask(
            port,
            contexts=propose({CT_IMAGE: [IMPLICIT, EXPLICIT], VERIFICATION: [IMPLICIT], STUDY_FIND: [IMPLICIT]}),
            roles={CT_IMAGE: (True, True)},
            extended={STUDY_FIND: b"\1\1"},
            identity=UserIdentity(1, True, b"radiographer"),
        )
        assert sorted(association.contexts) == [1, 5]
        (context,) = association.contexts_for(CT_IMAGE)
        assert (context.transfer_syntax, context.as_scu, context.as_scp) == (EXPLICIT, True, True)
        assert association.contexts_for(VERIFICATION) == []
        assert association.extended == {STUDY_FIND: b"\1\0"}
        assert association.answer.identity_response == b""
        assert association.answer.implementation_version == "RAW"
        assert association.peer.port == port
        association.close()


def test_it_names_itself(acceptor: Acceptor, received: Received) -> None:
    from hozi.core.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

    with ask(acceptor.port) as association:
        assert association.answer.implementation_uid == IMPLEMENTATION_CLASS_UID
        assert association.answer.implementation_version == IMPLEMENTATION_VERSION_NAME
        association.echo(association.contexts[1])
    request = received.associations[0].request
    assert (request.implementation_uid, request.implementation_version) == (
        IMPLEMENTATION_CLASS_UID,
        IMPLEMENTATION_VERSION_NAME,
    )
