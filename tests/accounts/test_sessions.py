"""Where somebody is signed in can be seen and ended: by themselves, and by whoever looks after them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session as Row
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hozi.accounts import lifecycle, profile, sessions
from hozi.accounts.authorise import Denied, Who
from hozi.accounts.models import Person
from hozi.audit.models import Event
from hozi.core.errors import NotThere
from tests.accounts.conftest import Somebody, row

pytestmark = pytest.mark.django_db


def sign_in(who: Who) -> str:
    client = Client(headers={"user-agent": "Firefox"})
    person = get_user_model()._default_manager.get(pk=who.person)
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    client.get("/")
    return str(client.session.session_key)


def test_each_browser_is_listed_and_can_be_ended(somebody: Somebody) -> None:
    rumbi = somebody("rumbi", "radiographer")
    assert rumbi.person is not None
    first, second = sign_in(rumbi), sign_in(rumbi)
    seen = profile.signed_in_at(rumbi, rumbi.person)
    assert {one.key for one in seen} == {first, second}
    assert {one.browser for one in seen} == {"Firefox"}
    assert profile.sign_out(rumbi, rumbi.person, next(one.id for one in seen if one.key == first)) == 1
    assert [one.key for one in sessions.listed(rumbi.person)] == [second]
    assert not Row.objects.filter(session_key=first).exists()
    sign_in(rumbi)
    assert profile.sign_out(rumbi, rumbi.person, but=second) == 1
    assert [one.key for one in sessions.listed(rumbi.person)] == [second]
    assert Event.objects.filter(detail__person="rumbi", detail__signed_out=1).count() == 2


def test_where_somebody_is_costs_one_write_in_five_minutes(somebody: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    rumbi = somebody("rumbi", "radiographer")
    assert rumbi.person is not None
    sessions.seen(rumbi.person, "a" * 32, "10.0.0.1", "Firefox" * 100)
    first = row(rumbi).last_seen_at
    assert first is not None
    with CaptureQueriesContext(connection) as queries:
        sessions.seen(rumbi.person, "a" * 32, "10.0.0.1", "Firefox")
    assert len(queries) == 0
    Person.objects.update(last_seen_at=first - timedelta(minutes=6))
    monkeypatch.setattr(sessions, "_noted", {})
    sessions.seen(rumbi.person, "a" * 32, "10.0.0.1", "Firefox")
    assert row(rumbi).last_seen_at > first  # type: ignore[operator]


def test_sessions_die_with_the_account(somebody: Somebody, admin: Who) -> None:
    for act in (lifecycle.suspend, lifecycle.disable):
        who = somebody(act.__name__, "radiographer")
        assert who.person is not None
        key = sign_in(who)
        act(admin, who.person, "left")
        assert sessions.listed(who.person) == []
        assert not Row.objects.filter(session_key=key).exists()


def test_a36_a_new_password_by_link_ends_what_was_signed_in(somebody: Somebody, admin: Who) -> None:
    from hozi.accounts import invitations
    from tests.accounts.conftest import PASSWORD

    rumbi = somebody("rumbi", "radiographer")
    assert rumbi.person is not None
    sign_in(rumbi)
    reset = lifecycle.link(admin, rumbi.person)
    assert len(sessions.listed(rumbi.person)) == 1
    invitations.accept(token=reset.secret, password=PASSWORD)
    assert sessions.listed(rumbi.person) == []


def test_others_sessions_are_for_those_who_look_after_them(
    somebody: Somebody, local: Who, north: str, south: str
) -> None:
    here, there = somebody("rumbi", "radiographer", north), somebody("sipho", "radiographer", south)
    assert here.person is not None
    assert there.person is not None
    sign_in(here)
    [session] = profile.signed_in_at(local, here.person)
    with pytest.raises(Denied):
        profile.signed_in_at(there, here.person)
    with pytest.raises(Denied):
        profile.sign_out(there, here.person, session.id)
    with pytest.raises(NotThere):
        profile.sign_out(local, there.person)
    with pytest.raises(NotThere):
        profile.sign_out(there, there.person, session.id)
    assert profile.sign_out(local, here.person) == 1
