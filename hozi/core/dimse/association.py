"""An established association and what can be done with it, in both roles (PS3.7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from hozi.core.dimse import command as commands
from hozi.core.dimse.command import Command
from hozi.core.dimse.conversation import Conversation
from hozi.core.dimse.failures import UNEXPECTED_PDU, Aborted, Lost, ProtocolError, TimedOut
from hozi.core.dimse.inbound import Event
from hozi.core.dimse.message import Message
from hozi.core.dimse.status import is_pending
from hozi.core.dimse.terms import (
    DEFAULT_MAX_PDU,
    AssociateAnswer,
    AssociateRequest,
    Context,
    Peer,
    ProposedContext,
    Timeouts,
    UserIdentity,
)
from hozi.core.dimse.transport import Piece
from hozi.core.errors import HoziError, Refused

__all__ = [
    "DEFAULT_MAX_PDU",
    "Aborted",
    "AssociateAnswer",
    "AssociateRequest",
    "Association",
    "Context",
    "Lost",
    "Message",
    "Peer",
    "ProposedContext",
    "ProtocolError",
    "TimedOut",
    "Timeouts",
    "UserIdentity",
]

_NAMES_THE_INSTANCE: Final = frozenset(
    (
        commands.C_STORE_RQ,
        commands.N_EVENT_REPORT_RQ,
        commands.N_GET_RQ,
        commands.N_SET_RQ,
        commands.N_ACTION_RQ,
        commands.N_CREATE_RQ,
        commands.N_DELETE_RQ,
    )
)
_EARLY_REQUESTS: Final = 16


class Association(Conversation):
    """One association with the services of both roles, used by one thread.

    Every method that talks to the peer can raise, and has then ended the association: Aborted (by the peer), Lost
    (connection gone), TimedOut, ProtocolError (the peer broke the rules; it has been told by an A-ABORT).
    """

    # As the one who is asked

    def receive(self) -> Message | None:
        """Wait for the next request; None when the peer has released the association (it has been answered).

        What is left unread of the message before is skipped. A C-CANCEL for an operation that has ended is ignored.
        """
        with self._watch():
            self._cancels.clear()
            if self._early:
                return self._early.popleft()
            self._skip_dataset()
            while not self._release_asked:
                self.idle_since = time.monotonic()
                message = self._next(self._timeouts.idle)
                self.idle_since = None
                if message is None:
                    break
                if message.command.is_response:
                    raise ProtocolError("a response to nothing that was asked", UNEXPECTED_PDU)
                if message.command.field != commands.C_CANCEL_RQ:
                    return message
            self._answer_release()
            return None

    def respond(self, message: Message, status: int, *, identifier: bytes | None = None, **elements: Any) -> None:
        """Answer a request with a status, in one write.

        ``identifier`` is a dataset in the transfer syntax of the message's context. ``elements`` are further
        attributes of `Command`, such as ``remaining=3`` or ``error_comment="..."``.
        """
        request = message.command
        response = Command(
            request.field | commands.RESPONSE,
            message_id_responded_to=request.message_id,
            affected_sop_class=request.affected_sop_class or request.requested_sop_class,
            status=status,
            has_dataset=identifier is not None,
        )
        if request.field in _NAMES_THE_INSTANCE:
            response.affected_sop_instance = request.affected_sop_instance or request.requested_sop_instance
            response.action_type = request.action_type
            response.event_type = request.event_type
        for name, value in elements.items():
            setattr(response, name, value)
        if self._current is message:
            with self._watch():
                self._skip_dataset()
        self._send(message.context, response, None if identifier is None else (identifier,))
        if not is_pending(status):
            self._cancels.discard(request.message_id)

    def cancelled(self, message_id: int) -> bool:
        """Look, without waiting, whether the peer has cancelled this request of its (C-CANCEL, PS3.7 §9.3.2.3).

        True also when the peer has asked for a release meanwhile, which `receive` will answer. The identifier of the
        request has to be read before. Raises when the peer has gone.
        """
        with self._watch():
            while not (self._release_asked or message_id in self._cancels or self._inbound.in_dataset):
                if len(self._early) >= _EARLY_REQUESTS:
                    break
                event = self._inbound.look()
                if event is Event.NOTHING_YET:
                    break
                message = self._taken(event)
                if message is None:
                    self._release_asked = True
                elif message.command.field == commands.C_CANCEL_RQ:
                    self._cancels.add(message.command.message_id_responded_to)
                elif message.command.is_response:
                    raise ProtocolError("a response to nothing that was asked", UNEXPECTED_PDU)
                else:
                    self._early.append(message)
        return self._release_asked or message_id in self._cancels

    # As the one who asks

    def echo(self, context: Context) -> Command:
        """C-ECHO (PS3.7 §9.1.5): return the response."""
        return self._ask(context, Command(commands.C_ECHO_RQ, affected_sop_class=context.abstract_syntax)).command

    def store(
        self,
        context: Context,
        sop_class: str,
        sop_instance: str,
        chunks: Iterable[Piece],
        *,
        originator: tuple[str, int] | None = None,
        priority: int = commands.MEDIUM_PRIORITY,
    ) -> Command:
        """C-STORE (PS3.7 §9.1.1): send a dataset as it is read and return the response.

        ``chunks``: the dataset in the context's transfer syntax; a chunk may be overwritten once the next is asked
        for. ``originator``: AE title and message ID of the C-MOVE that this is a part of. A C-CANCEL that comes
        meanwhile is kept for `cancelled`. An error out of ``chunks`` aborts the association, as the message
        cannot be completed.
        """
        self.send_store(context, sop_class, sop_instance, chunks, originator=originator, priority=priority)
        return self.store_response()

    def send_store(
        self,
        context: Context,
        sop_class: str,
        sop_instance: str,
        chunks: Iterable[Piece],
        *,
        originator: tuple[str, int] | None = None,
        priority: int = commands.MEDIUM_PRIORITY,
    ) -> None:
        """The first half of `store`: send the dataset. Something else can be done while the peer works on it."""
        command = Command(
            commands.C_STORE_RQ,
            affected_sop_class=sop_class,
            affected_sop_instance=sop_instance,
            priority=priority,
            has_dataset=True,
        )
        if originator is not None:
            command.move_originator_ae, command.move_originator_message_id = originator
        self._request(context, command, chunks)

    def store_response(self) -> Command:
        """The second half of `store`: return the response to what `send_store` has sent."""
        return self._await(self._last_message_id, commands.C_STORE_RQ).command

    def find(self, context: Context, identifier: bytes) -> Iterator[tuple[Command, bytes | None]]:
        """C-FIND (PS3.7 §9.1.2): yield each response, the final one too, with its identifier.

        Ending the iteration early cancels the query.
        """
        command = Command(commands.C_FIND_RQ, affected_sop_class=context.abstract_syntax, has_dataset=True)
        return self._responses(context, command, identifier)

    def move(self, context: Context, identifier: bytes, destination: str) -> Iterator[tuple[Command, bytes | None]]:
        """C-MOVE (PS3.7 §9.1.4) to the AE title ``destination``: yield each response with its identifier."""
        command = Command(
            commands.C_MOVE_RQ,
            affected_sop_class=context.abstract_syntax,
            has_dataset=True,
            move_destination=destination,
        )
        return self._responses(context, command, identifier)

    def get(
        self, context: Context, identifier: bytes, on_store: Callable[[Message], int]
    ) -> Iterator[tuple[Command, bytes | None]]:
        """C-GET (PS3.7 §9.1.3): yield each response; ``on_store`` gets each object and returns its C-STORE status.

        The objects come on contexts for which the SCP role was agreed.
        """
        command = Command(commands.C_GET_RQ, affected_sop_class=context.abstract_syntax, has_dataset=True)
        return self._responses(context, command, identifier, on_store)

    def action(
        self, context: Context, sop_class: str, sop_instance: str, action_type: int, information: bytes | None = None
    ) -> Command:
        """N-ACTION (PS3.7 §10.1.4): return the response."""
        command = Command(
            commands.N_ACTION_RQ,
            requested_sop_class=sop_class,
            requested_sop_instance=sop_instance,
            action_type=action_type,
            has_dataset=information is not None,
        )
        return self._ask(context, command, None if information is None else (information,)).command

    def event_report(
        self, context: Context, sop_class: str, sop_instance: str, event_type: int, information: bytes | None = None
    ) -> Command:
        """N-EVENT-REPORT (PS3.7 §10.1.1), sent in the SCP role: return the response."""
        command = Command(
            commands.N_EVENT_REPORT_RQ,
            affected_sop_class=sop_class,
            affected_sop_instance=sop_instance,
            event_type=event_type,
            has_dataset=information is not None,
        )
        return self._ask(context, command, None if information is None else (information,)).command

    def _await(self, message_id: int, field: int, on_store: Callable[[Message], int] | None = None) -> Message:
        """Wait for a response to our request, serving C-STORE requests meanwhile when they are awaited."""
        while True:
            with self._watch():
                if self._early and self._inbound.in_dataset:
                    raise ProtocolError("a request where a response was due", UNEXPECTED_PDU)
                self._skip_dataset()
                message = self._next(self._timeouts.response)
                if message is None:
                    self._answer_release()
                    raise Lost("the peer released the association instead of answering")
                command = message.command
                if command.field == commands.C_CANCEL_RQ:
                    self._cancels.add(command.message_id_responded_to)
                    continue
                if command.is_response:
                    if command.message_id_responded_to == message_id and command.field == field | commands.RESPONSE:
                        return message
                    if command.message_id_responded_to not in self._abandoned:
                        raise ProtocolError("a response to another request", UNEXPECTED_PDU)
                    if not is_pending(command.status):
                        self._abandoned.discard(command.message_id_responded_to)
                    continue
                if on_store is None or command.field != commands.C_STORE_RQ:
                    raise ProtocolError("a request where a response was due", UNEXPECTED_PDU)
            try:
                status = on_store(message)
            except BaseException:
                self.abort()  # the peer waits for an answer that nobody can give
                raise
            self.respond(message, status)

    def _ask(self, context: Context, command: Command, dataset: Iterable[Piece] | None = None) -> Message:
        """Send a request and return its one response; its dataset can still be read."""
        self._request(context, command, dataset)
        return self._await(command.message_id, command.field)

    def _request(self, context: Context, command: Command, dataset: Iterable[Piece] | None = None) -> None:
        self._check_role(context, command.field)
        command.message_id = self._new_message_id()
        self._send(context, command, dataset)

    def _responses(
        self,
        context: Context,
        command: Command,
        identifier: bytes,
        on_store: Callable[[Message], int] | None = None,
    ) -> Iterator[tuple[Command, bytes | None]]:
        self._check_role(context, command.field)
        command.message_id = message_id = self._new_message_id()
        self._send(context, command, (identifier,))
        pending = True
        try:
            while pending:
                message = self._await(message_id, command.field, on_store)
                answer = message.dataset() if message.command.has_dataset else None
                pending = is_pending(message.command.status)
                yield message.command, answer
        finally:
            if pending and self.is_open:
                self._abandon(context, message_id)

    def _abandon(self, context: Context, message_id: int) -> None:
        """Cancel an operation whose responses nobody waits for any more; what still comes is skipped."""
        self._abandoned.add(message_id)
        try:
            self._send(context, Command(commands.C_CANCEL_RQ, message_id_responded_to=message_id), None)
        except HoziError:
            pass  # the association has ended, and with it the operation

    def _check_role(self, context: Context, field: int) -> None:
        as_scp = field == commands.N_EVENT_REPORT_RQ
        if not (context.as_scp if as_scp else context.as_scu):
            raise Refused(f"the {'SCP' if as_scp else 'SCU'} role was not agreed on for this presentation context")

    def _new_message_id(self) -> int:
        self._last_message_id = self._last_message_id % 0xFFFF + 1
        return self._last_message_id
