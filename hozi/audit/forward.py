"""A second copy of the audit, out of reach of whoever can write into this one: rows go on to a syslog collector.

RFC 5424 over TLS with octet counting (RFC 5425), as PS3.15 §A.6 wants it; the message is the standard's XML. What goes
on is what the chain has named, in its order. While the collector is away nothing is lost and nobody waits: the rows are
in the database anyway, and the row `Forwarding` says up to where the collector has them.

Syslog has no answers. A link counts as arrived when the collector's machine has acknowledged every byte of it and the
connection lived on for `SETTLE`; when the connection ends, everything since is sent again. So each row arrives at least
once, and its number in the message (``urn:hozi:audit:<number>``) tells a collector which came twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import ssl
import struct
import termios
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from django.utils import timezone

from hozi.audit import chain, ranges, search
from hozi.audit.message import message
from hozi.audit.models import Event, Forwarding, Link
from hozi.audit.search import Line
from hozi.settings import HOZI

log = structlog.get_logger(__name__)

SETTLE: Final = 2.0
"""Seconds that a connection must live on before what was sent over it counts as arrived."""

_PORT: Final = 6514
_SECONDS: Final = 10.0
_LINKS_A_TURN: Final = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_FACILITY: Final = 10  # security and authorisation
_SEVERITIES: Final = {0: 5, 4: 4, 8: 3, 12: 2}


class Away(Exception):
    """The collector cannot be reached, or has gone; the text says why."""


@dataclass(frozen=True, slots=True)
class Collector:
    """Where rows go on to, and how: with ``secure`` over TLS, checked against ``authorities`` (None: the system's)."""

    host: str
    port: int
    secure: bool
    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How forwarding stands. ``behind``: rows in the chain that the collector does not have for sure yet."""

    to: str
    behind: int
    sent: int
    last_at: datetime | None
    error: str
    failing_since: datetime | None


def collector() -> Collector | None:
    """What the settings say; None: rows do not go on."""
    if not HOZI.audit_syslog:
        return None
    parts = urlsplit(HOZI.audit_syslog)
    files = (HOZI.audit_syslog_ca, HOZI.audit_syslog_certificate, HOZI.audit_syslog_key)
    return Collector(parts.hostname or "", parts.port or _PORT, parts.scheme == "tls", *files)


def forward() -> None:
    """What is to be done about once a second: sends on what the chain has named; a collector may be away."""
    global _forwarder
    if _forwarder is None:
        to = collector()
        if to is None:
            return
        _forwarder = Forwarder(to)
    _forwarder.turn()


def standing() -> Standing | None:
    """How forwarding stands; None when rows do not go on."""
    if not HOZI.audit_syslog:
        return None
    row = Forwarding.objects.filter(pk=1).first()
    total = chain.standing().rows
    sent = row.sent if row else 0
    return Standing(
        to=HOZI.audit_syslog,
        behind=max(0, total - sent),
        sent=sent,
        last_at=row.last_at if row else None,
        error=row.error if row else "",
        failing_since=row.failing_since if row else None,
    )


_forwarder: Forwarder | None = None


class Forwarder:
    """Keeps one connection to the collector, and sends links over it one after the other."""

    def __init__(self, to: Collector) -> None:
        self._to = to
        self._socket: socket.socket | None = None
        self._sent_up_to = 0
        self._settling: deque[tuple[Link, float]] = deque()
        self._retry_at = 0.0
        self._pause = _FIRST_PAUSE

    def turn(self) -> None:
        """Sends what is new, at most some links, and notes what has arrived."""
        row, _ = Forwarding.objects.get_or_create(pk=1)
        if self._socket is None and (time.monotonic() < self._retry_at or not self._waits(row.link)):
            return
        try:
            if self._socket is None:
                self._connect()
                self._sent_up_to = row.link
            self._send(self._socket)
            self._note_arrivals(row, self._socket)
        except (Away, OSError, ssl.SSLError) as error:
            self._give_up(row, error)

    def close(self) -> None:
        """Ends the connection; what had not settled is sent again over the next one."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None
        self._settling.clear()

    def _waits(self, arrived: int) -> bool:
        return Link.objects.filter(number__gt=arrived).exists()

    def _connect(self) -> None:
        to = self._to
        raw = socket.create_connection((to.host, to.port), _SECONDS)
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._socket = _context(to).wrap_socket(raw, server_hostname=to.host) if to.secure else raw
            self._socket.settimeout(_SECONDS)
        except BaseException:
            raw.close()
            raise

    def _send(self, over: socket.socket | None) -> None:
        assert over is not None  # noqa: S101 - connected before
        for link in Link.objects.filter(number__gt=self._sent_up_to).order_by("number")[:_LINKS_A_TURN]:
            _check_alive(over)
            over.sendall(b"".join(frame(line) for line in _lines(link)))
            self._sent_up_to = link.number
            self._settling.append((link, time.monotonic()))

    def _note_arrivals(self, row: Forwarding, over: socket.socket | None) -> None:
        assert over is not None  # noqa: S101 - connected before
        if not self._settling:
            if row.error:
                self._well(row)
            return
        _check_alive(over)
        if _unacknowledged(over):
            return
        arrived: Link | None = None
        while self._settling and time.monotonic() - self._settling[0][1] >= SETTLE:
            arrived, _ = self._settling.popleft()
        if arrived is not None:
            row.link, row.sent, row.last_at = arrived.number, arrived.total, timezone.now()
            self._well(row)

    def _well(self, row: Forwarding) -> None:
        if row.error:
            log.info("the audit's collector is back")
        row.error, row.failing_since = "", None
        row.save()
        self._pause = _FIRST_PAUSE

    def _give_up(self, row: Forwarding, error: Exception) -> None:
        self.close()
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        text = _in_words(error)
        if text != row.error:
            log.warning("the audit's collector cannot be reached", error=text)
            row.error, row.failing_since = text[:200], row.failing_since or timezone.now()
            row.save()


def frame(line: Line) -> bytes:
    """A row as a syslog message with its length before it (RFC 5425 §4.3)."""
    at = line.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    priority = _FACILITY * 8 + _SEVERITIES.get(line.outcome, 5)
    head = f"<{priority}>1 {at} {_HOST} hozi {os.getpid()} DICOM+RFC3881 - "
    text = head.encode() + b"\xef\xbb\xbf" + message(line).encode("utf-8", "replace")
    return b"%d %s" % (len(text), text)


def _lines(link: Link) -> list[Line]:
    ids = ranges.read(link.ids, chain.MOST_IN_A_LINK)
    return search.lines(Event.objects.filter(pk__in=ids).order_by("pk"))


def _context(to: Collector) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=to.authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if to.certificate is not None:
        context.load_cert_chain(to.certificate, to.key)
    return context


def _check_alive(over: socket.socket) -> None:
    """Raises Away when the other side has ended the connection; collectors say nothing, so anything to read is that."""
    while select.select([over], [], [], 0)[0]:
        over.settimeout(0)
        try:
            if not over.recv(4096):
                raise Away("the collector ended the connection")
        except (ssl.SSLWantReadError, BlockingIOError):
            return
        finally:
            over.settimeout(_SECONDS)


def _unacknowledged(over: socket.socket) -> int:
    """Bytes that the other machine has not acknowledged yet."""
    [waiting] = struct.unpack("i", fcntl.ioctl(over.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(waiting)


def _in_words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, TimeoutError):
        return f"it does not answer within {_SECONDS:g} seconds"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)


_HOST: Final = (
    "".join(letter for letter in socket.gethostname() if letter.isascii() and letter.isprintable())[:255] or "-"
)
