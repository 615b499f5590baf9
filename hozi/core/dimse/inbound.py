"""P-DATA-TF PDUs to command sets and dataset fragments, as they arrive (PS3.8 §9.3.5, annex E).

A PDU is never held as a whole: its fragments are handed out while it comes in, so its length does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from struct import Struct
from typing import Final

from hozi.core.dimse import command as commands
from hozi.core.dimse.command import Command
from hozi.core.dimse.failures import INVALID_PARAMETER, UNEXPECTED_PDU, UNRECOGNIZED_PDU, Aborted, ProtocolError
from hozi.core.dimse.pdu import ABORT, ASSOCIATE_RQ, HEADER, P_DATA_TF, RELEASE_RP, RELEASE_RQ
from hozi.core.dimse.terms import Context
from hozi.core.dimse.transport import Transport

LONGEST_COMMAND: Final = 64 * 1024
PIECE: Final = 128 * 1024
"""Dataset bytes are collected into pieces of up to this size where a fragment is that large."""

_PDV: Final = Struct(">IBB")
_PDV_REST: Final = 2  # context ID and control header count as part of a PDV's length
_COMMAND: Final = 0x01
_LAST: Final = 0x02


class Event(Enum):
    """What can come instead of a message."""

    RELEASE_REQUEST = 1
    RELEASE_RESPONSE = 2
    NOTHING_YET = 3


class Inbound:
    """What one peer sends on an established association, message by message.

    Errors of all methods: ProtocolError, Aborted, and those of the transport.
    """

    def __init__(self, transport: Transport, contexts: Mapping[int, Context], message_timeout: float) -> None:
        self._transport = transport
        self._contexts = contexts
        self._message_timeout = message_timeout
        self._pdu_left = 0
        self._in_pdv = False
        self._pdv_left = 0
        self._pdv_last = False
        self._pdv_is_command = False
        self._pdv_context = 0
        self._command = bytearray()
        self._fragments = 0
        self._command_context = 0
        self._dataset_context = 0

    @property
    def in_dataset(self) -> bool:
        """Whether a dataset is under way that has not been read to its end."""
        return self._dataset_context != 0

    def next_command(self, patience: float) -> tuple[Command, Context] | Event:
        """Wait for the next command set or release PDU; the dataset before it must have been read."""
        self._transport.patience(patience)
        return self._advance(wait=True)

    def look(self) -> tuple[Command, Context] | Event:
        """Like ``next_command``, without waiting: NOTHING_YET when no complete command set has come."""
        return self._advance(wait=False)

    def _have(self, count: int, wait: bool) -> bool:
        transport = self._transport
        if transport.end - transport.start >= count:
            return True
        if wait:
            transport.need(count)
            return True
        while transport.end - transport.start < count:
            if not transport.poll():
                return False
        return True

    def _advance(self, wait: bool) -> tuple[Command, Context] | Event:
        transport = self._transport
        while True:
            if not self._in_pdv:
                event = self._open_pdv(wait)
                if event is not None:
                    return event
                if not self._pdv_is_command:
                    raise ProtocolError("a dataset without a command set before it", UNEXPECTED_PDU)
                self._count_fragment()
            if self._pdv_left:
                if not self._have(1, wait):
                    return Event.NOTHING_YET
                count = min(self._pdv_left, transport.end - transport.start)
                self._command += transport.view[transport.start : transport.start + count]
                transport.start += count
                self._pdv_left -= count
            if not self._pdv_left:
                self._in_pdv = False
                if self._pdv_last:
                    return self._complete()

    def _count_fragment(self) -> None:
        """Keep a command set that never ends from growing: bytes count, and so do empty fragments."""
        if not self._fragments:
            self._command_context = self._pdv_context
        elif self._pdv_context != self._command_context:
            raise ProtocolError("a command set in two presentation contexts", INVALID_PARAMETER)
        self._fragments += 1
        if len(self._command) + self._pdv_left > LONGEST_COMMAND or self._fragments > LONGEST_COMMAND:
            raise ProtocolError("a command set that is too long", INVALID_PARAMETER)

    def _complete(self) -> tuple[Command, Context]:
        command = commands.decode(self._command)
        self._command = bytearray()
        self._fragments = 0
        if command.has_dataset and command.field != commands.C_CANCEL_RQ:
            self._dataset_context = self._pdv_context
        return command, self._contexts[self._pdv_context]

    def _open_pdv(self, wait: bool) -> Event | None:
        """Go to the next presentation data value, of whatever kind; None when there, else what came instead."""
        transport = self._transport
        if not self._pdu_left:
            if not self._have(HEADER.size, wait):
                return Event.NOTHING_YET
            kind, length = HEADER.unpack_from(transport.view, transport.start)
            if kind != P_DATA_TF:
                return self._control(kind, length, wait)
            if length < _PDV.size:
                raise ProtocolError("a P-DATA PDU without a whole fragment", INVALID_PARAMETER)
            transport.start += HEADER.size
            self._pdu_left = length
            transport.patience(self._message_timeout)
        elif self._pdu_left < _PDV.size:
            raise ProtocolError("bytes left over in a P-DATA PDU", INVALID_PARAMETER)
        if not self._have(_PDV.size, wait):
            return Event.NOTHING_YET
        length, context_id, control = _PDV.unpack_from(transport.view, transport.start)
        if not _PDV_REST <= length <= self._pdu_left - 4:
            raise ProtocolError("a fragment whose length does not fit its PDU", INVALID_PARAMETER)
        if context_id not in self._contexts:
            raise ProtocolError("a presentation context that was not accepted", INVALID_PARAMETER)
        transport.start += _PDV.size
        self._pdu_left -= length + 4
        self._pdv_left = length - _PDV_REST
        self._pdv_context = context_id
        self._pdv_is_command = bool(control & _COMMAND)
        self._pdv_last = bool(control & _LAST)
        self._in_pdv = True
        return None

    def _control(self, kind: int, length: int, wait: bool) -> Event:
        """Take a PDU that is no P-DATA. Releases in the middle of a message are against PS3.8 §7.2.1."""
        if kind not in (RELEASE_RQ, RELEASE_RP, ABORT):
            known = ASSOCIATE_RQ <= kind <= ABORT
            raise ProtocolError("an unexpected PDU", UNEXPECTED_PDU if known else UNRECOGNIZED_PDU)
        if length != 4:
            raise ProtocolError("a release or abort PDU of a wrong length", INVALID_PARAMETER)
        transport = self._transport
        if not self._have(HEADER.size + 4, wait):
            return Event.NOTHING_YET
        at = transport.start
        source, reason = transport.view[at + 8], transport.view[at + 9]
        transport.start += HEADER.size + 4
        if kind == ABORT:
            raise Aborted(source, reason)
        if self._fragments or self._dataset_context:
            raise ProtocolError("a release in the middle of a message", UNEXPECTED_PDU)
        return Event.RELEASE_REQUEST if kind == RELEASE_RQ else Event.RELEASE_RESPONSE

    def dataset(self) -> Iterator[memoryview]:
        """Yield the dataset that is under way, piece by piece; each piece is valid until the next is asked for.

        What one iteration left unread, the next one yields.
        """
        transport = self._transport
        while self._dataset_context:
            if not self._in_pdv:
                self._open_pdv(wait=True)
                if self._pdv_is_command or self._pdv_context != self._dataset_context:
                    raise ProtocolError("a message in the middle of another one", UNEXPECTED_PDU)
            left = self._pdv_left
            if left:
                count = transport.end - transport.start
                if count < left and count < PIECE:
                    count = transport.gather(min(left, PIECE))
                count = min(count, left)
                at = transport.start
                transport.start = at + count
                self._pdv_left = left = left - count
                piece = transport.view[at : at + count]
            else:
                piece = None
            if not left:
                self._in_pdv = False
                if self._pdv_last:
                    self._dataset_context = 0
            if piece is not None:
                yield piece
