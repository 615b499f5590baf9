"""Rows into a table by one statement with all their columns: for the paths that every image takes.

Django's own way to the same statement costs more time than the database needs for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from django.db import connection, models
from django.db.backends.utils import CursorWrapper

Row: TypeAlias = Mapping[str, Any]
"""Values by the names of columns (``study_id``); what is left out gets the default of its field."""

_ADAPTED: Final = (models.JSONField, models.DateTimeField)


class Insert:
    """The statement that inserts rows of one model.

    With ``unique`` (the column whose values say which row is which), rows whose unique values are taken are left out,
    and the database itself tells which were not: nobody looks first and inserts then.
    """

    def __init__(self, model: type[models.Model], *, unique: str = "") -> None:
        self._model = model
        self._unique = unique
        fields = [field for field in model._meta.concrete_fields if not field.primary_key]
        self._columns = [(field.attname, field, isinstance(field, _ADAPTED)) for field in fields]
        self._statements: dict[tuple[str, int], str] = {}

    def __call__(self, cursor: CursorWrapper, rows: Sequence[Row]) -> dict[Any, int]:
        """Inserts the rows; returns with ``unique`` the ids of those that went in, by their unique values."""
        if not rows:
            return {}
        values: list[Any] = []
        for row in rows:
            for name, field, adapted in self._columns:
                value = row[name] if name in row else field.get_default()
                values.append(field.get_db_prep_save(value, connection) if adapted else value)
        cursor.execute(self._statement(len(rows)), values)
        return dict(cursor.fetchall()) if self._unique else {}

    def _statement(self, count: int) -> str:
        kind = (connection.vendor, count)
        if kind not in self._statements:
            quote = connection.ops.quote_name
            columns = ", ".join(quote(name) for name, _, _ in self._columns)
            marks = ", ".join(["(" + ", ".join(["%s"] * len(self._columns)) + ")"] * count)
            statement = f"INSERT INTO {quote(self._model._meta.db_table)} ({columns}) VALUES {marks}"  # noqa: S608 - only names of our own tables
            if self._unique:
                statement += f" ON CONFLICT DO NOTHING RETURNING {quote(self._unique)}, id"
            self._statements[kind] = statement
        return self._statements[kind]
