"""The C-STORE sub-operations of C-MOVE and C-GET: what both have in common (PS3.4 §C.4.2, §C.4.3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pydicom.dataset import Dataset

from hozi.archive.fetch import (
    ACCESSION_NUMBER,
    ISSUER_OF_PATIENT_ID,
    PATIENT_ID,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    Holding,
    Selection,
)
from hozi.audit.record import Code, Entry, Outcome, record, record_many
from hozi.core.dicom import identifier
from hozi.core.dimse import status
from hozi.core.dimse.association import Association, Context, Message
from hozi.core.dimse.failures import Aborted, Lost, ProtocolError, TimedOut
from hozi.core.errors import HoziError, Refused
from hozi.doors.dimse.offer import MODELS
from hozi.doors.dimse.session import Session
from hozi.settings import HOZI

log = logging.getLogger(__name__)

_NAMING: Final = (
    PATIENT_ID,
    ISSUER_OF_PATIENT_ID,
    ACCESSION_NUMBER,
    STUDY_INSTANCE_UID,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
)
_LEVELS: Final = ("PATIENT", "STUDY", "SERIES", "IMAGE", "IMAGES")
#: What names something of a level. Older workstations name studies by their patient or accession number (E49).
_NAMED_BY: Final = {
    "PATIENT": (PATIENT_ID,),
    "STUDY": (STUDY_INSTANCE_UID, ACCESSION_NUMBER, PATIENT_ID),
    "SERIES": (SERIES_INSTANCE_UID,),
}
_MOST_COUNTED: Final = 0xFFFF  # the counts of a response have 16 bits (PS3.7 Table 9.1-4)

#: Why sub-operations may have failed, when nothing else is known.
COULD_NOT_GIVE: Final = "some were refused, go in no syntax taken, or are damaged here"

#: Between two pending responses at least so long, or a fast receiver is slowed down by them.
_PENDING_SECONDS = 0.1


class InvalidIdentifier(Refused):
    """The identifier of a retrieve has no level, or names nothing."""


def selection(session: Session, message: Message) -> Selection:
    """The objects that the request's identifier names. Raises `Refused` or `Unreadable`."""
    dataset = identifier.read(message.dataset(), message.context.transfer_syntax, HOZI.default_charset)
    level = str(dataset.get("QueryRetrieveLevel", "") or "").strip()
    if level not in _LEVELS:
        raise InvalidIdentifier("QueryRetrieveLevel is missing or unknown")
    model = MODELS[message.context.abstract_syntax]
    if level == "PATIENT" and model == "STUDY_ROOT":
        raise InvalidIdentifier("the Study Root model has no level PATIENT")
    names: dict[int, list[str]] = {}
    for tag in _NAMING:
        value = dataset.get(tag)
        if value is not None and value.value:
            values = [value.value] if isinstance(value.value, str) else list(value.value)
            names[tag] = [str(one).strip(" \0") for one in values]
    if not any(any(names.get(tag, ())) for tag in _NAMED_BY.get(level, (SOP_INSTANCE_UID,))):
        raise InvalidIdentifier(f"nothing of level {level} is named")
    reach = session.reach("studies.open")
    wanted = Selection(names, reach)
    if not wanted.count and not reach.everything and (withheld := wanted.withheld()):
        _record_withheld(session, level, withheld)
    return wanted


def _record_withheld(session: Session, level: str, count: int) -> None:
    """Somebody asked for what they do not reach: to them it is not there, but it was asked for."""
    detail = {"retrieve": level, "reason": "out of reach", "objects": count}
    record(
        Entry(
            Code.SECURITY_ALERT,
            "R",
            session.permit.name,
            Outcome.MINOR_FAILURE,
            address=session.address,
            facility=session.permit.facility,
            detail=detail,
        )
    )


@dataclass
class Progress:
    """Counts the sub-operations of one request and answers it."""

    session: Session
    message: Message
    remaining: int
    completed: int = 0
    warning: int = 0
    failed: list[str] = field(default_factory=list)
    cancelled: bool = False
    handled: set[str] = field(default_factory=set)
    _spoke: float = 0.0

    def check_cancel(self) -> bool:
        """Whether the requester has asked to stop."""
        if not self.cancelled:
            self.cancelled = self.session.association.cancelled(self.message.command.message_id)
        return self.cancelled

    def count(self, holding: Holding, code: int | None) -> None:
        """One sub-operation ended with the receiver's status, or with None when it did not even begin."""
        self.remaining -= 1
        self.handled.add(holding.sop_instance)
        if code == status.SUCCESS:
            self.completed += 1
        elif code is not None and status.is_warning(code):
            self.warning += 1
        else:
            self.failed.append(holding.sop_instance)
        if self.remaining and time.monotonic() - self._spoke >= _PENDING_SECONDS:
            self._spoke = time.monotonic()
            self.session.association.respond(self.message, status.PENDING, **self._counts())

    def _counts(self) -> dict[str, Any]:
        counts = {
            "remaining": self.remaining,
            "completed": self.completed,
            "failed": len(self.failed),
            "warning": self.warning,
        }
        return {name: min(count, _MOST_COUNTED) for name, count in counts.items()}

    def finish(self, comment: str = "") -> None:
        """The final response: success, warning with the list of what failed, failure, or cancelled."""
        counts = self._counts()
        if self.cancelled:
            code = status.CANCEL
        else:
            del counts["remaining"]  # only a pending or a cancelled response has it (PS3.7 Table 9.1-4)
            if not self.failed and not self.warning:
                code = status.SUCCESS
            elif self.handled:
                code = status.SUB_OPERATIONS_COMPLETE_WITH_FAILURES
            else:
                code = status.OUT_OF_RESOURCES_SUB_OPERATIONS
        listed = None
        if self.failed and code != status.SUCCESS:
            dataset = Dataset()
            dataset.FailedSOPInstanceUIDList = self.failed
            listed = identifier.write(dataset, self.message.context.transfer_syntax)
        words = {"error_comment": comment[:64]} if comment and code != status.SUCCESS else {}
        self.session.association.respond(self.message, code, identifier=listed, **counts, **words)


class Counts(Protocol):
    """Who is told how each sub-operation ended, and says whether to go on: `Progress`, or somebody who only counts."""

    cancelled: bool

    def check_cancel(self) -> bool:
        """Whether to stop."""

    def count(self, holding: Holding, code: int | None) -> None:
        """One ended with that status, or with None when it did not even begin."""


class Keeps(Protocol):
    """Who keeps what was sent for the audit: `Trail`, or somebody with a row of their own."""

    def add(self, holding: Holding, sent: bool) -> None:
        """One object was sent, or could not be."""


def send_all(
    receiver: Association,
    holdings: Iterable[Holding],
    progress: Counts,
    trail: Keeps,
    *,
    originator: tuple[str, int] | None = None,
) -> bool:
    """One sub-operation after the other, until there are no more or the requester cancels.

    While the receiver works on one object, the next is read from the disk. Returns True when an object turned out
    unreadable in its middle: it counts as failed, the association to the receiver has been aborted, and the next one
    goes on with what is left of ``holdings``. Raises when the association is gone for another reason.
    """
    under_way: Holding | None = None

    def finish() -> None:
        nonlocal under_way
        if under_way is not None:
            code = receiver.store_response().status
            trail.add(under_way, not status.is_failure(code))
            progress.count(under_way, code)
            under_way = None

    for holding in holdings:
        opened = _opened(receiver, holding)
        finish()
        if progress.check_cancel():
            break
        if opened is not None:
            context, pieces = opened
            told = _Told(pieces)
            try:
                receiver.send_store(context, holding.sop_class, holding.sop_instance, told, originator=originator)
            except (HoziError, OSError):
                if not told.failed:
                    raise
            else:
                under_way = holding
                continue
        trail.add(holding, sent=False)
        progress.count(holding, None)
        if opened is not None:
            return True
    finish()
    return False


class _Told:
    """The pieces of an object; ``failed`` says whether it was they that failed, and not the receiver."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self.failed = False

    def __iter__(self) -> Iterator[bytes | memoryview]:
        try:
            yield from self._pieces
        except (HoziError, OSError) as error:
            self.failed = True
            log.error("an object broke off while it was given: %s", error)
            raise


def _opened(receiver: Association, holding: Holding) -> tuple[Context, Iterator[bytes | memoryview]] | None:
    """The object in the first way in which it can be given to the receiver; None when there is none."""
    for context, syntax in _ways(receiver, holding):
        try:
            return context, holding.send_as(syntax)
        except (HoziError, OSError) as error:  # OSError: the disk cannot read it
            log.error("an object cannot be given: %s", error)
    return None


def _ways(receiver: Association, holding: Holding) -> Iterator[tuple[Context, str]]:
    """Accepted contexts in which the object can go, the one with its stored transfer syntax first."""
    contexts = {c.transfer_syntax: c for c in receiver.contexts_for(holding.sop_class) if c.as_scu}
    for syntax in holding.syntaxes(contexts):
        yield contexts[syntax], syntax


class Trail:
    """Who was given which studies: one audit row for each study, when the request is over."""

    def __init__(self, session: Session, receiver: str) -> None:
        self._session = session
        self._receiver = receiver
        self._studies: dict[str, tuple[Holding, int, int]] = {}

    def add(self, holding: Holding, sent: bool) -> None:
        """One object was sent, or could not be."""
        _, good, bad = self._studies.get(holding.study, (holding, 0, 0))
        self._studies[holding.study] = (holding, good + sent, bad + (not sent))

    def write(self) -> None:
        """Writes the rows."""
        record_many(
            Entry(
                code=Code.INSTANCES_TRANSFERRED,
                action="R",
                actor=self._session.permit.name,
                address=self._session.address,
                outcome=Outcome.SUCCESS if not bad else Outcome.MINOR_FAILURE,
                issuer=holding.issuer,
                patient_id=holding.patient_id,
                study_uid=study,
                facility=holding.facility,
                detail={"receiver": self._receiver, "sent": good, "failed": bad},
            )
            for study, (holding, good, bad) in self._studies.items()
        )


#: What ends an association to a receiver in the middle of its sub-operations.
GONE = (Aborted, Lost, TimedOut, ProtocolError)
