"""The listener: who may associate, and which handler answers which request. What is offered stands in `offer`."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any, Final

from django.db import Error as DatabaseProblem
from django.db import close_old_connections, connections

from hozi.accounts.authorise import of_device
from hozi.archive.place import clear_scratch
from hozi.archive.receive import Receiver
from hozi.audit.record import Code, Entry, Outcome, record
from hozi.core.dimse import command as commands
from hozi.core.dimse import negotiation, status
from hozi.core.dimse.acceptor import Acceptance, Acceptor, AcceptorLimits, Rejection
from hozi.core.dimse.association import AssociateRequest, Association, Message, Peer, UserIdentity
from hozi.core.dimse.terms import CALLED_AE_NOT_RECOGNIZED, CALLING_AE_NOT_RECOGNIZED, NO_REASON_GIVEN
from hozi.core.dimse.tls import server_context
from hozi.core.errors import HoziError, Refused, Unavailable
from hozi.doors.dimse import commitment, find, get, move, offer, store
from hozi.doors.dimse.reach import timeouts
from hozi.doors.dimse.session import Session
from hozi.facilities import devices
from hozi.facilities.devices import NotRecognised, Permit
from hozi.facilities.heard import EARS
from hozi.settings import HOZI

log = logging.getLogger(__name__)

Handler = Callable[[Session, Message], None]

_STOP_SECONDS: Final = 15.0
_USER_NAME, _USER_NAME_AND_PASSCODE = 1, 2


def echo(session: Session, message: Message) -> None:
    """C-ECHO: we are here (PS3.4 Annex A)."""
    session.association.respond(message, status.SUCCESS)


#: Which handler answers which request.
HANDLERS: Final[dict[int, Handler]] = {
    commands.C_ECHO_RQ: echo,
    commands.C_STORE_RQ: store.store,
    commands.C_FIND_RQ: find.find_matches,
    commands.C_MOVE_RQ: move.move,
    commands.C_GET_RQ: get.get,
    commands.N_ACTION_RQ: commitment.request,
}


def decide(request: AssociateRequest, peer: Peer) -> Acceptance | Rejection:
    """Whether the caller is an admitted device, and what is agreed with it. Everybody else has knocked."""
    try:
        permit = devices.recognise(
            request.calling_ae, request.called_ae, peer.address, peer.certificate_subject, HOZI.ae_title
        )
        if isinstance(permit, NotRecognised):
            devices.knocked(
                request.calling_ae, request.called_ae, peer.address, peer.certificate_subject, reason=permit.reason
            )
            return CALLED_AE_NOT_RECOGNIZED if permit.reason == "called-ae" else CALLING_AE_NOT_RECOGNIZED
        if not _identified(permit, request.identity):
            _record_wrong_identity(permit, peer)
            return NO_REASON_GIVEN
        EARS.heard(permit.name, peer.address)
        return _accept(request, permit)
    finally:
        # The thread may end right after this; on its next use, a served association opens a connection again.
        connections.close_all()


def _accept(request: AssociateRequest, permit: Permit) -> Acceptance:
    identity = request.identity
    answered = (
        identity is not None and identity.response_requested and identity.type in (_USER_NAME, _USER_NAME_AND_PASSCODE)
    )
    return Acceptance(
        contexts=negotiation.choose(request, offer.transfer_syntaxes),
        roles=negotiation.choose_roles(request, offer.roles),
        extended=offer.extended(request.extended),
        # For a user name, the response carries no data; it says that the identity was accepted (PS3.7 §D.3.3.7.2).
        identity_response=b"" if answered else None,
        granted=permit,
    )


def _identified(permit: Permit, identity: UserIdentity | None) -> bool:
    """Whether the device presents the user identity that it must present; where none is asked for, any will do."""
    if not permit.username:
        return True
    if identity is None or identity.type not in (_USER_NAME, _USER_NAME_AND_PASSCODE):
        return False
    name = identity.primary.decode("utf-8", "replace")
    return devices.verify_identity(permit, name, identity.secondary.decode("utf-8", "replace"))


def _record_wrong_identity(permit: Permit, peer: Peer) -> None:
    detail = {"type": "110126", "reason": "user identity"}
    record(
        Entry(
            Code.SECURITY_ALERT,
            "E",
            permit.name,
            Outcome.MINOR_FAILURE,
            address=peer.address,
            facility=permit.facility,
            detail=detail,
        )
    )


class Service:
    """Answers the requests of admitted devices, each association in its own thread."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def serve(self, association: Association) -> None:
        """Works on the association until it is over."""
        permit = association.granted
        assert isinstance(permit, Permit)  # noqa: S101 - `decide` has put it there
        session = Session(association, permit, self._receiver, of_device(permit, association.peer.address))
        try:
            while (message := association.receive()) is not None:
                self._answer(session, message)
        finally:
            connections.close_all()

    def _answer(self, session: Session, message: Message) -> None:
        handler = HANDLERS.get(message.command.field)
        if handler is None or not offer.serves(message.context.abstract_syntax, message.command.field):
            session.refuse(message, status.UNRECOGNIZED_OPERATION, "this service is not offered in this context")
            return
        try:
            handler(session, message)
        except (Refused, Unavailable, DatabaseProblem, OSError) as error:
            if isinstance(error, ConnectionError):
                raise
            # Nothing was acknowledged; the sender has what it sent and may send it again.
            incident = uuid.uuid4().hex[:8]
            log.error("a request failed: incident %s, %s", incident, type(error).__name__, exc_info=_debug())
            comment = f"failed here; ask for incident {incident} in the log"
            # The database may be what failed: then there is no audit either.
            session.refuse(message, status.PROCESSING_FAILURE, comment, recorded=False)
            close_old_connections()


def _debug() -> bool:
    """Whether stack traces go into the log: their text may hold what the log must not hold."""
    return HOZI.log_level == "DEBUG"


class Listener:
    """This process's DICOM ports, and what answers on them.

    ``port`` and ``tls_port`` (None: switched off) are what the settings say when left out; 0 picks a free one.
    """

    def __init__(self, port: int = HOZI.dicom_port, tls_port: int | None = HOZI.dicom_tls_port) -> None:
        self.receiver = Receiver()
        self._acceptors = {"port": _acceptor(self.receiver, port, secure=False)}
        if tls_port is not None:
            self._acceptors["tls_port"] = _acceptor(self.receiver, tls_port, secure=True)

    def start(self) -> dict[str, int]:
        """Takes in what a crash left in the incoming area, and then lets devices call. Returns the ports."""
        self.receiver.take_in_leftovers()
        clear_scratch()
        connections.close_all()
        EARS.start()
        for acceptor in self._acceptors.values():
            acceptor.start()
        return {name: acceptor.port for name, acceptor in self._acceptors.items()}

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Lets no more devices call, and gives those that are being served so many seconds."""
        for acceptor in self._acceptors.values():
            acceptor.stop(seconds)
        self.receiver.close()
        EARS.stop()
        connections.close_all()


def run(stop: threading.Event, ready: Callable[[dict[str, Any]], None]) -> None:
    """Listens until ``stop`` is set. ``ready`` is told the ports once devices can call."""
    listener = Listener()
    try:
        ready(listener.start())
        stop.wait()
    finally:
        listener.stop()


def _acceptor(receiver: Receiver, port: int, *, secure: bool) -> Acceptor:
    tls = None
    if secure:
        if HOZI.tls_certificate is None or HOZI.tls_key is None or HOZI.tls_ca is None:
            raise NoCertificate("HOZI_DICOM_TLS_PORT needs HOZI_TLS_CERTIFICATE, HOZI_TLS_KEY and HOZI_TLS_CA")
        tls = server_context(HOZI.tls_certificate, HOZI.tls_key, HOZI.tls_ca)
    return Acceptor(
        HOZI.dicom_host,
        port,
        tls,
        decide=decide,
        serve=Service(receiver).serve,
        limits=AcceptorLimits(total=HOZI.max_associations, per_address=HOZI.max_associations_per_address),
        timeouts=timeouts(),
        max_pdu=HOZI.max_pdu,
    )


class NoCertificate(HoziError):
    """TLS is switched on without the files that it needs."""
