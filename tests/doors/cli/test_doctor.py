"""`hozi doctor` sees what is wrong with a machine, says what to do, and changes nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from hozi.core.storage.file_system import FileSystem, keeping, under
from hozi.doors.cli import preflight, preflight_network, prepare
from hozi.doors.cli.preflight import Finding
from hozi.settings import Settings
from tests.certificates import Authority
from tests.doors.cli.conftest import Command, program


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    (folder / "run").mkdir()
    return folder


def settings(home: Path, **changes: Any) -> Settings:
    return Settings(home=home, dicom_host="127.0.0.1", dicom_port=0, **changes)


def about(findings: Iterator[Finding], what: str) -> Finding:
    """The one finding about that."""
    [finding] = [finding for finding in findings if finding.about == what]
    return finding


def test_a_machine_that_is_fit_passes_before_and_after_the_first_start(empty_database: str, tmp_path: Path) -> None:
    facts = {"HOZI_HOME": str(tmp_path / "home"), "HOZI_DATABASE_URL": empty_database, "HOZI_DICOM_PORT": "0"}
    before = program("doctor", **facts)
    assert before.returncode == 0, before.stdout
    assert "Nothing stands in the way" in before.stdout
    program("device", "list", **facts)
    after = program("doctor", "--json", **facts)
    assert after.returncode == 0, after.stdout
    answer = json.loads(after.stdout)
    assert answer["ok"] is True
    states = {finding["about"]: finding["state"] for finding in answer["findings"]}
    engine = "PostgreSQL" if empty_database.startswith("postgresql") else "SQLite"
    for what in ("home", "permissions", "clock", "DICOM port", "TLS", engine, "database"):
        assert states[what] == "ok"
    assert {"room", "flushes", "time source"} <= set(states)


@pytest.mark.django_db
def test_one_failure_is_exit_code_1_and_the_rest_is_still_looked_at(
    hozi: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(settings: Settings) -> Iterator[Finding]:
        raise RuntimeError("no")
        yield

    monkeypatch.setattr(preflight, "room", broken)
    said = hozi("doctor")
    assert said.code == 1
    assert "FAIL  broken       could not be checked (RuntimeError)" in said.out
    assert "1 of " in said.out
    assert "ok    database" in said.out


def test_it_leaves_the_home_folder_as_it_was(home: Path) -> None:
    before = sorted(home.rglob("*")), home.stat().st_mtime_ns
    for check in (preflight.home, preflight.room, preflight.clock):
        list(check(settings(home)))
    assert (sorted(home.rglob("*")), home.stat().st_mtime_ns) == before
    list(preflight.flushes(settings(home)))
    assert sorted(home.rglob("*")) == before[0]


def test_a_home_that_does_not_exist_yet_is_no_problem(tmp_path: Path) -> None:
    finding = about(preflight.home(settings(tmp_path / "new" / "home")), "home")
    assert (finding.state, "makes it" in finding.found) == ("ok", True)
    assert not (tmp_path / "new").exists()


def test_a_home_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert about(preflight.home(settings(tmp_path / "home")), "home").state == "fail"


@pytest.mark.parametrize(
    ("mode", "state"), [(0o700, "ok"), (0o750, "ok"), (0o770, "warn"), (0o755, "fail"), (0o701, "fail")]
)
def test_a_home_that_others_can_enter_fails(home: Path, mode: int, state: str) -> None:
    home.chmod(mode)
    finding = about(preflight.home(settings(home)), "permissions")
    assert finding.state == state
    assert state == "ok" or f"chmod 700 {home}" in finding.advice


def lying_on(monkeypatch: pytest.MonkeyPatch, **kinds: str) -> None:
    """Folders whose names end so lie on these kinds of file system; all others on an ext4 with a journal."""

    def under(folder: Path) -> FileSystem:
        kind = kinds.get(folder.name, "ext4")
        return FileSystem(kind, keeping(kind, "rw data=ordered"))

    monkeypatch.setattr(preflight.file_system, "under", under)


@pytest.mark.parametrize(
    ("kind", "state", "words"),
    [
        ("ext4", "ok", "the home is on ext4 (with a journal)"),
        ("xfs", "ok", "the home is on xfs (with a journal)"),
        ("btrfs", "ok", "the home is on btrfs (copies on write)"),
        ("ext2", "warn", "without a journal): a power cut can lose"),
        ("exfat", "warn", "without a journal): a power cut can lose"),
        ("tmpfs", "warn", "in memory): a power cut empties it"),
        ("overlay", "warn", "goes with the container"),
        ("fuseblk", "warn", "not known whether with a journal"),
        ("nfs4", "fail", "SQLite can be corrupted"),
        ("cifs", "fail", "SQLite can be corrupted"),
    ],
)
def test_it_says_whether_the_disk_keeps_what_was_acknowledged(
    home: Path, kind: str, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying_on(monkeypatch, home=kind)
    finding = about(preflight.home(settings(home)), "disk")
    assert finding.state == state
    assert words in finding.found
    assert bool(finding.advice) == (state != "ok")


def test_images_on_a_network_folder_are_as_safe_as_its_server(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying_on(monkeypatch, images="nfs4")
    found = preflight.home(settings(home, storage_url=f"file://{tmp_path}/images"))
    own, images = (finding for finding in found if finding.about == "disk")
    assert (own.state, images.state) == ("ok", "warn")
    assert images.found.startswith("the images are on nfs4 (another machine's): ")
    assert "sync" in images.advice


def test_a_home_on_a_server_is_possible_with_postgresql(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lying_on(monkeypatch, home="nfs4")
    postgresql = settings(home, database_url="postgresql://somewhere/hozi")
    assert about(preflight.home(postgresql), "disk").state == "warn"


def test_it_says_on_what_this_machine_keeps_its_home(home: Path) -> None:
    assert str(under(home)) in about(preflight.home(settings(home)), "disk").found


def test_too_little_room_fails(home: Path) -> None:
    assert about(preflight.room(settings(home, min_free_bytes=0)), "room").state in ("ok", "warn")
    finding = about(preflight.room(settings(home, min_free_bytes=1 << 60)), "room")
    assert finding.state == "fail"
    assert "HOZI_MIN_FREE_BYTES" in finding.advice


def test_it_measures_how_many_images_the_disk_can_keep(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight.seconds_to_keep(home, 1000, seconds=0.05) > 0
    assert about(preflight.flushes(settings(home)), "flushes").found.startswith("this disk can keep about ")
    monkeypatch.setattr(preflight, "seconds_to_keep", lambda folder, size: size / (30 << 20))
    finding = about(preflight.flushes(settings(home)), "flushes")
    assert finding.state == "warn"
    assert "about 53 images a second" in finding.found
    assert "SSD" in finding.advice
    postgresql = settings(home, database_url="postgresql://somewhere/hozi")
    assert "beside what the database's own disk takes" in about(preflight.flushes(postgresql), "flushes").found


def test_a_clock_that_went_back_fails(home: Path) -> None:
    assert about(preflight.clock(settings(home)), "clock").state == "ok"
    future = time.time() + 86400
    (home / "hozi.sqlite3").touch()
    os.utime(home / "hozi.sqlite3", (future, future))
    finding = about(preflight.clock(settings(home)), "clock")
    assert (finding.state, "newer than that" in finding.found) == ("fail", True)


def test_a_clock_in_the_past_fails(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.time, "time", lambda: 86400.0)
    assert about(preflight.clock(settings(home)), "clock").state == "fail"


def test_a_clock_that_jumped_is_seen() -> None:
    now, monotonic = time.time(), time.monotonic()
    assert list(preflight.clock_ran_evenly(now, monotonic)) == []
    [finding] = preflight.clock_ran_evenly(now - 10, monotonic)
    assert (finding.state, "+10.0 s" in finding.found) == ("warn", True)


@pytest.mark.parametrize(("answer", "state"), [("yes", "ok"), ("no", "warn"), ("", "warn")])
def test_it_asks_whether_the_clock_is_synchronised(
    answer: str, state: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "timedatectl"
    program.write_text(f"#!/bin/sh\necho {answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert about(preflight.clock(settings(home)), "time source").state == state


def test_a_free_port_is_fine_and_a_taken_one_fails_with_who_has_it(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        taken = about(preflight_network.ports(_at(home, port)), "DICOM port")
    assert taken.state == "fail"
    assert f"process {os.getpid()}" in taken.advice or "ss -ltnp" in taken.advice
    assert about(preflight_network.ports(_at(home, port)), "DICOM port").state == "ok"


def test_a_port_that_hozi_itself_holds_is_fine(home: Path) -> None:
    program = (
        "import socket, sys; listener = socket.create_server(('127.0.0.1', 0));"
        "print(listener.getsockname()[1], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, "hozi"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        (home / "run" / "dimse.json").write_text(f'{{"pid": {process.pid}, "port": {port}}}')
        finding = about(preflight_network.ports(_at(home, port)), "DICOM port")
        assert (finding.state, f"process {process.pid}" in finding.found) == ("ok", True)
        # The file alone proves nothing.
        (home / "run" / "dimse.json").write_text(f'{{"pid": 1, "port": {port}}}')
        assert about(preflight_network.ports(_at(home, port)), "DICOM port").state == "fail"
        process.communicate()


def test_an_address_of_another_machine_fails(home: Path) -> None:
    finding = about(preflight_network.ports(Settings(home=home, dicom_host="192.0.2.1")), "DICOM port")
    assert (finding.state, "HOZI_DICOM_HOST" in finding.advice) == ("fail", True)


def _at(home: Path, port: int) -> Settings:
    return Settings(home=home, dicom_host="127.0.0.1", dicom_port=port)


def tls(home: Path, tmp_path: Path, **facts: Any) -> Settings:
    authority = Authority(tmp_path, days=facts.pop("authority_days", 365))
    pair = authority.issue("archive", **facts)
    return settings(
        home,
        dicom_tls_port=0,
        tls_certificate=pair.certificate,
        tls_key=pair.key,
        tls_ca=authority.pair.certificate,
    )


@pytest.mark.parametrize(
    ("facts", "states", "words"),
    [
        ({}, ["ok", "ok"], "is valid until"),
        ({"days": 20}, ["warn", "ok"], "expires on"),
        ({"begins": -9, "days": -1}, ["fail", "ok"], "expired on"),
        ({"begins": 3}, ["fail", "ok"], "valid from"),
        ({"authority_days": 10}, ["ok", "warn"], "is valid until"),
    ],
)
def test_it_reads_how_long_certificates_are_valid(
    facts: dict[str, Any], states: list[str], words: str, home: Path, tmp_path: Path
) -> None:
    findings = list(preflight_network.tls(tls(home, tmp_path, **facts)))
    assert [finding.state for finding in findings] == states
    assert words in findings[0].found


def test_tls_that_is_switched_off_is_fine_and_half_of_it_fails(home: Path, tmp_path: Path) -> None:
    assert about(preflight_network.tls(settings(home)), "TLS").state == "ok"
    half = about(preflight_network.tls(settings(home, tls_key=tmp_path / "key")), "TLS")
    assert (half.state, half.advice) == ("fail", "set HOZI_TLS_CERTIFICATE, HOZI_TLS_CA too")
    assert about(preflight_network.tls(settings(home, dicom_tls_port=2762)), "TLS").state == "fail"


def test_certificate_files_that_are_missing_exposed_or_mixed_up_fail(home: Path, tmp_path: Path) -> None:
    good = tls(home, tmp_path)
    assert good.tls_key
    good.tls_key.chmod(0o644)
    [exposed, *_] = preflight_network.tls(good)
    assert (exposed.state, exposed.advice) == ("fail", f"chmod 600 {good.tls_key}")
    other = Authority(tmp_path, "elsewhere").issue("other")
    mixed = about(preflight_network.tls(good.model_copy(update={"tls_key": other.key})), "TLS")
    assert (mixed.state, "do not work together" in mixed.found) == ("fail", True)
    missing = about(preflight_network.tls(good.model_copy(update={"tls_ca": tmp_path / "none"})), "TLS")
    assert (missing.state, "cannot be read" in missing.found) == ("fail", True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "expected", "words"),
    [
        (prepare.Schema(5, (), ()), "ok", "up to date"),
        (prepare.Schema(5, ("facilities.0003_next",), ()), "warn", "1 changes"),
        (prepare.Schema(5, (), ("facilities.0009_future",)), "fail", "newer version"),
    ],
)
def test_it_compares_the_database_s_tables_with_this_version(
    state: prepare.Schema, expected: str, words: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "schema", lambda: state)
    finding = about(preflight._tables(), "database")
    assert (finding.state, words in finding.found) == (expected, True)


def test_a_sqlite_that_can_corrupt_a_database_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert about(preflight._sqlite_version(), "SQLite").state == "ok"
    monkeypatch.setattr(preflight, "LEAST_SQLITE", (99, 0, 0))
    assert about(preflight._sqlite_version(), "SQLite").state == "fail"


@pytest.mark.django_db
def test_an_old_postgresql_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("not meant for SQLite")
    assert about(preflight._postgresql(), "PostgreSQL").state == "ok"
    monkeypatch.setattr(preflight, "LEAST_POSTGRESQL", 99)
    assert about(preflight._postgresql(), "PostgreSQL").state == "fail"
