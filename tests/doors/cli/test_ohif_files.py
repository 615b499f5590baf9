"""OHIF's files are taken out of its package: at our address, compressed once, without what calls elsewhere."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import brotli
import pytest

from hozi.core.errors import Refused
from hozi.doors.cli import ohif_files
from tests.guards.rules import ROOT

PACKAGES = ROOT / "frontend" / "node_modules"
PROGRAM = "app.bundle.0f6159c501addfe9.js"
BUNDLE = """
/******/ 		__webpack_require__.p = "/";
    const imported = await window.browserImportFunction('/dicom-microscopy-viewer/dicomMicroscopyViewer.min.js');
//# sourceMappingURL=app.bundle.js.map
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """The package as npm leaves it, in small."""
    dist = tmp_path / "node_modules" / "@ohif" / "app" / "dist"
    (dist / "ort").mkdir(parents=True)
    (dist / "assets" / "images").mkdir(parents=True)
    (dist.parent / "package.json").write_text('{"version": "3.13.2"}')
    for name, content in {
        PROGRAM: BUNDLE,
        f"{PROGRAM}.map": "{}",
        "app.bundle.css": "a{src:url(/font.woff2)} b{src:url(//x)}",
        "font.woff2": "font",
        "5130ccb17e3f3f5b.wasm": "decoder",
        "assets/images/sketch.png": "picture",
        "assets/favicon.ico": "icon",
        "ort/ort.wasm": "models",
        "index.html": "page",
        "silent-refresh.html": "page",
        "app-config.js": "https://example.org/dicomweb",
        "init-service-worker.js": "unregister()",
        "sw.js": "importScripts()",
        "google.js": "google",
    }.items():
        (dist / name).write_text(content)
    return tmp_path / "node_modules"


def test_it_leaves_out_what_is_not_ours_to_run_and_compresses_the_rest(packages: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ohif"
    assert ohif_files.take(packages, folder) == "3.13.2"
    told = json.loads((folder / ohif_files.MANIFEST).read_text())
    assert told["files"] == {
        PROGRAM: "text/javascript",
        "app.bundle.css": "text/css",
        "font.woff2": "font/woff2",
        "5130ccb17e3f3f5b.wasm": "application/wasm",
        "assets/images/sketch.png": "image/png",
    }
    assert told["program"] == PROGRAM
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    large = (PROGRAM, "app.bundle.css", "5130ccb17e3f3f5b.wasm")
    packed = {f"{name}.{kind}" for name in large for kind in ("br", "gz")}
    assert files == packed | {"font.woff2", "assets/images/sketch.png", "manifest.json"}


def test_its_files_are_looked_for_where_they_lie(packages: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ohif"
    ohif_files.take(packages, folder)
    stamp = json.loads((folder / ohif_files.MANIFEST).read_text())["stamp"]
    place = f"/ohif/files/{stamp}/"
    script = brotli.decompress((folder / f"{PROGRAM}.br").read_bytes()).decode()
    assert gzip.decompress((folder / f"{PROGRAM}.gz").read_bytes()).decode() == script
    assert f'__webpack_require__.p = "{place}";' in script
    assert f"browserImportFunction('{place}dicom-microscopy-viewer/" in script
    assert "sourceMappingURL" not in script
    style = gzip.decompress((folder / "app.bundle.css.gz").read_bytes()).decode()
    assert style == f"a{{src:url({place}font.woff2)}} b{{src:url(//x)}}"


def test_what_is_there_is_not_made_again_until_something_changes(packages: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ohif"
    ohif_files.take(packages, folder)
    before = (folder / ohif_files.MANIFEST).stat().st_mtime_ns
    ohif_files.take(packages, folder)
    assert (folder / ohif_files.MANIFEST).stat().st_mtime_ns == before
    (packages / "@ohif" / "app" / "dist" / "5130ccb17e3f3f5b.wasm").write_text("another decoder")
    ohif_files.take(packages, folder)
    assert gzip.decompress((folder / "5130ccb17e3f3f5b.wasm.gz").read_bytes()) == b"another decoder"


def test_without_the_package_there_is_no_ohif_and_nothing_fails(tmp_path: Path) -> None:
    assert ohif_files.take(tmp_path, tmp_path / "ohif") == ""
    assert not (tmp_path / "ohif").exists()


def test_another_way_of_finding_files_is_refused_not_served(packages: Path, tmp_path: Path) -> None:
    (packages / "@ohif" / "app" / "dist" / PROGRAM).write_text('publicPath="/"')
    with pytest.raises(Refused, match="where its files are"):
        ohif_files.take(packages, tmp_path / "ohif")
    assert not (tmp_path / "ohif").exists()


def test_npm_brings_ohif_alone_and_not_the_hundreds_of_packages_that_it_was_built_with() -> None:
    lock = json.loads((ROOT / "frontend" / "package-lock.json").read_text())
    entry = lock["packages"]["node_modules/@ohif/app"]
    assert set(entry) == {"version", "integrity", "license", "optional"}
    assert len(lock["packages"]) < 12
