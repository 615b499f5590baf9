"""The log: one line for each event, whatever is in it, and no patient data from those who quote it."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Callable

import pytest
import structlog

from hozi.doors.cli import logs
from tests.doors.cli.conftest import Command

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(hozi: Command, capsys: pytest.CaptureFixture[str]) -> Lines:
    """What was logged since the last question. (`hozi` puts logging back as it was.)"""
    return lambda: capsys.readouterr().err.splitlines()


def test_it_is_readable_on_request(lines: Lines) -> None:
    logs.configure("INFO", part="dimse", as_json=False)
    structlog.get_logger().warning("device not recognised", calling_ae="CT9", count=2)
    logging.getLogger("hozi.doors").info("ready", extra={"port": 11112})
    first, second = lines()
    assert first[8:] == " dimse  WARNING: device not recognised  calling_ae=CT9 count=2"
    assert second[8:] == " dimse  ready  port=11112"


def test_it_is_json_when_no_terminal_reads(lines: Lines) -> None:
    logs.configure("INFO", part="worker")
    structlog.get_logger().info("job failed", job=7)
    logging.getLogger("hozi.jobs").error("job given up", extra={"job": 8})
    first, second = map(json.loads, lines())
    assert (first["event"], first["job"], first["part"], first["level"]) == ("job failed", 7, "worker", "info")
    assert (second["event"], second["job"], second["level"]) == ("job given up", 8, "error")
    assert first["timestamp"].endswith("Z")


@pytest.mark.parametrize("as_json", [True, False])
def test_an_event_is_one_line_whatever_is_in_it(lines: Lines, as_json: bool) -> None:
    logs.configure("INFO", as_json=as_json)
    structlog.get_logger().info("refused\nadmitted", calling_ae='CT9\r\n\x1b[31m" level=info')
    [line] = lines()
    assert line.isprintable()
    assert "\\u001b[31m" in line


@pytest.mark.parametrize("as_json", [True, False])
def test_an_exception_is_its_class_and_its_place(lines: Lines, as_json: bool) -> None:
    logs.configure("INFO", as_json=as_json)
    try:
        raise KeyError("Moyo^Tendai")
    except KeyError as error:
        structlog.get_logger().exception("one")
        structlog.get_logger().error("two", exc_info=error)
        logging.getLogger("hozi").exception("three")
        logging.getLogger("django.request").error("four", exc_info=True)
    written = lines()
    assert len(written) == 4
    assert all("KeyError" in line and "test_logs.py:" in line and "Moyo" not in line for line in written)


def test_a_thread_that_ends_with_an_error_prints_no_stack(lines: Lines) -> None:
    logs.configure("INFO", as_json=True)

    def end() -> None:
        raise KeyError("Moyo^Tendai")

    thread = threading.Thread(target=end, name="association 7")
    thread.start()
    thread.join()
    [line] = lines()
    assert json.loads(line)["thread"] == "association 7"
    assert "Moyo" not in line


def test_those_who_quote_patient_data_are_not_heard(lines: Lines) -> None:
    logs.configure("DEBUG", as_json=True)
    logging.getLogger("pydicom").error("Invalid value 'Moyo^Tendai'")
    logging.getLogger("pydicom.dataset").error("Invalid value 'Moyo^Tendai'")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("Invalid value 'Moyo^Tendai'", stacklevel=1)
        logging.captureWarnings(False)
    assert lines() == []


def test_the_level_counts_for_both_kinds_of_logger_and_others_only_warn(lines: Lines) -> None:
    logs.configure("WARNING", as_json=False)
    structlog.get_logger().info("not this")
    logging.getLogger("hozi.doors").info("nor this")
    assert lines() == []
    logs.configure("INFO", as_json=False)
    logging.getLogger("django.db").info("nor this")
    logging.getLogger("hozi.doors").info("but this")
    [line] = lines()
    assert line.endswith("but this")
