"""Facilities in the browser: seen and changed as far as one's reach, never overwritten, profiles previewed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from hozi.archive.models import Patient
from hozi.facilities import departments, organisations, places, profiles

pytestmark = pytest.mark.django_db

SignedIn = Callable[..., Client]
ADMIN = "Alois Administrator"


@pytest.fixture
def north(db: None) -> str:
    return places.add("NORTH", "North <Clinic>", level="CLINIC", province="02", actor=ADMIN).code


def about(**changes: object) -> dict[str, object]:
    nothing = {"organisation": "", "level": "", "province": "", "district": "", "registry_code": "", "issuer": ""}
    return {"name": "Main facility", "expected": 1, **nothing, **changes}


def test_the_list_shows_what_there_is_and_harmlessly(signed_in: SignedIn, north: str) -> None:
    page = signed_in("pacs_admin").get("/facilities/").content.decode()
    assert "North &lt;Clinic&gt;" in page
    assert "Manicaland" in page
    assert 'href="/facilities/at/MAIN/"' in page


def test_the_list_is_searched_and_filtered(signed_in: SignedIn, north: str) -> None:
    admin = signed_in("pacs_admin")
    assert "NORTH" not in admin.get("/facilities/?search=main").content.decode()
    assert "/at/MAIN/" not in admin.get("/facilities/?level=CLINIC").content.decode()
    assert "Nothing like that" in admin.get("/facilities/?search=zzz").content.decode()


def test_a_long_list_comes_in_pages(signed_in: SignedIn) -> None:
    for number in range(51):
        places.add(f"F{number:03}", "Facility", actor=ADMIN)
    admin = signed_in("pacs_admin")
    page = admin.get("/facilities/?search=Facility").content.decode()
    assert "/at/F049/" in page
    assert "/at/F050/" not in page
    assert "after=F049" in page
    assert "/at/F050/" in admin.get("/facilities/?search=Facility&after=F049").content.decode()


def test_a_facility_is_added_and_then_asked_what_it_is(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    typed = about(code="buhera", name="Buhera Hospital", registry_code="zw020145", level="DISTRICT")
    answer = admin.post("/facilities/add/", typed)
    assert (answer.status_code, answer["Location"]) == (303, "/facilities/at/BUHERA/profile/")
    place = places.get("BUHERA")
    assert (place.registry_code, place.province, place.level) == ("ZW020145", "02", "DISTRICT")


def test_what_is_wrong_is_said_beside_the_field_and_nothing_typed_is_lost(signed_in: SignedIn) -> None:
    typed = about(code="NORTH", name="North Clinic", district="Kept district", registry_code="ZW99")
    page = signed_in("pacs_admin").post("/facilities/add/", typed).content.decode()
    assert 'id="id_registry_code_wrong"' in page
    assert "Kept district" in page


def test_a_change_that_somebody_else_made_first_is_not_overwritten(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    assert admin.post("/facilities/at/MAIN/change/", about(name="One")).status_code == 303
    page = admin.post("/facilities/at/MAIN/change/", about(name="Two")).content.decode()
    assert "Somebody else has changed" in page
    assert places.get("MAIN").name == "One"


def test_the_issuer_changes_before_the_first_patient_only(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    assert admin.post("/facilities/at/MAIN/change/", about(issuer="GRANARY")).status_code == 303
    Patient.objects.create(issuer="GRANARY", patient_id="1")
    page = admin.post("/facilities/at/MAIN/change/", about(issuer="OTHER", expected=2)).content.decode()
    assert 'id="id_issuer_wrong"' in page
    assert places.get("MAIN").issuer == "GRANARY"


def test_whoever_looks_after_one_facility_sees_and_changes_that_one_only(signed_in: SignedIn, north: str) -> None:
    local = signed_in("pacs_admin", facility="NORTH")
    page = local.get("/facilities/").content.decode()
    assert "/at/NORTH/" in page
    assert "MAIN" not in page
    assert local.get("/facilities/at/MAIN/").status_code == 404
    assert local.get("/facilities/at/MAINS/").status_code == 404
    for url in ("change/", "profile/", "roles/", "departments/"):
        assert local.get(f"/facilities/at/MAIN/{url}").status_code == 404
        assert local.get(f"/facilities/at/NORTH/{url}").status_code == 200
    assert local.get("/facilities/add/").status_code == 403
    assert local.get("/facilities/organisations/").status_code == 403
    typed = about(name="North", issuer="MINE", organisation="")
    assert local.post("/facilities/at/NORTH/change/", typed).status_code == 303
    assert (places.get("NORTH").name, places.get("NORTH").issuer) == ("North", "NORTH"), "the issuer is not theirs"


def test_who_may_only_look_changes_nothing(signed_in: SignedIn, north: str) -> None:
    ministry = signed_in("ministry")
    assert ministry.get("/facilities/at/NORTH/").status_code == 200
    assert "btn-primary" not in ministry.get("/facilities/at/NORTH/").content.decode()
    for url in ("change/", "profile/", "roles/", "departments/"):
        assert ministry.get(f"/facilities/at/NORTH/{url}").status_code == 403
        assert ministry.post(f"/facilities/at/NORTH/{url}").status_code == 403
    assert signed_in("radiologist").get("/facilities/").status_code == 403


def test_departments_are_added_renamed_and_taken_away(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    admin.post("/facilities/at/MAIN/departments/", {"code": "ct", "name": "CT suite"})
    assert "CT suite" in admin.get("/facilities/at/MAIN/").content.decode()
    admin.post("/facilities/at/MAIN/departments/CT/", {"name": "Tomography", "was": "CT suite"})
    page = admin.post("/facilities/at/MAIN/departments/CT/", {"name": "Third", "was": "CT suite"}).content.decode()
    assert "renamed CT to" in page
    assert [part.name for part in departments.listed("MAIN")] == ["Tomography"]
    assert admin.post("/facilities/at/MAIN/departments/CT/remove/").status_code == 303
    assert not departments.listed("MAIN")
    assert admin.get("/facilities/at/MAIN/departments/CT/").status_code == 404
    assert admin.post("/facilities/at/MAIN/departments/CT/remove/").status_code == 404


def test_r127_to_r131_exactly_five_profiles_are_offered(signed_in: SignedIn) -> None:
    page = signed_in("pacs_admin").get("/facilities/at/MAIN/profile/").content.decode()
    offered = [part.split("#")[0] for part in page.split('href="?profile=')[1:]]
    assert offered == ["public_central", "private_hospital", "specialty", "teaching", "ministry"]


def test_a_profile_is_previewed_and_then_applied(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin", facility="MAIN")
    url = "/facilities/at/MAIN/profile/"
    page = admin.get(url + "?profile=teaching").content.decode()
    assert "Medical Education (EDUCATION)" in page
    assert "No longer offered here" in page
    assert "Ministry" in page
    assert not departments.listed("MAIN"), "looking does nothing"
    version = places.get("MAIN").version
    assert admin.post(url, {"profile": "teaching", "expected": version}).status_code == 303
    assert places.get("MAIN").profile == "teaching"
    assert "Somebody else" in admin.post(url, {"profile": "ministry", "expected": version}).content.decode()
    assert admin.post(url, {"profile": "ministry", "expected": "x"}).status_code == 200
    admin.post(url, {"profile": "ministry", "expected": version + 1})
    assert "pacs_admin" in (profiles.roles_on("MAIN") or ()), "held there"
    assert admin.get(url + "?profile=zoo").status_code == 422


def test_roles_are_switched_and_none_off_that_somebody_holds(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin", facility="MAIN")
    url = "/facilities/at/MAIN/roles/"
    page = admin.post(url, {"roles": ["radiologist"], "expected": 1}).content.decode()
    assert "People hold these roles at MAIN: pacs_admin" in page
    assert admin.post(url, {"roles": ["radiologist", "pacs_admin"], "expected": 1}).status_code == 303
    assert profiles.roles_on("MAIN") == {"radiologist", "pacs_admin"}
    assert "at least one role" in admin.post(url, {"expected": 2}).content.decode()
    assert "zoo is not one" in admin.post(url, {"roles": ["zoo"], "expected": 2}).content.decode()


def test_organisations_are_added_changed_and_taken_off(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    assert admin.post("/facilities/organisations/add/", {"name": "Granary", "profile": ""}).status_code == 303
    [runner] = organisations.listed()
    url = f"/facilities/organisations/{runner.id}/"
    typed = {"new_name": "Granary Trust", "profile": "ministry", "expected": 1}
    assert admin.post(url, typed).status_code == 303
    assert "Somebody else" in admin.post(url, typed).content.decode()
    admin.post("/facilities/at/MAIN/change/", about(organisation="Granary Trust"))
    assert "runs 1 facility" in admin.post(url + "remove/", follow=True).content.decode()
    places.change("MAIN", expected=2, organisation="", actor=ADMIN)
    assert admin.post(url + "remove/").status_code == 303
    assert admin.get(url).status_code == 404
    assert signed_in("ministry").get("/facilities/organisations/").status_code == 200
    assert signed_in("ministry").get("/facilities/organisations/add/").status_code == 403


def test_a_facility_that_nobody_set_up_is_told_to_whoever_can(signed_in: SignedIn) -> None:
    admin = signed_in("pacs_admin")
    assert "Main facility has no departments yet" in admin.get("/").content.decode()
    departments.add("MAIN", "CT", "CT", actor=ADMIN)
    assert "no departments yet" not in admin.get("/").content.decode()
