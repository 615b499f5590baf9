"""Roles are data that people change, and nobody gets more by changing one."""

from __future__ import annotations

import pytest

from hozi.accounts import authorise, roles
from hozi.accounts.authorise import Denied, Who
from hozi.accounts.defaults import DEFAULT_ROLES
from hozi.accounts.permissions import PERMISSIONS
from hozi.audit.models import Event
from hozi.core.errors import Changed, NotThere, Refused
from tests.accounts.conftest import OPERATOR, Somebody, asks

pytestmark = pytest.mark.django_db


def test_a_role_that_was_changed_counts_at_once_for_whoever_holds_it(admin: Who, somebody: Somebody) -> None:
    reader = somebody("rudo", "radiologist")
    shape = roles.of("radiologist")
    assert (shape.holders, shape.used, shape.delivered) == (1, True, True)
    changed = roles.change(
        admin, "radiologist", version=shape.version, name="Reader", permissions=shape.permissions - {"studies.print"}
    )
    assert (changed.name, changed.version) == ("Reader", shape.version + 1)
    assert reader.person is not None
    assert not authorise.may(asks(reader.person), "studies.print")
    told = Event.objects.get(detail__type="110136", action="U")
    assert (told.actor, told.detail["role"], told.detail["removed"]) == ("alois", "radiologist", ["studies.print"])


def test_a_role_is_made_given_and_deleted_while_nobody_holds_it(admin: Who, somebody: Somebody) -> None:
    made = roles.create(admin, "night_reader", name="Night reader", permissions=["studies.open", "studies.find"])
    assert made.permissions == {"studies.open", "studies.find"}
    roles.delete(admin, "night_reader", version=made.version)
    with pytest.raises(NotThere):
        roles.of("night_reader")
    made = roles.create(admin, "night_reader", name="Night reader", permissions=[])
    somebody("noma", "night_reader")
    with pytest.raises(Refused, match="held by people"):
        roles.delete(admin, "night_reader", version=made.version)
    with pytest.raises(Refused, match="came with Hozi"):
        roles.delete(admin, "student", version=1)


def test_who_was_quicker_is_not_overwritten(admin: Who) -> None:
    shape = roles.of("manager")
    roles.change(admin, "manager", version=shape.version, name="Manager", permissions=shape.permissions)
    with pytest.raises(Changed):
        roles.change(admin, "manager", version=shape.version, name="Boss", permissions=[])
    with pytest.raises(Changed):
        roles.delete(admin, "manager", version=shape.version)


def test_a37_nobody_puts_into_a_role_what_they_do_not_hold(somebody: Somebody, admin: Who) -> None:
    roles.create(OPERATOR, "keeper", name="Keeper", permissions=["roles.change", "people.see"])
    keeper = somebody("keeper", "keeper")
    shape = roles.of("keeper")
    with pytest.raises(Refused) as refused:
        roles.change(keeper, "keeper", version=1, name="Keeper", permissions=[*shape.permissions, "people.grant"])
    assert refused.value.field == "permissions"
    with pytest.raises(Refused):
        roles.create(keeper, "king", name="King", permissions=["studies.open"])
    with pytest.raises(Refused):
        roles.change(admin, "student", version=1, name="Student", permissions=["studies.receive"])
    reader = roles.of("radiologist")
    taken = reader.permissions - {"studies.export"}
    roles.change(keeper, "radiologist", version=1, name="Radiologist", permissions=taken)


def test_a37_taking_a_limit_away_widens_a_role_too(somebody: Somebody) -> None:
    roles.create(OPERATOR, "keeper", name="Keeper", permissions=["roles.change"])
    keeper, student = somebody("keeper", "keeper"), roles.of("student")
    with pytest.raises(Refused):
        roles.change(keeper, "student", version=1, name="Student", permissions=student.permissions, needs_end=True)
    roles.change(
        keeper,
        "student",
        version=1,
        name="Student",
        permissions=student.permissions,
        deidentified=True,
        own_referrals=True,
        needs_end=True,
    )


def test_a37_whoever_looks_after_one_facility_does_not_change_roles_for_all(local: Who) -> None:
    with pytest.raises(Refused, match="all facilities"):
        roles.create(local, "mine", name="Mine", permissions=[])
    with pytest.raises(Refused, match="all facilities"):
        roles.change(local, "student", version=1, name="Student", permissions=[])


def test_one_who_may_not_change_roles_does_not(somebody: Somebody) -> None:
    for role in ("manager", "dpo", "radiologist"):
        with pytest.raises(Denied):
            roles.create(somebody(role, role), "mine", name="Mine", permissions=[])


def test_somebody_can_always_give_roles(admin: Who) -> None:
    shape = roles.of("pacs_admin")
    with pytest.raises(Refused, match="Nobody could"):
        roles.change(admin, "pacs_admin", version=1, name="PACS", permissions=shape.permissions - {"people.grant"})
    assert roles.of("pacs_admin") == shape


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"key": "Bad Key"}, "key"),
        ({"key": "student"}, "key"),
        ({"name": " "}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"permissions": ["is_admin"]}, "permissions"),
        ({"description": "x" * 201}, "description"),
    ],
)
def test_wrong_input_is_said_beside_its_field(admin: Who, wrong: dict[str, object], field: str) -> None:
    with pytest.raises(Refused) as refused:
        roles.create(admin, **{"key": "fine", "name": "Fine", "permissions": [], **wrong})  # type: ignore[arg-type]
    assert refused.value.field == field


def test_the_matrix_says_what_the_roles_say() -> None:
    heading, *rows = roles.matrix()
    assert len(rows) == len(PERMISSIONS) + 3
    keys = heading[2:]
    assert set(keys) == {role.key for role in DEFAULT_ROLES}
    for role in DEFAULT_ROLES:
        column = keys.index(role.key) + 2
        assert {line[0] for line in rows[: len(PERMISSIONS)] if line[column] == "yes"} == role.permissions
        limits = {line[0]: line[column] == "yes" for line in rows[len(PERMISSIONS) :]}
        assert limits == {
            "own_referrals": role.own_referrals,
            "deidentified": role.deidentified,
            "needs_end": role.needs_end,
        }
