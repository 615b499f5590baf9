"""What a person looks for often, kept under a name of their own. Nobody else sees it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Final

from django.db import transaction

from hozi.accounts.authorise import Who, check
from hozi.archive.browse import Filters, checked
from hozi.archive.models import SavedFilter
from hozi.archive.study_page import SEE
from hozi.core.errors import NotThere, Refused

MOST: Final = 30
_LONGEST: Final = 64
_NAMES: Final = frozenset(one.name for one in fields(Filters))


@dataclass(frozen=True, slots=True)
class Saved:
    """Filters that were kept. Holds patient data, as they do."""

    pk: int
    name: str
    filters: Filters


def saved(who: Who) -> list[Saved]:
    """The filters that who asks has kept, by name."""
    rows = SavedFilter.objects.filter(person=_person(who)).order_by("name")
    return [_told(row) for row in rows[:MOST]]


def save(who: Who, name: str, filters: Filters) -> Saved:
    """Keeps the filters under that name, in the place of those that had it. Raises `Refused`, naming what is wrong."""
    person = _person(who)
    called = " ".join("".join(char if char.isprintable() else " " for char in name).split())
    if not called or len(called) > _LONGEST:
        raise Refused(f"Give it a name of 1 to {_LONGEST} characters.", field="name")
    wanted = {key: value for key, value in asdict(checked(filters)).items() if value}
    with transaction.atomic():
        others = SavedFilter.objects.filter(person=person).exclude(name=called)
        if others.count() >= MOST:
            raise Refused(f"You have kept {MOST} already: remove one that you do not need any more.", field="name")
        row, _ = SavedFilter.objects.update_or_create(person=person, name=called, defaults={"filters": wanted})
    return _told(row)


def saved_one(who: Who, pk: int) -> Saved:
    """One of the filters that who asks has kept. Raises `NotThere`."""
    row = SavedFilter.objects.filter(person=_person(who), pk=pk).first()
    if row is None:
        raise NotThere("There is no such filter.")
    return _told(row)


def forget(who: Who, pk: int) -> Saved:
    """Removes one of the filters that who asks has kept; returns what it was. Raises `NotThere`."""
    with transaction.atomic():
        one = saved_one(who, pk)
        SavedFilter.objects.filter(pk=pk).delete()
    return one


def _person(who: Who) -> int:
    check(who, SEE)
    if who.person is None:
        raise Refused("Only people keep filters.")
    return who.person


def _told(row: SavedFilter) -> Saved:
    return Saved(row.pk, row.name, Filters(**{key: value for key, value in row.filters.items() if key in _NAMES}))
