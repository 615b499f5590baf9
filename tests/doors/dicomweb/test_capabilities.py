"""What the door says that it offers is what it offers."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from hozi.doors.dicomweb.routes import TABLE
from tests.doors.dicomweb.conftest import Call, Caller

pytestmark = pytest.mark.django_db

WADL = "{http://wadl.dev.java.net/2009/02}"


def test_it_describes_every_route_and_nothing_else(calls: Call) -> None:
    caller = calls("radiologist")
    routes = {(route.pattern, route.method) for route in TABLE}
    told = caller.get("/", accept="application/json").json()
    assert told["base"] == "http://pacs.example/dicom-web"
    described = {(one["path"], method["method"]) for one in told["resources"] for method in one["methods"]}
    assert described == routes
    assert all(method["does"] for one in told["resources"] for method in one["methods"])
    answer = caller.get("")
    assert answer.headers["content-type"].startswith("application/vnd.sun.wadl+xml")
    root = ElementTree.fromstring(answer.body)
    resources = root.find(f"{WADL}resources")
    assert resources is not None and resources.get("base") == "http://pacs.example/dicom-web/"
    paths = {
        ("/" + str(one.get("path")), method.get("name")) for one in resources for method in one.iter(f"{WADL}method")
    }
    assert paths == routes
    assert caller.ask("OPTIONS", "/").body == answer.body


def test_what_it_says_of_queries_is_what_they_take(calls: Call) -> None:
    caller = calls("radiologist")
    for one in caller.get("/", accept="application/json").json()["resources"]:
        for method in one["methods"]:
            if method["parameters"] and "{" not in one["path"]:
                assert {"PatientID", "limit", "includefield"} <= set(method["parameters"])
                for name in method["parameters"]:
                    value = {"limit": "1", "offset": "0", "fuzzymatching": "true", "includefield": "all"}.get(name, "")
                    assert caller.get(one["path"], {name: value}).status in (200, 204), name


def test_only_who_is_known_is_told(nobody: Caller) -> None:
    assert nobody.get("/").status == nobody.ask("OPTIONS", "/").status == 401
