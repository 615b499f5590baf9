"""Facilities: there is always one, and no two issue the same patient numbers."""

from __future__ import annotations

from typing import Any

import pytest

from hozi.audit.models import Event
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import departments, devices, organisations, places
from hozi.facilities.places import Place

pytestmark = pytest.mark.django_db

ADMIN = "Alois Administrator"


def test_a_new_archive_has_its_main_facility() -> None:
    assert places.listed() == [Place("MAIN", "Main facility", "MAIN")]


def test_it_adds_a_facility_and_writes_it_into_the_audit() -> None:
    assert places.add("north", "North Clinic", actor=ADMIN) == Place("NORTH", "North Clinic", "NORTH")
    event = Event.objects.get()
    assert event.detail == {"type": "110129", "facility": "NORTH", "name": "North Clinic", "issuer": "NORTH"}
    assert (event.actor, event.facility) == (ADMIN, "NORTH")


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


def test_it_keeps_what_is_said_of_a_facility() -> None:
    organisations.add("Ministry of Health", "ministry", actor=ADMIN)
    places.add(
        "BUHERA",
        "Buhera District Hospital",
        organisation="Ministry of Health",
        level="district",
        district="Buhera",
        registry_code="zw020145",
        actor=ADMIN,
    )
    place = places.get("buhera")
    assert (place.organisation, place.level, place.district) == ("Ministry of Health", "DISTRICT", "Buhera")
    assert (place.registry_code, place.province) == ("ZW020145", "02"), "the province is that of the code"


@pytest.mark.parametrize(
    ("about", "field"),
    [
        ({"level": "PALACE"}, "level"),
        ({"province": "11"}, "province"),
        ({"district": "Bu\x07hera"}, "district"),
        ({"district": "B" * 65}, "district"),
        ({"registry_code": "ZW1102AB"}, "registry_code"),
        ({"registry_code": "ZW02014"}, "registry_code"),
        ({"registry_code": "ZW020145", "province": "03"}, "registry_code"),
        ({"organisation": "Nobody"}, "organisation"),
    ],
)
def test_it_names_the_field_that_cannot_be(about: dict[str, str], field: str) -> None:
    with pytest.raises(Refused) as refusal:
        places.add("NORTH", "North Clinic", actor=ADMIN, **about)  # type: ignore[arg-type]
    assert refusal.value.field == field
    assert len(places.listed()) == 1


def test_no_two_facilities_have_one_registry_code() -> None:
    places.add("A", "A", registry_code="ZW010245", actor=ADMIN)
    with pytest.raises(Refused, match="code of A already"):
        places.add("B", "B", registry_code="ZW010245", actor=ADMIN)
    places.add("C", "C", actor=ADMIN)
    places.add("D", "D", actor=ADMIN)


def test_a_change_writes_what_was_and_what_is_into_the_audit() -> None:
    changed = places.change("MAIN", expected=1, name="Granary Hospital", level="MISSION", actor=ADMIN, address="::1")
    assert (changed.name, changed.level, changed.version) == ("Granary Hospital", "MISSION", 2)
    event = Event.objects.get()
    assert event.detail["changed"] == {"name": ["Main facility", "Granary Hospital"], "level": ["", "MISSION"]}
    assert (event.action, event.facility, event.address) == ("U", "MAIN", "::1")


def test_a_change_to_what_it_is_already_changes_nothing() -> None:
    assert places.change("MAIN", expected=1, name="Main facility", actor=ADMIN).version == 1
    assert not Event.objects.exists()


def test_what_is_not_said_stays() -> None:
    places.change("MAIN", expected=1, level="CLINIC", district="Buhera", actor=ADMIN)
    place = places.change("MAIN", expected=2, name="New name", actor=ADMIN)
    assert (place.level, place.district, place.issuer) == ("CLINIC", "Buhera", "MAIN")
    assert places.change("MAIN", expected=3, district="", actor=ADMIN).district == ""


def test_it_does_not_overwrite_what_somebody_else_changed() -> None:
    places.change("MAIN", expected=1, name="First", actor=ADMIN)
    with pytest.raises(Changed, match="look again"):
        places.change("MAIN", expected=1, name="Second", actor=ADMIN)
    assert places.get("MAIN").name == "First"


def never(issuer: str) -> bool:
    return False


def always(issuer: str) -> bool:
    return True


def test_the_issuer_changes_while_there_are_no_patients() -> None:
    assert places.change("MAIN", expected=1, issuer="GRANARY", issuer_is_free=always, actor=ADMIN).issuer == "GRANARY"
    assert Event.objects.get().detail["changed"] == {"issuer": ["MAIN", "GRANARY"]}


@pytest.mark.parametrize("is_free", [None, never])
def test_the_issuer_stays_once_there_are_patients(is_free: Any) -> None:
    with pytest.raises(Refused, match="other people") as refusal:
        places.change("MAIN", expected=1, issuer="GRANARY", issuer_is_free=is_free, actor=ADMIN)
    assert refusal.value.field == "issuer"
    kept = places.change("MAIN", expected=1, issuer="MAIN", issuer_is_free=is_free, name="Granary", actor=ADMIN)
    assert (kept.issuer, kept.name) == ("MAIN", "Granary")


def test_the_issuer_stays_while_a_device_could_be_sending_under_it() -> None:
    devices.add("CT1", ae_title="CT1", host="10.0.0.1", actor=ADMIN)
    with pytest.raises(Refused, match="remove them first"):
        places.change("MAIN", expected=1, issuer="GRANARY", issuer_is_free=always, actor=ADMIN)


def test_two_facilities_never_come_to_have_one_issuer() -> None:
    places.add("NORTH", "North Clinic", actor=ADMIN)
    with pytest.raises(Refused, match="issued by 'MAIN' already"):
        places.change("NORTH", expected=1, issuer="MAIN", issuer_is_free=always, actor=ADMIN)


def test_what_is_out_of_reach_is_not_there() -> None:
    places.add("NORTH", "North Clinic", actor=ADMIN)
    assert [place.code for place in places.listed({"NORTH"})] == ["NORTH"]
    assert places.listed(set()) == []
    with pytest.raises(NotThere) as beyond:
        places.get("MAIN", {"NORTH"})
    with pytest.raises(NotThere) as missing:
        places.get("MAINS", {"NORTH"})
    assert str(beyond.value).replace("MAIN", "MAINS") == str(missing.value)


def test_a_list_is_searched_filtered_and_paged() -> None:
    places.add("BUHERA", "Buhera Hospital", level="DISTRICT", registry_code="ZW020145", actor=ADMIN)
    places.add("CHIPINGE", "A clinic", level="CLINIC", province="02", district="Chipinge", actor=ADMIN)

    def codes(**wanted: Any) -> list[str]:
        return [place.code for place in places.listed(**wanted)]

    assert codes() == ["BUHERA", "CHIPINGE", "MAIN"]
    assert codes(search=" hosp") == codes(search="zw02") == codes(level="DISTRICT") == ["BUHERA"]
    assert codes(search="chipinge") == codes(province="02", level="CLINIC") == ["CHIPINGE"]
    assert codes(province="02") == codes(most=2) == ["BUHERA", "CHIPINGE"]
    assert codes(after="BUHERA", most=1) == ["CHIPINGE"]
    assert codes(within={"MAIN"}, search="Buhera") == []


def test_it_says_which_facilities_nobody_has_set_up() -> None:
    places.add("NORTH", "North Clinic", actor=ADMIN)
    assert places.bare() == [("MAIN", "Main facility"), ("NORTH", "North Clinic")]
    departments.add("MAIN", "CT", "CT", actor=ADMIN)
    assert places.bare() == [("NORTH", "North Clinic")]
    assert places.bare({"MAIN"}) == []
