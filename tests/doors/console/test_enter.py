"""One-time links: the first administrator, and people who were invited."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.test import Client

from hozi.accounts import invitations
from tests.people import PASSWORD

FIRST = {"full_name": "Alois Administrator", "username": "alois", "email": "", "password": PASSWORD, "again": PASSWORD}


def _link() -> str:
    secret = invitations.setup_link()
    assert secret is not None
    return invitations.path(secret)


def test_the_first_administrator_comes_in_by_the_link_and_is_led_to_a_second_factor(anybody: Client) -> None:
    link = _link()
    assert b"first administrator" in anybody.get(link).content
    answer = anybody.post(link, FIRST)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert anybody.get("/")["Location"] == "/settle/"
    person = get_user_model()._default_manager.get(username="alois")
    assert person.is_active
    assert anybody.get(link).status_code == 404, "it works once"


def test_a_link_for_a_new_password_does_not_spare_anybody_the_second_factor(anybody: Client) -> None:
    from hozi.accounts.models import Person
    from tests.people import ACCOUNTS, settle

    person = Person.objects.get(pk=settle(ACCOUNTS["pacs_admin"]))
    link = invitations.path(invitations.mint(person, "reset", "test"))
    answer = anybody.post(link, {"password": "another granary by the river", "again": "another granary by the river"})
    assert answer["Location"].startswith("/account/factors/authenticate/")
    assert anybody.get("/").status_code == 302


def test_no_second_link_is_given_once_there_is_an_administrator(anybody: Client) -> None:
    anybody.post(_link(), FIRST)
    assert invitations.setup_link() is None


def test_a_weak_password_is_refused_beside_its_field_and_nothing_typed_is_lost(anybody: Client) -> None:
    answer = anybody.post(_link(), {**FIRST, "password": "short", "again": "short"})
    assert answer.status_code == 200
    assert b"id_password_wrong" in answer.content
    assert b"Alois Administrator" in answer.content
    assert not get_user_model()._default_manager.filter(username="alois").exists()


def test_two_passwords_that_differ_are_refused(anybody: Client) -> None:
    answer = anybody.post(_link(), {**FIRST, "again": "something else entirely"})
    assert b"not the same" in answer.content


def test_a_wrong_link_says_nothing_but_that_it_does_not_work(anybody: Client) -> None:
    answer = anybody.get("/enter/" + "x" * 43 + "/")
    assert answer.status_code == 404
    assert b"This link does not work" in answer.content


def test_who_has_just_come_in_sets_up_a_code_app_without_the_password_again(anybody: Client) -> None:
    anybody.post(_link(), FIRST)
    assert anybody.get("/account/factors/totp/activate/").status_code == 200
