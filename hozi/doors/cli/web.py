"""The part `web` of `hozi serve`: Granian with its worker processes, and in each of them the application."""

from __future__ import annotations

import errno
import http.client
import os
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import structlog
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server import MPServer

from hozi.doors.cli import logs, supervise

if TYPE_CHECKING:
    from hozi.doors.http.bridge import Bridge
    from hozi.settings import Settings

HEAD_SECONDS: Final = 30
"""A request's head, and the next one on an open connection, must come within so many seconds.

Long enough that somebody who reads a page and goes on needs no new connection: on a slow link one costs seconds.
"""

CONNECTIONS: Final = 4096
"""Open at the same time, for each process; more wait in the system's queue."""

STOP_SECONDS: Final = 12
"""Requests that are being answered when it is told to stop get so long. Less than `supervise.GRACE`."""

_BACKLOG = 1024
_LARGEST_HEAD = 64 << 10

log = structlog.get_logger(__name__)

Ready = Callable[[dict[str, Any]], None]


class _Server(MPServer):
    """Granian with a listening socket that is opened here, once, for all workers.

    So port 0 works, a port in use is an error, and what is set on the socket holds for every connection: the
    kernel ends one whose client takes nothing of its answer.
    """

    def __init__(self, listening: socket.socket, **options: Any) -> None:
        super().__init__("hozi", interface=Interfaces.RSGI, **options)
        self._listening = listening

    def _init_shared_socket(self) -> None:
        holder: Any = SocketHolder
        shared: Any = self
        shared._ssp, shared._sso, shared._sfd = None, self._listening, self._listening.fileno()
        shared._shd = holder(self._listening.fileno(), False, _BACKLOG)


def run(
    settings: Settings,
    stop: threading.Event,
    ready: Ready,
    *,
    as_json: bool | None = None,
    make: Callable[[Settings], Bridge] | None = None,
) -> None:
    """Answers until the process is told to stop (SIGTERM, SIGINT); ``ready`` is called when a request was answered.

    ``make`` makes what answers, in each worker process: `application`, unless something else is to be served.
    Raises OSError when the address cannot be listened on.
    """
    from django.conf import settings as django

    str(django.SECRET_KEY)  # made now, not by several workers at once; and an error stands here
    # Whatever is wrong with the application shows here, once, and not in each worker again and again.
    (make or application)(settings)
    listening = _listen(settings)
    host, port = listening.getsockname()[:2]
    facts = {"host": host, "port": port, "tls": settings.http_tls, "url": address(settings, port)}
    tls = {}
    if settings.http_tls_certificate and settings.http_tls_key:
        tls = {
            "ssl_cert": settings.http_tls_certificate,
            "ssl_key": settings.http_tls_key,
            "ssl_protocol_min": SSLProtocols.tls12,
        }
    server = _Server(
        listening,
        address=host,
        port=port,
        workers=settings.http_workers,
        http=HTTPModes.http1,
        websockets=False,
        backlog=_BACKLOG,
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000, max_buffer_size=_LARGEST_HEAD),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        log_level="error",
        log_dictconfig={"loggers": {"_granian": {}, "granian.access": {}}, "handlers": {}, "formatters": {}},
        **tls,
    )

    def started() -> None:
        if stop.is_set():
            server.interrupt_signal = True
            server.main_loop_interrupt.set()
        threading.Thread(target=_wait_until_it_answers, args=(facts, stop, ready), daemon=True).start()

    server.on_startup(started)
    parent = os.getpid()
    try:
        loader: Any = _Loader(parent, as_json, make or application)
        server.serve(target_loader=loader, wrap_loader=False)
    finally:
        listening.close()


class _Loader:
    """Makes the application, in a worker process that has just begun. It can be pickled: Python 3.14 wants that."""

    def __init__(self, parent: int, as_json: bool | None, make: Callable[[Settings], Bridge]) -> None:
        self._parent = parent
        self._make = make
        self._as_json = as_json

    def __call__(self) -> Bridge:
        """The application for Granian."""
        supervise.die_with(self._parent)
        from hozi.doors.cli.prepare import load

        settings = load()
        logs.configure(settings.log_level, part="web", as_json=self._as_json)
        _allow_open_files()
        made = self._make(settings)
        from hozi.doors.dicomweb import warm

        warm.aside()
        return made


def application(settings: Settings) -> Bridge:
    """Django behind `hozi.doors.http.gate`."""
    from django.conf import settings as django
    from django.core.servers.basehttp import get_internal_wsgi_application
    from django.urls import get_resolver

    from hozi.doors.console import upload
    from hozi.doors.dicomweb import stow
    from hozi.doors.http.bridge import Bridge
    from hozi.doors.http.gate import Gate

    def streams_in(method: str, path: str) -> bool:
        return stow.streams_in(method, path) or upload.streams_in(method, path)

    get_resolver().url_patterns  # noqa: B018 - loads every view now
    gate = Gate(django.ALLOWED_HOSTS, settings.proxies, settings.http_tls)
    return Bridge(get_internal_wsgi_application(), gate, settings.http_threads, streams_in)


def address(settings: Settings, port: int | None) -> str:
    """Where a browser on this machine finds the console: ``http://127.0.0.1:8080/``."""
    host, _ = settings.http_address
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    return f"http{'s' if settings.http_tls else ''}://{shown}:{port or settings.http_address[1]}/"


def _listen(settings: Settings) -> socket.socket:
    from hozi.doors.http.bridge import UNREAD_SECONDS

    host, port = settings.http_address
    family, kind, proto, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.socket(family, kind, proto)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Connections that are accepted inherit it (tcp(7)).
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_SECONDS * 1000))
        listening.bind(where)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
        listening.set_inheritable(True)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise
        raise OSError(error.errno, f"cannot listen on {host}:{port} (HOZI_HTTP_BIND): {error.strerror}") from None
    return listening


def _wait_until_it_answers(facts: dict[str, Any], stop: threading.Event, ready: Ready) -> None:
    while not stop.wait(0.1):
        if answers(facts):
            ready(facts)
            return


def answers(facts: dict[str, Any], seconds: float = 5.0) -> bool:
    """Whether the console answers /healthz, at the host and port of those facts."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(facts["host"], facts["host"])  # noqa: S104
    begun = time.monotonic()
    try:
        if facts["tls"]:
            # It asks itself: that the name in the certificate is another one does not matter here.
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, facts["port"], timeout=seconds, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, facts["port"], timeout=seconds)
        with closing(connection):
            connection.request("GET", "/healthz", headers={"Host": "localhost"})
            return connection.getresponse().status == 200 and time.monotonic() - begun < seconds
    except (OSError, http.client.HTTPException):
        return False


def _allow_open_files() -> None:
    """As many as this account may have: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS if most == resource.RLIM_INFINITY else min(most, 2 * CONNECTIONS)
    now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
