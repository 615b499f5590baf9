"""The load: a program that asks a web server over connections that stay open, as lightly as Python can.

`python -m bench.load` reads a task as JSON from its standard input and answers as JSON. It is the same for every
archive. Each connection is a process of its own with a blocking socket; all begin at the same moment. Each answer's
status and size are compared with what an earlier look (`bench.web.look`) has found right.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_BUFFER: Final = 1 << 20
_HEAD: Final = 4096
_COUNTED: Final = socket.MSG_TRUNC | socket.MSG_WAITALL
_SECONDS: Final = 300


class Wrong(Exception):
    """An answer that is not what was asked for."""


@dataclass(frozen=True)
class Asked:
    """One request as it goes over the wire, and the size of the answer's body that is right (-1: any).

    ``body``: the file that follows its head.
    """

    request: bytes
    size: int
    body: str = ""


class Line:
    """One connection that stays open; if the server closes it, the next request opens another."""

    def __init__(self, host: str, port: int, source: str = "") -> None:
        self._where = (host, port)
        self._source = (source, 0) if source else None
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._socket: socket.socket | None = None

    def open(self) -> socket.socket:
        """The connection, opened if it is not."""
        if self._socket is None:
            self._socket = socket.create_connection(self._where, _SECONDS, self._source)
            # Python's own time limit would ask the kernel once more before each read.
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _SECONDS, 0))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def ask(self, asked: Asked) -> int:
        """Sends a request and takes the whole answer in; returns the size of its body."""
        there = self.open()
        there.sendall(asked.request)
        if asked.body:
            with Path(asked.body).open("rb") as body:
                there.sendfile(body)
        size, stays = self._answer(there)
        if not stays:
            there.close()
            self._socket = None
        if asked.size >= 0 and size != asked.size:
            raise Wrong(f"{size} bytes came where {asked.size} are right")
        return size

    def _answer(self, source: socket.socket) -> tuple[int, bool]:
        have = 0
        while (end := self._buffer.find(b"\r\n\r\n", 0, have)) < 0:
            came = source.recv_into(self._view[have:], min(_HEAD, _BUFFER - have))
            if not came:
                raise Wrong("the connection was closed")
            have += came
        head = bytes(self._view[:end]).lower().split(b"\r\n")
        status = head[0].split(b" ")[1]
        if status not in (b"200", b"206"):
            raise Wrong(f"status {status.decode()}")
        named = dict(line.split(b":", 1) for line in head[1:])
        stays = named.get(b"connection", b"").strip() != b"close"
        rest = bytes(self._view[end + 4 : have])
        if named.get(b"transfer-encoding", b"").strip() == b"chunked":
            return self._chunks(source, rest), stays
        if b"content-length" not in named:
            return len(rest) + self._to_the_end(source), False
        length = int(named[b"content-length"])
        self._pass(source, length - len(rest))
        return length, stays

    def _pass(self, source: socket.socket, left: int) -> None:
        """Takes so many bytes, which nobody looks at: the kernel counts them and need not copy them."""
        while left > 0:
            came = source.recv_into(self._view, min(left, _BUFFER), _COUNTED)
            if not came:
                raise Wrong("the answer broke off")
            left -= came

    def _to_the_end(self, source: socket.socket) -> int:
        """An answer that ends with the connection."""
        size = 0
        while came := source.recv_into(self._view, _BUFFER, socket.MSG_TRUNC):
            size += came
        return size

    def _chunks(self, source: socket.socket, rest: bytes) -> int:
        size, data = 0, bytearray(rest)
        while True:
            while (end := data.find(b"\r\n")) < 0:
                data += self._more(source)
            length = int(bytes(data[:end]).split(b";")[0], 16)
            del data[: end + 2]
            size += length
            left = length + 2 - len(data)
            if left <= 0:
                del data[: length + 2]
            else:
                data.clear()
                self._pass(source, left)
            if not length:
                return size

    def _more(self, source: socket.socket) -> bytes:
        came = source.recv(65536)
        if not came:
            raise Wrong("the answer broke off")
        return came


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Does the task: ``host``, ``port``, ``connections`` (for each the list of [request, size, file of its body]).

    With ``warm``, each connection's first request is sent once before; with ``sources`` each comes from an address of
    its own.
    Returns ``seconds`` from the common start to the last answer, ``requests``, ``bytes``, and with ``each`` the seconds
    of every request.
    """
    lines = [[Asked(request.encode(), *more) for request, *more in one] for one in task["connections"]]
    each, warm = bool(task.get("each")), bool(task.get("warm"))
    start_read, start_write = os.pipe()
    children = []
    for number, asked in enumerate(lines):
        source = f"127.0.0.{2 + number}" if task.get("sources") else ""
        answer_read, answer_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(start_write)
            line = Line(task["host"], task["port"], source)
            told = _child(line, asked, start_read, answer_write, each, warm)
            os.write(answer_write, json.dumps(told).encode() + b"\n")
            os._exit(0)
        os.close(answer_write)
        children.append((pid, os.fdopen(answer_read, "rb")))
    for _, answers in children:
        answers.readline()  # its connection is open
    started = time.perf_counter()
    os.close(start_write)
    told = [json.loads(answers.readline() or b'{"wrong": "the load ended"}') for _, answers in children]
    seconds = time.perf_counter() - started
    for pid, _ in children:
        os.waitpid(pid, 0)
    if wrong := [one["wrong"] for one in told if one.get("wrong")]:
        return {"wrong": wrong[0]}
    return {
        "seconds": seconds,
        "requests": sum(len(asked) for asked in lines),
        "bytes": sum(one["bytes"] for one in told),
        "each": [took for one in told for took in one["each"]],
    }


def _child(line: Line, asked: list[Asked], begin: int, answers: int, each: bool, warm: bool) -> dict[str, Any]:
    size, seconds = 0, []
    try:
        line.open()
        if warm and asked:
            line.ask(asked[0])
        os.write(answers, b"ready\n")
        select.select([begin], [], [])
        for one in asked:
            started = time.perf_counter() if each else 0.0
            size += line.ask(one)
            if each:
                seconds.append(time.perf_counter() - started)
    except (Wrong, OSError, ValueError) as error:
        return {"wrong": f"{type(error).__name__}: {error}"}
    return {"bytes": size, "each": seconds}


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
