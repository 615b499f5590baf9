"""Whoever guesses UIDs learns nothing: at every path, what is not theirs answers as what is not there."""

from __future__ import annotations

import re

import pytest

from hozi.audit.models import Event
from hozi.doors.dicomweb.routes import TABLE
from tests.archive.stock import keep
from tests.doors.dicomweb.conftest import Answer, Call

pytestmark = pytest.mark.django_db

THERE = {"study": "1.1.7", "series": "1.2.7", "instance": "1.3.7"}
NOWHERE = {"study": "1.1.8", "series": "1.2.8", "instance": "1.3.8"}
OTHERS = {"frames": "1"}


def path_of(pattern: str, uids: dict[str, str]) -> str:
    named = {**uids, **OTHERS}
    return re.sub(
        r"\{([a-z_]+)\}", lambda name: named.get(name[1], "1" if name[1].startswith("item") else "7FE00010"), pattern
    )


def said(answer: Answer) -> tuple[object, ...]:
    """What could tell the two apart."""
    return answer.status, answer.body, sorted(answer.headers.items())


@pytest.mark.parametrize("role", ["radiologist", "pacs_admin"])
def test_a28_a29_what_is_not_theirs_answers_as_what_is_not_there(calls: Call, hospitals: None, role: str) -> None:
    keep(7, {"PatientID": "OURS"}, facility="GRANARY")
    stranger = calls(role, "ELSEWHERE")
    routes = [route for route in TABLE if "{study}" in route.pattern and route.method != "POST"]
    assert len(routes) > 15
    wrong = []
    for route in routes:
        theirs = stranger.ask(route.method, path_of(route.pattern, THERE))
        nobodys = stranger.ask(route.method, path_of(route.pattern, NOWHERE))
        is_query = route.permission == "studies.find"
        if said(theirs) != said(nobodys) or theirs.status not in ((204,) if is_query else (403, 404)):
            wrong.append((route.method, route.pattern, said(theirs), said(nobodys)))
    assert not wrong
    told = [event.detail for event in Event.objects.filter(type="110132")]
    assert told
    assert {detail["uid"] for detail in told if "uid" in detail} <= {*THERE.values(), *NOWHERE.values()}
