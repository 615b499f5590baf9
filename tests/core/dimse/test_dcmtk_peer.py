"""DCMTK's tools as the other side, in both roles, plain and over TLS."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode as encode_dataset

from hozi.core.dimse import command as commands
from hozi.core.dimse import status
from hozi.core.dimse import tls as secure
from hozi.core.dimse.acceptor import Acceptor
from hozi.core.dimse.association import Association, Message
from hozi.core.dimse.failures import Aborted, Lost
from hozi.core.dimse.requestor import Rejected, Unreachable, associate, propose
from tests.core.dimse.conftest import Certificates
from tests.core.dimse.listening import (
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    STUDY_FIND,
    STUDY_GET,
    STUDY_MOVE,
    VERIFICATION,
    Received,
    listening,
)
from tests.peers import free_port, program, wait_until_it_listens

pytestmark = pytest.mark.dcmtk

STUDY = "1.2.3.100"
SERIES = "1.2.3.100.1"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five images of an invented patient."""
    folder = tmp_path_factory.mktemp("images")
    paths = []
    for number in range(5):
        dataset = Dataset()
        dataset.SOPClassUID = CT_IMAGE
        dataset.SOPInstanceUID = f"{SERIES}.{number}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
        dataset.PatientName, dataset.PatientID = "Invented^Rudo", "INV1"
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20261124", "0830", "1"
        dataset.AccessionNumber = "A1"
        dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", 1, number
        dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 256, 256, 16, 12, 11
        dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.PixelData = bytes((number,)) * (256 * 256 * 2)
        dataset["PixelData"].VR = "OW"
        path = folder / f"{number}.dcm"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def run(name: str, *arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [program(name), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def dataset_bytes(path: Path) -> bytes:
    """What a file holds after its header, as explicit little endian."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[140:144], "little")
    return raw[144 + length :]


@contextmanager
def started(name: str, port: int, *arguments: object) -> Iterator[None]:
    """A server of DCMTK's that has begun to listen."""
    process = subprocess.Popen(
        [program(name), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_it_listens(port, process)
        yield
    finally:
        process.terminate()
        process.wait(20)


def ask(port: int, *sop_classes: str, syntax: str = EXPLICIT, **options: object) -> Association:
    arguments = {"calling_ae": "HOZI", "called_ae": "DCMTK"} | options
    return associate(
        "127.0.0.1",
        port,
        contexts=propose({uid: [syntax] for uid in sop_classes}),
        **arguments,  # type: ignore[arg-type]
    )


def raw_query(**elements: object) -> bytes:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return encode_dataset(dataset, False, True) or b""


# They ask


def test_echoscu_echoes_and_aborts(acceptor: Acceptor, received: Received) -> None:
    run("echoscu", "--repeat", 5, "127.0.0.1", acceptor.port)
    run("echoscu", "--abort", "127.0.0.1", acceptor.port)
    run("echoscu", "--propose-ts", 38, "--propose-pc", 128, "127.0.0.1", acceptor.port)
    received.wait_for_end(3)
    assert [command.field for command, _, _ in received.messages] == [commands.C_ECHO_RQ] * 7


@pytest.mark.parametrize("maximum", [4096, 16384, 131072])
def test_storescu_stores_with_pdus_of_any_size_e06(
    acceptor: Acceptor, received: Received, images: list[Path], maximum: int
) -> None:
    run("storescu", "--max-send-pdu", maximum, "--max-pdu", maximum, "127.0.0.1", acceptor.port, *images)
    assert [dataset for _, _, dataset in received.messages] == [dataset_bytes(path) for path in images]
    assert {context.transfer_syntax for _, context, _ in received.messages} == {EXPLICIT}


@pytest.mark.parametrize("tool", ["storescu", "dcmsend"])
def test_it_proposes_contexts_one_by_one_e03(
    acceptor: Acceptor, received: Received, images: list[Path], tool: str
) -> None:
    options = ["--propose-uncompr", "--combine"] if tool == "storescu" else []
    run(tool, *options, "127.0.0.1", acceptor.port, *images)
    assert len(received.messages) == 5


def test_findscu_finds_and_cancels_e42(tmp_path: Path) -> None:
    cancelled = []

    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            message.dataset()
            number = 0
            while number < 3000 and not association.cancelled(message.command.message_id):
                number += 1
                association.respond(message, status.PENDING, identifier=raw_query(StudyInstanceUID=f"1.2.{number}"))
            cancelled.append(number < 3000)
            association.respond(message, status.CANCEL if number < 3000 else status.SUCCESS)

    with listening(serve) as acceptor:
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID"]
        said = run("findscu", "-v", "-S", "--cancel", 5, *keys, "127.0.0.1", acceptor.port)
    assert cancelled == [True]
    assert "1.2.5" in said


def test_findscu_takes_identifiers_in_small_pdus_e06(tmp_path: Path) -> None:
    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            message.dataset()
            for number in range(3):
                identifier = raw_query(PatientComments="x" * 10000, StudyInstanceUID=f"1.2.{number}")
                association.respond(message, status.PENDING, identifier=identifier)
            association.respond(message, status.SUCCESS)

    with listening(serve) as acceptor:
        arguments = ["-S", "-X", "-od", tmp_path, "--max-pdu", 4096, "-k", "QueryRetrieveLevel=STUDY"]
        run("findscu", *arguments, "127.0.0.1", acceptor.port)
    found = [dcmread(path) for path in sorted(tmp_path.glob("rsp*.dcm"))]
    assert [dataset.StudyInstanceUID for dataset in found] == ["1.2.0", "1.2.1", "1.2.2"]
    assert all(dataset.PatientComments == "x" * 10000 for dataset in found)


def test_getscu_gets_and_movescu_moves(images: list[Path], tmp_path: Path) -> None:
    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            message.dataset()
            counts = {"failed": 0, "warning": 0}
            if message.command.field == commands.C_MOVE_RQ:
                association.respond(message, status.PENDING, remaining=1, completed=0, **counts)
                association.respond(message, status.SUCCESS, completed=1, **counts)
                continue
            (context,) = association.contexts_for(CT_IMAGE)
            assert context.transfer_syntax == EXPLICIT
            for number, path in enumerate(images, start=1):
                uid = f"{SERIES}.{number - 1}"
                assert association.store(context, CT_IMAGE, uid, [dataset_bytes(path)]).status == status.SUCCESS
                left = len(images) - number
                association.respond(message, status.PENDING, remaining=left, completed=number, **counts)
            association.respond(message, status.SUCCESS, completed=len(images), **counts)

    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}"]
    with listening(serve) as acceptor:
        run("getscu", "-S", "-od", tmp_path, "+xe", *keys, "127.0.0.1", acceptor.port)
        said = run("movescu", "-d", "-S", "-aem", "VIEWER", *keys, "127.0.0.1", acceptor.port)
    assert "Success" in said
    got = sorted(path for path in tmp_path.iterdir())
    assert [dataset_bytes(path) for path in got] == [dataset_bytes(path) for path in images]


def test_storescu_stores_to_us_over_tls(received: Received, images: list[Path], certificates: Certificates) -> None:
    context = secure.server_context(certificates.archive, certificates.archive_key, certificates.ca)
    with listening(received.serve, tls=context) as acceptor:
        tls = ["+tls", certificates.scanner_key, certificates.scanner, "+cf", certificates.ca]
        run("storescu", *tls, "localhost", acceptor.port, *images)
        stranger = ["+tls", certificates.stranger_key, certificates.stranger, "+cf", certificates.ca]
        for refused in ((*stranger, "localhost"), ("127.0.0.1",)):
            run("storescu", *refused, acceptor.port, *images, code=1)
    assert [dataset for _, _, dataset in received.messages] == [dataset_bytes(path) for path in images]
    assert received.associations[0].peer.certificate_subject.startswith("CN=scanner")


# We ask


@pytest.mark.parametrize("maximum", [4096, 131072])
def test_storescp_takes_what_we_store_e06(images: list[Path], tmp_path: Path, maximum: int) -> None:
    port = free_port()
    with started("storescp", port, "--max-pdu", maximum, "+B", "-od", tmp_path, port):
        with ask(port, CT_IMAGE, VERIFICATION) as association:
            assert association.echo(association.contexts[3]).status == status.SUCCESS
            for number, path in enumerate(images):
                data = memoryview(dataset_bytes(path))
                chunks = [data[:1001], data[1001:]]
                response = association.store(association.contexts[1], CT_IMAGE, f"{SERIES}.{number}", chunks)
                assert response.status == status.SUCCESS
    got = sorted(tmp_path.iterdir())
    assert [dataset_bytes(path) for path in got] == [dataset_bytes(path) for path in images]


def test_storescp_refuses_and_aborts_us(tmp_path: Path, images: list[Path]) -> None:
    port = free_port()
    with started("storescp", port, "--refuse", "-od", tmp_path, port), pytest.raises(Rejected):
        ask(port, CT_IMAGE)
    port = free_port()
    with started("storescp", port, "--abort-during", "-od", tmp_path, port):
        association = ask(port, CT_IMAGE)
        with pytest.raises((Aborted, Lost)):
            for number in range(100):
                data = dataset_bytes(images[0])
                association.store(association.contexts[1], CT_IMAGE, f"{SERIES}.{number}", [data])
        assert not association.is_open


def test_storescp_takes_what_we_store_over_tls(images: list[Path], tmp_path: Path, certificates: Certificates) -> None:
    port = free_port()
    tls = ["+tls", certificates.archive_key, certificates.archive, "+cf", certificates.ca, "--require-peer-cert"]
    with started("storescp", port, *tls, "+B", "-od", tmp_path, port):
        client = secure.client_context(certificates.ca, certificates.scanner, certificates.scanner_key)
        with ask(port, CT_IMAGE, tls=client, server_hostname="localhost") as association:
            assert association.peer.certificate_subject.startswith("CN=archive")
            data = dataset_bytes(images[0])
            for _ in range(3):
                response = association.store(association.contexts[1], CT_IMAGE, f"{SERIES}.0", [data])
                assert response.status == status.SUCCESS
        foreign = secure.client_context(certificates.ca, certificates.stranger, certificates.stranger_key)
        with pytest.raises(Unreachable) as caught:
            ask(port, CT_IMAGE, tls=foreign, server_hostname="localhost")
        assert caught.value.kind == "tls"
        with pytest.raises((Unreachable, Lost)):
            ask(port, CT_IMAGE)
    assert [dataset_bytes(path) for path in tmp_path.iterdir()] == [data]


@pytest.fixture
def archive_of_theirs(tmp_path: Path, acceptor: Acceptor) -> Iterator[int]:
    """dcmqrscp, which knows our acceptor as the move destination HOZI."""
    store = tmp_path / "store"
    store.mkdir()
    port = free_port()
    configuration = tmp_path / "dcmqrscp.cfg"
    configuration.write_text(
        f"""NetworkTCPPort = {port}
MaxPDUSize = 16384
MaxAssociations = 16
HostTable BEGIN
hozi = (HOZI, 127.0.0.1, {acceptor.port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
DCMTK {store} RW (10, 1024mb) ANY
AETable END
"""
    )
    with started("dcmqrscp", port, "-c", configuration):
        yield port


def test_we_store_find_move_and_get_with_dcmqrscp(
    archive_of_theirs: int, images: list[Path], received: Received
) -> None:
    with ask(archive_of_theirs, CT_IMAGE) as association:
        for number, path in enumerate(images):
            chunks = [dataset_bytes(path)]
            response = association.store(association.contexts[1], CT_IMAGE, f"{SERIES}.{number}", chunks)
            assert response.status == status.SUCCESS
    asked = raw_query(QueryRetrieveLevel="STUDY", StudyInstanceUID=STUDY, PatientName="")
    with ask(archive_of_theirs, STUDY_FIND) as association:
        (match, identifier), (final, _) = association.find(association.contexts[1], asked)
        assert (match.status, final.status) == (status.PENDING, status.SUCCESS)
        assert identifier is not None
        assert b"Invented^Rudo" in identifier
    asked = raw_query(QueryRetrieveLevel="STUDY", StudyInstanceUID=STUDY)
    with ask(archive_of_theirs, STUDY_MOVE) as association:
        *_, (final, _) = association.move(association.contexts[1], asked, "HOZI")
        assert (final.status, final.completed, final.failed) == (status.SUCCESS, 5, 0)
        *_, (final, _) = association.move(association.contexts[1], asked, "NOBODY")
        assert final.status == status.MOVE_DESTINATION_UNKNOWN
    assert sorted(data for _, _, data in received.messages) == [dataset_bytes(path) for path in images]
    got = {}

    def on_store(message: Message) -> int:
        got[message.command.affected_sop_instance] = message.dataset()
        return status.SUCCESS

    with ask(archive_of_theirs, STUDY_GET, CT_IMAGE, roles={CT_IMAGE: (False, True)}) as association:
        *_, (final, _) = association.get(association.contexts[1], asked, on_store)
        assert (final.status, final.completed) == (status.SUCCESS, 5)
    assert got == {f"{SERIES}.{number}": dataset_bytes(path) for number, path in enumerate(images)}


def test_dcmqrscp_refuses_a_wrong_title(archive_of_theirs: int) -> None:
    with pytest.raises(Rejected) as caught:
        ask(archive_of_theirs, CT_IMAGE, called_ae="WRONG")
    assert caught.value.reason == 7


def test_it_sends_implicit_little_endian_where_that_was_agreed_on(images: list[Path], tmp_path: Path) -> None:
    port = free_port()
    with started("storescp", port, "+B", "-od", tmp_path, "+xi", port):
        with ask(port, CT_IMAGE, syntax=IMPLICIT) as association:
            data = encode_dataset(dcmread(images[0]), True, True) or b""
            assert association.store(association.contexts[1], CT_IMAGE, f"{SERIES}.0", [data]).status == 0
    (path,) = tmp_path.iterdir()
    assert dcmread(path).file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert dataset_bytes(path) == data
