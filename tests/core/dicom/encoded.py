"""Writes elements byte by byte, right ones and wrong ones, for the tests of those who read them."""

from __future__ import annotations

import struct

UNDEFINED = 0xFFFFFFFF
LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}


def explicit(tag: int, vr: bytes, value: bytes, *, length: int | None = None, order: str = "<") -> bytes:
    """An element in explicit VR; ``length`` is written instead of the true one."""
    size = len(value) if length is None else length
    group, element = tag >> 16, tag & 0xFFFF
    if vr in LONG:
        return struct.pack(order + "HH2sHL", group, element, vr, 0, size) + value
    return struct.pack(order + "HH2sH", group, element, vr, size) + value


def implicit(tag: int, value: bytes, *, length: int | None = None, order: str = "<") -> bytes:
    """An element in implicit VR, an item or a delimiter."""
    size = len(value) if length is None else length
    return struct.pack(order + "HHL", tag >> 16, tag & 0xFFFF, size) + value


def item(content: bytes, *, open_end: bool = False, order: str = "<") -> bytes:
    """An item, with its length or with a delimiter."""
    if open_end:
        return implicit(0xFFFEE000, content, length=UNDEFINED, order=order) + implicit(0xFFFEE00D, b"", order=order)
    return implicit(0xFFFEE000, content, order=order)


def sequence(tag: int, *items: bytes, vr: bytes = b"SQ", open_end: bool = False, order: str = "<") -> bytes:
    """A sequence in explicit VR, with its length or with a delimiter."""
    content = b"".join(items)
    if open_end:
        end = implicit(0xFFFEE0DD, b"", order=order)
        return explicit(tag, vr, content + end, length=UNDEFINED, order=order)
    return explicit(tag, vr, content, order=order)


def fragments(*pieces: bytes) -> bytes:
    """Encapsulated pixel data in explicit VR; the first piece is the table of offsets."""
    content = b"".join(implicit(0xFFFEE000, piece) for piece in pieces)
    return explicit(0x7FE00010, b"OB", content + implicit(0xFFFEE0DD, b""), length=UNDEFINED)
