"""`hozi device` and `hozi facility` say what they did, in words and in JSON, and refuse in one line."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from hozi.audit.models import Event
from hozi.facilities import devices
from hozi.facilities.devices import Permit, recognise
from tests.doors.cli.conftest import Command

pytestmark = pytest.mark.django_db

CT1 = ("device", "add", "CT1", "--ae", "CT1", "--host", "192.168.1.20")


def test_it_admits_a_device_with_everything_that_can_be_said_of_it(hozi: Command, tmp_path: Path) -> None:
    passcode = tmp_path / "passcode"
    passcode.write_text("granary\n")
    hozi("facility", "add", "NORTH", "North Clinic")
    said = hozi(
        *(*CT1, "--port", "104", "--may", "store, query", "--facility", "NORTH", "--tls", "--sees-all"),
        *("--tls-subject", "CN=ct1", "--username", "ct1", "--passcode-file", str(passcode), "--called-as", "PACS"),
        "--json",
    )
    assert said.code == 0
    assert said.json == {
        "name": "CT1",
        "ae_title": "CT1",
        "host": "192.168.1.20",
        "port": 104,
        "may": ["store", "query"],
        "facility": "NORTH",
        "issuer": "NORTH",
        "department": "",
        "modality": "",
        "tls": True,
        "tls_subject": "CN=ct1",
        "sees_all": True,
        "username": "ct1",
        "called_as": "PACS",
    }
    permit = recognise("CT1", "PACS", "192.168.1.20", "CN=ct1", "HOZI")
    assert isinstance(permit, Permit)
    assert devices.verify_identity(permit, "ct1", "granary")


def test_it_says_in_words_what_a_device_may_do(hozi: Command) -> None:
    said = hozi(*CT1)
    assert said.out.splitlines() == [
        "Admitted CT1: CT1 at 192.168.1.20 may store, query, retrieve.",
        "It belongs to MAIN and sees the studies of MAIN.",
    ]


def test_the_audit_names_who_gave_the_command(hozi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    hozi(*CT1)
    monkeypatch.setenv("SUDO_USER", "alois")
    hozi("device", "remove", "CT1")
    account = getpass.getuser()
    assert [event.actor for event in Event.objects.order_by("pk")] == [account, f"alois (as {account})"]


def test_it_lists_devices(hozi: Command) -> None:
    assert "No device is admitted yet" in hozi("device", "list").out
    hozi(*CT1)
    heading, line = hozi("device", "list").out.splitlines()
    assert heading.split("  ")[0] == "name"
    assert line.split() == ["CT1", "CT1", "192.168.1.20", "MAIN", "store,", "query,", "retrieve"]
    assert [device["name"] for device in hozi("device", "list", "--json").json] == ["CT1"]


def test_it_removes_a_device(hozi: Command) -> None:
    hozi(*CT1)
    assert hozi("device", "remove", "CT1").code == 0
    assert hozi("device", "list", "--json").json == []
    again = hozi("device", "remove", "CT1")
    assert (again.code, again.out, again.err) == (1, "", "hozi: There is no device 'CT1'\n")


def test_it_lists_who_knocked_and_why_it_was_refused(hozi: Command) -> None:
    assert "Nobody knocked" in hozi("device", "knocked").out
    devices.knocked("CT1", "PACS", "192.168.1.20", reason="called-ae")
    said = hozi("device", "knocked").out
    assert "calls this archive PACS; its name is HOZI" in said
    assert "hozi device admit NO." in said
    [knock] = hozi("device", "knocked", "--json").json
    assert (knock["calling_ae"], knock["called_ae"], knock["reason"], knock["count"]) == ("CT1", "PACS", "called-ae", 1)


def test_a_stranger_cannot_steer_the_terminal(hozi: Command) -> None:
    devices.knocked("\x1b[31mCT9\n", "[red]X", "192.168.1.9", reason="called-ae")
    said = hozi("device", "knocked").out
    assert "\x1b" not in said
    assert "?[31mCT9" in said
    assert "[red]X" in said


@pytest.mark.parametrize("by", ["number", "AE title"])
def test_it_admits_who_knocked(hozi: Command, by: str) -> None:
    devices.knocked("CT1", "HOZI", "192.168.1.20", reason="calling-ae")
    which = "CT1" if by == "AE title" else str(devices.recent()[0].pk)
    said = hozi("device", "admit", which, "Scanner", "--may", "store")
    assert said.out.startswith("Admitted Scanner: CT1 at 192.168.1.20 may store.")
    assert hozi("device", "knocked", "--json").json == []


def test_it_asks_which_when_one_ae_title_knocked_in_several_ways(hozi: Command) -> None:
    devices.knocked("CT1", "HOZI", "192.168.1.20", reason="calling-ae")
    devices.knocked("CT1", "PACS", "192.168.1.21", reason="calling-ae")
    said = hozi("device", "admit", "CT1", "Scanner")
    assert said.code == 1
    assert "(from 192.168.1.21 calling PACS)" in said.err
    assert "Nobody of that number" in hozi("device", "admit", "CT7", "Scanner").err


def test_a_passcode_file_has_one_line(hozi: Command, tmp_path: Path) -> None:
    passcode = tmp_path / "passcode"
    passcode.write_text("one\ntwo\n")
    assert "first and only line" in hozi(*CT1, "--username", "ct1", "--passcode-file", str(passcode)).err
    missing = hozi(*CT1, "--username", "ct1", "--passcode-file", str(tmp_path / "none"))
    assert (missing.code, missing.err) == (1, f"hozi: No such file or directory ({tmp_path / 'none'})\n")


def test_it_calls_only_devices_that_it_can_call(hozi: Command) -> None:
    hozi(*CT1)
    hozi("device", "add", "Ward", "--ae", "WARD", "--host", "192.168.1.0/24")
    for name in ("CT1", "Ward", "Nobody"):
        said = hozi("device", "echo", name)
        assert said.code == 1
        assert said.err.startswith("hozi: ")
        assert len(said.err.splitlines()) == 1


def test_it_changes_what_is_named_and_leaves_the_rest(hozi: Command) -> None:
    hozi(*CT1, "--port", "104", "--tls")
    said = hozi("device", "change", "CT1", "--host", "192.168.1.21", "--may", "store", "--modality", "ct", "--json")
    assert said.code == 0
    changed = {key: said.json[key] for key in ("host", "port", "may", "tls", "modality")}
    assert changed == {"host": "192.168.1.21", "port": 104, "may": ["store"], "tls": True, "modality": "CT"}
    assert hozi("device", "change", "CT1", "--port", "0", "--no-tls", "--may", "none").out.splitlines()[0] == (
        "Changed CT1: CT1 at 192.168.1.21 may do nothing but echo."
    )
    assert hozi("device", "list", "--json").json[0]["port"] is None
    assert "Say what is to be changed" in hozi("device", "change", "CT1").err
    assert hozi("device", "change", "CT7", "--ae", "CT7").err == "hozi: There is no device 'CT7'\n"


def test_a_knock_is_dismissed(hozi: Command) -> None:
    devices.knocked("CT1", "HOZI", "192.168.1.20", reason="calling-ae")
    assert hozi("device", "dismiss", "CT1").out == "Dismissed CT1 at 192.168.1.20. It stays refused.\n"
    assert hozi("device", "knocked", "--json").json == []


def test_a_device_is_tried_and_its_sheet_is_written(hozi: Command, tmp_path: Path) -> None:
    hozi(*CT1)
    assert "--begin" in hozi("device", "acceptance", "CT1").err
    begun = hozi("device", "acceptance", "CT1", "--begin").out
    assert "The trial of CT1 (CT1 at 192.168.1.20) goes on" in begun
    assert "It has not called yet." in begun
    assert hozi("device", "acceptance", "CT1", "--sign").err.startswith("hozi: Not done yet: ")
    reasons = [f"--leave-out={key}=tried by hand" for key in ("names", "call", "store", "query", "retrieve")]
    sheet = tmp_path / "sheet.pdf"
    signed = hozi("device", "acceptance", "CT1", *reasons, "--sign", "--remark", "Good.", "--pdf", str(sheet), "--json")
    assert (signed.json["accepted"], signed.json["open"], signed.json["remark"]) == (True, False, "Good.")
    assert sheet.read_bytes().startswith(b"%PDF")
    assert "was accepted by" in hozi("device", "acceptance", "CT1").out


def test_a_facility_is_added_and_listed(hozi: Command) -> None:
    assert hozi("facility", "add", "NORTH", "North Clinic", "--issuer", "NC").code == 0
    listed = hozi("facility", "list", "--json").json
    assert [(place["code"], place["name"], place["issuer"], place["devices"]) for place in listed] == [
        ("MAIN", "Main facility", "MAIN", 0),
        ("NORTH", "North Clinic", "NC", 0),
    ]
    assert "North Clinic" in hozi("facility", "list").out
    assert hozi("facility", "add", "NORTH", "Again").err == "hozi: There is a facility NORTH already\n"


def test_a_facility_is_added_with_what_the_ministry_says_of_it(hozi: Command) -> None:
    added = hozi(
        "facility", "add", "NORTH", "North Clinic", "--level", "district", "--registry-code", "ZW020145", "--json"
    )
    assert (added.json["level"], added.json["province"], added.json["registry_code"]) == ("DISTRICT", "02", "ZW020145")
    assert "There is no level" in hozi("facility", "add", "SOUTH", "South", "--level", "palace").err
