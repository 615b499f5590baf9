"""The table of what is answered: each route with its method, its pattern, and the permission that it needs.

Each module of views has a function ``register`` that enters its routes; `application` calls it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from hozi.accounts.permissions import BY_KEY
from hozi.core.dicom import uids
from hozi.doors.dicomweb.exchange import Malformed, Request, Response

View: TypeAlias = Callable[[Request], Response]

ANYBODY: Final = "anybody"
"""Instead of a permission: whoever is known at all."""

LONGEST_NAME: Final = 4096
_NAME: Final = re.compile(r"\{([a-z_]+)\}")
_UIDS: Final = frozenset({"study", "series", "instance"})


@dataclass(frozen=True, slots=True)
class Route:
    """One way of asking: ``pattern`` is ``/studies/{study}/metadata``; what stands in braces has no slash in it."""

    method: str
    pattern: str
    permission: str
    view: View


@dataclass(frozen=True, slots=True)
class Place:
    """What one pattern answers: its names, and the routes by method."""

    pattern: str
    names: tuple[tuple[int, str], ...]
    routes: dict[str, Route]


class Table:
    """Routes by their patterns; a request is found by its parts, not by trying one pattern after the other."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, tuple[tuple[int, str], ...]], Place] = {}
        self._shapes: dict[int, list[tuple[tuple[int, str], ...]]] = {}

    def enter(self, method: str, pattern: str, permission: str, view: View) -> None:
        """Adds a route. ValueError when it has no permission that is there, or stands here already."""
        if permission != ANYBODY and permission not in BY_KEY:
            raise ValueError(f"{method} {pattern}: a route needs a permission that is there, or ANYBODY")
        parts = _parts(pattern)
        fixed = tuple((place, part) for place, part in enumerate(parts) if not _NAME.fullmatch(part))
        names = tuple((place, part[1:-1]) for place, part in enumerate(parts) if _NAME.fullmatch(part))
        key = (len(parts), fixed)
        known = self._places.get(key)
        if known is None:
            known = self._places[key] = Place(pattern, names, {})
            shapes = self._shapes.setdefault(len(parts), [])
            shapes.append(fixed)
            # The more of a pattern is fixed, the sooner it is tried.
            shapes.sort(key=len, reverse=True)
        if known.pattern != pattern or method in known.routes:
            raise ValueError(f"{method} {pattern}: there is {known.pattern} already")
        known.routes[method] = Route(method, pattern, permission, view)

    def find(self, path: str) -> tuple[Place, dict[str, str]] | None:
        """The place with that path (as it stands behind the door's own address), and the names in it."""
        parts = _parts(path)
        for fixed in self._shapes.get(len(parts), ()):
            if all(parts[place] == part for place, part in fixed):
                found = self._places[len(parts), fixed]
                return found, {name: parts[place] for place, name in found.names}
        return None

    def __iter__(self) -> Iterator[Route]:
        for place in self._places.values():
            yield from place.routes.values()


def check(names: dict[str, str]) -> None:
    """Raises Malformed when what stands where a UID belongs is none."""
    for name, value in names.items():
        if not value or len(value) > LONGEST_NAME:
            raise Malformed(f"The address has no {name}, or one that is too long", field=name)
        if name in _UIDS and not uids.is_valid(value):
            raise Malformed(f"What stands for the {name} is no UID (digits and dots, at most 64)", field=name)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/")) if path.strip("/") else ()


TABLE: Final = Table()
"""The routes of this door."""

enter = TABLE.enter
