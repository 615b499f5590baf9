"""C-GET: a device fetches objects over the association that it asked on (PS3.4 §C.4.3)."""

from __future__ import annotations

from hozi.core.dimse.association import Message
from hozi.doors.dimse.session import Session
from hozi.doors.dimse.suboperations import COULD_NOT_GIVE, Progress, Trail, selection, send_all
from hozi.doors.dimse.understand import understood


def get(session: Session, message: Message) -> None:
    """Sends every named object as a C-STORE sub-operation, then says how it went."""
    if not session.may("studies.open"):
        session.not_allowed(message, "retrieve")
        return
    wanted = understood(session, message, selection)
    if wanted is None:
        return
    progress = Progress(session, message, wanted.count)
    trail = Trail(session, session.permit.name)
    try:
        if send_all(session.association, wanted, progress, trail):
            return  # half an object is under way: nothing can follow it, and the association has been aborted
    finally:
        trail.write()
    progress.finish(COULD_NOT_GIVE)
