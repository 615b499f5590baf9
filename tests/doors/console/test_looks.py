"""Whoever sees something of a patient stands in the audit: whichever page or address they came by first."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import get_resolver

from hozi.archive.models import ExceptionCase, Instance, Patient, Study
from hozi.audit.models import Event
from hozi.doors.api.urls import made
from hozi.doors.console.access import rule_of
from tests.archive.conftest import Counter, counter
from tests.dicom_files import write
from tests.guards.test_access import _patterns

__all__ = ["counter"]

STUDY, OTHER = "1.2.826.94.1", "1.2.826.94.2"
PATIENT = (b"Chikomba", b"E-0001")
SignedIn = Callable[..., Client]


@pytest.fixture
def study(counter: Counter, tmp_path: Path) -> Study:
    """A study of two images, and another of the same patient."""
    for number, uid in enumerate((STUDY, STUDY, OTHER)):
        write(
            tmp_path / "disc" / f"{number}.dcm",
            StudyInstanceUID=uid,
            SeriesInstanceUID=f"{uid}.1",
            SOPInstanceUID=f"{uid}.1.{number}",
            InstanceNumber=number,
        )
    counter.bring(tmp_path / "disc")
    return Study.objects.get(uid=STUDY)


def looks(actor: str) -> list[tuple[str, str]]:
    """Of which study somebody has seen what, as the audit has it."""
    rows = Event.objects.filter(actor=actor, code="110103", action="R", outcome=0).order_by("pk")
    assert all((row.patient_id, row.issuer, row.facility) == ("E-0001", "MAIN", "MAIN") for row in rows)
    return [(row.study_uid, row.detail["opened"]) for row in rows]


def addresses(study: Study) -> dict[str, list[tuple[str, str]]]:
    """Every address of the console and the API about studies, series and objects, with what is audited of each."""
    numbers = {
        "studies": study.pk,
        "series": study.series.get().pk,
        "objects": Instance.objects.filter(series__study=study)[0].pk,
    }
    found: dict[str, list[tuple[str, str]]] = {"one": [], "many": []}
    for method, route in itertools.chain(_of_console(), _of_api()):
        area = re.match(r"/(?:api/)?(\w+)", route)
        if area is None or area[1] not in numbers:
            continue
        filled = re.sub(r"<int:pk>|\{number\}", str(numbers[area[1]]), route)
        filled = filled.replace("<str:ticket>", "none")
        assert not re.search("[<{]", filled), f"say here what to put in {route}"
        found["many" if filled == route else "one"].append((method, filled))
    return found


def _of_console() -> Iterator[tuple[str, str]]:
    for pattern in _patterns(get_resolver()):
        rule = rule_of(pattern.callback, pattern.name)
        assert rule is not None
        for method in ("GET", "POST"):
            if rule.allows(method):
                yield method, f"/{pattern.pattern}"


def _of_api() -> Iterator[tuple[str, str]]:
    for router in made(lambda _: None)._get_bound_routers():
        for path, view in router.path_operations.items():
            for operation in view.operations:
                for method in operation.methods:
                    yield method, "/api/" + path.lstrip("/")


def ask(client: Client, method: str, url: str) -> tuple[int, bytes]:
    answer = client.get(url) if method == "GET" else client.post(url, {}, content_type="application/json")
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]
    return answer.status_code, content


def test_whatever_somebody_sees_first_of_a_patient_is_in_the_audit(study: Study, signed_in: SignedIn) -> None:
    found, answered, silent = addresses(study), set(), []
    for number, (many, method, url) in enumerate(
        (kind == "many", *address) for kind, addresses_ in found.items() for address in addresses_
    ):
        actor = f"newcomer{number}"
        status, content = ask(signed_in("pacs_admin", username=actor), method, url)
        if status not in (200, 286):
            continue
        answered.add(url)
        rows = Event.objects.filter(actor=actor, outcome=0)
        if many:
            told = rows.filter(code="110112").exists() or not any(word in content for word in PATIENT)
        else:
            told = rows.filter(study_uid=STUDY, patient_id="E-0001", facility="MAIN").exists()
        if not told:
            silent.append(f"{method} {url}")
    assert not silent, "read without a row in the audit"
    series = study.series.get().pk
    assert answered >= {
        "/studies/",
        f"/studies/{study.pk}/",
        f"/studies/{study.pk}/now/",
        f"/studies/{study.pk}/series/",
        f"/studies/{study.pk}/history/",
        f"/studies/{study.pk}/download/",
        f"/series/{series}/",
        f"/series/{series}/picture/",
        "/api/studies",
        f"/api/studies/{study.pk}",
        f"/api/studies/{study.pk}/series",
        f"/api/studies/{study.pk}/history",
        f"/api/studies/{study.pk}/download",
        f"/api/series/{series}/objects",
    }


def test_a_radiographer_who_never_opened_the_study_is_in_the_audit_all_the_same(
    study: Study, signed_in: SignedIn
) -> None:
    series = study.series.get().pk
    for number, url in enumerate(
        (
            f"/series/{series}/",
            f"/studies/{study.pk}/history/",
            f"/studies/{study.pk}/now/",
            f"/studies/{study.pk}/series/",
            f"/api/series/{series}/objects",
            f"/api/studies/{study.pk}/history",
            f"/api/studies/{study.pk}/series",
        )
    ):
        actor = f"rumbi{number}"
        client = signed_in("radiographer", username=actor)
        for _ in range(2):
            assert client.get(url).status_code == 200
        assert looks(actor) == [(STUDY, "page")], url


def test_pages_and_pictures_are_a_row_each_whichever_comes_first(study: Study, signed_in: SignedIn) -> None:
    series, one = study.series.get().pk, Instance.objects.filter(series__study=study)[0].pk
    pages = [f"/studies/{study.pk}/", f"/series/{series}/", f"/api/studies/{study.pk}"]
    pictures = [f"/series/{series}/picture/", f"/objects/{one}/picture/"]
    for actor, order in (("first", pages + pictures), ("second", pictures + pages)):
        client = signed_in("radiologist", username=actor)
        for url in order * 2:
            assert client.get(url).status_code == 200, url
    assert looks("first") == [(STUDY, "page"), (STUDY, "pictures")]
    assert looks("second") == [(STUDY, "pictures"), (STUDY, "page")]


def test_a_page_that_asks_every_few_seconds_fills_no_audit(study: Study, signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    for _ in range(5):
        client.get(f"/studies/{study.pk}/now/?seen=2")
        client.get(f"/studies/now/?of={study.pk}&newest={study.pk}")
    assert looks("rradiologist") == [(STUDY, "page")]


def test_another_study_another_hour_and_another_patient_are_another_look(study: Study, signed_in: SignedIn) -> None:
    client, url = signed_in("radiologist"), f"/studies/{study.pk}/history/"
    client.get(url)
    client.get(f"/studies/{Study.objects.get(uid=OTHER).pk}/history/")
    assert looks("rradiologist") == [(STUDY, "page"), (OTHER, "page")]
    rows = Event.objects.filter(actor="rradiologist", code="110103", study_uid=STUDY)
    rows.update(at=rows.get().at - timedelta(minutes=31))
    client.get(url)
    assert looks("rradiologist").count((STUDY, "page")) == 2
    Study.objects.filter(pk=study.pk).update(patient=Patient.objects.create(patient_id="E-0099", issuer="MAIN"))
    client.get(url)
    assert [row.patient_id for row in rows.order_by("pk")] == ["E-0001", "E-0001", "E-0099"]


def test_what_is_not_there_is_not_said_to_have_been_seen(study: Study, signed_in: SignedIn) -> None:
    stranger = signed_in("pacs_admin", facility="ELSEWHERE", username="olga")
    asked = addresses(study)["one"]
    assert {ask(stranger, *address)[0] for address in asked} == {404}
    assert not Event.objects.filter(actor="olga.elsewhere", study_uid=STUDY, outcome=0).exists()
    assert ask(stranger, "GET", "/studies/")[0] == 200
    assert Event.objects.filter(actor="olga.elsewhere", code="110112").exists(), "by this name"


def test_exceptions_say_who_saw_which_patient_and_the_picture(
    study: Study, counter: Counter, tmp_path: Path, signed_in: SignedIn
) -> None:
    write(tmp_path / "b" / "x.dcm", StudyInstanceUID=STUDY, SOPInstanceUID="1.2.826.94.9", PatientID="E-0002")
    counter.bring(tmp_path / "b")
    case = ExceptionCase.objects.get().pk
    both, own = {"E-0001", "E-0002"}, {"", "E-0002"}
    for number, (url, patients, opened) in enumerate(
        (
            (f"/exceptions/{case}/", both, {"page", "exception"}),
            (f"/api/exceptions/{case}", both, {"page", "exception"}),
            (f"/api/exceptions/{case}/ways", both, {"exception"}),
            (f"/exceptions/{case}/picture/", own, {"pictures"}),
        )
    ):
        client = signed_in("pacs_admin", username=f"onai{number}")
        rows = Event.objects.filter(actor=f"onai{number}", code="110103", action="R", study_uid=STUDY, facility="MAIN")
        assert client.get(url).status_code == 200
        assert {row.patient_id for row in rows} <= patients and {row.detail["opened"] for row in rows} == opened, url
        assert patients == own or {row.patient_id for row in rows} == both, url
        client.get(url)
        assert rows.exclude(detail__opened="exception").count() <= 1, url
