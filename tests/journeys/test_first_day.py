"""The first day (stories 1, 2 and 6): from an empty server to images that their people see, and nobody else.

Everything is real: `hozi serve`, DCMTK as scanner, Chromium as browser. `HOZI_TEST_PICTURES` names a folder in which
pictures of the pages are kept (`docs/use/pictures` is made that way).
"""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from hozi.core.phantoms.studies import STUDIES
from tests.browser import Visitor, chromium
from tests.doors.cli.test_serve import Archive, wait_for
from tests.peers import program
from tests.people import PASSWORD

pytestmark = [pytest.mark.chromium, pytest.mark.dcmtk, pytest.mark.database, pytest.mark.timeout(300)]

FIRST_LOAD, LATER_LOAD = 300_000, 60_000
PLACES = (
    *("/", "/studies/", "/exceptions/", "/devices/", "/people/", "/facilities/", "/audit/", "/settings/", "/about/"),
    *("/account/factors/", "/account/password/"),
)


@pytest.fixture
def archive(tmp_path: Path, own_database: str) -> Iterator[Archive]:
    running = Archive(tmp_path / "home", own_database)
    running.start("--json")
    running.ready("worker")
    yield running
    for process in running.processes:
        process.terminate()
        process.communicate(timeout=60)


def _pictures() -> Path | None:
    folder = os.environ.get("HOZI_TEST_PICTURES")
    return Path(folder) if folder else None


def _write(folder: Path, study: int, referring: str = "") -> int:
    """The images of an invented study as files; how many."""
    folder.mkdir()
    count = 0
    for image in STUDIES[study].images():
        dataset = read_dataset(io.BytesIO(image.dataset), is_implicit_VR=False, is_little_endian=True)
        if referring:
            dataset.ReferringPhysicianName = referring
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(image.transfer_syntax)
        dcmwrite(folder / f"{count}.dcm", dataset, enforce_file_format=True)
        count += 1
    return count


def _scanner(tool: str, archive: Archive, *more: str) -> int:
    """Runs one of DCMTK's programs as CT1; its exit code."""
    port = str(archive.ready("dimse")["port"])
    command = [program(tool), "-aet", "CT1", "-aec", "HOZI", "127.0.0.1", port, *more]
    return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode


def _invite(archive: Archive, *arguments: str) -> str:
    """Makes an account on the command line; the one-time link with which its person comes in."""
    done = archive.run("user", "add", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["link"])


def test_from_an_empty_server_to_images_that_only_their_people_see(archive: Archive, tmp_path: Path) -> None:
    # Inside the test: where the browser's loop runs, Django has another connection to the database.
    with chromium() as browser:
        console = archive.ready("web")["url"]
        alois = Visitor(browser, console, shots=_pictures())
        _the_first_administrator_comes_in(alois, archive)
        _ct1_knocks_and_is_admitted_with_one_click(alois, archive)
        study = _images_arrive_and_are_opened(alois, archive, tmp_path)
        olga = Visitor(browser, console)
        _somebody_of_another_hospital_sees_nothing(olga, archive, study)
        ruth = Visitor(browser, console, phone=True, shots=_pictures())
        _a_referrer_sees_their_own_patient_on_the_phone(ruth, archive, study)
        _all_of_it_is_in_the_audit(alois)
        for visitor in (alois, olga, ruth):
            assert visitor.complaints == []
        _nobody_is_kept_out(alois, study)
        _nothing_is_heavy(browser, console, alois, study)


def _the_first_administrator_comes_in(alois: Visitor, archive: Archive) -> None:
    """By the link of the banner, which works once; and sets up a second factor before anything else."""
    link = _link_of(archive)
    alois.open(link)
    alois.shot("first-run")
    alois.accept(link, PASSWORD, full_name="Alois Administrator", username="alois", email="")
    expect(alois.page.get_by_role("heading", name="One step more")).to_be_visible()
    alois.settle()
    assert alois.open(link).get_by_role("heading", name="This link does not work").is_visible()


def _ct1_knocks_and_is_admitted_with_one_click(alois: Visitor, archive: Archive) -> None:
    assert _scanner("echoscu", archive) != 0
    page = alois.open("/")
    alois.shot("home")
    page.get_by_role("link", name="Admit or dismiss").click()
    page.get_by_role("button", name="Admit CT1").click()
    page.wait_for_load_state("networkidle")
    wait_for(lambda: _scanner("echoscu", archive) == 0)
    alois.open("/devices/")
    alois.shot("devices")


def _images_arrive_and_are_opened(alois: Visitor, archive: Archive, folder: Path) -> str:
    """CT1 sends a CT, and a radiograph for which somebody asked by name; returns where the CT's page is."""
    slices = _write(folder / "ct", 0)
    _write(folder / "cr", 1, "Referrer^Ruth")
    for name in ("ct", "cr"):
        assert _scanner("storescu", archive, "+sd", "+r", str(folder / name)) == 0
    page = alois.open("/studies/")
    expect(page.locator("tbody tr[data-open]")).to_have_count(2)
    alois.shot("studies")
    row = page.locator("tbody tr[data-open]").filter(has_text="CT")
    expect(row).to_contain_text(str(slices))
    address = row.get_attribute("data-open")
    assert address
    row.get_by_role("link").first.click()
    page.wait_for_load_state("networkidle")
    assert page.url.endswith(address)
    expect(page.locator(".hz-patient").first).to_contain_text("Tariro")
    picture = page.locator("main img").first
    expect(picture).to_be_visible()
    wait_for(lambda: picture.evaluate("image => image.complete && image.naturalWidth > 0"))
    alois.shot("study")
    page.get_by_role("link", name="Open in Quick view").click()
    page.locator(".v-pane[data-state=whole]").wait_for()
    alois.shot("quick-view")
    return address


def _somebody_of_another_hospital_sees_nothing(olga: Visitor, archive: Archive, study: str) -> None:
    assert archive.run("facility", "add", "ELSEWHERE", "Elsewhere Hospital").returncode == 0
    olga.accept(_invite(archive, "olga", "--role", "radiologist", "--facility", "ELSEWHERE"), PASSWORD)
    olga.open("/studies/")
    expect(olga.page.get_by_text("No study yet")).to_be_visible()
    assert olga.status(study) == 404
    assert "Tariro" not in olga.page.content()


def _a_referrer_sees_their_own_patient_on_the_phone(ruth: Visitor, archive: Archive, study: str) -> None:
    named = ("--role", "referrer", "--facility", "MAIN", "--referring-name", "Referrer^Ruth")
    ruth.accept(_invite(archive, "ruth", *named), PASSWORD)
    ruth.open("/studies/")
    expect(ruth.page.locator("tbody tr[data-open]")).to_have_count(1)
    ruth.shot("studies-on-a-phone")
    own = ruth.page.locator("tbody tr[data-open]").get_attribute("data-open")
    assert own
    assert own != study
    assert ruth.status(study) == 404
    ruth.open(own)
    ruth.shot("study-on-a-phone")
    assert ruth.status("/devices/") == 403


def _all_of_it_is_in_the_audit(alois: Visitor) -> None:
    alois.open("/audit/")
    expect(alois.page.get_by_role("main")).to_contain_text("ruth")
    alois.shot("audit")


def _link_of(archive: Archive) -> str:
    """The one-time link of the banner."""
    output = archive.processes[0].stdout
    assert output is not None
    text = ""
    while "}" not in text:
        text += output.readline()
    return str(json.loads(text)["setup_link"])


def _nobody_is_kept_out(visitor: Visitor, study: str) -> None:
    """axe-core finds nothing serious, in light and dark."""
    for scheme in ("light", "dark"):
        visitor.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for path in (*PLACES, study):
            visitor.open(path)
            assert not visitor.barriers(), f"{path} ({scheme})"


def _nothing_is_heavy(browser: Browser, console: str, visitor: Visitor, study: str) -> None:
    """A first page takes less than 300 kB, a later one less than 60 kB."""
    newcomer = Visitor(browser, console)
    assert newcomer.weigh("/account/login/") < FIRST_LOAD
    for path in (*PLACES, study):
        visitor.open("/")
        assert visitor.weigh(path) < LATER_LOAD, path
