"""What a killed program left behind is gone on with: whole objects come in, halves are set aside or dropped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hozi.archive.exceptions import Reason, open_cases
from hozi.archive.models import Instance
from hozi.archive.receive import Receiver
from hozi.settings import HOZI
from tests.archive_running import RunningArchive, arriving
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image

# Takes in the dataset that lies in a file, as a door does, and is killed when it has read so many bytes of it.
KILLED = """
import os, signal, sys
import django
django.setup()
from hozi.archive.arrived import Announced, Origin
from hozi.archive.receive import Receiver

path, enough, source, uid = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]

def chunks():
    data = open(path, "rb").read()
    yield data[:enough]
    os.kill(os.getpid(), signal.SIGKILL)

origin = Origin(actor="CT1", address="127.0.0.1", facility="MAIN", issuer="MAIN", source=source)
Receiver().receive(Announced("{CT}", uid, "{EXPLICIT}"), origin, chunks())
""".replace("{CT}", CT).replace("{EXPLICIT}", EXPLICIT)


@pytest.mark.database
@pytest.mark.parametrize(
    ("source", "expected"), [("dimse", {"interrupted": 1}), ("import", {"half an import": 1})], ids=["device", "import"]
)
def test_half_an_object_is_set_aside_if_a_device_sent_it_and_dropped_if_an_import_copied_it(
    archive: RunningArchive, tmp_path: Path, source: str, expected: dict[str, int]
) -> None:
    """The scanner may think that it has sent the object; the file that an import was copying is where it was."""
    dataset = image(PixelData=bytes(2_000_000))
    (tmp_path / "dataset").write_bytes(encoded(dataset))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "dataset"), "1500000", source, str(dataset.SOPInstanceUID)],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "hozi.settings", "HOZI_HOME": str(HOZI.home)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert killed.returncode == -9, killed.stderr
    receiver = Receiver()
    try:
        assert receiver.take_in_leftovers() == expected
        assert receiver.take_in_leftovers() == {}
    finally:
        receiver.close()
    cases = list(open_cases())
    assert [case.reason for case in cases] == ([Reason.INTERRUPTED] if source == "dimse" else [])
    assert all(case.sop_instance_uid == dataset.SOPInstanceUID for case in cases)
    assert not Instance.objects.exists()
    assert arriving(HOZI.storage) == []
