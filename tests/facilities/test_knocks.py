"""Who was refused is remembered, within bounds that a stranger cannot break."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.audit.models import Event
from hozi.facilities import knocks
from hozi.facilities.knocks import knocked, recent
from hozi.facilities.models import Knock

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knocks, "_writes", knocks.Bucket(burst=10_000, per_second=0))


def test_the_same_knock_is_counted_and_not_listed_twice() -> None:
    for _ in range(3):
        knocked("CT9", "HOZI", "192.168.1.9", reason="calling-ae")
    knocked("CT9", "PACS", "192.168.1.9", reason="calling-ae")
    assert [(knock.called_ae, knock.count) for knock in recent()] == [("PACS", 1), ("HOZI", 3)]
    assert recent()[1].first_at < recent()[1].last_at


def test_the_last_certificate_counts() -> None:
    knocked("CT9", "HOZI", "192.168.1.9", "CN=old", reason="calling-ae")
    knocked("CT9", "HOZI", "192.168.1.9", "CN=new", reason="calling-ae")
    assert recent()[0].tls_subject == "CN=new"


def test_the_audit_has_the_first_and_each_tenfold() -> None:
    for _ in range(101):
        knocked("CT9", "HOZI", "192.168.1.9", reason="calling-ae")
    events = list(Event.objects.order_by("pk"))
    assert [event.detail["count"] for event in events] == [1, 10, 100]
    assert {(event.code, event.address, event.actor) for event in events} == {("110113", "192.168.1.9", "CT9")}


def test_the_oldest_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knocks, "MOST", 5)
    for number in range(8):
        knocked(f"CT{number}", "HOZI", f"192.168.1.{number}", reason="calling-ae")
    assert [knock.calling_ae for knock in recent()] == ["CT7", "CT6", "CT5", "CT4", "CT3"]
    assert Knock.objects.count() == 5


def test_a_guesser_does_not_push_others_out_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knocks, "MOST", 6)
    monkeypatch.setattr(knocks, "MOST_PER_ADDRESS", 3)
    knocked("CT9", "HOZI", "192.168.1.9", reason="calling-ae")
    for number in range(20):
        knocked(f"GUESS{number}", "HOZI", "203.0.113.1", reason="calling-ae")
    assert [knock.calling_ae for knock in recent()] == ["GUESS19", "GUESS18", "GUESS17", "CT9"]


def test_a_flood_is_counted_and_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = knocks.Bucket(burst=3, per_second=0)
    monkeypatch.setattr(knocks, "_writes", bucket)
    for number in range(50):
        knocked(f"GUESS{number}", "HOZI", "203.0.113.1", reason="calling-ae")
    assert Knock.objects.count() == 3
    bucket._left = 1
    knocked("GUESS1", "HOZI", "203.0.113.1", reason="calling-ae")
    assert Event.objects.order_by("-pk")[0].detail["not_recorded_before"] == 47


def test_a_bucket_fills_again() -> None:
    bucket = knocks.Bucket(burst=1, per_second=1000)
    assert bucket.take() == 0
    taken = [bucket.take() for _ in range(100_000)]
    assert any(answer is not None for answer in taken)
    assert sum(answer is not None for answer in taken) < len(taken)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(calling=st.text(max_size=40), called=st.text(max_size=40), subject=st.text(max_size=400))
def test_whatever_a_stranger_says_can_be_kept_and_shown(calling: str, called: str, subject: str) -> None:
    Knock.objects.all().delete()
    knocked(calling, called, "192.168.1.9", subject, reason="calling-ae")
    knock = recent()[0]
    assert all(text.isprintable() for text in (knock.calling_ae, knock.called_ae, knock.tls_subject))
    assert len(knock.calling_ae) <= 16
    assert len(knock.tls_subject) <= 256


@pytest.mark.django_db(transaction=True)
def test_knocks_at_the_same_time_are_all_counted() -> None:
    def knock() -> None:
        for _ in range(10):
            knocked("CT9", "HOZI", "192.168.1.9", reason="calling-ae")
        connection.close()

    threads = [threading.Thread(target=knock) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [knock.count for knock in recent()] == [40]
