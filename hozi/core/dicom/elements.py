"""The elements of a dataset one after the other, forward only: what a rewriter reads from and writes with (PS3.5 §7).

`scan` judges a dataset when it comes in; this reads what has been let in, so it is as tolerant as that (see `walk`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, NamedTuple

from hozi.core.dicom import encodings, part10
from hozi.core.dicom.inflate import Whole
from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.errors import Unreadable

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
BLOCK_BYTES: Final = 256 << 10
_FIRST_BLOCK: Final = 4 << 10
#: How far ahead is looked to make out what an unknown VR means.
_AHEAD: Final = 66 << 10

#: Explicit VRs with a 32-bit length after two reserved bytes (PS3.5 §7.1.2).
LONG_VRS: Final = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))
#: How many bytes change places together when the byte order changes (PS3.5 §7.3); other VRs are strings of bytes.
SWAP_BYTES: Final = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}


class Encoding(NamedTuple):
    """How headers and numbers of a dataset are written."""

    explicit: bool
    little_endian: bool
    mixed: bool = False
    """Each item may have chosen between explicit and implicit for itself: inside a value of VR UN."""

    @classmethod
    def of(cls, syntax: TransferSyntax) -> Encoding:
        """The encoding of a transfer syntax' datasets; a deflated one's after inflating."""
        return cls(syntax.explicit, syntax.little_endian)

    @property
    def order(self) -> str:
        """The byte order as `struct` writes it."""
        return "<" if self.little_endian else ">"

    @property
    def readers(self) -> encodings.Encoding:
        """The same for those who read from a buffer."""
        if not self.explicit:
            return encodings.IMPLICIT_LITTLE
        return encodings.EXPLICIT_LITTLE if self.little_endian else encodings.EXPLICIT_BIG


IMPLICIT: Final = Encoding(False, True)
EXPLICIT: Final = Encoding(True, True)
UNKNOWN: Final = Encoding(False, True, mixed=True)


class Header(NamedTuple):
    """What stands before a value. ``vr`` is empty where none is written, and UN for one that the standard does not
    know; ``raw`` are the header's own bytes.
    """

    tag: int
    vr: str
    length: int
    raw: bytes

    @property
    def undefined(self) -> bool:
        """Whether the value ends with a delimiter."""
        return self.length == UNDEFINED


class Source:
    """The bytes of a dataset, read forward; ``position`` counts those that were taken."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = b""
        self._at = 0
        self.position = 0

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, or as many as there are; they stay to be read."""
        while len(self._block) - self._at < size:
            more = next(self._blocks, b"")
            if not more:
                break
            self._block = self._block[self._at :] + more
            self._at = 0
        return self._block[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """Exactly the next ``size`` bytes. Raises `Unreadable` when there are fewer."""
        taken = self.peek(size)
        if len(taken) < size:
            raise Unreadable(f"The dataset is cut short at byte {self.position + len(taken)}.")
        self._at += size
        self.position += size
        return taken

    def pieces(self, size: int) -> Iterator[bytes]:
        """Exactly the next ``size`` bytes in pieces of `BLOCK_BYTES`; the last one may be shorter."""
        while size:
            piece = self.take(min(size, BLOCK_BYTES))
            size -= len(piece)
            yield piece

    def skip(self, size: int) -> None:
        """Steps over exactly the next ``size`` bytes. Raises `Unreadable` when there are fewer."""
        for _ in self.pieces(size):
            pass

    def rest(self) -> Iterator[bytes]:
        """All that is left, in pieces."""
        while piece := self.peek(BLOCK_BYTES):
            yield self.take(len(piece))

    def begin(self, encoding: Encoding) -> tuple[bytes, Encoding]:
        """Takes a file header that was left in the dataset, and tells how the dataset is really encoded.

        Some devices get either wrong; `scan` lets it pass, by the same rules.
        """
        meta = b""
        if self.peek(2) == b"\x02\0":
            _, size = part10.read_meta(self.peek(BLOCK_BYTES), 0)
            meta = self.take(size)
        start = self.peek(8)
        if len(start) == 8 and encoding == IMPLICIT and start[4:6] in encodings.VRS:
            return meta, EXPLICIT
        if len(start) == 8 and encoding == EXPLICIT and not encodings.is_vr_like(start[4:6]):
            group, _, length = struct.unpack("<HHI", start)
            wanted = 8 if length == UNDEFINED else min(8 + length, BLOCK_BYTES)
            if 0 < group < encodings.DELIMITERS and len(self.peek(wanted)) == wanted:
                return meta, IMPLICIT
        return meta, encoding

    def next_tag(self, encoding: Encoding) -> int | None:
        """The tag of the header that comes next; None where no header can stand: at the end, or before padding."""
        start = self.peek(8)
        if len(start) < 8 or not any(start):
            return None
        group, element = struct.unpack_from(f"{encoding.order}HH", start)
        return int(group << 16 | element)

    def header(self, encoding: Encoding) -> Header | None:
        """Reads an element's or item's header; None where none can stand (see `next_tag`)."""
        tag = self.next_tag(encoding)
        if tag is None:
            return None
        start = self.peek(12)
        if tag >> 16 != encodings.DELIMITERS and encoding.explicit:
            vr = start[4:6]
            if vr in encodings.SHORT_VRS:
                length = struct.unpack_from(f"{encoding.order}H", start, 6)[0]
                return Header(tag, vr.decode("ascii"), length, self.take(8))
            if vr in encodings.LONG_VRS:
                raw = self.take(12)
                return Header(tag, vr.decode("ascii"), struct.unpack_from(f"{encoding.order}I", raw, 8)[0], raw)
            ahead = Whole(self.peek(_AHEAD))
            begin, length, is_implicit = encodings.read_unknown(ahead, encoding.readers, 0, ahead.loaded)
            return Header(tag, "" if is_implicit else "UN", length, self.take(begin))
        return Header(tag, "", struct.unpack_from(f"{encoding.order}I", start, 4)[0], self.take(8))


class FileSource(Source):
    """A `Source` over ``length`` bytes of ``file`` from where it stands: what is stepped over is not read."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        super().__init__(iter(self._next_block, b""))
        self._file = file
        self._left = length
        self._size = _FIRST_BLOCK

    def _next_block(self) -> bytes:
        size = min(self._size, self._left)
        self._size = min(self._size * 2, BLOCK_BYTES)
        block = self._file.read(size)
        if len(block) < size:
            raise Unreadable("The file is shorter than its dataset.")
        self._left -= size
        return block

    def skip(self, size: int) -> None:
        """Steps over exactly the next ``size`` bytes. Raises `Unreadable` when there are fewer."""
        ahead = len(self._block) - self._at
        if size <= ahead:
            self._at += size
        elif size - ahead > self._left:
            raise Unreadable(f"The dataset is cut short at byte {self.position + ahead + self._left}.")
        else:
            self._file.seek(size - ahead, 1)
            self._left -= size - ahead
            self._size = _FIRST_BLOCK  # perhaps another header, and then more to step over
            self._block, self._at = b"", 0
        self.position += size


def blocks(stream: BinaryIO, length: int) -> Iterator[bytes]:
    """The next ``length`` bytes of ``stream``. Raises `Unreadable` when there are fewer."""
    while length:
        block = stream.read(min(BLOCK_BYTES, length))
        if not block:
            raise Unreadable("The file is shorter than its dataset.")
        length -= len(block)
        yield block


def inflated(deflated: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """A deflated dataset's bytes (PS3.5 §A.5), in blocks. What stands behind the stream is padding.

    Raises `Unreadable` when the stream is damaged or has no end, and as soon as it gives more than ``limit`` bytes.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    for data in deflated:
        while data and not inflate.eof:
            try:
                block = inflate.decompress(data, BLOCK_BYTES)
            except zlib.error:
                raise Unreadable("The deflated dataset is damaged.") from None
            total += len(block)
            if total > limit:
                raise Unreadable(f"The deflated dataset inflates to more than {limit} bytes.")
            data = inflate.unconsumed_tail
            if block:
                yield block
    if not inflate.eof:
        raise Unreadable("The deflated dataset is cut short.")


def deflated(dataset: Iterable[bytes]) -> Iterator[bytes]:
    """Deflates a dataset (PS3.5 §A.5), to an even length."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    length = 0
    for block in dataset:
        if data := deflate.compress(block):
            length += len(data)
            yield data
    data = deflate.flush()
    yield data + b"\0" * ((length + len(data)) % 2)


def header(tag: int, vr: str, length: int, encoding: Encoding) -> bytes:
    """Writes an element's header. A value that is too long for its VR's length is written as UN (PS3.5 §6.2.2)."""
    order, where = encoding.order, (tag >> 16, tag & 0xFFFF)
    if not encoding.explicit or tag >> 16 == 0xFFFE:
        return struct.pack(f"{order}HHI", *where, length)
    if vr not in LONG_VRS:
        if length <= 0xFFFF:
            return struct.pack(f"{order}HH2sH", *where, vr.encode("latin_1"), length)
        vr = "UN"
    return struct.pack(f"{order}HH2sHI", *where, vr.encode("latin_1"), 0, length)


def swapped(block: bytes, size: int) -> bytes:
    """``block`` with the bytes of every ``size``-byte number in the other order; an incomplete last one stays."""
    whole = len(block) - len(block) % size
    numbers = bytearray(block)
    for byte in range(size):
        numbers[byte:whole:size] = block[size - 1 - byte : whole : size]
    return bytes(numbers)
