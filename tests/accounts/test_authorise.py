"""The one rule, for any roles and any scopes: nothing without a grant, more by more of them, nothing by ended ones."""

from __future__ import annotations

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.accounts import authorise
from hozi.accounts.authorise import Denied, Held, Scope, Who
from hozi.accounts.models import Grant, Person, Role
from hozi.accounts.permissions import BY_KEY, PERMISSIONS
from hozi.facilities.models import Department, Facility
from tests.accounts.conftest import Somebody, asks

KEYS = [permission.key for permission in PERMISSIONS]
STUDIES = [permission.key for permission in PERMISSIONS if permission.studies]

facilities = st.sampled_from(["", "NORTH", "SOUTH"])
scopes = st.builds(
    Scope,
    facility=facilities,
    department=st.sampled_from(["", "XRAY", "ULTRA"]),
    modality=st.sampled_from(["", "CT", "MR"]),
    referring=st.one_of(st.none(), st.frozensets(st.sampled_from(["moyo", "ncube"]))),
    deidentified=st.booleans(),
    patient=st.sampled_from([None, ("NORTH", "1"), ("NORTH", "2")]),
)
helds = st.builds(Held, permissions=st.frozensets(st.sampled_from(KEYS)), scope=scopes)
whos = st.builds(lambda held: Who("person", "somebody", held=tuple(held)), st.lists(helds, max_size=4))


def reached(who: Who, permission: str) -> set[Scope]:
    """The scopes of a permission; none where it is denied."""
    try:
        return set(authorise.reach(who, permission).scopes)
    except Denied:
        return set()


def places(who: Who, permission: str) -> set[str] | None:
    """The facilities of a permission; none where it is denied."""
    try:
        codes = authorise.facilities(who, permission)
    except Denied:
        return set()
    return None if codes is None else set(codes)


@pytest.mark.parametrize("permission", KEYS)
def test_without_a_grant_nothing_is_allowed(permission: str) -> None:
    nobody = Who("person", "nobody")
    assert not authorise.may(nobody, permission)
    assert not authorise.covers(nobody, permission, Scope())
    for ask in (authorise.check, authorise.reach, authorise.facilities):
        with pytest.raises(Denied, match=permission):
            ask(nobody, permission)


@given(who=whos, more=helds, permission=st.sampled_from(KEYS))
def test_holding_more_never_takes_anything_away(who: Who, more: Held, permission: str) -> None:
    richer = Who("person", "somebody", held=(*who.held, more))
    assert authorise.may(richer, permission) >= authorise.may(who, permission)
    before, after = reached(who, permission), reached(richer, permission)
    assert before <= after or authorise.EVERYTHING.scopes[0] in after
    were, are = places(who, permission), places(richer, permission)
    assert are is None or (were is not None and were <= are)


@given(who=whos, permission=st.sampled_from(KEYS))
def test_only_what_is_held_is_reached(who: Who, permission: str) -> None:
    assert reached(who, permission) <= {held.scope for held in who.held if permission in held.permissions}


@given(who=whos, permission=st.sampled_from(KEYS), scope=scopes)
def test_what_is_covered_is_held_and_nothing_narrower_is_left_out(who: Who, permission: str, scope: Scope) -> None:
    if authorise.covers(who, permission, scope):
        assert authorise.may(who, permission)
        codes = places(who, permission)
        assert scope.patient is not None or codes is None or scope.facility in codes
    for held in who.held:
        if permission in held.permissions:
            assert authorise.covers(who, permission, held.scope)


@given(outer=scopes, middle=scopes, inner=scopes, permission=st.sampled_from(STUDIES))
def test_what_is_handed_on_twice_is_no_farther_than_what_was_held(
    outer: Scope, middle: Scope, inner: Scope, permission: str
) -> None:
    first = Who("person", "first", held=(Held(frozenset({permission}), outer),))
    second = Who("person", "second", held=(Held(frozenset({permission}), middle),))
    if authorise.covers(first, permission, middle) and authorise.covers(second, permission, inner):
        assert authorise.covers(first, permission, inner)


def test_a_permission_that_does_not_exist_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="no permission"):
        authorise.may(authorise.of_operator(), "studies.burn")


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    grants=st.lists(
        st.tuples(
            st.frozensets(st.sampled_from(KEYS), max_size=4),
            facilities,
            st.sampled_from(["", "CT"]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=4,
    )
)
def test_what_a_person_holds_is_what_the_grants_in_force_say(
    somebody: Somebody, grants: list[tuple[frozenset[str], str, str, bool, bool]]
) -> None:
    person = Person.objects.filter(username="anybody").first() or Person.objects.get(pk=somebody("anybody").person)
    Grant.objects.all().delete()
    Role.objects.filter(key__startswith="made_").delete()
    in_force: set[str] = set()
    for number, (permissions, facility, modality, deidentified, ended) in enumerate(grants):
        place = None
        if facility:
            place, _ = Facility.objects.get_or_create(code=facility, defaults={"name": facility, "issuer": facility})
        now = timezone.now()
        Grant.objects.create(
            person=person,
            role=Role.objects.create(key=f"made_{number}", name="Made", permissions=[*sorted(permissions), "gone.by"]),
            facility=place,
            modality=modality,
            deidentified=deidentified,
            granted_at=now,
            granted_by="test",
            ended_at=now if ended else None,
        )
        in_force |= set() if ended else permissions
    who = asks(person.pk)
    assert {key for key in BY_KEY if authorise.may(who, key)} == in_force
    for permissions, facility, modality, deidentified, ended in grants:
        if not ended:
            scope = Scope(facility=facility, modality=modality, deidentified=deidentified)
            assert all(authorise.covers(who, key, scope) for key in permissions)


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["requested", "approved", "invited", "suspended", "disabled"])
def test_only_who_is_active_asks(somebody: Somebody, state: str) -> None:
    reader = somebody("rudo", "radiologist")
    assert reader.person is not None
    Person.objects.filter(pk=reader.person).update(state=state, is_active=False)
    assert authorise.of_person(reader.person) is None
    assert authorise.of_person(reader.person + 1) is None


@pytest.mark.django_db
def test_a_department_narrows_studies_and_not_what_belongs_to_the_facility(somebody: Somebody, north: str) -> None:
    Department.objects.create(facility=Facility.objects.get(code=north), code="XRAY", name="X-ray")
    who = somebody("rumbi", "radiographer", north, department="XRAY")
    assert authorise.reach(who, "studies.open").scopes == (Scope(facility=north, department="XRAY"),)
    assert authorise.facilities(who, "devices.see") == {north}
    assert authorise.covers(who, "devices.see", Scope(facility=north))
    assert not authorise.covers(who, "studies.open", Scope(facility=north))


@pytest.mark.django_db
def test_a_referrer_without_names_reaches_nobody_s_studies(somebody: Somebody) -> None:
    who = somebody("ruth", "referrer")
    [scope] = authorise.reach(who, "studies.open").scopes
    assert scope.referring == frozenset()


@pytest.mark.parametrize(
    ("scopes", "home"),
    [
        ((), ""),
        ((Scope(),), ""),
        ((Scope(facility="NORTH"), Scope(facility="NORTH", modality="CT")), "NORTH"),
        ((Scope(facility="NORTH"), Scope(facility="SOUTH")), ""),
        ((Scope(facility="NORTH"), Scope()), ""),
        ((Scope(facility="NORTH"), Scope(patient=("SOUTH", "1"))), "NORTH"),
    ],
)
def test_who_holds_something_at_one_facility_only_is_at_home_there(scopes: tuple[Scope, ...], home: str) -> None:
    held = tuple(Held(frozenset({"studies.find"}), scope) for scope in scopes)
    assert authorise.home(Who("person", "rudo", "", held, 1)) == home


def test_the_operator_may_do_everything_everywhere() -> None:
    operator = authorise.of_operator()
    assert all(authorise.covers(operator, key, Scope()) for key in KEYS)
    assert authorise.reach(operator, "studies.open").everything
