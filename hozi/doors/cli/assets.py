"""`hozi assets`: brings together what browsers load. `make install` calls it; nothing is fetched here.

npm has put what others made into `frontend/node_modules`. Of that, this takes what pages use, without the comments
that point at files which are not there; makes one file of the icons; and collects all, compressed, for the server.
It makes the translations ready, too.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

import typer

from hozi.core.errors import Refused
from hozi.doors.cli import ohif_files
from hozi.doors.cli.output import AsJson, say, say_json
from hozi.doors.cli.prepare import load
from hozi.doors.cli.tongues import compiled

TAKEN: Final = {
    "vendor/htmx.min.js": "htmx.org/dist/htmx.min.js",
    "vendor/tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
}
"""What pages load, by its name below /static/; and where it lies in `frontend/node_modules`."""

SPRITE: Final = "console/icons.svg"
"""All icons in one file, by its name below /static/. A page shows one with `<use href="...#name">`."""

_ROOT = Path(__file__).parents[3]
_SOURCE_MAP = re.compile(rb"^\s*(//|/\*)# sourceMappingURL=.*$", re.MULTILINE)
_DRAWING = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)
_NOTHING = re.compile(r'<path stroke="none" d="M0 0h24v24H0z" fill="none" ?/>')


def register(app: typer.Typer) -> None:
    """Enters this command into the program."""
    app.command(hidden=True)(assets)


def assets(as_json: AsJson = False) -> None:
    """Collect the console's style sheets, scripts and icons (make does it at set-up)."""
    load()
    from django.conf import settings
    from django.core.management import call_command

    packages = _ROOT / "frontend" / "node_modules"
    console = Path(settings.STATIC_ROOT).parent
    names = (console / "icons.txt").read_text(encoding="utf-8").split()
    made = Path(settings.STATICFILES_DIRS[0])
    with tempfile.TemporaryDirectory(dir=console) as folder:
        fresh = Path(folder) / "made"
        make(packages, names, fresh)
        shutil.rmtree(made, ignore_errors=True)
        fresh.replace(made)
    call_command("collectstatic", clear=True, interactive=False, verbosity=0)
    made.touch()
    ohif = ohif_files.take(packages, Path(settings.OHIF_ROOT))
    languages = len(compiled(Path(settings.LOCALE_PATHS[0])))
    files = [path for path in Path(settings.STATIC_ROOT).rglob("*") if path.suffix not in (".br", ".gz")]
    count = sum(path.is_file() for path in files)
    if as_json:
        say_json(
            {
                "ok": True,
                "files": count,
                "icons": len(names),
                "languages": languages,
                "ohif": ohif,
                "folder": str(settings.STATIC_ROOT),
            }
        )
    else:
        say(
            f"The console's files are ready: {count} files, {len(names)} icons among them as one;"
            f" {languages} languages beside English; {f'OHIF {ohif}' if ohif else 'without OHIF'}."
        )


def make(packages: Path, icons: list[str], folder: Path) -> None:
    """Puts the packages' files and the sprite of those icons into a new folder.

    Raises Refused when npm has not fetched the packages, or one has no such file or icon.
    """
    if not packages.is_dir():
        raise Refused(f"{packages} is not there: `make install` fetches it (with npm: apt install npm)")
    for name, source in TAKEN.items():
        content = _content(packages / source)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_SOURCE_MAP.sub(b"", content).rstrip() + b"\n")
    target = folder / SPRITE
    target.parent.mkdir(parents=True, exist_ok=True)
    drawings = packages / "@tabler" / "icons" / "icons" / "outline"
    target.write_text(sprite({name: _content(drawings / f"{name}.svg").decode() for name in icons}), encoding="utf-8")


def sprite(drawings: dict[str, str]) -> str:
    """One SVG with a symbol for each drawing, drawn in the colour of the text around it."""
    symbols = [
        f'<symbol id="{name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"'
        f' stroke-linecap="round" stroke-linejoin="round">{_lines(drawing)}</symbol>'
        for name, drawing in sorted(drawings.items())
    ]
    return '<svg xmlns="http://www.w3.org/2000/svg">' + "\n".join(symbols) + "</svg>\n"


def _lines(drawing: str) -> str:
    found = _DRAWING.search(drawing)
    inner = _NOTHING.sub("", found[1]) if found else ""
    return "".join(line.strip() for line in inner.splitlines())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        what = "no such icon (hozi/doors/console/icons.txt)" if path.suffix == ".svg" else "npm did not bring it"
        raise Refused(f"{path.name} is missing: {what}") from None
