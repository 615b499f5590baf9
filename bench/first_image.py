"""How long somebody on a slow link waits for the first image: Quick view, and OHIF in the same browser.

Chromium holds the link back (`Network.emulateNetworkConditions`): 512 kbit/s each way, 300 ms to the first byte. Each
run is somebody who comes for the first time: nothing lies in the browser's cache.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from bench import clients
from bench.archives import new_home, serving
from bench.browsing import console
from bench.ground import ROOT, Broken, Ground, Missing
from bench.report import Measured
from hozi.core.phantoms.studies import STUDIES
from tests.chromium import chromium

BITS: Final = 512_000
DELAY_MS: Final = 300
_MOST_RUNS: Final = 3
_SLICES: Final = 20
_PATIENCE_SECONDS: Final = 900
_SHOWN: Final = """() => {
  const greys = (source, width, height) => {
    const canvas = new OffscreenCanvas(96, 96);
    const paper = canvas.getContext("2d", { willReadFrequently: true });
    paper.drawImage(source, 0, 0, 96, 96);
    const data = paper.getImageData(0, 0, 96, 96).data;
    const seen = new Set();
    for (let at = 0; at < data.length; at += 4) seen.add(data[at]);
    return seen.size;
  };
  const large = one => { const box = one.getBoundingClientRect(); return box.width >= 200 && box.height >= 200; };
  const there = [...document.querySelectorAll("canvas, img")].filter(large);
  return there.some(one => (one.tagName === "IMG" ? one.complete && one.naturalWidth >= 64 : true) && greys(one) > 20);
}"""
"""Whether a large picture or canvas of the page shows more than twenty greys."""


def first_image(ground: Ground) -> list[Measured]:
    """Views a minute, as it were: sixty divided by the seconds until the first image is to be seen."""
    if not (ROOT / "hozi" / "doors" / "console" / "collected-ohif" / "manifest.json").is_file():
        raise Missing("OHIF is not here: `make install` fetches it")
    measured = Measured()
    home = new_home(ground, ground.stack.enter_context(ground.folder("first-image")))
    with serving(home) as archive, _browser() as browser:
        with ground.scratch() as folder:
            _write(folder)
            clients.send(ground, archive, [folder])
        session = json.loads(home.run("bench.browsing"))
        address = console(home).rstrip("/")
        cookie = {"name": session["cookie"], "value": session["session"], "url": address}
        # It is the only study, so it is the first one.
        ways = [("/view/1/", measured.ours), ("/ohif/viewer?study=1", measured.peer)]
        for path, _ in ways:
            _seconds(browser, address + path, cookie, slow=False)
        for run in range(min(ground.sizes.runs, _MOST_RUNS)):
            for path, figures in ways if run % 2 == 0 else reversed(ways):
                # The short form does not wait for a slow link.
                figures.append(60 / _seconds(browser, address + path, cookie, slow=ground.sizes.warm_up))
    return [measured]


def _write(folder: Path) -> None:
    """Slices of the invented CT, as files."""
    for number, image in enumerate(islice(STUDIES[0].images(), _SLICES)):
        dataset = read_dataset(io.BytesIO(image.dataset), is_implicit_VR=False, is_little_endian=True)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(image.transfer_syntax)
        dcmwrite(folder / f"{number}.dcm", dataset, enforce_file_format=True)


@contextmanager
def _browser() -> Iterator[Any]:
    try:
        with chromium(webgl=True) as browser:
            yield browser
    except FileNotFoundError:
        raise Missing("Chromium is not here: apt install chromium") from None


def _seconds(browser: Any, url: str, cookie: dict[str, str], *, slow: bool) -> float:
    """From the request for the page to the first image, in a browser that has never been there."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    try:
        context.add_cookies([cookie])
        page = context.new_page()
        if slow:
            link = context.new_cdp_session(page)
            link.send("Network.enable")
            rates = {"downloadThroughput": BITS / 8, "uploadThroughput": BITS / 8}
            link.send("Network.emulateNetworkConditions", {"offline": False, "latency": DELAY_MS, **rates})
        started = time.perf_counter()
        page.goto(url, wait_until="commit", timeout=_PATIENCE_SECONDS * 1000)
        while not page.evaluate(_SHOWN):
            if time.perf_counter() - started > _PATIENCE_SECONDS:
                raise Broken("no image was shown")
            time.sleep(0.02)
        return time.perf_counter() - started
    finally:
        context.close()
