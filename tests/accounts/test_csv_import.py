"""A cohort comes in from a table: everything wrong is said before, and then come all or none."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from hozi.accounts import csv_import, drift, invitations, lifecycle, roles
from hozi.accounts.authorise import Denied, Who
from hozi.accounts.models import Grant, Invitation, Person
from hozi.audit.models import Event
from hozi.core.errors import Refused
from tests.accounts.conftest import OPERATOR, Somebody, row

pytestmark = pytest.mark.django_db

LAST = timezone.localdate() + timedelta(days=300)


def table(*lines: str, heading: str = "full_name,role,facility,ends_on") -> bytes:
    return "\n".join([heading, *lines]).encode()


def said(who: Who, *lines: str, **more: str) -> list[tuple[int, str]]:
    return [(wrong.line, wrong.column) for wrong in csv_import.preview(who, table(*lines, **more)).wrong]


def test_a_cohort_comes_in_with_links(north: str) -> None:
    data = table(f"Tendai Moyo,student,north,{LAST:%d/%m/%Y}", f"Sihle Ncube,Student,NORTH,{LAST:%Y-%m-%d}")
    seen = csv_import.preview(OPERATOR, data)
    assert (seen.wrong, seen.invites, len(seen.people)) == ((), True, 2)
    assert not Person.objects.exists()
    tendai, sihle = csv_import.take(OPERATOR, data)
    assert (tendai.username, tendai.state, sihle.username) == ("tendai.moyo", "invited", "sihle.ncube")
    person = row(tendai.id)
    assert (person.ends_on, person.facility.code, person.usable_at is not None) == (LAST, north, True)  # type: ignore[union-attr]
    assert [grant.role.key for grant in person.grants.all()] == ["student"]
    assert invitations.look(sihle.secret) is not None
    handed = csv_import.links([tendai, sihle], "https://pacs.example")
    assert f"https://pacs.example/enter/{tendai.secret}/" in handed


def test_the_audit_tells_of_each_as_if_they_had_come_alone(north: str) -> None:
    csv_import.take(OPERATOR, table(f"Tendai Moyo,student,north,{LAST}"))
    told = [event.detail for event in Event.objects.filter(detail__person="tendai.moyo").order_by("pk")]
    assert [one.get("to") for one in told] == ["requested", "approved", None, "invited"]
    assert told[2]["granted"] == {"role": "student", "facility": north}
    assert drift.findings() == []


def test_everything_that_is_wrong_is_said_in_words_and_nobody_comes_in(north: str) -> None:
    lifecycle.request(OPERATOR, full_name="There Already", username="taken", email="taken@example.org")
    data = table(
        "Fine One,fine1,fine@example.org,student,NORTH,31/12/2099",
        ",nameless,,student,,31/12/2099",
        "Bad Name,bad name!,,student,,31/12/2099",
        "Taken,taken,,student,,31/12/2099",
        "Twice,fine1,,student,,31/12/2099",
        "Mail,mail1,taken@example.org,student,,31/12/2099",
        "Mail,mail2,FINE@example.org,student,,31/12/2099",
        "King,king,,king,,31/12/2099",
        "Where,where,,student,NOWHERE,31/12/2099",
        "When,when,,student,,soon",
        "Past,past,,student,,01/01/2020",
        "Endless,endless,,student,,",
        "Role,norole,,,,",
        "Many,many,,student,,31/12/2099,more,and more",
        heading="full_name,username,email,role,facility,ends_on",
    )
    wrong = csv_import.preview(OPERATOR, data).wrong
    assert [(one.line, one.column) for one in wrong] == [
        (3, "full_name"),
        (4, "username"),
        (5, "username"),
        (6, "username"),
        (7, "email"),
        (8, "email"),
        (9, "role"),
        (10, "facility"),
        (11, "ends_on"),
        (12, "ends_on"),
        (13, "ends_on"),
        (14, "role"),
        (15, ""),
    ]
    with pytest.raises(Refused, match="13 mistakes, the first in line 3"):
        csv_import.take(OPERATOR, data)
    assert Person.objects.count() == 1


def test_where_two_people_are_meant_the_file_makes_requests(admin: Who, other_admin: Who) -> None:
    data = table(f"Tendai Moyo,student,,{LAST}")
    assert not csv_import.preview(admin, data).invites
    [asked] = csv_import.take(admin, data)
    assert (asked.state, asked.secret) == ("requested", "")
    assert not Grant.objects.filter(person=asked.id).exists()
    with pytest.raises(Refused):
        lifecycle.admit(admin, asked.id)
    assert lifecycle.admit(other_admin, asked.id).state == "invited"


def test_where_nobody_else_could_approve_the_file_invites(admin: Who) -> None:
    [account] = csv_import.take(admin, table(f"Tendai Moyo,student,,{LAST}"))
    assert account.state == "invited"


def test_a37_nobody_gets_a_role_from_a_file_that_could_not_be_given_by_hand(north: str, somebody: Somebody) -> None:
    keys = ["people.see", "people.request", "people.approve", "people.grant", "studies.open", "studies.find"]
    roles.create(OPERATOR, "desk", name="Desk", permissions=keys)
    desk = somebody("desk", "desk", north)
    assert said(desk, "King,pacs_admin,NORTH,") == [(2, "role")]
    assert said(desk, f"Far,student,,{LAST}") == [(2, "facility")]
    assert said(desk, f"Near,student,NORTH,{LAST}") == []


def test_whoever_may_not_request_accounts_sees_nothing(somebody: Somebody) -> None:
    with pytest.raises(Denied):
        csv_import.preview(somebody("rudo", "radiologist"), table("Tendai Moyo,student,,"))


def test_columns_that_mean_nothing_are_named_and_do_nothing() -> None:
    seen = csv_import.preview(
        OPERATOR, table(f"T M,student,{LAST},yes,secret", heading="Name,role,End date,is_admin,password")
    )
    assert (seen.wrong, seen.ignored) == ((), ("is_admin", "password"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"Tendai Moyo,student\n", "must name the columns"),
        (b"full_name,role\n", "nobody"),
        (b"full_name,name\nA,B\n", "two columns"),
        (b"full_name\n" + b"x\n" * 5001, "more than 5000"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        csv_import.preview(OPERATOR, data)


def test_hostile_text_is_refused_or_harmless() -> None:
    data = table(
        '"=HYPERLINK(""http://x"")",student,,31/12/2099',
        "<script>alert(1)</script>,student,,31/12/2099",
        "a\x1b[31mb,student,,31/12/2099",
    )
    assert [(one.line, one.column) for one in csv_import.preview(OPERATOR, data).wrong] == [(4, "full_name")]
    accounts = csv_import.take(OPERATOR, table('"=1+1",student,,31/12/2099'))
    assert "\r\n'=1+1," in csv_import.links(accounts, "")


def test_the_template_is_a_table_that_comes_in() -> None:
    assert csv_import.preview(OPERATOR, csv_import.template().encode()).wrong == ()


def test_five_thousand_people_come_in_within_seconds(north: str) -> None:
    data = table(*(f"Person Number{n},student,NORTH,{LAST}" for n in range(5000)))
    began = time.monotonic()
    accounts = csv_import.take(OPERATOR, data)
    assert len(accounts) == Person.objects.count() == Invitation.objects.count() == 5000
    assert time.monotonic() - began < 30
