"""An account goes its way from request to end, one step at a time, and nobody goes alone where two are meant."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from hozi.accounts import authorise, clock, grants, lifecycle, tokens
from hozi.accounts.authorise import Denied, Who
from hozi.accounts.models import Invitation, Person
from hozi.audit.models import Event
from hozi.core.errors import Changed, NotThere, Refused
from tests.accounts.conftest import OPERATOR, Somebody, asks, row

pytestmark = pytest.mark.django_db


def wanted(who: Who, username: str = "tendai", **more: object) -> lifecycle.Account:
    given = {"full_name": "Tendai Moyo", "role": "radiographer", "username": username, **more}
    return lifecycle.request(who, **given)  # type: ignore[arg-type]


def test_it_goes_from_request_to_link_with_two_people(admin: Who, somebody: Somebody) -> None:
    manager = somebody("mandla", "manager")
    asked = wanted(manager, email="tendai@example.org", note="  starts\non Monday ")
    assert (asked.state, row(asked.id).request_note) == ("requested", "starts on Monday")
    approved = lifecycle.approve(admin, asked.id, version=asked.version)
    assert approved.state == "approved"
    with pytest.raises(Refused, match="no role yet"):
        lifecycle.invite(admin, asked.id)
    grants.grant(admin, asked.id, "radiographer")
    invited = lifecycle.invite(admin, asked.id)
    assert invited.state == "invited"
    assert len(invited.secret) >= 43
    assert row(asked.id).usable_at is not None
    assert authorise.of_person(asked.id) is None
    told = [event.detail for event in Event.objects.filter(detail__person="tendai").order_by("pk")]
    assert {detail["type"] for detail in told} == {"110137"}
    assert [detail.get("to") for detail in told] == ["requested", "approved", None, "invited"]
    assert list(Event.objects.filter(detail__person="tendai").values_list("actor", flat=True))[:2] == [
        "mandla",
        "alois",
    ]


def test_the_wanted_role_and_the_link_come_in_one_step(admin: Who, north: str, somebody: Somebody) -> None:
    asked = wanted(somebody("mandla", "manager"), facility=north)
    invited = lifecycle.admit(admin, asked.id)
    assert invited.state == "invited"
    [given] = row(asked.id).grants.all()
    assert (given.role.key, given.facility.code, given.granted_by) == ("radiographer", north, "alois")  # type: ignore[union-attr]


def test_one_step_that_fails_takes_the_others_back(admin: Who, somebody: Somebody) -> None:
    asked = wanted(somebody("mandla", "manager"), role="")
    with pytest.raises(Refused, match="which role"):
        lifecycle.admit(admin, asked.id)
    assert row(asked.id).state == "requested"


def test_nobody_approves_what_they_asked_for(admin: Who, other_admin: Who) -> None:
    asked = wanted(admin)
    with pytest.raises(Refused, match="somebody else"):
        lifecycle.approve(admin, asked.id)
    assert lifecycle.approve(other_admin, asked.id).state == "approved"


def test_where_there_is_only_one_who_may_approve_they_do_and_the_audit_says_so(admin: Who) -> None:
    asked = wanted(admin)
    lifecycle.approve(admin, asked.id)
    told = Event.objects.filter(detail__person="tendai", detail__to="approved").get()
    assert told.detail["reason"] == "nobody else could approve it"


def test_nobody_acts_on_their_own_account(admin: Who, other_admin: Who) -> None:
    assert admin.person is not None
    for act in (
        lambda: lifecycle.suspend(admin, admin.person, "tired"),  # type: ignore[arg-type]
        lambda: lifecycle.disable(admin, admin.person, "tired"),  # type: ignore[arg-type]
        lambda: lifecycle.link(admin, admin.person),  # type: ignore[arg-type]
        lambda: grants.grant(admin, admin.person, "radiologist"),  # type: ignore[arg-type]
    ):
        with pytest.raises(Refused, match="Nobody may"):
            act()


@pytest.mark.parametrize("role", ["radiologist", "student", "service", "ministry"])
def test_only_those_who_may_request_and_approve_do(role: str, somebody: Somebody, admin: Who) -> None:
    nobody = somebody("vusi", role)
    asked = wanted(admin)
    for act in (
        lambda: wanted(nobody, "another"),
        lambda: lifecycle.approve(nobody, asked.id),
        lambda: lifecycle.admit(nobody, asked.id),
        lambda: lifecycle.decline(nobody, asked.id, "no"),
        lambda: lifecycle.suspend(nobody, asked.id, "no"),
        lambda: lifecycle.reactivate(nobody, asked.id),
        lambda: lifecycle.link(nobody, asked.id),
        lambda: grants.grant(nobody, asked.id, "student"),
    ):
        with pytest.raises(Denied):
            act()


def test_suspending_and_disabling_take_everything_at_once(admin: Who, somebody: Somebody) -> None:
    rumbi = somebody("rumbi", "radiographer")
    assert rumbi.person is not None
    made = tokens.make(admin, rumbi.person, "script", scopes=["read"])
    assert tokens.of_token(made.secret, "10.0.0.1") is not None
    lifecycle.suspend(admin, rumbi.person, "on leave")
    assert authorise.of_person(rumbi.person) is None
    assert tokens.of_token(made.secret, "10.0.0.1") is None
    lifecycle.reactivate(admin, rumbi.person)
    assert tokens.of_token(made.secret, "10.0.0.1") is not None
    lifecycle.disable(admin, rumbi.person, "left")
    lifecycle.reactivate(admin, rumbi.person)
    assert authorise.of_person(rumbi.person) is not None
    assert tokens.of_token(made.secret, "10.0.0.1") is None


def test_an_end_needs_a_reason(admin: Who, somebody: Somebody) -> None:
    rumbi = somebody("rumbi", "radiographer")
    for words in ("", "  ", "\n"):
        with pytest.raises(Refused, match="why") as refused:
            lifecycle.disable(admin, rumbi.person, words)  # type: ignore[arg-type]
        assert refused.value.field == "reason"


def test_the_last_who_can_give_roles_stays(admin: Who, local: Who, somebody: Somebody) -> None:
    for act in (lifecycle.suspend, lifecycle.disable):
        with pytest.raises(Refused, match="last one"):
            act(OPERATOR, admin.person, "oops")  # type: ignore[arg-type]
    for_a_time = somebody("beauty", "pacs_admin")
    Person.objects.filter(pk=for_a_time.person).update(ends_on=timezone.localdate() + timedelta(days=9))
    with pytest.raises(Refused, match="last one"):
        lifecycle.disable(OPERATOR, admin.person, "oops")  # type: ignore[arg-type]
    somebody("chipo", "pacs_admin")
    assert lifecycle.disable(OPERATOR, admin.person, "left").state == "disabled"  # type: ignore[arg-type]


@pytest.mark.django_db(transaction=True)
def test_two_administrators_cannot_disable_each_other_at_the_same_moment(admin: Who, other_admin: Who) -> None:
    begin, ends = threading.Barrier(2), []

    def act(who: Who, whom: Who) -> None:
        begin.wait()
        try:
            ends.append(lifecycle.disable(who, whom.person, "a quarrel").state)  # type: ignore[arg-type]
        except Refused:
            ends.append("refused")
        finally:
            connection.close()

    pair = [(admin, other_admin), (other_admin, admin)]
    threads = [threading.Thread(target=act, args=two) for two in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["disabled", "refused"]


def test_who_was_quicker_is_not_overwritten(admin: Who, somebody: Somebody) -> None:
    rumbi = somebody("rumbi", "radiographer")
    looked = row(rumbi).version
    lifecycle.suspend(admin, rumbi.person, "on leave", version=looked)  # type: ignore[arg-type]
    with pytest.raises(Changed):
        lifecycle.disable(admin, rumbi.person, "left", version=looked)  # type: ignore[arg-type]
    assert row(rumbi).state == "suspended"


def test_steps_cannot_be_left_out(admin: Who, somebody: Somebody) -> None:
    asked = wanted(somebody("mandla", "manager"))
    for act in (
        lambda: lifecycle.invite(admin, asked.id),
        lambda: lifecycle.suspend(admin, asked.id, "no"),
        lambda: lifecycle.reactivate(admin, asked.id),
    ):
        with pytest.raises(Refused):
            act()
    lifecycle.approve(admin, asked.id)
    with pytest.raises(Refused):
        lifecycle.approve(admin, asked.id)


def test_what_was_declined_has_no_clock_and_can_be_asked_for_again(admin: Who, somebody: Somebody) -> None:
    asked = wanted(somebody("mandla", "manager"))
    lifecycle.decline(admin, asked.id, "not known here")
    assert clock.of(row(asked.id)) is None
    assert clock.waiting(admin) == []
    again = lifecycle.reactivate(admin, asked.id)
    assert again.state == "requested"
    assert len(clock.waiting(admin)) == 1


def test_a_program_becomes_active_without_a_link(admin: Who) -> None:
    asked = wanted(admin, "ris", role="service", is_program=True)
    begun = lifecycle.admit(admin, asked.id)
    assert (begun.state, begun.secret) == ("active", "")
    assert not Invitation.objects.exists()
    with pytest.raises(Refused, match="program"):
        lifecycle.link(admin, asked.id)


def test_a_suspended_invitation_does_not_come_alive_by_its_link(admin: Who, somebody: Somebody) -> None:
    asked = wanted(somebody("mandla", "manager"))
    lifecycle.admit(admin, asked.id)
    lifecycle.suspend(admin, asked.id, "wrong person")
    assert not Invitation.objects.filter(expires_at__gt=timezone.now()).exists()
    assert lifecycle.reactivate(admin, asked.id).state == "approved"
    assert lifecycle.link(admin, asked.id).state == "invited"


def test_students_and_vendors_have_a_last_day(admin: Who) -> None:
    with pytest.raises(Refused) as refused:
        wanted(admin, role="student")
    assert refused.value.field == "ends_on"
    yesterday = timezone.localdate() - timedelta(days=1)
    with pytest.raises(Refused, match="past"):
        wanted(admin, role="student", ends_on=yesterday)
    asked = wanted(admin, role="student", ends_on=timezone.localdate())
    assert lifecycle.admit(admin, asked.id).state == "invited"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"username": "x"}, "username"),
        ({"username": "Tendai Moyo!"}, "username"),
        ({"username": "<script>"}, "username"),
        ({"username": "TAKEN"}, "username"),
        ({"full_name": " "}, "full_name"),
        ({"full_name": "a\x1b[31mb"}, "full_name"),
        ({"full_name": "a" * 129}, "full_name"),
        ({"email": "no address"}, "email"),
        ({"email": "TAKEN@example.org"}, "email"),
        ({"phone": "call me"}, "phone"),
        ({"role": "king"}, "role"),
        ({"facility": "NOWHERE"}, "facility"),
        ({"note": "x" * 501}, "note"),
        ({"referring_names": ["a\\b"]}, "referring_names"),
    ],
)
def test_wrong_input_is_said_beside_its_field(more: dict[str, object], field: str) -> None:
    wanted(OPERATOR, "taken", email="taken@example.org")
    with pytest.raises(Refused) as refused:
        wanted(OPERATOR, **{"username": "fine", **more})  # type: ignore[arg-type]
    assert refused.value.field == field
    assert Person.objects.count() == 1


def test_a_name_to_sign_in_with_is_made_from_the_name() -> None:
    first = wanted(OPERATOR, "", full_name="Thandiwe Ncube")
    second = wanted(OPERATOR, "", full_name="Thandiwe  Ncube")
    other = wanted(OPERATOR, "", full_name="Ñ")
    assert [row(one.id).username for one in (first, second, other)] == ["thandiwe.ncube", "thandiwe.ncube2", "n.1"]


def test_whoever_looks_after_one_facility_reaches_its_people_only(
    local: Who, north: str, south: str, somebody: Somebody, admin: Who
) -> None:
    here, there = somebody("rumbi", "radiographer", north), somebody("sipho", "radiographer", south)
    assert lifecycle.suspend(local, here.person, "on leave").state == "suspended"  # type: ignore[arg-type]
    with pytest.raises(NotThere):
        lifecycle.suspend(local, there.person, "on leave")  # type: ignore[arg-type]
    with pytest.raises(NotThere):
        lifecycle.suspend(local, admin.person, "on leave")  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        wanted(local, facility=south)
    assert refused.value.field == "facility"
    with pytest.raises(Refused):
        wanted(local)
    both = somebody("both", "radiographer", north)
    grants.grant(admin, both.person, "radiographer", facility=south)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="beyond your facility"):
        lifecycle.disable(local, both.person, "left")  # type: ignore[arg-type]


def test_a37_nobody_takes_over_an_account_that_may_do_more(north: str, somebody: Somebody, admin: Who) -> None:
    from hozi.accounts import roles

    roles.create(OPERATOR, "desk", name="Desk", permissions=["people.see", "people.approve", "people.grant"])
    desk, reader = somebody("desk", "desk", north), somebody("rudo", "radiologist", north)
    with pytest.raises(Refused, match="may do more than you"):
        lifecycle.link(desk, reader.person)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="may do more than you"):
        tokens.make(desk, reader.person, "x", scopes=["read"])  # type: ignore[arg-type]
    assert lifecycle.suspend(desk, reader.person, "on leave").state == "suspended"  # type: ignore[arg-type]


def test_after_the_last_day_nothing_is_allowed_whether_swept_or_not(somebody: Somebody, admin: Who) -> None:
    student = somebody("sihle", "student")
    assert student.person is not None
    made = tokens.make(admin, student.person, "x", scopes=["read"])
    Person.objects.filter(pk=student.person).update(ends_on=timezone.localdate() - timedelta(days=1))
    assert authorise.of_person(student.person) is None
    assert tokens.of_token(made.secret, "10.0.0.1") is None
    Person.objects.filter(pk=student.person).update(ends_on=timezone.localdate())
    assert asks(student.person)
