"""The archive does what its conformance statement says, neither less nor more: the statement is read and tried."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pynetdicom import Association, build_role
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation, SOPClassExtendedNegotiation

from tests.archive_running import EXPLICIT, IMPLICIT, PATIENT_ROOT, STUDY_ROOT, Caller, RunningArchive
from tests.doors.dimse.images import CT, encoded, image
from tests.doors.dimse.statement import STATEMENT, table, tables

VERIFICATION = "1.2.840.10008.1.1"
WORKLIST = "1.2.840.10008.5.1.4.31"
GRAYSCALE_PRINT = "1.2.840.10008.5.1.1.9"
JPIP = "1.2.840.10008.1.2.4.94"
ACCEPTED, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 0, 3, 4
MATCH, MATCH_WITH_UNKNOWN_KEYS, SUCCESS = 0xFF00, 0xFF01, 0x0000

SERVICES = [row["SOP class UID"] for row in table("Services")]
STORAGE = [row["SOP class UID"] for row in table("Storage")]
STORAGE_SYNTAXES, UNSUPPORTED_SYNTAXES = (
    [row["transfer syntax UID"] for row in rows] for rows in tables("Transfer syntaxes of storage")
)
UNCOMPRESSED = [EXPLICIT, IMPLICIT, "1.2.840.10008.1.2.2"]
LIMITS = {row["what"]: row["value"] for row in table("Association limits")}


@pytest.fixture
def ct1(archive: RunningArchive) -> Caller:
    return archive.admit("CT1", sees_all=True)


def answers(caller: Caller, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The archive's result for each pair of abstract and transfer syntax, each proposed in a context of its own."""
    found: dict[tuple[str, str], int] = {}
    for begin in range(0, len(pairs), 127):
        some = pairs[begin : begin + 127]
        # Verification goes along, since an association without any accepted context ends at once.
        contexts = [(VERIFICATION, [IMPLICIT]), *((abstract, [syntax]) for abstract, syntax in some)]
        with caller.associated(*contexts) as association:
            for context in (*association.accepted_contexts, *association.rejected_contexts):
                if context.context_id > 1:
                    pair = some[(context.context_id - 3) // 2]
                    assert context.abstract_syntax == pair[0]
                    if context.result == ACCEPTED:
                        assert context.transfer_syntax == [pair[1]]
                    found[pair] = context.result
    assert len(found) == len(pairs)
    return found


def test_the_statement_names_what_there_is() -> None:
    assert len(STORAGE) > 190
    assert len(STORAGE_SYNTAXES) > 50
    assert not set(STORAGE) & set(SERVICES)
    assert not set(STORAGE_SYNTAXES) & set(UNSUPPORTED_SYNTAXES)


def test_every_storage_class_is_accepted_in_every_transfer_syntax_of_the_statement(ct1: Caller) -> None:
    pairs = list(product(STORAGE, STORAGE_SYNTAXES))
    assert {pair for pair, result in answers(ct1, pairs).items() if result != ACCEPTED} == set()


def test_every_service_is_accepted_in_the_three_syntaxes_and_no_other(ct1: Caller) -> None:
    results = answers(ct1, list(product(SERVICES, [*STORAGE_SYNTAXES, *UNSUPPORTED_SYNTAXES])))
    for (_, syntax), result in results.items():
        assert result == (ACCEPTED if syntax in UNCOMPRESSED else NO_TRANSFER_SYNTAX), syntax


def test_no_other_sop_class_and_no_other_transfer_syntax_is_accepted(ct1: Caller) -> None:
    known = {uid for uid, entry in UID_dictionary.items() if "SOP Class" in entry[1]}
    others = sorted(known - set(STORAGE) - set(SERVICES))
    assert {WORKLIST, GRAYSCALE_PRINT} <= set(others)
    others += ["1.2.3.4", "1.2.840.10008.1.1.1"]
    assert set(answers(ct1, [(uid, IMPLICIT) for uid in others]).values()) == {NO_ABSTRACT_SYNTAX}

    known = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    syntaxes = sorted(known | set(UNSUPPORTED_SYNTAXES) - set(STORAGE_SYNTAXES))
    syntaxes = [uid for uid in syntaxes if uid not in STORAGE_SYNTAXES] + ["1.2.3.4"]
    assert JPIP in syntaxes
    results = answers(ct1, list(product([CT, STORAGE[0], STORAGE[-1]], syntaxes)))
    assert set(results.values()) == {NO_TRANSFER_SYNTAX}


def test_the_preferred_transfer_syntax_is_taken(ct1: Caller) -> None:
    rle = "1.2.840.10008.1.2.5"
    proposals = [[IMPLICIT, EXPLICIT], [UNCOMPRESSED[2], IMPLICIT], [rle, EXPLICIT], [JPIP, rle], [IMPLICIT, rle]]
    with ct1.associated(*((CT, syntaxes) for syntaxes in proposals)) as association:
        taken = [str(context.transfer_syntax[0]) for context in association.accepted_contexts]
    assert taken == [EXPLICIT, IMPLICIT, rle, rle, IMPLICIT]


def test_the_limits_of_an_association_are_those_of_the_statement(ct1: Caller) -> None:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 5
    with ct1.associated((VERIFICATION, [IMPLICIT]), ext_neg=[window]) as association:
        archive = association.acceptor
        assert f"{archive.maximum_length} bytes" in LIMITS["largest PDU that is received"]
        assert archive.implementation_class_uid == LIMITS["implementation class UID"]
        assert archive.implementation_version_name == LIMITS["implementation version name"]
        assert LIMITS["asynchronous operations"].startswith("none")
        assert archive.asynchronous_operations == (1, 1)


def negotiated(caller: Caller, sop_class: str, proposed: bytes) -> bytes | None:
    """What the archive answers to extended negotiation of a SOP class."""
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid = sop_class
    item.service_class_application_information = proposed
    with caller.associated((sop_class, [EXPLICIT]), ext_neg=[item]) as association:
        return association.acceptor.sop_class_extended.get(sop_class)


@pytest.mark.parametrize("service", ["FIND", "MOVE and GET", "Storage"])
def test_extended_negotiation_is_answered_as_stated(ct1: Caller, service: str) -> None:
    stated = bytes(int(row["value"]) for row in table("Extended negotiation") if row["service"] == service)
    classes = {
        "FIND": [PATIENT_ROOT["find"], STUDY_ROOT["find"]],
        "MOVE and GET": [root[verb] for root in (PATIENT_ROOT, STUDY_ROOT) for verb in ("move", "get")],
        "Storage": [STORAGE[0], CT],
    }[service]
    for sop_class in classes:
        for length in range(1, len(stated) + 1):
            assert negotiated(ct1, sop_class, b"\x01" * length) == stated[:length]
        if service == "Storage":
            assert negotiated(ct1, sop_class, bytes(len(stated))) == stated
        else:
            assert negotiated(ct1, sop_class, bytes(len(stated))) == bytes(len(stated))


def test_the_role_of_scp_is_granted_for_storage_and_for_nothing_else(ct1: Caller) -> None:
    proposed = [*SERVICES, STORAGE[0], STORAGE[-1], CT]
    roles = [build_role(uid, scu_role=True, scp_role=True) for uid in proposed]
    with ct1.associated(*((uid, [EXPLICIT]) for uid in proposed), ext_neg=roles) as association:
        answered = association.acceptor.role_selection
    assert {uid: answered[uid].scp_role for uid in proposed} == {uid: uid in STORAGE for uid in proposed}
    assert all(answered[uid].scu_role for uid in proposed)


@pytest.mark.parametrize(
    ("heading", "message"),
    [
        ("C-MOVE statuses", "move"),
        ("C-FIND statuses", "find"),
        ("C-GET statuses", "get"),
    ],
)
def test_a_failure_has_the_code_of_the_statement(ct1: Caller, heading: str, message: str) -> None:
    codes = {row["meaning"]: int(row["status"], 16) for row in table(heading)}
    empty = Dataset()
    empty.QueryRetrieveLevel = "STUDY"
    without_level = Dataset()
    without_level.StudyInstanceUID = "1.2.3"
    bad = empty if message != "find" else without_level
    with ct1.associated((STUDY_ROOT[message], [EXPLICIT])) as association:
        assert _final(association, message, bad) == codes["identifier does not match sop class"]
        if message == "move":
            assert _final(association, message, _study("1.2.3")) == codes["move destination unknown"]
    other = ct1.archive.admit("CT2", may=("store",))
    with other.associated((STUDY_ROOT[message], [EXPLICIT])) as association:
        assert _final(association, message, _study("1.2.3")) == codes["not authorized"]


def _study(uid: str) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = "STUDY"
    dataset.StudyInstanceUID = uid
    return dataset


def _final(association: Association, message: str, query: Dataset) -> int:
    model = STUDY_ROOT[message]
    if message == "move":
        responses: Iterator[Any] = association.send_c_move(query, "NOBODY", model)
    else:
        responses = getattr(association, f"send_c_{message}")(query, model)
    return [status.Status for status, _ in responses][-1]


def _asking_for(rows: list[dict[str, str]]) -> Dataset:
    """An identifier that asks for the value of every key of these rows."""
    query = Dataset()
    for row in rows:
        if row["VR"] == "SQ":
            item = Dataset()
            for keyword in row["elements of the items"].replace("`", "").split(", "):
                setattr(item, keyword, None)
            setattr(query, row["keyword"], [item])
        else:
            setattr(query, row["keyword"], None)
    return query


LEVELS = ["PATIENT", "STUDY", "SERIES", "IMAGE"]


@pytest.mark.parametrize("level", LEVELS)
def test_every_key_of_the_statement_is_returned(ct1: Caller, level: str) -> None:
    dataset = image(RequestAttributesSequence=[Dataset()], ImageComments="seen")
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID) == (SUCCESS, "")
    above = LEVELS[: LEVELS.index(level) + 1]
    rows = [row for each in above for row in table(f"Keys of level {each}")] + table("Keys of every level")
    query = _asking_for(rows)
    query.QueryRetrieveLevel = level
    for row in rows:
        if row["usage"] == "U" and row["keyword"] in dataset:
            setattr(query, row["keyword"], dataset[row["keyword"]].value)
    statuses, [match] = ct1.ask(query, root=PATIENT_ROOT)
    assert statuses == [MATCH, SUCCESS]
    told = {row["tag"] for row in rows}
    about = {tag_for_keyword("QueryRetrieveLevel"), tag_for_keyword("SpecificCharacterSet")}
    missing = {row["keyword"] for row in rows if row["keyword"] not in match}
    assert missing == set()
    assert all(f"({tag.group:04X},{tag.element:04X})" in told for tag in match.keys() if tag not in about)  # noqa: SIM118
    for row in rows:
        if row["source"] == "object" and row["VR"] != "SQ" and row["keyword"] in dataset:
            assert match[row["keyword"]].value == dataset[row["keyword"]].value, row["keyword"]
            setattr(query, row["keyword"], dataset[row["keyword"]].value)
    assert ct1.ask(query, root=PATIENT_ROOT)[0] == [MATCH, SUCCESS], "it is not found by its own values"


@pytest.mark.parametrize("level", LEVELS)
def test_a_key_that_is_not_in_the_statement_is_ignored_and_said_to_be(ct1: Caller, level: str) -> None:
    dataset = image()
    ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)
    query = Dataset()
    query.QueryRetrieveLevel = level
    for above in LEVELS[: LEVELS.index(level) + 1]:
        [unique] = [row["keyword"] for row in table(f"Keys of level {above}") if row["usage"] == "U"]
        setattr(query, unique, dataset[unique].value)
    query.WindowCenter = "40"
    assert "WindowCenter" not in STATEMENT
    statuses, [match] = ct1.ask(query, root=PATIENT_ROOT)
    assert statuses == [MATCH_WITH_UNKNOWN_KEYS, SUCCESS]
    assert "WindowCenter" not in match


def test_a_key_below_the_level_of_the_query_is_ignored_and_said_to_be(ct1: Caller) -> None:
    dataset = image()
    ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)
    for level, keyword in (("PATIENT", "StudyDate"), ("STUDY", "SeriesNumber"), ("SERIES", "InstanceNumber")):
        query = Dataset()
        query.QueryRetrieveLevel = level
        query.PatientID = dataset.PatientID
        if level == "SERIES":
            query.StudyInstanceUID = dataset.StudyInstanceUID
        setattr(query, keyword, None)
        statuses, [match] = ct1.ask(query, root=PATIENT_ROOT)
        assert statuses[0] == MATCH_WITH_UNKNOWN_KEYS
        assert keyword not in match
