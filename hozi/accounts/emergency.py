"""Emergency access: a patient opened by somebody who may not otherwise, with a reason, for an hour, and reviewed.

It reaches one patient, at one hospital, and gives nothing that the person may not do with other patients
(`authorise.of_person`). Whether the archive knows the patient is not asked here: opening looks the same either way.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from hozi.accounts import authorise
from hozi.accounts.authorise import Denied, Who
from hozi.accounts.models import EmergencyAccess, Grant, Person
from hozi.audit.record import Code, Entry, Outcome, Type, record
from hozi.choices import answers
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import places

MOST_A_DAY: Final = 10
"""So many patients one person may open within 24 hours."""

LEAST_REASON: Final = 10
LONGEST_TEXT: Final = 500
_MOST_LISTED: Final = 500
_DAY: Final = timedelta(hours=24)

Verdict = EmergencyAccess.Verdict


@dataclass(frozen=True, slots=True)
class Opened:
    """One emergency access. Holds patient data: the number and its issuer, and the reason in words.

    It lasts until ``until``, or until ``ended_at``; ``verdict`` is open, justified or not-justified.
    """

    id: int
    person: int
    username: str
    full_name: str
    issuer: str
    patient_id: str
    reason: str
    address: str
    opened_at: datetime
    until: datetime
    ended_at: datetime | None
    verdict: str
    reviewed_at: datetime | None
    reviewed_by: str
    review_note: str

    def lasts(self, now: datetime | None = None) -> bool:
        """Whether the patient is open by it at this moment."""
        return self.ended_at is None and self.until > (now or timezone.now())


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the people who review must know of: how many last at this moment, and how many nobody has reviewed."""

    lasting: int
    to_review: int


class TooMany(Refused):
    """The person has opened so many patients in an emergency today that somebody should ask why."""


# Used ----------------------------------------------------------------------------------------------


def open(who: Who, *, issuer: str, patient_id: str, reason: str) -> Opened:
    """Opens the patient to the person who asks for as long as was chosen, and tells the audit why.

    Only a signed-in person has emergencies: a token does not. Raises Denied; Refused when something is malformed or
    this patient is open to them already; TooMany after `MOST_A_DAY` patients within 24 hours.
    """
    person = _person(who)
    issuer, patient_id = _number(issuer, "issuer", 64), _number(patient_id, "patient_id", 256)
    reason = _words(reason, "reason", least=LEAST_REASON)
    try:
        with transaction.atomic():
            # The lock makes one after the other of what one person opens, so that the limit holds.
            row = Person.objects.select_for_update().get(pk=person)
            now = timezone.now()
            _check_not_too_many(row, issuer, patient_id, now)
            until = now + answers.emergency_length()
            opened = EmergencyAccess.objects.create(
                person=row,
                issuer=issuer,
                patient_id=patient_id,
                reason=reason,
                address=who.address[:64],
                opened_at=now,
                until=until,
            )
            said: dict[str, Any] = {"reason": reason, "until": until.isoformat(timespec="seconds")}
            _tell(opened, "E", who, Type.EMERGENCY_OVERRIDE_STARTED, emergency=opened.pk, **said)
            return _opened(opened)
    except TooMany:
        refused = EmergencyAccess(issuer=issuer, patient_id=patient_id)
        _tell(refused, "E", who, Type.EMERGENCY_OVERRIDE_STARTED, outcome=Outcome.MINOR_FAILURE, refused="too many")
        raise


def end(who: Who, number: int) -> Opened:
    """Ends it before its time: whoever opened it, or whoever reviews it. Raises NotThere; Changed when it has ended."""
    with transaction.atomic():
        row = EmergencyAccess.objects.filter(_mine_or_reviewed(who), pk=number).select_related("person").first()
        if row is None:
            raise NotThere("There is no such emergency access")
        now = timezone.now()
        if not EmergencyAccess.objects.filter(pk=row.pk, ended_at=None, until__gt=now).update(ended_at=now):
            raise Changed("This emergency access has ended already")
        row.ended_at = now
        _tell(row, "E", who, Type.EMERGENCY_OVERRIDE_STOPPED, emergency=row.pk)
        return _opened(row)


def mine(who: Who) -> list[Opened]:
    """What is open to the person who asks at this moment, what ends first first."""
    if who.kind != "person" or who.person is None:
        return []
    lasting = _lasting(timezone.now()).filter(person=who.person).select_related("person")
    return [_opened(row) for row in lasting.order_by("until", "pk")]


def expire(now: datetime | None = None) -> int:
    """Writes down the end of what has run out, for the audit; returns of how many. Nothing depends on it to end."""
    ended = 0
    for row in EmergencyAccess.objects.filter(ended_at=None, until__lte=now or timezone.now()).order_by("pk")[:500]:
        with transaction.atomic():
            if EmergencyAccess.objects.filter(pk=row.pk, ended_at=None).update(ended_at=row.until):
                ended += 1
                _tell(row, "E", _CLOCK, Type.EMERGENCY_OVERRIDE_STOPPED, emergency=row.pk, at_its_time=True)
    return ended


# Reviewed ------------------------------------------------------------------------------------------


def waiting(who: Who) -> Waiting:
    """How many last and how many wait for a review, of those that who asks reviews; no patient data, not audited."""
    rows = EmergencyAccess.objects.filter(_reviewed_by(who))
    return Waiting(
        rows.filter(ended_at=None, until__gt=timezone.now()).count(), rows.filter(verdict=Verdict.OPEN).count()
    )


def to_review(who: Who) -> list[Opened]:
    """What nobody has reviewed yet, the oldest first, at most 500. Raises Denied. Reading it is audited."""
    return _read(who, EmergencyAccess.objects.filter(verdict=Verdict.OPEN).order_by("pk"))


def log(who: Who, *, before: int | None = None, limit: int = 100) -> list[Opened]:
    """All of them, the newest first; ``before``: those opened before that one. Raises Denied. Reading it is audited."""
    rows = EmergencyAccess.objects.order_by("-pk")
    rows = rows if before is None else rows.filter(pk__lt=before)
    return _read(who, rows, max(1, min(limit, _MOST_LISTED)))


def one(who: Who, number: int) -> Opened:
    """One of them, for whoever reviews it. Raises Denied; NotThere. Reading it is audited."""
    found = _read(who, EmergencyAccess.objects.filter(pk=number))
    if not found:
        raise NotThere("There is no such emergency access")
    return found[0]


def review(who: Who, number: int, verdict: str, note: str = "") -> Opened:
    """Says whether it was justified; one that was not ends at once, and ``note`` says why not.

    Raises Denied; NotThere; Refused about one's own, or without a note; Changed when somebody else was faster.
    """
    if verdict not in (Verdict.JUSTIFIED, Verdict.NOT_JUSTIFIED):
        raise Refused("Say whether it was justified or not", field="verdict")
    bad = verdict == Verdict.NOT_JUSTIFIED
    note = _words(note, "note", least=LEAST_REASON if bad else 0)
    with transaction.atomic():
        row = EmergencyAccess.objects.filter(_reviewed_by(who), pk=number).select_related("person").first()
        if row is None:
            raise NotThere("There is no such emergency access")
        if row.person_id == who.person:
            raise Refused("Nobody reviews what they opened themselves; ask somebody else who reviews")
        now = timezone.now()
        said = {"verdict": verdict, "reviewed_at": now, "reviewed_by": who.actor[:128], "review_note": note}
        if not EmergencyAccess.objects.filter(pk=row.pk, verdict=Verdict.OPEN).update(**said):
            raise Changed("Somebody else has reviewed this already")
        if bad and _lasting(now).filter(pk=row.pk).update(ended_at=now):
            _tell(row, "E", who, Type.EMERGENCY_OVERRIDE_STOPPED, emergency=row.pk)
        _tell(row, "U", who, Type.RESTRICTED_FUNCTION, emergency=row.pk, verdict=verdict, note=note)
        row.refresh_from_db()
        return _opened(row)


# Who and what --------------------------------------------------------------------------------------

_CLOCK: Final = Who("system", "hozi")


def _person(who: Who) -> int:
    authorise.check(who, "emergency.use")
    if who.kind != "person" or who.person is None:
        raise Denied(f"{who.actor} may not: emergency access is for people who are signed in")
    return who.person


def _check_not_too_many(person: Person, issuer: str, patient_id: str, now: datetime) -> None:
    if _lasting(now).filter(person=person, issuer=issuer, patient_id=patient_id).exists():
        raise Refused("This patient is open to you already; look at your emergency access")
    if EmergencyAccess.objects.filter(person=person, opened_at__gt=now - _DAY).count() >= MOST_A_DAY:
        raise TooMany(
            f"You have opened {MOST_A_DAY} patients in an emergency within 24 hours, which is the most."
            " Ask whoever looks after access here"
        )


def _lasting(now: datetime) -> QuerySet[EmergencyAccess]:
    return EmergencyAccess.objects.filter(ended_at=None, until__gt=now)


def _mine_or_reviewed(who: Who) -> Q:
    mine = Q(person=who.person) if who.kind == "person" and who.person is not None else Q(pk__in=())
    if not authorise.may(who, "emergency.review"):
        return mine
    # "Or everything" must not read as "or nothing": Django leaves an empty Q out.
    reviewed = _reviewed_by(who)
    return mine | reviewed if reviewed else reviewed


def _reviewed_by(who: Who) -> Q:
    """What who asks may review: of patients, and of people, of the facilities that the permission reaches."""
    codes = authorise.facilities(who, "emergency.review")
    if codes is None:
        return Q()
    works_here = Grant.objects.filter(ended_at=None, facility__code__in=codes).values("person")
    return Q(issuer__in=_issuers(codes)) | Q(person__in=works_here)


def _issuers(codes: Collection[str]) -> list[str]:
    return [place.issuer for place in places.listed(codes)]


def _read(who: Who, rows: QuerySet[EmergencyAccess], limit: int = _MOST_LISTED) -> list[Opened]:
    found = [_opened(row) for row in rows.filter(_reviewed_by(who)).select_related("person")[:limit]]
    told = {"read": "emergency access", "count": len(found)}
    record(Entry(Code.AUDIT_LOG_USED, "R", who.actor, address=who.address, detail=told))
    return found


def _opened(row: EmergencyAccess) -> Opened:
    return Opened(
        id=row.pk,
        person=row.person_id,
        username=row.person.username,
        full_name=row.person.full_name,
        issuer=row.issuer,
        patient_id=row.patient_id,
        reason=row.reason,
        address=row.address,
        opened_at=row.opened_at,
        until=row.until,
        ended_at=row.ended_at,
        verdict=row.verdict,
        reviewed_at=row.reviewed_at,
        reviewed_by=row.reviewed_by,
        review_note=row.review_note,
    )


def _number(text: str, field: str, most: int) -> str:
    number = text.strip()
    if not 1 <= len(number) <= most or not number.isprintable() or "\\" in number:
        raise Refused(
            "Choose the hospital that gave the number"
            if field == "issuer"
            else f"A patient number has 1 to {most} printable characters and no backslash",
            field=field,
        )
    return number


def _words(text: str, field: str, *, least: int) -> str:
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if not least <= len(words) <= LONGEST_TEXT:
        raise Refused(f"Say why, in {least} to {LONGEST_TEXT} characters", field=field)
    return words


def _tell(
    row: EmergencyAccess, action: str, who: Who, kind: Type, *, outcome: Outcome = Outcome.SUCCESS, **detail: Any
) -> None:
    """PS3.15 A.5.3.11, Security Alert, with the patient; it belongs to the facility that numbers the patient."""
    at = [place.code for place in places.listed() if place.issuer == row.issuer]
    record(
        Entry(
            Code.SECURITY_ALERT,
            action,
            who.actor,
            outcome,
            address=who.address,
            issuer=row.issuer,
            patient_id=row.patient_id,
            facility=at[0] if at else "",
            detail={"type": kind.value, **detail},
        )
    )
