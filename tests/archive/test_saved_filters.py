"""Filters that a person keeps are that person's alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hozi.accounts.authorise import Denied
from hozi.archive import saved_filters
from hozi.archive.browse import Filters
from hozi.archive.saved_filters import forget, save, saved, saved_one
from hozi.core.errors import NotThere, Refused
from tests.archive.asking import nobody, somebody

pytestmark = [pytest.mark.django_db, pytest.mark.database]

RUDO = somebody("radiologist")
OTHER = replace(somebody("radiologist"), person=2)
WANTED = Filters(text="Moyo", modality="CT", since="20260101")


def test_what_was_kept_comes_back_by_name() -> None:
    save(RUDO, "mine", WANTED)
    save(RUDO, " CT  of\tMoyo ", WANTED)
    assert [(one.name, one.filters) for one in saved(RUDO)] == [("CT of Moyo", WANTED), ("mine", WANTED)]


def test_the_same_name_again_takes_the_place_of_the_first() -> None:
    first = save(RUDO, "mine", WANTED)
    again = save(RUDO, "mine", Filters(modality="MR"))
    assert (again.pk, saved(RUDO)) == (first.pk, [again])


def test_nobody_else_sees_or_removes_them() -> None:
    mine = save(RUDO, "mine", WANTED)
    assert saved(OTHER) == []
    for act in (saved_one, forget):
        with pytest.raises(NotThere):
            act(OTHER, mine.pk)
    assert forget(RUDO, mine.pk) == mine
    assert saved(RUDO) == []


@pytest.mark.parametrize("name", ["", "  ", "\0", "x" * 65])
def test_it_needs_a_name(name: str) -> None:
    with pytest.raises(Refused) as refused:
        save(RUDO, name, WANTED)
    assert refused.value.field == "name"


def test_what_cannot_be_searched_for_is_not_kept() -> None:
    with pytest.raises(Refused) as refused:
        save(RUDO, "mine", Filters(since="soon"))
    assert refused.value.field == "since"


def test_there_is_an_end_to_how_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_filters, "MOST", 2)
    save(RUDO, "one", WANTED)
    save(RUDO, "two", WANTED)
    with pytest.raises(Refused, match="remove one"):
        save(RUDO, "three", WANTED)
    save(RUDO, "two", Filters())


def test_whoever_may_not_search_keeps_nothing_and_devices_keep_nothing() -> None:
    with pytest.raises(Denied):
        save(nobody(), "mine", WANTED)
    with pytest.raises(Refused, match="people"):
        saved(replace(RUDO, person=None))
