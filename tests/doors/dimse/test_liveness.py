"""Devices are called again and again, and the archive knows who answers; and it knows who called it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from hozi.core.dimse.terms import Timeouts
from hozi.core.errors import Refused
from hozi.doors.cli import routine
from hozi.doors.dimse import liveness as calls
from hozi.facilities import devices, liveness
from hozi.facilities.heard import EARS, last_heard
from hozi.jobs import regular
from hozi.settings import HOZI
from tests.archive_running import EXPLICIT, RunningArchive
from tests.doors.dimse.images import CT, encoded, image
from tests.peers import free_port

VERIFICATION = "1.2.840.10008.1.1"
SHORT = Timeouts(artim=1, idle=1, message=1, response=1)


def test_each_device_with_a_port_is_called_and_two_failures_make_one_down(archive: RunningArchive) -> None:
    with archive.destination("VIEW1", [(VERIFICATION, [EXPLICIT])]):
        archive.admit("CT1")
        archive.admit("OFF", port=free_port())
        assert calls.echo_all() == 1
        assert calls.echo_all() == 1
    known = liveness.standing()
    assert {name: alive.state for name, alive in known.items()} == {"VIEW1": "up", "OFF": "down"}
    assert known["VIEW1"].last.milliseconds is not None
    assert "nothing listens at port" in known["OFF"].last.summary
    assert known["OFF"].last.advice
    assert calls.echo_all() == 0
    assert liveness.standing()["VIEW1"].state == "unsteady"


def test_those_that_do_not_answer_are_waited_for_together(archive: RunningArchive) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for number in range(calls.AT_ONCE):
            archive.admit(f"DEAF{number}", port=silent.getsockname()[1])
        begun = time.monotonic()
        assert calls.echo_all(SHORT) == 0
        # One after the other they would take four times as long.
        assert time.monotonic() - begun < 2.5 * SHORT.artim
    assert {alive.state for alive in liveness.standing().values()} == {"unsteady"}


def test_a_device_that_cannot_be_called_over_tls_is_told_so(archive: RunningArchive) -> None:
    archive.admit("CT1", port=104, tls=True)
    assert calls.echo_all() == 0
    alive = liveness.of("CT1")
    assert alive is not None
    assert "HOZI_TLS_CERTIFICATE" in alive.last.advice


def test_without_a_port_there_is_nobody_to_call(archive: RunningArchive) -> None:
    archive.admit("CT1")
    permit = devices.permit_by_name("CT1")
    assert permit is not None
    with pytest.raises(Refused, match="register the port"):
        calls.echo_now(permit)
    assert calls.echo_all() == 0


def test_calling_devices_is_regular_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regular, "_pieces", {})
    routine.register()
    assert regular._pieces["echo devices"].seconds == HOZI.echo_minutes * 60
    assert regular._pieces["echo devices"].work is calls.echo_all


def soon(holds: Callable[[], bool]) -> bool:
    return any(holds() or time.sleep(0.05) for _ in range(100))


def test_it_knows_when_a_device_called_and_brought_an_image(archive: RunningArchive) -> None:
    EARS._written_at.clear()
    ct1 = archive.admit("CT1")
    with ct1.associated((VERIFICATION, [EXPLICIT])) as association:
        assert association.send_c_echo().Status == 0
    assert soon(lambda: "CT1" in last_heard())
    assert last_heard()["CT1"].called_from == "127.0.0.1"
    assert last_heard()["CT1"].stored_at is None
    dataset = image()
    assert ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)[0] == 0
    archive.listener.stop(2)
    assert last_heard()["CT1"].stored_at is not None
