"""Access reviews (R294): four times a year somebody says of everybody with access that it is right, or ends it.

A review is open for 14 days, and for some days of grace; whoever nobody attested by then is suspended. Nobody decides
about themselves. Whoever reviews one facility decides about those whose roles reach no farther than that facility.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from hozi.accounts import authorise, grants, names, oversight, states
from hozi.accounts.authorise import Who
from hozi.accounts.models import Grant, Person, Review, ReviewItem
from hozi.audit.record import Code, Entry, Type, record
from hozi.choices import answers
from hozi.core.errors import Changed, NotThere, Refused

log = structlog.get_logger(__name__)

DECIDE: Final = "reviews.decide"
OPEN_FOR: Final = timedelta(days=14)
LEAST_NOTE: Final = 5
_MOST_LISTED: Final = 500

Decision = ReviewItem.Decision
_HAVE_ACCESS: Final = (Person.State.ACTIVE, Person.State.INVITED)
_CLOCK: Final = Who("system", "hozi")


@dataclass(frozen=True, slots=True)
class Progress:
    """A review and how far it is: of ``total`` people so many wait, were attested, revoked, suspended."""

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


@dataclass(frozen=True, slots=True)
class Item:
    """One person in a review. ``access``: what they hold, in words; of one that is decided, what they held then.

    ``seen`` is a short mark of ``access``; whoever decides gives it back, so that nobody attests what they did not see.
    ``own``: it is about the person who asks, who may not decide it.
    """

    id: int
    review: int
    person: int
    username: str
    full_name: str
    is_program: bool
    last_seen_at: datetime | None
    access: tuple[str, ...]
    seen: str
    decision: str
    decided_at: datetime | None
    decided_by: str
    note: str
    due_at: datetime
    grace_until: datetime
    own: bool


def look(now: datetime | None = None) -> None:
    """What is regular about reviews: the one whose grace is over ends, and a new quarter's begins."""
    close_due(now)
    open_due(now)


# Opened --------------------------------------------------------------------------------------------


def open(who: Who, now: datetime | None = None) -> Progress:
    """Opens a review of everybody who has access. Raises Denied; Refused for one facility, or while one is open."""
    if authorise.facilities(who, DECIDE) is not None:
        raise Refused("A review is of everybody: whoever reviews all facilities must open it")
    return _open(who, now or timezone.now())


def open_due(now: datetime | None = None) -> Progress | None:
    """Opens this quarter's review when nobody has; None when there is none to open.

    Where there never was one, the first comes with the quarter after that in which the first account became active.
    """
    now = now or timezone.now()
    last = Review.objects.order_by("-opened_at").values_list("opened_at", flat=True).first()
    if last is None:
        active = Person.objects.exclude(activated_at=None).order_by("activated_at")
        last = active.values_list("activated_at", flat=True).first()
    if last is None or _quarter(last) >= _quarter(now):
        return None
    try:
        return _open(_CLOCK, now)
    except Refused:
        return None  # one is open still: its own end comes first


def _open(who: Who, now: datetime) -> Progress:
    with transaction.atomic():
        oversight.hold_still()
        if Review.objects.filter(closed_at=None, grace_until__gt=now).exists():
            raise Refused("A review is open already; decide there")
        row = Review.objects.create(
            opened_at=now,
            opened_by=who.actor[:128],
            due_at=now + OPEN_FOR,
            grace_until=now + OPEN_FOR + timedelta(days=answers.review_grace_days()),
        )
        people = list(Person.objects.filter(state__in=_HAVE_ACCESS).order_by("pk"))
        access = _access_of([person.pk for person in people])
        ReviewItem.objects.bulk_create(
            ReviewItem(review=row, person=person, access=list(access[person.pk])) for person in people
        )
        _tell(who, "C", review=row.pk, people=len(people), due=row.due_at.date().isoformat())
    return _progress(row.pk)


# Decided -------------------------------------------------------------------------------------------


def attest(who: Who, number: int, *, seen: str | None = None, note: str = "") -> Item:
    """Says that the person still needs what they hold.

    Raises Denied; NotThere; Refused about oneself; Changed when somebody else has decided, or when the
    person holds something else by now than the caller has ``seen``.
    """
    note = names.note(note, longest=500, field="note")
    with transaction.atomic():
        item = _to_decide(who, number)
        held = _checked(item, seen)
        _decide(item, Decision.ATTESTED, who, note, access=list(held))
        _tell(who, "U", item.person, review=item.review_id, decision="attested", access=list(held), note=note)
        return _item(item, who, held)


def revoke(who: Who, number: int, *, note: str, seen: str | None = None) -> Item:
    """Ends all roles of the person, at once; the account stays. ``note`` says why. Raises as `attest` does.

    Raises Refused, too, when nobody else could give roles then.
    """
    note = names.note(note, longest=500, field="note")
    if len(note) < LEAST_NOTE:
        raise Refused("Say why: the person will ask", field="note")
    with transaction.atomic():
        oversight.hold_still()
        item = _to_decide(who, number)
        held = _checked(item, seen)
        if item.person.is_active:
            oversight.check_not_last(item.person)
        now = timezone.now()
        for grant in item.person.grants.filter(ended_at=None).select_related("role", "facility", "department"):
            grant.ended_at, grant.ended_by = now, who.actor[:128]
            grant.save(update_fields=["ended_at", "ended_by"])
            states.tell(item.person, "U", who.actor, who.address, ended=grants.told(grant))
        _decide(item, Decision.REVOKED, who, note, access=list(held))
        _tell(who, "U", item.person, review=item.review_id, decision="revoked", access=list(held), note=note)
        return _item(item, who, held)


# Ended ---------------------------------------------------------------------------------------------


def close_due(now: datetime | None = None) -> int:
    """Suspends whom nobody attested by the end of the grace, and closes the review; returns how many were suspended.

    The last one who can give roles stays, and so does the review: it shows who is left to decide about. Each person is
    a transaction of its own; done twice, nothing happens the second time.
    """
    now = now or timezone.now()
    suspended = 0
    for review in Review.objects.filter(closed_at=None, grace_until__lte=now).order_by("pk"):
        for number in list(review.items.filter(decision=Decision.OPEN).order_by("pk").values_list("pk", flat=True)):
            suspended += _suspend(number, review)
        left = review.items.filter(decision=Decision.OPEN)
        with transaction.atomic():
            if not left.exists() and Review.objects.filter(pk=review.pk, closed_at=None).update(closed_at=now):
                _tell(_CLOCK, "U", None, review=review.pk, closed=True, figures=_figures(review.pk))
    return suspended


def _suspend(number: int, review: Review) -> bool:
    with transaction.atomic():
        oversight.hold_still()
        item = ReviewItem.objects.select_for_update(of=("self",)).select_related("person").get(pk=number)
        person = Person.objects.select_for_update().get(pk=item.person_id)
        if item.decision != Decision.OPEN:
            return False
        has_access = person.state in _HAVE_ACCESS
        if has_access:
            try:
                if person.is_active:
                    oversight.check_not_last(person)
            except Refused:
                log.warning("nobody attested the last one who can give roles: kept", person=person.username)
                return False
            day = timezone.localdate(review.opened_at)
            reason = f"nobody attested this access in the review of {day:%d %b %Y}"
            states.move(person, Person.State.SUSPENDED, actor=_CLOCK.actor, reason=reason)
        note = "" if has_access else f"the account {states.WORDS[person.state]} already"
        _decide(item, Decision.SUSPENDED, _CLOCK, note)
        return has_access


# Looked at -----------------------------------------------------------------------------------------


def listed(who: Who, *, before: int | None = None, limit: int = 40) -> list[Progress]:
    """The reviews, the newest first, with the figures of all facilities. Raises Denied."""
    authorise.check(who, DECIDE)
    rows = Review.objects.order_by("-pk") if before is None else Review.objects.filter(pk__lt=before).order_by("-pk")
    return [_progress(number) for number in rows.values_list("pk", flat=True)[: max(1, min(limit, _MOST_LISTED))]]


def of(who: Who, number: int) -> Progress:
    """One review. Raises Denied; NotThere."""
    authorise.check(who, DECIDE)
    if not Review.objects.filter(pk=number).exists():
        raise NotThere("There is no such review")
    return _progress(number)


def to_decide(who: Who, *, after: int = 0, limit: int = _MOST_LISTED) -> list[Item]:
    """What waits for whoever asks, the oldest first; not what is about themselves. Raises Denied."""
    return _items(who, _waiting_for(who), after, limit)


def items(
    who: Who, number: int, *, decision: str = "", after: int = 0, limit: int = _MOST_LISTED
) -> list[Item]:  # fmt: skip
    """The people of a review, as far as who asks decides about them; ``decision``: only these. Raises Denied."""
    rows = _in_reach(who).filter(review=number)
    return _items(who, rows.filter(decision=decision) if decision else rows, after, limit)


def one(who: Who, number: int) -> Item:
    """One person in a review. Raises Denied; NotThere."""
    found = _items(who, _in_reach(who).filter(pk=number), 0, 1)
    if not found:
        raise NotThere("There is nothing of that number to decide here")
    return found[0]


def waiting(who: Who) -> tuple[int, datetime | None]:
    """How many wait for whoever asks, and by when the first of them is due. Raises Denied."""
    rows = _waiting_for(who)
    return rows.count(), rows.order_by("review__due_at").values_list("review__due_at", flat=True).first()


def _in_reach(who: Who) -> QuerySet[ReviewItem]:
    """People of whom the whole access lies within the facilities that the permission reaches."""
    codes = authorise.facilities(who, DECIDE)
    rows = ReviewItem.objects.select_related("person", "review")
    if codes is None:
        return rows
    beyond = Grant.objects.filter(ended_at=None).exclude(facility__code__in=codes).values("person")
    within = Q(person__grants__facility__code__in=codes) | Q(person__facility__code__in=codes)
    return rows.filter(pk__in=ReviewItem.objects.filter(within).values("pk")).exclude(person__in=beyond)


def _waiting_for(who: Who) -> QuerySet[ReviewItem]:
    return _in_reach(who).filter(decision=Decision.OPEN, review__closed_at=None).exclude(person=who.person or 0)


def _items(who: Who, rows: QuerySet[ReviewItem], after: int, limit: int) -> list[Item]:
    found = list(rows.filter(pk__gt=after).order_by("pk")[: max(1, min(limit, _MOST_LISTED))])
    held = _access_of([row.person_id for row in found if row.decision == Decision.OPEN])
    return [_item(row, who, held.get(row.person_id, ())) for row in found]


def _item(row: ReviewItem, who: Who, held: Sequence[str]) -> Item:
    access = tuple(held) if row.decision == Decision.OPEN else tuple(row.access)
    return Item(
        id=row.pk,
        review=row.review_id,
        person=row.person_id,
        username=row.person.username,
        full_name=row.person.full_name,
        is_program=row.person.is_program,
        last_seen_at=row.person.last_seen_at,
        access=access,
        seen=_mark(access),
        decision=row.decision,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        note=row.note,
        due_at=row.review.due_at,
        grace_until=row.review.grace_until,
        own=row.person_id == who.person,
    )


# In words ------------------------------------------------------------------------------------------


def _access_of(people: Collection[int]) -> dict[int, tuple[str, ...]]:
    """What each of these people holds now, a line for each role and one for tokens that work."""
    now = timezone.now()
    lines: dict[int, list[str]] = {person: [] for person in people}
    rows = Grant.objects.filter(person__in=people, ended_at=None).select_related("role", "facility", "department")
    for grant in rows.order_by("role__name", "facility__code", "pk"):
        lines[grant.person_id].append(_in_words(grant))
    working = Q(tokens__ended_at=None, tokens__expires_at__gt=now)
    counted = Person.objects.filter(pk__in=people).annotate(working=Count("tokens", filter=working))
    for person, count in counted.filter(working__gt=0).values_list("pk", "working"):
        lines[person].append("1 token" if count == 1 else f"{count} tokens")
    return {person: tuple(said) for person, said in lines.items()}


def _in_words(grant: Grant) -> str:
    given = grants.of(grant)
    where = f"at {given.facility}" if given.facility else "at all facilities"
    limits = [
        *([f"department {given.department}"] if given.department else []),
        *([f"{given.modality} only"] if given.modality else []),
        *(["own referrals only"] if given.own_referrals else []),
        *(["de-identified only"] if given.deidentified else []),
    ]
    return ", ".join([f"{given.role_name} {where}", *limits])


def _mark(access: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(access)).encode()).hexdigest()[:16]


# Rows ----------------------------------------------------------------------------------------------


def _to_decide(who: Who, number: int) -> ReviewItem:
    item = _in_reach(who).filter(pk=number).first()
    if item is None:
        raise NotThere("There is nothing of that number to decide here")
    if item.person_id == who.person:
        raise Refused("Nobody decides about their own access; somebody else who reviews must do it")
    if item.decision != Decision.OPEN or item.review.closed_at is not None:
        raise Changed(f"About {item.person.username} somebody has decided already; look again")
    # What the person holds must stay as it is until the decision is written down.
    item.person = Person.objects.select_for_update().get(pk=item.person_id)
    return item


def _checked(item: ReviewItem, seen: str | None) -> tuple[str, ...]:
    held = _access_of([item.person_id])[item.person_id]
    if seen is not None and seen != _mark(held):
        raise Changed(f"What {item.person.username} may do has changed since you looked; look again, then decide")
    return held


def _decide(item: ReviewItem, decision: str, who: Who, note: str, **more: Any) -> None:
    said = {"decision": decision, "decided_at": timezone.now(), "decided_by": who.actor[:128], "note": note, **more}
    if not ReviewItem.objects.filter(pk=item.pk, decision=Decision.OPEN).update(**said):
        raise Changed(f"About {item.person.username} somebody has decided already; look again")
    for name, value in said.items():
        setattr(item, name, value)


def _figures(review: int) -> dict[str, int]:
    counted = ReviewItem.objects.filter(review=review).values_list("decision").annotate(count=Count("pk"))
    figures = dict(counted.order_by())
    return {
        "total": sum(figures.values()),
        "waiting": figures.get(Decision.OPEN, 0),
        "attested": figures.get(Decision.ATTESTED, 0),
        "revoked": figures.get(Decision.REVOKED, 0),
        "suspended": figures.get(Decision.SUSPENDED, 0),
    }


def _progress(number: int) -> Progress:
    row = Review.objects.get(pk=number)
    return Progress(
        row.pk, row.opened_at, row.opened_by, row.due_at, row.grace_until, row.closed_at, **_figures(number)
    )


def _quarter(moment: datetime) -> tuple[int, int]:
    day = timezone.localdate(moment)
    return day.year, (day.month - 1) // 3


def _tell(who: Who, action: str, person: Person | None = None, **detail: Any) -> None:
    """PS3.15 A.5.3.11, Security Alert; 110136, Security Roles Changed: who may do what was looked at."""
    told = {"type": Type.SECURITY_ROLES_CHANGED.value, **({"person": person.username} if person else {}), **detail}
    record(Entry(Code.SECURITY_ALERT, action, who.actor, address=who.address, detail=told))
