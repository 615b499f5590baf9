"""A setting that cannot be used is named at once, and nothing starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.doors.cli.conftest import program


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
