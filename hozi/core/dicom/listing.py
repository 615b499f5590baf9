"""The elements of one dataset as people read them: tag, name, value in words, nested as they stand.

Values are shortened, bulk is stepped over and only counted, and nothing that stands in a dataset can do harm where it
is shown: characters that are not for reading become signs. Memory holds one window of lines, whatever the dataset is.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from pydicom.datadict import (
    dictionary_description,
    dictionary_has_tag,
    dictionary_keyword,
    private_dictionary_description,
)

from hozi.core.dicom import charset, sop_classes, syntaxes, values
from hozi.core.dicom.elements import (
    EXPLICIT,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    Encoding,
    FileSource,
    Header,
    Source,
    blocks,
    header,
    inflated,
)
from hozi.core.dicom.names import fold
from hozi.core.dicom.recode import SPECIFIC_CHARACTER_SET, Recoding
from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.errors import Unreadable

MOST_LINES: Final = 20_000
"""A dataset is read so far; what comes after so many lines is not shown."""
_VALUE_BYTES: Final = 2048
_SHOWN: Final = 300
_SHORT_BINARY: Final = 16
_INFLATED_BYTES: Final = 1 << 30

_PIXELS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_NUMBERS: Final = {
    "FD": "d",
    "FL": "f",
    "OD": "d",
    "OF": "f",
    "SL": "i",
    "SS": "h",
    "SV": "q",
    "UL": "I",
    "US": "H",
    "UV": "Q",
}
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_JOINERS: Final = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class Line:
    """One element, or the beginning of an item (``item``: its number, from 1).

    ``depth``: in how many sequences it stands; ``path``: which, with the items' numbers. ``length``: bytes of the
    value, None for sequences and items. ``cut``: ``value`` is only its beginning. ``creator``: who defined a private
    element. ``changed``: a correction says this, and not the stored bytes.
    """

    depth: int
    path: tuple[str, ...]
    tag: int
    vr: str
    length: int | None = None
    value: str = ""
    cut: bool = False
    creator: str = ""
    item: int = 0
    changed: bool = False

    @property
    def number(self) -> str:
        """The tag as people write it: (0010,0020)."""
        return f"({self.tag >> 16:04X},{self.tag & 0xFFFF:04X})"

    @property
    def private(self) -> bool:
        """Whether no standard knows the element."""
        return self.tag >> 16 & 1 == 1 and not self.item

    @property
    def keyword(self) -> str:
        """The element's keyword; empty for private and unknown ones."""
        return dictionary_keyword(self.tag) if not self.item and dictionary_has_tag(self.tag) else ""

    @property
    def name(self) -> str:
        """What the element is called."""
        if self.item:
            return f"Item {self.item}"
        if dictionary_has_tag(self.tag):
            return dictionary_description(self.tag)
        if self.private and 0x10 <= self.tag & 0xFFFF <= 0xFF:
            return "Private creator"
        if self.private and self.creator:
            try:
                return private_dictionary_description(self.tag, self.creator)
            except KeyError:
                pass
        return "Private element" if self.private else "Unknown element"


@dataclass
class Listing:
    """A window of a dataset's lines. ``total``: how many there are (that are searched for); ``complete``: the dataset
    was read to its end; if not, ``problem`` says why, where it is damage.
    """

    lines: list[Line] = field(default_factory=list)
    total: int = 0
    complete: bool = False
    problem: str = ""


def listing(
    file: BinaryIO,
    syntax: TransferSyntax,
    length: int,
    *,
    changes: Mapping[int, Sequence[Any] | None] | None = None,
    default_character_set: str = "",
    wanted: str = "",
    first: int = 0,
    most: int = 200,
) -> Listing:
    """The lines ``first`` to ``first + most`` of the dataset of ``length`` bytes at which ``file`` stands.

    ``changes``: corrections, as `rewrite.rewrite` takes them. ``wanted``: only lines in whose tag, name or value this
    is found, case and accents aside. A damaged dataset is listed as far as it can be read.
    """
    found = Listing()
    search = fold(wanted)
    try:
        reading = _Reading(file, syntax, length, changes or {}, default_character_set)
        for count, line in enumerate(reading.lines()):
            if count == MOST_LINES:
                return found
            if search and search not in _searched(line):
                continue
            if first <= found.total < first + most:
                found.lines.append(line)
            found.total += 1
        found.complete = True
    except Unreadable as error:
        found.problem = str(error)
    return found


def harmless(text: str) -> str:
    """The text with a sign in the place of every character that is not for reading (controls, writing directions)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_sign(character) for character in text)


def _sign(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character)[0] not in "CZ" or character == " ":
        return character
    if ord(character) < 0x20:
        return chr(0x2400 + ord(character))
    return " " if unicodedata.category(character) == "Zs" else "\N{REPLACEMENT CHARACTER}"


def _searched(line: Line) -> str:
    digits = f"{line.tag:08x}"
    return fold(f"{line.number} {digits} {line.keyword} {line.name} {line.creator} {line.value}")


@dataclass
class _Scope:
    """What a dataset or an item says about its elements."""

    character_set: str
    creators: dict[int, str] = field(default_factory=dict)


class _Reading:
    """One dataset on its way to lines: recoded to explicit VR, where every reader agrees what stands there."""

    def __init__(
        self,
        file: BinaryIO,
        syntax: TransferSyntax,
        length: int,
        changes: Mapping[int, Sequence[Any] | None],
        default_character_set: str,
    ) -> None:
        self._default = default_character_set
        self._changed = frozenset(changes)
        self._bulk: dict[int, tuple[int, int]] = {}
        self._source: Source = (
            Source(inflated(blocks(file, length), _INFLATED_BYTES)) if syntax.deflated else FileSource(file, length)
        )
        _, self._encoding = self._source.begin(Encoding.of(syntax))
        written = {
            tag: None if new is None else values.element(tag, values.vr_for(tag, new), new, EXPLICIT, charset.UTF8)
            for tag, new in changes.items()
        }
        recoding = Recoding(
            self._source,
            self._encoding,
            EXPLICIT,
            written,
            restructure=True,
            instead=dict.fromkeys(_PIXELS, self._step_over),
        )
        self._recoded = Source(piece for piece in recoding.dataset() if piece)

    def _step_over(self, head: Header) -> Iterator[bytes]:
        """Pixel data is not read at all: an empty element stands for it, and how much it was is noted."""
        length, fragments = head.length, 0
        if head.undefined:
            length = 0
            while (item := self._source.header(self._encoding)) is not None and item.tag == ITEM:
                self._source.skip(item.length)
                length += item.length
                fragments += 1
        else:
            self._source.skip(length)
        self._bulk[head.tag] = (length, fragments)
        yield header(head.tag, "OW", 0, EXPLICIT)

    def lines(self) -> Iterator[Line]:
        """All elements, in order."""
        yield from self._elements(_Scope(""), ())

    def _elements(self, scope: _Scope, path: tuple[str, ...]) -> Iterator[Line]:
        source = self._recoded
        while (head := source.header(EXPLICIT)) is not None and head.tag not in (ITEM_END, SEQUENCE_END):
            if head.vr == "SQ":
                yield self._line(head, scope, path)
                yield from self._items(head, scope, path)
            elif head.undefined:
                length, fragments = self._fragments()
                value = f"{_amount(length)} in {fragments} fragments"
                yield self._line(head, scope, path, length=length, value=value, cut=True)
            else:
                yield self._element(head, scope, path)

    def _items(self, head: Header, scope: _Scope, path: tuple[str, ...]) -> Iterator[Line]:
        number = 0
        name = dictionary_keyword(head.tag) if dictionary_has_tag(head.tag) else f"{head.tag:08X}"
        while (item := self._recoded.header(EXPLICIT)) is not None and item.tag == ITEM:
            number += 1
            inside = (*path, f"{name}[{number}]")
            yield Line(len(inside), inside, ITEM, "", item=number)
            yield from self._elements(_Scope(scope.character_set), inside)

    def _fragments(self) -> tuple[int, int]:
        length = count = 0
        while (item := self._recoded.header(EXPLICIT)) is not None and item.tag == ITEM:
            self._recoded.skip(item.length)
            length += item.length
            count += 1
        return length, count

    def _element(self, head: Header, scope: _Scope, path: tuple[str, ...]) -> Line:
        raw = self._recoded.take(min(head.length, _VALUE_BYTES))
        self._recoded.skip(head.length - len(raw))
        if not path and head.tag in self._bulk:
            length, fragments = self._bulk[head.tag]
            value = _amount(length) + (f" in {fragments} fragments" if fragments else "")
            return self._line(head, scope, path, length=length, value=value, cut=True)
        if head.tag == SPECIFIC_CHARACTER_SET:
            scope.character_set = raw.decode("latin_1").strip(" \0")
        changed = not path and head.tag in self._changed
        text = self._text(head, raw, charset.UTF8 if changed else scope.character_set)
        if head.tag >> 16 & 1 and 0x10 <= head.tag & 0xFFFF <= 0xFF:
            scope.creators[(head.tag >> 16) << 8 | head.tag & 0xFF] = text
        cut = head.length > len(raw) or len(text) > _SHOWN
        return self._line(head, scope, path, length=head.length, value=harmless(text[:_SHOWN]), cut=cut)

    def _line(
        self,
        head: Header,
        scope: _Scope,
        path: tuple[str, ...],
        length: int | None = None,
        value: str = "",
        *,
        cut: bool = False,
    ) -> Line:
        creator = scope.creators.get(head.tag >> 8, "") if head.tag >> 16 & 1 else ""
        changed = not path and head.tag in self._changed
        return Line(len(path), path, head.tag, head.vr, length, value, cut, harmless(creator)[:64], changed=changed)

    def _text(self, head: Header, raw: bytes, character_set: str) -> str:
        """The value in words, its beginning at least."""
        vr = head.vr
        if vr in _BINARY and head.length > _SHORT_BINARY:
            return _amount(head.length)
        if vr == "AT":
            pairs = struct.iter_unpack("<HH", raw[: len(raw) // 4 * 4])
            return "\\".join(f"({group:04X},{element:04X})" for group, element in pairs)
        if vr in _NUMBERS:
            form = f"<{_NUMBERS[vr]}"
            whole = len(raw) // struct.calcsize(form) * struct.calcsize(form)
            return "\\".join(_plain(number) for (number,) in struct.iter_unpack(form, raw[:whole]))
        if vr in _BINARY:
            return raw.hex(" ")
        text = charset.decode(raw, vr, character_set, self._default)
        named = _named(text) if vr == "UI" else ""
        return f"{text} ({named})" if named else text


def _plain(number: float) -> str:
    return f"{number:.9g}" if isinstance(number, float) else str(number)


def _named(uid: str) -> str:
    """What a UID of the standard is called."""
    syntax = syntaxes.get(uid)
    name = syntax.name if syntax is not None else sop_classes.name(uid)
    return "" if name == uid else name


def _amount(length: int) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if length >= size:
            return f"{length / size:.1f} {unit} of binary data"
    return f"{length} bytes of binary data"
