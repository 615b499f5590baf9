"""Command sets: the part of a message that says what is asked or answered (PS3.7 §6.3, annex E)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Any, Final, Literal

from hozi.core.dimse.failures import ProtocolError

C_STORE_RQ: Final = 0x0001
C_GET_RQ: Final = 0x0010
C_FIND_RQ: Final = 0x0020
C_MOVE_RQ: Final = 0x0021
C_ECHO_RQ: Final = 0x0030
N_EVENT_REPORT_RQ: Final = 0x0100
N_GET_RQ: Final = 0x0110
N_SET_RQ: Final = 0x0120
N_ACTION_RQ: Final = 0x0130
N_CREATE_RQ: Final = 0x0140
N_DELETE_RQ: Final = 0x0150
C_CANCEL_RQ: Final = 0x0FFF
RESPONSE: Final = 0x8000
"""The bit that makes a response out of its request."""
C_STORE_RSP: Final = C_STORE_RQ | RESPONSE
C_GET_RSP: Final = C_GET_RQ | RESPONSE
C_FIND_RSP: Final = C_FIND_RQ | RESPONSE
C_MOVE_RSP: Final = C_MOVE_RQ | RESPONSE
C_ECHO_RSP: Final = C_ECHO_RQ | RESPONSE
N_EVENT_REPORT_RSP: Final = N_EVENT_REPORT_RQ | RESPONSE
N_ACTION_RSP: Final = N_ACTION_RQ | RESPONSE

LOW_PRIORITY: Final = 2
MEDIUM_PRIORITY: Final = 0
HIGH_PRIORITY: Final = 1

_NO_DATASET: Final = 0x0101
_A_DATASET: Final = 0x0001
_WITH_PRIORITY: Final = frozenset((C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ))
_COMMENT_LENGTH: Final = 64

_TAG_AND_LENGTH: Final = Struct("<HHI")
_US: Final = Struct("<H")
_US_ELEMENT: Final = Struct("<HHIH")
_GROUP_LENGTH: Final = Struct("<HHII")

Kind = Literal["uid", "text", "ae", "number", "tags"]

# Element of group 0000 -> (attribute of Command, kind of value), in the order of the elements.
_ELEMENTS: Final[dict[int, tuple[str, Kind]]] = {
    0x0002: ("affected_sop_class", "uid"),
    0x0003: ("requested_sop_class", "uid"),
    0x0100: ("field", "number"),
    0x0110: ("message_id", "number"),
    0x0120: ("message_id_responded_to", "number"),
    0x0600: ("move_destination", "ae"),
    0x0700: ("priority", "number"),
    0x0800: ("dataset_type", "number"),
    0x0900: ("status", "number"),
    0x0901: ("offending_elements", "tags"),
    0x0902: ("error_comment", "text"),
    0x0903: ("error_id", "number"),
    0x1000: ("affected_sop_instance", "uid"),
    0x1001: ("requested_sop_instance", "uid"),
    0x1002: ("event_type", "number"),
    0x1008: ("action_type", "number"),
    0x1020: ("remaining", "number"),
    0x1021: ("completed", "number"),
    0x1022: ("failed", "number"),
    0x1023: ("warning", "number"),
    0x1030: ("move_originator_ae", "ae"),
    0x1031: ("move_originator_message_id", "number"),
}


@dataclass(slots=True)
class Command:
    """A command set. Text without padding and "" when absent; optional numbers are None when absent.

    ``message_id`` counts in requests, ``message_id_responded_to`` and ``status`` in responses
    (the former in C-CANCEL too), ``priority`` in C-STORE, C-FIND, C-GET and C-MOVE requests.
    UIDs and AE titles are as the peer sent them: valid or not is for the caller to judge.
    """

    field: int
    message_id: int = 0
    message_id_responded_to: int = 0
    affected_sop_class: str = ""
    affected_sop_instance: str = ""
    requested_sop_class: str = ""
    requested_sop_instance: str = ""
    priority: int = MEDIUM_PRIORITY
    has_dataset: bool = False
    status: int = 0
    move_destination: str = ""
    move_originator_ae: str = ""
    move_originator_message_id: int | None = None
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    error_comment: str = ""
    error_id: int | None = None
    offending_elements: tuple[int, ...] = ()
    action_type: int | None = None
    event_type: int | None = None

    @property
    def is_response(self) -> bool:
        """Whether this answers a request."""
        return bool(self.field & RESPONSE)


def decode(data: bytes | bytearray | memoryview) -> Command:
    """Read a command set (implicit VR little endian).

    Tolerates a wrong or missing group length, elements that do not belong there and values of a wrong length
    (these count as absent). Raises ProtocolError when an element runs beyond the end, or the command field,
    a request's message ID or a response's status is missing.
    """
    found: dict[str, Any] = {}
    position, end = 0, len(data)
    while position < end:
        if end - position < 8:
            raise ProtocolError("a command set ends inside an element", 0)
        group, element, length = _TAG_AND_LENGTH.unpack_from(data, position)
        position += 8
        if length > end - position:
            raise ProtocolError("an element of a command set runs beyond its end", 0)
        known = _ELEMENTS.get(element) if group == 0 else None
        if known is not None:
            name, kind = known
            if kind == "number":
                if length >= 2:
                    (found[name],) = _US.unpack_from(data, position)
            elif kind == "tags":
                found[name] = tuple(
                    (high << 16) | low for high, low in _pairs(data[position : position + length - length % 4])
                )
            else:
                text = str(data[position : position + length], "ascii", "backslashreplace")
                found[name] = text.rstrip("\0 ") if kind != "ae" else text.strip("\0 ")
        position += length
    return _complete(found)


def _pairs(data: bytes | bytearray | memoryview) -> list[tuple[int, int]]:
    return [(group, element) for group, element in Struct("<HH").iter_unpack(data)]


def _complete(found: dict[str, Any]) -> Command:
    """Check that the elements without which nothing can be done are there (PS3.7 tables of 9.3 and 10.3)."""
    field = found.get("field")
    if field is None:
        raise ProtocolError("a command set without a command field", 0)
    if field & RESPONSE:
        if "status" not in found or "message_id_responded_to" not in found:
            raise ProtocolError("a response without status or message ID", 0)
    elif "message_id" not in found and field != C_CANCEL_RQ:
        raise ProtocolError("a request without message ID", 0)
    found["has_dataset"] = found.pop("dataset_type", _NO_DATASET) != _NO_DATASET
    return Command(**found)


def encode(command: Command) -> bytes:
    """Write a command set with its group length (implicit VR little endian), elements in ascending order.

    The error comment is cut to the 64 characters of LO. Raises ValueError for a number beyond 16 bits.
    """
    kind_of_message = command.field
    responds = kind_of_message & RESPONSE
    absent: set[str] = set()
    if responds or kind_of_message == C_CANCEL_RQ:
        absent.add("message_id")
    else:
        absent.add("message_id_responded_to")
    if not responds:
        absent.add("status")
    if kind_of_message not in _WITH_PRIORITY:
        absent.add("priority")
    parts: list[bytes] = []
    for element, (name, kind) in _ELEMENTS.items():
        if name in absent:
            continue
        if name == "dataset_type":
            value: Any = _A_DATASET if command.has_dataset else _NO_DATASET
        else:
            value = getattr(command, name)
        if kind == "number":
            if value is not None:
                if not 0 <= value <= 0xFFFF:
                    raise ValueError(f"{name} does not fit into 16 bits")
                parts.append(_US_ELEMENT.pack(0, element, 2, value))
        elif value:
            raw = _value(kind, value)
            parts.append(_TAG_AND_LENGTH.pack(0, element, len(raw)) + raw)
    body = b"".join(parts)
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def _value(kind: Kind, value: Any) -> bytes:
    if kind == "tags":
        return b"".join(_US.pack(tag >> 16) + _US.pack(tag & 0xFFFF) for tag in value)
    text: str = value
    if kind == "text":
        # LO: one value of at most 64 characters, no backslash and no control characters (PS3.5 §6.2).
        text = "".join("/" if char == "\\" else char if char.isprintable() else " " for char in text)[:_COMMENT_LENGTH]
    raw = text.encode("ascii", "replace")
    if len(raw) % 2:
        raw += b"\0" if kind == "uid" else b" "
    return raw
