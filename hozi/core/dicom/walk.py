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
from typing import Final

from hozi.core.dicom import part10
from hozi.core.dicom.encodings import (
    DELIMITERS,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    ITEM_TAGS,
    LONG_VRS,
    SEQUENCE_END,
    SEQUENCE_END_TAGS,
    SHORT_VRS,
    UNDEFINED,
    UNKNOWN,
    VRS,
    Encoding,
    is_vr_like,
    read_unknown,
)
from hozi.core.dicom.inflate import Whole
from hozi.core.dicom.limits import Limits
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
_UNKNOWN_COST: Final = 10
"""How much longer it takes to make out an element of unknown VR than another one."""
_NOTHING: Final[frozenset[int]] = frozenset()
_ITEM_BYTE: Final = 0xFE
"""The least byte that an item begins with, in either byte order."""
_END_OF_ITEM: Final = (DELIMITERS, ITEM_END)
_PIECE: Final = 64 << 10


@dataclass(slots=True)
class _Frame:
    """What the walk is in: the dataset, a sequence or an item of one.

    ``end``: where it ends at the latest. ``own_end``: it has a length itself. ``bounded``: it, or something around it,
    has one. ``certain``: it and all around it are declared to be sequences, and not only look like it. ``previous``:
    the last tag in it. ``kept``: where its wanted values go, each cut to ``room``. ``items``: of a sequence,
    where its items go.
    """

    in_sequence: bool
    end: int
    own_end: bool
    bounded: bool
    certain: bool
    encoding: Encoding
    wanted: Collection[int] = _NOTHING
    kept: dict[int, bytes] = field(default_factory=dict)
    room: int = 0
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
        limits: Limits,
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
        self._limits = limits
        self._wanted_sequences = sequences
        source.load(0, _AHEAD)
        self._frame = _Frame(False, source.limit, False, False, True, encoding, wanted, self.values, limits.value_bytes)
        self._outer: list[_Frame] = []
        self._position = 0
        self._items = 0
        self._unknown = 0
        self._room = 0
        self._done = False

    def run(self) -> None:
        """Walks to the end of the dataset. Raises `Unreadable`."""
        self._begin()
        while not self._done:
            try:
                if self._frame.in_sequence:
                    self._walk_items()
                elif self._frame.encoding.explicit:
                    self._walk_explicit()
                else:
                    self._walk_implicit()
            except (struct.error, IndexError):
                # The bytes end in a header or before a value.
                self._give_up("the end")

    # The beginning

    def _begin(self) -> None:
        """Steps over a file header that was left in the dataset (E16), and looks which encoding it really has."""
        source, frame = self._source, self._frame
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
        elif frame.encoding is EXPLICIT_LITTLE and not is_vr_like(vr):
            group, _, length = IMPLICIT_LITTLE.header(start, 0)
            if 0 < group < DELIMITERS and (length == UNDEFINED or position + _HEADER + length <= source.limit):
                frame.encoding = IMPLICIT_LITTLE
                self.oddities |= OTHER_ENCODING

    # The loops over elements

    def _walk_explicit(self) -> None:
        """Goes through the elements of a dataset or item in explicit VR, until it ends or a sequence opens."""
        source, frame = self._source, self._frame
        buffer, base, loaded = source.buffer, source.base, source.loaded
        end, previous, wanted, kept, room = frame.end, frame.previous, frame.wanted, frame.kept, frame.room
        header, long = frame.encoding.header, frame.encoding.long
        position = self._position
        fence = (end if end < loaded else loaded) - _HEADER
        for count in range(self.count, self._limits.elements + 1):
            if position > fence:
                self._pause(position, count, previous)
                if not self._has_header():
                    return
                buffer, base, loaded = source.buffer, source.base, source.loaded
                fence = (end if end < loaded else loaded) - _HEADER
            group, element, vr, length = header(buffer, position - base)
            tag = group << 16 | element
            if tag <= previous:
                self._pause(position, count, previous)
                if self._is_padding(tag):
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
                    start, length = self._read_unknown()
                    vr = b"UN"
                if (
                    length
                    and (
                        vr == b"SQ"
                        or length == UNDEFINED
                        or buffer[start - base] >= _ITEM_BYTE
                        or group == _PIXEL_DATA_GROUP
                    )
                    and self._has_structure(tag, vr, start, length)
                ):
                    self._pause(position, count + 1, tag)
                    self._step_into(tag, vr, start, length)
                    return
            previous = tag
            position = start + length
            if position > end:
                self._pause(self._end_of(position), count, previous)
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
        end, previous, wanted, kept, room = frame.end, frame.previous, frame.wanted, frame.kept, frame.room
        header = frame.encoding.header
        position = self._position
        fence = (end if end < loaded else loaded) - _HEADER
        for count in range(self.count, self._limits.elements + 1):
            if position > fence:
                self._pause(position, count, previous)
                if not self._has_header():
                    return
                buffer, base, loaded = source.buffer, source.base, source.loaded
                fence = (end if end < loaded else loaded) - _HEADER
            group, element, length = header(buffer, position - base)
            tag = group << 16 | element
            if tag <= previous:
                self._pause(position, count, previous)
                if self._is_padding(tag):
                    return
            if group == DELIMITERS:
                self._pause(position, count, previous)
                self._delimiter(element)
                return
            start = position + 8
            position = start + length
            if length >= _HEADER or (length and group == _PIXEL_DATA_GROUP):
                if start + _HEADER > loaded:
                    source.load(start, _HEADER)
                    buffer, base, loaded = source.buffer, source.base, source.loaded
                    fence = (end if end < loaded else loaded) - _HEADER
                if length == UNDEFINED or (
                    position <= end
                    and (buffer[start - base] >= _ITEM_BYTE or group == _PIXEL_DATA_GROUP)
                    and self._has_structure(tag, b"UN", start, length)
                ):
                    self._pause(start, count + 1, tag)
                    self._step_into(tag, b"UN", start, length)
                    return
            previous = tag
            if position > end:
                self._pause(self._end_of(position), count, previous)
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

    def _read_unknown(self) -> tuple[int, int]:
        """Where the value begins of an element whose VR is not a known one, and its length (E18)."""
        if self._unknown >= self._limits.elements // _UNKNOWN_COST:
            raise self._too_many()
        self._unknown += 1
        source, frame = self._source, self._frame
        end = min(frame.end, source.limit)
        start, length, is_implicit = read_unknown(source, frame.encoding, self._position, end)
        self.oddities |= OTHER_ENCODING if is_implicit else UNKNOWN_VR
        return start, length

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

    def _is_padding(self, tag: int) -> bool:
        """Looks into why a tag is not greater than the one before. Zeros end what they stand in, and are stepped over.

        True if the loop over elements has to be left.
        """
        frame = self._frame
        if tag == 0:
            if self._outer and not frame.own_end:
                self._give_up("something that is no element")
                return True
            if self._outer:
                self._position = frame.end
            else:
                self._step_over_zeros()
                self._done = True
            self.oddities |= TRAILING
            return True
        if tag >> 16 == 0x0002 and not self._outer:
            self.oddities |= GROUP_2
        else:
            self.oddities |= REPEATED if tag == frame.previous else ORDER
        return False

    def _step_over_zeros(self) -> None:
        while piece := self._source.read(self._position, _PIECE):
            if piece.count(0) != len(piece):
                raise Unreadable(f"The dataset is damaged: what stands behind byte {self._position} is no element.")
            self._position += len(piece)

    def _give_up(self, what: str) -> None:
        """Leaves what only looked like a sequence, when it holds what a sequence cannot hold. Refuses all else."""
        if self._frame.certain:
            raise Unreadable(f"The dataset is cut short or damaged: {what} comes at or behind byte {self._position}.")
        self.oddities |= NOT_A_SEQUENCE
        self._position = self._frame.end

    def _end_of(self, end: int) -> int:
        """Where a sequence or an item ends that says it ends at ``end``: no later than what it stands in."""
        frame = self._frame
        if end <= frame.end:
            return end
        if not frame.bounded or (frame.certain and end > self._source.limit):
            raise Unreadable(f"The dataset is cut short or damaged: a value in it would end at byte {end}.")
        self.oddities |= BEYOND
        return frame.end

    # Sequences and items

    def _has_structure(self, tag: int, vr: bytes, start: int, length: int) -> bool:
        """Whether a value is made of items, so that the walk has to go into it."""
        if vr == b"SQ" or length == UNDEFINED:
            return True
        if tag in _PIXEL_DATA:
            if not self._outer:
                self.has_pixel_data, self.encapsulated = True, False
            return False
        if vr != b"UN" or length < _HEADER or start + length > self._frame.end:
            return False
        return self._source.read(start, 4) in ITEM_TAGS

    def _step_into(self, tag: int, vr: bytes, start: int, length: int) -> None:
        """Enters a sequence, or goes through the fragments of encapsulated pixel data."""
        frame = self._frame
        self._position = start
        if length == UNDEFINED and (tag in _PIXEL_DATA or vr in _BINARY):
            self._step_over_fragments(is_pixel_data=tag in _PIXEL_DATA and not self._outer)
            return
        if len(self._outer) // 2 >= self._limits.depth:
            raise Unreadable(f"Sequences are nested deeper than {self._limits.depth} levels.")
        wanted: Collection[int] = _NOTHING
        items: list[dict[int, bytes]] | None = None
        if not self._outer and tag in self._wanted_sequences:
            wanted = self._wanted_sequences[tag]
            items = self.sequences[tag] = []
            self._room = self._limits.value_bytes
        own_end, end = length != UNDEFINED, frame.end
        if own_end:
            end = self._end_of(start + length)
        elif self._source.read(start, 4) in SEQUENCE_END_TAGS:
            self._position = start + _HEADER
            return
        certain = frame.certain and (vr == b"SQ" or not own_end or items is not None)
        encoding = frame.encoding
        if vr == b"UN" and encoding is not IMPLICIT_LITTLE:
            is_big = encoding is EXPLICIT_BIG and self._source.read(start, 2) == ITEM_TAGS[1][:2]
            encoding = EXPLICIT_BIG if is_big else UNKNOWN
        self._outer.append(frame)
        bounded = own_end or frame.bounded
        self._frame = _Frame(True, end, own_end, bounded, certain, encoding, wanted, items=items)

    def _walk_items(self) -> None:
        """Goes through the items of a sequence, until one opens that is not empty, or the sequence ends."""
        source, frame, limits = self._source, self._frame, self._limits
        end, item = frame.end, frame.encoding.item
        position = self._position
        while True:
            if position + 2 * _HEADER > source.loaded or position + _HEADER > end:
                self._position = position
                if not self._has_header():
                    return
            buffer, offset = source.buffer, position - source.base
            group, element, length = item(buffer, offset)
            position += _HEADER
            if group != DELIMITERS or element not in (ITEM, ITEM_END):
                self._position = position - _HEADER
                self._end_sequence(group, element)
                return
            if self.count >= limits.elements:
                raise self._too_many()
            self.count += 1
            if element == ITEM_END:
                self.oddities |= DELIMITER
                continue
            if self._items >= limits.items:
                raise Unreadable(f"The dataset has more than {limits.items} items in its sequences.")
            self._items += 1
            if length == UNDEFINED:
                if position + _HEADER > source.loaded or item(buffer, offset + _HEADER)[:2] != _END_OF_ITEM:
                    break
                position += _HEADER
            elif length:
                break
            if frame.items is not None:
                self._keep_item(frame.items)
        self._position = position
        self._enter_item(length)

    def _enter_item(self, length: int) -> None:
        source, frame, position = self._source, self._frame, self._position
        own_end, end = length != UNDEFINED, frame.end
        if own_end:
            end = self._end_of(position + length)
        encoding = frame.encoding
        if encoding.mixed and source.read(position + 4, 2) in VRS:
            encoding = EXPLICIT_LITTLE
        self._outer.append(frame)
        self._frame = _Frame(False, end, own_end, own_end or frame.bounded, frame.certain, encoding)
        if frame.items is not None and self._keep_item(frame.items):
            self._frame.wanted, self._frame.kept, self._frame.room = frame.wanted, frame.items[-1], self._room

    def _keep_item(self, items: list[dict[int, bytes]]) -> bool:
        """Makes room for another item of a wanted sequence. False, and the item is left out, when there is none."""
        if items:
            self._room -= sum(map(len, items[-1].values()))
        self._room -= _ITEM_COST
        if self._room <= 0:
            return False
        items.append({})
        return True

    def _end_sequence(self, group: int, element: int) -> None:
        """Leaves a sequence at what is no item: the delimiter that ends it, or something that should not be there."""
        frame = self._frame
        if (group, element) == (DELIMITERS, SEQUENCE_END):
            self._position += _HEADER
            if frame.own_end:
                self.oddities |= DELIMITER
                self._position = frame.end
            self._frame = self._outer.pop()
        elif frame.own_end and (group, element) == (0, 0):
            self.oddities |= TRAILING
            self._position = frame.end
        else:
            self._give_up("something that is no item of a sequence")

    def _delimiter(self, element: int) -> None:
        """Deals with an item or delimiter that stands where an element should."""
        frame = self._frame
        if element == ITEM_END and self._outer and not frame.own_end:
            self._position += _HEADER
            self._frame = self._outer.pop()
            return
        self.oddities |= DELIMITER
        if element in (ITEM, SEQUENCE_END) and self._outer and not frame.own_end:
            self._frame = self._outer.pop()  # the delimiter of the item is missing
        elif element in (ITEM_END, SEQUENCE_END):
            self._position += _HEADER
            self.count += 1
        elif frame.own_end:
            self._position = frame.end
        else:
            self._give_up("an item outside of a sequence")

    def _step_over_fragments(self, *, is_pixel_data: bool) -> None:
        """Goes through the fragments of encapsulated pixel data (PS3.5 §A.4)."""
        source, frame = self._source, self._frame
        position, is_first = self._position, True
        if is_pixel_data:
            self.has_pixel_data, self.encapsulated = False, True
        while True:
            self._position = position
            if position > frame.end - _HEADER:
                self._position = self._end_of(position + _HEADER)
                return
            source.load(position, _AHEAD)
            group, element, length = frame.encoding.item(source.buffer, position - source.base)
            position += _HEADER
            if group != DELIMITERS or element not in (ITEM, SEQUENCE_END) or length == UNDEFINED:
                self._give_up("something that is no fragment of pixel data")
                return
            if self.count >= self._limits.elements:
                raise self._too_many()
            if element == SEQUENCE_END:
                self._position = position
                return
            self.count += 1
            position += length
            # The first one is the table of offsets.
            if length and not is_first and is_pixel_data:
                self.has_pixel_data = True
            is_first = False

    # What is raised

    def _cut_short(self) -> Unreadable:
        what = "a sequence" if self._outer else "an element"
        return Unreadable(f"The dataset is cut short or damaged: it ends in {what}, behind byte {self._position}.")

    def _too_many(self) -> Unreadable:
        return Unreadable(f"The dataset has more than {self._limits.elements} elements.")
