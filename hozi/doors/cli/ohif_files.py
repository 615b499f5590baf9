"""Takes OHIF out of what npm fetched: without what calls elsewhere, at our address, compressed once.

`@ohif/app` is built for the root of its own host. Here its files lie below `ADDRESS`, in a folder whose name changes
with them, so that browsers may keep each for ever. Left out are the runtime for models (136 MB), source maps, its own
page and settings (which name a public server), and its service worker, which would end every other one of this host.
Compressing takes a while: it is done again only when something changed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

import brotli

from hozi.core.errors import Refused

ADDRESS: Final = "/ohif/files/"
"""Where browsers find the files; behind it, the stamp."""

MANIFEST: Final = "manifest.json"
"""Says what was taken: ``version``, ``stamp``, ``program`` (the script that begins), ``files`` (name to its type)."""

_LEFT_OUT: Final = re.compile(
    r"ort/.*|assets/.*|.*\.map|[^/]*\.html|(app-config|google|init-service-worker|sw|es6-shim\.min|polyfill\.min"
    r"|oidc-client\.min)\.js|(manifest|serve)\.json|_headers|_redirects|assets/(browserconfig.*|manifest.*)"
)
_KEPT_OF_ASSETS: Final = re.compile(r"assets/images/.*")
_PROGRAM: Final = re.compile(r"app\.bundle\.[0-9a-f]+\.js")
_SOURCE_MAP: Final = re.compile(rb"^\s*(?://|/\*)# sourceMappingURL=.*$", re.MULTILINE)
_ROOTS: Final = (
    (re.compile(rb'(__webpack_require__\.p = )"/"'), rb'\1"%s"'),
    (re.compile(rb"(browserImportFunction\()'/"), rb"\1'%s"),
    (re.compile(rb"url\(/(?!/)"), rb"url(%s"),
)
"""Places where its files name the root of the host."""

_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm", ".json": "application/json"}
_COMPRESSED: Final = frozenset({".js", ".css", ".wasm", ".json", ".svg"})
_BROTLI, _GZIP = 9, 6
_RECIPE: Final = "1"
"""Another one, and files that are there already are made anew."""


def take(packages: Path, folder: Path) -> str:
    """Puts OHIF's files into the folder, unless they are there; returns its version, or nothing when npm has it not.

    Raises Refused when the package is not as we know it: then OHIF would look for its files elsewhere.
    """
    source = packages / "@ohif" / "app"
    if not (source / "dist").is_dir():
        return ""
    version = str(json.loads((source / "package.json").read_text(encoding="utf-8"))["version"])
    names = sorted(name for name in _names(source / "dist") if _wanted(name))
    stamp = _stamp(version, source / "dist", names)
    if _there(folder) != stamp:
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            fresh = Path(place) / "fresh"
            _make(source / "dist", names, fresh, version, stamp)
            shutil.rmtree(folder, ignore_errors=True)
            fresh.replace(folder)
    return version


def _names(dist: Path) -> list[str]:
    return [path.relative_to(dist).as_posix() for path in dist.rglob("*") if path.is_file()]


def _wanted(name: str) -> bool:
    return bool(_KEPT_OF_ASSETS.fullmatch(name)) or not _LEFT_OUT.fullmatch(name)


def _stamp(version: str, dist: Path, names: list[str]) -> str:
    """Changes with the files (their names have hashes) and with what is done to them."""
    told = [(name, (dist / name).stat().st_size) for name in names]
    return hashlib.sha256(json.dumps([_RECIPE, version, told]).encode()).hexdigest()[:12]


def _there(folder: Path) -> str:
    try:
        return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["stamp"])
    except (OSError, ValueError, KeyError):
        return ""


def _make(dist: Path, names: list[str], folder: Path, version: str, stamp: str) -> None:
    programs = [name for name in names if _PROGRAM.fullmatch(name)]
    if len(programs) != 1:
        raise Refused(f"OHIF {version} has no script that we know to begin with")
    address = f"{ADDRESS}{stamp}/".encode()
    files: dict[str, str] = {}
    moved = 0
    for name in names:
        suffix = Path(name).suffix
        content = (dist / name).read_bytes()
        if suffix in (".js", ".css"):
            content = _SOURCE_MAP.sub(b"", content)
            for place, written in _ROOTS:
                content, count = place.subn(written % address, content)
                moved += count if name == programs[0] else 0
        _write(folder / name, content, suffix)
        files[name] = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    if not moved:
        raise Refused(f"OHIF {version} does not say where its files are in a way that we know")
    told = {"version": version, "stamp": stamp, "program": programs[0], "files": files}
    (folder / MANIFEST).write_text(json.dumps(told), encoding="utf-8")


def _write(path: Path, content: bytes, suffix: str) -> None:
    """What can be compressed lies there compressed only, in both ways: whoever cannot read either is rare."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix not in _COMPRESSED:
        path.write_bytes(content)
        return
    path.with_name(path.name + ".br").write_bytes(brotli.compress(content, quality=_BROTLI))
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, _GZIP, mtime=0))
