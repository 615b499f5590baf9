"""The power fails while programs store by STOW-RS: what an answer named is there afterwards, and nothing twice."""

from __future__ import annotations

import http.client
import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.archive_running import arriving
from tests.dicom_files import file_bytes
from tests.doors.cli.test_serve import Archive, wait_for
from tests.doors.web.conftest import SECONDS
from tests.journeys.test_power_fails import STUDY, image

pytestmark = pytest.mark.database

BOUNDARY = b"a-boundary"
SENDERS = 2
EACH = 12
"""Objects in each body."""


@pytest.fixture
def archive(tmp_path: Path, own_database: str) -> Iterator[Archive]:
    archive = Archive(tmp_path / "home", own_database)
    yield archive
    for process in archive.processes:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=SECONDS)


def post(port: int, token: str, bodies: Iterator[bytes]) -> dict[str, object]:
    """One STOW-RS request in chunks, as programs in Java send them; the answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
        headers = {
            "Host": "localhost",
            "Authorization": f"Bearer {token}",
            "Accept": "application/dicom+json",
            "Content-Type": f"multipart/related; type=application/dicom; boundary={BOUNDARY.decode()}",
        }
        connection.request("POST", "/dicom-web/studies", bodies, headers, encode_chunked=True)
        answer = connection.getresponse()
        told: dict[str, object] = json.loads(answer.read())
        assert answer.status == 200, told
        return told


def body(sender: int, begin: int) -> Iterator[bytes]:
    for number in range(EACH):
        file = file_bytes(image(begin + number, sender))
        yield b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (BOUNDARY, file)
    yield b"--%s--\r\n" % BOUNDARY


def named(told: dict[str, object]) -> set[str]:
    """The objects that the answer says are stored."""
    return set(re.findall(r'"00081155": \{"vr": "UI", "Value": \["([0-9.]+)"\]\}', json.dumps(told)))


def send_until_it_dies(port: int, token: str, sender: int, acknowledged: set[str], enough: threading.Event) -> None:
    begin = 0
    try:
        while True:
            acknowledged |= named(post(port, token, body(sender, begin)))
            begin += EACH
            if len(acknowledged) >= 2 * SENDERS * EACH:
                enough.set()
    except (OSError, http.client.HTTPException, ValueError):  # it is gone
        return


def test_it_keeps_every_object_that_an_answer_named_when_the_power_fails(archive: Archive) -> None:
    assert archive.run("user", "add", "gateway", "--program", "--role", "service").returncode == 0
    token = json.loads(archive.run("user", "token", "gateway", "--scope", "read,write", "--json").stdout)["token"]
    process = archive.start("--only", "web")
    port = archive.ready("web")["port"]
    acknowledged: set[str] = set()
    enough = threading.Event()
    senders = [
        threading.Thread(target=send_until_it_dies, args=(port, token, sender, acknowledged, enough))
        for sender in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    assert enough.wait(SECONDS)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    for worker in workers:
        worker.kill()
    process.wait()
    for sender in senders:
        sender.join()

    (archive.home / "run" / "web.json").unlink()
    archive.start("--only", "web")
    port = archive.ready("web")["port"]
    # The first who brings something makes the archive take in what was left, too.
    late = named(post(port, token, body(0, 10_000)))
    there = wait_for(lambda: found(port, token))
    assert acknowledged | late <= there
    # At most what each sender had under way was taken in without an answer.
    assert len(there) <= len(acknowledged) + len(late) + SENDERS * EACH
    verified = archive.run("verify", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["faults"] == []
    assert arriving(archive.home) == []


def found(port: int, token: str) -> set[str]:
    """The objects of the study, asked by QIDO-RS."""
    uids: set[str] = set()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
        while True:
            path = f"/dicom-web/studies/{STUDY}/instances?limit=100&offset={len(uids)}"
            connection.request("GET", path, headers={"Host": "localhost", "Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            page = json.loads(answer.read() or b"[]")
            assert answer.status in (200, 204), page
            if not page:
                return uids
            uids |= {item["00080018"]["Value"][0] for item in page}
