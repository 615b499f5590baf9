"""Ends a connection from this side, at once: what an answer needs that cannot be finished.

Granian has no word for it. An answer without a length that breaks off would end like one that is whole.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

_AT_ONCE = struct.pack("ii", 1, 0)


def hang_up(peer: str) -> bool:
    """Resets this process's connection to ``192.0.2.1:4711`` or ``[2001:db8::1]:4711``; whether there was one.

    Looks where Linux lists a process's open files; elsewhere it finds none.
    """
    for entry in _open_files():
        try:
            copy = os.dup(entry)
        except OSError:
            continue
        try:
            connection = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            continue
        with connection:
            try:
                if _name(connection) == peer:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                    connection.shutdown(socket.SHUT_RDWR)
                    return True
            except OSError:
                continue
    return False


def _open_files() -> list[int]:
    try:
        return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    except OSError:
        return []


def _name(connection: socket.socket) -> str:
    host, port = connection.getpeername()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
