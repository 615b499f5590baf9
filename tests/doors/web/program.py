"""A server like the console's, with an application whose answers are long, slow or broken on purpose."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hozi.doors.cli import web
from hozi.doors.cli.prepare import load, open_home, run_folder
from hozi.doors.http.inflow import BrokenOff

PIECE = b"x" * (64 << 10)


class Pieces:
    """An answer that streams, as Django's does."""

    streaming = True

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def endless() -> Iterator[bytes]:
    """4 GiB."""
    for _ in range(1 << 16):
        yield PIECE


def breaking() -> Iterator[bytes]:
    """A little, then an error."""
    yield PIECE
    raise RuntimeError("the disk is gone")


def taken_in(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """A body that streams in: its length and hash; what came of it when it broke off."""
    body, digest, size = environ["wsgi.input"], hashlib.sha256(), 0
    try:
        while piece := body.read1(1 << 20):
            digest.update(piece)
            size += len(piece)
            if environ["PATH_INFO"] == "/in/slowly":
                time.sleep(0.002)
            if environ["PATH_INFO"] == "/in/some":
                break
    except BrokenOff as error:
        start("400 Bad Request", [])
        return [f"{size} {error}".encode()]
    start("200 OK", [])
    return [f"{size} {digest.hexdigest()}".encode()]


def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "application/octet-stream")]
    if path == "/sleep":
        time.sleep(0.3)
    if path == "/raise":
        raise RuntimeError("MOYO^Tendai")
    if path == "/in/refused":
        start("401 Unauthorized", headers)
        return [b"who are you?"]
    if path.startswith("/in"):
        return taken_in(environ, start)
    start("200 OK", headers)
    if path == "/endless":
        return Pieces(endless())
    if path == "/breaking":
        return Pieces(breaking())
    if path == "/few":
        return Pieces([b"a", b"", b"b"])
    if path == "/threads":
        return Pieces(str(threading.get_ident()).encode() + b"\n" for _ in range(50))
    if path == "/body":
        return [b"%d" % len(environ["wsgi.input"].read())]
    return [b"ok"]


def make(settings: Any) -> Any:
    from hozi.doors.http.bridge import Bridge
    from hozi.doors.http.gate import Gate

    gate = Gate(["localhost"], settings.proxies, settings.http_tls)
    return Bridge(answer, gate, settings.http_threads, lambda method, path: method == "POST" and path[:3] == "/in")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hozi.settings")
    settings = load()
    from hozi.doors.http import bridge, inflow

    # Not the half minute that people on slow links get.
    bridge.UNREAD_SECONDS, web.HEAD_SECONDS = 4.0, 3
    inflow.FIRST_SECONDS, inflow.LONGEST_SECONDS = 2.0, 2.0
    open_home(settings)
    file = run_folder(settings) / "web.json"

    def ready(facts: dict[str, Any]) -> None:
        file.with_suffix(".new").write_text(json.dumps({"pid": os.getpid(), **facts}))
        file.with_suffix(".new").replace(file)

    web.run(settings, threading.Event(), ready, as_json=True, make=make)
