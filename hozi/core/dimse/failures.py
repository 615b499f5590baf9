"""How an association can fail, in words for people.

No text holds an AE title, an address or anything out of a dataset: whoever catches the error knows the peer.
"""

from __future__ import annotations

from typing import Final, Literal

from hozi.core.errors import HoziError

USER: Final = 0
"""A-ABORT source: the service user (PS3.8 §9.3.8)."""
PROVIDER: Final = 2
"""A-ABORT source: the service provider."""

UNRECOGNIZED_PDU: Final = 1
UNEXPECTED_PDU: Final = 2
UNEXPECTED_PARAMETER: Final = 5
INVALID_PARAMETER: Final = 6

_ABORT_REASONS: Final = {
    1: "unrecognized PDU",
    2: "unexpected PDU",
    4: "unrecognized PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter value",
}

REJECTED_PERMANENT: Final = 1
REJECTED_TRANSIENT: Final = 2

_REJECT_REASONS: Final = {
    (1, 1): "the peer gives no reason",
    (1, 2): "the peer does not support the DICOM application context",
    (1, 3): "the peer does not know our (calling) AE title",
    (1, 7): "the peer has another AE title than the one that was called",
    (2, 1): "the peer's association service gives no reason",
    (2, 2): "the peer does not support this protocol version",
    (3, 1): "the peer is congested for the moment",
    (3, 2): "the peer has as many associations as it allows",
}

Kind = Literal["refused", "no-route", "timeout", "name", "tls"]

_KINDS: Final[dict[Kind, str]] = {
    "refused": "the host is there, but nothing listens at this port",
    "no-route": "the network knows no way to this host",
    "timeout": "the host did not answer in time",
    "name": "the host's name is unknown",
    "tls": "no secure (TLS) connection could be made",
}


class ProtocolError(HoziError):
    """The peer broke the rules of the protocol; the association has been aborted."""

    def __init__(self, text: str, abort_reason: int = 0) -> None:
        super().__init__(text)
        self.abort_reason = abort_reason


class Aborted(HoziError):
    """The peer ended the association with an A-ABORT (PS3.8 §9.3.8)."""

    permanent = False

    def __init__(self, source: int, reason: int) -> None:
        why = _ABORT_REASONS.get(reason) if source == PROVIDER else None
        super().__init__(f"the peer aborted the association ({why or 'no reason given'})")
        self.source = source
        self.reason = reason


class Lost(HoziError):
    """The connection ended without a release or an abort."""

    permanent = False


class TimedOut(HoziError):
    """The peer was silent for longer than the time limit; the association has been aborted."""

    permanent = False


class Rejected(HoziError):
    """The peer refused the association with an A-ASSOCIATE-RJ (PS3.8 §9.3.4).

    ``result`` is 1 (permanent) or 2 (transient), ``source`` 1 to 3, ``reason`` depends on the source.
    """

    def __init__(self, result: int, source: int, reason: int) -> None:
        why = _REJECT_REASONS.get((source, reason), "the peer gives a reason that the standard does not know")
        super().__init__(f"the peer refused the association: {why}")
        self.result = result
        self.source = source
        self.reason = reason
        self.permanent = result == REJECTED_PERMANENT


class Unreachable(HoziError):
    """No connection to the peer could be made; ``kind`` says at which step it failed."""

    permanent = False

    def __init__(self, kind: Kind, detail: str = "") -> None:
        super().__init__(f"{_KINDS[kind]}{f' ({detail})' if detail else ''}")
        self.kind: Kind = kind
        self.detail = detail
