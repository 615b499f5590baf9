"""A report's figures are counts of rows: what it says can be counted after."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from hozi.audit import reports
from hozi.audit.models import Event
from hozi.audit.record import Code, Entry, Outcome, Type, record, record_many
from hozi.core.errors import NotThere, Refused

pytestmark = pytest.mark.django_db

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=5)


def some(count: int) -> list[Entry]:
    luck = random.Random(7)
    return [
        Entry(
            luck.choice(list(Code)),
            luck.choice("CRUDE"),
            luck.choice(["rumbi", "alois", "CT1"]),
            luck.choice([Outcome.SUCCESS, Outcome.SUCCESS, Outcome.MINOR_FAILURE]),
            issuer="GRANARY",
            patient_id=luck.choice(["", "P1", "P2", "P3"]),
            facility=luck.choice(["GRANARY", "ELSEWHERE", ""]),
            detail={"type": luck.choice(list(Type))},
            at=BEGIN - timedelta(days=1) + timedelta(hours=luck.randrange(7 * 24)),
        )
        for _ in range(count)
    ]


def counted(kind: reports.Kind, facilities: set[str] | None) -> int:
    """The same in plain Python, row by row."""
    found = 0
    for row in Event.objects.filter(at__gte=BEGIN, at__lt=END):
        saw = row.code == "110106" or (row.code in ("110102", "110103", "110104") and row.action == "R")
        well = row.outcome == 0
        fits = {
            "patients": saw and well and row.patient_id != "",
            "people": saw and well,
            "emergency": row.code == "110113" and row.type == "110127",
            "disclosures": row.code == "110106",
            "sign-ins": row.code == "110114" and not well,
            "refusals": row.code != "110114" and not well,
            "configuration": row.code == "110113"
            and well
            and row.type in ("110128", "110129", "110131", "110135", "110136", "110137"),
        }[kind.key]
        found += fits and (facilities is None or row.facility in facilities)
    return found


@pytest.mark.parametrize("kind", reports.KINDS, ids=lambda kind: kind.key)
@pytest.mark.parametrize("facilities", [None, {"GRANARY"}], ids=["all", "one"])
def test_totals_are_counts_of_rows(kind: reports.Kind, facilities: set[str] | None) -> None:
    record_many(some(600))
    expected = counted(kind, facilities)
    assert expected > 0
    found = reports.report(kind.key, BEGIN, END, actor="dpo", facilities=facilities)
    assert found.total == expected
    assert sum(group.count for group in found.groups) + found.others == expected
    assert sum(count for _, count in found.days) == expected
    assert [group.count for group in found.groups] == sorted((group.count for group in found.groups), reverse=True)
    again = reports.report(kind.key, BEGIN, END, actor="dpo", facilities=facilities)
    assert (again.total, again.groups, again.days) == (found.total, found.groups, found.days)


def test_groups_beyond_the_most_are_one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MOST_GROUPS", 2)
    for number in range(5):
        record(Entry(Code.EXPORT, "R", f"person{number}", at=BEGIN))
    found = reports.report("disclosures", BEGIN, END, actor="dpo")
    assert (found.total, len(found.groups), found.others) == (5, 2, 3)


def test_days_are_those_of_the_hospital() -> None:
    record(Entry(Code.EXPORT, "R", "night", at=datetime(2026, 11, 2, 22, 30, tzinfo=UTC)))
    found = reports.report("disclosures", BEGIN, END, actor="dpo")
    assert [(f"{day:%d}", count) for day, count in found.days] == [("03", 1)]


def test_a_report_is_itself_recorded() -> None:
    reports.report("sign-ins", BEGIN, END, actor="dpo", address="192.0.2.1")
    told = Event.objects.get()
    assert (told.code, told.actor, told.address) == ("110101", "dpo", "192.0.2.1")
    assert (told.detail["read"], told.detail["report"]) == ("report", "sign-ins")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(NotThere):
        reports.report("nonsense", BEGIN, END, actor="dpo")
    with pytest.raises(Refused):
        reports.report("people", END, BEGIN, actor="dpo")


def test_a_report_as_a_table_says_codes_in_words() -> None:
    record(Entry(Code.INSTANCES_ACCESSED, "R", "rumbi", at=BEGIN))
    head, rows = reports.table(reports.report("people", BEGIN, END, actor="dpo"))
    assert head == ("actor", "code", "count", "first", "last")
    assert rows == [
        ["rumbi", "DICOM Instances Accessed", "1", "2026-11-01 02:00:00+02:00", "2026-11-01 02:00:00+02:00"]
    ]
