"""What was done goes into the audit, whatever strangers put into it, and comes back as it went."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.audit.models import Event
from hozi.audit.record import Code, Entry, Type, record, record_many
from hozi.audit.verify import verify
from tests.audit.conftest import undone

pytestmark = pytest.mark.django_db

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(detail=st.dictionaries(st.text(max_size=8), json_values, max_size=4), actor=st.text(max_size=140))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_recorded_is_whole_when_it_comes_back(detail: dict[str, Any], actor: str) -> None:
    with undone():
        record(Entry(Code.QUERY, "E", actor, detail=detail, patient_id=actor))
        assert verify().clean


def test_what_json_does_not_know_becomes_text() -> None:
    detail = {
        "lazy": gettext_lazy("Search"),
        "when": datetime(2026, 11, 24, 8, 31),
        "day": date(2026, 11, 24),
        "took": timedelta(seconds=90),
        "where": Path("/tmp/x"),
        "which": UUID(int=5),
        "kind": Code.QUERY,
        "members": {"b", "a"},
        "deep": {"lazy": gettext_lazy("Search"), 7: (1, 2)},
    }
    record(Entry(Code.QUERY, "E", "CT1", detail=detail))
    assert Event.objects.get().detail == {
        "lazy": "Search",
        "when": "2026-11-24T08:31:00",
        "day": "2026-11-24",
        "took": 90,
        "where": "/tmp/x",
        "which": "00000000-0000-0000-0000-000000000005",
        "kind": "110112",
        "members": ["a", "b"],
        "deep": {"lazy": "Search", "7": [1, 2]},
    }
    assert verify().clean


@pytest.mark.parametrize("text", ["a\0b", "half \ud800 letter"])
def test_no_text_of_a_stranger_keeps_an_act_out_of_the_audit(text: str) -> None:
    record(Entry(Code.QUERY, "E", text, patient_id=text, detail={"said": text, text: [text]}))
    assert Event.objects.get().actor.startswith(("a", "half"))
    assert verify().clean


def test_the_type_of_an_event_can_be_searched() -> None:
    record(Entry(Code.SECURITY_ALERT, "E", "CT1", detail={"type": Type.NODE_AUTHENTICATION}))
    assert Event.objects.get(type="110126").detail == {"type": "110126"}


def test_it_reads_nothing_and_writes_one_statement() -> None:
    """Writers must not wait for anything: not for other rows, not for the chain."""
    if connection.vendor != "sqlite":
        pytest.skip("not meant for PostgreSQL, which does not tell")
    told: list[str] = []
    with connection.cursor() as cursor:
        connection.connection.set_trace_callback(told.append)
        try:
            record_many([Entry(Code.QUERY, "E", "CT1") for _ in range(100)], cursor)
        finally:
            connection.connection.set_trace_callback(None)
    assert [text.split(" (")[0] for text in told] == ['INSERT INTO "audit_event"']
    assert Event.objects.count() == 100
