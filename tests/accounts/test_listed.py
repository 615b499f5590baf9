"""Lists of people and one person, as far as who asks may see; and what can be changed of somebody."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hozi.accounts import grants, lifecycle, listed, profile
from hozi.accounts.authorise import Denied, Who
from hozi.accounts.models import Person
from hozi.audit.models import Event
from hozi.core.errors import Changed, NotThere, Refused
from tests.accounts.conftest import OPERATOR, Somebody, row

pytestmark = pytest.mark.django_db


def names_of(page: listed.Page) -> list[str]:
    return [line.username for line in page.lines]


@pytest.fixture
def house(somebody: Somebody, north: str, south: str) -> None:
    somebody("rumbi", "radiographer", north)
    somebody("sipho", "radiologist", south)
    somebody("abel", "manager")
    lifecycle.request(
        OPERATOR,
        full_name="Zodwa Waiting",
        username="zodwa",
        facility=north,
        role="student",
        ends_on=timezone.localdate(),
    )


@pytest.mark.usefixtures("house")
class TestLists:
    """A house with people at two facilities."""

    def test_each_line_says_who_where_and_what(self, admin: Who) -> None:
        page = listed.people(admin)
        assert names_of(page) == ["abel", "alois", "rumbi", "sipho", "zodwa"]
        rumbi, zodwa = page.lines[2], page.lines[4]
        assert (rumbi.roles, rumbi.facility, rumbi.state, rumbi.clock) == (
            ("Radiographer at NORTH",),
            "NORTH",
            "active",
            None,
        )
        assert zodwa.clock is not None
        assert zodwa.clock.runs

    def test_filters(self, admin: Who) -> None:
        assert names_of(listed.people(admin, state="requested")) == ["zodwa"]
        assert names_of(listed.people(admin, role="radiologist")) == ["sipho"]
        assert names_of(listed.people(admin, facility="NORTH")) == ["rumbi", "zodwa"]
        assert names_of(listed.people(admin, text="ZOD wait")) == ["zodwa"]
        assert names_of(listed.people(admin, text="%")) == []
        assert names_of(listed.people(admin, text="'; drop table\x00")) == []

    def test_whoever_looks_after_one_facility_sees_its_people_only(self, local: Who) -> None:
        assert names_of(listed.people(local)) == ["lindiwe", "rumbi", "zodwa"]
        assert names_of(listed.people(local, facility="SOUTH")) == []
        assert listed.counts(local)["active"] == 2
        with pytest.raises(NotThere):
            profile.of(local, Person.objects.get(username="sipho").pk)

    @pytest.mark.parametrize("sort", ["name", "seen", "idle", "end", "new"])
    def test_pages_walk_over_everybody_once(self, admin: Who, sort: listed.Sort) -> None:
        now = timezone.now()
        Person.objects.filter(username__in=["rumbi", "abel"]).update(last_seen_at=now)
        Person.objects.filter(username="sipho").update(last_seen_at=now - timedelta(days=3))
        whole = names_of(listed.people(admin, sort=sort))
        walked: list[str] = []
        after: int | None = None
        while True:
            page = listed.people(admin, sort=sort, after=after, limit=2)
            walked += names_of(page)
            after = page.next
            if after is None:
                break
        assert walked == whole
        assert len(walked) == len(set(walked)) == 5

    def test_sorting(self, admin: Who) -> None:
        Person.objects.filter(username="sipho").update(last_seen_at=timezone.now())
        assert names_of(listed.people(admin, sort="seen"))[0] == "sipho"
        assert names_of(listed.people(admin, sort="idle"))[-1] == "sipho"
        assert names_of(listed.people(admin, sort="end"))[0] == "zodwa"

    def test_a_long_list_costs_as_many_statements_as_a_short_one(self, admin: Who, somebody: Somebody) -> None:
        def statements() -> int:
            with CaptureQueriesContext(connection) as queries:
                listed.people(admin)
            return len(queries)

        before = statements()
        for number in range(10):
            somebody(f"more{number}", "radiologist")
        assert statements() == before


def test_one_who_may_not_see_people_does_not(somebody: Somebody, admin: Who) -> None:
    nobody = somebody("rudo", "radiologist")
    for ask in (lambda: listed.people(nobody), lambda: listed.counts(nobody), lambda: profile.of(nobody, admin.person)):  # type: ignore[arg-type]
        with pytest.raises(Denied):
            ask()
    own = profile.own(nobody)
    assert (own.username, [given.role for given in own.held]) == ("rudo", ["radiologist"])
    with pytest.raises(NotThere):
        profile.own(OPERATOR)


def changed(who: Who, whom: Who, **more: object) -> profile.Profile:
    assert whom.person is not None
    given = {"version": row(whom).version, "full_name": row(whom).full_name, **more}
    return profile.change(who, whom.person, **given)  # type: ignore[arg-type]


def test_what_is_known_of_somebody_can_be_changed_and_the_audit_names_what(admin: Who, somebody: Somebody) -> None:
    ruth = somebody("ruth", "referrer")
    after = changed(admin, ruth, full_name="Ruth Ncube", email="r@example.org", referring_names=["Ncube^Ruth"])
    assert (after.full_name, after.email, after.referring_names) == ("Ruth Ncube", "r@example.org", ("Ncube^Ruth",))
    told = Event.objects.filter(detail__person="ruth").latest("pk")
    assert told.detail["changed"] == ["email", "full_name", "referring_names"]
    assert "r@example.org" not in str(told.detail)
    count = Event.objects.count()
    changed(admin, ruth, full_name="Ruth Ncube", email="r@example.org", referring_names=["Ncube^Ruth"])
    assert Event.objects.count() == count


def test_who_was_quicker_is_not_overwritten(admin: Who, somebody: Somebody) -> None:
    ruth = somebody("ruth", "referrer")
    version = row(ruth).version
    changed(admin, ruth, phone="+263 77 123 4567")
    with pytest.raises(Changed):
        changed(admin, ruth, version=version, phone="")
    assert row(ruth).phone == "+263 77 123 4567"


def test_nobody_changes_their_own_account(admin: Who, other_admin: Who) -> None:
    with pytest.raises(Refused, match="Nobody may"):
        changed(admin, admin, never_idle=True)


def test_a37_nobody_widens_whom_they_do_not_cover(north: str, somebody: Somebody) -> None:
    from hozi.accounts import roles

    roles.create(OPERATOR, "desk", name="Desk", permissions=["people.see", "people.approve"])
    desk, ruth = somebody("desk", "desk", north), somebody("ruth", "referrer", north)
    for more in ({"referring_names": ["Moyo^Tendai"]}, {"email": "mine@example.org"}, {"never_idle": True}):
        with pytest.raises(Refused, match="may do more"):
            changed(desk, ruth, facility=north, **more)
    assert changed(desk, ruth, facility=north, phone="0771234567").phone == "0771234567"
    with pytest.raises(Refused):
        changed(desk, ruth, facility="")


def test_a_last_day_is_changed_with_care(admin: Who, somebody: Somebody) -> None:
    student = somebody("sihle", "student")
    tomorrow = timezone.localdate() + timedelta(days=1)
    assert changed(admin, student, ends_on=tomorrow).ends_on == tomorrow
    with pytest.raises(Refused) as refused:
        changed(admin, student, ends_on=None)
    assert refused.value.field == "ends_on"
    with pytest.raises(Refused):
        changed(admin, student, ends_on=timezone.localdate() - timedelta(days=1))
    with pytest.raises(Refused, match="last one"):
        changed(OPERATOR, admin, ends_on=tomorrow)


def test_what_ended_stays_in_sight(admin: Who, somebody: Somebody) -> None:
    rumbi = somebody("rumbi", "radiographer")
    assert rumbi.person is not None
    grants.end(admin, profile.of(admin, rumbi.person).held[0].id)
    seen = profile.of(admin, rumbi.person)
    assert (seen.held, [given.role for given in seen.ended]) == ((), ["radiographer"])


def test_people_choose_language_and_look_for_themselves(somebody: Somebody) -> None:
    rumbi = somebody("rumbi", "radiographer")
    profile.choose(rumbi, language="sn", theme="dark")
    profile.choose(rumbi, theme="")
    assert (profile.own(rumbi).language, profile.own(rumbi).theme) == ("sn", "")
    with pytest.raises(Refused):
        profile.choose(rumbi, language="tlh")
    with pytest.raises(Refused):
        profile.choose(rumbi, theme="<script>")
