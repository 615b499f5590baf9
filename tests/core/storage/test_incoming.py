from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hozi.core.storage import Incoming

HEADER = b"header of the file"
CRASH = """
import sys, time
from pathlib import Path
from hozi.core.storage import Incoming
area = Incoming(Path(sys.argv[1]))
whole = area.begin(b"H1")
whole.write(b"all of it")
whole.complete()
area.sync()
partial = area.begin(b"H2")
partial.write(b"x" * 300_000)
print("ready", flush=True)
time.sleep(60)
"""


def test_an_arrival_is_hashed_without_its_header(tmp_path: Path) -> None:
    arrival = Incoming(tmp_path).begin(HEADER)
    for chunk in (b"data", memoryview(b"set")):
        arrival.write(chunk)
    arrival.complete()
    assert arrival.sha256 == hashlib.sha256(b"dataset").hexdigest()
    assert arrival.header_sha256 == hashlib.sha256(HEADER).hexdigest()
    assert (arrival.offset, arrival.length) == (len(HEADER), 7)
    assert arrival.path.read_bytes() == HEADER + b"dataset"


def test_nothing_is_added_to_a_complete_arrival(tmp_path: Path) -> None:
    arrival = Incoming(tmp_path).begin(HEADER)
    arrival.complete()
    with pytest.raises(ValueError, match="complete"):
        arrival.write(b"more")


def test_a_discarded_arrival_leaves_no_file(tmp_path: Path) -> None:
    incoming = Incoming(tmp_path)
    for complete in (False, True):
        arrival = incoming.begin(HEADER)
        arrival.write(b"dataset")
        if complete:
            arrival.complete()
        arrival.discard()
        assert not arrival.path.exists()
    assert [path.name for path in incoming.folder.iterdir()] == ["lock"]


def test_what_a_killed_process_left_is_handed_over_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", CRASH, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "ready\n"
    living = Incoming(tmp_path)
    living.begin(HEADER).complete()

    incoming = Incoming(tmp_path)
    assert list(incoming.left_behind()) == []  # both are alive

    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    left = [(leftover.whole, leftover.path.read_bytes()) for leftover in incoming.left_behind()]
    assert (True, b"H1all of it") in left
    [partial] = [content for whole, content in left if not whole]
    assert partial.startswith(b"H2xxx")
    assert len(left) == 2


def test_an_emptied_folder_of_a_dead_process_goes_away(tmp_path: Path) -> None:
    dead = Incoming(tmp_path)
    arrival = dead.begin(HEADER)
    arrival.complete()
    dead.close()  # with something left in it, as after a crash
    incoming = Incoming(tmp_path)
    for leftover in incoming.left_behind():
        leftover.path.unlink()
    assert [path for path in tmp_path.iterdir() if path != incoming.folder] == []
