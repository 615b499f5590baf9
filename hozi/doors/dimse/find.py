"""C-FIND: a device asks what there is (PS3.4 Annex C)."""

from __future__ import annotations

from hozi.archive.find import InvalidQuery, Query, answer, find, query_from, supported
from hozi.audit.record import Code, Entry, Outcome, record
from hozi.choices import answers
from hozi.core.dicom import identifier
from hozi.core.dimse import status
from hozi.core.dimse.association import Message
from hozi.doors.dimse.offer import MODELS
from hozi.doors.dimse.session import Session
from hozi.doors.dimse.understand import understood
from hozi.settings import HOZI

#: Bytes of SOP Class Extended Negotiation for FIND (PS3.4 Table C.5-1): relational, combined date and time, fuzzy.
RELATIONAL, COMBINED, FUZZY = 0, 1, 2


def find_matches(session: Session, message: Message) -> None:
    """Answers with every match, one response each, until there are no more, the limit is reached or it is cancelled."""
    association = session.association
    if not session.may("studies.find"):
        session.not_allowed(message, "query")
        return
    query = understood(session, message, _query)
    if query is None:
        return
    pending = status.PENDING if supported(query) else status.PENDING_UNSUPPORTED_KEYS
    results = find(
        query,
        reach=session.reach("studies.find"),
        limit=answers.max_results(),
        retrieve_ae=session.own_ae,
        stop=lambda: association.cancelled(message.command.message_id),
    )
    count = 0
    outcome = Outcome.SUCCESS
    try:
        for match in results:
            if association.cancelled(message.command.message_id):
                outcome = Outcome.MINOR_FAILURE
                association.respond(message, status.CANCEL)
                return
            dataset = answer(match, query)
            association.respond(message, pending, identifier=identifier.write(dataset, message.context.transfer_syntax))
            count += 1
    except InvalidQuery as error:
        outcome = Outcome.MINOR_FAILURE
        session.refuse(message, status.IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS, str(error), recorded=False)
        return
    finally:
        _audit(session, query, count, outcome)
    if results.stopped:
        association.respond(message, status.CANCEL)
    elif results.limit_reached:
        comment = f"only the first {count} matches were sent: ask for less"
        session.refuse(message, status.OUT_OF_RESOURCES, comment, recorded=False)
    else:
        association.respond(message, status.SUCCESS)


def _query(session: Session, message: Message) -> Query:
    dataset = identifier.read(message.dataset(), message.context.transfer_syntax, HOZI.default_charset)
    agreed = session.association.extended.get(message.context.abstract_syntax, b"").ljust(3, b"\0")
    return query_from(
        dataset,
        MODELS[message.context.abstract_syntax],
        default_charset=HOZI.default_charset,
        relational=bool(agreed[RELATIONAL]),
        combined_datetime=bool(agreed[COMBINED]),
        fuzzy=bool(agreed[FUZZY]),
    )


def _audit(session: Session, query: Query, count: int, outcome: Outcome) -> None:
    keys = {f"{tag:08X}": value for tag, value in query.keys.items() if value and value != "*"}
    record(
        Entry(
            code=Code.QUERY,
            action="E",
            actor=session.permit.name,
            address=session.address,
            outcome=outcome,
            facility=session.permit.facility,
            detail={"level": query.level, "model": query.model, "keys": keys, "matches": count},
        )
    )
