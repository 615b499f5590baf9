"""The log: one line per event; readable on a terminal, JSON elsewhere. No stack traces, no patient data."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from hozi.doors.cli.output import printable

_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_PLAIN = "\x1b[0m"

EventDict = MutableMapping[str, Any]


def configure(level: str, *, part: str = "", as_json: bool | None = None) -> None:
    """Sends structlog and the standard library's logging to the error channel, from ``level`` up.

    ``part`` names the process in every line. ``as_json`` None: JSON unless a terminal reads.
    """
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    terminal = sys.stderr.isatty()
    if as_json is None:
        as_json = not terminal
    render = _render_json if as_json else _Lines(terminal)
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        # People read their own time; programs one that names its zone.
        structlog.processors.TimeStamper(fmt="iso", utc=as_json),
        _Part(part),
        _error_in_one_line,
    ]
    structlog.configure(
        processors=[*before, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # One write per line: several processes share the channel.
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_speaks_of_no_patient)
    without_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *before], processors=[without_meta, render]
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    logging.getLogger("hozi").setLevel(number)
    logging.captureWarnings(True)
    threading.excepthook = _thread_ended


def _thread_ended(arguments: threading.ExceptHookArgs) -> None:
    """What a thread did not expect is logged like anything else, not printed with its stack."""
    if arguments.exc_value is not None:
        name = arguments.thread.name if arguments.thread else ""
        structlog.get_logger(__name__).error("a thread ended", thread=name, exc_info=arguments.exc_value)


def _speaks_of_no_patient(record: logging.LogRecord) -> bool:
    """Both quote the values of elements: pydicom's own log, and its Python warnings. Django quotes addresses.

    Of Django's lines about requests, errors stay, without what was asked for: the access log has the rest.
    """
    if record.name in ("django.request", "django.server") or record.name.startswith("django.security"):
        record.msg, record.args = "a page failed", ()
        for name in ("request", "status_code"):
            record.__dict__.pop(name, None)
        return record.levelno >= logging.ERROR and record.name == "django.request"
    return record.name.partition(".")[0] != "pydicom" and record.name != "py.warnings"


class _Part:
    def __init__(self, part: str) -> None:
        self._part = part

    def __call__(self, logger: Any, method: str, event: EventDict) -> EventDict:
        if self._part:
            event["part"] = self._part
        return event


def _error_in_one_line(logger: Any, method: str, event: EventDict) -> EventDict:
    """An exception becomes its class and the line of code: its text and its variables may hold patient data."""
    given = event.pop("exc_info", None)
    event.pop("stack_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        event["exception"] = type(error).__name__
        if trace is not None:
            event["at"] = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return event


_AS_JSON: Final = json.JSONEncoder(ensure_ascii=False, default=str)


def _render_json(logger: Any, method: str, event: EventDict) -> str:
    return str(_AS_JSON.encode(dict(event)))


class _Lines:
    """``08:31:02 dimse    device not recognised  calling_ae=CT9 address=192.168.1.9``"""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, logger: Any, method: str, event: EventDict) -> str:
        time, level = str(event.pop("timestamp"))[11:19], str(event.pop("level"))
        text = printable(str(event.pop("event")))
        part = str(event.pop("part", "")).ljust(6)
        if level not in ("info", "debug"):
            text = f"{level.upper()}: {text}"
        if self._colours and level in _COLOURS:
            text = f"{_COLOURS[level]}{text}{_PLAIN}"
        facts = " ".join(f"{key}={_quoted(value)}" for key, value in event.items())
        return f"{time} {part} {text}{'  ' if facts else ''}{facts}"


def _quoted(value: object) -> str:
    text = str(value)
    # Anything that could pass for another field, or steer a terminal, goes into quotes and is escaped.
    return text if text.isprintable() and text and not set(text) & set(' "=') else json.dumps(text)
