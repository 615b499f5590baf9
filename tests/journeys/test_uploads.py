"""A disc is brought in with a browser, over a link that breaks: nothing is sent twice, and each file's fate is told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, Request, expect
from pydicom.uid import generate_uid

from tests.browser import PHONE, SIZE, Visitor, chromium
from tests.dicom_files import file_bytes
from tests.doors.cli.test_serve import Archive, wait_for
from tests.doors.dimse.images import image
from tests.journeys.test_first_day import _invite, _pictures
from tests.peers import free_port
from tests.people import PASSWORD

pytestmark = [pytest.mark.chromium, pytest.mark.database, pytest.mark.timeout(300)]

STUDY = generate_uid()
LARGE = 6 << 20


@pytest.fixture
def archive(tmp_path: Path, own_database: str) -> Iterator[Archive]:
    running = Archive(tmp_path / "home", own_database)
    running.facts["HOZI_HTTP_BIND"] = f"127.0.0.1:{free_port()}"
    running.start("--only", "web")
    running.ready("web")
    yield running
    for process in running.processes:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A folder as discs have them: images, one of them large, and what lies beside them."""
    folder = tmp_path / "DISC"
    (folder / "IMAGES").mkdir(parents=True)
    for number in range(4):
        one = image(StudyInstanceUID=STUDY, InstanceNumber=number, StudyDescription="CHEST")
        (folder / "IMAGES" / f"{number}").write_bytes(file_bytes(one))
    large = image(StudyInstanceUID=STUDY, InstanceNumber=9, Rows=2048, Columns=LARGE // 2048)
    large.PixelData = bytes(LARGE)
    (folder / "IMAGES" / "LARGE.dcm").write_bytes(file_bytes(large))
    (folder / "DICOMDIR").write_bytes(b"the list of the disc")
    (folder / "readme.txt").write_text("look at the images with our viewer")
    (folder / "autorun.inf").write_text("[autorun]")
    return folder


def drop(page: Page, path: Path) -> None:
    """Drops a file or folder onto the page, as a hand with a mouse does."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 300, "data": data})
    session.detach()


def slow(page: Page, bytes_a_second: int) -> Any:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    told = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_a_second}
    session.send("Network.emulateNetworkConditions", told)
    return session


def states(page: Page) -> dict[str, str]:
    rows = page.locator("#list tbody tr")
    return {row.locator("td").nth(0).inner_text(): row.locator(".hz-state").inner_text() for row in rows.all()}


def kept(archive: Archive) -> int:
    """How many bytes of unfinished files the server has."""
    return sum(path.stat().st_size for path in archive.home.rglob("uploads/*.part"))


def test_a_folder_that_is_dropped_comes_in_although_the_server_dies_in_the_middle(
    archive: Archive, disc: Path, tmp_path: Path
) -> None:
    with chromium() as browser:
        rumbi = Visitor(browser, archive.ready("web")["url"], shots=_pictures())
        rumbi.accept(_invite(archive, "rumbi", "--role", "radiographer", "--facility", "MAIN"), PASSWORD)
        if "settle" in rumbi.page.url:
            rumbi.settle()
        sent: list[tuple[str, int]] = []

        def note(request: Request) -> None:
            if request.url.endswith("/upload/send/"):
                sent.append((request.headers["upload-length"], int(request.headers["upload-offset"])))

        rumbi.page.on("request", note)
        page = rumbi.open("/upload/")
        assert rumbi.barriers() == []
        braked = slow(page, 1 << 20)
        drop(page, disc)
        wait_for(lambda: kept(archive) > 1 << 20)
        rumbi.shot("upload")
        _the_server_dies_and_comes_back(archive, page, rumbi)
        braked.detach()
        expect(page.get_by_text("Done: 7 files.")).to_be_visible(timeout=60_000)
        told = states(page)
        assert {name.rpartition("/")[2] for name, state in told.items() if state == "stored"} == {*"0123", "LARGE.dcm"}
        assert told["DISC/DICOMDIR"] == told["DISC/readme.txt"] == "left out"
        length = str((disc / "IMAGES" / "LARGE.dcm").stat().st_size)
        assert max(offset for size, offset in sent if size == length) > 1 << 20
        rumbi.shot("upload-done")
        assert rumbi.barriers() == []
        page.set_viewport_size(PHONE)
        rumbi.shot("upload-phone")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.set_viewport_size(SIZE)

        # The browser is closed and opened again, and the same folder chosen: nothing is sent any more.
        sent.clear()
        page.emulate_media(color_scheme="dark")
        page = rumbi.open("/upload/")
        page.locator("#folder").set_input_files(disc)
        expect(page.get_by_text("Done: 7 files.")).to_be_visible(timeout=60_000)
        assert sent == []
        assert rumbi.barriers() == []
        rumbi.shot("upload-dark")
        assert sorted(states(page).values()).count("stored") == 5
        page.get_by_role("link", name="Open the study").click()
        expect(page.get_by_text("CHEST").first).to_be_visible()
        unexpected = [text for text in rumbi.complaints if "net::ERR_" not in text]
        assert unexpected == []


def _the_server_dies_and_comes_back(archive: Archive, page: Page, rumbi: Visitor) -> None:
    process = archive.processes[-1]
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    for worker in workers:
        worker.kill()
    process.wait()
    expect(page.get_by_role("alert")).to_contain_text("The connection is gone")
    rumbi.shot("upload-cut")
    (archive.home / "run" / "web.json").unlink(missing_ok=True)
    archive.start("--only", "web")
    archive.ready("web")
