"""Messages that arrive in any pieces: PDUs, fragments and segments cut anywhere (E14)."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hozi.core.dimse.association import AssociateRequest, Association, Context, Peer, Timeouts
from hozi.core.dimse.terms import AssociateAnswer
from hozi.core.dimse.transport import BUFFER_SIZE, Transport
from tests.core.dimse.listening import CT_IMAGE, EXPLICIT, IMPLICIT, echo_command, p_data, pdv, store_command, whole

CONTEXTS = {
    1: Context(1, CT_IMAGE, IMPLICIT, as_scu=False, as_scp=True),
    3: Context(3, CT_IMAGE, EXPLICIT, as_scu=False, as_scp=True),
}


def established(sock: socket.socket) -> Association:
    """Our end of an association that has been negotiated."""
    request = AssociateRequest("RAW", "HOZI", ())
    peer = Peer("127.0.0.1", 0)
    timeouts = Timeouts(artim=5, idle=20, message=20)
    return Association(Transport(sock), request, AssociateAnswer(()), CONTEXTS, peer, timeouts, is_requestor=False)


@pytest.fixture(scope="module")
def pair():  # type: ignore[no-untyped-def]
    """Two ends of one connection, used by all examples in turn."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near, _ = server.accept()
        association = established(near)
        yield association, far
        association.close()


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """``data`` in pieces of these sizes, over and over."""
    pieces = []
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        pieces.append(data[position : position + size])
        position += size
        turn += 1
    return pieces or [b""]


def fragmented(context_id: int, command: bytes, dataset: bytes | None, sizes: list[int], per_pdu: int) -> bytes:
    """A message in fragments of these sizes, so many of them in a PDU, whichever kind they are."""
    fragments = []
    for kind, data in ((1, command), (0, dataset)):
        if data is not None:
            pieces = cut(data, sizes)
            fragments += [
                pdv(context_id, kind | (2 if number == len(pieces) - 1 else 0), piece)
                for number, piece in enumerate(pieces)
            ]
    return b"".join(p_data(*fragments[at : at + per_pdu]) for at in range(0, len(fragments), per_pdu))


MESSAGE = st.tuples(
    st.sampled_from([1, 3]),
    st.none() | st.binary(max_size=300),
    st.lists(st.integers(1, 90), min_size=1, max_size=4),
    st.integers(1, 5),
)


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(MESSAGE, min_size=1, max_size=4),
    segments=st.lists(st.integers(1, 700), min_size=1, max_size=5),
)
def test_it_puts_messages_together_however_they_are_cut_e14(pair, messages, segments) -> None:  # type: ignore[no-untyped-def]
    association, far = pair
    stream = b""
    for number, (context_id, dataset, sizes, per_pdu) in enumerate(messages, start=1):
        command = echo_command(number) if dataset is None else store_command(number)
        stream += fragmented(context_id, command, dataset, sizes, per_pdu)

    def send() -> None:
        for segment in cut(stream, segments):
            far.sendall(segment)

    sender = threading.Thread(target=send)
    sender.start()
    for number, (context_id, dataset, _, _) in enumerate(messages, start=1):
        message = association.receive()
        assert message is not None
        assert message.command.message_id == number
        assert message.context is association.contexts[context_id]
        assert whole(message) == (dataset or b"")
        assert whole(message) == b""
    sender.join()


def test_it_takes_messages_byte_by_byte_e14(pair) -> None:  # type: ignore[no-untyped-def]
    association, far = pair
    dataset = bytes(range(200))
    stream = fragmented(3, store_command(1), dataset, [1], 1)
    sender = threading.Thread(target=lambda: [far.sendall(stream[at : at + 1]) for at in range(len(stream))])
    sender.start()
    message = association.receive()
    assert message is not None
    assert message.dataset() == dataset
    sender.join()


@pytest.mark.parametrize("per_pdu", [1, 3])
@pytest.mark.parametrize("size", [100, 4090, 131066, 262138, 700_001])
def test_it_streams_large_datasets_unchanged_whatever_the_fragments(pair, size: int, per_pdu: int) -> None:  # type: ignore[no-untyped-def]
    association, far = pair
    dataset = bytes(range(256)) * (6000 if size > 100 else 400) + b"odd"
    stream = fragmented(1, store_command(1), dataset, [size], per_pdu)
    sender = threading.Thread(target=far.sendall, args=(stream * 2,))
    sender.start()
    for _ in range(2):
        message = association.receive()
        assert message is not None
        pieces = [bytes(piece) for piece in message.fragments()]
        assert b"".join(pieces) == dataset
        assert max(map(len, pieces)) <= BUFFER_SIZE
    sender.join()


def test_it_goes_on_where_reading_stopped(pair) -> None:  # type: ignore[no-untyped-def]
    association, far = pair
    far.sendall(fragmented(1, store_command(1), b"abcdefghij", [4], 1))
    message = association.receive()
    assert message is not None
    first = bytes(next(message.fragments()))
    assert first == b"abcd"
    assert message.dataset() == b"efghij"


def test_it_skips_what_nobody_read(pair) -> None:  # type: ignore[no-untyped-def]
    association, far = pair
    for number in (1, 2, 3):
        far.sendall(fragmented(1, store_command(number), b"unread" * 10, [7], 2))
    first = association.receive()
    second = association.receive()
    assert first is not None
    assert second is not None
    next(second.fragments())
    third = association.receive()
    assert third is not None
    assert third.command.message_id == 3
    assert (first.dataset(), second.dataset()) == (b"", b"")
    assert third.dataset() == b"unread" * 10
