"""What lies in the store and not in the index is taken in again: after a database was lost, or came from an old copy.

Every stored file carries in its header who sent it (`arrived.header_for`), and in its name the hash of its dataset:
that is enough to put it where it was. Nothing is moved, changed or removed. Each step stands by itself, so it may be
cut off at any moment and begun again, and the archive may run meanwhile.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from django.db import OperationalError, connection, transaction

from hozi.archive.arrived import (
    Whole,
    candidate_for,
    case_for,
    contradiction,
    entry_for,
    facts_of,
    nameless,
    recovered,
)
from hozi.archive.exceptions import Reason, raise_case
from hozi.archive.facts import Facts
from hozi.archive.index import Candidate, Finding, add_together
from hozi.archive.models import ExceptionCase, StoredObject
from hozi.archive.place import volume
from hozi.audit.record import Code, Entry, Outcome, record
from hozi.core.errors import Unavailable, Unreadable

FATES: Final = ("adopted", "known", "damaged", "not ours")

#: The names that the archive gives: the hash of the dataset, in folders that are called by its first digits (one in
#: the other in its first version).
_STORED: Final = re.compile(r"(?P<folder>[0-9a-f]{2}(/[0-9a-f]{2})?)/(?P<sha256>[0-9a-f]{64})\.dcm")
_QUARANTINED: Final = re.compile(r"quarantine/(?P<folder>[0-9a-f]{2})/(?P<sha256>[0-9a-f]{64})-[0-9a-f]{12}\.dcm")

_PAGE: Final = 500
#: So many share a commit; few enough that a device that stores meanwhile does not wait long.
_TOGETHER: Final = 32
_TRIES: Final = 5

_LOST_REASON: Final = "it lay in quarantine; nothing that the archive knows now says why"
_CUT_OFF: Final = "the transfer was cut off; the sender may have the object still"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Seen:
    """One file that needs a person: its fate, and why. ``object`` is its SOP Instance UID, where that is known."""

    key: str
    fate: str
    reason: str
    object: str = ""


@dataclass
class Adoption:
    """What became of every file that was found: the four fates add up to ``found``.

    ``exceptions``: how many of the adopted ones are exceptions, as they were before or because the archive knows
    something else by now.
    """

    counts: Counter[str] = field(default_factory=Counter)
    exceptions: int = 0
    problems: list[Seen] = field(default_factory=list)

    @property
    def found(self) -> int:
        """How many files lie in the store."""
        return sum(self.counts.values())

    @property
    def clean(self) -> bool:
        """Whether nothing needs a person."""
        return not self.problems

    def add(self, fate: str, problem: Seen | None = None) -> None:
        """Counts one file."""
        self.counts[fate] += 1
        if problem is not None:
            self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one sound file: ``reason`` when it is an exception, ``twin`` when another file holds the same."""

    reason: Reason | None = None
    explanation: str = ""
    twin: str = ""


@dataclass(frozen=True, slots=True)
class _Sound:
    """A file of ours that is what its name says. ``complaint``: why it can be nothing but an exception."""

    key: str
    quarantined: bool
    whole: Whole
    facts: Facts | None
    complaint: tuple[Reason, str] | None


class _Undo(Exception):
    """Takes back what the index did with one file."""


def adopt(*, actor: str, progress: Callable[[int], None] = lambda found: None) -> Adoption:
    """Takes in every file of the store that the index does not know; ``actor`` gives the order.

    ``progress`` hears how many files were looked at. Objects of the archive come first, in the order in which they
    had arrived as far as the files' times tell it; then quarantine, each file with the reason that is found again.
    """
    adoption = Adoption()
    for batch in _batches(_unknown(adoption, progress), _TOGETHER):
        sound: list[_Sound] = []
        for key in batch:
            try:
                sound.append(_looked_at(key))
            except (Unreadable, Unavailable) as error:
                adoption.add("damaged", Seen(key, "damaged", str(error)))
            except OSError as error:
                reason = f"cannot be read: {error.strerror or 'input error'}"
                adoption.add("damaged", Seen(key, "damaged", reason))
        for one, outcome in zip(sound, _retrying(lambda some: _take_in(some, actor), sound), strict=True):
            _count(adoption, one, outcome)
        progress(adoption.found)
    adoption.problems.sort(key=lambda seen: seen.key)
    return adoption


def _count(adoption: Adoption, one: _Sound, outcome: _Outcome) -> None:
    uid = one.whole.announced.sop_instance
    if outcome.twin == one.key:  # somebody else has taken it in meanwhile
        adoption.add("known")
    elif outcome.twin:
        reason = f"holds the same as {outcome.twin}, which the index knows"
        adoption.add("known", Seen(one.key, "known", reason, uid))
    elif outcome.reason is not None:
        adoption.exceptions += 1
        reason = f"{outcome.reason.value}: {outcome.explanation}"
        adoption.add("adopted", Seen(one.key, "exception", reason, uid))
    else:
        adoption.add("adopted")


def _unknown(adoption: Adoption, progress: Callable[[int], None]) -> list[str]:
    """The files that the index does not know and whose names are ours, in order; the others are counted.

    A file gets its place when its rows are committed: looked up after it was listed, what arrives now is known.
    """
    unknown: list[tuple[bool, int, str]] = []
    for page in _batches(volume().keys(), _PAGE):
        known = set(StoredObject.objects.filter(key__in=page).values_list("key", flat=True))
        known |= set(ExceptionCase.objects.filter(key__in=page).values_list("key", flat=True))
        for key in page:
            if key in known:
                adoption.add("known")
            elif _hash_in(key):
                unknown.append((_is_quarantine(key), _written_at(key), key))
            else:
                adoption.add("not ours", Seen(key, "not ours", "its name is none that this archive gives"))
        progress(adoption.found)
    return [key for _, _, key in sorted(unknown)]


def _written_at(key: str) -> int:
    try:
        with volume().local(key) as path:
            return path.stat().st_mtime_ns
    except (Unavailable, OSError):
        return 0


def _hash_in(key: str) -> str:
    """The hash for which a name of ours stands; empty for any other name."""
    named = _STORED.fullmatch(key) or _QUARANTINED.fullmatch(key)
    if named is None or not named["sha256"].startswith(named["folder"].replace("/", "")):
        return ""
    return named["sha256"]


def _looked_at(key: str) -> _Sound:
    """The file, read whole. Raises `Unreadable`, `Missing` or OSError when it is not what was stored."""
    quarantined = _is_quarantine(key)
    with volume().local(key) as path:
        whole = _known_of(path, quarantined)
        if whole.sha256 != _hash_in(key):
            raise Unreadable("its bytes are not those that its name stands for")
        whole.durable()
        facts, complaint = _understood(whole)
    if complaint is not None and not quarantined:
        # It was in the archive, so it was without fault: only the header in front of it can have changed.
        raise Unreadable(f"its header does not fit its dataset ({complaint[1]})")
    return _Sound(key, quarantined, whole, facts, complaint)


def _known_of(path: Path, quarantined: bool) -> Whole:
    """What its header says of the file; in quarantine there are files of which not even the header had come."""
    try:
        return recovered(path)
    except Unreadable:
        if not quarantined:
            raise
        return nameless(path)


def _understood(whole: Whole) -> tuple[Facts | None, tuple[Reason, str] | None]:
    """What the dataset says, and why that can be nothing but an exception."""
    # Headers of the first version do not say what hash is expected.
    if not whole.offset or whole.expected_sha256 not in (whole.sha256, ""):
        return None, (Reason.INTERRUPTED, _CUT_OFF)
    try:
        facts = facts_of(whole)
    except Unreadable as error:
        return None, (Reason.UNREADABLE, str(error))
    return facts, contradiction(facts, whole.announced)


def _is_quarantine(key: str) -> bool:
    return _QUARANTINED.fullmatch(key) is not None


def _take_in(batch: Sequence[_Sound], actor: str) -> list[_Outcome]:
    """Takes sound files in, in one transaction: all of them or, when the database fails, none."""
    with transaction.atomic():
        return [_judged(one, actor) for one in batch]


def _judged(one: _Sound, actor: str) -> _Outcome:
    """Lets the index judge the file, as if it had just arrived; what it then should not keep is taken back."""
    if one.complaint is not None or one.facts is None:
        return _exception(one, *(one.complaint or (Reason.UNEXPLAINED, _LOST_REASON)), actor)
    try:
        with transaction.atomic():
            [verdict] = add_together([_as_candidate(one, one.facts, actor)])
            if verdict.finding is Finding.CONFLICT and verdict.key == one.key:
                return _Outcome(verdict.reason, verdict.explanation)
            if verdict.finding is Finding.STORED and not one.quarantined:
                return _Outcome()
            raise _Undo
    except _Undo:
        if verdict.finding is Finding.CONFLICT or not one.quarantined:
            return _Outcome(verdict.reason, verdict.explanation, twin=verdict.key)
    # What a person was to decide is not decided by the loss of a database.
    return _exception(one, Reason.UNEXPLAINED, _LOST_REASON, actor)


def _exception(one: _Sound, reason: Reason, explanation: str, actor: str) -> _Outcome:
    """Puts a file of the quarantine back on the list of exceptions, unless its like is on it."""
    # Of what contradicts itself nothing is believed, as when it came in.
    facts = None if one.complaint else one.facts
    case = case_for(one.whole, reason, explanation, facts)
    case.key = one.key
    try:
        with transaction.atomic():
            raised, new = raise_case(case)
            if not new:
                raise _Undo
            record(_adopted_by(actor, entry_for(one.whole, Outcome.MINOR_FAILURE, {"reason": reason.value}, facts)))
    except _Undo:
        return _Outcome(reason, explanation, twin=raised.key)
    return _Outcome(reason, explanation)


def _as_candidate(one: _Sound, facts: Facts, actor: str) -> Candidate:
    """What the receive path makes of such an object, with the place where it lies and who adopts it."""
    made = candidate_for(one.whole, facts)

    def case(reason: Reason, explanation: str) -> ExceptionCase:
        raised = made.case(reason, explanation)
        raised.key = one.key
        return raised

    return dataclasses.replace(
        made,
        key=one.key,
        durable=lambda: None,  # since it was looked at
        case=case,
        audit=lambda verdict: _adopted_by(actor, made.audit(verdict)),
    )


def _adopted_by(actor: str, entry: Entry) -> Entry:
    """The audit row: an object was made known to the archive again, by whom, and who had sent it."""
    detail = {**entry.detail, "adopted": True, "sent_by": entry.actor, "sent_from": entry.address}
    return dataclasses.replace(entry, code=Code.INSTANCES_ACCESSED, actor=actor, address="", detail=detail)


def _retrying(work: Callable[[Sequence[_Sound]], list[_Outcome]], batch: Sequence[_Sound]) -> list[_Outcome]:
    """Does ``work`` again when the database undid it for somebody else's sake (deadlock, lock time-out)."""
    for attempt in range(_TRIES - 1):
        try:
            return work(batch)
        except OperationalError:
            connection.close_if_unusable_or_obsolete()
            time.sleep(0.05 * 2**attempt)
    return work(batch)


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
