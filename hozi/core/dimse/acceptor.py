"""Waits for peers that ask for an association, and serves each of them in a thread of its own (PS3.8 §7.1)."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

from hozi.core.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from hozi.core.dimse import pdu
from hozi.core.dimse import tls as secure
from hozi.core.dimse.association import Association
from hozi.core.dimse.failures import (
    INVALID_PARAMETER,
    PROVIDER,
    UNEXPECTED_PDU,
    UNRECOGNIZED_PDU,
    Aborted,
    Lost,
    ProtocolError,
    TimedOut,
)
from hozi.core.dimse.negotiation import agreed
from hozi.core.dimse.slots import AcceptorLimits, Slots
from hozi.core.dimse.terms import (
    APPLICATION_CONTEXT,
    APPLICATION_CONTEXT_NOT_SUPPORTED,
    DEFAULT_MAX_PDU,
    LOCAL_LIMIT_EXCEEDED,
    NO_REASON,
    PROTOCOL_VERSION_NOT_SUPPORTED,
    TEMPORARY_CONGESTION,
    Acceptance,
    AssociateAnswer,
    AssociateRequest,
    ContextAnswer,
    Peer,
    Rejection,
    Timeouts,
)
from hozi.core.dimse.transport import Transport

__all__ = ["Acceptance", "Acceptor", "AcceptorLimits", "ContextAnswer", "Rejection"]

Decide = Callable[[AssociateRequest, Peer], Acceptance | Rejection]
Serve = Callable[[Association], None]

_log = logging.getLogger(__name__)

_BACKLOG: Final = 512
_IDLE_BEFORE_STOP: Final = 1.0
_MAPPED_IPV4: Final = "::ffff:"


class Acceptor:
    """A listening port.

    ``host``: an address to listen at, "" for all of IPv4 and IPv6; ``port`` 0 for any free one.
    ``decide`` answers a proposal, ``serve`` works on an association until it is over. Both run in the connection's
    thread. What ``serve`` raises ends its association by an A-ABORT; the log gets the error's kind and place only.
    ``max_pdu``: what we say a peer may send at once; longer PDUs are read all the same.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        *,
        decide: Decide,
        serve: Serve,
        limits: AcceptorLimits | None = None,
        timeouts: Timeouts | None = None,
        max_pdu: int = DEFAULT_MAX_PDU,
    ) -> None:
        self.decide = decide
        self.serve = serve
        self.tls = tls
        self.timeouts = timeouts or Timeouts()
        self.max_pdu = max_pdu
        self.limits = limits or AcceptorLimits()
        self.slots = Slots(self.limits)
        self._address = (host, port)
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._arrivals = 0

    @property
    def port(self) -> int:
        """The port that is listened at; the one asked for while not started."""
        if self._listener is None:
            return self._address[1]
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        """Listen from now on. Raises OSError when the port cannot be had."""
        host, port = self._address
        if host:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        elif socket.has_dualstack_ipv6():
            self._listener = socket.create_server(
                (host, port),
                family=socket.AF_INET6,
                backlog=_BACKLOG,
                dualstack_ipv6=True,
            )
        else:
            self._listener = socket.create_server((host, port), backlog=_BACKLOG)
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), name="dimse-accept", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10) -> None:
        """Take no more connections, let associations finish for ``timeout`` seconds, then abort what is left.

        Associations on which nothing is under way do not hold the rest up: they are aborted after a second.
        """
        self._stopping = True
        if self._listener is not None:
            try:
                self._listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self._listener.close()
        if self._thread is not None:
            self._thread.join()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not self.slots.wait_empty(0.1):
            for connection in self.slots.connections():
                if isinstance(connection, Incoming) and connection.is_idle:
                    connection.interrupt()
        for connection in self.slots.connections():
            connection.interrupt()
        self.slots.wait_empty(5)

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping:
            try:
                sock, address = listener.accept()
            except OSError:
                if self._stopping:
                    return
                _log.warning("dimse.accept_failed")
                time.sleep(0.1)  # out of file descriptors, say: what is open goes on, and frees some
                continue
            self._arrivals += 1
            incoming = Incoming(self, sock, address[0].removeprefix(_MAPPED_IPV4), address[1], self._arrivals)
            self.slots.arrive(incoming)
            try:
                threading.Thread(target=incoming.run, name=f"dimse-{incoming.number}", daemon=True).start()
            except RuntimeError:
                _log.warning("dimse.no_thread", extra={"connection": incoming.number})
                sock.close()
                self.slots.leave(incoming)


class Incoming:
    """One accepted connection, from the handshake to its end."""

    def __init__(self, acceptor: Acceptor, sock: socket.socket, address: str, port: int, number: int) -> None:
        self.address = address
        self.number = number
        self._port = port
        self._acceptor = acceptor
        self._sock = sock
        self._transport: Transport | None = None
        self._association: Association | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing has been under way on the association for a while."""
        since = self._association.idle_since if self._association is not None else None
        return since is not None and time.monotonic() - since >= _IDLE_BEFORE_STOP

    def interrupt(self) -> None:
        """End the connection from another thread."""
        if self._association is not None:
            self._association.interrupt()
            return
        try:
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            pass

    def run(self) -> None:
        """Serve the connection and free its place, whatever happens."""
        try:
            self._negotiate_and_serve()
        except (Aborted, Lost, TimedOut, ProtocolError) as error:
            _log.info("dimse.ended", extra={"connection": self.number, "because": type(error).__name__})
        except Exception as error:  # noqa: BLE001 - one connection must not take the listener down
            _log.error("dimse.failed", extra={"connection": self.number, **_place(error)})
        finally:
            self._close()
            self._acceptor.slots.leave(self)

    def _close(self) -> None:
        if self._association is not None and self._association.is_open:
            self._association.abort()
        elif self._transport is not None:
            self._transport.close()
        self._sock.close()

    def _negotiate_and_serve(self) -> None:
        acceptor = self._acceptor
        deadline = time.monotonic() + acceptor.timeouts.artim
        subject = ""
        if acceptor.tls is not None:
            subject = self._secure(acceptor.tls)
        self._transport = transport = Transport(self._sock)
        transport.patience_until(deadline)
        try:
            request = _request(transport)
            peer = Peer(self.address, self._port, subject, request.calling_ae, request.called_ae)
            decision = self._decision(request, peer)
            transport.patience(acceptor.timeouts.artim)
            if isinstance(decision, Rejection):
                transport.send((pdu.encode_rejection(decision),))
                transport.linger()
                return
            self._association = association = self._accept(transport, request, peer, decision)
        except ProtocolError as error:
            transport.send((pdu.encode_abort(PROVIDER, error.abort_reason),))
            transport.linger()
            raise
        acceptor.serve(association)

    def _secure(self, tls: ssl.SSLContext) -> str:
        """The TLS handshake: no place is taken in the accepting thread, and its time is limited."""
        self._sock.settimeout(self._acceptor.timeouts.artim)
        try:
            self._sock = sock = tls.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
            sock.do_handshake()
            return secure.subject(sock)
        except TimeoutError as error:
            raise TimedOut("no TLS handshake in time") from error
        except (OSError, ValueError) as error:
            raise Lost("the TLS handshake failed") from error

    def _decision(self, request: AssociateRequest, peer: Peer) -> Acceptance | Rejection:
        if not request.protocol_version & 1:
            return PROTOCOL_VERSION_NOT_SUPPORTED
        if request.application_context != APPLICATION_CONTEXT:
            return APPLICATION_CONTEXT_NOT_SUPPORTED
        if not self._acceptor.slots.establish(self):
            _log.warning("dimse.limit", extra={"connection": self.number})
            return LOCAL_LIMIT_EXCEEDED
        try:
            return self._acceptor.decide(request, peer)
        except Exception as error:  # noqa: BLE001 - the peer gets an answer and may come again
            _log.error("dimse.undecided", extra={"connection": self.number, **_place(error)})
            return TEMPORARY_CONGESTION

    def _accept(
        self, transport: Transport, request: AssociateRequest, peer: Peer, acceptance: Acceptance
    ) -> Association:
        acceptor = self._acceptor
        given = {answer.id: answer for answer in acceptance.contexts}
        answer = AssociateAnswer(
            contexts=tuple(
                given.get(context.id) or ContextAnswer(context.id, NO_REASON) for context in request.contexts
            ),
            roles={uid: roles for uid, roles in acceptance.roles.items() if uid in request.roles},
            extended={uid: said for uid, said in acceptance.extended.items() if uid in request.extended},
            identity_response=acceptance.identity_response,
            max_pdu=acceptor.max_pdu,
            implementation_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version=IMPLEMENTATION_VERSION_NAME,
        )
        contexts = agreed(request, answer, is_requestor=False)
        association = Association(transport, request, answer, contexts, peer, acceptor.timeouts, is_requestor=False)
        association.granted = acceptance.granted
        transport.send((pdu.encode_answer(request, answer),))
        return association


def _request(transport: Transport) -> AssociateRequest:
    """Read the A-ASSOCIATE-RQ that has to be the first PDU; anything else raises ProtocolError."""
    transport.need(1)
    first = transport.view[transport.start]
    if first != pdu.ASSOCIATE_RQ:
        known = pdu.ASSOCIATE_RQ < first <= pdu.ABORT
        raise ProtocolError(
            "something else than a request for an association", UNEXPECTED_PDU if known else UNRECOGNIZED_PDU
        )
    transport.need(pdu.HEADER.size)
    _, length = pdu.HEADER.unpack_from(transport.view, transport.start)
    if length > pdu.MAX_ASSOCIATE_LENGTH:
        raise ProtocolError("a request for an association that is too long", INVALID_PARAMETER)
    transport.start += pdu.HEADER.size
    return pdu.decode_request(transport.take(length))


def _place(error: Exception) -> dict[str, str]:
    """Kind and place of an error without its text, which may hold what no log may hold."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return {"error": type(error).__name__, "place": place}
