"""What two peers say to each other to agree on an association (PS3.7 annex D, PS3.8 §7.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"

ACCEPTED: Final = 0
USER_REJECTION: Final = 1
NO_REASON: Final = 2
ABSTRACT_SYNTAX_NOT_SUPPORTED: Final = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED: Final = 4

DEFAULT_MAX_PDU: Final = 131072


@dataclass(frozen=True)
class Timeouts:
    """Seconds of patience with a peer.

    ``artim`` for all of the connection, the TLS handshake and the negotiation, and for a release;
    ``idle`` between messages; ``message`` between the parts of one; ``response`` for the next
    answer to a request of ours.
    """

    artim: float = 15
    idle: float = 600
    message: float = 60
    response: float = 300


@dataclass(frozen=True)
class ProposedContext:
    """A presentation context as the requestor proposes it (PS3.8 §9.3.2.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class ContextAnswer:
    """The acceptor's answer to one proposed context; ``transfer_syntax`` counts only when accepted (PS3.8 §9.3.3.2)."""

    id: int
    result: int
    transfer_syntax: str = ""


@dataclass(frozen=True)
class Context:
    """An accepted presentation context. The roles are those of the local side."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    as_scu: bool
    as_scp: bool


@dataclass(frozen=True)
class UserIdentity:
    """Who the peer says that its user is (PS3.7 §D.3.3.7); the fields themselves stay out of any representation.

    ``type``: 1 user name, 2 user name and passcode, 3 Kerberos, 4 SAML, 5 JSON Web Token.
    """

    type: int
    response_requested: bool
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ (PS3.8 §9.3.2).

    AE titles without their padding. ``roles``: SOP class to (SCU, SCP) as the requestor proposes for
    itself. ``extended``: SOP class to service-class-application-information. ``common_extended``: SOP class
    to (service class, related general SOP classes). ``max_pdu`` 0 means no limit. ``async_window``:
    (invoked, performed) if proposed. ``titles``: both AE titles as they came, to be sent back unchanged.
    """

    calling_ae: str
    called_ae: str
    contexts: tuple[ProposedContext, ...]
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: Mapping[str, bytes] = field(default_factory=dict)
    identity: UserIdentity | None = None
    max_pdu: int = DEFAULT_MAX_PDU
    implementation_uid: str = ""
    implementation_version: str = ""
    async_window: tuple[int, int] | None = None
    common_extended: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    titles: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class AssociateAnswer:
    """An A-ASSOCIATE-AC (PS3.8 §9.3.3)."""

    contexts: tuple[ContextAnswer, ...]
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: Mapping[str, bytes] = field(default_factory=dict)
    identity_response: bytes | None = field(default=None, repr=False)
    max_pdu: int = DEFAULT_MAX_PDU
    implementation_uid: str = ""
    implementation_version: str = ""


@dataclass(frozen=True)
class Acceptance:
    """The decision to accept: an answer for each proposed context, and what else was agreed on.

    ``roles``: SOP class to the (SCU, SCP) roles that the requestor may play, only for SOP classes
    for which it proposed roles. ``extended``: only the agreed bytes. ``granted``: whatever the one who decided
    wants to find again as `Association.granted`; it is not sent.
    """

    contexts: Sequence[ContextAnswer]
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: Mapping[str, bytes] = field(default_factory=dict)
    identity_response: bytes | None = field(default=None, repr=False)
    granted: object = field(default=None, repr=False)


@dataclass(frozen=True)
class Rejection:
    """The decision to refuse, in the numbers of an A-ASSOCIATE-RJ (PS3.8 §9.3.4)."""

    result: int
    source: int
    reason: int


NO_REASON_GIVEN: Final = Rejection(1, 1, 1)
APPLICATION_CONTEXT_NOT_SUPPORTED: Final = Rejection(1, 1, 2)
CALLING_AE_NOT_RECOGNIZED: Final = Rejection(1, 1, 3)
CALLED_AE_NOT_RECOGNIZED: Final = Rejection(1, 1, 7)
PROTOCOL_VERSION_NOT_SUPPORTED: Final = Rejection(1, 2, 2)
TEMPORARY_CONGESTION: Final = Rejection(2, 3, 1)
LOCAL_LIMIT_EXCEEDED: Final = Rejection(2, 3, 2)


@dataclass(frozen=True)
class Peer:
    """The other side of a connection.

    ``certificate_subject`` is RFC 4514 text, empty without TLS or without a certificate of the peer.
    The AE titles are those of the negotiation: ``calling_ae`` asked, ``called_ae`` was asked.
    """

    address: str
    port: int
    certificate_subject: str = ""
    calling_ae: str = ""
    called_ae: str = ""
