from __future__ import annotations

import errno
import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hozi.core.errors import Unavailable
from hozi.core.storage import Incoming, incoming

HEADER = b"header of the file"
FINAL = b"HEADER OF THE FILE"
CRASH = """
import sys, time
from pathlib import Path
from hozi.core.storage import Incoming
area = Incoming(Path(sys.argv[1]))
whole = area.begin(b"H1")
whole.write(b"all of it")
whole.complete(b"h1")
whole.flush()
partial = area.begin(b"H2")
partial.write(b"x" * 300_000)
print("ready", flush=True)
time.sleep(60)
"""


def test_an_arrival_is_hashed_without_its_header(tmp_path: Path) -> None:
    arrival = Incoming(tmp_path).begin(HEADER)
    for chunk in (b"data", memoryview(b"set")):
        arrival.write(chunk)
    arrival.complete(FINAL)
    assert arrival.sha256 == hashlib.sha256(b"dataset").hexdigest()
    assert arrival.header_sha256 == hashlib.sha256(FINAL).hexdigest()
    assert (arrival.offset, arrival.length) == (len(HEADER), 7)
    assert arrival.path.read_bytes() == FINAL + b"dataset"
    arrival.flush()
    assert arrival.path.read_bytes() == FINAL + b"dataset"


def test_nothing_is_added_to_an_arrival_that_has_ended(tmp_path: Path) -> None:
    arrival = Incoming(tmp_path).begin(HEADER)
    arrival.complete(HEADER)
    arrival.flush()
    for add in (lambda: arrival.write(b"more"), lambda: arrival.complete(HEADER), arrival.flush):
        with pytest.raises(ValueError, match="ended"):
            add()


def test_a_header_of_another_length_is_refused(tmp_path: Path) -> None:
    arrival = Incoming(tmp_path).begin(HEADER)
    with pytest.raises(ValueError, match="length"):
        arrival.complete(HEADER + b"!")
    arrival.discard()


def test_a_discarded_arrival_leaves_no_file(tmp_path: Path) -> None:
    incoming = Incoming(tmp_path)
    for complete in (False, True):
        arrival = incoming.begin(HEADER)
        arrival.write(b"dataset")
        if complete:
            arrival.complete(HEADER)
            arrival.flush()
        arrival.discard()
        assert not arrival.path.exists()
    incoming.close()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_handed_over_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", CRASH, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "ready\n"
    living = Incoming(tmp_path)
    mine = living.begin(HEADER)
    mine.complete(HEADER)

    incoming = Incoming(tmp_path)
    assert list(incoming.left_behind()) == []  # both are alive

    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    left = sorted(path.read_bytes() for path in incoming.left_behind())
    assert left[0].startswith(b"H2xxx")
    assert left[1:] == [b"h1all of it"]
    mine.discard()


def test_an_emptied_folder_of_a_dead_process_goes_away(tmp_path: Path) -> None:
    dead = Incoming(tmp_path)
    arrival = dead.begin(HEADER)
    arrival.complete(HEADER)
    arrival.flush()
    dead.close()  # with something left in it, as after a crash
    incoming = Incoming(tmp_path)
    for path in incoming.left_behind():
        path.unlink()
    assert [path for path in tmp_path.iterdir() if path != incoming.folder] == []


def test_a_folder_that_cannot_be_flushed_is_left_without_new_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    area = Incoming(tmp_path)

    def broken(folder: Path) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr("hozi.core.storage.incoming.sync_folder", broken)
    for _ in range(5):
        with pytest.raises(OSError, match="input/output"):
            area.begin(HEADER)
    area.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("seconds", "said"), [(60.0, 1), (0.0, 5)], ids=["within a minute", "later"])
def test_a_folder_that_stays_broken_is_told_of_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: float, said: int
) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    area = Incoming(tmp_path)
    monkeypatch.setattr(incoming, "_QUIET_SECONDS", seconds)
    monkeypatch.setattr(incoming, "sync_folder", full)
    for _ in range(5):
        with pytest.raises(OSError, match="no space"):
            area.begin(HEADER)
        area._maker.submit(lambda: None).result()  # what is made ahead has been tried
    area.close()
    assert [record.getMessage() for record in caplog.records] == [
        "no file can be made ahead in the incoming area: no space left on device"
    ] * said


def test_nothing_is_taken_in_once_the_area_is_closed(tmp_path: Path) -> None:
    area = Incoming(tmp_path)
    area.begin(HEADER).discard()
    area.close()
    with pytest.raises(Unavailable, match="being stopped"):
        area.begin(HEADER)
    assert list(tmp_path.iterdir()) == []
