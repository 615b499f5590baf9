"""Lets a dataset flow from one encoding into another, or the same, with some elements replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pydicom.datadict import dictionary_has_tag, dictionary_VR, private_dictionary_VR

from hozi.core.dicom import charset, values
from hozi.core.dicom.elements import (
    EXPLICIT,
    ITEM,
    ITEM_END,
    LONG_VRS,
    SEQUENCE_END,
    SWAP_BYTES,
    UNDEFINED,
    UNKNOWN,
    Encoding,
    Header,
    Source,
    header,
    swapped,
)
from hozi.core.dicom.encodings import VRS
from hozi.core.errors import Unreadable

SPECIFIC_CHARACTER_SET: Final = 0x00080005
_BITS_ALLOCATED: Final = 0x00280100
_PIXEL_REPRESENTATION: Final = 0x00280103
_PIXEL_DATA: Final = 0x7FE00010
#: How deep sequences may stand in one another; what the receive path lets in is no deeper.
_DEPTH: Final = 64
_DELIMITERS: Final = frozenset({ITEM, ITEM_END, SEQUENCE_END})
#: What stands in a sequence; in an item it shows that the item's delimiter is missing.
_OF_SEQUENCE: Final = frozenset({ITEM, SEQUENCE_END})


@dataclass
class _Scope:
    """What a dataset or an item says about the elements that follow in it. An item inherits it."""

    character_set: str
    signed: bool
    creators: dict[int, str] = field(default_factory=dict)
    bits_allocated: int = 0


class Recoding:
    """One dataset on its way from ``source``, which has ``encoding``, into ``target``.

    ``changes``: elements ready to be written in ``target``, or None to leave one out; top level only. ``utf8``: all
    texts are written in UTF-8; ``default_character_set`` is how they are read where the dataset names none.
    ``instead``: who writes an element of the top level; called with the header that has been read, it has to read the
    value from ``source`` and gives back the whole element. ``restructure``: nothing is copied as it stands even if the
    encoding stays the same, so that everything has been looked into.

    Memory holds one block, or one text. ``met_fragments`` tells afterwards whether encapsulated pixel data (that
    nobody wrote ``instead``) was passed on; it can stand in little endian explicit VR only.
    """

    def __init__(
        self,
        source: Source,
        encoding: Encoding,
        target: Encoding,
        changes: Mapping[int, bytes | None],
        *,
        utf8: bool = False,
        restructure: bool = False,
        default_character_set: str = "",
        instead: Mapping[int, Callable[[Header], Iterator[bytes]]] | None = None,
    ) -> None:
        self._source = source
        self._encoding = encoding
        self._target = target
        self._changes = changes
        self._changed_groups = {tag >> 16 for tag in changes}
        self._utf8 = utf8
        self._default = default_character_set
        self._instead = instead or {}
        self._same = encoding == target and not utf8 and not restructure
        self.met_fragments = False

    def dataset(self, character_set: str = "", *, signed: bool = False) -> Iterator[bytes]:
        """The whole dataset, in pieces. Raises `Unreadable` where it is none.

        ``character_set`` and ``signed`` (Pixel Representation) are what is known of it beforehand.
        """
        scope = _Scope(character_set, signed)
        pending = sorted(self._changes, reverse=True)
        while found := self._source.header(self._encoding):
            if found.tag in _DELIMITERS:  # one too many
                yield found.raw if self._same else b""
                continue
            while pending and pending[-1] <= found.tag:
                yield self._changes[pending.pop()] or b""
            if found.tag in self._changes or self._is_left_out(found.tag):
                for _ in self.copied(found, self._encoding):
                    pass
            elif found.tag in self._instead:
                yield from self._instead[found.tag](found)
            elif self._same:
                yield from self.copied(found, self._encoding)
            else:
                yield from self.recoded(found, scope)
        while pending:
            yield self._changes[pending.pop()] or b""
        if self._same:  # padding, as it came
            yield from self._source.rest()

    def _is_left_out(self, tag: int) -> bool:
        """Whether this has no place in what is written: a group length that would be wrong (PS3.5 §7.2, retired), and
        file meta information in the middle of a dataset.
        """
        if not tag & 0xFFFF:
            return not self._same or tag >> 16 in self._changed_groups
        return tag >> 16 == 0x0002 and not self._same

    def copied(self, found: Header, encoding: Encoding, depth: int = 0) -> Iterator[bytes]:
        """An element, whose header has been read, as it stands in the source."""
        yield found.raw
        if not found.undefined:
            yield from self._source.pieces(found.length)
            return
        inner = self._inside(found, encoding, depth)
        while (item := self._source.header(inner)) is not None:
            yield item.raw
            if item.tag == SEQUENCE_END:
                return
            if not item.undefined:
                yield from self._source.pieces(_item_length(item, self._source.position))
                continue
            content = self._of_item(inner)
            while (tag := self._source.next_tag(content)) is not None and tag not in _OF_SEQUENCE:
                element = self._next(content)
                if element.tag == ITEM_END:
                    yield element.raw
                    break
                yield from self.copied(element, content, depth + 1)

    def recoded(self, found: Header, scope: _Scope | None = None) -> Iterator[bytes]:
        """An element of the top level, whose header has been read, in the target's encoding."""
        yield from self._recoded(found, self._encoding, scope or _Scope("", False), 0, None)

    def _recoded(
        self, found: Header, encoding: Encoding, scope: _Scope, depth: int, end: int | None
    ) -> Iterator[bytes]:
        """The same at any depth. ``end`` is where what the element stands in ends, if that is known."""
        vr = found.vr or vr_of(found.tag, scope.signed, scope.creators)
        if vr == "UN" and not found.undefined and not self._target.little_endian and not found.tag >> 16 & 1:
            # Nobody who knows the element expects little endian there, though PS3.5 §6.2.2 says so.
            vr, encoding = vr_of(found.tag, scope.signed, scope.creators), UNKNOWN
        if found.undefined and vr in ("OB", "OW"):
            self.met_fragments = True
            yield from self.copied(found, encoding, depth)
        elif found.undefined or (vr == "SQ" and self._is_sequence(found, encoding)):
            yield header(found.tag, "SQ", UNDEFINED, self._target)
            yield from self._sequence(found, self._inside(found, encoding, depth), scope, depth, end)
            yield header(SEQUENCE_END, "", 0, self._target)
        else:
            length = found.length if end is None else min(found.length, max(end - self._source.position, 0))
            yield from self._value(found.tag, "UN" if vr == "SQ" else vr, length, encoding, scope)

    def _is_sequence(self, found: Header, encoding: Encoding) -> bool:
        """Whether the data dictionary is right that this implicit element is a sequence; explicit ones say so."""
        return found.vr == "SQ" or not found.length or self._source.next_tag(encoding) in _OF_SEQUENCE

    def _inside(self, found: Header, encoding: Encoding, depth: int) -> Encoding:
        """The encoding of the items of a sequence (PS3.5 §6.2.2 note 2, and what devices make of it)."""
        if depth >= _DEPTH:
            raise Unreadable(f"Sequences stand more than {_DEPTH} deep in one another.")
        if found.vr != "UN" or not encoding.explicit:
            return encoding  # also what is unknown already
        return encoding if not encoding.little_endian and self._source.peek(2) == b"\xff\xfe" else UNKNOWN

    def _of_item(self, encoding: Encoding) -> Encoding:
        """The encoding of the item that begins here."""
        return EXPLICIT if encoding.mixed and self._source.peek(6)[4:] in VRS else encoding

    def _next(self, encoding: Encoding) -> Header:
        found = self._source.header(encoding)
        if found is None:
            raise Unreadable(f"A sequence is broken off at byte {self._source.position}.")
        return found

    def _sequence(
        self, found: Header, encoding: Encoding, scope: _Scope, depth: int, outer: int | None
    ) -> Iterator[bytes]:
        """Items, each with an undefined length. The outer of two lengths that contradict each other is believed."""
        end = _end(found, self._source.position, outer)
        while not self._is_over(end) and self._source.next_tag(encoding) is not None:
            item = self._next(encoding)
            if item.tag == SEQUENCE_END:
                break
            if item.tag == ITEM_END:  # one too many
                continue
            _item_length(item, self._source.position)
            yield header(ITEM, "", UNDEFINED, self._target)
            inner = replace(scope, creators={})
            yield from self._item(item, self._of_item(encoding), inner, depth + 1, end)
            yield header(ITEM_END, "", 0, self._target)
        if not found.undefined:
            self._skip_to(end)

    def _item(self, item: Header, encoding: Encoding, scope: _Scope, depth: int, outer: int | None) -> Iterator[bytes]:
        end = _end(item, self._source.position, outer)
        while not self._is_over(end):
            tag = self._source.next_tag(encoding)
            if tag is None or (item.undefined and tag in _OF_SEQUENCE):
                break
            element = self._next(encoding)
            if element.tag == ITEM_END and item.undefined:
                return
            if element.tag in _DELIMITERS:
                continue
            if element.tag & 0xFFFF:
                yield from self._recoded(element, encoding, scope, depth, end)
            else:
                self._source.take(element.length)
        if not item.undefined:
            self._skip_to(end)

    def _is_over(self, end: int | None) -> bool:
        """Whether there is no room for another header."""
        return end is not None and end - self._source.position < 8

    def _skip_to(self, end: int | None) -> None:
        if end is not None:
            for _ in self._source.pieces(max(end - self._source.position, 0)):
                pass

    def _value(self, tag: int, vr: str, length: int, encoding: Encoding, scope: _Scope) -> Iterator[bytes]:
        if self._utf8 and (vr in charset.TEXT_VRS or tag == SPECIFIC_CHARACTER_SET):
            raw = self._source.take(length)
            if tag == SPECIFIC_CHARACTER_SET:
                scope.character_set = raw.decode("latin_1").strip(" \0")
                value = charset.UTF8.encode()
            else:
                value = charset.decode(raw, vr, scope.character_set, self._default).encode()
            value = values.padded(value, vr)
            yield header(tag, vr, len(value), self._target) + value
            return
        pad = 0 if self._same else length % 2
        if self._target.explicit and vr not in LONG_VRS and length + pad > 0xFFFF:
            vr = "UN"  # and little endian: PS3.5 §6.2.2
        yield header(tag, vr, length + pad, self._target)
        swap = vr != "UN" and encoding.little_endian != self._target.little_endian
        if swap and tag == _PIXEL_DATA and scope.bits_allocated > 16:
            # Some writers swap the bytes of a pixel, some those of each 16-bit word. A wrong guess is a wrong dose.
            raise Unreadable("Pixels of more than 16 bits cannot be converted between byte orders.")
        size = SWAP_BYTES.get(vr, 1) if swap else 1
        piece = b""
        for piece in self._source.pieces(length):
            yield swapped(piece, size) if size > 1 else piece
        if pad:
            yield values.padded(b"\0", vr)[1:]
        self._note(tag, piece, encoding, scope)

    def _note(self, tag: int, value: bytes, encoding: Encoding, scope: _Scope) -> None:
        """Keeps what following elements' VRs depend on. Matters only where the source does not write them."""
        if tag == _BITS_ALLOCATED:
            scope.bits_allocated = int.from_bytes(value, "little" if encoding.little_endian else "big")
        elif tag == _PIXEL_REPRESENTATION:
            scope.signed = any(value)
        elif tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
            scope.creators[(tag >> 16) << 8 | tag & 0xFF] = value.decode("latin_1").strip(" \0")


def _end(found: Header, position: int, outer: int | None) -> int | None:
    """Where the sequence or item ends that begins at ``position``; None where only a delimiter will tell."""
    if found.undefined:
        return outer
    return position + found.length if outer is None else min(position + found.length, outer)


def _item_length(item: Header, position: int) -> int:
    """The length of an item, or 0 of a delimiter that is one too many. Raises `Unreadable` for anything else."""
    if item.tag == ITEM:
        return item.length
    if item.tag == ITEM_END:
        return 0
    raise Unreadable(f"Something else than an item stands before byte {position}.")


def vr_of(tag: int, signed: bool, creators: Mapping[int, str]) -> str:
    """The VR of an element of an implicit VR dataset: by the data dictionary, UN where it does not know one.

    ``signed``: the pixels are; ``creators``: private creators by group and block (PS3.5 §7.8.1).
    """
    if tag >> 16 & 1:
        if 0x10 <= tag & 0xFFFF <= 0xFF:
            return "LO"
        creator = creators.get(tag >> 8)
        try:
            vr = private_dictionary_VR(tag, creator) if creator else "UN"
        except KeyError:
            vr = "UN"
    elif not tag & 0xFFFF:
        vr = "UL"
    else:
        vr = dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"
    if vr == "US or SS":
        return "SS" if signed else "US"
    return "OW" if vr.endswith("OW") else vr[:2]  # "OB or OW", "US or OW", "US or SS or OW": words in implicit VR
