"""What browsers load is taken from what npm fetched: what is used, whole, and nothing that points elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hozi.core.errors import Refused
from hozi.doors.cli import assets
from tests.guards.rules import ROOT

PACKAGES = ROOT / "frontend" / "node_modules"
ICONS = ROOT / "hozi" / "doors" / "console" / "icons.txt"
HOME = """<svg
  xmlns="http://www.w3.org/2000/svg" width="24" height="24" class="icon"
>
  <path stroke="none" d="M0 0h24v24H0z" fill="none" />
  <path d="M5 12l-2 0l9 -9l9 9l-2 0" />
</svg>
"""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """As npm leaves them, in small."""
    folder = tmp_path / "node_modules"
    for source in assets.TAKEN.values():
        (folder / source).parent.mkdir(parents=True, exist_ok=True)
        comment = "/*# sourceMappingURL=x.map */" if source.endswith("css") else "//# sourceMappingURL=x.map"
        (folder / source).write_text(f"content of {source}\n{comment}")
    drawings = folder / "@tabler" / "icons" / "icons" / "outline"
    drawings.mkdir(parents=True)
    (drawings / "home.svg").write_text(HOME)
    return folder


def test_it_takes_every_file_that_pages_load_without_the_maps_that_do_not_come_along(
    packages: Path, tmp_path: Path
) -> None:
    assets.make(packages, ["home"], tmp_path / "made")
    for name, source in assets.TAKEN.items():
        assert (tmp_path / "made" / name).read_text() == f"content of {source}\n"
    files = {str(path.relative_to(tmp_path / "made")) for path in (tmp_path / "made").rglob("*") if path.is_file()}
    assert files == {*assets.TAKEN, assets.SPRITE}


def test_icons_become_one_file_in_which_each_has_its_name_and_takes_the_colour_of_the_text(
    packages: Path, tmp_path: Path
) -> None:
    assets.make(packages, ["home"], tmp_path / "made")
    root = ElementTree.fromstring((tmp_path / "made" / assets.SPRITE).read_text())
    [symbol] = root.findall(f"{SVG}symbol")
    assert (symbol.get("id"), symbol.get("stroke"), symbol.get("viewBox")) == ("home", "currentColor", "0 0 24 24")
    assert [path.get("d") for path in symbol] == ["M5 12l-2 0l9 -9l9 9l-2 0"]


def test_it_says_which_icon_there_is_not(packages: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"hous\.svg is missing: no such icon \(hozi/doors/console/icons\.txt\)"):
        assets.make(packages, ["home", "hous"], tmp_path / "made")


def test_without_what_npm_brings_it_says_what_brings_it(packages: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"apt install npm"):
        assets.make(tmp_path / "nothing", [], tmp_path / "made")
    (packages / assets.TAKEN["vendor/htmx.min.js"]).unlink()
    with pytest.raises(Refused, match="npm did not bring it"):
        assets.make(packages, [], tmp_path / "made")


def test_each_file_that_a_page_loads_is_ours_or_is_taken() -> None:
    console = ROOT / "hozi" / "doors" / "console"
    own = {path.relative_to(console / "static").as_posix() for path in (console / "static").rglob("*")}
    of_allauth = {"mfa/js/webauthn.js"}
    pages = [page.read_text() for page in console.rglob("*.html")]
    loaded = {name for page in pages for name in re.findall(r"""{%\s*static ["']([^"']+)["']""", page)}
    assert loaded
    assert not loaded - own - of_allauth - {*assets.TAKEN, assets.SPRITE}


@pytest.mark.skipif(not PACKAGES.is_dir(), reason="frontend/node_modules is missing; `make install` fetches it")
def test_the_real_packages_have_all_that_is_taken(tmp_path: Path) -> None:
    assets.make(PACKAGES, ICONS.read_text().split(), tmp_path / "made")
    everything = b"".join(path.read_bytes() for path in (tmp_path / "made").rglob("*") if path.is_file())
    assert b"sourceMappingURL" not in everything
    style = (tmp_path / "made" / "vendor" / "tabler.min.css").read_text()
    assert not re.findall(r"url\((?!['\"]?data:)[^)]*\)|@import", style), "a style sheet would load from elsewhere"


def test_no_registry_is_named_so_that_each_hospital_can_use_its_own() -> None:
    lock = (ROOT / "frontend" / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') == lock.count('"node_modules/')
