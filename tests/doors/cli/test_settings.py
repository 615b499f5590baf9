"""A setting that cannot be used is named at once, and nothing starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.doors.cli.conftest import program
from tests.doors.cli.test_serve import SECONDS, Archive
from tests.doors.cli.test_serve import archive as archive  # a fixture


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOZI_IDLE_SECONDS", "inf"),
        ("HOZI_TIME_ZONE", "Mars/Phobos"),
        ("HOZI_DICOM_HOST", "300.1.1.1"),
        ("HOZI_LOG_LEVEL", "loud"),
        ("HOZI_PRIVATE_STORAGE_CLASSES", "1.2.3,foo"),
        ("HOZI_DEFAULT_CHARSET", "klingon"),
        ("HOZI_STORAGE_URL", "file:///proc/nope"),
        ("HOZI_STORAGE_URL", "ftp://there"),
        ("HOZI_MAX_PDU", "100"),
        ("HOZI_DICOM_TLS_PORT", "70000"),
        ("HOZI_AE_TITLE", "much too long a title"),
    ],
)
def test_serve_names_a_value_that_cannot_be_used_and_starts_nothing(tmp_path: Path, name: str, value: str) -> None:
    done = program("serve", HOZI_HOME=str(tmp_path / "home"), **{name: value})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert name in line
    assert not list((tmp_path / "home").glob("run/*.json"))


def test_serve_names_what_is_wrong_with_the_certificates(tmp_path: Path) -> None:
    facts = {"HOZI_HOME": str(tmp_path / "home"), "HOZI_DICOM_TLS_PORT": "0"}
    half = program("serve", **facts)
    assert (half.returncode, "HOZI_TLS_CERTIFICATE" in half.stderr) == (1, True)
    files = {f"HOZI_TLS_{name}": str(tmp_path / name) for name in ("CERTIFICATE", "KEY", "CA")}
    missing = program("serve", **facts, **files)
    assert missing.returncode == 1
    assert str(tmp_path / "CERTIFICATE") in missing.stderr
    assert not list((tmp_path / "home").glob("run/*.json"))


def test_the_doctor_sees_a_variable_that_was_mistyped(tmp_path: Path) -> None:
    done = program("doctor", "--json", HOZI_HOME=str(tmp_path / "home"), HOZI_DICOM_PROT="5", HOZI_DICOM_PORT="0")
    [finding] = [one for one in json.loads(done.stdout)["findings"] if one["about"] == "settings"]
    assert finding["state"] == "warn"
    assert "HOZI_DICOM_PROT" in finding["found"]
    assert "HOZI_DICOM_PORT" in finding["advice"]


def refused(home: Path, **settings: str) -> str:
    """The one line with which `hozi serve` refuses these settings, before it has begun with anything."""
    database = home.parent / "index.sqlite3"
    result = program(
        "serve", HOZI_HOME=str(home), HOZI_DATABASE_URL=f"sqlite:///{database}", HOZI_DICOM_PORT="0", **settings
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert not database.exists()
    assert not [path for path in home.rglob("*") if path != home / "run"]
    [line] = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOZI_IDLE_SECONDS", "nan"),
        ("HOZI_TIME_ZONE", "../../etc/passwd"),
        ("HOZI_PRIVATE_STORAGE_CLASSES", "foo"),
        ("HOZI_DEFAULT_CHARSET", "ISO_IR 1000"),
        ("HOZI_STORAGE_URL", "file:///dev/null"),
    ],
)
def test_the_line_begins_with_the_setting_and_no_database_is_made(name: str, value: str, tmp_path: Path) -> None:
    assert refused(tmp_path / "home", **{name: value}).startswith(f"hozi: {name}: ")


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    line = refused(tmp_path / "home", HOZI_TIME_ZONE="Mars/Phobos", HOZI_DEFAULT_CHARSET="klingon")
    assert "HOZI_TIME_ZONE" in line
    assert "HOZI_DEFAULT_CHARSET" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOZI_LOG_LEVEL", "warning"),
        ("HOZI_DEFAULT_CHARSET", "ISO_IR 100"),
        ("HOZI_PRIVATE_STORAGE_CLASSES", "1.2.840.113619.4.30, 1.3.12.2.1107.5.9.1,"),
        ("HOZI_TIME_ZONE", "Africa/Lusaka"),
        ("HOZI_DICOM_TLS_PORT", ""),
    ],
)
def test_what_can_be_used_is_taken(name: str, value: str, tmp_path: Path) -> None:
    assert program("device", "list", HOZI_HOME=str(tmp_path / "home"), **{name: value}).returncode == 0


def test_tls_without_its_files_names_those_that_are_wanted(tmp_path: Path) -> None:
    line = refused(tmp_path / "home", HOZI_DICOM_TLS_PORT="2762")
    assert line.startswith("hozi: TLS: ")
    assert "HOZI_TLS_CERTIFICATE, HOZI_TLS_KEY, HOZI_TLS_CA" in line
    pair = Authority(tmp_path).issue("archive")
    some = {"HOZI_TLS_CERTIFICATE": str(pair.certificate), "HOZI_TLS_KEY": str(pair.key)}
    assert "set HOZI_TLS_CA too" in refused(tmp_path / "home", HOZI_DICOM_TLS_PORT="2762", **some)


@pytest.mark.parametrize("missing", ["HOZI_TLS_CERTIFICATE", "HOZI_TLS_KEY", "HOZI_TLS_CA"])
def test_tls_with_a_file_that_does_not_exist_names_the_file(missing: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("archive")
    files = {
        "HOZI_TLS_CERTIFICATE": str(pair.certificate),
        "HOZI_TLS_KEY": str(pair.key),
        "HOZI_TLS_CA": str(authority.pair.certificate),
        missing: str(tmp_path / "nowhere.pem"),
    }
    line = refused(tmp_path / "home", HOZI_DICOM_TLS_PORT="2762", **files)
    assert line.startswith(f"hozi: TLS: {tmp_path / 'nowhere.pem'} cannot be read")


def test_a_mistyped_setting_is_pointed_out_once_and_the_archive_serves(archive: Archive) -> None:
    archive.facts["HOZI_AE_TITEL"] = "GRANARY"
    process = archive.start("--json")
    archive.ready("dimse")
    archive.ready("worker")
    process.terminate()
    _, told = process.communicate(timeout=SECONDS)
    events = [json.loads(line) for line in told.splitlines()]
    [warning] = [event for event in events if "HOZI_AE_TITEL" in str(event)]
    assert (warning["level"], warning["variable"]) == ("warning", "HOZI_AE_TITEL")
    assert warning["advice"] == "did you mean HOZI_AE_TITLE?"
    assert process.returncode == 0


def test_the_doctor_guesses_no_name_that_is_far_off_and_is_quiet_about_right_ones(tmp_path: Path) -> None:
    facts = {"HOZI_HOME": str(tmp_path / "home"), "HOZI_DICOM_PORT": "0", "HOZI_LOG_LEVEL": "INFO"}
    found = json.loads(program("doctor", "--json", **facts, HOZI_QQQQ="1").stdout)["findings"]
    told = [(one["found"], one["advice"]) for one in found if one["about"] == "settings"]
    assert told == [("HOZI_QQQQ is no setting", "see docs/operate/settings.md")]
