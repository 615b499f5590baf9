"""What comes in: requests that are none, too large, for another host; and who they come from."""

from __future__ import annotations

import re
import socket
import time

import pytest

from hozi.doors.http import bridge
from tests.doors.web.conftest import Served, Start

GOOD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    return int(found[1]) if found else 0


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: evil@localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost:80:80\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n\r\n",
    ],
)
def test_it_refuses_a_host_that_is_not_ours(served: Served, head: bytes) -> None:
    answer = served.raw(head)
    assert status(answer) == 400
    assert b"evil" not in answer


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST", b"127.0.0.1:8080", b"[::1]:1", b"localhost."])
def test_it_answers_to_its_names(served: Served, host: bytes) -> None:
    assert status(served.raw(GOOD.replace(b"localhost", host))) == 200


def test_it_answers_to_the_hosts_that_are_set_and_to_no_other_but_itself(serve: Start) -> None:
    served = serve(HOZI_HTTP_HOSTS="pacs.hospital.example, 2001:db8::1")
    for host, expected in [
        (b"pacs.hospital.example", 200),
        (b"[2001:db8::1]", 200),
        (b"localhost", 200),
        (b"other.hospital.example", 400),
    ]:
        assert status(served.raw(GOOD.replace(b"localhost", host))) == expected, host


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS where none is spoken
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /healthz\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /a%00b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /a%0d%0ab HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_it_refuses_what_is_no_request_and_goes_on(served: Served, data: bytes) -> None:
    assert status(served.raw(data, seconds=5)) in (0, 400)
    assert status(served.raw(GOOD)) == 200
    assert "Traceback" not in served.log.read_text()


def test_a_method_that_there_is_not_is_refused(served: Served) -> None:
    for method in (b"TRACE", b"CONNECT", b"PROPFIND", b"DEBUG"):
        answer = served.raw(b"%s /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" % method)
        assert status(answer) in (400, 405), method


def test_a_body_with_two_lengths_is_not_read_as_two_requests(served: Served) -> None:
    smuggled = b"GET /nothing-of-the-kind HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = served.raw(
        b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s" % (5 + len(smuggled), smuggled)
    )
    assert answer.count(b"HTTP/1.1 ") == 1


def test_heads_are_limited(served: Served) -> None:
    assert served.ask("GET", "/healthz", Cookie="a" * 40_000).status == 431
    assert served.ask("GET", "/healthz?" + "a" * 9000).status == 414
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(150))
    answer = served.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % many, seconds=5)
    assert status(answer) in (0, 431)
    endless = served.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 2_000_000, seconds=15)
    assert status(endless) in (0, 431)
    assert status(served.raw(GOOD)) == 200


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(served: Served) -> None:
    begun = time.monotonic()
    head = b"POST /account/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    answer = served.raw(head % (bridge.LARGEST_BODY + 1))
    assert status(answer) == 413
    assert b"connection: close" in answer.lower()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("body", [b"5\r\nabcde\r\n0\r\n\r\n", b"5\r\nab", b"zz\r\n", b""])
def test_a_body_without_a_length_is_refused_since_nobody_could_tell_when_it_breaks_off(
    served: Served, body: bytes
) -> None:
    head = b"POST /account/login/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status(served.raw(head + body)) == 411


def test_a_form_that_is_larger_than_forms_are_is_told_so(served: Served) -> None:
    page = served.ask("GET", "/account/login/")
    cookie = str(page.headers["Set-Cookie"]).split(";")[0]
    answer = served.ask(
        "POST",
        "/account/login/",
        b"login=" + b"a" * (3 << 20),
        Content_Type="application/x-www-form-urlencoded",
        Cookie=cookie,
    )
    assert answer.status == 413


def test_a_body_that_breaks_off_reaches_no_page(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(b"POST /account/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nlogin=a")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert status(answer) in (0, 400)
    assert not [
        line
        for line in served.lines()
        if line.get("route") == "/account/login/" and line["status"] == 200 and line["method"] == "POST"
    ]


def test_a40_no_path_leads_out_of_the_static_files(served: Served) -> None:
    for path in (
        b"/static/../settings.py",
        b"/static/..%2f..%2fsettings.py",
        b"/static/%2e%2e/%2e%2e/settings.py",
        b"/static/..\\..\\settings.py",
        b"/static//etc/passwd",
        b"/static/....//....//etc/passwd",
        b"/static/%252e%252e/settings.py",
        b"/../../../../../../etc/passwd",
        b"//etc/passwd",
        b"/static/console/../../keys/secret.key",
    ):
        answer = served.raw(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path)
        assert status(answer) in (301, 302, 400, 404), path
        assert b"root:" not in answer
        assert b"HOZI_" not in answer.partition(b"\r\n\r\n")[2]


def test_only_a_trusted_proxy_says_who_asks_and_how(serve: Start) -> None:
    served = serve(HOZI_TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8", HOZI_HTTP_WORKERS="1")
    told = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "6.6.6.6, 192.0.2.7, 10.1.2.3"}
    page = served.ask("GET", "/account/login/", **told)
    assert "strict-transport-security" in page.headers
    for cookie in page.headers.get_all("Set-Cookie") or []:
        assert "secure" in cookie.lower()
    line = served.wait_for_line(event="request", request=page.headers["X-Request-Id"])
    assert line["address"] == "192.0.2.7"


def test_a_stranger_who_says_so_is_not_believed(served: Served) -> None:
    page = served.ask(
        "GET", "/account/login/", X_Forwarded_Proto="https", X_Forwarded_For="192.0.2.7", X_Request_Id="invented1"
    )
    assert "strict-transport-security" not in page.headers
    assert page.headers["X-Request-Id"] != "invented1"
    cookies = page.headers.get_all("Set-Cookie") or []
    assert cookies
    assert all("httponly" in cookie.lower() and "samesite=lax" in cookie.lower() for cookie in cookies)
    line = served.wait_for_line(event="request", request=page.headers["X-Request-Id"])
    assert line["address"] == "127.0.0.1"


def test_names_that_django_would_take_for_others_do_not_reach_it(serve: Start) -> None:
    served = serve(HOZI_TRUSTED_PROXIES="127.0.0.1", HOZI_HTTP_WORKERS="1")
    answer = served.raw(
        b"GET /account/login/ HTTP/1.1\r\nHost: localhost\r\nX_Forwarded_For: 6.6.6.6\r\n"
        b"X_Forwarded_Proto: https\r\nX-Request-Id: seen-by-proxy-1\r\nConnection: close\r\n\r\n"
    )
    assert status(answer) == 200
    assert b"strict-transport-security" not in answer.lower()
    assert served.wait_for_line(event="request", request="seen-by-proxy-1")["address"] == "127.0.0.1"
