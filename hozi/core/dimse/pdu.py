"""The PDUs that make and end an association, as bytes (PS3.8 §9.3, PS3.7 annex D).

Decoding is tolerant of padding in AE titles and UIDs and of items that it does not know; it is strict about
lengths: an item that runs beyond what holds it, or bytes left over, raise ProtocolError.
P-DATA is read by ``inbound`` and written by ``outbound``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final

from hozi.core.dimse.failures import INVALID_PARAMETER, UNEXPECTED_PARAMETER, ProtocolError
from hozi.core.dimse.terms import (
    APPLICATION_CONTEXT,
    AssociateAnswer,
    AssociateRequest,
    ContextAnswer,
    ProposedContext,
    Rejection,
    UserIdentity,
)

ASSOCIATE_RQ: Final = 0x01
ASSOCIATE_AC: Final = 0x02
ASSOCIATE_RJ: Final = 0x03
P_DATA_TF: Final = 0x04
RELEASE_RQ: Final = 0x05
RELEASE_RP: Final = 0x06
ABORT: Final = 0x07

HEADER: Final = Struct(">BxI")
"""PDU type and length of what follows."""

MAX_CONTEXTS: Final = 128
MAX_ASSOCIATE_LENGTH: Final = 1 << 20
"""The longest A-ASSOCIATE PDU that is read."""

_DEFAULT_MAX_PDU_OF_PEER: Final = 16384

_ITEM: Final = Struct(">BxH")
_SHORT: Final = Struct(">H")
_LONG: Final = Struct(">I")

_APPLICATION_CONTEXT_ITEM: Final = 0x10
_PROPOSED_CONTEXT_ITEM: Final = 0x20
_ANSWERED_CONTEXT_ITEM: Final = 0x21
_ABSTRACT_SYNTAX: Final = 0x30
_TRANSFER_SYNTAX: Final = 0x40
_USER_INFORMATION: Final = 0x50
_MAX_LENGTH: Final = 0x51
_IMPLEMENTATION_UID: Final = 0x52
_ASYNC_WINDOW: Final = 0x53
_ROLE_SELECTION: Final = 0x54
_IMPLEMENTATION_VERSION: Final = 0x55
_EXTENDED_NEGOTIATION: Final = 0x56
_COMMON_EXTENDED_NEGOTIATION: Final = 0x57
_USER_IDENTITY_RQ: Final = 0x58
_USER_IDENTITY_AC: Final = 0x59


def encode_release_request() -> bytes:
    """A-RELEASE-RQ (PS3.8 §9.3.6)."""
    return HEADER.pack(RELEASE_RQ, 4) + bytes(4)


def encode_release_response() -> bytes:
    """A-RELEASE-RP (PS3.8 §9.3.7)."""
    return HEADER.pack(RELEASE_RP, 4) + bytes(4)


def encode_abort(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 §9.3.8)."""
    return HEADER.pack(ABORT, 4) + bytes((0, 0, source, reason))


def encode_rejection(rejection: Rejection) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 §9.3.4)."""
    return HEADER.pack(ASSOCIATE_RJ, 4) + bytes((0, rejection.result, rejection.source, rejection.reason))


def encode_request(request: AssociateRequest) -> bytes:
    """A-ASSOCIATE-RQ (PS3.8 §9.3.2). Raises ValueError for an AE title that is empty, too long or not ASCII."""
    contexts = b"".join(
        _item(
            _PROPOSED_CONTEXT_ITEM,
            bytes((context.id, 0, 0, 0))
            + _item(_ABSTRACT_SYNTAX, context.abstract_syntax.encode("ascii"))
            + b"".join(_item(_TRANSFER_SYNTAX, syntax.encode("ascii")) for syntax in context.transfer_syntaxes),
        )
        for context in request.contexts
    )
    user = _common_user_items(request.max_pdu, request.implementation_uid, request.implementation_version)
    if request.async_window:
        user.append(_item(_ASYNC_WINDOW, b"".join(_SHORT.pack(number) for number in request.async_window)))
    user += _role_items(request.roles) + _extended_items(request.extended)
    for sop_class, (service_class, related) in request.common_extended.items():
        names = b"".join(_sized(uid.encode("ascii")) for uid in related)
        content = _sized(sop_class.encode("ascii")) + _sized(service_class.encode("ascii")) + _sized(names)
        user.append(_item(_COMMON_EXTENDED_NEGOTIATION, content))
    if request.identity:
        who = request.identity
        content = bytes((who.type, who.response_requested)) + _sized(who.primary) + _sized(who.secondary)
        user.append(_item(_USER_IDENTITY_RQ, content))
    titles = encode_title(request.called_ae) + encode_title(request.calling_ae)
    return _associate(ASSOCIATE_RQ, titles, request.application_context, contexts, user)


def encode_answer(request: AssociateRequest, answer: AssociateAnswer) -> bytes:
    """A-ASSOCIATE-AC to that request (PS3.8 §9.3.3)."""
    contexts = b"".join(
        _item(
            _ANSWERED_CONTEXT_ITEM,
            bytes((context.id, 0, context.result, 0))
            + _item(_TRANSFER_SYNTAX, context.transfer_syntax.encode("ascii", "replace")),
        )
        for context in answer.contexts
    )
    user = _common_user_items(answer.max_pdu, answer.implementation_uid, answer.implementation_version)
    user += _role_items(answer.roles) + _extended_items(answer.extended)
    if answer.identity_response is not None:
        user.append(_item(_USER_IDENTITY_AC, _sized(answer.identity_response)))
    titles = request.titles or encode_title(request.called_ae) + encode_title(request.calling_ae)
    return _associate(ASSOCIATE_AC, titles, APPLICATION_CONTEXT, contexts, user)


def encode_title(title: str) -> bytes:
    """An AE title as 16 bytes (PS3.5 §6.2 AE). Raises ValueError when it cannot be one."""
    raw = title.strip(" ").encode("ascii")
    if not 1 <= len(raw) <= 16:
        raise ValueError("an AE title has 1 to 16 characters")
    return raw.ljust(16)


def _associate(kind: int, titles: bytes, application_context: str, contexts: bytes, user: list[bytes]) -> bytes:
    body = b"".join(
        (
            b"\0\1\0\0",
            titles,
            bytes(32),
            _item(_APPLICATION_CONTEXT_ITEM, application_context.encode("ascii")),
            contexts,
            _item(_USER_INFORMATION, b"".join(user)),
        )
    )
    return HEADER.pack(kind, len(body)) + body


def _item(kind: int, content: bytes) -> bytes:
    return _ITEM.pack(kind, len(content)) + content


def _sized(content: bytes) -> bytes:
    return _SHORT.pack(len(content)) + content


def _common_user_items(max_pdu: int, implementation_uid: str, implementation_version: str) -> list[bytes]:
    items = [_item(_MAX_LENGTH, _LONG.pack(max_pdu))]
    if implementation_uid:
        items.append(_item(_IMPLEMENTATION_UID, implementation_uid.encode("ascii")))
    if implementation_version:
        items.append(_item(_IMPLEMENTATION_VERSION, implementation_version.encode("ascii")))
    return items


def _role_items(roles: Mapping[str, tuple[bool, bool]]) -> list[bytes]:
    return [
        _item(_ROLE_SELECTION, _sized(uid.encode("ascii")) + bytes((as_scu, as_scp)))
        for uid, (as_scu, as_scp) in roles.items()
    ]


def _extended_items(extended: Mapping[str, bytes]) -> list[bytes]:
    return [_item(_EXTENDED_NEGOTIATION, _sized(uid.encode("ascii")) + content) for uid, content in extended.items()]


@dataclass
class _Statement:
    """What the variable items of an A-ASSOCIATE PDU say, filled while they are read."""

    application_context: str = ""
    proposed: list[ProposedContext] = field(default_factory=list)
    answered: list[ContextAnswer] = field(default_factory=list)
    max_pdu: int = _DEFAULT_MAX_PDU_OF_PEER
    implementation_uid: str = ""
    implementation_version: str = ""
    async_window: tuple[int, int] | None = None
    roles: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: dict[str, bytes] = field(default_factory=dict)
    common_extended: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    identity: UserIdentity | None = None
    identity_response: bytes | None = None


def decode_request(body: bytes) -> AssociateRequest:
    """Read an A-ASSOCIATE-RQ without its 6-byte header (PS3.8 §9.3.2).

    Raises ProtocolError for lengths that lie, context IDs that are even or come twice (PS3.8 §9.3.2.2),
    more than 128 contexts, or a context without abstract syntax.
    """
    version, titles, said = _decode(body)
    ids = [context.id for context in said.proposed]
    if len(ids) > MAX_CONTEXTS or len(set(ids)) != len(ids) or not all(number % 2 for number in ids):
        raise ProtocolError("presentation context IDs that are even or come twice", INVALID_PARAMETER)
    return AssociateRequest(
        calling_ae=_title(titles[16:]),
        called_ae=_title(titles[:16]),
        contexts=tuple(said.proposed),
        roles=said.roles,
        extended=said.extended,
        identity=said.identity,
        max_pdu=said.max_pdu,
        implementation_uid=said.implementation_uid,
        implementation_version=said.implementation_version,
        async_window=said.async_window,
        common_extended=said.common_extended,
        application_context=said.application_context,
        protocol_version=version,
        titles=titles,
    )


def decode_answer(body: bytes) -> AssociateAnswer:
    """Read an A-ASSOCIATE-AC without its 6-byte header (PS3.8 §9.3.3). Raises ProtocolError."""
    _, _, said = _decode(body)
    return AssociateAnswer(
        contexts=tuple(said.answered),
        roles=said.roles,
        extended=said.extended,
        identity_response=said.identity_response,
        max_pdu=said.max_pdu,
        implementation_uid=said.implementation_uid,
        implementation_version=said.implementation_version,
    )


def decode_rejection(body: bytes) -> Rejection:
    """Read an A-ASSOCIATE-RJ without its 6-byte header (PS3.8 §9.3.4). Raises ProtocolError."""
    if len(body) < 4:
        raise ProtocolError("an A-ASSOCIATE-RJ that is too short", INVALID_PARAMETER)
    return Rejection(body[1], body[2], body[3])


def _decode(body: bytes) -> tuple[int, bytes, _Statement]:
    if len(body) < 68:
        raise ProtocolError("an A-ASSOCIATE PDU that is too short", INVALID_PARAMETER)
    (version,) = _SHORT.unpack_from(body)
    said = _Statement()
    for kind, content in _items(memoryview(body)[68:]):
        if kind == _APPLICATION_CONTEXT_ITEM:
            said.application_context = _uid(content)
        elif kind == _PROPOSED_CONTEXT_ITEM:
            said.proposed.append(_proposed(content))
        elif kind == _ANSWERED_CONTEXT_ITEM:
            said.answered.append(_answered(content))
        elif kind == _USER_INFORMATION:
            for sub_kind, sub_content in _items(content):
                _user_item(said, sub_kind, sub_content)
    return version, body[4:36], said


def _items(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Items or sub-items in their order (PS3.8 §9.3.1); zeros after the last one are padding."""
    position, end = 0, len(data)
    while position < end:
        if end - position < _ITEM.size:
            if any(data[position:]):
                raise ProtocolError("bytes left over after the last item", INVALID_PARAMETER)
            return
        kind, length = _ITEM.unpack_from(data, position)
        position += _ITEM.size
        if length > end - position:
            raise ProtocolError("an item that runs beyond its PDU", INVALID_PARAMETER)
        if kind or length:
            yield kind, data[position : position + length]
        position += length


def _proposed(content: memoryview) -> ProposedContext:
    abstract_syntax = ""
    transfer_syntaxes: list[str] = []
    for kind, name in _items(content[4:]):
        if kind == _ABSTRACT_SYNTAX:
            abstract_syntax = _uid(name)
        elif kind == _TRANSFER_SYNTAX and len(name):
            transfer_syntaxes.append(_uid(name))
    if len(content) < 4 or not abstract_syntax:
        raise ProtocolError("a presentation context without abstract syntax", INVALID_PARAMETER)
    return ProposedContext(content[0], abstract_syntax, tuple(transfer_syntaxes))


def _answered(content: memoryview) -> ContextAnswer:
    if len(content) < 4:
        raise ProtocolError("an answer to a presentation context that is too short", INVALID_PARAMETER)
    names = [_uid(name) for kind, name in _items(content[4:]) if kind == _TRANSFER_SYNTAX]
    return ContextAnswer(content[0], content[2], names[0] if names else "")


def _user_item(said: _Statement, kind: int, content: memoryview) -> None:
    rest: Any
    if kind == _MAX_LENGTH:
        said.max_pdu = _LONG.unpack(_exactly(content, 4))[0]
    elif kind == _IMPLEMENTATION_UID:
        said.implementation_uid = _uid(content)
    elif kind == _IMPLEMENTATION_VERSION:
        said.implementation_version = _text(content)
    elif kind == _ASYNC_WINDOW:
        content = _exactly(content, 4)
        said.async_window = (_SHORT.unpack_from(content)[0], _SHORT.unpack_from(content, 2)[0])
    elif kind == _ROLE_SELECTION:
        name, rest = _split(content)
        rest = _exactly(rest, 2)
        said.roles[_uid(name)] = (bool(rest[0]), bool(rest[1]))
    elif kind == _EXTENDED_NEGOTIATION:
        name, rest = _split(content)
        said.extended[_uid(name)] = bytes(rest)
    elif kind == _COMMON_EXTENDED_NEGOTIATION:
        _common_extended(said, content)
    elif kind == _USER_IDENTITY_RQ:
        if said.identity is not None or len(content) < 2:
            raise ProtocolError("a user identity that is incomplete or comes twice", UNEXPECTED_PARAMETER)
        primary, rest = _split(content[2:])
        secondary, _ = _split(rest)
        said.identity = UserIdentity(content[0], bool(content[1]), bytes(primary), bytes(secondary))
    elif kind == _USER_IDENTITY_AC:
        response, _ = _split(content)
        said.identity_response = bytes(response)


def _common_extended(said: _Statement, content: memoryview) -> None:
    """SOP Class Common Extended Negotiation (PS3.7 §D.3.3.6)."""
    name, rest = _split(content)
    service_class, rest = _split(rest)
    names, _ = _split(rest)
    related: list[str] = []
    while len(names):
        one, names = _split(names)
        related.append(_uid(one))
    said.common_extended[_uid(name)] = (_uid(service_class), tuple(related))


def _split(content: memoryview) -> tuple[memoryview, memoryview]:
    """A value after its 16-bit length, and what follows it."""
    if len(content) < 2:
        raise ProtocolError("a length is missing in a user item", INVALID_PARAMETER)
    (length,) = _SHORT.unpack_from(content)
    if length > len(content) - 2:
        raise ProtocolError("a value that runs beyond its user item", INVALID_PARAMETER)
    return content[2 : 2 + length], content[2 + length :]


def _exactly(content: memoryview, length: int) -> memoryview:
    if len(content) != length:
        raise ProtocolError("a user item of a wrong length", INVALID_PARAMETER)
    return content


def _uid(raw: memoryview) -> str:
    """A UID as it was sent, without the NUL or the spaces that some peers pad with (PS3.8 annex F)."""
    return _text(raw).strip("\0 ")


def _text(raw: memoryview) -> str:
    return str(raw, "ascii", "backslashreplace")


def _title(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace").strip("\0 ")
