"""Storage commitment, push model: a device asks whether its objects are safe, and is told later (PS3.4 Annex J)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hozi.accounts import authorise
from hozi.accounts.authorise import Reach
from hozi.archive import commitment
from hozi.core.dicom import identifier, sop_classes, uids
from hozi.core.dimse import status
from hozi.core.dimse.association import Message, ProposedContext
from hozi.core.dimse.requestor import associate
from hozi.core.errors import HoziError, Refused, Unreadable
from hozi.doors.dimse.reach import reach
from hozi.doors.dimse.session import Session
from hozi.facilities.devices import Permit, permit_by_name
from hozi.jobs.queue import GiveUp, Later, register

#: Action and event types of the Storage Commitment Push Model (PS3.4 Tables J.3.2-1 and J.3.3-1).
REQUEST_STORAGE_COMMITMENT = 1
ALL_SUCCESSFUL = 1
FAILURES_EXIST = 2

_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
#: While objects may still be on their way, look again so soon.
_LOOK_AGAIN_SECONDS = 15


class InvalidRequest(Refused):
    """The action information of a commitment request cannot be acted on."""


def request(session: Session, message: Message) -> None:
    """N-ACTION: keeps the request, and sees to it that the report will be sent."""
    if not session.may("studies.store"):
        session.not_allowed(message, "ask for commitment")
        return
    command = message.command
    if command.requested_sop_instance != sop_classes.STORAGE_COMMITMENT_PUSH_INSTANCE:
        session.refuse(message, status.NO_SUCH_OBJECT_INSTANCE, "not the well-known instance")
        return
    if command.action_type != REQUEST_STORAGE_COMMITMENT:
        session.refuse(message, status.NO_SUCH_ACTION, "only action type 1 is known")
        return
    try:
        reach(session.permit, session.address)  # a report that could never be sent is refused now, not in a week
        transaction_uid, references = _references(message)
    except (Refused, Unreadable) as error:
        session.refuse(message, status.INVALID_ARGUMENT_VALUE, str(error))
        return
    commitment.ask(transaction_uid, session.permit.name, session.address, references)
    session.association.respond(message, status.SUCCESS)


def _references(message: Message) -> tuple[str, list[tuple[str, str]]]:
    dataset = identifier.read(message.dataset(), message.context.transfer_syntax)
    transaction_uid = uids.clean(str(dataset.get("TransactionUID", "") or ""))
    if not uids.is_valid(transaction_uid):
        raise InvalidRequest("Transaction UID is missing or not valid")
    references = []
    for item in dataset.get("ReferencedSOPSequence", None) or ():
        pair = tuple(
            uids.clean(str(item.get(name, "") or "")) for name in ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")
        )
        if not all(uids.is_valid(uid) for uid in pair):
            raise InvalidRequest("an item of Referenced SOP Sequence lacks a valid UID")
        references.append((pair[0], pair[1]))
    if not references:
        raise InvalidRequest("Referenced SOP Sequence is missing or empty")
    return transaction_uid, references


@register(commitment.REPORT)
def report(payload: dict[str, Any]) -> None:
    """The job that delivers one report, on an association of its own in which we are the SCP (PS3.4 §J.3.3)."""
    device = permit_by_name(commitment.asked_by(payload["commitment"]))
    if device is None:
        raise GiveUp("the device is not registered any more")
    answer = commitment.answer(payload["commitment"], _reach(device))
    if answer is None:
        raise Later(_LOOK_AGAIN_SECONDS)
    association = associate(
        **reach(device, answer.address),
        contexts=[ProposedContext(1, sop_classes.STORAGE_COMMITMENT_PUSH, _SYNTAXES)],
        roles={sop_classes.STORAGE_COMMITMENT_PUSH: (False, True)},
    )
    try:
        _send(association, answer)
    except BaseException:
        association.abort()
        raise
    commitment.delivered(payload["commitment"], answer)
    association.release()


def _reach(device: Permit) -> Reach:
    """What the device may know of: what it may find, open or bring."""
    who = authorise.of_device(device)
    permitted = [key for key in ("studies.find", "studies.open", "studies.store") if authorise.may(who, key)]
    return Reach(tuple(dict.fromkeys(scope for key in permitted for scope in authorise.reach(who, key).scopes)))


def _send(association: Any, answer: commitment.Report) -> None:
    contexts = association.contexts_for(sop_classes.STORAGE_COMMITMENT_PUSH)
    if not contexts:
        raise NotTaken("the device does not take storage commitment reports")
    response = association.event_report(
        contexts[0],
        sop_classes.STORAGE_COMMITMENT_PUSH,
        sop_classes.STORAGE_COMMITMENT_PUSH_INSTANCE,
        FAILURES_EXIST if answer.failed else ALL_SUCCESSFUL,
        identifier.write(_information(answer), contexts[0].transfer_syntax),
    )
    if response.status != status.SUCCESS:
        raise NotTaken(f"the device answered the report with {status.describe(response.status)}")


class NotTaken(HoziError):
    """The device did not accept a report; it is tried again."""

    permanent = False


def _information(answer: commitment.Report) -> Dataset:
    dataset = Dataset()
    dataset.TransactionUID = answer.transaction_uid
    if answer.safe:
        dataset.ReferencedSOPSequence = Sequence(_item(*pair) for pair in answer.safe)
    if answer.failed:
        dataset.FailedSOPSequence = Sequence(_item(*failed) for failed in answer.failed)
    return dataset


def _item(sop_class: str, sop_instance: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_instance
    if reason is not None:
        item.FailureReason = reason
    return item
