"""A body that is handed on while it comes: however long it is, little of it is held, and a slow client costs one place.

The application, in a thread, reads from an `Inflow` as from any file. Only its first read asks the client for the body
(and answers ``Expect: 100-continue``): of who is refused before, nothing is taken. Pieces come through a bounded queue;
when nobody reads, the client waits.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

from hozi.core.errors import HoziError

AHEAD: Final = 1 << 20
"""No more than this (and one piece) has come without having been read."""

FIRST_SECONDS: Final = 15.0
LONGEST_SECONDS: Final = 30.0
"""So long may a body be silent at most, however fast it came before."""

SLOWEST: Final = 4096
"""Bytes a second at which a body must come: each second of waiting is earned with as many."""


class BrokenOff(HoziError):
    """The body ended before its announced length, or came too slowly: what came is not the whole."""


class TooSlow(BrokenOff):
    """The body came too slowly, and is not waited for any longer."""


class Pieces(Protocol):
    """Where a body comes from: Granian's transport."""

    def __aiter__(self) -> Any: ...


class Inflow(io.BufferedIOBase):
    """A body as a file to read from, in one thread; it comes in the event loop. ``length``: what was announced."""

    def __init__(self, source: Pieces, length: int | None, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._source = source
        self._length = length
        self._loop = loop
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._held = 0
        self._begun = False
        self._paused: asyncio.Event | None = None
        self._pump: asyncio.Task[None] | None = None
        self._error: BrokenOff | None = None
        self._rest = b""
        self.came = 0
        self.ended = length == 0
        """Whether all of it has come: the next bytes on the connection are another request's."""

    # In the application's thread --------------------------------------------------------------------------

    def readable(self) -> bool:
        """It is."""
        return True

    def read1(self, size: int | None = -1, /) -> bytes:
        """What has come, at most ``size`` bytes; waits when there is nothing. Empty at the end. Raises BrokenOff."""
        piece = self._rest or self._next(size or -1)
        if size is None or size < 0 or len(piece) <= size:
            self._rest = b""
            return piece
        self._rest = piece[size:]
        return piece[:size]

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes, or those that are left before the end; all without a number. Raises BrokenOff."""
        parts, wanted = [], -1 if size is None else size
        while wanted != 0:
            piece = self.read1(wanted)
            if not piece:
                break
            parts.append(piece)
            wanted -= len(piece) if wanted > 0 else 0
        return b"".join(parts)

    def readinto(self, buffer: Any, /) -> int:
        """As `read1`, into a buffer."""
        view = memoryview(buffer).cast("B")
        piece = self.read1(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def _next(self, size: int) -> bytes:
        """The next piece; with those behind it that have come, too, up to ``size`` bytes: fewer, larger ones are
        less work for whoever hashes and writes them."""
        with self._changed:
            if not self._begun and not self.ended:
                self._begun = True
                self._loop.call_soon_threadsafe(self._start)
            while not self._queue:
                if self._error is not None:
                    raise self._error
                if self.ended or self.closed:
                    return b""
                self._changed.wait()
            pieces = [self._queue.popleft()]
            length = len(pieces[0])
            while self._queue and length + len(self._queue[0]) <= size:
                pieces.append(self._queue.popleft())
                length += len(pieces[-1])
            before, self._held = self._held, self._held - length
            if before > AHEAD // 2 >= self._held:
                self._loop.call_soon_threadsafe(self._go_on)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # In the event loop ------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Nothing more is taken: called when the application is done with it."""
        if self._pump is not None:
            self._pump.cancel()
        self._begun = True
        self._end(None)

    def _start(self) -> None:
        if self._pump is None and self._error is None and not self.closed:
            self._paused = asyncio.Event()
            self._pump = self._loop.create_task(self._fetch())

    def _go_on(self) -> None:
        if self._paused is not None:
            self._paused.set()

    async def _fetch(self) -> None:
        """Takes piece after piece from the client, until the end, an error, or `stop`."""
        try:
            await self._fetch_all(aiter(self._source))
        except TooSlow as error:
            self._end(error)
        except Exception:  # noqa: BLE001 - whatever the connection says: what has come is not the whole
            self._end(BrokenOff("the body broke off"))

    async def _fetch_all(self, pieces: AsyncIterator[bytes]) -> None:
        patience = FIRST_SECONDS
        while True:
            begun = self._loop.time()
            try:
                async with asyncio.timeout(patience):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise TooSlow("the body came too slowly") from None
            patience = min(patience - (self._loop.time() - begun) + len(piece) / SLOWEST, LONGEST_SECONDS)
            if not piece:
                continue  # which would read as the end
            self.came += len(piece)
            if self._length is not None and self.came > self._length:
                raise BrokenOff("the body is longer than was announced")
            if self._put(piece):
                await self._room()
        if self._length is not None and self.came != self._length:
            raise BrokenOff("the body broke off")
        self.ended = True
        self._end(None)

    def _put(self, piece: bytes) -> bool:
        """Hands a piece on; whether there is too much now."""
        with self._changed:
            self._queue.append(piece)
            self._held += len(piece)
            self._changed.notify()
            if self._held > AHEAD and self._paused is not None:
                self._paused.clear()
                return True
            return False

    async def _room(self) -> None:
        if self._paused is not None:
            await self._paused.wait()

    def _end(self, error: BrokenOff | None) -> None:
        with self._changed:
            if error is not None and self._error is None:
                self._error = error
            elif not self.ended and self._error is None:
                self._error = BrokenOff("nothing more of the body is taken")
            self._changed.notify_all()
