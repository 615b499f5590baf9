"""`hozi verify --audit` says what is wrong with the audit, and exits 1 then."""

from __future__ import annotations

import getpass

import pytest

from hozi.audit.models import Event
from hozi.audit.record import Code, Entry, record
from tests.doors.cli.conftest import Command

pytestmark = pytest.mark.django_db


def test_it_says_that_a_whole_audit_is_whole(hozi: Command) -> None:
    record(Entry(Code.QUERY, "E", "CT1"), Entry(Code.QUERY, "E", "CT2"))
    said = hozi("verify", "--audit")
    assert (said.code, said.out) == (0, "2 rows of the audit, 1 links, 0 sealed days: no findings.\n")
    said = hozi("verify", "--audit", "--json")
    assert (said.code, said.json["rows"], said.json["clean"], said.json["list"]) == (0, 3, True, [])


def test_it_names_the_row_that_was_changed_and_exits_1(hozi: Command) -> None:
    record(Entry(Code.QUERY, "E", "CT1", patient_id="P1"), Entry(Code.QUERY, "E", "CT2"))
    hozi("verify", "--audit")
    changed = Event.objects.order_by("pk")[0]
    Event.objects.filter(pk=changed.pk).update(patient_id="P2")
    said = hozi("verify", "--audit", "--json")
    assert said.code == 1
    [finding] = said.json["list"]
    assert (finding["kind"], finding["row"]) == ("changed", changed.pk)
    said = hozi("verify", "--audit")
    assert said.code == 1
    assert f"row {changed.pk}: this row is not as it was written" in said.out
    assert "P2" not in said.out


def test_that_it_was_looked_at_is_in_the_audit(hozi: Command) -> None:
    hozi("verify", "--audit")
    told = Event.objects.get(code=Code.AUDIT_LOG_USED)
    assert (told.actor, told.outcome, told.detail["findings"]) == (getpass.getuser(), 0, 0)
    Event.objects.update(actor="nobody")
    hozi("verify", "--audit")
    told = Event.objects.filter(code=Code.AUDIT_LOG_USED).latest("pk")
    assert (told.outcome, told.detail["findings"]) == (12, 1)
