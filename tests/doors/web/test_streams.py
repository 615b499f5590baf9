"""Answers that stream: bounded, in threads of their own, cut when they break off; never mistaken for whole."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from hozi.doors.http import bridge
from tests.doors.web.conftest import Served, start

REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("streaming") / "home"
    served = start(home, "-m", "tests.doors.web.program", HOZI_HTTP_WORKERS="1", HOZI_HTTP_THREADS="2")
    yield served
    served.stop()


def memory(served: Served) -> int:
    [worker] = served.workers()
    return int(worker.memory_info().rss)


def test_an_answer_in_pieces_arrives_whole(streaming: Served) -> None:
    assert streaming.ask("GET", "/few").body == b"ab"  # type: ignore[attr-defined]


def test_all_pieces_are_made_in_one_thread(streaming: Served) -> None:
    body = streaming.ask("GET", "/threads").body  # type: ignore[attr-defined]
    assert len(set(body.splitlines())) == 1
    assert body.count(b"\n") == 50


def test_one_that_breaks_off_is_seen_to_be_broken_and_is_in_the_log(streaming: Served) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError, http.client.RemoteDisconnected)):
        streaming.ask("GET", "/breaking")
    line = streaming.wait_for_line(event="an answer broke off")
    assert line["exception"] == "RuntimeError"
    assert "the disk is gone" not in streaming.log.read_text()


def test_readers_that_take_nothing_hold_no_page_and_no_memory_and_are_cut_off(streaming: Served) -> None:
    before = memory(streaming)
    stalled = [socket.create_connection(("127.0.0.1", streaming.port)) for _ in range(bridge.STREAMS_OF_ONE)]
    try:
        for connection in stalled:
            connection.sendall(REQUEST % b"/endless")
        time.sleep(1)
        begun = time.monotonic()
        for _ in range(10):
            assert streaming.ask("GET", "/").status == 200
        assert time.monotonic() - begun < 3
        assert memory(streaming) - before < 64 << 20
        assert streaming.ask("GET", "/endless").status == 503
        # Soon (in `program`, after four seconds) each of them is gone, and its place is free.
        deadline = time.monotonic() + 30
        while (answer := streaming_head(streaming)) == 503:
            assert time.monotonic() < deadline
            time.sleep(1)
        assert answer == 200
    finally:
        for connection in stalled:
            connection.close()


def streaming_head(served: Served) -> int:
    """The status of a long answer, of which no more is read than its head."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    try:
        connection.request("GET", "/endless", headers={"Host": "localhost"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_when_the_reader_is_gone_no_more_pieces_are_made(streaming: Served) -> None:
    with socket.create_connection(("127.0.0.1", streaming.port)) as connection:
        connection.sendall(REQUEST % b"/endless")
        connection.recv(65536)
    [worker] = streaming.workers()
    deadline = time.monotonic() + 20
    while True:
        before = sum(worker.cpu_times()[:2])
        time.sleep(0.5)
        if sum(worker.cpu_times()[:2]) - before < 0.05:
            break
        assert time.monotonic() < deadline, "it still works for nobody"


def test_what_the_application_did_not_expect_is_a_500_and_says_nothing_of_it(streaming: Served) -> None:
    answer = streaming.ask("GET", "/raise")
    assert answer.status == 500
    assert b"MOYO" not in answer.body  # type: ignore[attr-defined]
    assert streaming.wait_for_line(event="request", status=500)["request"] == answer.headers["X-Request-Id"]
    assert "MOYO" not in streaming.log.read_text()


@pytest.mark.parametrize("size", [0, 1, bridge.IN_MEMORY, bridge.IN_MEMORY + 1, bridge.LARGEST_BODY])
def test_a_body_arrives_whole_whatever_its_size(streaming: Served, size: int) -> None:
    assert streaming.ask("POST", "/body", b"a" * size).body == b"%d" % size  # type: ignore[attr-defined]
