"""Access reviews: who still needs what they hold."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from ninja import Query, Schema, Status

from hozi.accounts import reviews
from hozi.doors.api.gate import Area, Request
from hozi.doors.api.schemas import Chars, In, Number, Page, Paging, number_after, of_rows

area = Area("reviews")

Decision = Literal["open", "attested", "revoked", "suspended"]


class Review(Schema):
    """A review and how far it is."""

    id: int
    opened_at: datetime
    opened_by: str
    due_at: datetime
    grace_until: datetime
    closed_at: datetime | None
    total: int
    waiting: int
    attested: int
    revoked: int
    suspended: int


class Item(Schema):
    """One person in a review; ``seen`` goes back with the decision. ``own``: about yourself, for somebody else."""

    id: int
    review: int
    person: int
    username: str
    full_name: str
    is_program: bool
    last_seen_at: datetime | None
    access: list[str]
    seen: str
    decision: Decision
    decided_at: datetime | None
    decided_by: str
    note: str
    due_at: datetime
    grace_until: datetime
    own: bool


class Attest(In):
    """They still need what they hold; ``seen`` is that of the item that was looked at."""

    seen: Annotated[str, Chars(16, 16)]
    note: Annotated[str, Chars(500)] = ""


class Revoke(In):
    """They do not need it any more, and why."""

    seen: Annotated[str, Chars(16, 16)]
    note: Annotated[str, Chars(500, reviews.LEAST_NOTE)]


class Decided(Paging):
    """Which of the people of a review."""

    decision: Literal["", "open", "attested", "revoked", "suspended"] = ""


@area.get("/reviews", Page[Review], reviews.DECIDE)
def list_reviews(request: Request, paging: Query[Paging]) -> object:
    """The reviews, the newest first."""
    before = number_after(paging.after) or None
    rows = reviews.listed(request.auth, before=before, limit=paging.limit + 1)
    return of_rows(rows, paging, lambda row: str(row.id))


@area.post("/reviews", Review, reviews.DECIDE, status=201)
def open_review(request: Request) -> object:
    """Opens a review of everybody who has access."""
    return Status(201, reviews.open(request.auth))


@area.get("/reviews/waiting", Page[Item], reviews.DECIDE)
def list_waiting(request: Request, paging: Query[Paging]) -> object:
    """What waits for you to decide."""
    rows = reviews.to_decide(request.auth, after=number_after(paging.after), limit=paging.limit + 1)
    return of_rows(rows, paging, lambda row: str(row.id))


@area.get("/reviews/{number}/items", Page[Item], reviews.DECIDE)
def list_review_items(request: Request, number: Number, paging: Query[Decided]) -> object:
    """The people of a review, as far as you decide about them."""
    reviews.of(request.auth, number)
    rows = reviews.items(
        request.auth, number, decision=paging.decision, after=number_after(paging.after), limit=paging.limit + 1
    )
    return of_rows(rows, paging, lambda row: str(row.id))


@area.post("/reviews/items/{number}/attest", Item, reviews.DECIDE)
def attest_item(request: Request, number: Number, data: Attest) -> object:
    """Says that the person still needs what they hold."""
    return reviews.attest(request.auth, number, **data.model_dump())


@area.post("/reviews/items/{number}/revoke", Item, reviews.DECIDE)
def revoke_item(request: Request, number: Number, data: Revoke) -> object:
    """Ends all roles of the person, at once."""
    return reviews.revoke(request.auth, number, **data.model_dump())
