"""A gzip stream (RFC 1952) out of parts that were compressed before: one member, so that every browser reads all of it.

Each part ends where a byte does and needs nothing of what is before it (a full flush, RFC 1951 §3.2.4), so parts can
be put together in any order without being compressed again. What is between them stands there uncompressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_POLYNOMIAL: Final = 0xEDB88320
_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Part:
    """Compressed bytes, with the checksum and the length of what they are of."""

    data: bytes
    crc: int
    length: int

    @classmethod
    def of(cls, content: Iterable[bytes]) -> Part:
        """Compresses what these make together."""
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        crc = length = 0
        data: list[bytes] = []
        for piece in content:
            crc = zlib.crc32(piece, crc)
            length += len(piece)
            data.append(deflate.compress(piece))
        data.append(deflate.flush(zlib.Z_FULL_FLUSH))
        return cls(b"".join(data), crc, length)

    def content(self) -> bytes:
        """What was compressed."""
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(self.data)


def stream(before: bytes, between: bytes, after: bytes, parts: Iterable[Part]) -> tuple[bytes, list[int]]:
    """The whole stream, and where in it each part begins."""
    pieces = [_HEADER]
    places: list[int] = []
    crc = length = size = 0

    def add(data: bytes, its_crc: int, its_length: int) -> None:
        nonlocal crc, length, size
        pieces.append(data)
        size += len(data)
        crc = combined(crc, its_crc, its_length)
        length += its_length

    add(_stored(before), zlib.crc32(before), len(before))
    for part in parts:
        if places:
            add(_stored(between), zlib.crc32(between), len(between))
        places.append(len(_HEADER) + size)
        add(part.data, part.crc, part.length)
    add(_stored(after, last=True), zlib.crc32(after), len(after))
    pieces.append(struct.pack("<LL", crc, length & 0xFFFFFFFF))
    return b"".join(pieces), places


def _stored(content: bytes, *, last: bool = False) -> bytes:
    """A block that is not compressed (RFC 1951 §3.2.4)."""
    return struct.pack("<BHH", last, len(content), len(content) ^ 0xFFFF) + content


def combined(first: int, second: int, length: int) -> int:
    """The CRC-32 of two contents one after the other, from that of each and the length of the second one."""
    return _product(_shift(length), first) ^ second


def _product(left: int, right: int) -> int:
    """The product of two polynomials modulo that of CRC-32, all of them with the bits the other way round."""
    found = 0
    for bit in range(31, -1, -1):
        if left >> bit & 1:
            found ^= right
        right = right >> 1 ^ _POLYNOMIAL if right & 1 else right >> 1
    return found


def _shift(length: int) -> int:
    """What a checksum is multiplied with when so many bytes come behind."""
    found, place = 1 << 31, 3
    while length:
        if length & 1:
            found = _product(_POWERS[place % 32], found)
        length >>= 1
        place += 1
    return found


def _powers() -> list[int]:
    found = [1 << 30]
    while len(found) < 32:
        found.append(_product(found[-1], found[-1]))
    return found


_POWERS: Final = _powers()
