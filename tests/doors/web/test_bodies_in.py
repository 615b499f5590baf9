"""Bodies that are handed on as they come: whole or told as broken, in little memory, and nobody else waits for them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hozi.doors.http import bridge, inflow
from tests.doors.web.conftest import SECONDS, Served, start
from tests.doors.web.test_requests import status
from tests.doors.web.test_slow_clients import clients, ended_by_the_server, slowest

HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
SOON = 3.0


@pytest.fixture(scope="module")
def taking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One process, of whose routes some take bodies as they come; it waits two seconds where others get fifteen."""
    home = tmp_path_factory.mktemp("taking") / "home"
    served = start(home, "-m", "tests.doors.web.program", HOZI_HTTP_WORKERS="1", HOZI_HTTP_THREADS="2")
    yield served
    served.stop()


def told(body: bytes) -> bytes:
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()


def test_a_body_far_over_the_limit_of_others_comes_whole_and_little_of_it_is_held(taking: Served) -> None:
    piece = os.urandom(1 << 20)
    pieces = 96
    assert pieces << 20 > bridge.LARGEST_BODY
    taking.ask("POST", "/in", piece)  # what is loaded once is loaded now
    [worker] = taking.workers()
    before = most = worker.memory_info().rss
    digest = hashlib.sha256()
    with closing(http.client.HTTPConnection("127.0.0.1", taking.port, timeout=30)) as connection:
        connection.putrequest("POST", "/in/slowly", skip_host=True)
        connection.putheader("Host", "localhost")
        connection.putheader("Content-Length", str(pieces << 20))
        connection.endheaders()
        for _ in range(pieces):
            connection.send(piece)
            digest.update(piece)
            most = max(most, worker.memory_info().rss)
        answer = connection.getresponse()
        assert answer.read() == f"{pieces << 20} {digest.hexdigest()}".encode()
    assert most - before < 16 << 20, f"{(most - before) / 1e6:.0f} MB"


@pytest.mark.parametrize("size", [0, 1, 4095, 300_000])
def test_a_body_may_come_in_chunks(taking: Served, size: int) -> None:
    body = os.urandom(size)
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[at : at + 999] for at in range(0, size, 999))
    )
    request = HEAD % (b"/in", b"Transfer-Encoding: chunked\r\n") + chunks + b"0\r\n\r\n"
    assert told(body) in taking.raw(request, seconds=10)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # Two lengths that differ: one of them counts, and what follows is no next request (RFC 9112 §6.1).
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", (200, 400)),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n", (200, 400)),
        (b"Transfer-Encoding: gzip, chunked\r\n", (400, 411)),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", (400, 411)),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", (400,)),
        (b"Content-Length: 5, 5\r\n", (400,)),
    ],
)
def test_a_body_with_two_lengths_is_not_read_as_two_requests(
    taking: Served, lines: bytes, expected: tuple[int, ...]
) -> None:
    answer = taking.raw(HEAD % (b"/in", lines) + b"0\r\n\r\nPOST /in HTTP/1.1\r\nHost: localhost\r\n\r\n", seconds=5)
    assert status(answer) in expected
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_body_that_breaks_off_is_never_taken_for_whole(taking: Served) -> None:
    with socket.create_connection(("127.0.0.1", taking.port)) as connection:
        connection.sendall(HEAD % (b"/in", b"Content-Length: 100\r\n") + b"a" * 60)
        connection.shutdown(socket.SHUT_WR)
        answer = ended_by_the_server(connection, 10) or b""
    assert status(answer) in (0, 400)
    assert b"200 OK" not in answer


def test_of_who_is_refused_nothing_is_taken(taking: Served, tmp_path: Path) -> None:
    begun = time.monotonic()
    answer = taking.raw(HEAD % (b"/in/refused", b"Content-Length: 1000000000\r\n"), seconds=10)
    assert status(answer) == 401
    assert b"connection: close" in answer.lower()
    assert time.monotonic() - begun < SOON

    (tmp_path / "large").write_bytes(b"a" * (4 << 20))
    command = ["curl", "-sv", "-T", str(tmp_path / "large"), "-X", "POST", f"http://localhost:{taking.port}"]
    refused = subprocess.run([*command[:-1], f"{command[-1]}/in/refused"], capture_output=True, timeout=30)
    assert b"< HTTP/1.1 401" in refused.stderr
    assert b"100 Continue" not in refused.stderr
    taken = subprocess.run([*command[:-1], f"{command[-1]}/in"], capture_output=True, timeout=30)
    assert taken.stdout.startswith(b"4194304 ")
    if b"Expect: 100-continue" in taken.stderr:
        assert b"100 Continue" in taken.stderr


def test_what_is_not_read_of_a_body_is_no_next_request(taking: Served) -> None:
    inner = b"GET /few HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = b"a" * (2 << 20) + inner
    answer = taking.raw(HEAD % (b"/in/some", b"Content-Length: %d\r\n" % len(body)) + body, seconds=10)
    assert len(re.findall(rb"HTTP/1\.1 ", answer)) <= 1


def test_slow_bodies_cost_their_places_and_no_other_request_waits(taking: Served) -> None:
    says = HEAD % (b"/in", b"Content-Length: 1000000\r\n") + b"a"
    with clients(taking, bridge.INFLOWS_OF_ONE + 3, says) as connections:
        assert slowest(taking, times=5) < SOON
        answers = [ended_by_the_server(connection, 10) or b"" for connection in connections]
    assert sum(answer.startswith(b"HTTP/1.1 503 ") for answer in answers) == 3
    assert sum(b"too slowly" in answer for answer in answers) == bridge.INFLOWS_OF_ONE
    assert taking.ask("POST", "/in", b"abc").body == told(b"abc")  # type: ignore[attr-defined]


def test_a_fast_beginning_earns_no_long_silence(taking: Served) -> None:
    with socket.create_connection(("127.0.0.1", taking.port)) as connection:
        connection.sendall(HEAD % (b"/in", b"Content-Length: 9000000\r\n") + b"a" * (8 << 20))
        connection.settimeout(SECONDS)
        answer = b""
        while b"too slowly" not in answer and (piece := connection.recv(4096)):
            answer += piece
    assert b"too slowly" in answer
    assert inflow.LONGEST_SECONDS <= bridge.UNREAD_SECONDS


def test_a_client_that_leaves_gives_its_place_back(taking: Served) -> None:
    for _ in range(2):
        with clients(taking, bridge.INFLOWS_OF_ONE, HEAD % (b"/in", b"Content-Length: 1000000\r\n") + b"a"):
            pass
        deadline = time.monotonic() + 1.5
        while taking.ask("POST", "/in", b"abc").status != 200:
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError):
                time.sleep(0.05)
