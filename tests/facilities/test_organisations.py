"""Organisations: each name once, changes never overwritten, none taken away that runs something."""

from __future__ import annotations

import pytest

from hozi.audit.models import Event
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import organisations, places
from hozi.facilities.organisations import Runner

pytestmark = pytest.mark.django_db

ADMIN = "Alois Administrator"


def test_it_adds_changes_lists_and_removes_and_writes_all_of_it_into_the_audit() -> None:
    organisations.add("Granary Mission", actor=ADMIN)
    organisations.add("Another", "private_hospital", actor=ADMIN)
    organisations.change("Granary Mission", expected=1, new_name="Granary Trust", profile="teaching", actor=ADMIN)
    assert organisations.listed() == [
        Runner("Another", "private_hospital"),
        Runner("Granary Trust", "teaching", version=2),
    ]
    organisations.remove("Another", actor=ADMIN)
    assert [runner.name for runner in organisations.listed()] == ["Granary Trust"]
    assert [event.action for event in Event.objects.order_by("pk")] == ["C", "C", "U", "D"]
    assert Event.objects.get(action="U").detail == {
        "type": "110131",
        "organisation": "Granary Mission",
        "changed": {"name": ["Granary Mission", "Granary Trust"], "profile": ["", "teaching"]},
    }


@pytest.mark.parametrize(
    ("name", "profile", "field"),
    [("", "", "name"), ("x" * 129, "", "name"), ("a\nb", "", "name"), ("Granary", "zoo", "profile")],
)
def test_it_refuses_what_cannot_be(name: str, profile: str, field: str) -> None:
    with pytest.raises(Refused) as refusal:
        organisations.add(name, profile, actor=ADMIN)
    assert refusal.value.field == field
    assert not Event.objects.exists()


def test_it_refuses_a_name_that_is_taken() -> None:
    organisations.add("Granary", actor=ADMIN)
    organisations.add("Other", actor=ADMIN)
    with pytest.raises(Refused, match="'Granary' already"):
        organisations.add(" Granary ", actor=ADMIN)
    with pytest.raises(Refused, match="'Granary' already"):
        organisations.change("Other", expected=1, new_name="Granary", actor=ADMIN)


def test_it_does_not_overwrite_what_somebody_else_changed() -> None:
    organisations.add("Granary", actor=ADMIN)
    organisations.change("Granary", expected=1, profile="ministry", actor=ADMIN)
    with pytest.raises(Changed):
        organisations.change("Granary", expected=1, profile="teaching", actor=ADMIN)


def test_one_that_runs_a_facility_stays() -> None:
    organisations.add("Granary", actor=ADMIN)
    places.change("MAIN", expected=1, organisation="Granary", actor=ADMIN)
    with pytest.raises(Refused, match="runs 1 facility"):
        organisations.remove("Granary", actor=ADMIN)
    places.change("MAIN", expected=2, organisation="", actor=ADMIN)
    organisations.remove("Granary", actor=ADMIN)
    with pytest.raises(NotThere):
        organisations.remove("Granary", actor=ADMIN)
