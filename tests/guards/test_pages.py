"""What templates of the console may hold: icons that are there, and nothing that the strict policy forbids."""

from __future__ import annotations

import re
from pathlib import Path

CONSOLE = Path(__file__).parents[2] / "hozi" / "doors" / "console"
TEMPLATES = sorted((CONSOLE / "templates").rglob("*.html"))
ICONS = frozenset((CONSOLE / "icons.txt").read_text(encoding="utf-8").split())
FORBIDDEN = re.compile(
    r"\son\w+=|\sstyle=|<style|<script(?![^>]*(src=|type=\"application/json\"))|javascript:|\shx-on", re.I
)


def _icons(text: str) -> set[str]:
    return set(re.findall(r'{% icon "([a-z0-9-]+)"', text)) | set(re.findall(r'symbol="([a-z0-9-]+)"', text))


def _mistakes(text: str) -> list[str]:
    return [f"there is no icon {name}" for name in sorted(_icons(text) - ICONS)] + [
        f"forbidden: {found.group(0)}" for found in FORBIDDEN.finditer(text)
    ]


def test_templates_hold_no_inline_code_and_name_icons_that_are_there() -> None:
    wrong = {
        str(path.relative_to(CONSOLE)): found for path in TEMPLATES if (found := _mistakes(path.read_text("utf-8")))
    }
    assert not wrong


def test_mistakes_in_templates_are_found() -> None:
    assert _mistakes('<p style="color:red">{% icon "no-such-icon" %}') == [
        "there is no icon no-such-icon",
        "forbidden:  style=",
    ]
    assert _mistakes("<script>alert(1)</script>")
    assert _mistakes('<a onclick="x()">')
    assert not _mistakes('<script src="x.js"></script>{% icon "home" %}')


def test_icons_named_in_code_are_there() -> None:
    from hozi.doors.console.navigation import PLACES
    from hozi.doors.console.templatetags.console import _STATES

    assert {place.icon for place in PLACES} | {shape for _, shape in _STATES.values()} <= ICONS
