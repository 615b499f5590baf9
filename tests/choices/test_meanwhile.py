"""Two people change one thing at the same moment: one is told, nothing is lost, nothing is written twice."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from hozi.audit.models import Event
from hozi.choices import values
from hozi.choices.models import ChoiceValue
from hozi.core.errors import Changed
from hozi.facilities import organisations, places

pytestmark = pytest.mark.django_db(transaction=True)


def together(*acts: Callable[[], object]) -> list[str]:
    """Does all of it at once; what came of each: done, or the name of the error."""
    start = threading.Barrier(len(acts))
    ends: list[str] = []

    def do(act: Callable[[], object]) -> None:
        start.wait()
        try:
            act()
            ends.append("done")
        except Changed:
            ends.append("Changed")
        finally:
            connection.close()

    threads = [threading.Thread(target=do, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return sorted(ends)


def test_of_several_who_choose_at_once_one_is_first_and_the_others_are_told() -> None:
    def choose(days: int) -> Callable[[], object]:
        return lambda: values.change(
            "accounts.inactive_days", days, expected_version=0, reason="as agreed", actor=f"person {days}"
        )

    assert together(*(choose(days) for days in (30, 40, 50, 60))) == ["Changed"] * 3 + ["done"]
    row = ChoiceValue.objects.get()
    assert Event.objects.get(detail__choice="accounts.inactive_days").actor == row.by == f"person {row.value}"


def test_of_several_who_change_a_facility_at_once_one_is_first() -> None:
    def rename(name: str) -> Callable[[], object]:
        return lambda: places.change("MAIN", expected=1, name=name, actor=name)

    assert together(*(rename(name) for name in ("A", "B", "C"))) == ["Changed", "Changed", "done"]
    place = places.get("MAIN")
    assert place.version == 2
    assert Event.objects.get(detail__facility="MAIN").actor == place.name


def test_of_several_who_change_an_organisation_at_once_one_is_first() -> None:
    organisations.add("Granary", actor="test")

    def kind(profile: str) -> Callable[[], object]:
        return lambda: organisations.change("Granary", expected=1, profile=profile, actor=profile)

    assert together(kind("ministry"), kind("teaching")) == ["Changed", "done"]
    assert organisations.listed()[0].version == 2
