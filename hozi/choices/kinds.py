"""What a setting takes, told from how `hozi.settings` declares it: its kind, its bounds, its values."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import annotated_types
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from hozi.settings import Settings

Kind = Literal["text", "whole", "number", "path", "switch", "one"]

_KINDS: Final[dict[Any, Kind]] = {str: "text", int: "whole", float: "number", Path: "path", bool: "switch"}
_WORDS: Final[dict[Kind, str]] = {
    "text": "text",
    "whole": "whole number",
    "number": "number",
    "path": "path",
    "switch": "`true` or `false`",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a setting; None where there is none. ``longest`` counts the characters of a text."""

    least: float | None = None
    more_than: float | None = None
    most: float | None = None
    longest: int | None = None


def field_of(setting: str) -> FieldInfo:
    """How the setting (a field of `Settings`) is declared."""
    return Settings.model_fields[setting]


def kind(field: FieldInfo) -> Kind:
    """The kind of its values; one that may be empty counts as what it is otherwise."""
    inner = _inner(field)
    return "one" if typing.get_origin(inner) is Literal else _KINDS[inner]


def values(field: FieldInfo) -> tuple[str, ...]:
    """The values among which it chooses; none where it does not choose."""
    inner = _inner(field)
    return tuple(map(str, typing.get_args(inner))) if typing.get_origin(inner) is Literal else ()


def bounds(field: FieldInfo) -> Bounds:
    """Its bounds."""
    found: dict[str, Any] = {}
    for entry in field.metadata:
        if isinstance(entry, annotated_types.Ge):
            found["least"] = entry.ge
        elif isinstance(entry, annotated_types.Gt):
            found["more_than"] = entry.gt
        elif isinstance(entry, annotated_types.Le):
            found["most"] = entry.le
        elif isinstance(entry, annotated_types.MaxLen):
            found["longest"] = entry.max_length
    return Bounds(**found)


def takes(field: FieldInfo) -> str:
    """What it takes, in words: "whole number, at least 1, at most 64"."""
    if chosen := values(field):
        return ", ".join(f"`{value}`" for value in chosen)
    limits = bounds(field)
    told = [_WORDS[kind(field)]]
    if limits.least is not None:
        told.append(f"at least {limits.least}")
    if limits.more_than is not None:
        told.append(f"more than {limits.more_than}")
    if limits.most is not None:
        told.append(f"at most {limits.most}")
    if limits.longest is not None:
        told.append(f"at most {limits.longest} characters")
    return ", ".join(told)


def understood(setting: str, value: Any) -> Any:
    """The value as the setting's own type, from it or from text. Raises ValueError when it is none of its values."""
    try:
        given = value.strip() if isinstance(value, str) else value
        clean = _adapter(setting).validate_python(given)
    except ValidationError:
        raise ValueError(takes(field_of(setting)).replace("`", "")) from None
    if isinstance(clean, str) and not clean.isprintable():
        raise ValueError("text in one line, of characters that can be printed")
    return clean


@cache
def _adapter(setting: str) -> TypeAdapter[Any]:
    field = field_of(setting)
    declared: Any = Annotated[typing.cast(Any, field.annotation), field]
    return TypeAdapter(declared)


def _inner(field: FieldInfo) -> Any:
    annotation = field.annotation
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return next(part for part in typing.get_args(annotation) if part is not types.NoneType)
    return annotation
