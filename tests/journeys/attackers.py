"""Somebody hostile in the network: an admitted device, gone mad, that sends broken PDUs and broken datasets.

```
python -m tests.journeys.attackers PORT pdus SEED COUNT
python -m tests.journeys.attackers PORT datasets SEED COUNT
```

Prints what it saw as JSON. Seeds make it repeatable. Ends with an error when the archive leaves it without an answer:
a broken PDU must be answered, or its connection closed; a broken dataset must be answered with a status.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from pydicom.dataset import Dataset

from hozi.core.dicom import part10
from hozi.core.dimse import command as commands
from hozi.core.dimse import pdu
from hozi.core.dimse.association import AssociateRequest, ProposedContext
from hozi.core.dimse.command import Command
from hozi.core.errors import Unreadable
from tests.core.dicom.test_scan_abuse import mutated
from tests.core.dimse.listening import (
    COMMITMENT,
    COMMITMENT_INSTANCE,
    IMPLICIT,
    RELEASE_RQ,
    STUDY_FIND,
    STUDY_GET,
    STUDY_MOVE,
    VERIFICATION,
    echo_command,
    p_data,
    pdv,
)
from tests.corpus import rows
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image

AE_TITLE = "EVIL"
#: Loopback has many addresses: the archive sees the attacker at another one than the scanner.
ADDRESS = "127.0.0.2"
AT_ONCE = 4
SECONDS = 20
_MOST = 128  # presentation contexts in one association (PS3.8 §9.3.2.2)
_LARGEST = 100_000

LENGTHS = (0, 1, 2, 3, 5, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x100000, 0x7FFFFFFF, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF)


@dataclass(frozen=True)
class Sent:
    """An object of the corpus, as a device would announce it."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    dataset: bytes


@cache
def corpus() -> list[Sent]:
    """The objects of the corpus that are small enough to be sent by the thousand."""
    found = []
    for row in rows():
        content = row.path.read_bytes()
        if len(content) > _LARGEST:
            continue
        try:
            header = part10.read_header(content)
        except Unreadable:
            continue
        if header.sop_class and header.sop_instance and header.transfer_syntax:
            dataset = content[header.dataset_offset :]
            found.append(Sent(header.sop_class, header.sop_instance, header.transfer_syntax, dataset))
    return found


def request(contexts: list[tuple[str, str]]) -> bytes:
    """An A-ASSOCIATE-RQ of this device."""
    proposed = tuple(ProposedContext(2 * n + 1, uid, (syntax,)) for n, (uid, syntax) in enumerate(contexts))
    return pdu.encode_request(AssociateRequest(AE_TITLE, "HOZI", proposed, roles={CT: (True, True)}))


SERVICES = [(VERIFICATION, IMPLICIT), (CT, EXPLICIT), *((uid, IMPLICIT) for uid in (STUDY_FIND, STUDY_GET, STUDY_MOVE))]
SERVICES.append((COMMITMENT, IMPLICIT))


def conversations() -> list[list[bytes]]:
    """What well-behaved devices say, PDU by PDU."""
    begin = request(SERVICES)
    question = Dataset()
    question.QueryRetrieveLevel = "STUDY"
    question.PatientID = "HOSTILE"
    asked = encoded(question, IMPLICIT)
    picture = image(PatientID="HOSTILE", PatientName="Hondo^Vengai")
    announced = {
        "affected_sop_class": CT,
        "affected_sop_instance": str(picture.SOPInstanceUID),
        "has_dataset": True,
    }
    about = {"has_dataset": True, "message_id": 1}
    action = {"requested_sop_class": COMMITMENT, "requested_sop_instance": COMMITMENT_INSTANCE, "action_type": 1}
    told: list[tuple[int, Command, bytes]] = [
        (3, Command(commands.C_STORE_RQ, message_id=1, **announced), encoded(picture)),
        (5, Command(commands.C_FIND_RQ, affected_sop_class=STUDY_FIND, **about), asked),
        (7, Command(commands.C_GET_RQ, affected_sop_class=STUDY_GET, **about), asked),
        (
            9,
            Command(commands.C_MOVE_RQ, affected_sop_class=STUDY_MOVE, move_destination="NOBODY", **about),
            asked,
        ),
        (11, Command(commands.N_ACTION_RQ, **action, **about), asked),
    ]
    return [
        [begin, p_data(pdv(1, 3, echo_command())), RELEASE_RQ],
        *(
            [begin, p_data(pdv(number, 3, commands.encode(command))), p_data(pdv(number, 2, dataset)), RELEASE_RQ]
            for number, command, dataset in told
        ),
        [begin, p_data(pdv(3, 3, commands.encode(told[0][1])), pdv(3, 0, told[0][2][:99]), pdv(3, 2, told[0][2][99:]))],
        [
            begin,
            p_data(pdv(5, 3, commands.encode(Command(commands.C_CANCEL_RQ, message_id_responded_to=1)))),
            RELEASE_RQ,
        ],
        [begin, pdu.encode_abort(0, 0)],
    ]


def broken(chance: random.Random, whole: bytes) -> bytes:
    """The PDU with something wrong: bits, lengths, an end too early, pieces twice or in another order, far too much."""
    data = bytearray(whole)
    match chance.randrange(9):
        case 0 | 1:
            for _ in range(chance.choice((1, 1, 2, 8, 64))):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 2:
            data[2:6] = struct.pack(">I", chance.choice(LENGTHS))
        case 3:
            at = chance.randrange(6, max(7, len(data) - 4))
            size = chance.choice((2, 4))
            data[at : at + size] = chance.choice(LENGTHS).to_bytes(8, "big")[-size:]
        case 4:
            del data[chance.randrange(len(data)) :]
        case 5:
            at, to = sorted(chance.randrange(len(data)) for _ in range(2))
            data[to:to] = data[at:to] * chance.choice((1, 2, 50))
        case 6:
            at, to = sorted(chance.randrange(len(data)) for _ in range(2))
            data[at:] = data[to:] + data[at:to]
        case 7:
            data += chance.randbytes(chance.choice((1, 100, 100_000)))
        case 8:
            data[0] = chance.randrange(256)
    return bytes(data)


def connected(port: int) -> socket.socket:
    """A connection from the attacker's address."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS, source_address=(ADDRESS, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def say(port: int, pieces: list[bytes]) -> str:
    """Says that, hangs up, and waits until the archive does; returns the kind of its last PDU.

    Raises TimeoutError when it does not.
    """
    heard = b""
    with connected(port) as sock:
        try:
            sock.sendall(b"".join(pieces))
            sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(1 << 16):
                heard += piece
        except TimeoutError:
            raise
        except OSError:  # it had hung up before all was said
            return "reset"
    return last_kind(heard)


def last_kind(heard: bytes) -> str:
    """The kind of the last PDU in a stream: its number; "nothing" when there is none."""
    kind, at = "nothing", 0
    while at + 6 <= len(heard):
        kind = str(heard[at])
        at += 6 + int.from_bytes(heard[at + 2 : at + 6], "big")
    return kind


def break_pdus(port: int, seed: int, count: int) -> Counter[str]:
    """So many conversations, each with one broken PDU somewhere; how the archive ended them."""
    chance = random.Random(seed)
    known = conversations()
    ends: Counter[str] = Counter()
    while ends.total() < count:
        said = list(chance.choice(known))
        at = 0 if chance.random() < 0.25 else chance.randrange(len(said))
        whole = said[at]
        if chance.random() < 0.1:
            other = chance.randrange(len(said))
            said[at], said[other] = said[other], said[at]
        said[at] = broken(chance, said[at])
        if said[at] == whole:
            continue
        ends[say(port, said if chance.random() < 0.5 else said[: at + 1])] += 1
    return ends


def break_datasets(port: int, seed: int, count: int) -> Counter[str]:
    """So many C-STOREs of broken datasets; the statuses. One association serves them as long as it lives."""
    chance = random.Random(seed)
    statuses: Counter[str] = Counter()
    kinds = sorted({(one.sop_class, one.transfer_syntax) for one in corpus()})[:_MOST]
    numbers = {kind: 2 * n + 1 for n, kind in enumerate(kinds)}
    with connected(port) as sock:
        sock.sendall(request(kinds))
        kind, body = receive(sock)
        if kind != pdu.ASSOCIATE_AC:
            raise ConnectionError("the attacker was not let in")
        accepted = {context.id for context in pdu.decode_answer(body).contexts if context.result == 0}
        objects = [one for one in corpus() if numbers.get((one.sop_class, one.transfer_syntax)) in accepted]
        for _ in range(count):
            one = chance.choice(objects)
            number = numbers[one.sop_class, one.transfer_syntax]
            command = Command(
                commands.C_STORE_RQ,
                message_id=1,
                affected_sop_class=one.sop_class,
                affected_sop_instance=one.sop_instance,
                has_dataset=True,
            )
            sock.sendall(p_data(pdv(number, 3, commands.encode(command))))
            sock.sendall(b"".join(fragments(number, mutated(chance, one.dataset))))
            kind, body = receive(sock)
            if kind != pdu.P_DATA_TF:
                raise ConnectionError(f"a dataset was answered with PDU {kind}")
            status = commands.decode(body[6:]).status
            statuses[f"{status:04X}"] += 1
        sock.sendall(RELEASE_RQ)
        receive(sock)
    return statuses


def fragments(number: int, dataset: bytes) -> Iterator[bytes]:
    """The dataset in P-DATA PDUs of 16 kB."""
    size = 16_000
    pieces = [dataset[at : at + size] for at in range(0, len(dataset), size)] or [b""]
    for index, piece in enumerate(pieces):
        yield p_data(pdv(number, 2 if index == len(pieces) - 1 else 0, piece))


def receive(sock: socket.socket) -> tuple[int, bytes]:
    """The next PDU: its type and its body."""
    kind, length = struct.unpack(">BxI", exactly(sock, 6))
    return kind, exactly(sock, length)


def exactly(sock: socket.socket, count: int) -> bytes:
    """So many bytes. Raises ConnectionError when there are no more."""
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError("the archive hung up")
        data += piece
    return data


def main(port: int, what: str, seed: int, count: int) -> None:
    """Attacks from several threads at once, and prints how it ended."""
    attack = {"pdus": break_pdus, "datasets": break_datasets}[what]
    total: Counter[str] = Counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for seen in pool.map(lambda n: attack(port, 1000 * seed + n, count // AT_ONCE), range(AT_ONCE)):
            total += seen
    print(json.dumps(total))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
