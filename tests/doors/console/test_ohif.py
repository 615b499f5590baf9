"""OHIF's page and files: for whoever may open studies, under a policy that keeps it on this host."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import brotli
import pytest
from django.test import Client, override_settings

from hozi.archive.models import Study
from tests.archive.stock import keep

PROGRAM = "app.bundle.0123456789abcdef.js"
SCRIPT = b"run()" * 1000
FILES = f"/ohif/files/abc/{PROGRAM}"

SignedIn = Callable[..., Client]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """An OHIF of one script and one font, as `hozi assets` leaves it."""
    folder = tmp_path / "collected-ohif"
    folder.mkdir()
    (folder / f"{PROGRAM}.br").write_bytes(brotli.compress(SCRIPT))
    (folder / f"{PROGRAM}.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "font.woff2").write_bytes(b"font")
    (folder / "secret.txt").write_bytes(b"secret")
    files = {PROGRAM: "text/javascript", "font.woff2": "font/woff2"}
    told = {"version": "3.13.2", "stamp": "abc", "program": PROGRAM, "files": files}
    (folder / "manifest.json").write_text(json.dumps(told))
    with override_settings(OHIF_ROOT=folder):
        yield folder


@pytest.fixture
def study(db: None) -> Study:
    keep(1, {"StudyInstanceUID": "1.2.840.99.1"}, facility="GRANARY")
    keep(2, {"StudyInstanceUID": "1.2.840.99.2"}, facility="GRANARY")
    return Study.objects.get(uid="1.2.840.99.1")


def _opens(page: str) -> list[str]:
    [told] = re.findall(r'<script id="hozi-opens" type="application/json">(.*?)</script>', page)
    found: list[str] = json.loads(told)["studies"]
    return found


def test_the_page_tells_ohif_which_study_it_opens_and_the_address_does_not(
    here: Path, study: Study, signed_in: SignedIn
) -> None:
    client, prior = signed_in("radiologist"), Study.objects.get(uid="1.2.840.99.2")
    answer = client.get(f"/ohif/viewer?study={study.pk}&prior={prior.pk}")
    assert answer.status_code == 200
    assert _opens(answer.content.decode()) == ["1.2.840.99.1", "1.2.840.99.2"]
    assert _opens(client.get("/ohif/").content.decode()) == []
    page = client.get(f"/studies/{study.pk}/").content.decode()
    [link] = re.findall(r'href="(/ohif/viewer[^"]*)"', page)
    assert link == f"/ohif/viewer?study={study.pk}"


def test_a_study_out_of_reach_is_not_there(here: Path, study: Study, signed_in: SignedIn) -> None:
    stranger = signed_in("radiologist", facility="ELSEWHERE", username="olga")
    for number in (study.pk, 999999, "nonsense"):
        assert stranger.get(f"/ohif/viewer?study={number}").status_code == 404


def test_its_page_may_reach_this_host_only_and_the_other_pages_stay_stricter(here: Path, signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    for address in ("/ohif/", FILES):
        policy = dict(part.split(" ", 1) for part in client.get(address)["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
        assert policy["worker-src"] == "'self' blob:"
        assert not {"http:", "https:", "*", "'unsafe-eval'"} & {
            word for value in policy.values() for word in value.split()
        }
    policy = client.get("/studies/")["Content-Security-Policy"]
    assert "unsafe" not in policy and "blob:" not in policy


def test_files_travel_compressed_and_are_kept_by_the_browser(here: Path, signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    ways = {"br": brotli.decompress, "gzip": gzip.decompress, "": bytes}
    for coding, unpack in ways.items():
        answer = client.get(FILES, headers={"Accept-Encoding": coding})
        assert answer.get("Content-Encoding", "") == coding
        assert unpack(b"".join(answer.streaming_content)) == SCRIPT
        assert (answer["Content-Type"], answer["Vary"]) == ("text/javascript", "Accept-Encoding, Cookie")
        assert answer["Cache-Control"] == "private, max-age=31536000, immutable"
    assert b"".join(client.get("/ohif/files/abc/font.woff2").streaming_content) == b"font"


def test_only_files_that_were_taken_are_given_out(here: Path, signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    for name in ("abc/secret.txt", "abc/manifest.json", "abc/../manifest.json", f"old/{PROGRAM}", "abc/sw.js", "abc/"):
        assert client.get(f"/ohif/files/{name}").status_code == 404, name
    assert client.get("/ohif/sw.js").status_code == client.get("/ohif/init-service-worker.js").status_code == 404


def test_who_may_not_open_studies_gets_neither_page_nor_files(here: Path, signed_in: SignedIn, anybody: Client) -> None:
    vendor = signed_in("vendor")
    for address in ("/ohif/", "/ohif/viewer", FILES):
        assert vendor.get(address).status_code == 403
        assert anybody.get(address)["Location"].startswith("/account/login/")


def test_without_ohif_the_console_says_how_to_fetch_it(tmp_path: Path, study: Study, signed_in: SignedIn) -> None:
    client = signed_in("radiologist")
    with override_settings(OHIF_ROOT=tmp_path / "nothing"):
        answer = client.get(f"/ohif/viewer?study={study.pk}")
        assert answer.status_code == 503
        assert "make install" in answer.content.decode()
        assert client.get(FILES).status_code == 404
        assert client.get(f"/studies/{study.pk}/").status_code == 200
