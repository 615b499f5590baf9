"""Facilities: there is always one, and no two issue the same patient numbers."""

from __future__ import annotations

import pytest

from hozi.audit.models import Event
from hozi.core.errors import Refused
from hozi.facilities import devices, places
from hozi.facilities.places import Place

pytestmark = pytest.mark.django_db

ADMIN = "Alois Administrator"


def test_a_new_archive_has_its_main_facility() -> None:
    assert places.listed() == [Place("MAIN", "Main facility", "MAIN")]


def test_it_adds_a_facility_and_writes_it_into_the_audit() -> None:
    assert places.add("north", "North Clinic", actor=ADMIN) == Place("NORTH", "North Clinic", "NORTH")
    assert Event.objects.get().detail == {"facility": "NORTH", "name": "North Clinic", "issuer": "NORTH"}


def test_it_counts_a_facility_s_devices() -> None:
    places.add("NORTH", "North Clinic", actor=ADMIN)
    devices.add("CT1", ae_title="CT1", host="10.0.0.1", facility="NORTH", actor=ADMIN)
    assert [(place.code, place.devices) for place in places.listed()] == [("MAIN", 0), ("NORTH", 1)]


@pytest.mark.parametrize(
    ("code", "name", "issuer", "message"),
    [
        ("", "North Clinic", "", "no facility code"),
        ("NORTH CLINIC", "North Clinic", "", "no facility code"),
        ("ABCDEFGHIJKLMNOPQ", "North Clinic", "", "no facility code"),
        ("NORTH", "", "", "has a name"),
        ("NORTH", "North\nClinic", "", "has a name"),
        ("NORTH", "North Clinic", "A\\B", "no backslash"),
        ("MAIN", "North Clinic", "", "facility MAIN already"),
        ("NORTH", "North Clinic", "MAIN", "issued by 'MAIN' already"),
    ],
)
def test_it_refuses_what_cannot_be(code: str, name: str, issuer: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        places.add(code, name, issuer, actor=ADMIN)
    assert len(places.listed()) == 1
    assert not Event.objects.exists()
