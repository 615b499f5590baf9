"""C-MOVE: a device asks for objects to be sent to a registered device (PS3.4 §C.4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from hozi.archive.fetch import Selection, transcoder
from hozi.core.dimse import status
from hozi.core.dimse.association import Message, ProposedContext
from hozi.core.dimse.failures import Rejected, Unreachable
from hozi.core.dimse.requestor import associate
from hozi.doors.dimse.reach import reach
from hozi.doors.dimse.session import Session
from hozi.doors.dimse.suboperations import COULD_NOT_GIVE, GONE, Counts, Keeps, Progress, Trail, selection, send_all
from hozi.doors.dimse.understand import understood
from hozi.facilities.devices import Permit, destination

#: Contexts that fit into one association: their IDs are the odd numbers of one byte (PS3.8 §9.3.2.2).
_MOST_CONTEXTS: Final = 128
_FALLBACK: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")


def move(session: Session, message: Message) -> None:
    """Sends every named object to the destination, then tells the requester how it went."""
    if not session.may("studies.open"):
        session.not_allowed(message, "retrieve")
        return
    wanted = understood(session, message, selection)
    if wanted is None:
        return
    receiver = destination((message.command.move_destination or "").strip())
    if receiver is None:
        session.refuse(message, status.MOVE_DESTINATION_UNKNOWN, "no device with this AE title may receive here")
        return
    progress = Progress(session, message, wanted.count)
    trail = Trail(session, receiver.name)
    comment = COULD_NOT_GIVE
    try:
        originator = (session.association.peer.calling_ae, message.command.message_id)
        send_to(receiver, wanted, progress, trail, originator=originator)
    except (Rejected, Unreachable) as error:
        comment = f"{receiver.ae_title}: {error}"
    except GONE:
        comment = f"{receiver.ae_title} ended the association"
    finally:
        trail.write()
    if not progress.cancelled and progress.remaining:
        _fail_rest(wanted, progress)
    progress.finish(comment)


def send_to(
    receiver: Permit, wanted: Selection, progress: Counts, trail: Keeps, *, originator: tuple[str, int] | None = None
) -> None:
    """Sends all that is wanted: one association for as many SOP classes as fit into it, one after the other.

    Raises what `associate` and `send_all` raise: the receiver does not answer, refuses, or is gone in the middle.
    """
    groups = list(_groups(wanted.needs()))
    for contexts in groups:
        classes = {context.abstract_syntax for context in contexts}
        holdings = iter(wanted.of_classes(classes) if len(groups) > 1 else wanted)
        broken = True
        while broken and not progress.cancelled:
            association = associate(**reach(receiver), contexts=contexts)
            try:
                broken = send_all(association, holdings, progress, trail, originator=originator)
            except BaseException:
                association.abort()
                raise
            association.release()
        if progress.cancelled:
            return


def _groups(needs: Iterable[tuple[str, str]]) -> Iterator[list[ProposedContext]]:
    """Proposals for each association: every stored syntax of a SOP class on its own, so that the destination cannot
    choose one and thereby refuse another, and one context more for what must be decompressed."""
    by_class: dict[str, list[str]] = {}
    for sop_class, syntax in needs:
        by_class.setdefault(sop_class, []).append(syntax)
    group: list[ProposedContext] = []
    for sop_class, stored in by_class.items():
        proposals: list[tuple[str, ...]] = [(syntax,) for syntax in stored]
        if any(transcoder().can_transcode(syntax, _FALLBACK[0]) for syntax in stored):
            proposals.append(_FALLBACK)
        if len(group) + len(proposals) > _MOST_CONTEXTS:
            yield group
            group = []
        taken = len(group)
        group += [ProposedContext(2 * (taken + n) + 1, sop_class, one) for n, one in enumerate(proposals)]
    if group:
        yield group


def _fail_rest(wanted: Selection, progress: Progress) -> None:
    """Counts what was not even tried as failed, by name (Failed SOP Instance UID List)."""
    for holding in wanted:
        if holding.sop_instance not in progress.handled:
            progress.remaining -= 1
            progress.failed.append(holding.sop_instance)
