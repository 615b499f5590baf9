"""Rows of the audit as text, as they stand in the database: what Django would read alike may not be alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import connection
from django.db.models import BinaryField, DateTimeField, Field, JSONField, Model

from hozi.audit.mark import detail_again

Texts = dict[str, str]

_MOMENT: Final = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"


def read(model: type[Model], where: str, values: Sequence[Any]) -> list[tuple[int, Texts, bytes]]:
    """Rows of a model: the number, every column but bytes as text, and the bytes of the one that has them.

    ``where`` is what follows WHERE in SQL, with ``%s`` for each value; it may order and limit, too.
    """
    fields = model._meta.concrete_fields
    quote = connection.ops.quote_name
    # Named anew, so that ORDER BY means the columns themselves.
    chosen = ", ".join(
        f"{_expression(field, quote(str(field.column)))} AS as_text_{n}" for n, field in enumerate(fields)
    )
    key = quote(str(model._meta.pk.column))
    with connection.cursor() as cursor:
        statement = f"SELECT {key} AS as_number, {chosen} FROM {quote(model._meta.db_table)} WHERE {where}"  # noqa: S608 - only names of our own tables
        cursor.execute(statement, list(values))
        rows = cursor.fetchall()
    return [_row(fields, number, columns) for number, *columns in rows]


def _expression(field: Field[Any, Any], name: str) -> str:
    if connection.vendor == "sqlite":
        return f"CAST({name} AS BLOB)"
    if isinstance(field, BinaryField):
        return name
    return _MOMENT.format(name) if isinstance(field, DateTimeField) else f"{name}::text"


def _row(fields: Sequence[Field[Any, Any]], number: int, columns: Sequence[Any]) -> tuple[int, Texts, bytes]:
    texts: Texts = {}
    mark = b""
    for field, value in zip(fields, columns, strict=True):
        if isinstance(field, BinaryField):
            mark = bytes(value or b"")
            continue
        text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
        if connection.vendor == "postgresql":
            if isinstance(field, DateTimeField):
                text = text.removesuffix(".000000")
            elif isinstance(field, JSONField):
                text = detail_again(text)
        texts[field.attname] = text
    return number, texts, mark
