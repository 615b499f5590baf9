"""The walk through the structure of a dataset, which `scan` is made of (PS3.5 §7).

One loop, no recursion: what a sequence or an item interrupts is put on a stack. Every step goes forward by at least
the eight bytes of a header, and is counted; so time is linear and bounded whatever the bytes are.

Which of two contradicting lengths is believed: the outer one. A value, an item or a sequence that reaches beyond the
end of what it stands in is cut there, and the walk goes on behind that. Only what has nothing around it with a length
of its own cannot be mended so: then the dataset is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hozi.core.dicom import part10
from hozi.core.dicom.encodings import (
    DELIMITERS,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    LONG_VRS,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    UNKNOWN,
    VRS,
    Encoding,
)
from hozi.core.dicom.inflate import Whole
from hozi.core.errors import Unreadable

ODD_LENGTH: Final = 1
TRAILING: Final = 2
BEYOND: Final = 4
GROUP_2: Final = 8
ORDER: Final = 16
REPEATED: Final = 32
DELIMITER: Final = 64
UNKNOWN_VR: Final = 128
OTHER_ENCODING: Final = 256
NOT_A_SEQUENCE: Final = 512

ODDITIES: Final = {
    ODD_LENGTH: "odd length",
    TRAILING: "trailing bytes",
    BEYOND: "value beyond the end of its sequence",
    GROUP_2: "group 0002 in the dataset",
    ORDER: "elements out of order",
    REPEATED: "an element twice",
    DELIMITER: "missing or stray delimiter",
    UNKNOWN_VR: "unknown VR",
    OTHER_ENCODING: "elements in another encoding than the transfer syntax says",
    NOT_A_SEQUENCE: "sequence that cannot be read",
}
"""What is let pass, as bits of `Walk.oddities`, and how it is told."""

_PIXEL_DATA_GROUP: Final = 0x7FE0
_PIXEL_DATA: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_BINARY: Final = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW"))
_HEADER: Final = 8
_AHEAD: Final = 24
"""How many bytes from a header on may be looked at: a long header, and the header of an item in the value."""
_ITEM_COST: Final = 64
"""What a kept item counts for against the limit on kept values, beside its values."""
_NOTHING: Final[frozenset[int]] = frozenset()


class Caps(NamedTuple):
    """The limits of a walk; see `scan.Limits`."""

    depth: int
    elements: int
    items: int
    value_bytes: int


@dataclass(slots=True)
class _Frame:
    """What the walk is in: the dataset, a sequence or an item of one.

    ``end``: where it ends at the latest. ``own_end``: it has a length itself. ``bounded``: it, or something around it,
    has one. ``certain``: it and all around it are declared to be sequences, and not only look like it. ``previous``:
    the last tag in it. ``kept``: where its wanted values go. ``items``: of a sequence, where its items go.
    """

    in_sequence: bool
    end: int
    own_end: bool
    bounded: bool
    certain: bool
    encoding: Encoding
    wanted: Collection[int] = _NOTHING
    kept: dict[int, bytes] = field(default_factory=dict)
    items: list[dict[int, bytes]] | None = None
    previous: int = 0


class Walk:
    """One walk through one dataset. `run` it, then read what it found.

    ``wanted``: tags of the top level whose values are kept. ``sequences``: tags of the top level, with the tags that
    are kept of their items.
    """

    def __init__(
        self,
        source: Whole,
        encoding: Encoding,
        caps: Caps,
        wanted: Collection[int],
        sequences: Mapping[int, Collection[int]],
    ) -> None:
        self.values: dict[int, bytes] = {}
        self.sequences: dict[int, list[dict[int, bytes]]] = {}
        self.oddities = 0
        self.count = 0
        self.has_pixel_data = False
        self.encapsulated = False
        self._source = source
        self._caps = caps
        self._wanted_sequences = sequences
        self._frame = _Frame(False, source.limit, False, False, True, encoding, wanted, self.values)
        self._outer: list[_Frame] = []
        self._position = 0
        self._items = 0
        self._room = caps.value_bytes
        self._done = False

    def run(self) -> None:
        """Walks to the end of the dataset. Raises `Unreadable`."""
        try:
            self._begin()
            while not self._done:
                if self._frame.in_sequence:
                    self._walk_items()
                elif self._frame.encoding.explicit:
                    self._walk_explicit()
                else:
                    self._walk_implicit()
        except (struct.error, IndexError):
            raise self._cut_short() from None

    # The beginning

    def _begin(self) -> None:
        """Steps over a file header that was left in the dataset (E16), and looks which encoding it really has."""
        source, frame = self._source, self._frame
        source.load(0, _AHEAD)
        meta, position = part10.read_meta(source.buffer, 0)
        if meta:
            self.oddities |= GROUP_2
            self.count = len(meta)
            source.load(position, _AHEAD)
        self._position = position
        start = source.read(position, _HEADER)
        if len(start) < _HEADER:
            return
        vr = start[4:6]
        if frame.encoding is IMPLICIT_LITTLE and vr in VRS:
            # As the length of a first element, these letters would mean 16 KiB and more.
            frame.encoding = EXPLICIT_LITTLE
            self.oddities |= OTHER_ENCODING
        elif frame.encoding is EXPLICIT_LITTLE and not _is_letters(vr):
            group, _, length = IMPLICIT_LITTLE.header(start, 0)
            if 0 < group < DELIMITERS and (length == UNDEFINED or position + _HEADER + length <= source.limit):
                frame.encoding = IMPLICIT_LITTLE
                self.oddities |= OTHER_ENCODING

    # The loops over elements

    def _walk_explicit(self) -> None:
        """Goes through the elements of a dataset or item in explicit VR, until it ends or a sequence opens."""
        source, frame = self._source, self._frame
        buffer, base, loaded = source.buffer, source.base, source.loaded
        end, previous, wanted, kept, room = frame.end, frame.previous, frame.wanted, frame.kept, self._room
        header, long = frame.encoding.header, frame.encoding.long
        position = self._position
        fence = (end if end < loaded else loaded) - _HEADER
        for count in range(self.count, self._caps.elements + 1):
            if position > fence:
                self._pause(position, count, previous)
                if not self._has_header():
                    return
                buffer, base, loaded = source.buffer, source.base, source.loaded
                fence = (end if end < loaded else loaded) - _HEADER
            group, element, vr, length = header(buffer, position - base)
            tag = group << 16 | element
            if tag <= previous and self._is_padding(tag, previous, position):
                return
            if vr in SHORT_VRS:
                start = position + 8
            else:
                if position + _AHEAD > loaded:
                    source.load(position, _AHEAD)
                    buffer, base, loaded = source.buffer, source.base, source.loaded
                    fence = (end if end < loaded else loaded) - _HEADER
                if vr in LONG_VRS:
                    (length,) = long(buffer, position - base + 8)
                    start = position + 12
                else:
                    self._pause(position, count, previous)
                    if group == DELIMITERS:
                        self._delimiter(element)
                        return
                    start, length = self._read_unknown(tag, vr)
                    vr = b"UN"
                if length >= _HEADER and self._has_structure(tag, vr, start, length):
                    self._pause(position, count + 1, tag)
                    self._step_into(tag, vr, start, length)
                    return
            previous = tag
            position = start + length
            if position > end:
                self._pause(position, count, previous)
                self._overrun()
                return
            if length & 1:
                self.oddities |= ODD_LENGTH
            if tag in wanted:
                size = length if length < room else room
                if start + size > loaded:
                    source.load(start, size)
                    buffer, base, loaded = source.buffer, source.base, source.loaded
                    fence = (end if end < loaded else loaded) - _HEADER
                kept[tag] = bytes(buffer[start - base : start - base + size])
        raise self._too_many()

    def _walk_implicit(self) -> None:
        """The same for implicit VR, where only its first bytes tell a sequence of defined length from other values."""
        source, frame = self._source, self._frame
        buffer, base, loaded = source.buffer, source.base, source.loaded
        end, previous, wanted, kept, room = frame.end, frame.previous, frame.wanted, frame.kept, self._room
        header = frame.encoding.header
        position = self._position
        fence = (end if end < loaded else loaded) - _HEADER
        for count in range(self.count, self._caps.elements + 1):
            if position > fence:
                self._pause(position, count, previous)
                if not self._has_header():
                    return
                buffer, base, loaded = source.buffer, source.base, source.loaded
                fence = (end if end < loaded else loaded) - _HEADER
            group, element, length = header(buffer, position - base)
            tag = group << 16 | element
            if tag <= previous and self._is_padding(tag, previous, position):
                return
            if group == DELIMITERS:
                self._pause(position, count, previous)
                self._delimiter(element)
                return
            start = position + 8
            position = start + length
            if length >= _HEADER:
                if start + _HEADER > loaded:
                    source.load(start, _HEADER)
                    buffer, base, loaded = source.buffer, source.base, source.loaded
                    fence = (end if end < loaded else loaded) - _HEADER
                if length == UNDEFINED or (
                    position <= end
                    and (buffer[start - base] == _ITEM_BYTE or group == _PIXEL_DATA_GROUP)
                    and self._has_structure(tag, b"UN", start, length)
                ):
                    self._pause(start, count + 1, tag)
                    self._step_into(tag, b"UN", start, length)
                    return
            previous = tag
            if position > end:
                self._pause(position, count, previous)
                self._overrun()
                return
            if length & 1:
                self.oddities |= ODD_LENGTH
            if tag in wanted:
                size = length if length < room else room
                if start + size > loaded:
                    source.load(start, size)
                    buffer, base, loaded = source.buffer, source.base, source.loaded
                    fence = (end if end < loaded else loaded) - _HEADER
                kept[tag] = bytes(buffer[start - base : start - base + size])
        raise self._too_many()

    def _pause(self, position: int, count: int, previous: int) -> None:
        """Puts down what a loop over elements holds in its local variables."""
        self._position = position
        self.count = count
        self._frame.previous = previous

    def _has_header(self) -> bool:
        """Whether another header stands here, and makes it stand in the buffer. If none does, the frame is left."""
        source, frame, position = self._source, self._frame, self._position
        end = frame.end
        if end - position >= _HEADER:
            source.load(position, _AHEAD)
            if source.loaded - position >= _HEADER:
                return True
            end = source.loaded
            if self._outer:
                raise self._cut_short()
        if not self._outer:
            rest = source.read(position, end - position)
            if rest.strip(b"\0"):
                raise self._cut_short()
            if rest:
                self.oddities |= TRAILING
            self._done = True
        elif frame.own_end:
            if position != end:
                self.oddities |= BEYOND
            self._position = end
            self._frame = self._outer.pop()
        elif frame.bounded:
            self.oddities |= DELIMITER
            self._frame = self._outer.pop()
        else:
            raise self._cut_short()
        return False

    def _is_padding(self, tag: int, previous: int, position: int) -> bool:
        """Looks into why a tag is not greater than the one before. Zeros up to the end of the dataset end the walk."""
        if self._outer:
            self.oddities |= REPEATED if tag == previous else ORDER
            return False
        if tag == 0:
            self._step_over_zeros(position)
            self.oddities |= TRAILING
            self._done = True
            return True
        self.oddities |= GROUP_2 if tag >> 16 == 0x0002 else REPEATED if tag == previous else ORDER
        return False

    def _step_over_zeros(self, position: int) -> None:
        while piece := self._source.read(position, _PIECE):
            if piece.count(0) != len(piece):
                raise Unreadable(f"What stands at byte {position} of the dataset is no element.")
            position += len(piece)

    def _overrun(self) -> None:
        """A value ends behind the end of what it stands in: goes on there, if there is something to go on in."""
        frame = self._frame
        if not frame.bounded or (frame.certain and self._position > self._source.limit):
            raise self._cut_short()
        self.oddities |= BEYOND
        self._position = frame.end

    # Sequences and items

    def _has_structure(self, tag: int, vr: bytes, start: int, length: int) -> bool:
        """Whether a value is made of items, so that the walk has to go into it."""
        if vr == b"SQ" or length == UNDEFINED:
            return True
        if tag in _PIXEL_DATA and not self._outer:
            self.has_pixel_data = True
            self.encapsulated = False
            return False
        source = self._source
        if vr != b"UN" or tag >> 16 == _PIXEL_DATA_GROUP or start + length > self._frame.end:
            return False
        return source.read(start, 4) in _ITEM_TAGS
