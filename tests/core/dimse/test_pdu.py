"""The association PDUs, held against pynetdicom's and against hostile lengths."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import build_context
from pynetdicom import pdu as theirs
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from hozi.core.dimse import pdu
from hozi.core.dimse.failures import ProtocolError
from hozi.core.dimse.terms import (
    AssociateAnswer,
    AssociateRequest,
    ContextAnswer,
    ProposedContext,
    Rejection,
    UserIdentity,
)
from tests.core.dimse.listening import CT_IMAGE, EXPLICIT, IMPLICIT, MR_IMAGE, STUDY_FIND, VERIFICATION

REQUEST = AssociateRequest(
    calling_ae="CT1",
    called_ae="HOZI",
    contexts=(
        ProposedContext(1, CT_IMAGE, (EXPLICIT, IMPLICIT)),
        ProposedContext(3, STUDY_FIND, (IMPLICIT,)),
    ),
    roles={CT_IMAGE: (True, True)},
    extended={STUDY_FIND: b"\1\1\1"},
    identity=UserIdentity(2, True, b"radiographer", b"invented"),
    max_pdu=16384,
    implementation_uid="1.2.3.4",
    implementation_version="TEST_1",
    async_window=(1, 1),
    common_extended={CT_IMAGE: ("1.2.840.10008.4.2", (MR_IMAGE, VERIFICATION))},
)


def raw_request(contexts: bytes, user: bytes = b"", called: bytes = b"HOZI", calling: bytes = b"CT1") -> bytes:
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + item(0x50, user)
    return b"\0\1\0\0" + called.ljust(16) + calling.ljust(16) + bytes(32) + items


def item(kind: int, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BxH", kind, len(content) if length is None else length) + content


def context(number: int, abstract: bytes = CT_IMAGE.encode(), *transfer: bytes) -> bytes:
    syntaxes = b"".join(item(0x40, name) for name in transfer or (IMPLICIT.encode(),))
    return item(0x20, bytes((number, 0, 0, 0)) + item(0x30, abstract) + syntaxes)


def test_it_writes_a_request_that_pynetdicom_reads_the_same() -> None:
    read = theirs.A_ASSOCIATE_RQ()
    read.decode(pdu.encode_request(REQUEST))
    assert (read.calling_ae_title, read.called_ae_title) == ("CT1", "HOZI")
    assert [
        (c.context_id, c.abstract_syntax, tuple(c.transfer_syntax))
        for c in read.to_primitive().presentation_context_definition_list
    ] == [(c.id, c.abstract_syntax, c.transfer_syntaxes) for c in REQUEST.contexts]
    said = {type(one): one for one in read.to_primitive().user_information}
    assert said[MaximumLengthNotification].maximum_length_received == 16384
    assert said[ImplementationClassUIDNotification].implementation_class_uid == "1.2.3.4"
    assert said[ImplementationVersionNameNotification].implementation_version_name == "TEST_1"
    role = said[SCP_SCU_RoleSelectionNegotiation]
    assert (role.sop_class_uid, role.scu_role, role.scp_role) == (CT_IMAGE, True, True)
    assert said[SOPClassExtendedNegotiation].service_class_application_information == b"\1\1\1"
    common = said[SOPClassCommonExtendedNegotiation]
    assert common.related_general_sop_class_identification == [MR_IMAGE, VERIFICATION]
    window = said[AsynchronousOperationsWindowNegotiation]
    assert (window.maximum_number_operations_invoked, window.maximum_number_operations_performed) == (1, 1)
    identity = said[UserIdentityNegotiation]
    assert (identity.user_identity_type, identity.primary_field, identity.secondary_field) == (
        2,
        b"radiographer",
        b"invented",
    )


def test_it_reads_what_pynetdicom_writes() -> None:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "CT1", "HOZI"
    proposed = build_context(CT_IMAGE, [EXPLICIT, IMPLICIT])
    proposed.context_id = 1
    primitive.presentation_context_definition_list = [proposed]
    length = MaximumLengthNotification()
    length.maximum_length_received = 0
    uid = ImplementationClassUIDNotification()
    uid.implementation_class_uid = "1.2.3.4"
    primitive.user_information = [length, uid]
    written = theirs.A_ASSOCIATE_RQ()
    written.from_primitive(primitive)
    request = pdu.decode_request(written.encode()[6:])
    assert request.contexts == (ProposedContext(1, CT_IMAGE, (EXPLICIT, IMPLICIT)),)
    assert (request.calling_ae, request.called_ae, request.max_pdu) == ("CT1", "HOZI", 0)


def test_it_reads_its_own_requests_and_answers_back() -> None:
    read = pdu.decode_request(pdu.encode_request(REQUEST)[6:])
    assert read.titles == b"HOZI".ljust(16) + b"CT1".ljust(16)
    assert {**vars(read), "titles": b""} == vars(REQUEST)
    answer = AssociateAnswer(
        (ContextAnswer(1, 0, EXPLICIT), ContextAnswer(3, 3, IMPLICIT)),
        roles={CT_IMAGE: (True, False)},
        extended={STUDY_FIND: b"\1"},
        identity_response=b"",
        max_pdu=4096,
        implementation_uid="1.2",
        implementation_version="V",
    )
    assert pdu.decode_answer(pdu.encode_answer(REQUEST, answer)[6:]) == answer


def test_it_writes_an_answer_that_pynetdicom_reads_the_same() -> None:
    answer = AssociateAnswer(
        (ContextAnswer(1, 0, EXPLICIT), ContextAnswer(3, 4, IMPLICIT)), roles={CT_IMAGE: (True, False)}
    )
    read = theirs.A_ASSOCIATE_AC()
    read.decode(pdu.encode_answer(REQUEST, answer))
    results = read.to_primitive().presentation_context_definition_results_list
    assert [(one.context_id, one.result) for one in results] == [(1, 0), (3, 4)]
    assert list(results[0].transfer_syntax) == [EXPLICIT]


def test_it_gives_the_ae_titles_back_as_they_came() -> None:
    body = raw_request(context(1), called=b"  HOZI", calling=b" CT1")
    answer = pdu.encode_answer(pdu.decode_request(body), AssociateAnswer((ContextAnswer(1, 0, IMPLICIT),)))
    assert answer[10:42] == b"  HOZI".ljust(16) + b" CT1".ljust(16)


@pytest.mark.parametrize(
    ("raw", "title"),
    [(b"  CT1", "CT1"), (b"CT1\0\0", "CT1"), (b"A234567890123456", "A234567890123456"), (b"ct1", "ct1"), (b"", "")],
)
def test_it_strips_ae_titles_and_keeps_their_case_e01(raw: bytes, title: str) -> None:
    request = pdu.decode_request(raw_request(context(1), called=raw, calling=raw))
    assert (request.called_ae, request.calling_ae) == (title, title)


@pytest.mark.parametrize("name", [b"1.2.3", b"1.2.3\0", b"1.2.33\0\0", b"1.2.3 "])
def test_it_takes_uids_of_any_padding_e07(name: bytes) -> None:
    request = pdu.decode_request(raw_request(context(1, name, name)))
    expected = name.decode().strip("\0 ")
    assert request.contexts == (ProposedContext(1, expected, (expected,)),)


def test_it_reads_a_proposal_for_asynchronous_operations_e08() -> None:
    request = pdu.decode_request(raw_request(context(1), item(0x53, b"\0\1\0\1")))
    assert request.async_window == (1, 1)


def test_it_takes_no_maximum_length_for_a_small_one() -> None:
    assert pdu.decode_request(raw_request(context(1))).max_pdu == 16384


def test_it_skips_items_that_it_does_not_know_and_zeros_at_the_end() -> None:
    body = raw_request(context(1) + item(0x7F, b"future"), item(0x6F, b"future")) + bytes(3)
    assert len(pdu.decode_request(body).contexts) == 1


def test_it_leaves_a_context_without_transfer_syntaxes_to_be_refused_on_its_own_a08() -> None:
    bare = item(0x20, b"\3\0\0\0" + item(0x30, b"1.2.3"))
    empty = item(0x20, b"\5\0\0\0" + item(0x30, b"1.2.3") + item(0x40, b""))
    request = pdu.decode_request(raw_request(context(1) + bare + empty))
    assert [one.transfer_syntaxes for one in request.contexts] == [(IMPLICIT,), (), ()]


@pytest.mark.parametrize(
    "contexts",
    [
        context(2),
        context(1) + context(1),
        b"".join(context(number) for number in range(1, 256, 2)) + context(1),
        context(0),
        item(0x20, b"\1\0\0\0"),
        item(0x20, b"\1"),
        item(0x20, b"\1\0\0\0" + item(0x30, b"1.2.3", length=500)),
        item(0x20, b"\1\0\0\0" + item(0x30, b"1.2.3"), length=60000),
    ],
    ids=["even", "twice", "129", "zero", "no syntax", "short", "sub-item too long", "item too long"],
)
def test_it_refuses_contexts_that_cannot_be_a08_a09(contexts: bytes) -> None:
    with pytest.raises(ProtocolError):
        pdu.decode_request(raw_request(contexts))


@pytest.mark.parametrize(
    "user",
    [
        item(0x51, b"\0\0\0"),
        item(0x53, b"\0\1"),
        item(0x54, b"\0\x05" + b"1.2.3"),
        item(0x54, b"\0\xff" + b"1.2.3\1\1"),
        item(0x56, b"\xff\xff"),
        item(0x57, b"\0\x051.2.3\0\0\0\x05\0\x091"),
        item(0x58, b"\1"),
        item(0x58, b"\1\0\0\4user"),
        item(0x58, b"\1\0\0\4user\0\0") * 2,
        item(0x52, b"1.2", length=65535),
    ],
)
def test_it_refuses_user_items_whose_lengths_lie_a09(user: bytes) -> None:
    with pytest.raises(ProtocolError):
        pdu.decode_request(raw_request(context(1), user))


def test_it_keeps_128_contexts() -> None:
    body = raw_request(b"".join(context(number) for number in range(1, 256, 2)))
    assert len(pdu.decode_request(body).contexts) == 128


def test_it_hides_what_a_user_identity_says() -> None:
    assert "invented" not in repr(REQUEST)
    assert "radiographer" not in repr(REQUEST)


@given(st.binary(max_size=400))
def test_it_reads_or_refuses_any_bytes_and_nothing_else(tail: bytes) -> None:
    for body in (tail, raw_request(b"")[:-4] + tail, raw_request(context(1), tail)):
        for decode in (pdu.decode_request, pdu.decode_answer, pdu.decode_rejection):
            try:
                decode(body)
            except ProtocolError:
                pass


@given(st.data())
def test_it_survives_any_changed_byte(data: st.DataObject) -> None:
    body = bytearray(pdu.encode_request(REQUEST)[6:])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        request = pdu.decode_request(bytes(body))
    except ProtocolError:
        return
    assert all(one.id % 2 for one in request.contexts)


@pytest.mark.parametrize("title", ["", " ", "SEVENTEEN_LETTERS", "HÔPITAL"])
def test_it_sends_no_ae_title_that_is_none(title: str) -> None:
    with pytest.raises(ValueError, match=r"AE title|ascii"):
        pdu.encode_title(title)


def test_it_writes_the_short_pdus_as_pynetdicom_does() -> None:
    rejection = theirs.A_ASSOCIATE_RJ()
    rejection.decode(pdu.encode_rejection(Rejection(1, 1, 7)))
    assert (rejection.result, rejection.source, rejection.reason_diagnostic) == (1, 1, 7)
    abort = theirs.A_ABORT_RQ()
    abort.decode(pdu.encode_abort(2, 6))
    assert (abort.source, abort.reason_diagnostic) == (2, 6)
    assert pdu.encode_release_request() == theirs.A_RELEASE_RQ().encode()
    assert pdu.encode_release_response() == theirs.A_RELEASE_RP().encode()
    assert pdu.decode_rejection(pdu.encode_rejection(Rejection(2, 3, 2))[6:]) == Rejection(2, 3, 2)
