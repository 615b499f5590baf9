"""Bytes to and from one peer: a socket, one receive buffer that is used again and again, and time limits.

Receiving is the hot path of the archive. Bytes go from the kernel into the buffer once and are handed out as
slices of it. Time limits of plain connections are the kernel's (SO_RCVTIMEO, SO_SNDTIMEO): Python's own turn
every read into two system calls and twice the waiting for the interpreter lock.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from hozi.core.dimse.failures import Lost, TimedOut

Piece = bytes | bytearray | memoryview

BUFFER_SIZE: Final = 512 * 1024
NEGOTIATION_BUFFER_SIZE: Final = 16 * 1024
_TLS_WRITE: Final = 64 * 1024
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 4 << 20
_QUICK_ACK: Final = getattr(socket, "TCP_QUICKACK", 0)
_KERNEL_TIMEOUTS: Final = sys.platform != "win32"


class Transport:
    """One connection. ``view[start:end]`` is what has been received and not yet used.

    All methods but ``wake`` belong to the thread that owns the connection. Errors: Lost, TimedOut.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_tls = isinstance(sock, ssl.SSLSocket)
        self.view = memoryview(bytearray(NEGOTIATION_BUFFER_SIZE))
        self.capacity = NEGOTIATION_BUFFER_SIZE
        self.start = 0
        self.end = 0
        self.is_open = True
        self._kernel_timeouts = _KERNEL_TIMEOUTS and not self.is_tls
        self._patience = -1.0
        self._kernel_patience = {socket.SO_RCVTIMEO: -1.0, socket.SO_SNDTIMEO: -1.0}
        self._deadline: float | None = None
        self._sending = threading.Lock()
        if self._kernel_timeouts:
            sock.settimeout(None)
        _tune(sock)

    def enlarge(self) -> None:
        """Take the full receive buffer; a connection that has not negotiated does with a small one."""
        larger = memoryview(bytearray(BUFFER_SIZE))
        held = self.end - self.start
        larger[:held] = self.view[self.start : self.end]
        self.view, self.capacity, self.start, self.end = larger, BUFFER_SIZE, 0, held

    def patience(self, seconds: float) -> None:
        """Wait at most so long for the peer in each read and each write from now on."""
        self._deadline = None
        self._patience = seconds

    def patience_until(self, deadline: float) -> None:
        """Wait at most until this moment (``time.monotonic``), however many reads it takes."""
        self._deadline = deadline

    def _be_patient(self, way: int) -> None:
        """Set the time limit of the next read (SO_RCVTIMEO) or write (SO_SNDTIMEO), if it is not that one already."""
        if self._deadline is not None:
            self._patience = self._deadline - time.monotonic()
            if self._patience <= 0:
                raise TimedOut("the peer took too long")
        seconds = self._patience
        if self._kernel_patience[way] == seconds:
            return
        try:
            if self._kernel_timeouts:
                whole = int(seconds)
                packed = struct.pack("ll", whole, max(int((seconds - whole) * 1_000_000), 0 if whole else 1000))
                self.sock.setsockopt(socket.SOL_SOCKET, way, packed)
                self._kernel_patience[way] = seconds
            else:
                self.sock.settimeout(seconds)
                self._kernel_patience = dict.fromkeys(self._kernel_patience, seconds)
        except OSError as error:
            raise Lost("the connection was lost") from error

    def _receive(self, room: memoryview) -> int:
        """Read what is there, at least one byte, into ``room``; wait for it if need be."""
        self._be_patient(socket.SO_RCVTIMEO)
        try:
            count = self.sock.recv_into(room)
        except (BlockingIOError, TimeoutError) as error:
            raise TimedOut("the peer was silent for too long") from error
        except (OSError, ValueError) as error:
            raise Lost("the connection was lost") from error
        if not count:
            raise Lost("the peer closed the connection")
        return count

    def need(self, count: int) -> None:
        """Wait until ``count`` bytes (fewer than the buffer's size) lie in one piece at ``start``."""
        self._make_room(count)
        while self.end - self.start < count:
            self.end += self._receive(self.view[self.end :])

    def gather(self, count: int) -> int:
        """Wait for up to ``count`` bytes, fewer where the buffer ends; return how many of them are there (≥ 1)."""
        if self.start == self.end:
            self.start = self.end = 0
        limit = min(self.start + count, self.capacity)
        while self.end < limit:
            self.end += self._receive(self.view[self.end :])
        return limit - self.start

    def _make_room(self, count: int) -> None:
        if self.start == self.end:
            self.start = self.end = 0
        elif self.start + count > self.capacity:
            held = self.end - self.start
            self.view[:held] = self.view[self.start : self.end]
            self.start, self.end = 0, held

    def take(self, count: int) -> bytes:
        """Return exactly ``count`` bytes, any number; memory grows only with what really arrives."""
        taken = bytearray()
        while len(taken) < count:
            piece = self.gather(min(count - len(taken), self.capacity))
            taken += self.view[self.start : self.start + piece]
            self.start += piece
        return bytes(taken)

    def poll(self) -> bool:
        """Read what has come without waiting; return whether anything had. Raises Lost when the peer has gone."""
        self._make_room(self.end - self.start + 1)
        if self.end == self.capacity:
            return False
        room = self.view[self.end :]
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                if not self.sock.pending() and not _readable(self.sock):
                    return False
                self.sock.settimeout(0)
                try:
                    count = self.sock.recv_into(room)
                finally:
                    self.sock.settimeout(self._kernel_patience[socket.SO_RCVTIMEO])
            else:
                count = self.sock.recv_into(room, 0, socket.MSG_DONTWAIT)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except (OSError, ValueError) as error:
            raise Lost("the connection was lost") from error
        if not count:
            raise Lost("the peer closed the connection")
        self.end += count
        return True

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send all pieces in order, with one system call where the kernel takes them at once."""
        self._be_patient(socket.SO_SNDTIMEO)
        with self._sending:
            try:
                if self.is_tls:
                    # Python's time limit is for all of a sendall: a slow line gets it for each part.
                    whole = memoryview(b"".join(pieces))
                    for position in range(0, len(whole), _TLS_WRITE):
                        self.sock.sendall(whole[position : position + _TLS_WRITE])
                else:
                    self._send_plain(pieces)
                    if _QUICK_ACK:  # else a sender that waits for an ACK (Nagle) waits for the delayed one, 40 ms
                        self.sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
            except (BlockingIOError, TimeoutError) as error:
                raise TimedOut("the peer did not take what was sent to it") from error
            except (OSError, ValueError) as error:
                raise Lost("the connection was lost") from error

    def _send_plain(self, pieces: Sequence[Piece]) -> None:
        sent = self.sock.sendmsg(pieces)
        left = sum(map(len, pieces)) - sent
        if not left:
            return
        rest = [memoryview(piece) for piece in pieces]
        while left:
            # A signal or a time limit cut the call short, or the system takes no more at once.
            while rest and sent >= len(rest[0]):
                sent -= len(rest.pop(0))
            if sent:
                rest[0] = rest[0][sent:]
            sent = self.sock.sendmsg(rest)
            left -= sent

    def linger(self) -> None:
        """Say that nothing more will be sent, let the peer read the last word, then close.

        Closing with unread input would make the kernel send a reset, which can destroy the last word under way.
        """
        deadline = time.monotonic() + _LINGER_SECONDS
        seen = 0
        try:
            self.sock.shutdown(socket.SHUT_WR)
            while seen < _LINGER_BYTES:
                self.patience_until(deadline)
                seen += self._receive(self.view)
        except (OSError, ValueError, Lost, TimedOut):
            pass
        self.close()

    def close(self) -> None:
        """Close the connection; closing again does nothing."""
        self.is_open = False
        try:
            self.sock.close()
        except OSError:
            pass

    def wake(self, last_word: bytes = b"") -> None:
        """End the connection from another thread: the owner's read or write fails with Lost.

        ``last_word`` is sent first where nothing else is being sent.
        """
        try:
            if last_word and not self.is_tls and self._sending.acquire(timeout=0.2):
                try:
                    self.sock.send(last_word, socket.MSG_DONTWAIT)
                finally:
                    self._sending.release()
            # Not the method of SSLSocket: that one takes the session away under the owner's hands.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        except OSError:
            pass


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _tune(sock: socket.socket) -> None:
    """No waiting for full segments, and a peer that has silently gone is noticed within two minutes.

    Buffer sizes stay the kernel's business: a fixed SO_RCVBUF switches its own tuning off, which finds a window
    several times larger than the largest that an unprivileged process may set.
    """
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    except OSError:
        pass
