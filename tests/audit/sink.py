"""A syslog collector of the tests: real sockets and TLS, that can go away and come back on the same port."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from pathlib import Path

from tests.certificates import Pair

ROW = re.compile(rb"urn:hozi:audit:(\d+)")


class Sink:
    """Collects frames (RFC 5425 §4.3). ``after``: goes away as soon as it has so many more."""

    def __init__(self, pair: Pair | None = None, clients: Path | None = None, port: int = 0) -> None:
        self.frames: list[bytes] = []
        self.port = port
        self._context: ssl.SSLContext | None = None
        if pair is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(pair.certificate, pair.key)
            if clients is not None:
                self._context.load_verify_locations(clients)
                self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []
        self._thread: threading.Thread | None = None
        self._most: int | None = None

    @property
    def rows(self) -> list[int]:
        """Numbers of the rows that came, in the order in which each came first."""
        return list(dict.fromkeys(int(found[1]) for frame in self.frames if (found := ROW.search(frame))))

    def come(self, after: int | None = None) -> None:
        self._most = None if after is None else len(self.frames) + after
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        self._thread.start()

    def go(self) -> None:
        """Ends everything at once, as when a machine is switched off: what is unread is thrown away."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(10)

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while self._listener is listener:
                raw, _ = listener.accept()
                self._connections = [raw]
                with contextlib.suppress(OSError, ssl.SSLError, EOFError):
                    over = self._context.wrap_socket(raw, server_side=True) if self._context else raw
                    self._connections = [over]
                    with over:
                        self._read(over)

    def _read(self, over: socket.socket) -> None:
        with over.makefile("rb") as file:
            while True:
                digits = b""
                while not digits.endswith(b" "):
                    letter = file.read(1)
                    if not letter:
                        raise EOFError
                    digits += letter
                frame = file.read(int(digits))
                if len(frame) < int(digits):
                    raise EOFError
                self.frames.append(frame)
                if self._most is not None and len(self.frames) >= self._most:
                    self.go()
                    return
