"""The receive buffer at its edges, and writes that the system takes only in part."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from hozi.core.dimse.failures import Lost, TimedOut
from hozi.core.dimse.transport import BUFFER_SIZE, NEGOTIATION_BUFFER_SIZE, Transport


@pytest.fixture
def pair() -> Iterator[tuple[Transport, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
        transport = Transport(server.accept()[0])
        transport.patience(20)
        yield transport, far
        transport.close()


def held(transport: Transport) -> bytes:
    return bytes(transport.view[transport.start : transport.end])


def test_it_keeps_what_lies_across_the_end_of_its_buffer(pair: tuple[Transport, socket.socket]) -> None:
    transport, far = pair
    transport.enlarge()
    data = os.urandom(BUFFER_SIZE + 100)
    sender = threading.Thread(target=far.sendall, args=(data,))
    sender.start()
    transport.need(BUFFER_SIZE)
    transport.start = BUFFER_SIZE - 4
    transport.need(12)
    assert held(transport)[:12] == data[BUFFER_SIZE - 4 : BUFFER_SIZE + 8]
    sender.join()


def test_it_keeps_what_came_before_the_buffer_grew(pair: tuple[Transport, socket.socket]) -> None:
    transport, far = pair
    data = os.urandom(NEGOTIATION_BUFFER_SIZE)
    far.sendall(data)
    transport.need(100)
    transport.start = 50
    transport.enlarge()
    transport.need(NEGOTIATION_BUFFER_SIZE - 50)
    assert held(transport) == data[50:]


def test_it_takes_more_than_its_buffer_holds(pair: tuple[Transport, socket.socket]) -> None:
    transport, far = pair
    data = os.urandom(NEGOTIATION_BUFFER_SIZE * 5 + 7)
    sender = threading.Thread(target=far.sendall, args=(data,))
    sender.start()
    transport.need(10)
    transport.start = 3
    assert transport.take(len(data) - 3) == data[3:]
    sender.join()


def test_it_reads_nothing_that_is_not_there(pair: tuple[Transport, socket.socket]) -> None:
    transport, far = pair
    assert not transport.poll()
    far.sendall(b"abc")
    transport.need(1)
    while held(transport) != b"abc":
        transport.poll()
    far.sendall(bytes(NEGOTIATION_BUFFER_SIZE))
    transport.need(NEGOTIATION_BUFFER_SIZE)
    assert not transport.poll()  # no room, and no error for it
    far.close()
    transport.start = transport.end
    with pytest.raises(Lost):
        while True:
            transport.poll()
            transport.start = transport.end


def test_it_sends_all_even_when_the_system_takes_only_parts(pair: tuple[Transport, socket.socket]) -> None:
    transport, far = pair
    transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    transport.patience(0.05)
    pieces = [os.urandom(size) for size in (5, 700_000, 1, 300_000, 0, 12)]
    got = bytearray()

    def read_slowly() -> None:
        while len(got) < sum(map(len, pieces)):
            got.extend(far.recv(1000 if len(got) < 20_000 else 100_000))

    reader = threading.Thread(target=read_slowly)
    reader.start()
    transport.send(pieces)
    reader.join(20)
    assert bytes(got) == b"".join(pieces)


def test_it_gives_up_when_the_peer_takes_nothing_at_all(pair: tuple[Transport, socket.socket]) -> None:
    transport, _ = pair
    transport.patience(0.05)
    with pytest.raises(TimedOut):
        transport.send([bytes(64 << 20)])


def test_it_can_be_ended_from_another_thread(pair: tuple[Transport, socket.socket]) -> None:
    transport, far = pair
    threading.Timer(0.05, transport.wake, args=(b"bye",)).start()
    with pytest.raises(Lost):
        transport.need(1)
    assert far.recv(10) == b"bye"
    assert far.recv(10) == b""
