"""Statements for the paths that every image takes, run with little around them.

Django's own way to the same statements costs more time than the database needs for them: it wraps every cursor, turns
every place holder of every statement into the database's own, and asks each field for each value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeAlias

import psycopg
from django.db import models
from django.db.backends.utils import CursorWrapper
from psycopg.types.numeric import Int8

Row: TypeAlias = Mapping[str, Any]
"""Values by the names of columns (``study_id``); what is left out gets the default of its field."""


class Json(str):
    """JSON text: goes into a JSON column as it stands."""

    __slots__ = ()


_JSON: Final = "JSON"
_MOMENT: Final = "moment"


def run(cursor: CursorWrapper, statement: str, values: Sequence[Any]) -> None:
    """Runs a statement with ``%s`` for each value, and no other per cent sign. Raises Django's database errors."""
    with cursor.db.wrap_database_errors:
        _run(cursor, statement, values)


def fetch(cursor: CursorWrapper, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Like `run`; returns the rows that come back."""
    with cursor.db.wrap_database_errors:
        found: list[tuple[Any, ...]] = _run(cursor, statement, values).fetchall()
        return found


def _run(cursor: CursorWrapper, statement: str, values: Sequence[Any]) -> Any:
    if cursor.db.vendor == "sqlite":
        # Past Django's cursor, which would search the statement for place holders each time.
        raw = cursor.cursor
        super(type(raw), raw).execute(statement.replace("%s", "?"), values)
        return raw
    # Prepared: parsing and planning cost PostgreSQL more than doing. All numbers are of one type, as a statement with
    # others is another one.
    typed = [Int8(value) if type(value) is int else value for value in values]
    return psycopg.Cursor(cursor.db.connection).execute(statement, typed, prepare=True)


@contextmanager
def together(cursor: CursorWrapper) -> Iterator[None]:
    """What is `run` in here, a database on the network is told in one message; errors may only come at the end."""
    if cursor.db.vendor == "sqlite":
        yield
        return
    with cursor.db.wrap_database_errors, cursor.db.connection.pipeline():
        yield


def moment(cursor: CursorWrapper, value: datetime) -> Any:
    """A moment as this database takes it."""
    return cursor.db.ops.adapt_datetimefield_value(value)


class Insert:
    """The statement that inserts rows of one model.

    With ``unique`` (the column whose values say which row is which), rows whose unique values are taken are left out,
    and the database itself tells which were not: nobody looks first and inserts then.
    """

    def __init__(self, model: type[models.Model], *, unique: str = "") -> None:
        self._model = model
        self._unique = unique
        fields = [field for field in model._meta.concrete_fields if not field.primary_key]
        self._columns = [(field.attname, field, _kind(field)) for field in fields]
        self._statements: dict[int, str] = {}

    def __call__(self, cursor: CursorWrapper, rows: Sequence[Row]) -> dict[Any, int]:
        """Inserts the rows; returns with ``unique`` the ids of those that went in, by their unique values."""
        if not rows:
            return {}
        ops = cursor.db.ops
        values: list[Any] = []
        for row in rows:
            for name, field, kind in self._columns:
                value = row[name] if name in row else field.get_default()
                if kind is _JSON:
                    value = str(value) if type(value) is Json else ops.adapt_json_value(value, None)
                elif kind is _MOMENT:
                    value = ops.adapt_datetimefield_value(value)
                values.append(value)
        statement = self._statement(cursor, len(rows))
        if self._unique:
            return dict(fetch(cursor, statement, values))
        run(cursor, statement, values)
        return {}

    def _statement(self, cursor: CursorWrapper, count: int) -> str:
        if count not in self._statements:
            quote = cursor.db.ops.quote_name
            columns = ", ".join(quote(name) for name, _, _ in self._columns)
            marks = ", ".join(["(" + ", ".join(["%s"] * len(self._columns)) + ")"] * count)
            statement = f"INSERT INTO {quote(self._model._meta.db_table)} ({columns}) VALUES {marks}"  # noqa: S608 - only names of our own tables
            if self._unique:
                statement += f" ON CONFLICT DO NOTHING RETURNING {quote(self._unique)}, id"
            self._statements[count] = statement
        return self._statements[count]


def _kind(field: models.Field[Any, Any]) -> str:
    """What must be done with the field's values before a database takes them."""
    if isinstance(field, models.JSONField):
        return _JSON
    return _MOMENT if isinstance(field, models.DateTimeField) else ""
