"""When a device was last heard of is written down rarely, off the path of images, and never lost by a failure."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from hozi.facilities import devices, heard
from hozi.facilities.heard import Ears, last_heard

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _two_devices() -> None:
    for name, host in (("CT1", "192.168.1.20"), ("MR1", "192.168.1.21")):
        devices.add(name, ae_title=name, host=host, actor="Alois Administrator")


def test_hearing_costs_no_query(django_assert_num_queries: Any) -> None:
    ears = Ears()
    with django_assert_num_queries(0):
        for _ in range(1000):
            ears.heard("CT1", "192.168.1.20", stored=True)


def test_it_says_when_a_device_called_and_when_it_brought_an_image() -> None:
    before = timezone.now()
    ears = Ears()
    ears.heard("CT1", "192.168.1.20")
    ears.heard("MR1", "192.168.1.21", stored=True)
    assert ears.write(everything=True) == 2
    known = last_heard()
    assert known["CT1"].stored_at is None
    assert before <= known["CT1"].called_at <= timezone.now()
    assert known["MR1"].stored_at is not None
    assert known["MR1"].called_from == "192.168.1.21"


def test_a_call_without_an_image_leaves_what_was_brought_before() -> None:
    ears = Ears()
    ears.heard("CT1", "192.168.1.20", stored=True)
    ears.write(everything=True)
    brought = last_heard()["CT1"]
    ears.heard("CT1", "192.168.1.20")
    ears.write(everything=True)
    now = last_heard()["CT1"]
    assert now.stored_at == brought.stored_at
    assert now.called_at > brought.called_at


def test_each_device_costs_one_write_a_minute_at_most() -> None:
    ears = Ears(period=60, gather=0)
    ears.heard("CT1", "192.168.1.20")
    assert ears.write() == 1
    for _ in range(100):
        ears.heard("CT1", "192.168.1.20", stored=True)
        assert ears.write() == 0
    ears.heard("MR1", "192.168.1.21")
    assert ears.write() == 1, "another device's first call does not wait"


def test_what_comes_after_the_minute_is_written() -> None:
    ears = Ears(period=0.05, gather=0)
    ears.heard("CT1", "192.168.1.20")
    ears.write()
    ears.heard("CT1", "192.168.1.20", stored=True)
    time.sleep(0.06)
    assert ears.write() == 1
    assert last_heard()["CT1"].stored_at is not None


def test_who_is_no_device_any_more_is_not_written_down() -> None:
    ears = Ears()
    ears.heard("CT1", "192.168.1.20")
    devices.remove("CT1", actor="Alois Administrator")
    ears.write(everything=True)
    assert last_heard() == {}


def test_what_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(news: Any) -> None:
        raise DatabaseError("disk full")

    ears = Ears(gather=0)
    ears.heard("CT1", "192.168.1.20", stored=True)
    with monkeypatch.context() as patch:
        patch.setattr(heard, "_write", broken)
        with pytest.raises(DatabaseError):
            ears.write()
    ears.heard("CT1", "192.168.1.20")
    assert ears.write(everything=True) == 1
    assert last_heard()["CT1"].stored_at is not None


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_thread_writes_soon_after_the_first_call_and_at_the_end() -> None:
    ears = Ears(period=60, gather=0.01)
    ears.start()
    try:
        ears.heard("CT1", "192.168.1.20")
        for _ in range(200):
            if last_heard():
                break
            time.sleep(0.02)
        assert last_heard()["CT1"].stored_at is None
        ears.heard("CT1", "192.168.1.20", stored=True)
    finally:
        ears.stop()
    assert last_heard()["CT1"].stored_at is not None
