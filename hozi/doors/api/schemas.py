"""What goes in and comes out, as far as all areas share it.

What comes in is named field by field: anything else is refused, so nothing can be set that a route does not mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Generic, TypeVar

from ninja import Schema
from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from hozi.core.errors import NotThere

MOST: Final = 200
"""So many lines of a list in one answer."""

Item = TypeVar("Item")


def _clean(text: str) -> str:
    """No NUL and no half of a pair: no database holds them."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("text without NUL and without broken characters, please")
    return text


@dataclass(frozen=True, slots=True)
class Chars:
    """Of a text: it has so many characters at most, and at least."""

    most: int
    least: int = 0

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        plain = core_schema.str_schema(max_length=self.most, min_length=self.least)
        return core_schema.no_info_after_validator_function(_clean, plain)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "maxLength": self.most, "minLength": self.least, "pattern": "^[^\\u0000]*$"}


Name = Annotated[str, Chars(200)]
Number = Annotated[int, Field(ge=1, le=2**53)]
"""The number of a row."""

Day = Annotated[date, Field(strict=False)]


class In(Schema):
    """What comes in: exactly these fields, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(Schema):
    """What is wrong, in words; ``field``: beside which field; ``id``: of the line in the log that says more."""

    detail: str
    field: str = ""
    id: str = ""


class Version(In):
    """The version that the caller has looked at; a change by somebody else since is answered 409."""

    version: Number


class Paging(Schema):
    """Which part of a list: ``after`` is ``next`` of the part before."""

    limit: int = Field(50, ge=1, le=MOST)
    after: Name = ""


class Page(Schema, Generic[Item]):
    """A part of a list, and where the next one begins; null: there is none."""

    items: list[Item]
    next: str | None


def page(rows: Iterable[Any], paging: Paging, key: Callable[[Any], str]) -> dict[str, Any]:
    """A part of a list that is in memory, in the order in which it is; ``key`` tells its lines apart."""
    found = list(rows)
    start = 0
    if paging.after:
        start = next((place for place, row in enumerate(found, 1) if key(row) == paging.after), 0)
        if not start:
            raise NotThere("There is no such page any more: begin again without `after`", field="after")
    part = found[start : start + paging.limit]
    return {"items": part, "next": key(part[-1]) if start + paging.limit < len(found) else None}


def of_rows(rows: Sequence[Any], paging: Paging, key: Callable[[Any], str]) -> dict[str, Any]:
    """The same for rows of which one more than ``limit`` was asked for."""
    part = rows[: paging.limit]
    return {"items": part, "next": key(part[-1]) if len(rows) > paging.limit else None}


def number_after(after: str) -> int:
    """``after`` where lines go by number; 0 at the beginning. Raises NotThere."""
    if not after:
        return 0
    if not (after.isascii() and after.isdigit() and len(after) <= 16):
        raise NotThere("There is no such page: `after` is what stood in `next`", field="after")
    return int(after)
