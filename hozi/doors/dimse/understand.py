"""Reads the identifier of a query or a retrieve; what cannot be understood is answered here, alike for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hozi.core.dimse import status
from hozi.core.dimse.association import Message
from hozi.core.errors import Refused, Unreadable
from hozi.doors.dimse.session import Session

_Meaning = TypeVar("_Meaning")


def understood(session: Session, message: Message, read: Callable[[Session, Message], _Meaning]) -> _Meaning | None:
    """What ``read`` makes of a request's identifier; None when it cannot be read or breaks a rule.

    The requester has been told then (PS3.4 Tables C.4-1 to C.4-3: C000 and A900).
    """
    try:
        return read(session, message)
    except Unreadable as error:
        session.refuse(message, status.UNABLE_TO_PROCESS, str(error))
    except Refused as error:
        session.refuse(message, status.IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS, str(error))
    return None
