"""What goes out: headers on every answer, error pages that say nothing of what was asked for, and the access log."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tests.doors.web.conftest import Served

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NAME = "MOYO-Tendai-19800102"


def _static(served: Served) -> str:
    page = served.ask("GET", "/account/login/").body.decode()  # type: ignore[attr-defined]
    found = re.search(r'"(/static/console/console[^"]*\.css)"', page)
    assert found, page
    return found[1]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/account/login/", 200),
        ("GET", "/", 302),
        ("GET", "/nothing-there", 404),
        ("POST", "/account/login/", 403),
        ("GET", "/static/nothing.css", 404),
        ("GET", "STATIC", 200),
        ("GET", "/healthz?" + "a" * 9000, 414),
        ("TRACE", "/healthz", 405),
    ],
)
def test_every_answer_has_the_headers_that_protect_it(served: Served, method: str, path: str, expected: int) -> None:
    path = _static(served) if path == "STATIC" else path
    answer = served.ask(method, path)
    assert answer.status == expected
    for name, value in ALWAYS.items():
        assert answer.headers.get_all(name) == [value], name
    [policy] = answer.headers.get_all("Content-Security-Policy") or [""]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    [permissions] = answer.headers.get_all("Permissions-Policy") or [""]
    assert "camera=()" in permissions
    [number] = answer.headers.get_all("X-Request-Id") or [""]
    assert re.fullmatch(r"[0-9a-f]{16}", number)
    assert answer.headers.get_all("Server") == ["Hozi"]
    [caching] = answer.headers.get_all("Cache-Control") or [""]
    assert ("no-store" in caching) == (not path.startswith("/static/console/"))


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "action")]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [("GET", f"/{NAME}", 404), ("POST", "/account/login/", 403), ("GET", f"/healthz?{NAME * 500}", 414)],
)
def test_an_error_page_is_plain_and_repeats_nothing_of_the_request(
    served: Served, method: str, path: str, expected: int
) -> None:
    answer = served.ask(method, path, b"" if method == "POST" else None)
    body = answer.body.decode()  # type: ignore[attr-defined]
    assert answer.status == expected
    assert NAME not in body
    assert answer.headers["X-Request-Id"] in body, "people can tell the number to whoever reads the log"
    assert "Traceback" not in body
    parser = _Text()
    parser.feed(body)
    assert all(load.startswith("/") for load in parser.loads)
    assert "<script" not in body


def test_programs_get_errors_as_plain_text(served: Served) -> None:
    answer = served.ask("GET", "/nothing-there", Accept="application/json")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")


def test_the_access_log_says_how_it_went_and_nothing_of_what_was_asked_for(served: Served) -> None:
    good = served.ask("GET", f"/account/login/?next={NAME}", Cookie=f"x={NAME}", User_Agent=NAME)
    bad = served.ask("GET", f"/{NAME}/{NAME}?name={NAME}", Referer=f"http://localhost/{NAME}")
    ugly = served.ask("POST", f"/{NAME}", NAME.encode(), Host=f"{NAME}.example")
    numbers = [answer.headers["X-Request-Id"] for answer in (good, bad, ugly)]
    lines = [served.wait_for_line(event="request", request=number) for number in numbers]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("GET", "/account/login/", 200),
        ("GET", "", 404),
        ("POST", "", 400),
    ]
    assert lines[0]["ms"] > 0
    assert lines[0]["bytes"] == len(good.body)  # type: ignore[attr-defined]
    assert NAME not in served.log.read_text()


def test_the_one_time_link_is_not_in_the_log(served: Served) -> None:
    secret = "s" * 43
    answer = served.ask("GET", f"/enter/{secret}/")
    line = served.wait_for_line(event="request", request=answer.headers["X-Request-Id"])
    assert line["route"] == "/enter/<str:secret>/" or line["route"].startswith("/enter/<")
    assert secret not in served.log.read_text()


def test_probes_do_not_fill_the_log(served: Served) -> None:
    answer = served.ask("GET", "/healthz")
    later = served.ask("GET", "/nothing-there")
    served.wait_for_line(event="request", request=later.headers["X-Request-Id"])
    assert answer.headers["X-Request-Id"] not in served.log.read_text()
