"""Writes docs/operate/settings.md from the list of settings in hozi/environment.py (`make docs`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hozi.choices import kinds
from hozi.settings import Settings

PAGE = Path(__file__).parents[1] / "operate" / "settings.md"

HEAD = """\
# Settings

Every setting is an environment variable. All have a default, so `make run` needs none of them. Hozi checks them
when it starts: a value that cannot be used is named, and nothing starts.

*this page is made from `hozi/environment.py` by `make docs`; change it there.*

| variable | default | values | meaning |
|---|---|---|---|
"""


def page() -> str:
    """The whole page, as it must stand in the repository."""
    rows = (
        f"| `HOZI_{name.upper()}` | {_default(field.default)} | {kinds.takes(field)} |"
        f" {_cell(field.description or '')} |\n"
        for name, field in Settings.model_fields.items()
    )
    return HEAD + "".join(rows)


def _default(value: Any) -> str:
    return "" if value is None or value == "" else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
