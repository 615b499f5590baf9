"""pynetdicom as the other side, in both roles and for every service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.dsutils import decode as decode_dataset
from pynetdicom.dsutils import encode as encode_dataset
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation, UserIdentityNegotiation

from hozi.core.dimse import command as commands
from hozi.core.dimse import status
from hozi.core.dimse.acceptor import Acceptance, Acceptor
from hozi.core.dimse.association import AssociateRequest, Association, Message, Peer
from hozi.core.dimse.failures import Aborted, Lost
from hozi.core.dimse.negotiation import choose, choose_roles
from hozi.core.dimse.requestor import Rejected, associate, propose
from tests.core.dimse.listening import (
    COMMITMENT,
    COMMITMENT_INSTANCE,
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    STUDY_FIND,
    STUDY_GET,
    STUDY_MOVE,
    VERIFICATION,
    Everything,
    Received,
    listening,
)


def image(number: int = 1, size: int = 100_000) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CT_IMAGE
    dataset.SOPInstanceUID = f"1.2.3.{number}"
    dataset.PatientName = "Invented^Tendai"
    dataset.Rows = dataset.Columns = 256
    dataset.BitsAllocated = 16
    dataset.PixelData = bytes(size)
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = file_meta = Dataset()  # type: ignore[assignment]
    file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return dataset


def raw(dataset: Dataset) -> bytes:
    return encode_dataset(dataset, True, True) or b""


def parsed(data: bytes) -> Dataset:
    return decode_dataset(BytesIO(data), True, True)


def query(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


@contextmanager
def their_association(acceptor: Acceptor, *sop_classes: str, **options: Any) -> Iterator[Any]:
    entity = AE(ae_title="THEIRS")
    if "max_pdu" in options:
        entity.maximum_pdu_size = options.pop("max_pdu")
    contexts = [build_context(uid, [ImplicitVRLittleEndian]) for uid in sop_classes]
    association = entity.associate("127.0.0.1", acceptor.port, contexts, ae_title="HOZI", **options)
    assert association.is_established
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


@contextmanager
def their_server(sop_classes: tuple[str, ...], handlers: list[Any], **options: Any) -> Iterator[int]:
    entity = AE(ae_title="THEIRS")
    for name, value in options.items():
        setattr(entity, name, value)
    for uid in sop_classes:
        entity.add_supported_context(uid, [ImplicitVRLittleEndian, ExplicitVRLittleEndian], True, True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def ask(port: int, *sop_classes: str, **options: Any) -> Association:
    return associate(
        "127.0.0.1",
        port,
        calling_ae="HOZI",
        called_ae="THEIRS",
        contexts=propose({uid: [IMPLICIT] for uid in sop_classes}),
        **options,
    )


# They ask


@pytest.mark.parametrize("our_maximum", [0, 4096, 16000, 131072])
def test_it_stores_to_us_with_any_maximum_of_ours_e06(received: Received, our_maximum: int) -> None:
    with listening(received.serve, max_pdu=our_maximum) as acceptor:
        with their_association(acceptor, CT_IMAGE, VERIFICATION) as association:
            assert association.send_c_echo().Status == 0
            for number in range(3):
                assert association.send_c_store(image(number)).Status == 0
        received.wait_for_end()
    stores = [(c.affected_sop_instance, data) for c, _, data in received.messages if c.field == commands.C_STORE_RQ]
    assert stores == [(f"1.2.3.{number}", raw(image(number))) for number in range(3)]
    assert received.errors == []


def test_it_gets_failures_and_comments_from_us() -> None:
    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            association.respond(
                message,
                status.CANNOT_UNDERSTAND,
                error_comment="the dataset cannot be read",
                offending_elements=(0x00080018,),
            )

    with listening(serve) as acceptor, their_association(acceptor, CT_IMAGE) as association:
        response = association.send_c_store(image())
        assert response.Status == 0xC000
        assert response.ErrorComment == "the dataset cannot be read"
        assert response.OffendingElement == 0x00080018


@pytest.mark.parametrize("their_maximum", [0, 4096, 16000])
def test_it_finds_with_us_with_any_maximum_of_its_own_e06(their_maximum: int) -> None:
    matches = [query(PatientName=f"Invented^{number}", PatientComments="x" * 3000) for number in range(5)]

    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            asked = parsed(message.dataset())
            assert asked.QueryRetrieveLevel == "STUDY"
            for match in matches:
                association.respond(message, status.PENDING, identifier=raw(match))
            association.respond(message, status.SUCCESS)

    with listening(serve) as acceptor:
        with their_association(acceptor, STUDY_FIND, max_pdu=their_maximum) as association:
            answers = list(association.send_c_find(query(QueryRetrieveLevel="STUDY"), STUDY_FIND))
    assert [answer.Status for answer, _ in answers] == [0xFF00] * 5 + [0]
    assert [identifier for _, identifier in answers[:5]] == matches


def test_it_cancels_a_query_of_its_own_e42() -> None:
    def serve(association: Association) -> None:
        message = association.receive()
        assert message is not None
        message.dataset()
        while not association.cancelled(message.command.message_id):
            association.respond(message, status.PENDING, identifier=raw(query(PatientID="1")))
        association.respond(message, status.CANCEL)
        assert association.receive() is None

    with listening(serve) as acceptor, their_association(acceptor, STUDY_FIND) as association:
        codes = []
        for answer, _ in association.send_c_find(query(QueryRetrieveLevel="STUDY"), STUDY_FIND, msg_id=5):
            codes.append(answer.Status)
            if len(codes) == 3:
                association.send_c_cancel(5, query_model=STUDY_FIND)
        assert codes[-1] == 0xFE00
        assert set(codes[:-1]) == {0xFF00}


def test_it_moves_with_us_and_hears_the_counts() -> None:
    def serve(association: Association) -> None:
        message = association.receive()
        assert message is not None
        message.dataset()
        assert message.command.move_destination == "VIEWER"
        association.respond(message, status.PENDING, remaining=1, completed=1, failed=0, warning=0)
        association.respond(
            message,
            status.SUB_OPERATIONS_COMPLETE_WITH_FAILURES,
            identifier=raw(query(FailedSOPInstanceUIDList=["1.2.3"])),
            completed=1,
            failed=1,
            warning=0,
        )
        assert association.receive() is None

    with listening(serve) as acceptor, their_association(acceptor, STUDY_MOVE) as association:
        asked = query(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2")
        (pending, _), (final, failed) = association.send_c_move(asked, "VIEWER", STUDY_MOVE)
        assert (pending.Status, pending.NumberOfRemainingSuboperations) == (0xFF00, 1)
        assert (final.Status, final.NumberOfFailedSuboperations) == (0xB000, 1)
        assert failed.FailedSOPInstanceUIDList == "1.2.3"


def test_it_gets_from_us_on_the_same_association_e10() -> None:
    images = [image(number, 300_000) for number in range(3)]

    def serve(association: Association) -> None:
        message = association.receive()
        assert message is not None
        message.dataset()
        (context,) = association.contexts_for(CT_IMAGE)
        assert context.as_scu
        for number, dataset in enumerate(images):
            answer = association.store(context, CT_IMAGE, dataset.SOPInstanceUID, [raw(dataset)])
            assert answer.status == status.SUCCESS
            left = len(images) - number - 1
            association.respond(message, status.PENDING, remaining=left, completed=number + 1, failed=0, warning=0)
        association.respond(message, status.SUCCESS, completed=3, failed=0, warning=0)
        assert association.receive() is None

    stored = []

    def on_store(event: Any) -> int:
        stored.append(event.request.DataSet.getvalue())
        return 0x0000

    with (
        listening(serve) as acceptor,
        their_association(
            acceptor,
            STUDY_GET,
            CT_IMAGE,
            ext_neg=[build_role(CT_IMAGE, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, on_store)],
        ) as association,
    ):
        asked = query(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2")
        answers = [answer.Status for answer, _ in association.send_c_get(asked, STUDY_GET)]
    assert answers[-1] == 0
    assert stored == [raw(dataset) for dataset in images]


def test_it_asks_us_for_a_commitment_and_hears_of_it_on_the_same_association() -> None:
    def serve(association: Association) -> None:
        message = association.receive()
        assert message is not None
        information = parsed(message.dataset())
        assert message.command.requested_sop_instance == COMMITMENT_INSTANCE
        association.respond(message, status.SUCCESS)
        report = association.event_report(message.context, COMMITMENT, COMMITMENT_INSTANCE, 1, raw(information))
        assert report.status == status.SUCCESS
        assert association.receive() is None

    heard = threading.Event()

    def on_report(event: Any) -> tuple[int, None]:
        assert event.event_type == 1
        assert event.event_information.TransactionUID == "1.2.3.4"
        heard.set()
        return 0x0000, None

    with (
        listening(serve) as acceptor,
        their_association(acceptor, COMMITMENT, evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)]) as association,
    ):
        information = query(TransactionUID="1.2.3.4")
        answer, _ = association.send_n_action(information, 1, COMMITMENT, COMMITMENT_INSTANCE)
        assert answer.Status == 0
        assert heard.wait(10)


def test_it_negotiates_extensions_and_identity_with_us_e09_e11(received: Received) -> None:
    def decide(request: AssociateRequest, peer: Peer) -> Acceptance:
        assert request.identity is not None
        assert request.identity.primary == b"radiographer"
        return Acceptance(
            choose(request, lambda uid: Everything()),
            choose_roles(request, lambda uid: (True, True)),
            extended={STUDY_FIND: request.extended[STUDY_FIND][:1]},
            identity_response=b"",
        )

    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid = STUDY_FIND
    extended.service_class_application_information = b"\1\1\1\1\1"
    identity = UserIdentityNegotiation()
    identity.user_identity_type = 1
    identity.positive_response_requested = True
    identity.primary_field = b"radiographer"
    with listening(received.serve, decide=decide) as acceptor:
        with their_association(acceptor, STUDY_FIND, ext_neg=[extended, identity]) as association:
            assert association.acceptor.sop_class_extended == {STUDY_FIND: b"\1"}
            assert association.acceptor.user_identity is not None


def test_it_may_abort_and_go_away(received: Received) -> None:
    with listening(received.serve) as acceptor:
        with their_association(acceptor, CT_IMAGE) as association:
            association.send_c_store(image())
            association.abort()
        received.wait_for_end()
    assert isinstance(received.errors[0], (Aborted, Lost))


# We ask


@pytest.mark.parametrize("their_maximum", [0, 4096, 16000, 131072])
@pytest.mark.parametrize("cut", [7, 1 << 20])
def test_we_store_to_it_with_any_maximum_of_its_own_e06(their_maximum: int, cut: int) -> None:
    stored = []

    def on_store(event: Any) -> int:
        stored.append(
            (
                event.request.AffectedSOPInstanceUID,
                event.request.MoveOriginatorApplicationEntityTitle,
                event.request.MoveOriginatorMessageID,
                event.request.DataSet.getvalue(),
            )
        )
        return 0x0000

    dataset = raw(image(7, 50_000))
    with their_server((CT_IMAGE,), [(evt.EVT_C_STORE, on_store)], maximum_pdu_size=their_maximum) as port:
        with ask(port, CT_IMAGE) as association:
            (context,) = association.contexts_for(CT_IMAGE)
            chunks = (dataset[at : at + cut] for at in range(0, len(dataset), cut))
            response = association.store(context, CT_IMAGE, "1.2.3.7", chunks, originator=("VIEWER", 9))
            assert response.status == status.SUCCESS
            assert response.affected_sop_instance == "1.2.3.7"
    assert stored == [("1.2.3.7", "VIEWER", 9, dataset)]


def test_we_find_with_it() -> None:
    def on_find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        assert event.identifier.QueryRetrieveLevel == "STUDY"
        for number in range(3):
            yield 0xFF00, query(StudyInstanceUID=f"1.2.{number}")

    with their_server((STUDY_FIND,), [(evt.EVT_C_FIND, on_find)]) as port, ask(port, STUDY_FIND) as association:
        answers = list(association.find(association.contexts[1], raw(query(QueryRetrieveLevel="STUDY"))))
        assert [command.status for command, _ in answers] == [0xFF00] * 3 + [0]
        found = [parsed(identifier).StudyInstanceUID for _, identifier in answers if identifier]
        assert found == ["1.2.0", "1.2.1", "1.2.2"]


def test_we_cancel_a_query_and_it_hears_of_it_e42() -> None:
    cancelled = threading.Event()

    def on_find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        for _ in range(10_000):
            if event.is_cancelled:
                cancelled.set()
                yield 0xFE00, None
                return
            yield 0xFF00, query(StudyInstanceUID="1.2")

    with their_server((STUDY_FIND, VERIFICATION), [(evt.EVT_C_FIND, on_find)]) as port:
        with ask(port, STUDY_FIND, VERIFICATION) as association:
            for command, _ in association.find(association.contexts[1], raw(query(QueryRetrieveLevel="STUDY"))):
                assert command.status == status.PENDING
                break
            assert association.echo(association.contexts[3]).status == status.SUCCESS
    assert cancelled.is_set()


def test_we_move_with_it(acceptor: Acceptor, received: Received) -> None:
    def on_move(event: Any) -> Iterator[Any]:
        assert event.move_destination == "HOZI"
        yield "127.0.0.1", acceptor.port
        yield 2
        for number in range(2):
            yield 0xFF00, image(number)

    with their_server((STUDY_MOVE,), [(evt.EVT_C_MOVE, on_move)], requested_contexts=[build_context(CT_IMAGE)]) as port:
        with ask(port, STUDY_MOVE) as association:
            asked = raw(query(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2"))
            answers = list(association.move(association.contexts[1], asked, "HOZI"))
    final = answers[-1][0]
    assert (final.status, final.completed, final.failed) == (status.SUCCESS, 2, 0)
    assert [command.remaining for command, _ in answers[:-1]] == [1, 0]
    received.wait_for(2)
    assert received.messages[0][0].move_originator_ae == "THEIRS"
    assert received.messages[0][0].move_originator_message_id == 1


def test_we_get_from_it_e10() -> None:
    def on_get(event: Any) -> Iterator[Any]:
        yield 3
        for number in range(3):
            yield 0xFF00, image(number)

    got = []

    def on_store(message: Message) -> int:
        got.append((message.command.affected_sop_instance, message.dataset()))
        return status.SUCCESS if len(got) < 3 else status.CANNOT_UNDERSTAND

    with their_server((STUDY_GET, CT_IMAGE), [(evt.EVT_C_GET, on_get)]) as port:
        with ask(port, STUDY_GET, CT_IMAGE, roles={CT_IMAGE: (False, True)}) as association:
            assert association.contexts_for(CT_IMAGE)[0].as_scp
            asked = raw(query(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2"))
            answers = list(association.get(association.contexts[1], asked, on_store))
    final, failed = answers[-1]
    assert (final.status, final.completed, final.failed) == (0xB000, 2, 1)
    assert failed is not None
    assert parsed(failed).FailedSOPInstanceUIDList == "1.2.3.2"
    assert got == [(f"1.2.3.{number}", raw(image(number))) for number in range(3)]


def test_we_ask_it_for_a_commitment_and_report_one_as_scp() -> None:
    reports = []

    def on_action(event: Any) -> tuple[int, None]:
        assert event.action_information.TransactionUID == "1.2.3.4"
        return 0x0000, None

    def on_report(event: Any) -> tuple[int, None]:
        reports.append((event.event_type, event.event_information.TransactionUID))
        return 0x0000, None

    handlers = [(evt.EVT_N_ACTION, on_action), (evt.EVT_N_EVENT_REPORT, on_report)]
    information = raw(query(TransactionUID="1.2.3.4"))
    with their_server((COMMITMENT,), handlers) as port:
        with ask(port, COMMITMENT) as association:
            context = association.contexts[1]
            answer = association.action(context, COMMITMENT, COMMITMENT_INSTANCE, 1, information)
            assert (answer.status, answer.field) == (status.SUCCESS, commands.N_ACTION_RSP)
        with ask(port, COMMITMENT, roles={COMMITMENT: (False, True)}) as association:
            context = association.contexts[1]
            assert (context.as_scu, context.as_scp) == (False, True)
            answer = association.event_report(context, COMMITMENT, COMMITMENT_INSTANCE, 1, information)
            assert (answer.status, answer.field) == (status.SUCCESS, commands.N_EVENT_REPORT_RSP)
    assert reports == [(1, "1.2.3.4")]


def test_it_refuses_us_and_we_say_why() -> None:
    with their_server((VERIFICATION,), [], require_called_aet=True) as port:
        with pytest.raises(Rejected, match="another AE title"):
            associate(
                "127.0.0.1", port, calling_ae="HOZI", called_ae="WRONG", contexts=propose({VERIFICATION: [IMPLICIT]})
            )


def test_it_accepts_what_it_can_of_our_proposal_e03_e05() -> None:
    with their_server((VERIFICATION,), []) as port, ask(port, VERIFICATION, CT_IMAGE) as association:
        assert sorted(association.contexts) == [1]
        assert {answer.id: answer.result for answer in association.answer.contexts} == {1: 0, 3: 3}


def test_it_aborts_us_in_the_middle_and_we_notice_e12() -> None:
    def on_store(event: Any) -> int:
        event.assoc.abort()
        return 0x0000

    with their_server((CT_IMAGE,), [(evt.EVT_C_STORE, on_store)]) as port:
        association = ask(port, CT_IMAGE)
        with pytest.raises((Aborted, Lost)):
            association.store(association.contexts[1], CT_IMAGE, "1.2.3.1", [raw(image())])
        assert not association.is_open


def test_it_gets_our_datasets_in_the_syntax_that_was_agreed_on() -> None:
    got: list[Dataset] = []

    def on_store(event: Any) -> int:
        got.append(event.dataset)
        return 0x0000

    with (
        their_server((CT_IMAGE,), [(evt.EVT_C_STORE, on_store)]) as port,
        associate(
            "127.0.0.1",
            port,
            calling_ae="HOZI",
            called_ae="THEIRS",
            contexts=propose({CT_IMAGE: [EXPLICIT]}),
        ) as association,
    ):
        dataset = encode_dataset(image(), False, True) or b""
        association.store(association.contexts[1], CT_IMAGE, "1.2.3.1", [dataset])
    assert got[0].PatientName == "Invented^Tendai"
