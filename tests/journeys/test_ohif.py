"""OHIF in a real browser and a real archive: list, stack, reconstructions, a prior; and nothing leaves the host."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from hozi.core.phantoms.studies import STUDIES
from hozi.doors.console.ohif import taken
from tests.browser import Visitor, chromium
from tests.doors.cli.test_serve import Archive
from tests.guards.rules import ROOT

pytestmark = [pytest.mark.chromium, pytest.mark.database, pytest.mark.timeout(240)]

PATIENTLY = 60_000
SLICES = 8
SHOWN = """least => {
  const shown = canvas => {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let at = 0; at < data.length; at += 4) seen.add(data[at]);
    return seen.size > 20;
  };
  return [...document.querySelectorAll("canvas.cornerstone-canvas")].filter(shown).length >= least;
}"""
"""Whether at least so many viewports show a picture: more than twenty greys."""


@pytest.fixture
def archive(tmp_path: Path, own_database: str) -> Iterator[Archive]:
    running = Archive(tmp_path / "home", own_database)
    _write(tmp_path / "brought")
    assert running.run("import", str(tmp_path / "brought")).returncode == 0
    running.start("--json")
    yield running
    for process in running.processes:
        process.terminate()
        process.communicate(timeout=60)


def _write(folder: Path) -> None:
    """Some slices of an invented CT and an invented radiograph, as files."""
    folder.mkdir()
    for study in STUDIES[:2]:
        for number, image in enumerate(islice(study.images(), SLICES)):
            dataset = read_dataset(io.BytesIO(image.dataset), is_implicit_VR=False, is_little_endian=True)
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = UID(image.transfer_syntax)
            dcmwrite(folder / f"{study.name[:2]}{number}.dcm", dataset, enforce_file_format=True)


def _session(archive: Archive) -> dict[str, str]:
    """The cookie of somebody who is signed in and may open everything."""
    command = [sys.executable, "-m", "bench.browsing"]
    told = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), **archive.facts}, capture_output=True, text=True, check=True
    )
    cookie = json.loads(told.stdout)
    return {"name": cookie["cookie"], "value": cookie["session"]}


def _elsewhere(asked: list[str], console: str) -> list[str]:
    """Requests to another origin."""
    ours = urlsplit(console)[:2]
    return [url for url in asked if urlsplit(url)[:2] != ours and not url.startswith(("blob:", "data:"))]


def _pictures(page: Page, least: int) -> None:
    page.wait_for_function(SHOWN, arg=least, timeout=PATIENTLY)


def test_a_request_to_another_origin_is_found() -> None:
    asked = ["http://127.0.0.1:80/ohif/", "https://127.0.0.1/x", "blob:http://127.0.0.1/1", "http://example.org/"]
    assert _elsewhere(asked, "http://127.0.0.1:80/") == ["https://127.0.0.1/x", "http://example.org/"]


def test_ohif_shows_list_stack_reconstructions_and_prior_and_asks_nobody_else(archive: Archive) -> None:
    if taken() is None:
        pytest.skip("OHIF was not set up here; `make install` fetches it")
    console = str(archive.ready("web")["url"])
    with chromium(webgl=True) as browser:
        visitor, asked = _visitor(browser, console, _session(archive))
        _the_list_has_the_studies(visitor)
        _a_study_opens_from_its_page_and_is_leafed_through(visitor)
        _three_planes_are_reconstructed(visitor)
        _a_prior_stands_beside(visitor)
        workers = visitor.page.evaluate("navigator.serviceWorker.getRegistrations().then(all => all.length)")
    assert asked and not _elsewhere(asked, console)
    assert workers == 0
    wrong = ("Content Security Policy", "Failed to load", "request failed", "Uncaught")
    assert [text for text in visitor.complaints if any(words in text for words in wrong)] == []


def _visitor(browser: Browser, console: str, session: dict[str, str]) -> tuple[Visitor, list[str]]:
    visitor, asked = Visitor(browser, console), list[str]()
    visitor.context.add_cookies([{**session, "url": console}])  # type: ignore[typeddict-item]
    visitor.context.on("request", lambda request: asked.append(request.url))
    visitor.context.on("serviceworker", lambda worker: asked.append(f"serviceworker:{worker.url}"))
    return visitor, asked


def _the_list_has_the_studies(visitor: Visitor) -> None:
    page = visitor.open("/ohif/")
    expect(page.get_by_text("1-2 of 2")).to_be_visible(timeout=PATIENTLY)
    for description in ("Chest, phantom", "Chest PA, phantom"):
        expect(page.get_by_text(description, exact=True)).to_be_visible()
    expect(page.get_by_text("for investigational use only")).to_be_visible()


def _a_study_opens_from_its_page_and_is_leafed_through(visitor: Visitor) -> None:
    page = visitor.open("/studies/")
    page.locator("tbody tr[data-open]").filter(has_text="Chest, phantom").get_by_role("link").first.click()
    page.get_by_role("link", name="Open in OHIF", exact=True).click()
    _pictures(page, 1)
    assert "2.25." not in page.url
    page.locator("canvas.cornerstone-canvas").hover()
    expect(page.get_by_text(f"I:1 (1/{SLICES})")).to_be_visible(timeout=PATIENTLY)
    page.mouse.wheel(0, 120)
    expect(page.get_by_text(f"I:2 (2/{SLICES})")).to_be_visible(timeout=PATIENTLY)


def _three_planes_are_reconstructed(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{page.url}&hangingprotocolid=mpr")
    _pictures(page, 3)


def _a_prior_stands_beside(visitor: Visitor) -> None:
    """Two studies with the protocol that compares them (the demo's patients have one study each: the rights count)."""
    page = visitor.page
    told: list[Any] = []
    page.on("response", lambda answer: told.append(answer.status) if "/metadata" in answer.url else None)
    page.goto(f"{visitor.url}/ohif/viewer?study=1&prior=2&hangingprotocolid=@ohif/hpCompare")
    _pictures(page, 2)
    assert told and set(told) == {200}
