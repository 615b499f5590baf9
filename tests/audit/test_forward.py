"""The collector gets every row of the audit, in order, however often it goes away; and nobody waits for it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hozi.audit import chain, forward
from hozi.audit.forward import Collector, Forwarder
from hozi.audit.models import Event, Forwarding
from hozi.audit.record import record_many
from hozi.environment import Settings
from tests.audit.conftest import entry
from tests.audit.schema import faults
from tests.audit.sink import Sink
from tests.certificates import Authority

pytestmark = pytest.mark.django_db

SECONDS = 30


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "SETTLE", 0.2)
    monkeypatch.setattr(forward, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(forward, "_LONGEST_PAUSE", 0.1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def sink(authority: Authority) -> Iterator[Sink]:
    sink = Sink(authority.issue("collector"))
    yield sink
    sink.go()


@pytest.fixture
def forwarder(authority: Authority, sink: Sink) -> Iterator[Forwarder]:
    sink.come()
    forwarder = Forwarder(Collector("127.0.0.1", sink.port, True, authority.pair.certificate))
    yield forwarder
    forwarder.close()


def write(count: int) -> list[int]:
    """So many rows, in links of 10; returns the numbers of all rows."""
    for first in range(0, count, 10):
        record_many(entry(str(number)) for number in range(first, min(first + 10, count)))
        chain.link()
    return list(Event.objects.order_by("pk").values_list("pk", flat=True))


def turn_until(forwarder: Forwarder, done: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        forwarder.turn()
        time.sleep(0.02)


def arrived() -> int:
    row = Forwarding.objects.filter(pk=1).first()
    return row.sent if row else 0


def failing() -> bool:
    return Forwarding.objects.exclude(error="").exists()


def test_every_row_arrives_as_the_standards_want_it(forwarder: Forwarder, sink: Sink) -> None:
    ids = write(25)
    turn_until(forwarder, lambda: arrived() == 25)
    assert sink.rows == ids
    head = re.compile(rb"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ hozi \d+ DICOM\+RFC3881 - \xef\xbb\xbf")
    for frame in sink.frames:
        found = head.match(frame)
        assert found and found[1] == b"84", "facility 10 (security), severity 4 for a minor failure"
        assert faults(ElementTree.fromstring(frame[found.end() :])) == []


def test_a_collector_that_goes_away_and_comes_back_gets_every_row_in_order(forwarder: Forwarder, sink: Sink) -> None:
    ids = write(60)
    sink.go()
    sink.come(after=17)
    turn_until(forwarder, lambda: len(sink.frames) >= 17)
    turn_until(forwarder, failing)
    assert arrived() < 60
    ids = write(40)
    for _ in range(3):
        forwarder.turn()
    sink.come(after=23)
    turn_until(forwarder, lambda: len(sink.frames) >= 40)
    sink.go()
    sink.come()
    turn_until(forwarder, lambda: arrived() == len(ids))
    assert sink.rows == ids
    assert len(sink.frames) < 3 * len(ids)
    assert Forwarding.objects.get().error == ""


def test_another_process_goes_on_where_the_last_one_was(forwarder: Forwarder, sink: Sink, authority: Authority) -> None:
    write(20)
    turn_until(forwarder, lambda: arrived() == 20)
    forwarder.close()
    ids = write(20)
    other = Forwarder(Collector("127.0.0.1", sink.port, True, authority.pair.certificate))
    turn_until(other, lambda: arrived() == 40)
    other.close()
    assert sink.rows == ids
    assert len(sink.frames) == 40


def test_a_collector_that_reads_nothing_has_nothing(sink: Sink, authority: Authority) -> None:
    """What only lies in its machine's buffers is not counted while the connection has not lived on."""
    sink.come(after=1)
    forwarder = Forwarder(Collector("127.0.0.1", sink.port, True, authority.pair.certificate))
    write(30)
    turn_until(forwarder, failing)
    assert arrived() == 0
    forwarder.close()


def test_a_certificate_of_somebody_else_gets_nothing(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    sink.come()
    forwarder = Forwarder(Collector("127.0.0.1", sink.port, True, other.pair.certificate))
    write(5)
    turn_until(forwarder, failing)
    assert "certificate is not accepted" in Forwarding.objects.get().error
    assert Forwarding.objects.get().failing_since is not None
    assert sink.frames == []


def test_it_shows_its_own_certificate_to_a_collector_that_wants_one(authority: Authority) -> None:
    sink = Sink(authority.issue("collector"), clients=authority.pair.certificate)
    ours = authority.issue("archive")
    sink.come()
    to = Collector("127.0.0.1", sink.port, True, authority.pair.certificate, ours.certificate, ours.key)
    forwarder = Forwarder(to)
    ids = write(5)
    turn_until(forwarder, lambda: arrived() == 5)
    forwarder.close()
    sink.go()
    assert sink.rows == ids


def test_on_this_machine_it_needs_no_tls() -> None:
    sink = Sink()
    sink.come()
    forwarder = Forwarder(Collector("127.0.0.1", sink.port, False))
    ids = write(15)
    turn_until(forwarder, lambda: arrived() == 15)
    forwarder.close()
    sink.go()
    assert sink.rows == ids


def test_nothing_is_written_while_nothing_is_new(forwarder: Forwarder) -> None:
    write(5)
    turn_until(forwarder, lambda: arrived() == 5)
    before = Forwarding.objects.values().get()
    for _ in range(5):
        forwarder.turn()
    assert Forwarding.objects.values().get() == before


def test_without_the_setting_nothing_goes_anywhere() -> None:
    forward.forward()
    assert forward.standing() is None
    assert not Forwarding.objects.exists()


@pytest.mark.parametrize(
    "url", ["http://x", "tls://", "tls://x:99999", "tcp://192.0.2.1:514", "tls://x/path", "x:6514"]
)
def test_an_address_that_cannot_be_used_is_refused_at_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOZI_AUDIT_SYSLOG", url)
    with pytest.raises(ValueError, match="tls://host:port"):
        Settings()  # type: ignore[call-arg]


@pytest.mark.parametrize("url", ["", "tls://collector.example:6514", "tls://collector.example", "tcp://127.0.0.1:514"])
def test_an_address_that_can_be_used_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOZI_AUDIT_SYSLOG", url)
    assert Settings().audit_syslog == url  # type: ignore[call-arg]
