"""Clients that are slow, silent or gone cost a connection each, and keep nobody else waiting."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from hozi.doors.http import bridge
from tests.doors.web.conftest import Served, Start

SOON = 3.0
MANY = 100


@contextlib.contextmanager
def clients(served: Served, count: int, says: bytes) -> Iterator[list[socket.socket]]:
    """So many connections, each of which has said just that."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            connection.sendall(says)
            connections.append(connection)
        yield connections


def dribble(connections: list[socket.socket], piece: bytes, stop: threading.Event) -> None:
    while not stop.wait(0.5):
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sendall(piece)


def slowest(served: Served, times: int = 20) -> float:
    """The longest that one of so many requests waited."""
    waits = []
    for _ in range(times):
        begun = time.monotonic()
        assert served.ask("GET", "/readyz").status == 200
        waits.append(time.monotonic() - begun)
    return max(waits)


def ended_by_the_server(connection: socket.socket, seconds: float) -> bytes | None:
    """What it still sent before it closed; None when it did not close in time."""
    connection.settimeout(seconds)
    answer = b""
    try:
        while piece := connection.recv(65536):
            answer += piece
    except TimeoutError:
        return None
    except OSError:
        pass
    return answer


def test_others_are_answered_while_many_dribble_their_headers_send_no_body_or_say_nothing(served: Served) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: "
    body = b"POST /account/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nlogin="
    stop = threading.Event()
    with (
        clients(served, MANY, head) as heads,
        clients(served, MANY, body) as bodies,
        clients(served, MANY, b""),
    ):
        dribbling = threading.Thread(target=dribble, args=([*heads, *bodies], b"a", stop))
        dribbling.start()
        try:
            assert slowest(served) < SOON
            time.sleep(1)
            assert slowest(served) < SOON
            told = ended_by_the_server(bodies[0], bridge.FIRST_SECONDS + 5)
            assert told is not None
            assert told.startswith(b"HTTP/1.1 408 ")
        finally:
            stop.set()
            dribbling.join()


def test_whoever_says_nothing_or_not_enough_is_shown_out(serve: Start) -> None:
    served = serve("-m", "tests.doors.web.program", HOZI_HTTP_WORKERS="1")  # waits three seconds, not half a minute
    answered = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    stop = threading.Event()
    with clients(served, 1, b"") as silent, clients(served, 1, b"GET / HTTP/1.1\r\nX: ") as heads:
        with clients(served, 1, answered) as idle:
            dribbling = threading.Thread(target=dribble, args=(heads, b"a", stop))
            dribbling.start()
            try:
                for connection in (*silent, *heads, *idle):
                    assert ended_by_the_server(connection, 10) is not None
            finally:
                stop.set()
                dribbling.join()


def test_large_bodies_that_do_not_come_take_their_places_only(served: Served) -> None:
    says = b"POST /account/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    most = 2 * bridge.LARGE_BODIES_OF_ONE  # two processes
    with clients(served, most + 4, says) as connections:
        assert slowest(served) < SOON
        refused = 0
        for connection in connections:
            connection.settimeout(1)
            with contextlib.suppress(OSError):
                refused += connection.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert refused >= 4
        assert slowest(served) < SOON


def test_those_who_come_while_all_threads_are_busy_wait_or_are_told_to_come_again(serve: Start) -> None:
    served = serve("-m", "tests.doors.web.program", HOZI_HTTP_WORKERS="1", HOZI_HTTP_THREADS="2")
    room = 2 * (1 + bridge.WAITING_FOR_EACH_THREAD)
    request = b"GET /sleep HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with clients(served, room + 10, request) as connections:
        answers = [ended_by_the_server(connection, 60) or b"" for connection in connections]
    busy = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
    assert 10 <= len(busy) <= 12
    assert all(b"retry-after: 2" in answer.lower() for answer in busy)
    assert sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers) == len(answers) - len(busy)
