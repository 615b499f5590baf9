"""Attacks A01 to A28 on the whole archive, over the network: refused or harmless, and a scanner is served afterwards.

What the protocol layer does against each is held in `tests/core/dimse`, what the scan does in `tests/core/dicom`,
files and media (A15, A16, A22) in `tests/archive/test_bring_abuse.py`, UIDs (A11, A12) in `test_edge_cases_storing.py`,
wrong certificates (A02) in `test_tls.py`.
"""

from __future__ import annotations

import logging
import random
import resource
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import

from hozi.archive.exceptions import open_cases
from hozi.archive.models import Instance
from hozi.archive.verify import verify
from hozi.audit.models import Event
from hozi.audit.record import Code
from hozi.core.dimse import pdu
from hozi.core.dimse.association import AssociateRequest, ProposedContext
from hozi.doors.dimse import reach
from hozi.settings import HOZI
from tests.archive_running import Caller, RunningArchive, identifier, running
from tests.core.dimse.listening import Raw, p_data, pdv, store_command
from tests.doors.dimse.images import CT, EXPLICIT, IMPLICIT, RLE, encoded, image
from tests.doors.dimse.test_edge_cases_storing import element, reasons, send

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

SUCCESS, WRONG_IDENTIFIER = 0x0000, 0xA900
JPEG, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
DEFLATED = "1.2.840.10008.1.2.1.99"


@pytest.fixture
def ct1(archive: RunningArchive, caplog: pytest.LogCaptureFixture) -> Iterator[Caller]:
    """A scanner, which is served whatever the test has done, by an archive that is whole and has no stack trace."""
    scanner = archive.admit("CT1")
    with caplog.at_level(logging.DEBUG):
        yield scanner
    dataset = image()
    assert send(scanner, dataset) == (SUCCESS, "")
    assert verify().clean
    assert not [entry for entry in caplog.records if entry.name.startswith("hozi") and entry.exc_info]


def keep(caller: Caller, dataset: Dataset) -> Dataset:
    assert send(caller, dataset) == (SUCCESS, "")
    return dataset


def refusal(archive: RunningArchive, calling: str, called: str = "HOZI", source: str = "127.0.0.1") -> bytes:
    """Result, source and reason with which an association is rejected."""
    with socket.create_connection(("127.0.0.1", archive.port), source_address=(source, 0)) as sock, Raw(sock) as peer:
        contexts = (ProposedContext(1, str(Verification), (IMPLICIT,)), ProposedContext(3, CT, (EXPLICIT,)))
        peer.send(pdu.encode_request(AssociateRequest(calling, called, contexts)))
        kind, body = peer.pdu()
        assert kind == pdu.ASSOCIATE_RJ
        return body[1:]


def alerts() -> list[tuple[str, str]]:
    """Who was refused, from where, as the audit has it."""
    found = Event.objects.filter(code=Code.SECURITY_ALERT, detail__type="110126").order_by("pk")
    return list(found.values_list("actor", "detail__reason"))


# Who may come in -------------------------------------------------------------------------------------


def test_a01_an_unknown_caller_is_rejected_and_in_the_audit(archive: RunningArchive, ct1: Caller) -> None:
    assert refusal(archive, "STRANGER") == bytes((1, 1, 3))
    assert refusal(archive, "ct1") == bytes((1, 1, 3))
    assert refusal(archive, "CT1' OR 1=1--") == bytes((1, 1, 3))
    assert [reason for _, reason in alerts()] == ["calling-ae"] * 3
    assert not Instance.objects.exists()


def test_a02_a_known_name_from_another_address_is_rejected_and_in_the_audit(
    archive: RunningArchive, ct1: Caller
) -> None:
    assert refusal(archive, "CT1", source="127.0.0.9") == bytes((1, 1, 3))
    assert alerts() == [("CT1", "address")]


def test_a03_guessing_the_archives_name_tells_nothing_and_fills_nothing(archive: RunningArchive, ct1: Caller) -> None:
    for number in range(100):
        assert refusal(archive, "CT1", called=f"GUESS{number}") == bytes((1, 1, 7))
    assert {reason for _, reason in alerts()} == {"called-ae"}


def test_a04_a_scanner_gets_in_beside_200_silent_connections(archive: RunningArchive, ct1: Caller) -> None:
    silent = [socket.create_connection(("127.0.0.1", archive.port)) for _ in range(200)]
    try:
        assert send(ct1, image()) == (SUCCESS, "")
    finally:
        for sock in silent:
            sock.close()


# What is no DICOM ------------------------------------------------------------------------------------

REQUEST = pdu.encode_request(AssociateRequest("CT1", "HOZI", (ProposedContext(1, CT, (EXPLICIT,)),)))


def lengthened(request: bytes, more: bytes) -> bytes:
    """An A-ASSOCIATE-RQ with more items at its end, and the length that it then has."""
    return request[:2] + struct.pack(">I", len(request) - 6 + len(more)) + request[6:] + more


def item(kind: int, content: bytes, length: int | None = None) -> bytes:
    """An item of an A-ASSOCIATE-RQ, as long as it says or not."""
    return struct.pack(">BxH", kind, len(content) if length is None else length) + content


def nested_items() -> bytes:
    """A megabyte of user information, one item within the other as deep as lengths of 16 bits go."""
    content = b""
    while len(content) < 0xFFF0:
        content = item(0x50, content)
    return content * 15


@pytest.mark.parametrize(
    "data",
    [b"\1\0\xff\xff\xff\xf0" + bytes(1000), b"\1\0\x7f\xff\xff\xff", b"\1\0\0\x10\0\1" + bytes(1 << 16)],
    ids=["4 GiB", "2 GiB", "a byte more than 1 MiB"],
)
def test_a05_a_length_beyond_reason_is_not_waited_for(archive: RunningArchive, ct1: Caller, data: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        with Raw.to(archive.port) as peer:
            peer.send(data[:6])
            assert peer.pdu() == (pdu.ABORT, bytes((0, 0, 2, 6)))
        with Raw.to(archive.port) as peer:
            try:
                peer.send(data)
            except OSError:
                pass  # it had hung up before all was sent
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5 * 1024


def test_a06_a_request_that_comes_byte_by_byte_is_cut_off_and_keeps_nobody_out(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "HOZI", HOZI.model_copy(update={"artim_seconds": 1}))
    with running() as archive, ExitStack() as stack:
        scanner = archive.admit("CT1")
        slow = [stack.enter_context(Raw.to(archive.port)) for _ in range(8)]
        sent = 0
        with pytest.raises(OSError):  # the archive has hung up
            for sent, byte in enumerate(REQUEST):
                for peer in slow:
                    peer.send(bytes((byte,)))
                if sent == 10:
                    assert send(scanner, image()) == (SUCCESS, "")
                time.sleep(0.02)
        assert 10 < sent < len(REQUEST) - 1
        assert send(scanner, image()) == (SUCCESS, "")
        assert verify().clean


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: archive\r\n\r\n",
        bytes.fromhex("16030100c8010000c403035f") + bytes(range(190)),
        b"\0" * 5000,
        bytes(random.Random(7).randbytes(5000)),
        b"",
    ],
    ids=["HTTP", "TLS", "zeros", "chance", "nothing"],
)
def test_a07_what_speaks_another_language_is_hung_up_on(archive: RunningArchive, ct1: Caller, data: bytes) -> None:
    for _ in range(20):
        with Raw.to(archive.port) as peer:
            peer.send(data)
            if data:
                try:
                    assert peer.pdu()[0] == pdu.ABORT
                except OSError:
                    pass  # hung up on before all was read: nothing was said
    assert alerts() == []


@pytest.mark.parametrize(
    "contexts",
    [
        [(number % 256, str(Verification), (IMPLICIT,)) for number in range(1, 300, 2)],
        [(2, str(Verification), (IMPLICIT,))],
        [(0, str(Verification), (IMPLICIT,))],
        [(1, str(Verification), (IMPLICIT,)), (1, CT, (EXPLICIT,))],
        [(1, str(Verification), ())],
        [(1, "", (IMPLICIT,))],
        [(1, "1" * 5000, ("2" * 5000,))],
    ],
    ids=["150 contexts", "even", "zero", "twice the same", "no transfer syntax", "no name", "endless names"],
)
def test_a08_contexts_that_cannot_be_are_refused(
    archive: RunningArchive, ct1: Caller, contexts: list[tuple[int, str, tuple[str, ...]]]
) -> None:
    with Raw.to(archive.port) as peer:
        proposed = tuple(ProposedContext(*context) for context in contexts)
        peer.send(pdu.encode_request(AssociateRequest("CT1", "HOZI", proposed)))
        kind, body = peer.pdu()
    assert kind in (pdu.ASSOCIATE_AC, pdu.ABORT)
    if kind == pdu.ASSOCIATE_AC:
        assert not [context for context in pdu.decode_answer(body).contexts if context.result == 0]


@pytest.mark.parametrize(
    "more",
    [
        item(0x50, b"\x51\0\0\4", 0xFFFF),
        item(0x50, item(0x51, bytes(4), 0xFFFF)),
        item(0x50, item(0x54, struct.pack(">H", 0xFFF0) + b"1.2")),
        item(0x20, b"\3\0\0\0" + item(0x30, CT.encode(), 0xFFFF)),
        item(0x50, item(0x51, b"\0\0")),
        nested_items() + item(0x50, b"\x51\0\0\4", 0xFFFF),
    ],
    ids=["item", "item in an item", "UID in an item", "syntax in a context", "too short", "a megabyte, and an item"],
)
def test_a09_an_item_that_is_longer_than_what_holds_it_ends_the_connection(
    archive: RunningArchive, ct1: Caller, more: bytes
) -> None:
    with Raw.to(archive.port) as peer:
        peer.send(lengthened(REQUEST, more))
        assert peer.pdu() == (pdu.ABORT, bytes((0, 0, 2, 6)))


def test_a09_a_megabyte_of_items_in_items_is_read_once_and_means_nothing(archive: RunningArchive, ct1: Caller) -> None:
    with Raw.to(archive.port) as peer:
        peer.send(lengthened(REQUEST, nested_items()))
        kind, body = peer.pdu()
        assert kind == pdu.ASSOCIATE_AC
        assert [context.id for context in pdu.decode_answer(body).contexts if context.result == 0] == [1]


def test_a10_a_dataset_without_a_command_or_without_an_end_stores_nothing(archive: RunningArchive, ct1: Caller) -> None:
    data = encoded(image())
    for message in (
        p_data(pdv(1, 2, data)),
        p_data(pdv(1, 3, store_command())) + p_data(pdv(3, 2, data)),
        p_data(pdv(1, 3, store_command())) + p_data(pdv(1, 0, data)),
        p_data(pdv(1, 1, store_command())),
    ):
        with Raw.to(archive.port) as peer:
            context = ProposedContext(1, CT, (EXPLICIT,))
            peer.send(pdu.encode_request(AssociateRequest("CT1", "HOZI", (context,))))
            assert peer.pdu()[0] == pdu.ASSOCIATE_AC
            peer.send(message)
    assert not Instance.objects.exists()
    assert not list(open_cases())


# What lies -------------------------------------------------------------------------------------------


def test_a13_nesting_empty_items_and_lying_lengths_are_refused(ct1: Caller) -> None:
    dataset = image(PixelData=None)
    uid = str(dataset.SOPInstanceUID)
    head = element(0x00080016, b"UI", CT.encode() + b"\0")
    head += element(0x00080018, b"UI", uid.encode() + b"\0" * (len(uid) % 2))
    item = b"\xfe\xff\x00\xe0"
    evil = [
        (element(0x00081115, b"SQ", b"", 0xFFFFFFFF) + item + b"\xff\xff\xff\xff") * 10_000,
        element(0x00081115, b"SQ", b"", 0xFFFFFFFF) + (item + b"\0\0\0\0") * 3_000_000,
        element(0x00081115, b"SQ", item + b"\0\0\0\0", 0x7FFFFFFF),
        element(0x00081115, b"SQ", item + struct.pack("<I", 0xFFFFFFF0)),
    ]
    for data in evil:
        status, comment = send(ct1, dataset, head + data)
        assert status == 0xC000
        assert comment
    assert reasons() == ["unreadable"] * len(evil)


def test_a14_a_deflated_bomb_is_kept_small(ct1: Caller) -> None:
    dataset = image(PixelData=None)
    squeeze = zlib.compressobj(9, wbits=-15)
    head = encoded(dataset) + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0x7FFFFFFE)
    data = squeeze.compress(head) + squeeze.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers to what was before: the same block may come again and again.
    data += (squeeze.compress(bytes(1 << 24)) + squeeze.flush(zlib.Z_FULL_FLUSH)) * 120 + squeeze.flush()
    assert send(ct1, dataset, data, DEFLATED)[0] == 0xC000
    kept = sum(path.stat().st_size for path in (HOZI.storage / "objects").rglob("*") if path.is_file())
    assert kept < len(data) + 10_000


ENORMOUS = {"Rows": 65535, "Columns": 65535, "NumberOfFrames": str(2**31 - 1), "BitsAllocated": 255}


def test_a17_sizes_beyond_reason_are_stored_as_they_came_and_never_unpacked(ct1: Caller) -> None:
    dataset = image(PixelData=None, **ENORMOUS)
    data = encoded(dataset) + element(0x7FE00010, b"OB", b"", 0xFFFFFFFF) + encapsulate([bytes(64)])
    data += b"\xfe\xff\xdd\xe0\0\0\0\0"
    assert send(ct1, dataset, data, RLE) == (SUCCESS, "")
    assert_given_back_and_not_unpacked(ct1, dataset, data, RLE)


def test_a18_numbers_in_other_forms_than_theirs_are_stored_and_not_believed(ct1: Caller) -> None:
    dataset = image()
    rows = element(0x00280010, b"US", b"\x08\0")
    data = encoded(dataset)
    assert data.count(rows) == 1
    for number, other in enumerate(
        (
            element(0x00280010, b"UL", b"\xff\xff\xff\xff"),
            element(0x00280010, b"US", b"\x08"),
            element(0x00280008, b"IS", b"-1") + rows,
            element(0x00280008, b"IS", b"9" * 400) + rows,
            element(0x00280010, b"IS", b"1e9 "),
        )
    ):
        uid = f"{str(dataset.SOPInstanceUID)[:-2]}{number}0"
        changed = data.replace(rows, other).replace(str(dataset.SOPInstanceUID).encode(), uid.encode())
        assert ct1.store(changed, CT, uid) == (SUCCESS, "")
        assert ct1.get("IMAGE", SOPInstanceUID=uid, classes=[(CT, [EXPLICIT])]).objects == {uid: changed}
        unique = {"StudyInstanceUID": dataset.StudyInstanceUID, "SeriesInstanceUID": dataset.SeriesInstanceUID}
        assert len(ct1.find("IMAGE", SOPInstanceUID=uid, Rows="", NumberOfFrames="", **unique)) == 1


def test_a19_a_palette_that_lies_is_stored_and_given_back_as_it_came(ct1: Caller) -> None:
    dataset = image(PhotometricInterpretation="PALETTE COLOR", PixelData=b"\xff" * 64)
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [65535, 60000, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", b"\0\1")
    data = encoded(dataset)
    assert send(ct1, dataset, data) == (SUCCESS, "")
    got = ct1.get("IMAGE", SOPInstanceUID=dataset.SOPInstanceUID, classes=[(CT, [EXPLICIT])])
    assert got.objects == {dataset.SOPInstanceUID: data}
    got = ct1.get("IMAGE", SOPInstanceUID=dataset.SOPInstanceUID, classes=[(CT, [IMPLICIT])])
    assert got.objects[dataset.SOPInstanceUID].endswith(b"\xff" * 64)


#: Streams that a decoder stumbles over, by what they claim to be.
STREAMS = {
    "RLE cut short": (RLE, struct.pack("<16I", 1, 64, *[0] * 14) + b"\x3f\1"),
    "RLE that points behind its end": (RLE, struct.pack("<16I", 1, 0x7FFFFFFF, *[0] * 14) + bytes(64)),
    "RLE of too many segments": (RLE, struct.pack("<16I", 0xFFFFFFFF, *[64] * 15) + bytes(64)),
    "JPEG cut short": (JPEG, bytes.fromhex("ffd8ffc3000b0800080008 01011100".replace(" ", ""))),
    "JPEG of 65535 x 65535": (JPEG, bytes.fromhex("ffd8ffc3000b08ffffffff01011100ffda0008010100010000ffd9")),
    "JPEG-LS cut short": (JPEG_LS, bytes.fromhex("ffd8fff7000b0800080008010111 00".replace(" ", ""))),
    "JPEG 2000 of 100,000 tiles": (
        JPEG_2000,
        b"\xff\x4f\xff\x51"
        + struct.pack(">HHIIIIIIIIH", 41, 0, 100_000, 100_000, 0, 0, 316, 316, 0, 0, 1)
        + bytes((7, 1, 1, 0)),
    ),
    "nothing": (JPEG_2000, b"\0\0"),
}


@pytest.mark.parametrize(("syntax", "stream"), STREAMS.values(), ids=STREAMS.keys())
def test_a20_a_stream_that_breaks_decoders_is_given_back_and_never_half_unpacked(
    ct1: Caller, syntax: str, stream: bytes
) -> None:
    dataset = image(PixelData=None)
    data = encoded(dataset) + element(0x7FE00010, b"OB", b"", 0xFFFFFFFF)
    data += encapsulate([stream + b"\0" * (len(stream) % 2)]) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    assert send(ct1, dataset, data, syntax) == (SUCCESS, "")
    assert_given_back_and_not_unpacked(ct1, dataset, data, syntax)


def test_a21_fragments_that_an_offset_table_lies_about_are_given_back_as_they_came(ct1: Caller) -> None:
    good = struct.pack("<16I", 1, 64, *[0] * 14) + b"\xc1\0"
    item = b"\xfe\xff\x00\xe0"
    for table in (struct.pack("<I", 0xFFFFFFF0), struct.pack("<3I", 0, 4, 8), b"\x01\0\0\0"):
        dataset = image(PixelData=None, NumberOfFrames="2")
        data = encoded(dataset) + element(0x7FE00010, b"OB", b"", 0xFFFFFFFF)
        data += item + struct.pack("<I", len(table)) + table + item + struct.pack("<I", len(good)) + good
        data += b"\xfe\xff\xdd\xe0\0\0\0\0"
        assert send(ct1, dataset, data, RLE) == (SUCCESS, "")
        assert_given_back_and_not_unpacked(ct1, dataset, data, RLE)


def assert_given_back_and_not_unpacked(caller: Caller, dataset: Dataset, data: bytes, syntax: str) -> None:
    """Who takes it as it is gets every byte; who needs it unpacked is told that it failed, by name."""
    uid = dataset.SOPInstanceUID
    got = caller.get("IMAGE", SOPInstanceUID=uid, classes=[(CT, [syntax])])
    assert got.objects == {uid: data}
    unpacked = caller.get("IMAGE", SOPInstanceUID=uid, classes=[(CT, [EXPLICIT])])
    assert unpacked.objects == {}
    status, listed = unpacked.responses[-1]
    assert (status.Status & 0xF000, status.NumberOfFailedSuboperations) in ((0xB000, 1), (0xA000, 1))
    assert listed is not None
    assert listed.FailedSOPInstanceUIDList == uid


EVIL_NAMES = (
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "=cmd|' /C calc'!A0", "\x1b[2J\x1b]0;owned\x07"),
    *("Moyo\r\nINFO root: all is well", "'; DROP TABLE archive_patient;--", "%s%n{0.__class__}${jndi:x}"),
)


@pytest.mark.parametrize("name", EVIL_NAMES, ids=range(len(EVIL_NAMES)))
def test_a23_a_name_is_text_wherever_it_comes_from_and_never_in_the_log(
    ct1: Caller, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    dataset = image(PatientName=None, PatientComments=None)
    raw = name.encode() + b" " * (len(name) % 2)
    marker = element(0x00100020, b"LO", b"E-0001")
    data = encoded(dataset)
    assert data.count(marker) == 1
    data = data.replace(marker, element(0x00100010, b"PN", raw) + marker)
    assert send(ct1, dataset, data) == (SUCCESS, "")
    got = ct1.get("IMAGE", SOPInstanceUID=dataset.SOPInstanceUID, classes=[(CT, [EXPLICIT])])
    assert got.objects == {dataset.SOPInstanceUID: data}
    assert len(ct1.find("STUDY", StudyInstanceUID=dataset.StudyInstanceUID, PatientName="")) == 1
    ours = "".join(entry.getMessage() for entry in caplog.records if entry.name.startswith("hozi"))
    assert name[:8] not in ours
    assert "E-0001" not in ours


# What asks too much ----------------------------------------------------------------------------------


def test_a24_a25_metacharacters_of_sql_and_patterns_are_letters_over_the_network(ct1: Caller) -> None:
    keep(ct1, image(PatientID="50%_[A]", PatientName="O'Neil^Rudo"))
    for literal, found in (("50%_[A]", 1), ("50%", 0), ("%", 0), ("____ [A]", 0), ("' OR 1=1 --", 0), ("50%_[a]", 0)):
        assert len(ct1.find("STUDY", PatientID=literal)) == found, literal
    assert len(ct1.find("STUDY", PatientName="O'Neil*")) == 1
    statuses, _ = ct1.ask(identifier("STUDY", PatientName="*a" * 5_000))
    assert statuses[-1] & 0xF000 in (0xA000, 0xC000)


def test_a26_everything_at_image_level_is_refused_and_nobody_need_listen_to_the_end(
    archive: RunningArchive, ct1: Caller
) -> None:
    study = image()
    for _ in range(30):
        keep(ct1, image(StudyInstanceUID=study.StudyInstanceUID, SeriesInstanceUID=study.SeriesInstanceUID))
    for keys in ({"SOPInstanceUID": "*"}, {"SOPInstanceUID": ""}, {"SOPInstanceUID": "", "StudyInstanceUID": "*"}):
        statuses, matches = ct1.ask(identifier("IMAGE", **keys))
        assert (statuses, matches) == ([WRONG_IDENTIFIER], [])
    unique = {"StudyInstanceUID": study.StudyInstanceUID, "SeriesInstanceUID": study.SeriesInstanceUID}
    with ct1.associated(("1.2.840.10008.5.1.4.1.2.2.1", [EXPLICIT])) as association:
        answers = association.send_c_find(
            identifier("IMAGE", SOPInstanceUID="", **unique), "1.2.840.10008.5.1.4.1.2.2.1"
        )
        assert next(answers)[0].Status == 0xFF00
        association.abort()


def test_a27_a_move_to_the_archive_itself_ends_and_changes_nothing(archive: RunningArchive, ct1: Caller) -> None:
    dataset = keep(ct1, image())
    archive.admit("HOZI", port=archive.port)
    responses = ct1.move("STUDY", "HOZI", StudyInstanceUID=dataset.StudyInstanceUID)
    assert responses[-1][0].Status in (SUCCESS, 0xA801)
    assert Instance.objects.count() == 1
    assert not list(open_cases())


def test_a28_nothing_of_another_facility_is_given_to_whoever_knows_its_uid(
    archive: RunningArchive, ct1: Caller
) -> None:
    from hozi.facilities import places

    dataset = keep(ct1, image())
    with archive.destination("VIEW2", [(CT, [EXPLICIT])]) as view2:
        places.add("SOUTH", "South Hospital", actor="test")
        stranger = archive.admit("WS2", facility="SOUTH")
        for level, keys in (
            ("STUDY", {"StudyInstanceUID": dataset.StudyInstanceUID}),
            ("SERIES", {"SeriesInstanceUID": dataset.SeriesInstanceUID}),
            ("IMAGE", {"SOPInstanceUID": dataset.SOPInstanceUID}),
        ):
            assert stranger.get(level, classes=[(CT, [EXPLICIT])], **keys).objects == {}
            stranger.move(level, "VIEW2", **keys)
    assert view2.objects == {}
    given = Event.objects.filter(code=Code.INSTANCES_TRANSFERRED, action="R", actor="WS2")
    assert not given.filter(detail__sent__gt=0).exists()


def test_a01_an_echo_of_a_stranger_is_refused_and_one_of_a_scanner_answered(
    archive: RunningArchive, ct1: Caller
) -> None:
    for title, established in (("STRANGER", False), ("CT1", True)):
        ae = AE(ae_title=title)
        ae.add_requested_context(Verification)
        association = ae.associate("127.0.0.1", archive.port, ae_title="HOZI")
        assert association.is_established is established
        if established:
            assert association.send_c_echo().Status == SUCCESS
            association.release()
