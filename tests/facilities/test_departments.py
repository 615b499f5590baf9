"""Departments: a code once in each facility, none taken away that is used."""

from __future__ import annotations

import pytest
from django.utils import timezone

from hozi.accounts.models import Grant, Person, Role
from hozi.audit.models import Event
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import departments, devices, places
from hozi.facilities.departments import Part
from hozi.facilities.models import Department, Device

pytestmark = pytest.mark.django_db

ADMIN = "Alois Administrator"


def test_it_adds_renames_lists_and_removes_and_writes_all_of_it_into_the_audit() -> None:
    departments.add("main", "ct", "CT suite", actor=ADMIN)
    departments.add("MAIN", "A", "Angiography", actor=ADMIN)
    assert departments.rename("MAIN", "CT", "CT", was="CT suite", actor=ADMIN) == Part("MAIN", "CT", "CT")
    assert departments.listed("MAIN") == [Part("MAIN", "A", "Angiography"), Part("MAIN", "CT", "CT")]
    departments.remove("MAIN", "A", actor=ADMIN)
    assert [part.code for part in departments.listed("MAIN")] == ["CT"]
    assert [(event.action, event.facility) for event in Event.objects.order_by("pk")] == [
        (action, "MAIN") for action in "CCUD"
    ]
    assert Event.objects.get(action="U").detail["changed"] == {"name": ["CT suite", "CT"]}


def test_two_facilities_may_have_departments_of_one_code() -> None:
    places.add("NORTH", "North Clinic", actor=ADMIN)
    departments.add("MAIN", "CT", "CT", actor=ADMIN)
    departments.add("NORTH", "CT", "CT", actor=ADMIN)
    with pytest.raises(Refused, match="department CT already"):
        departments.add("NORTH", " ct ", "Another", actor=ADMIN)


@pytest.mark.parametrize(
    ("code", "name", "field"), [("", "CT", "code"), ("C T", "CT", "code"), ("CT", " ", "name"), ("CT", "a\tb", "name")]
)
def test_it_refuses_what_cannot_be(code: str, name: str, field: str) -> None:
    with pytest.raises(Refused) as refusal:
        departments.add("MAIN", code, name, actor=ADMIN)
    assert refusal.value.field == field
    assert not Event.objects.exists()


def test_it_does_not_overwrite_another_s_new_name() -> None:
    departments.add("MAIN", "CT", "One", actor=ADMIN)
    departments.rename("MAIN", "CT", "Two", was="One", actor=ADMIN)
    with pytest.raises(Changed, match="'Two'"):
        departments.rename("MAIN", "CT", "Three", was="One", actor=ADMIN)


def test_one_with_devices_stays() -> None:
    departments.add("MAIN", "CT", "CT", actor=ADMIN)
    devices.add("CT1", ae_title="CT1", host="10.0.0.1", actor=ADMIN)
    Device.objects.update(department=Department.objects.get())
    with pytest.raises(Refused, match="1 device belongs to CT"):
        departments.remove("MAIN", "CT", actor=ADMIN)
    assert departments.listed("MAIN")[0].devices == 1


def test_one_in_which_somebody_once_had_a_role_stays_and_no_removal_is_in_the_audit() -> None:
    departments.add("MAIN", "CT", "CT", actor=ADMIN)
    now = timezone.now()
    person = Person.objects.create(username="rumbi", full_name="Rumbi Radiographer", requested_at=now)
    role = Role.objects.get(key="radiographer")
    department = Department.objects.get()
    Grant.objects.create(person=person, role=role, department=department, granted_at=now, ended_at=now)
    with pytest.raises(Refused, match="so that the past can be told"):
        departments.remove("MAIN", "CT", actor=ADMIN)
    assert not Event.objects.filter(action="D").exists()


def test_what_is_not_there_is_not_there() -> None:
    for act in (
        lambda: departments.add("NOWHERE", "CT", "CT", actor=ADMIN),
        lambda: departments.listed("NOWHERE"),
        lambda: departments.rename("MAIN", "CT", "CT", was="", actor=ADMIN),
        lambda: departments.remove("MAIN", "CT", actor=ADMIN),
    ):
        with pytest.raises(NotThere):
            act()
