"""A connection seen from beside the web server: is the other side there, how much has it taken; and ending it at once.

Granian 2.8 has no word for any of these. It takes in whatever it is given, in memory, however little the client
takes; an answer without a length that breaks off would end like one that is whole; one that nobody waits for would be
made to its end. The kernel knows better, and is asked here. Works on Linux; elsewhere no connection is found, and
answers are made as fast as they can be.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from pathlib import Path
from typing import Final

_AT_ONCE: Final = struct.pack("ii", 1, 0)
_BYTES_ACKED: Final = struct.Struct("120xQ")  # tcpi_bytes_acked in linux/tcp.h, struct tcp_info
_GONE: Final = getattr(select, "POLLRDHUP", 0) | select.POLLERR | select.POLLHUP


class Connection:
    """One of this process's connections, by a handle of its own, to be closed after use."""

    def __init__(self, handle: socket.socket) -> None:
        self._handle = handle
        self._poll = select.poll()
        self._poll.register(handle, _GONE)
        self._before = self._acknowledged()

    def is_gone(self) -> bool:
        """Whether the other side has closed it, or the kernel has given it up."""
        return bool(self._poll.poll(0))

    def taken(self) -> int:
        """How many bytes the other side has acknowledged since this was made."""
        return self._acknowledged() - self._before

    def _acknowledged(self) -> int:
        told = self._handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
        [count] = _BYTES_ACKED.unpack(told)
        return int(count)

    def reset(self) -> None:
        """Ends it, so that the other side cannot take what came for the whole."""
        try:
            self._handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self._handle.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def close(self) -> None:
        """Gives the handle back; the connection itself is Granian's."""
        self._handle.close()


def find(peer: str) -> Connection | None:
    """The connection to ``192.0.2.1:4711`` or ``[2001:db8::1]:4711``; None when there is none, or none can be found."""
    if not hasattr(socket, "TCP_INFO"):
        return None
    for number in _open_files():
        try:
            copy = os.dup(number)
        except OSError:
            continue
        try:
            handle = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            continue
        if _name(handle) == peer:
            return Connection(handle)
        handle.close()
    return None


def _open_files() -> list[int]:
    try:
        return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    except OSError:
        return []


def _name(handle: socket.socket) -> str:
    try:
        host, port = handle.getpeername()[:2]
    except (OSError, ValueError):
        return ""
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
