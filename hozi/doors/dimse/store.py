"""C-STORE: a device brings an object (PS3.4 Annex B)."""

from __future__ import annotations

from typing import Final

from hozi.archive.arrived import Announced, Origin
from hozi.archive.exceptions import Reason
from hozi.archive.receive import NoRoom, Receipt, Result, TooLarge
from hozi.core.dimse import status
from hozi.core.dimse.association import Message
from hozi.core.errors import Unavailable
from hozi.doors.dimse.session import Session
from hozi.facilities.heard import EARS

#: Warnings: the object is safe, in quarantine, and the sender need not send it again. Failures: it is kept too, but
#: it is no image that could ever be given back, and the sender should know (PS3.4 Table B.2-1).
_STATUS: Final = {
    Reason.SAME_UID_OTHER_CONTENT: (
        status.COERCION_OF_DATA_ELEMENTS,
        "kept aside: other content has this UID",
    ),
    Reason.STUDY_OF_OTHER_PATIENT: (status.COERCION_OF_DATA_ELEMENTS, "kept aside: the study is another patient's"),
    Reason.SERIES_OF_OTHER_STUDY: (status.COERCION_OF_DATA_ELEMENTS, "kept aside: the series is in another study"),
    Reason.CONTRADICTS_COMMAND: (status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, ""),
    Reason.INVALID_IDENTIFIERS: (status.CANNOT_UNDERSTAND, ""),
    Reason.UNREADABLE: (status.CANNOT_UNDERSTAND, ""),
}


def store(session: Session, message: Message) -> None:
    """Takes the object in and answers when its fate is durable."""
    if not session.may("studies.store"):
        session.not_allowed(message, "store")
        return
    command = message.command
    permit = session.permit
    announced = Announced(
        command.affected_sop_class or "", command.affected_sop_instance or "", message.context.transfer_syntax
    )
    origin = Origin(
        actor=permit.name,
        address=session.address,
        facility=permit.facility,
        issuer=permit.issuer,
        calling_ae=session.association.peer.calling_ae,
        department=permit.department,
    )
    try:
        receipt = session.receiver.receive(announced, origin, message.fragments())
    except (NoRoom, TooLarge) as error:
        session.refuse(message, status.OUT_OF_RESOURCES, str(error))
    except Unavailable as error:
        session.refuse(message, status.PROCESSING_FAILURE, str(error))
    else:
        EARS.heard(permit.name, session.address, stored=True)
        _answer(session, message, receipt)


def _answer(session: Session, message: Message, receipt: Receipt) -> None:
    if receipt.result is not Result.QUARANTINED or receipt.reason is None:
        session.association.respond(message, status.SUCCESS)
        return
    code, comment = _STATUS[receipt.reason]
    session.refuse(message, code, comment or receipt.explanation, recorded=False)
