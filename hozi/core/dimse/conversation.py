"""The exchange of messages with one peer, and how it ends: what an association rests on (PS3.8 §7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from hozi.core.dimse import command as commands
from hozi.core.dimse import outbound, pdu
from hozi.core.dimse.command import Command
from hozi.core.dimse.failures import PROVIDER, UNEXPECTED_PDU, USER, Aborted, Lost, ProtocolError, TimedOut
from hozi.core.dimse.inbound import Event, Inbound
from hozi.core.dimse.message import Message
from hozi.core.dimse.terms import AssociateAnswer, AssociateRequest, Context, Peer, Timeouts
from hozi.core.dimse.transport import Piece, Transport
from hozi.core.errors import HoziError


class Conversation:
    """One association as messages in and out, used by one thread; `Association` adds what they mean.

    ``contexts``: the accepted presentation contexts by ID. ``extended``: the agreed extended negotiation.
    ``answer``: all that the acceptor said, with the contexts that it did not accept.

    Every method that talks to the peer can raise, and has then ended the association: Aborted (by the peer), Lost
    (connection gone), TimedOut, ProtocolError (the peer broke the rules; it has been told by an A-ABORT).
    """

    def __init__(
        self,
        transport: Transport,
        request: AssociateRequest,
        answer: AssociateAnswer,
        contexts: Mapping[int, Context],
        peer: Peer,
        timeouts: Timeouts,
        *,
        is_requestor: bool,
    ) -> None:
        self.request = request
        self.answer = answer
        self.peer = peer
        self.contexts = dict(contexts)
        self.extended = dict(answer.extended)
        self.is_requestor = is_requestor
        self.granted: object = None
        """What the acceptor's decision left for its service (`Acceptance.granted`)."""
        self.idle_since: float | None = None
        """``time.monotonic`` since when ``receive`` waits for a message; None while there is work."""
        self._transport = transport
        self._timeouts = timeouts
        self._inbound = Inbound(transport, self.contexts, timeouts.message)
        self._fragment = outbound.fragment_size(answer.max_pdu if is_requestor else request.max_pdu)
        self._current: Message | None = None
        self._early: deque[Message] = deque()
        self._cancels: set[int] = set()
        self._abandoned: set[int] = set()
        self._release_asked = False
        self._last_message_id = 0
        transport.enlarge()

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """Ends the conversation in the right way when something in the block says that it cannot go on."""
        try:
            yield
        except ProtocolError as error:
            self.end(pdu.encode_abort(PROVIDER, error.abort_reason))
            raise
        except TimedOut:
            self.end(pdu.encode_abort(PROVIDER, 0))
            raise
        except (Aborted, Lost):
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended the association, as far as is known here."""
        return self._transport.is_open

    def contexts_for(self, abstract_syntax: str) -> list[Context]:
        """Return the accepted contexts of a SOP class in the order of their IDs."""
        return [context for _, context in sorted(self.contexts.items()) if context.abstract_syntax == abstract_syntax]

    # The end

    def release(self) -> None:
        """End the association in good order and close (PS3.8 §7.2). Never raises: it is over either way.

        When both sides ask at the same time, the acceptor's release completes first (PS3.8 §7.2.1.5).
        """
        try:
            with self._watch():
                self._skip_dataset()
                if self._release_asked:
                    self._answer_release()
                    return
                collided = False
                self._transport.patience(self._timeouts.artim)
                self._transport.send((pdu.encode_release_request(),))
                while True:
                    event = self._inbound.next_command(self._timeouts.artim)
                    if event is Event.RELEASE_RESPONSE:
                        break
                    if event is Event.RELEASE_REQUEST:
                        collided = True
                        if self.is_requestor:
                            self._transport.send((pdu.encode_release_response(),))
                    else:
                        self._skip_dataset()
                if collided and not self.is_requestor:
                    self._transport.send((pdu.encode_release_response(),))
        except HoziError:
            return
        finally:
            self.close()

    def abort(self, reason: int = 0) -> None:
        """End the association at once by an A-ABORT (PS3.8 §7.3); ``reason`` as in PS3.8 §9.3.8, 0 for none."""
        self.end(pdu.encode_abort(PROVIDER if reason else USER, reason))

    def end(self, last_word: bytes) -> None:
        """Send one last PDU, if the peer can still be told, and close."""
        if self.is_open:
            try:
                self._transport.patience(1)
                self._transport.send((last_word,))
            except (Lost, TimedOut):
                self.close()
            else:
                self._transport.linger()

    def close(self) -> None:
        """Close the connection without a word."""
        self._transport.close()

    def interrupt(self) -> None:
        """Abort from another thread; the thread that uses the association gets Lost."""
        self._transport.wake(pdu.encode_abort(PROVIDER, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        """Release after success, abort after an error."""
        if error is None:
            self.release()
        else:
            self.abort()

    # Messages in

    def _next(self, patience: float) -> Message | None:
        """Wait for the next message of whatever kind; None for a release request."""
        return self._taken(self._inbound.next_command(patience))

    def _taken(self, event: tuple[Command, Context] | Event) -> Message | None:
        if event is Event.RELEASE_REQUEST:
            return None
        if isinstance(event, Event):
            raise ProtocolError("a release response without a request", UNEXPECTED_PDU)
        message = Message(*event, self._fragments)
        self._current = message
        return message

    def _fragments(self, message: Message) -> Iterator[memoryview]:
        if self._current is message:
            with self._watch():
                yield from self._inbound.dataset()

    def _skip_dataset(self) -> None:
        if self._inbound.in_dataset:
            for _ in self._inbound.dataset():
                pass

    def _answer_release(self) -> None:
        self._transport.patience(self._timeouts.artim)
        self._transport.send((pdu.encode_release_response(),))
        self.close()

    # Messages out

    def _send(self, context: Context, command: Command, dataset: Iterable[Piece] | None) -> None:
        transport = self._transport
        encoded = commands.encode(command)
        try:
            transport.patience(self._timeouts.message)
            for pieces in outbound.writes(context.id, encoded, dataset, self._fragment):
                try:
                    transport.send(pieces)
                except Lost as error:
                    self._raise_last_word(error)
                    raise
        except BaseException:
            self.abort()  # part of the message may be out, and nothing else can follow it
            raise

    def _raise_last_word(self, error: Lost) -> None:
        """A connection that broke while sending may hold the A-ABORT that says so."""
        try:
            with self._watch():
                while self._inbound.look() is not Event.NOTHING_YET and not self._inbound.in_dataset:
                    pass
        except Aborted as aborted:
            raise aborted from error
        except (Lost, ProtocolError):
            pass
        self.close()
