"""Lets a dataset flow from one encoding into another, or the same, with some elements replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pydicom.datadict import dictionary_has_tag, dictionary_VR, private_dictionary_VR

from hozi.core.dicom import charset, values
from hozi.core.dicom.elements import (
    IMPLICIT,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    SWAP_BYTES,
    UNDEFINED,
    Encoding,
    Header,
    Source,
    header,
    swapped,
)
from hozi.core.errors import Unreadable

SPECIFIC_CHARACTER_SET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = 0x00280103
#: How deep sequences may stand in one another; what the receive path lets in is no deeper.
_DEPTH: Final = 64


@dataclass
class _Scope:
    """What a dataset or an item says about the elements that follow in it. An item inherits it."""

    character_set: str
    signed: bool
    creators: dict[int, str] = field(default_factory=dict)


class Recoding:
    """One dataset on its way from ``source``, which has ``encoding``, into ``target``.

    ``changes``: elements ready to be written in ``target``, or None to leave one out; top level only. ``utf8``: all
    texts are written in UTF-8; ``default_character_set`` is how they are read where the dataset names none.
    ``instead``: who writes an element of the top level; called with the header that has been read, it has to read the
    value from ``source`` and gives back the whole element.

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
        self._same = encoding == target and not utf8
        self.met_fragments = False

    def dataset(self, character_set: str = "", *, signed: bool = False) -> Iterator[bytes]:
        """The whole dataset, in pieces. Raises `Unreadable` where it is none.

        ``character_set`` and ``signed`` (Pixel Representation) are what is known of it beforehand.
        """
        scope = _Scope(character_set, signed)
        pending = sorted(self._changes, reverse=True)
        while found := self._source.header(self._encoding):
            while pending and pending[-1] <= found.tag:
                yield self._changes[pending.pop()] or b""
            if found.tag in self._changes or self._is_wrong_length(found.tag):
                for _ in self.copied(found, self._encoding):
                    pass
            elif found.tag in self._instead:
                yield from self._instead[found.tag](found)
            elif self._same:
                yield from self.copied(found, self._encoding)
            else:
                yield from self._recoded(found, self._encoding, scope, 0)
        while pending:
            yield self._changes[pending.pop()] or b""
        if self._same:  # padding, as it came
            yield from self._source.rest()

    def _is_wrong_length(self, tag: int) -> bool:
        """Whether this is a group length (PS3.5 §7.2, retired) that what is written will make wrong."""
        return not tag & 0xFFFF and (not self._same or tag >> 16 in self._changed_groups)

    def copied(self, found: Header, encoding: Encoding, depth: int = 0) -> Iterator[bytes]:
        """An element, whose header has been read, as it stands in the source."""
        yield found.raw
        if not found.undefined:
            yield from self._source.pieces(found.length)
            return
        inner = IMPLICIT if found.vr == "UN" else encoding  # PS3.5 §6.2.2, note 2
        while item := self._inside(inner, depth):
            yield item.raw
            if item.tag == SEQUENCE_END:
                return
            if item.tag != ITEM:
                raise Unreadable(f"Something else than an item stands before byte {self._source.position}.")
            if not item.undefined:
                yield from self._source.pieces(item.length)
                continue
            while element := self._inside(inner, depth):
                if element.tag == ITEM_END:
                    yield element.raw
                    break
                yield from self.copied(element, inner, depth + 1)

    def _inside(self, encoding: Encoding, depth: int) -> Header | None:
        """The next header inside a sequence of undefined length; None where the dataset ends without closing it."""
        if depth > _DEPTH:
            raise Unreadable(f"Sequences stand more than {_DEPTH} deep in one another.")
        found = self._source.header(encoding)
        if found is None and self._source.peek(1):
            raise Unreadable(f"A sequence is broken off at byte {self._source.position}.")
        return found

    def _recoded(self, found: Header, encoding: Encoding, scope: _Scope, depth: int) -> Iterator[bytes]:
        """An element in the target's encoding."""
        vr = found.vr or vr_of(found.tag, scope.signed, scope.creators)
        if found.undefined and vr in ("OB", "OW"):
            self.met_fragments = True
            yield from self.copied(found, encoding, depth)
        elif vr == "SQ" or found.undefined:
            if found.vr == "UN":  # a sequence that is implicit little endian wherever it stands
                encoding = IMPLICIT
            yield header(found.tag, "SQ", UNDEFINED, self._target)
            yield from self._sequence(found.length, encoding, scope, depth)
            yield header(SEQUENCE_END, "", 0, self._target)
        else:
            yield from self._value(found, vr, encoding, scope)

    def _sequence(self, length: int, encoding: Encoding, scope: _Scope, depth: int) -> Iterator[bytes]:
        """Items, each with an undefined length. ``length`` is the sequence's."""
        end = None if length == UNDEFINED else self._source.position + length
        while end is None or self._source.position < end:
            item = self._inside(encoding, depth)
            if item is None or item.tag == SEQUENCE_END:
                return
            if item.tag != ITEM:
                raise Unreadable(f"Something else than an item stands before byte {self._source.position}.")
            yield header(ITEM, "", UNDEFINED, self._target)
            yield from self._item(item.length, encoding, replace(scope, creators={}), depth + 1)
            yield header(ITEM_END, "", 0, self._target)

    def _item(self, length: int, encoding: Encoding, scope: _Scope, depth: int) -> Iterator[bytes]:
        end = None if length == UNDEFINED else self._source.position + length
        while end is None or self._source.position < end:
            element = self._inside(encoding, depth)
            if element is None or element.tag == ITEM_END:
                return
            if element.tag & 0xFFFF:
                yield from self._recoded(element, encoding, scope, depth)
            else:
                self._source.take(element.length)

    def _value(self, found: Header, vr: str, encoding: Encoding, scope: _Scope) -> Iterator[bytes]:
        tag, length = found.tag, found.length
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
        pad = length % 2 if self._encoding != self._target else 0
        yield header(tag, vr, length + pad, self._target)
        size = SWAP_BYTES.get(vr, 1) if encoding.little_endian != self._target.little_endian else 1
        piece = b""
        for piece in self._source.pieces(length):
            yield swapped(piece, size) if size > 1 else piece
        if pad:
            yield values.padded(b"\0", vr)[1:]
        self._note(tag, piece, encoding, scope)

    def _note(self, tag: int, value: bytes, encoding: Encoding, scope: _Scope) -> None:
        """Keeps what following elements' VRs depend on. Matters only where the source does not write them."""
        if tag == _PIXEL_REPRESENTATION:
            scope.signed = any(value)
        elif tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
            scope.creators[(tag >> 16) << 8 | tag & 0xFF] = value.decode("latin_1").strip(" \0")


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
