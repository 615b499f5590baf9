"""The profile matrix: five kinds of customer, what each begins with, and that none takes anything away (R090–R131)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.accounts.defaults import DEFAULT_ROLES
from hozi.audit.models import Event
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import departments, places, profiles
from hozi.facilities.models import Department, Facility

pytestmark = pytest.mark.django_db

ADMIN = "Alois Administrator"
NOBODY: frozenset[str] = frozenset()

MATRIX = {
    "public_central": (
        ["Radiology", "IT", "Medical Records", "Administration"],
        {"student", "researcher", "ministry"},
    ),
    "private_hospital": (["Radiology", "IT", "Administration"], {"student", "researcher", "ministry"}),
    "specialty": (["Radiology", "Cardiology", "Oncology", "Neurology", "IT"], {"student", "ministry"}),
    "teaching": (["Radiology", "IT", "Medical Education", "Research"], {"ministry"}),
    "ministry": (
        ["Health Informatics Unit", "IT", "Planning & Monitoring"],
        {"radiologist", "radiographer", "referrer", "records_officer", "student", "researcher", "service"},
    ),
}
"""Departments as the requirements name them (R091, R100, R107, R114, R121), and the delivered roles left off."""

ROLES = frozenset(role.key for role in DEFAULT_ROLES)


def apply(profile: str, held: frozenset[str] = NOBODY, facility: str = "MAIN") -> profiles.Preview:
    return profiles.apply(facility, profile, held=held, expected=places.get(facility).version, actor=ADMIN)


def test_there_are_exactly_five() -> None:
    assert list(profiles.BY_KEY) == list(MATRIX)


@pytest.mark.parametrize("profile", MATRIX)
def test_a_facility_begins_with_its_departments_and_roles(profile: str) -> None:
    names, off = MATRIX[profile]
    apply(profile)
    assert sorted(part.name for part in departments.listed("MAIN")) == sorted(names)
    assert profiles.roles_on("MAIN") == ROLES - off
    assert places.get("MAIN").profile == profile


@pytest.mark.parametrize("profile", profiles.PROFILES, ids=lambda profile: profile.key)
def test_every_department_has_roles_and_every_role_exists(profile: profiles.Profile) -> None:
    assert all(start.roles for start in profile.departments)
    assert set(profile.roles) <= ROLES
    assert {"pacs_admin", "it_support"} <= set(profile.roles), "somebody must look after it"


def test_without_a_profile_every_role_can_be_given() -> None:
    assert profiles.roles_on("MAIN") is None
    with pytest.raises(NotThere):
        profiles.roles_on("NOWHERE")


def test_the_preview_says_what_will_be_and_does_nothing() -> None:
    departments.add("MAIN", "IT", "Our own IT", actor=ADMIN)
    Event.objects.all().delete()
    plan = profiles.preview("MAIN", "teaching", held={"ministry", "radiologist"})
    assert [start.code for start in plan.adds] == ["RADIOLOGY", "EDUCATION", "RESEARCH"]
    assert (plan.has, plan.kept, plan.narrows, plan.version) == (("IT",), ("ministry",), True, 1)
    assert places.get("MAIN").departments == 1
    assert profiles.roles_on("MAIN") is None
    assert not Event.objects.exists()
    assert apply("teaching", frozenset({"ministry", "radiologist"})) == plan
    assert profiles.roles_on("MAIN") == frozenset(plan.roles)


def test_a_role_that_somebody_holds_stays_on() -> None:
    apply("ministry", frozenset({"radiologist"}))
    assert "radiologist" in (profiles.roles_on("MAIN") or ())


def test_a_department_that_is_there_keeps_its_name() -> None:
    departments.add("MAIN", "IT", "Our own IT", actor=ADMIN)
    apply("private_hospital")
    assert {part.code: part.name for part in departments.listed("MAIN")}["IT"] == "Our own IT"


def test_applying_twice_does_nothing_the_second_time() -> None:
    apply("public_central")
    before = Event.objects.count()
    assert not apply("public_central").adds
    assert Event.objects.count() == before
    assert places.get("MAIN").version == 2


def test_all_of_it_is_in_the_audit() -> None:
    apply("private_hospital")
    made = Event.objects.filter(action="C").values_list("detail__department", flat=True)
    assert sorted(made) == ["ADMIN", "IT", "RADIOLOGY"]
    changed = Event.objects.get(action="U")
    assert changed.detail["profile"] == ["", "private_hospital"]
    assert (changed.detail["type"], changed.facility) == ("110136", "MAIN")


def test_it_does_nothing_by_half_when_somebody_was_faster() -> None:
    places.change("MAIN", expected=1, name="Granary", actor=ADMIN)
    with pytest.raises(Changed):
        profiles.apply("MAIN", "teaching", held=NOBODY, expected=1, actor=ADMIN)
    assert not departments.listed("MAIN")


@pytest.mark.parametrize("profile", ["", "zoo"])
def test_it_refuses_what_is_no_profile(profile: str) -> None:
    with pytest.raises(Refused, match="profile"):
        profiles.preview("MAIN", profile, held=NOBODY)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    order=st.lists(st.sampled_from(sorted(MATRIX)), min_size=1, max_size=4),
    held=st.frozensets(st.sampled_from(sorted(ROLES | {"own_role"}))),
    own=st.sets(st.sampled_from(["IT", "RADIOLOGY", "OWN"])),
)
def test_no_row_of_profiles_takes_anything_away(order: list[str], held: frozenset[str], own: set[str]) -> None:
    Department.objects.all().delete()
    Facility.objects.filter(code="MAIN").update(roles=[], profile="", version=1)
    for code in own:
        departments.add("MAIN", code, f"Own {code}", actor=ADMIN)
    there, on = {part.code: part.name for part in departments.listed("MAIN")}, held
    for profile in order:
        apply(profile, held)
        now = {part.code: part.name for part in departments.listed("MAIN")}
        assert there.items() <= now.items()
        roles = profiles.roles_on("MAIN")
        assert roles is not None
        assert on <= roles
        there, on = now, roles


def test_roles_are_switched_one_by_one_but_none_off_that_somebody_holds() -> None:
    apply("private_hospital")
    with pytest.raises(Refused, match="People hold these roles at MAIN: vendor") as refusal:
        profiles.switch_roles("MAIN", ["pacs_admin"], held={"vendor"}, expected=2, actor=ADMIN)
    assert refusal.value.field == "roles"
    profiles.switch_roles("MAIN", ["pacs_admin", "vendor"], held={"vendor"}, expected=2, actor=ADMIN)
    assert profiles.roles_on("MAIN") == {"pacs_admin", "vendor"}
    profiles.switch_roles("MAIN", [], held={"vendor"}, expected=3, actor=ADMIN)
    assert profiles.roles_on("MAIN") is None
    with pytest.raises(Changed):
        profiles.switch_roles("MAIN", [], held=NOBODY, expected=3, actor=ADMIN)
