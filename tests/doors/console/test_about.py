"""About: version and help for everybody, the state of the system for whoever may see it, secrets for nobody."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

import hozi
from hozi.doors.console import health, licences
from hozi.jobs.models import Regular
from hozi.settings import HOZI, Settings
from tests.guards.rules import ROOT

pytestmark = pytest.mark.django_db

SignedIn = Callable[..., Client]


def at(home: Path, **changes: object) -> Settings:
    (home / "run").mkdir(exist_ok=True)
    return HOZI.model_copy(update={"home": home, **changes})


def states(settings: Settings) -> dict[str, str]:
    return {finding.about: finding.state for finding in health.findings(settings)}


def test_everybody_sees_the_version_and_the_licence(signed_in: SignedIn) -> None:
    page = signed_in("radiologist").get("/about/").content.decode()
    assert hozi.__version__ in page
    assert "Apache License" in page
    assert "Copy for support" not in page
    assert "SQLite" not in page and "PostgreSQL" not in page


def test_whoever_may_see_the_system_sees_how_it_stands(signed_in: SignedIn) -> None:
    page = signed_in("it_support").get("/about/").content.decode()
    assert "How it stands" in page
    assert "Database" in page
    assert "Copy for support" in page


def test_what_is_copied_holds_no_secret_and_settings_for_those_only_who_may_see_them() -> None:
    settings = HOZI.model_copy(update={"database_url": "postgresql://hozi:granary-7@db/hozi"})
    text = health.report(settings, with_settings=True)
    assert "granary-7" not in text
    assert "HOZI_DATABASE_URL=postgresql://hozi:•••@db/hozi" in text
    assert f"Hozi: {hozi.__version__}" in text
    assert "HOZI_DATABASE_URL" not in health.report(settings, with_settings=False)


def test_the_disk_is_told_before_and_when_images_are_refused(tmp_path: Path) -> None:
    usage = health.shutil.disk_usage(tmp_path)
    assert states(at(tmp_path, min_free_bytes=0))["Disk"] in ("ok", "warn")
    assert states(at(tmp_path, min_free_bytes=usage.free * 9 // 10))["Disk"] == "warn"
    assert states(at(tmp_path, min_free_bytes=usage.total + 1))["Disk"] == "bad"


def test_a_part_that_runs_is_told_from_one_that_should_and_one_that_need_not(tmp_path: Path) -> None:
    settings = at(tmp_path)
    run = tmp_path / "run"
    assert states(settings)["DICOM listener"] == "off", "nothing runs here: nothing is wrong"
    (run / "serve.lock").write_text(str(os.getpid()))
    (run / "dimse.json").write_text(json.dumps({"pid": os.getpid()}))
    (run / "worker.json").write_text(json.dumps({"pid": 2**22 + 5}))
    (run / "web.json").write_text("[half a fi")
    found = states(settings)
    assert (found["DICOM listener"], found["Worker"], found["Web server"]) == ("ok", "bad", "bad")


def test_regular_work_that_nobody_does_is_told(tmp_path: Path) -> None:
    settings = at(tmp_path)
    assert states(settings)["Regular work"] == "off"
    now = timezone.now()
    row = Regular.objects.create(name="look", due_at=now + timedelta(minutes=1), last_ran_at=now)
    assert states(settings)["Regular work"] == "ok"
    row.last_error = "OSError"
    row.save()
    assert states(settings)["Regular work"] == "warn"
    row.due_at = now - timedelta(hours=1)
    row.save()
    assert states(settings)["Regular work"] == "bad"
    Regular.objects.create(name="other", due_at=now + timedelta(minutes=1))
    assert states(settings)["Regular work"] == "bad", "others are done, this one is not"
    row.due_at, row.last_error = now - timedelta(days=8), ""
    row.save()
    assert states(settings)["Regular work"] == "ok", "work of an earlier version"
    Regular.objects.filter(name="other").delete()
    assert states(settings)["Regular work"] == "bad", "nobody does anything"


def test_what_is_wrong_stands_on_home_for_whoever_may_see_the_system(signed_in: SignedIn) -> None:
    Regular.objects.create(name="look", due_at=timezone.now() - timedelta(hours=1))
    assert "Regular work: 1 of 1 pieces are not done" in signed_in("it_support").get("/").content.decode()
    assert "Regular work" not in signed_in("radiologist").get("/").content.decode()


def test_every_package_that_hozi_asks_for_is_named_with_a_licence_that_may_be_loaded() -> None:
    named = {package.name.lower().replace("_", "-"): package for package in licences.packages()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {licences._named(line)[0].lower() for line in project["dependencies"]}
    browser = json.loads((ROOT / "frontend" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert asked | set(browser) <= set(named)
    for package in named.values():
        assert package.licence != "–", package
        forbidden = package.licence.replace("LGPL", "")
        assert "GPL" not in forbidden, package


def test_what_extras_bring_is_named_too() -> None:
    names = {package.name for package in licences.packages()}
    assert {"fido2", "qrcode"} <= names, "of django-allauth[mfa]"
    assert "axe-core" not in names, "only tests use it"


def test_the_page_of_licences_is_for_those_who_are_signed_in(signed_in: SignedIn, anybody: Client) -> None:
    assert "htmx.org" in signed_in("radiologist").get("/about/licences/").content.decode()
    assert anybody.get("/about/licences/").status_code == 302
