"""Writes docs/operate/settings.md from the list of settings in hozi/settings.py (`make docs`)."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

import annotated_types
from pydantic.fields import FieldInfo

from hozi.settings import Settings

PAGE = Path(__file__).parents[1] / "operate" / "settings.md"

HEAD = """\
# Settings

Every setting is an environment variable. All have a default, so `make run` needs none of them. Hozi checks them
when it starts: a value that cannot be used is named, and nothing starts.

*This page is made from `hozi/settings.py` by `make docs`; change it there.*

| variable | default | values | meaning |
|---|---|---|---|
"""

KINDS = {str: "text", int: "whole number", float: "number", Path: "path", bool: "`true` or `false`"}


def page() -> str:
    """The whole page, as it must stand in the repository."""
    rows = (
        f"| `HOZI_{name.upper()}` | {_default(field.default)} | {_values(field)} | {_cell(field.description or '')} |\n"
        for name, field in Settings.model_fields.items()
    )
    return HEAD + "".join(rows)


def _default(value: Any) -> str:
    return "" if value is None or value == "" else f"`{value}`"


def _values(field: FieldInfo) -> str:
    """What the setting takes: its kind, and its bounds."""
    kind = field.annotation
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(kind))
    limits = []
    for bound in field.metadata:
        if isinstance(bound, annotated_types.Ge):
            limits.append(f"at least {bound.ge}")
        elif isinstance(bound, annotated_types.Gt):
            limits.append(f"more than {bound.gt}")
        elif isinstance(bound, annotated_types.Le):
            limits.append(f"at most {bound.le}")
    return ", ".join([KINDS[typing.cast(type, kind)], *limits])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
