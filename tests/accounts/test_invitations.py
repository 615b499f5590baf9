"""A one-time link lets in whom it was made for, once, for three days; and the first administrator, once for ever."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import check_password
from django.db import connection
from django.utils import timezone

from hozi.accounts import authorise, invitations, lifecycle, sessions
from hozi.accounts.authorise import Who
from hozi.accounts.models import Invitation, Person
from hozi.audit.models import Event
from hozi.core.errors import NotThere, Refused
from tests.accounts.conftest import OPERATOR, PASSWORD, Somebody, row

pytestmark = pytest.mark.django_db

FIRST = {"full_name": "Alois Administrator", "username": "alois", "password": PASSWORD}


@pytest.fixture
def invited(admin: Who, somebody: Somebody) -> lifecycle.Account:
    asked = lifecycle.request(
        OPERATOR, full_name="Tendai Moyo", username="tendai", role="radiographer", email="t@example.org"
    )
    return lifecycle.admit(admin, asked.id)


def test_it_says_for_whom_it_is_and_lets_them_in(invited: lifecycle.Account) -> None:
    link = invitations.look(invited.secret)
    assert link is not None
    assert (link.purpose, link.username, link.full_name) == ("first", "tendai", "Tendai Moyo")
    number = invitations.accept(token=invited.secret, password=PASSWORD, address="10.0.0.9")
    person = row(number)
    assert (number, person.state, person.is_active) == (invited.id, "active", True)
    assert check_password(PASSWORD, person.password)
    assert authorise.of_person(number) is not None
    told = Event.objects.filter(detail__person="tendai", detail__to="active").get()
    assert (told.actor, told.address) == ("tendai", "10.0.0.9")


def test_only_a_hash_of_it_is_kept(invited: lifecycle.Account) -> None:
    kept = Invitation.objects.values().get()
    assert invited.secret not in str(kept)
    assert not any(invited.secret in str(event.detail) for event in Event.objects.all())


def test_a36_it_works_once(invited: lifecycle.Account) -> None:
    invitations.accept(token=invited.secret, password=PASSWORD)
    assert invitations.look(invited.secret) is None
    with pytest.raises(NotThere):
        invitations.accept(token=invited.secret, password="another long sentence")
    assert check_password(PASSWORD, row(invited.id).password)


def test_a36_it_works_for_three_days(invited: lifecycle.Account) -> None:
    assert timezone.now() + timedelta(hours=71) < Invitation.objects.get().expires_at
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert invitations.look(invited.secret) is None
    with pytest.raises(NotThere):
        invitations.accept(token=invited.secret, password=PASSWORD)


def test_a_new_link_ends_the_one_before(admin: Who, invited: lifecycle.Account) -> None:
    again = lifecycle.link(admin, invited.id)
    assert invitations.look(invited.secret) is None
    assert invitations.look(again.secret) is not None
    assert row(invited.id).usable_at is not None


def test_what_a_stranger_guesses_is_told_at_a_bounded_rate(db: None) -> None:
    for number in range(20):
        assert invitations.look(f"guess {number}", "203.0.113.5") is None
    assert invitations.look("guess", "203.0.113.6") is None
    events = Event.objects.filter(code="110114", outcome=4).order_by("pk")
    assert [event.address for event in events] == ["203.0.113.5", "203.0.113.6"]
    assert events[1].detail["more"] == 19


def test_a_password_that_will_not_do_leaves_the_link_alone(invited: lifecycle.Account) -> None:
    with pytest.raises(Refused) as refused:
        invitations.accept(token=invited.secret, password="tendai")
    assert refused.value.field == "password"
    assert invitations.look(invited.secret) is not None


def test_what_is_said_beside_the_password_changes_nothing_for_the_invited(invited: lifecycle.Account) -> None:
    invitations.accept(token=invited.secret, password=PASSWORD, username="root", email="evil@example.org")
    assert (row(invited.id).username, row(invited.id).email) == ("tendai", "t@example.org")


def test_a_forgotten_password_is_replaced_and_nothing_else(admin: Who, invited: lifecycle.Account) -> None:
    invitations.accept(token=invited.secret, password=PASSWORD)
    reset = lifecycle.link(admin, invited.id)
    link = invitations.look(reset.secret)
    assert link is not None
    assert link.purpose == "reset"
    invitations.accept(token=reset.secret, password="thunder over the far hills")
    assert check_password("thunder over the far hills", row(invited.id).password)
    assert invitations.look(reset.secret) is None


def test_the_link_of_somebody_whose_account_ended_lets_nobody_in(admin: Who, invited: lifecycle.Account) -> None:
    invitations.accept(token=invited.secret, password=PASSWORD)
    reset = lifecycle.link(admin, invited.id)
    Person.objects.filter(pk=invited.id).update(ends_on=timezone.localdate() - timedelta(days=1))
    with pytest.raises(NotThere):
        invitations.accept(token=reset.secret, password=PASSWORD)


@pytest.mark.django_db(transaction=True)
def test_a36_of_two_clicks_at_the_same_moment_one_gets_through(invited: lifecycle.Account) -> None:
    begin, ends = threading.Barrier(2), []

    def click(password: str) -> None:
        begin.wait()
        try:
            invitations.accept(token=invited.secret, password=password)
            ends.append(password)
        except NotThere:
            ends.append("")
        finally:
            connection.close()

    threads = [threading.Thread(target=click, args=(text,)) for text in ("a first long sentence", "a second long one")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [text for text in ends if text]
    assert len(ends) == 2
    assert check_password(winner, row(invited.id).password)


def test_the_first_administrator_can_do_everything_and_give_roles(db: None) -> None:
    secret = invitations.setup_link()
    assert secret is not None
    link = invitations.look(secret)
    assert link is not None
    assert (link.purpose, link.username) == ("setup", "")
    number = invitations.accept(token=secret, email="a@example.org", **FIRST)
    who = authorise.of_person(number)
    assert who is not None
    assert authorise.facilities(who, "people.grant") is None
    assert (row(number).username, row(number).email, row(number).state) == ("alois", "a@example.org", "active")
    assert Event.objects.filter(action="C", detail__person="alois").exists()


def test_each_start_prints_a_link_and_only_the_last_one_works(db: None) -> None:
    first, second = invitations.setup_link(), invitations.setup_link()
    assert first is not None
    assert second is not None
    assert invitations.look(first) is None
    assert invitations.look(second) is not None


def test_a41_setting_up_is_done_once_for_ever(db: None) -> None:
    secret = invitations.setup_link()
    assert secret is not None
    number = invitations.accept(token=secret, **FIRST)
    assert invitations.setup_link() is None
    # Not even when nobody is left: whoever has the machine makes a link with `hozi user`.
    Person.objects.filter(pk=number).update(state="disabled", is_active=False)
    assert invitations.setup_link() is None
    Invitation.objects.all().delete()
    assert invitations.setup_link() is None


def test_a41_a_link_for_setting_up_dies_when_somebody_else_can_give_roles(db: None, somebody: Somebody) -> None:
    secret = invitations.setup_link()
    somebody("beauty", "pacs_admin")
    assert secret is not None
    assert invitations.look(secret) is None
    with pytest.raises(NotThere):
        invitations.accept(token=secret, **FIRST)


def test_somebody_without_power_does_not_stop_setting_up(somebody: Somebody) -> None:
    somebody("rudo", "radiologist")
    lifecycle.request(OPERATOR, full_name="Wants Power", role="pacs_admin")
    assert invitations.setup_link() is not None


def test_a41_the_first_administrator_has_no_blank_or_common_password(db: None) -> None:
    secret = invitations.setup_link()
    for password in ("", "admin", "password1234", "alois administrator"):
        with pytest.raises(Refused):
            invitations.accept(token=secret or "", **{**FIRST, "password": password})
    assert not Person.objects.exists()


def test_sessions_can_be_asked_for_before_there_is_a_console(invited: lifecycle.Account) -> None:
    assert sessions.listed(invited.id) == []
    assert sessions.end_all(invited.id) == 0
