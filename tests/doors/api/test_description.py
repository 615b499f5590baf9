"""The API is described for programs and for people, and behaves as it is described."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from hozi.accounts import authorise, devices, emergency, reviews, roles
from hozi.accounts.models import Grant, ReviewItem, Token
from hozi.archive.models import ExceptionCase
from hozi.audit.models import Event
from hozi.doors.api import gate
from hozi.doors.api.description import Description
from hozi.doors.api.urls import made
from hozi.facilities import departments, organisations
from hozi.facilities.devices import knocked
from hozi.facilities.models import Knock
from hozi.wsgi import application
from tests.archive.test_reach import kept
from tests.doors.api.conftest import OPERATOR, Call, Caller
from tests.guards.rules import ROOT

DOCUMENT = Description(made(lambda device: None)).schema
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCHEMA.app = application
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    """The server would close the test's connection, with the test's transaction in it."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@dataclass(frozen=True)
class Filled:
    """An archive with something of everything: the secret of an administrator's token, and what can be named."""

    secret: str
    numbers: dict[str, int]

    def names(self, path: str) -> dict[str, object]:
        """For the parameters in a path: something that is there."""
        named = {"code": "MAIN", "department": "CT", "key": "night_reader"}
        named["key"] = "archive.max_results" if "settings" in path else named["key"]
        named["name"] = "Ministry" if "organisations" in path else "CT1"
        wanted = re.findall(r"{([a-z]+)}", path)
        number = next((number for begins, number in self.numbers.items() if path.startswith(begins)), 0)
        return {name: number if name == "number" else named[name] for name in wanted}


@pytest.fixture
def filled(hospitals: None, calls: Call, monkeypatch: pytest.MonkeyPatch) -> Filled:
    monkeypatch.setattr(gate, "_BURST", 10**9)
    organisations.add("Ministry", actor="test")
    departments.add("MAIN", "CT", "CT room", actor="test")
    devices.add(OPERATOR, "CT1", ae_title="CT1", host="10.0.0.1", facility="MAIN")
    knocked("MR1", "HOZI", "10.0.0.2", reason="calling-ae")
    roles.create(OPERATOR, "night_reader", name="Night reader", permissions=["studies.find"])
    radiologist = calls("radiologist", "GRANARY")
    secret = calls("pacs_admin").secret
    review = reviews.open(OPERATOR)
    who = authorise.of_person(radiologist.person)
    assert who is not None
    opened = emergency.open(who, issuer="MAIN", patient_id="1", reason="a reason of ten characters")
    study = kept(1, {"PatientName": "Moyo^Tendai", "PatientID": "ZW-1", "StudyDate": "20260105", "Modality": "CT"})
    now = timezone.now()
    case = ExceptionCase.objects.create(reason="patient-differs", facility="MAIN", first_at=now, last_at=now)
    numbers = {
        "/api/exceptions/": case.pk,
        "/api/studies/": study.pk,
        "/api/series/": study.series.get().pk,
        "/api/audit/rows/": Event.objects.earliest("pk").pk,
        "/api/reviews/items/": ReviewItem.objects.get(person=radiologist.person).pk,
        "/api/reviews/": review.id,
        "/api/people/": radiologist.person,
        "/api/grants/": Grant.objects.get(person=radiologist.person).pk,
        "/api/tokens/": Token.objects.get(person=radiologist.person).pk,
        "/api/emergency/": opened.id,
        "/api/knocks/": Knock.objects.get().pk,
    }
    return Filled(secret, numbers)


@pytest.mark.django_db
@pytest.mark.parametrize("label", OPERATIONS)
def test_it_behaves_as_it_is_described(label: str, filled: Filled) -> None:
    operation = OPERATIONS[label]
    headers = {"Authorization": f"Bearer {filled.secret}"}
    names = filled.names(operation.path)
    ways = [(GenerationMode.POSITIVE, {}, 4), (GenerationMode.NEGATIVE, {}, 5)]
    if names:
        ways.append((GenerationMode.POSITIVE, {"path_parameters": names}, 5))
    for mode, given_names, most in ways:

        @settings(
            max_examples=most,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode, **given_names))
        def holds(case: schemathesis.Case) -> None:
            answer = case.call(headers=headers)
            assert answer.status_code != 401, "the administrator's token must outlive the test"
            case.validate_response(answer, checks=CHECKS)

        holds()


@pytest.mark.django_db
def test_programs_find_its_description(admin: Caller) -> None:
    answer = Client().get("/api/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == DOCUMENT
    assert answer.json()["openapi"] == "3.1.0"
    assert Client().post("/api/openapi.json").status_code == 405


@pytest.mark.django_db
def test_people_find_its_description_without_anything_from_elsewhere() -> None:
    answer = Client().get("/api/docs")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "script" not in answer["Content-Security-Policy"].replace("script-src 'self'", "")
    for forbidden in ("<script", "style=", "<style", " on", "http://", "https://"):
        assert forbidden not in re.sub(r">[^<]*<", "><", page), forbidden
    for path, methods in DOCUMENT["paths"].items():
        assert f"<code>{path}</code>" in page
        for said in methods.values():
            assert f'id="{said["operationId"]}"' in page


def test_every_list_is_limited() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for said in methods.values():
            answer = said["responses"].get("200", {}).get("content", {}).get("application/json", {})
            if answer.get("schema", {}).get("$ref", "").rpartition("/")[2].startswith("Page_"):
                [limit] = [one["schema"] for one in said["parameters"] if one["name"] == "limit"] or [_body(said)]
                assert limit["maximum"] <= 200, path


def _body(said: Any) -> Any:
    """The limit of a list that is asked for with a body."""
    reference = said["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return DOCUMENT["components"]["schemas"][reference]["properties"]["limit"]


def test_nothing_comes_in_that_a_route_does_not_name() -> None:
    bodies = {
        said["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for methods in DOCUMENT["paths"].values()
        for said in methods.values()
        if "requestBody" in said
    }
    assert len(bodies) > 15
    for name in bodies:
        assert DOCUMENT["components"]["schemas"][name]["additionalProperties"] is False, name


def test_every_address_in_the_documentation_is_there() -> None:
    page = (ROOT / "docs" / "use" / "api.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\$HOZI(/api/[^\s\"?]*)", page))
    known = [re.sub(r"{[a-z]+}", "[^/]+", path) for path in DOCUMENT["paths"]]
    assert len(used) > 5
    assert not [path for path in used if not any(re.fullmatch(pattern, path) for pattern in known)]
