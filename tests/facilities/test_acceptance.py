"""The trial of a device: what passed stays, what is left out has a reason, and a signed sheet does not change."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.audit.models import Event
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import acceptance, devices, sheet
from hozi.facilities.acceptance import STEPS, Step, Trial
from hozi.facilities.devices import Permit

pytestmark = pytest.mark.django_db

ADMIN = "Alois Administrator"


@pytest.fixture
def ct1() -> Permit:
    return devices.add("CT1", ae_title="CT1", host="192.168.1.20", port=104, actor=ADMIN)


def passed(*keys: str, line: str = "24 Nov 2026 08:31: it did") -> list[Step]:
    return [Step(key, "passed", timezone.now(), (line,)) for key in keys or STEPS]


def begun() -> Trial:
    return acceptance.begin("CT1", actor=ADMIN)


def test_a_trial_can_be_left_and_come_back_to(ct1: Permit) -> None:
    number = begun().number
    acceptance.keep(number, ct1, passed("echo"))
    again = acceptance.get(number)
    assert again == acceptance.going_on("CT1")
    assert again.step("echo").evidence == ("24 Nov 2026 08:31: it did",)
    assert again.step("store").state == "waiting"
    assert not again.ready
    with pytest.raises(Refused, match="going on already"):
        begun()
    with pytest.raises(NotThere):
        acceptance.begin("CT7", actor=ADMIN)


def test_what_has_passed_stays_passed_and_what_has_not_is_not_kept(ct1: Permit) -> None:
    number = begun().number
    acceptance.keep(number, ct1, passed("echo", line="first"))
    acceptance.keep(number, ct1, [Step("echo", "failed", explanation="off"), Step("store", "failed", explanation="no")])
    acceptance.keep(number, ct1, passed("echo", line="second"))
    trial = acceptance.get(number)
    assert trial.step("echo").evidence == ("first",)
    assert trial.step("store") == Step("store")


def test_a_step_is_left_out_with_a_reason_and_taken_up_again(ct1: Permit) -> None:
    number = begun().number
    for reason in ("", " x ", "a" * 201, "a\x1bb"):
        with pytest.raises(Refused) as refused:
            acceptance.leave_out(number, "query", reason, actor=ADMIN)
        assert refused.value.field == "reason"
    with pytest.raises(NotThere, match="no step 'fly'"):
        acceptance.leave_out(number, "fly", "it cannot", actor=ADMIN)
    step = acceptance.leave_out(number, "query", "it has no search", actor=ADMIN).step("query")
    assert (step.state, step.reason, step.by) == ("left_out", "it has no search", ADMIN)
    assert acceptance.take_up(number, "query", actor=ADMIN).step("query").state == "waiting"
    assert [event.detail["act"] for event in Event.objects.filter(detail__acceptance=number).order_by("pk")] == [
        "begun",
        "left out",
        "taken up",
    ]


def test_what_was_seen_at_another_address_says_nothing_of_the_new_one(ct1: Permit) -> None:
    trial = begun()
    acceptance.keep(trial.number, ct1, passed("echo", "store"))
    acceptance.leave_out(trial.number, "query", "it has no search", actor=ADMIN)
    moved = devices.change("CT1", host="192.168.1.21", actor=ADMIN)
    again = acceptance.keep(trial.number, moved, passed("echo"))
    assert again.since > trial.since
    assert [step.key for step in again.steps if step.done] == ["query"]


def test_it_is_signed_when_nothing_is_open_and_then_it_is_over(ct1: Permit) -> None:
    trial = begun()
    with pytest.raises(Refused, match="Not done yet: The device searches"):
        acceptance.sign(trial.number, ct1, [*passed("echo"), Step("query")], version=trial.version, actor=ADMIN)
    signed = acceptance.sign(trial.number, ct1, passed(), version=trial.version, remark=" Fine.\n", actor=ADMIN)
    assert (signed.accepted, signed.ended_by, signed.remark, signed.open) == (True, ADMIN, "Fine.", False)
    for act in (
        lambda: acceptance.leave_out(trial.number, "query", "it has no search", actor=ADMIN),
        lambda: acceptance.give_up(trial.number, actor=ADMIN),
        lambda: acceptance.sign(trial.number, ct1, passed(), version=signed.version, actor=ADMIN),
    ):
        with pytest.raises(Refused, match="over"):
            act()
    acceptance.keep(trial.number, ct1, passed("echo", line="later"))
    assert acceptance.get(trial.number) == signed
    assert begun().number != trial.number
    assert [one.accepted for one in acceptance.of_device("CT1")] == [False, True]


def test_who_signs_has_seen_what_is_signed(ct1: Permit) -> None:
    trial = begun()
    acceptance.leave_out(trial.number, "query", "it has no search", actor="Somebody else")
    with pytest.raises(Changed):
        acceptance.sign(trial.number, ct1, passed(), version=trial.version, actor=ADMIN)
    moved = devices.change("CT1", port=105, actor=ADMIN)
    with pytest.raises(Refused, match="otherwise by now"):
        acceptance.sign(trial.number, moved, passed(), version=acceptance.get(trial.number).version, actor=ADMIN)


def test_the_sheet_outlives_the_device(ct1: Permit) -> None:
    trial = begun()
    acceptance.sign(trial.number, ct1, passed(), version=trial.version, actor=ADMIN)
    devices.remove("CT1", actor=ADMIN)
    [kept] = acceptance.of_device("CT1")
    assert acceptance.device_of(kept) is None
    assert acceptance.going_on("CT1") is None
    assert sheet.pdf(kept, None).startswith(b"%PDF")


def test_another_facility_s_trial_is_not_there(ct1: Permit) -> None:
    trial = begun()
    assert acceptance.get(trial.number, within={"MAIN"}) == trial
    with pytest.raises(NotThere):
        acceptance.get(trial.number, within={"NORTH"})
    assert acceptance.all_going_on({"NORTH"}) == []
    assert acceptance.all_going_on() == [trial]


# The sheet


def test_the_sheet_says_what_was_seen_and_who_accepted_it(ct1: Permit) -> None:
    number = begun().number
    acceptance.leave_out(number, "query", "it has no search", actor=ADMIN)
    trial = acceptance.get(number)
    steps = [*passed("names", "echo", line="it answered in 3 ms"), trial.step("query")]
    rest = passed(*[key for key in STEPS if key not in ("names", "echo", "query")])
    told = sheet.content(
        acceptance.sign(number, ct1, [*steps, *rest], version=trial.version, remark="Good.", actor=ADMIN), ct1
    )
    assert told["title"] == "Acceptance of CT1"
    assert told["hospital"] == "Main facility (MAIN)"
    assert told["state"].startswith(f"Accepted by {ADMIN} on ")
    assert told["remark"] == "Good."
    assert ["Called by", "CT1 at 192.168.1.20:104"] in told["facts"]
    assert len(told["signers"]) == 2
    rows = {row["title"]: row for row in told["steps"]}
    assert rows[STEPS["echo"]]["lines"] == ["it answered in 3 ms"]
    assert rows[STEPS["query"]] == {
        "number": "6",
        "title": STEPS["query"],
        "result": "left out",
        "lines": [f"it has no search (left out by {ADMIN})"],
    }


def test_a_sheet_of_a_trial_that_goes_on_accepts_nothing(ct1: Permit) -> None:
    told = sheet.content(begun(), ct1)
    assert "accepts nothing yet" in told["state"]
    assert {row["result"] for row in told["steps"]} == {"not yet"}


HOSTILE = [
    '#panic("boom")',
    '#read("/etc/passwd")',
    "*bold* _it_ $x$ @ref <label> = Title",
    "]#]}){\"\\'`",
    "```rust",
    "\\u{41} // comment /* open",
    '"}, "steps": []',
    "\u202e reversed \x00\x1b[31m",
    "x" * 400,
    "見本^花子 Zoé مرحبا",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_breaks_the_sheet_or_adds_to_it(text: str, ct1: Permit) -> None:
    trial = begun()
    lines: Any = {"explanation": text, "technical": text}
    steps = (Step("names", "passed", timezone.now(), (text, text)), Step("echo", "failed", **lines))
    hostile = _changed(
        trial, name=text, identity=text, facility=text.replace("\0", ""), begun_by=text, remark=text, steps=steps
    )
    device = _changed(ct1, ae_title=text, name=text, tls_subject=text, modality=text)
    assert sheet.pdf(hostile, device).startswith(b"%PDF")
    told = sheet.content(hostile, device)
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    assert told["remark"].replace("\u200b", "") == shown
    assert json.loads(json.dumps(told)) == told


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(max_size=120))
def test_whatever_stands_on_it_a_sheet_is_made(text: str, ct1: Permit) -> None:
    trial = acceptance.going_on("CT1") or begun()
    assert sheet.pdf(_changed(trial, remark=text, ended_by=text), ct1).startswith(b"%PDF")


def _changed(value: Any, **changes: Any) -> Any:
    return dataclasses.replace(value, **changes)
