"""Whoever touches the audit in the database, without the key, is found: one byte, one row, anywhere."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import BinaryField, Model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.audit import chain
from hozi.audit.models import Event, Head, Link, Seal
from hozi.audit.record import record
from hozi.audit.verify import Finding, verify
from tests.audit.conftest import entry, undone

pytestmark = pytest.mark.usefixtures("written")

TABLES: tuple[type[Model], ...] = (Event, Link, Seal, Head)
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def findings() -> list[Finding]:
    found: list[Finding] = []
    summary = verify(found.append)
    assert summary.findings == len(found)
    return found


def test_an_audit_that_nobody_touched_is_whole() -> None:
    assert findings() == []
    summary = verify()
    assert (summary.rows, summary.links, summary.seals, summary.waiting) == (24, 6, 2, 0)
    assert summary.clean


def test_the_whole_audit_is_whole_after_more_was_written() -> None:
    record(entry("later"), entry("later still"))
    assert findings() == []
    assert verify().rows == 26


# One byte ------------------------------------------------------------------------------------------


def flipped(value: Any, place: int, by: int) -> tuple[str, Any]:
    """SQL for a column's value with one byte changed, and the parameter in it."""
    if isinstance(value, int):
        return "%s", value ^ (1 << (place % 16))
    is_text = isinstance(value, str)
    raw = bytearray(value.encode() if is_text else bytes(value))
    if not raw:
        return ("CAST(%s AS TEXT)" if connection.vendor == "sqlite" else "%s"), "x"
    place %= len(raw)
    if connection.vendor == "sqlite":
        raw[place] ^= by
        return ("CAST(%s AS TEXT)" if is_text else "%s"), bytes(raw)
    if is_text:
        letters = list(value)
        place %= len(letters)
        letters[place] = "7" if letters[place] != "7" else "8"
        return "%s", "".join(letters)
    raw[place] ^= by
    return "%s", bytes(raw)


@given(data=st.data(), place=st.integers(0, 10_000), by=st.integers(1, 255))
@settings(many, max_examples=250)
def test_any_byte_that_is_changed_in_any_column_of_any_row_is_found(data: st.DataObject, place: int, by: int) -> None:
    model = data.draw(st.sampled_from(TABLES))
    field = data.draw(st.sampled_from(model._meta.concrete_fields))
    row = data.draw(st.sampled_from(list(model._base_manager.values_list("pk", flat=True).order_by("pk"))))
    name, key = str(field.column), str(model._meta.pk.column)  # type: ignore[union-attr]
    table = model._meta.db_table
    read = name if connection.vendor == "postgresql" and isinstance(field, BinaryField) else f"CAST({name} AS TEXT)"
    with undone(), connection.cursor() as cursor:
        if field.get_internal_type().endswith("IntegerField") or field.get_internal_type() == "BigAutoField":
            read = name
        cursor.execute(
            f"SELECT {read if not isinstance(field, BinaryField) else name} FROM {table} WHERE {key} = %s", [row]
        )
        [before] = cursor.fetchone()
        expression, value = flipped(before, place, by)
        try:
            with transaction.atomic():
                cursor.execute(f"UPDATE {table} SET {name} = {expression} WHERE {key} = %s", [value, row])
        except IntegrityError:
            assert name == key, "the number of another row"
            return
        except DatabaseError:
            assert connection.vendor == "postgresql", "SQLite takes everything"
            return  # no such time, no such JSON: PostgreSQL itself keeps it out
        if connection.vendor == "postgresql":
            cursor.execute(f"SELECT {read} FROM {table} WHERE {key} = %s", [value if name == key else row])
            if cursor.fetchone()[0] == before:
                return  # another spelling of the same
        assert findings(), f"{table}.{name} of row {row}: {before!r} became {value!r}"


def test_a_changed_row_is_named_with_its_day() -> None:
    event = Event.objects.order_by("pk")[1]
    day = str(Seal.objects.order_by("section")[0].day)
    with undone():
        Event.objects.filter(pk=event.pk).update(actor="somebody else")
        assert [(one.kind, one.row, one.day) for one in findings()] == [("changed", event.pk, day)]


# Rows, links, seals --------------------------------------------------------------------------------


@given(data=st.data())
@many
def test_any_row_that_is_removed_is_found(data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(TABLES))
    row = data.draw(st.sampled_from(list(model._base_manager.values_list("pk", flat=True).order_by("pk"))))
    with undone():
        model._base_manager.filter(pk=row).delete()
        found = findings()
        assert found
        if model is Event:
            assert [(one.kind, one.row) for one in found] == [("missing", row)]


@given(st.integers(1, 24))
@many
def test_a_tail_that_is_removed_with_its_links_is_found(count: int) -> None:
    ids = list(Event.objects.order_by("-pk").values_list("pk", flat=True)[:count])
    with undone():
        Event.objects.filter(pk__in=ids).delete()
        Link.objects.filter(last_id__gte=min(ids)).delete()
        assert any(one.kind in ("link", "end") for one in findings())


@given(data=st.data())
@many
def test_any_two_rows_that_change_places_are_found_and_named(data: st.DataObject) -> None:
    ids = list(Event.objects.order_by("pk").values_list("pk", flat=True))
    one, other = data.draw(st.lists(st.sampled_from(ids), min_size=2, max_size=2, unique=True))
    with undone():
        renumber(Event, (one, 1 << 40), (other, one), (1 << 40, other))
        assert {(found.kind, found.row) for found in findings()} == {("moved", one), ("moved", other)}


@given(data=st.data())
@many
def test_any_two_rows_of_the_chain_that_change_places_are_found(data: st.DataObject) -> None:
    model = data.draw(st.sampled_from((Link, Seal)))
    ids = list(model._base_manager.values_list("pk", flat=True).order_by("pk"))
    one, other = data.draw(st.lists(st.sampled_from(ids), min_size=2, max_size=2, unique=True))
    with undone():
        renumber(model, (one, 1 << 40), (other, one), (1 << 40, other))
        assert findings()


def renumber(model: type[Model], *changes: tuple[int, int]) -> None:
    """Gives rows other numbers, one after the other."""
    key = str(model._meta.pk.column)  # type: ignore[union-attr]
    with connection.cursor() as cursor:
        for old, new in changes:
            cursor.execute(f"UPDATE {model._meta.db_table} SET {key} = %s WHERE {key} = %s", [new, old])


def copy_of(event: int) -> int:
    """Adds the same row again, byte for byte; returns its number."""
    columns = ", ".join(str(field.column) for field in Event._meta.concrete_fields if not field.primary_key)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO audit_event ({columns}) SELECT {columns} FROM audit_event WHERE id = %s RETURNING id", [event]
        )
        [number] = cursor.fetchone()
    return int(number)


def test_a_row_that_somebody_else_adds_is_found() -> None:
    with undone():
        made = copy_of(Event.objects.order_by("pk")[3].pk)
        Event.objects.filter(pk=made).update(actor="Nobody", mark=b"")
        assert [(one.kind, one.row) for one in findings()] == [("changed", made)]


def test_a_row_that_is_added_again_is_found_though_its_mark_is_good() -> None:
    with undone():
        made = copy_of(Event.objects.order_by("pk")[3].pk)
        assert [(one.kind, one.row) for one in findings()] == [("copied", made)]


def test_a_row_that_is_put_where_a_number_was_left_is_found() -> None:
    with undone():
        first = Event.objects.order_by("pk")[0]
        before = first.pk - 1
        renumber(Event, (copy_of(first.pk), before))
        assert ("foreign", before) in [(one.kind, one.row) for one in findings()]


def test_two_entries_that_say_the_same_are_no_copies_of_each_other() -> None:
    same = entry("twice")
    record(same, same)
    record(same)
    assert findings() == []


def test_a_row_that_is_removed_before_it_came_into_the_chain_is_found_where_numbers_have_no_gaps() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("not meant for PostgreSQL, which leaves out numbers")
    with undone():
        record(entry("one"), entry("two"), entry("three"))
        gone = Event.objects.order_by("-pk")[1].pk
        Event.objects.filter(pk=gone).delete()
        assert [(one.kind, one.row) for one in findings()] == [("missing", gone)]


def test_a_chain_that_is_thrown_away_is_not_silently_made_anew() -> None:
    with undone():
        for model in (Link, Seal, Head):
            model._base_manager.all().delete()
        Event.objects.order_by("pk")[:3][0].delete()
        assert any(one.kind == "end" for one in findings())


def test_every_finding_is_told() -> None:
    ids = list(Event.objects.order_by("pk").values_list("pk", flat=True))
    with undone():
        Event.objects.filter(pk__in=ids[:3]).update(outcome=0)
        Event.objects.filter(pk=ids[10]).delete()
        assert [(one.kind, one.row) for one in findings()] == [
            *(("changed", number) for number in ids[:3]),
            ("missing", ids[10]),
        ]


def test_the_chain_names_the_place_of_a_row() -> None:
    ids = list(Event.objects.order_by("pk").values_list("pk", flat=True))
    found = chain.place(ids[13])
    assert found is not None
    assert (found[0].number, found[1]) == (4, 6)
    assert chain.place(ids[-1] + 1) is None
