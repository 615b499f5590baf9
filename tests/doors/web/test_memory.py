"""The server does not grow with what it has answered."""

from __future__ import annotations

import http.client
from contextlib import closing

from tests.doors.web.conftest import Served, Start

REQUESTS = 1000
MOST_GROWTH = 8 << 20


def _ask(served: Served, count: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        for number in range(count):
            path = ("/account/login/", f"/nothing/{number}", "/healthz", f"/readyz?{number}")[number % 4]
            body = None
            if number % 10 == 9:
                connection.request("POST", "/account/login/", b"a" * 100_000, {"Host": "localhost"})
            else:
                connection.request("GET", path, body, {"Host": "localhost", "X-A": str(number)})
            connection.getresponse().read()


def test_a_thousand_requests_leave_it_as_large_as_it_was(serve: Start) -> None:
    served = serve(HOZI_HTTP_WORKERS="1", HOZI_LOG_LEVEL="WARNING")
    _ask(served, 400)  # what is loaded once is loaded now
    [worker] = served.workers()
    before = worker.memory_info().rss
    _ask(served, REQUESTS)
    grown = worker.memory_info().rss - before
    assert grown < MOST_GROWTH, f"{grown / 1e6:.1f} MB"
    assert worker.num_fds() < 100
