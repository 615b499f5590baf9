"""The door as it is served: behind the web server, beside Django."""

from __future__ import annotations

import json

from tests.doors.web.conftest import Served, served

__all__ = ["served"]


def test_it_answers_beside_the_console_with_the_headers_of_every_answer(served: Served) -> None:
    answer = served.ask("GET", "/dicom-web/studies")
    assert answer.status == 401
    told = {name.lower(): value for name, value in answer.getheaders()}
    assert told["content-type"] == "application/problem+json"
    assert told["x-content-type-options"] == "nosniff"
    assert told["cache-control"] == "no-store"
    assert told["content-security-policy"].startswith("default-src 'none'")
    assert "access-control-allow-origin" not in told
    assert json.loads(answer.body)["status"] == 401  # type: ignore[attr-defined]
    # Django has no part in it: neither a cookie nor a redirect to a page for people.
    assert "set-cookie" not in told
    assert served.ask("GET", "/dicom-webs").status in (302, 404)
    assert served.ask("GET", "/healthz").status == 200


def test_the_log_has_the_route_and_never_what_was_asked_for(served: Served) -> None:
    number = served.ask("GET", "/dicom-web/studies/1.2.3.99?PatientID=SECRET").getheader("x-request-id")
    line = served.wait_for_line(request=number, event="request")
    assert line["status"] == 401
    assert "SECRET" not in served.log.read_text()
    assert "1.2.3.99" not in served.log.read_text()
