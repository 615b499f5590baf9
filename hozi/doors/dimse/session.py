"""What a service's handler knows: the association, the device on its other end, and this process's receiver."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from django.db import Error as DatabaseProblem

from hozi.accounts import authorise
from hozi.accounts.authorise import Reach, Who
from hozi.archive.receive import Receiver
from hozi.audit.record import Code, Entry, Outcome, record
from hozi.core.dimse import command as commands
from hozi.core.dimse import status
from hozi.core.dimse.association import Association, Message
from hozi.facilities.devices import Permit
from hozi.settings import HOZI

log = logging.getLogger(__name__)

#: Under which event, and as which action, a refused request stands in the audit.
_EVENTS: Final = {
    commands.C_STORE_RQ: (Code.INSTANCES_TRANSFERRED, "C"),
    commands.C_FIND_RQ: (Code.QUERY, "E"),
    commands.C_GET_RQ: (Code.INSTANCES_TRANSFERRED, "R"),
    commands.C_MOVE_RQ: (Code.INSTANCES_TRANSFERRED, "R"),
    commands.N_ACTION_RQ: (Code.INSTANCES_ACCESSED, "E"),
}


@dataclass(frozen=True, slots=True)
class Session:
    """One admitted association."""

    association: Association
    permit: Permit
    receiver: Receiver
    who: Who

    @property
    def address(self) -> str:
        """Where the device calls from."""
        return self.association.peer.address

    @property
    def own_ae(self) -> str:
        """The name by which this archive is known."""
        return HOZI.ae_title

    def may(self, permission: str) -> bool:
        """Whether the device is admitted for this at all."""
        return authorise.may(self.who, permission)

    def reach(self, permission: str) -> Reach:
        """How far the device sees with this permission, which it has."""
        return authorise.reach(self.who, permission)

    def refuse(self, message: Message, code: int, comment: str, *, recorded: bool = True) -> None:
        """Answers a request with a failure and the reason for it, in the 64 characters that the standard allows.

        Recorded in the audit, but for what the archive records itself with the object. When there is no room even
        for that, the log has it, and the sender is told all the same.
        """
        for _ in message.fragments():
            pass
        if recorded:
            try:
                self._record(message, code, comment)
            except DatabaseProblem as error:
                log.error("a refusal is not in the audit: %04X, %s", code, type(error).__name__)
        self.association.respond(message, code, error_comment=comment[:64])

    def _record(self, message: Message, code: int, comment: str) -> None:
        event, action = _EVENTS.get(message.command.field, (Code.SECURITY_ALERT, "E"))
        record(
            Entry(
                event,
                action,
                self.permit.name,
                Outcome.MINOR_FAILURE,
                address=self.address,
                object_uid=message.command.affected_sop_instance or "",
                facility=self.permit.facility,
                detail={"status": f"{code:04X}", "reason": comment},
            )
        )

    def not_allowed(self, message: Message, what: str) -> None:
        """Answers that the device is known but not admitted for this service."""
        self.refuse(message, status.NOT_AUTHORIZED, f"this device may not {what} here")
