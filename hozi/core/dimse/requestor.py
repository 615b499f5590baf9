"""Asks a peer for an association (PS3.8 §7.1)."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
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
    Rejected,
    TimedOut,
    Unreachable,
)
from hozi.core.dimse.negotiation import agreed
from hozi.core.dimse.terms import (
    DEFAULT_MAX_PDU,
    AssociateRequest,
    Peer,
    ProposedContext,
    Timeouts,
    UserIdentity,
)
from hozi.core.dimse.transport import Transport
from hozi.core.errors import HoziError, Refused

__all__ = ["ProposedContext", "Rejected", "Unreachable", "associate", "propose"]

_NO_ROUTE: Final = frozenset((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL))
_TLS_RECORDS: Final = frozenset((0x14, 0x15, 0x16, 0x17))


def propose(syntaxes: Mapping[str, Sequence[str]]) -> list[ProposedContext]:
    """Make presentation contexts with odd IDs from 1, one for each abstract syntax with its transfer syntaxes.

    Raises Refused for more than the 128 that one association can have.
    """
    if len(syntaxes) > pdu.MAX_CONTEXTS:
        raise Refused(f"an association has at most {pdu.MAX_CONTEXTS} presentation contexts")
    return [
        ProposedContext(2 * index + 1, abstract, tuple(transfer))
        for index, (abstract, transfer) in enumerate(syntaxes.items())
    ]


def associate(
    host: str,
    port: int,
    *,
    calling_ae: str,
    called_ae: str,
    contexts: Sequence[ProposedContext],
    roles: Mapping[str, tuple[bool, bool]] | None = None,
    extended: Mapping[str, bytes] | None = None,
    identity: UserIdentity | None = None,
    max_pdu: int = DEFAULT_MAX_PDU,
    timeouts: Timeouts | None = None,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> Association:
    """Connect and negotiate; return the association, which may have no accepted context at all.

    ``max_pdu``: what the peer may send at once, 0 for no limit. ``server_hostname``: the name that the peer's
    certificate has to carry, ``host`` by default. Connection, TLS handshake and negotiation have
    ``timeouts.artim`` seconds together.

    Raises Unreachable (no connection), Rejected (A-ASSOCIATE-RJ), Aborted, Lost (closed without a word), TimedOut
    (connected, no answer), ProtocolError (it answers, but not in DICOM), Refused (a proposal that cannot be sent).
    """
    timeouts = timeouts or Timeouts()
    request = AssociateRequest(
        calling_ae=calling_ae,
        called_ae=called_ae,
        contexts=tuple(contexts),
        roles=dict(roles or {}),
        extended=dict(extended or {}),
        identity=identity,
        max_pdu=max_pdu,
        implementation_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version=IMPLEMENTATION_VERSION_NAME,
    )
    encoded = _encoded(request)
    deadline = time.monotonic() + timeouts.artim
    sock = _connected(host, port, timeouts.artim)
    try:
        address, actual_port = sock.getpeername()[:2]
        subject = ""
        if tls is not None:
            sock = _secured(sock, tls, server_hostname or host, deadline)
            subject = secure.subject(sock)
        peer = Peer(address, actual_port, subject, calling_ae, called_ae)
        transport = Transport(sock)
        return _negotiated(transport, request, encoded, peer, timeouts, deadline)
    except BaseException:
        sock.close()
        raise


def _encoded(request: AssociateRequest) -> bytes:
    ids = [context.id for context in request.contexts]
    if not ids or len(ids) > pdu.MAX_CONTEXTS or len(set(ids)) != len(ids) or not all(i % 2 and i < 256 for i in ids):
        raise Refused("presentation contexts need 1 to 128 different odd IDs")
    try:
        return pdu.encode_request(request)
    except ValueError as error:
        raise Refused("an AE title has 1 to 16 ASCII characters, a UID only digits and dots") from error


def _connected(host: str, port: int, seconds: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=seconds)
    except socket.gaierror as error:
        raise Unreachable("name") from error
    except ConnectionRefusedError as error:
        raise Unreachable("refused") from error
    except TimeoutError as error:
        raise Unreachable("timeout") from error
    except (OSError, UnicodeError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno in _NO_ROUTE:
            raise Unreachable("no-route") from error
        if isinstance(error, UnicodeError):
            raise Unreachable("name") from error
        raise Unreachable("refused", type(error).__name__) from error


def _secured(sock: socket.socket, tls: ssl.SSLContext, name: str, deadline: float) -> ssl.SSLSocket:
    try:
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        return tls.wrap_socket(sock, server_hostname=name)
    except TimeoutError as error:
        raise Unreachable(
            "tls", "the peer does not answer the TLS handshake; it may not use TLS at this port"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise Unreachable("tls", f"the peer's certificate is not trusted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Unreachable("tls", _reason(error)) from error
    except (OSError, ValueError) as error:
        raise Unreachable("tls", "the peer closed the connection during the TLS handshake") from error


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "handshake failed").replace("_", " ").lower()


def _negotiated(
    transport: Transport, request: AssociateRequest, encoded: bytes, peer: Peer, timeouts: Timeouts, deadline: float
) -> Association:
    try:
        transport.patience_until(deadline)
        transport.send((encoded,))
        kind, body = _answer(transport)
        if kind == pdu.ASSOCIATE_RJ:
            rejection = pdu.decode_rejection(body)
            raise Rejected(rejection.result, rejection.source, rejection.reason)
        answer = pdu.decode_answer(body)
        contexts = agreed(request, answer, is_requestor=True)
        return Association(transport, request, answer, contexts, peer, timeouts, is_requestor=True)
    except Lost as error:
        if transport.is_tls:
            raise _refused_by_tls(transport, error) from error
        raise
    except ProtocolError as error:
        _last_word(transport, error.abort_reason)
        raise
    except TimedOut:
        _last_word(transport, 0)
        raise


def _refused_by_tls(transport: Transport, error: Lost) -> Unreachable:
    """With TLS 1.3 a peer that does not like our certificate says so, or just closes, after the handshake.

    The alert may still wait to be read where sending our request has failed already.
    """
    cause = error.__cause__
    if not isinstance(cause, ssl.SSLError):
        try:
            transport.need(1)
        except (Lost, TimedOut) as later:
            cause = later.__cause__
    if isinstance(cause, ssl.SSLError):
        return Unreachable("tls", _reason(cause))
    return Unreachable("tls", "the peer closed the connection after the handshake; it may not trust our certificate")


def _last_word(transport: Transport, reason: int) -> None:
    try:
        transport.patience(1)
        transport.send((pdu.encode_abort(PROVIDER, reason),))
    except HoziError:
        pass


def _answer(transport: Transport) -> tuple[int, bytes]:
    """Read the one PDU that answers an A-ASSOCIATE-RQ."""
    transport.need(1)
    first = transport.view[transport.start]
    if first in _TLS_RECORDS and not transport.is_tls:
        raise Unreachable("tls", "the peer expects TLS at this port")
    transport.need(pdu.HEADER.size)
    kind, length = pdu.HEADER.unpack_from(transport.view, transport.start)
    if kind not in (pdu.ASSOCIATE_AC, pdu.ASSOCIATE_RJ, pdu.ABORT):
        known = pdu.ASSOCIATE_RQ <= kind <= pdu.ABORT
        raise ProtocolError(
            "the peer does not answer as DICOM says; it may be another service",
            UNEXPECTED_PDU if known else UNRECOGNIZED_PDU,
        )
    if length > (pdu.MAX_ASSOCIATE_LENGTH if kind == pdu.ASSOCIATE_AC else 64):
        raise ProtocolError("an answer that is too long", INVALID_PARAMETER)
    transport.start += pdu.HEADER.size
    body = transport.take(length)
    if kind == pdu.ABORT:
        if len(body) < 4:
            raise ProtocolError("an A-ABORT that is too short", INVALID_PARAMETER)
        raise Aborted(body[2], body[3])
    return kind, body
