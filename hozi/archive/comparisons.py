"""Comparisons that Django does not have, for SQLite and PostgreSQL: ``wild``, ``among``, ``of_few``.

Whoever writes a condition with one of them imports this module: that is what makes Django know them.
"""

from __future__ import annotations

import json
from typing import Any, Final

from django.db.models import BigAutoField, CharField, Lookup


@CharField.register_lookup
class Wild(Lookup):
    """Text against a pattern with `*` and `?`; everything else in it means itself, and case counts."""

    lookup_name = "wild"

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """GLOB has the wildcards of DICOM, and brackets, which are escaped."""
        lhs, params = self.process_lhs(compiler, connection)
        return f"{lhs} GLOB %s", [*params, self.rhs.replace("[", "[[]")]

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """LIKE, with its own wildcards escaped."""
        lhs, params = self.process_lhs(compiler, connection)
        pattern = self.rhs.translate(_LIKE)
        return f"{lhs} LIKE %s ESCAPE '\\'", [*params, pattern]


_LIKE: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_", "*": "%", "?": "_"})


@BigAutoField.register_lookup
@CharField.register_lookup
class Among(Lookup):
    """One of any number of texts or row ids, as one parameter: databases limit how many parameters there may be."""

    lookup_name = "among"
    prepare_rhs = False

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """The list travels as JSON."""
        lhs, params = self.process_lhs(compiler, connection)
        return f"{lhs} IN (SELECT value FROM json_each(%s))", [*params, json.dumps(sorted(self.rhs))]  # noqa: S608 - no value in it

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """The list travels as an array."""
        lhs, params = self.process_lhs(compiler, connection)
        return f"{lhs} = ANY(%s)", [*params, sorted(self.rhs)]


@CharField.register_lookup
class OfFew(Among):
    """One of a few texts that many rows have: never a reason to go through an index."""

    lookup_name = "of_few"

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """Without statistics, SQLite would take such an index as gladly as a selective one; the plus keeps it off."""
        said, params = super().as_sqlite(compiler, connection)
        return f"+{said}", params
