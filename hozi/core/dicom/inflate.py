"""Two ways to the bytes of a dataset: all of them at hand, or inflated piece by piece (PS3.5 §A.5)."""

from __future__ import annotations

import mmap
import zlib
from typing import Final

from hozi.core.errors import Unreadable

Buffer = bytes | bytearray | memoryview | mmap.mmap

_PIECE_OUT: Final = 256 << 10
_PIECE_IN: Final = 64 << 10


class Whole:
    """A dataset that lies in memory or in a mapped file. Positions count from its first byte.

    ``buffer`` holds the bytes from ``base`` up to ``loaded``; the dataset ends at ``limit``, or before it.
    """

    __slots__ = ("base", "buffer", "limit", "loaded")

    def __init__(self, buffer: Buffer) -> None:
        self.buffer: Buffer = buffer
        self.base = 0
        self.loaded = self.limit = len(buffer)

    def load(self, position: int, size: int) -> None:
        """Makes ``size`` bytes from ``position`` on stand in ``buffer``, or as many as there are.

        What is before ``position`` may be gone afterwards. Raises `Unreadable` when the dataset ends before
        ``position``.
        """

    def read(self, position: int, size: int) -> bytes:
        """A copy of the ``size`` bytes from ``position`` on, or of as many as there are. Loads them."""
        self.load(position, size)
        start = position - self.base
        return bytes(self.buffer[start : start + size])

    def has_surplus(self) -> bool:
        """Whether something stands behind the dataset that is no part of it."""
        return False


class Inflating(Whole):
    """A deflated dataset, of which about 256 KiB are in memory at any time.

    Raises `Unreadable` for a broken or unfinished stream, and as soon as more than ``limit`` bytes come out of it.
    Where the dataset ends is known only when its last piece has been read; ``limit`` then is that.
    """

    __slots__ = ("_deflated", "_fed", "_finished", "_most", "_rest", "_stream")

    def __init__(self, deflated: Buffer, limit: int) -> None:
        super().__init__(b"")
        self.limit = self._most = limit
        self._deflated = deflated
        self._fed = 0
        self._rest = b""
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._finished = False

    def load(self, position: int, size: int) -> None:
        """See `Whole.load`. Positions have to grow from call to call."""
        if position + size <= self.loaded:
            return
        pieces = [bytes(self.buffer[position - self.base :])]
        begin = min(position, self.loaded)
        while self.loaded < position + size and not self._finished:
            piece = self._inflate()
            if self.loaded <= position:
                begin, pieces = self.loaded, []
            self.loaded += len(piece)
            if self.loaded > self._most:
                raise Unreadable(f"The deflated dataset inflates to more than {self._most} bytes.")
            pieces.append(piece)
        if self._finished:
            self.limit = self.loaded
        if position > self.loaded:
            raise Unreadable(f"The dataset is cut short: it ends at byte {self.loaded}, inside a value.")
        self.buffer = b"".join(pieces)[position - begin :]
        self.base = position

    def has_surplus(self) -> bool:
        """See `Whole.has_surplus`. One byte is padding, which the standard asks for."""
        return len(self._stream.unused_data) + len(self._deflated) - self._fed > 1

    def _inflate(self) -> bytes:
        """The next piece that comes out of the stream; empty only when that was the last one."""
        while True:
            given = self._rest or bytes(self._deflated[self._fed : self._fed + _PIECE_IN])
            if not self._rest:
                self._fed += len(given)
            try:
                piece = self._stream.decompress(given, _PIECE_OUT)
            except zlib.error:
                raise Unreadable("The deflated dataset is damaged.") from None
            self._rest = self._stream.unconsumed_tail
            if self._stream.eof:
                self._finished = True
                return piece
            if piece:
                return piece
            if not given:
                raise Unreadable("The deflated dataset is cut short.")
