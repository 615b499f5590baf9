"""`hozi serve` is in the audit: its starts and stops, and a chain that the worker keeps up with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.doors.cli.test_serve import SECONDS, Archive, archive, wait_for
from tests.guards.rules import ROOT

__all__ = ["archive"]

pytestmark = pytest.mark.database

LOOK = """\
import json, django
django.setup()
from hozi.audit import chain
from hozi.audit.models import Event
rows = Event.objects.filter(code="110100").order_by("pk").values_list("type", "detail")
print(json.dumps({"rows": list(rows), "waiting": chain.standing().waiting}))
"""


def look(archive: Archive) -> Any:
    """The archive's starts and stops, and how many rows are not in the chain yet."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **archive.facts}
    environment["DJANGO_SETTINGS_MODULE"] = "hozi.settings"
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    return json.loads(done.stdout)


def test_each_start_and_stop_of_the_whole_is_in_the_audit_once_and_the_worker_chains_it(archive: Archive) -> None:
    process = archive.start("--json")
    listener = archive.ready("dimse")["pid"]
    archive.ready("worker")
    wait_for(lambda: look(archive)["waiting"] == 0)
    os.kill(listener, signal.SIGKILL)
    wait_for(lambda: archive.ready("dimse")["pid"] != listener)
    process.terminate()
    process.communicate(timeout=SECONDS)
    started, stopped = look(archive)["rows"]
    assert (started[0], stopped[0]) == ("110120", "110121")
    assert started[1]["parts"] == ["dimse", "web", "worker"]
    assert archive.run("verify", "--audit").returncode == 0


def test_a_node_with_another_key_does_not_start_and_says_what_to_do(archive: Archive, tmp_path: Path) -> None:
    assert archive.run("device", "list").returncode == 0
    other = tmp_path / "other.key"
    other.write_text("ab" * 32)
    archive.facts["HOZI_AUDIT_KEY_FILE"] = str(other)
    said = archive.run("serve")
    assert said.returncode == 1
    assert "HOZI_AUDIT_KEY_FILE" in said.stderr
    assert "Traceback" not in said.stderr
