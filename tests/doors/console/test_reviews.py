"""Access reviews in the browser: what somebody holds is seen, attested or taken away, and nobody decides blindly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from hozi.accounts import authorise, grants, reviews
from hozi.accounts.models import Person, ReviewItem
from tests.people import ACCOUNTS, settle

pytestmark = pytest.mark.django_db

SignedIn = Callable[..., Client]
OPERATOR = authorise.of_operator("root")


@pytest.fixture
def rumbi(db: None) -> int:
    return settle(ACCOUNTS["radiographer"], facility="GRANARY")


def text(answer: object) -> str:
    return answer.content.decode()  # type: ignore[attr-defined]


def test_before_the_first_review_the_page_says_what_will_be(signed_in: SignedIn) -> None:
    page = text(signed_in("dpo").get("/people/reviews/"))
    assert "No review yet" in page
    assert "Open a review now" in page


def test_a_review_is_opened_and_home_says_who_waits(signed_in: SignedIn, rumbi: int) -> None:
    dpo = signed_in("dpo")
    assert dpo.post("/people/reviews/").status_code == 303
    page = text(dpo.get("/people/reviews/"))
    assert "1 person waits for you" in page
    assert "Radiographer at GRANARY" in page
    assert "Dadirai" not in page.split("<main")[1].split("Reviews</h2>")[0], "about oneself somebody else decides"
    assert "1 person waits for you in the access review" in text(dpo.get("/"))
    assert "open already" in text(dpo.post("/people/reviews/", follow=True))


def test_one_click_attests(signed_in: SignedIn, rumbi: int) -> None:
    dpo = signed_in("dpo")
    reviews.open(OPERATOR)
    item = ReviewItem.objects.get(person=rumbi)
    seen = reviews.one(OPERATOR, item.pk).seen
    page = text(dpo.post(f"/people/reviews/items/{item.pk}/attest/", {"seen": seen}, follow=True))
    assert "Rumbi Radiographer is attested." in page
    again = text(dpo.post(f"/people/reviews/items/{item.pk}/attest/", {"seen": seen}, follow=True))
    assert "somebody has decided already" in again
    history = text(dpo.get(f"/people/reviews/{item.review_id}/?decision=attested"))
    assert "Attested" in history and "dprotector" in history


def test_what_changed_since_the_page_was_shown_is_not_attested(signed_in: SignedIn, rumbi: int) -> None:
    dpo = signed_in("dpo")
    reviews.open(OPERATOR)
    item = ReviewItem.objects.get(person=rumbi)
    seen = reviews.one(OPERATOR, item.pk).seen
    grants.grant(OPERATOR, rumbi, "manager")
    page = text(dpo.post(f"/people/reviews/items/{item.pk}/attest/", {"seen": seen}, follow=True))
    assert "has changed since you looked" in page
    assert "Manager at all facilities" in page
    assert ReviewItem.objects.get(pk=item.pk).decision == "open"


def test_taking_away_shows_what_goes_and_asks_why(signed_in: SignedIn, rumbi: int) -> None:
    dpo = signed_in("dpo")
    reviews.open(OPERATOR)
    item = ReviewItem.objects.get(person=rumbi)
    way = f"/people/reviews/items/{item.pk}/revoke/"
    page = text(dpo.get(way))
    assert "Radiographer at GRANARY" in page
    seen = reviews.one(OPERATOR, item.pk).seen
    refused = text(dpo.post(way, {"seen": seen, "note": "no"}))
    assert "Say why" in refused and ">no</textarea>" in refused.replace("\n", "")
    grants.grant(OPERATOR, rumbi, "manager")
    changed = text(dpo.post(way, {"seen": seen, "note": "moved away"}))
    assert "has changed since you looked" in changed and "Manager at all facilities" in changed
    assert "moved away</textarea>" in changed
    newer = reviews.one(OPERATOR, item.pk).seen
    assert newer in changed
    done = text(dpo.post(way, {"seen": newer, "note": "moved away"}, follow=True))
    assert "holds no role any more" in done
    assert not Person.objects.get(pk=rumbi).grants.filter(ended_at=None).exists()


def test_nobody_else_decides(signed_in: SignedIn, rumbi: int) -> None:
    reviews.open(OPERATOR)
    item = ReviewItem.objects.get(person=rumbi)
    elsewhere, radiographer = signed_in("dpo", facility="ELSEWHERE"), signed_in("radiographer", facility="GRANARY")
    assert radiographer.get("/people/reviews/").status_code == 403
    assert radiographer.post(f"/people/reviews/items/{item.pk}/attest/").status_code == 403
    assert "Rumbi" not in text(elsewhere.get("/people/reviews/"))
    assert "Open a review now" not in text(elsewhere.get("/people/reviews/"))
    for answer in (
        elsewhere.get(f"/people/reviews/items/{item.pk}/revoke/"),
        elsewhere.post(f"/people/reviews/items/{item.pk}/attest/", {"seen": "x"}),
    ):
        assert answer.status_code == 404
    assert ReviewItem.objects.get(pk=item.pk).decision == "open"
