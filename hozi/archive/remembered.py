"""Questions to the database that Django has put into words once, asked again with other values.

What Django needs to make a statement of a query is several times what the database needs to answer it (decision record
19). Values that change from one asking to the next are `stand_in`s when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet

from hozi.rows import fetch

_TEXT: Final = "\x02stand-in\x03{}"
_NUMBER: Final = -(2**62)


def stand_in(place: int) -> str:
    """A text that nobody sends, for a value that is told later."""
    return _TEXT.format(place)


def stand_in_number(place: int) -> int:
    """The same for a number."""
    return _NUMBER - place


@dataclass(frozen=True)
class Statement:
    """A statement that was made once. ``places``: which value (by its stand-in) stands where in ``parameters``."""

    sql: str
    parameters: tuple[Any, ...]
    places: tuple[tuple[int, Any], ...]
    converters: tuple[tuple[int, Callable[[Any], Any]], ...]

    def rows(self, values: Mapping[Any, Any]) -> list[Sequence[Any]]:
        """What the database answers with these values instead of the stand-ins."""
        parameters = list(self.parameters)
        for place, stands_in in self.places:
            parameters[place] = values[stands_in]
        with connection.cursor() as cursor:
            if connection.queries_logged:
                # Somebody listens to what the database is asked: Django tells only what goes its own way.
                cursor.execute(self.sql, parameters)
                found: list[Sequence[Any]] = cursor.fetchall()
            else:
                found = list(fetch(cursor, self.sql, parameters))
        return [self._converted(row) for row in found] if self.converters else found

    def _converted(self, row: Sequence[Any]) -> Sequence[Any]:
        cells = list(row)
        for place, convert in self.converters:
            cells[place] = convert(cells[place])
        return cells


def statement(table: QuerySet[Any, Any], stand_ins: Sequence[Any]) -> Statement | None:
    """The statement of a query of columns (``values_list``); None when it is not plain enough to be asked so.

    Raises `EmptyResultSet` when it asks for nothing.
    """
    compiler = table.query.get_compiler(connection=connection)
    sql, parameters = compiler.as_sql()
    if sql.count("%") != len(parameters) or sql.count("%s") != len(parameters) or "?" in sql:
        return None
    wanted = set(stand_ins)
    places = tuple(
        (place, value) for place, value in enumerate(parameters) if type(value) in (str, int) and value in wanted
    )
    if {value for _, value in places} != wanted:
        return None
    columns = [expression for expression, _, _ in (compiler.select or ())]
    converters = tuple(
        (place, _all(functions, expression))
        for place, (functions, expression) in compiler.get_converters(columns).items()
    )
    return Statement(sql, tuple(parameters), places, converters)


def _all(functions: Sequence[Callable[..., Any]], expression: Any) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        for function in functions:
            value = function(value, expression, connection)
        return value

    return convert
