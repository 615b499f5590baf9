"""What the tests of this folder start: acceptors of ours, and peers that speak in single bytes."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hozi.core.dimse import command as commands
from hozi.core.dimse import pdu
from hozi.core.dimse.acceptor import Acceptance, Acceptor
from hozi.core.dimse.association import Association, Context, Message, Peer, ProposedContext, Timeouts
from hozi.core.dimse.command import Command
from hozi.core.dimse.negotiation import choose, choose_roles
from hozi.core.dimse.requestor import associate, propose
from hozi.core.dimse.terms import AssociateAnswer, AssociateRequest

VERIFICATION = "1.2.840.10008.1.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"

RELEASE_RQ = pdu.encode_release_request()
RELEASE_RP = pdu.encode_release_response()

IMPATIENT = Timeouts(artim=1, idle=2, message=1, response=2)


class Everything(Collection[str]):
    """Every transfer syntax there is."""

    def __contains__(self, item: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def accept_everything(request: AssociateRequest, peer: Peer) -> Acceptance:
    return Acceptance(
        choose(request, lambda abstract_syntax: Everything()), choose_roles(request, lambda uid: (True, True))
    )


@dataclass
class Received:
    """Serves associations by writing down what comes and answering success."""

    messages: list[tuple[Command, Context, bytes]] = field(default_factory=list)
    associations: list[Association] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    ended: int = 0

    def serve(self, association: Association) -> None:
        self.associations.append(association)
        try:
            while (message := association.receive()) is not None:
                dataset = message.dataset(1 << 30)
                with self.changed:
                    self.messages.append((message.command, message.context, dataset))
                    self.changed.notify_all()
                association.respond(message, 0)
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            with self.changed:
                self.ended += 1
                self.changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.messages) >= count, 20)

    def wait_for_end(self, count: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.ended >= count, 20)


Listen = Callable[..., Acceptor]


@contextmanager
def listening(serve: Callable[[Association], None], **options: Any) -> Iterator[Acceptor]:
    """An acceptor on a free port of this machine, stopped at the end."""
    acceptor = Acceptor("127.0.0.1", 0, decide=options.pop("decide", accept_everything), serve=serve, **options)
    acceptor.start()
    try:
        yield acceptor
    finally:
        acceptor.stop(0)


class Raw:
    """A peer that says exactly the bytes that it is told to say."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def to(cls, port: int) -> Raw:
        return cls(socket.create_connection(("127.0.0.1", port)))

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *pieces: bytes) -> None:
        self.sock.sendall(b"".join(pieces))

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                raise EOFError(data)
            data += piece
        return data

    def pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self.exactly(6))
        return kind, self.exactly(length)

    def command(self) -> Command:
        kind, body = self.pdu()
        assert kind == pdu.P_DATA_TF
        length, _, control = struct.unpack_from(">IBB", body)
        assert control == 3
        assert length == len(body) - 4
        return commands.decode(body[6:])

    def is_closed(self) -> bool:
        """Whether the other side closes now, without another byte."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def associate(self, *abstract_syntaxes: str, **options: Any) -> AssociateAnswer:
        """Ask for an association with implicit and explicit little endian for each SOP class."""
        contexts = tuple(
            ProposedContext(2 * index + 1, uid, (IMPLICIT, EXPLICIT))
            for index, uid in enumerate(abstract_syntaxes or (VERIFICATION,))
        )
        request = AssociateRequest("RAW", "HOZI", contexts, **options)
        self.send(pdu.encode_request(request))
        kind, body = self.pdu()
        assert kind == pdu.ASSOCIATE_AC
        return pdu.decode_answer(body)

    def accept(self, **options: Any) -> AssociateRequest:
        """Answer the request for an association that comes by accepting all contexts."""
        kind, body = self.pdu()
        assert kind == pdu.ASSOCIATE_RQ
        request = pdu.decode_request(body)
        contexts = tuple(choose(request, lambda uid: Everything()))
        self.send(pdu.encode_answer(request, AssociateAnswer(contexts, **options)))
        return request


def p_data(*fragments: bytes) -> bytes:
    """One P-DATA PDU of ready presentation data values."""
    body = b"".join(fragments)
    return struct.pack(">BxI", 4, len(body)) + body


def pdv(context_id: int, control: int, data: bytes) -> bytes:
    """One presentation data value. ``control``: 1 command, 2 last, 3 both, 0 neither."""
    return struct.pack(">IBB", len(data) + 2, context_id, control) + data


def store_command(message_id: int = 1, **elements: Any) -> bytes:
    """A C-STORE-RQ of an invented CT image."""
    elements = {
        "affected_sop_class": CT_IMAGE,
        "affected_sop_instance": f"1.2.3.{message_id}",
        "has_dataset": True,
    } | elements
    return commands.encode(Command(commands.C_STORE_RQ, message_id=message_id, **elements))


def echo_command(message_id: int = 1) -> bytes:
    return commands.encode(Command(commands.C_ECHO_RQ, message_id=message_id, affected_sop_class=VERIFICATION))


def store_message(message_id: int, dataset: bytes, context_id: int = 1) -> bytes:
    """A whole C-STORE-RQ in two PDUs."""
    return p_data(pdv(context_id, 3, store_command(message_id))) + p_data(pdv(context_id, 2, dataset))


def whole(message: Message) -> bytes:
    return b"".join(bytes(piece) for piece in message.fragments())


@contextmanager
def served(
    serve: Callable[[Association], object],
    *sop_classes: str,
    roles: dict[str, tuple[bool, bool]] | None = None,
    **options: Any,
) -> Iterator[tuple[Raw, Future[object]]]:
    """A raw peer associated with an acceptor that runs ``serve``; the future gives what that returned or raised."""
    outcome: Future[object] = Future()

    def keep(association: Association) -> None:
        try:
            outcome.set_result(serve(association))
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            outcome.set_exception(error)

    with listening(keep, **options) as acceptor, Raw.to(acceptor.port) as peer:
        answer = peer.associate(*sop_classes or (CT_IMAGE, VERIFICATION), roles=roles or {})
        assert answer.roles == (roles or {})
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
        association.respond(message, 0)
    return datasets


def last_word(peer: Raw) -> bytes:
    """Read up to an A-ABORT, close as the standard has it, and return what it says."""
    while True:
        kind, body = peer.pdu()
        if kind == pdu.ABORT:
            peer.sock.close()
            return body
        assert kind == pdu.P_DATA_TF
