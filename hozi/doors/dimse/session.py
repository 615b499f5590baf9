"""What a service's handler knows: the association, the device on its other end, and this process's receiver."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hozi.archive.receive import Receiver
from hozi.core.dimse import status
from hozi.core.dimse.association import Association, Message
from hozi.facilities.devices import Permit
from hozi.settings import HOZI


@dataclass(frozen=True, slots=True)
class Session:
    """One admitted association."""

    association: Association
    permit: Permit
    receiver: Receiver

    @property
    def address(self) -> str:
        """Where the device calls from."""
        return self.association.peer.address

    @property
    def own_ae(self) -> str:
        """The name by which this archive is known."""
        return HOZI.ae_title

    @property
    def facilities(self) -> Collection[str] | None:
        """Whose studies the device may see; None: everybody's."""
        return None if self.permit.sees_all else (self.permit.facility,)

    def refuse(self, message: Message, code: int, comment: str) -> None:
        """Answers a request with a failure and the reason for it, in the 64 characters that the standard allows."""
        for _ in message.fragments():
            pass
        self.association.respond(message, code, error_comment=comment[:64])

    def not_allowed(self, message: Message, what: str) -> None:
        """Answers that the device is known but not admitted for this service."""
        self.refuse(message, status.NOT_AUTHORIZED, f"this device may not {what} here")
