"""A whole dataset in the DICOM JSON model, from its stored bytes (PS3.18 Annex F).

Nothing is made of the elements but their JSON, and what the objects of a series say alike is worked out once: that is
what makes it some ten times as fast as a parser and a serialiser. A dataset whose structure is not as it should be goes
through `recode.Recoding` first, which reads all that `scan` lets in, and is read from what that writes.

Pixel data, and binary values that are long, are told by where they are to be had (BulkDataURI). The path of one in a
sequence has the tag of the sequence and the number of the item before its own: `00880200/1/7FE00010`.
"""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from math import isfinite
from typing import Any, Final, NamedTuple

from hozi.core.dicom import charset, encodings, values
from hozi.core.dicom.elements import BLOCK_BYTES, EXPLICIT, UNDEFINED, Encoding, Header, Source, header, inflated
from hozi.core.dicom.json_model import SINGLE_VALUED, name, number
from hozi.core.dicom.recode import SPECIFIC_CHARACTER_SET, Recoding, vr_of
from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.errors import Unreadable

Read = Callable[[int, int], bytes]
"""Gives so many bytes of a dataset from a position on; fewer where it ends."""

INLINE_BYTES: Final = 1024
"""Binary values up to this length stand in the JSON themselves."""
_LONGEST_VALUE: Final = 1 << 20
"""Texts and numbers up to this length do so too."""

_FIRST_BYTES: Final = 16 << 10
_MOST_BYTES: Final = 32 << 20
"""What is read of a dataset at a time: one that has more in one sequence is refused."""
_DEPTH: Final = 64
#: What is remembered of the objects of a series: so many values, none longer than that, for so many character sets.
_MOST_REMEMBERED: Final = 8_000
_LONGEST_REMEMBERED: Final = 2048
_MOST_MEMOS: Final = 16

_PIXEL_DATA: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_NOT_RECODED: Final = (*_PIXEL_DATA, 0x00420011)
"""Values that may be of any length, and that are never needed: pixel data, an encapsulated document."""
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_CODES: Final = {"FD": "<d", "FL": "<f", "SL": "<l", "SS": "<h", "SV": "<q", "UL": "<L", "US": "<H", "UV": "<Q"}
_NUMBERS: Final = {vr: struct.Struct(code) for vr, code in _CODES.items()}
_WHOLE_NUMBER: Final = r"-?(?:0|[1-9][0-9]{0,14})"
_DECIMAL_NUMBER: Final = rf"{_WHOLE_NUMBER}(?:\.[0-9]+)?(?:[eE][+-]?[0-9][0-9]?)?"
#: Texts that are JSON's numbers already, but for what stands between them.
_JSON_NUMBERS: Final = {
    vr: re.compile(rf"{one}(?:\\{one})*") for vr, one in (("DS", _DECIMAL_NUMBER), ("IS", _WHOLE_NUMBER))
}
#: What may be elsewhere (PS3.18 §F.2.2).
_MAY_BE_BULK: Final = _BINARY | _NUMBERS.keys() | {"DS", "IS", "LT", "ST", "UC", "UT"}
_EXACT: Final = 1 << 53
_UTF8_SAID: Final = f'"00080005":{{"vr":"CS","Value":["{charset.UTF8}"]}}'
_PIXEL_REPRESENTATION: Final = 0x00280103
_ITEM: Final = encodings.ITEM_TAGS[0]
_SEQUENCE_END: Final = encodings.SEQUENCE_END_TAGS[0]
_long: Final = struct.Struct("<L").unpack_from

_PLAIN, _SEQUENCE, _CHARACTER_SET, _SIGN, _CREATOR, _LEFT_OUT, _END, _UNKNOWN, _PIXELS = range(9)


class _Odd(Exception):
    """The dataset's structure is not as it should be."""


class _Short(Exception):
    """The bytes at hand end in an element."""


class _Kind(NamedTuple):
    """What an element's tag and VR mean."""

    tag: int
    kind: int
    vr: str
    prefix: str
    long: bool


@dataclass(slots=True)
class _Scope:
    """What a dataset or an item says about the elements in it. An item inherits it, but for private creators."""

    explicit: bool
    character_set: str
    signed: bool
    path: str
    depth: int
    memo: dict[bytes, str]
    creators: dict[int, str] = field(default_factory=dict)
    reached: int = 0


class Writer:
    """Writes datasets as JSON objects: one writer for the objects of a series, in one thread."""

    def __init__(self, default_character_set: str = "") -> None:
        """``default_character_set`` is how texts of a dataset are read that names none."""
        self._default = default_character_set
        self._memos: dict[tuple[bool, str, bool], dict[bytes, str]] = {}
        self._bulks = 0

    def dataset(
        self,
        read: Read,
        length: int,
        syntax: TransferSyntax,
        uri: str,
        changes: Mapping[int, Sequence[Any] | None] | None = None,
        added: Mapping[int, tuple[str, str]] | None = None,
    ) -> str:
        """The dataset of ``length`` bytes in ``syntax`` that ``read`` gives.

        ``uri``: where its bulk data is, without the path of the element. ``changes``: what reads otherwise than it
        stands there, as for `rewrite`. ``added``: elements with VR and text that are told though they do not stand
        there. Raises `Unreadable`.
        """
        try:
            if syntax.deflated or not syntax.little_endian:
                raise _Odd
            found = self._found(read, length, uri, self._scope(syntax.explicit, ""))
        except (_Odd, _Short, IndexError, struct.error):
            found = self._mended(read, length, syntax, uri)
        for tag, (vr, text) in (added or {}).items():
            raw = text.encode()
            found.setdefault(tag, _prefix(tag, vr) + self._tail(vr, raw, charset.UTF8))
        for tag, new in (changes or {}).items():
            if new is None:
                found.pop(tag, None)
            else:
                element = values.element(tag, values.vr_for(tag, new), new, EXPLICIT, charset.UTF8)
                found |= self._found(_reader(element), len(element), uri, self._scope(True, charset.UTF8))
        return self._joined(found)

    def _joined(self, found: dict[int, str]) -> str:
        text = ",".join([found[tag] for tag in sorted(found)])
        if not text.isascii() and found.get(SPECIFIC_CHARACTER_SET) != _UTF8_SAID:
            found[SPECIFIC_CHARACTER_SET] = _UTF8_SAID
            text = ",".join([found[tag] for tag in sorted(found)])
        return f"{{{text}}}"

    def _scope(
        self, explicit: bool, character_set: str, signed: bool = False, path: str = "", depth: int = 0
    ) -> _Scope:
        memo = self._memos.setdefault((explicit, character_set, signed), {})
        return _Scope(explicit, character_set, signed, path, depth, memo)

    # The dataset

    def _found(self, read: Read, length: int, uri: str, scope: _Scope) -> dict[int, str]:
        """The JSON of the elements of the top level, by tag. Raises `_Odd`, or what the lack of bytes raises."""
        found: dict[int, str] = {}
        scope.path = f"{uri}/"
        if len(self._memos) > _MOST_MEMOS:
            self._memos.clear()
        if len(scope.memo) >= _MOST_REMEMBERED:
            scope.memo.clear()
        base, size = 0, _FIRST_BYTES
        while base < length:
            data = read(base, min(size, length - base))
            if not scope.explicit and not base and data[4:6] in encodings.VRS:
                raise _Odd  # explicit, whatever the transfer syntax says
            scope.reached = 0
            try:
                reached = self._elements(data, 0, len(data), scope, found, length - base)
            except (_Short, IndexError, struct.error):
                reached = scope.reached
            if reached < 0:
                base = _behind_fragments(read, base - reached, length)
                continue
            base += reached
            if not reached and (base + len(data) >= length or size >= _MOST_BYTES):
                raise _Odd
            size = _FIRST_BYTES if reached else min(size * 4, _MOST_BYTES)
        return found

    def _mended(self, read: Read, length: int, syntax: TransferSyntax, uri: str) -> dict[int, str]:
        """The same of a dataset that is not as it should be, or in another encoding."""
        blocks = _blocks(read, length)
        source = Source(inflated(blocks, 1 << 30) if syntax.deflated else blocks)
        _, encoding = source.begin(Encoding.of(syntax))
        recoding: Recoding

        def nothing_of(found: Header) -> Iterator[bytes]:
            for _ in recoding.copied(found, encoding):
                pass
            vr = "OB" if found.undefined or found.vr == "OB" else "OW"
            size = INLINE_BYTES + 2 if found.length else 0  # so long that it is told where it is
            yield header(found.tag, vr, size, EXPLICIT) + bytes(size)

        recoding = Recoding(
            source,
            encoding,
            EXPLICIT,
            {},
            utf8=True,
            restructure=True,
            default_character_set=self._default,
            instead=dict.fromkeys(_NOT_RECODED, nothing_of),
        )
        pieces: list[bytes] = []
        total = 0
        for piece in recoding.dataset():
            total += len(piece)
            if total > _MOST_BYTES:
                raise Unreadable(f"The dataset has more than {_MOST_BYTES} bytes beside its pixel data.")
            pieces.append(piece)
        mended = b"".join(pieces)
        try:
            return self._found(_reader(mended), len(mended), uri, self._scope(True, charset.UTF8))
        except (_Odd, _Short, IndexError, struct.error):
            raise Unreadable("The dataset is damaged.") from None

    # Elements

    def _elements(
        self, data: bytes, position: int, end: int, scope: _Scope, found: dict[int, str], total: int = 0
    ) -> int:
        """Reads elements up to ``end`` (a delimiter may come before); returns where they end.

        ``total``, of the top level: how many bytes there are, of which ``data`` may be the first. Negative is where
        the fragments of encapsulated pixel data begin.
        """
        memo, explicit = scope.memo, scope.explicit
        known = _EXPLICIT if explicit else _IMPLICIT
        size = 6 if explicit else 4
        while position < end:
            if total:
                scope.reached = position
            head = data[position : position + size]
            kind = known.get(head) or _learnt(head, scope.explicit)
            if kind.kind == _UNKNOWN:
                kind = kind._replace(vr=vr_of(kind.tag, scope.signed, scope.creators))
            if not explicit:
                start = position + 8
                (length,) = _long(data, position + 4)
            elif kind.long:
                start = position + 12
                (length,) = _long(data, position + 8)
            else:
                start = position + 8
                length = data[position + 6] | data[position + 7] << 8
            stop = start + length
            if kind.kind == _PLAIN and stop <= end and length <= INLINE_BYTES:
                raw = data[position:stop]
                text = memo.get(raw)
                if text is None:
                    text = kind.prefix + self._tail(kind.vr, data[start:stop], scope.character_set)
                    if len(memo) < _MOST_REMEMBERED:
                        memo[raw] = text
                found[kind.tag] = text
                position = stop
                continue
            if kind.kind == _END:
                if total or length:
                    raise _Odd
                return start
            if length == UNDEFINED and explicit and kind.vr in ("OB", "OW"):
                found[kind.tag] = self._elsewhere(kind.tag, kind.vr, scope)
                if total:
                    return -start
                stop = _behind_fragments(_reader(data), start, end)
            elif length == UNDEFINED:
                stop = self._open_sequence(data, start, kind, scope, found)
            elif stop <= (total or end) and _is_elsewhere(kind, length, total > 0):
                found[kind.tag] = self._elsewhere(kind.tag, kind.vr, scope)
            elif stop > end:
                raise _Short if stop <= total or not total else _Odd
            else:
                self._special(data, position, start, stop, kind, scope, found)
                memo = scope.memo
            position = stop
        return position

    def _special(
        self, data: bytes, position: int, start: int, stop: int, kind: _Kind, scope: _Scope, found: dict[int, str]
    ) -> None:
        """An element that is more than a value, or too long to be remembered."""
        tag, vr = kind.tag, kind.vr
        if kind.kind == _LEFT_OUT:
            return
        if kind.kind == _SEQUENCE:
            found[tag] = self._sequence(data, position, start, stop, kind, scope)
            return
        raw = data[start:stop]
        if kind.kind == _CHARACTER_SET:
            told = charset.decode(raw, "CS", "")
            if scope.character_set != charset.UTF8 or told:
                scope.character_set = told
                scope.memo = self._scope(scope.explicit, told, scope.signed).memo
            found[tag] = _UTF8_SAID if told else f"{kind.prefix}}}"
            return
        if kind.kind == _SIGN:
            scope.signed = any(raw)
            scope.memo = self._scope(scope.explicit, scope.character_set, scope.signed).memo
        elif kind.kind == _CREATOR:
            scope.creators[tag >> 16 << 8 | tag & 0xFF] = raw.decode("latin_1").strip(" \0")
            vr = "LO" if vr == "UN" else vr
        elif vr == "SQ":
            found[tag] = self._perhaps_sequence(data, start, stop, tag, scope)
            return
        found[tag] = _prefix(tag, vr) + self._tail(vr, raw, scope.character_set)

    def _elsewhere(self, tag: int, vr: str, scope: _Scope) -> str:
        self._bulks += 1
        return f'{_prefix(tag, vr)},"BulkDataURI":{encode_basestring(f"{scope.path}{tag:08X}")}}}'

    # Sequences

    def _sequence(self, data: bytes, position: int, start: int, stop: int, kind: _Kind, scope: _Scope) -> str:
        """A sequence of defined length."""
        raw = data[position:stop] if stop - position <= _LONGEST_REMEMBERED else b""
        text = scope.memo.get(raw)
        if text is None:
            bulks = self._bulks
            if not scope.explicit and stop > start and data[start : start + 4] != _ITEM:
                text = _prefix(kind.tag, "UN") + self._tail("UN", data[start:stop], "")
            else:
                text = self._items(data, start, stop, kind.tag, scope)[0]
            if raw and bulks == self._bulks and len(scope.memo) < _MOST_REMEMBERED:
                scope.memo[raw] = text
        return text

    def _open_sequence(self, data: bytes, start: int, kind: _Kind, scope: _Scope, found: dict[int, str]) -> int:
        """A sequence of undefined length; returns where it ends. A value of VR UN has items of its own kind."""
        if (scope.explicit and kind.kind != _SEQUENCE) or (kind.vr in _BINARY and kind.vr != "UN"):
            raise _Odd
        found[kind.tag], stop = self._items(data, start, None, kind.tag, scope)
        return stop

    def _perhaps_sequence(self, data: bytes, start: int, stop: int, tag: int, scope: _Scope) -> str:
        """A value of VR UN that the data dictionary calls a sequence: in implicit VR (PS3.5 §6.2.2), if it is one."""
        inner = self._scope(False, scope.character_set, scope.signed, scope.path, scope.depth)
        try:
            return self._items(data, start, stop, tag, inner)[0]
        except (_Odd, _Short, IndexError, struct.error):
            return _prefix(tag, "UN") + self._tail("UN", data[start:stop], "")

    def _items(self, data: bytes, position: int, stop: int | None, tag: int, scope: _Scope) -> tuple[str, int]:
        """The items of a sequence, up to ``stop`` or to its delimiter, as JSON, and where it ends."""
        if scope.depth >= _DEPTH:
            raise Unreadable(f"Sequences are nested deeper than {_DEPTH} levels.")
        items: list[str] = []
        while stop is None or position < stop:
            head = data[position : position + 4]
            (length,) = _long(data, position + 4)
            position += 8
            if head == _SEQUENCE_END and stop is None and not length:
                break
            if head != _ITEM:
                raise _Odd if len(head) == 4 else _Short
            inner = self._scope(
                scope.explicit,
                scope.character_set,
                scope.signed,
                f"{scope.path}{tag:08X}/{len(items) + 1}/",
                scope.depth + 1,
            )
            found: dict[int, str] = {}
            position = self._item(data, position, length, stop, inner, found)
            items.append("{" + ",".join([found[one] for one in sorted(found)]) + "}")
        if stop is not None and position != stop:
            raise _Odd
        prefix = _prefix(tag, "SQ")
        return (f'{prefix},"Value":[{",".join(items)}]}}' if items else f"{prefix}}}"), position

    def _item(
        self, data: bytes, position: int, length: int, stop: int | None, scope: _Scope, found: dict[int, str]
    ) -> int:
        """The elements of an item; returns where it ends."""
        if length == UNDEFINED:
            end = len(data) if stop is None else stop
            reached = self._elements(data, position, end, scope, found)
            if data[reached - 8 : reached] != _ITEM_END:
                raise _Short if stop is None else _Odd
            return reached
        end = position + length
        if stop is not None and end > stop:
            raise _Odd
        if end > len(data):
            raise _Short
        if self._elements(data, position, end, scope, found) != end:
            raise _Odd
        return end

    # Values

    def _tail(self, vr: str, raw: bytes, character_set: str) -> str:
        """What follows an element's VR: its values."""
        if not raw:
            return "}"
        if vr in _BINARY:
            return f',"InlineBinary":"{b64encode(raw).decode("ascii")}"}}'
        if vr in _NUMBERS:
            told = _numbers(vr, raw)
        elif vr == "AT":
            halves = struct.unpack(f"<{len(raw) // 4 * 2}H", raw[: len(raw) // 4 * 4])
            told = ",".join([f'"{g:04X}{e:04X}"' for g, e in zip(halves[::2], halves[1::2], strict=True)])
        else:
            text = charset.decode(raw, vr, character_set, self._default)
            texts = [text] if vr in SINGLE_VALUED or "\\" not in text else text.split("\\")
            if not text:
                told = ""
            elif vr == "PN":
                told = ",".join(map(_name, texts))
            elif vr in _JSON_NUMBERS:
                same = _JSON_NUMBERS[vr].fullmatch(text)
                told = text.replace("\\", ",") if same else ",".join([_number(vr, one) for one in texts])
            else:
                told = ",".join([encode_basestring(one) if one else "null" for one in texts])
        return f',"Value":[{told}]}}' if told else "}"


def _name(text: str) -> str:
    groups = name(text)
    if groups is None:
        return "null"
    return "{" + ",".join(f'"{key}":{encode_basestring(group)}' for key, group in groups.items()) + "}"


def _number(vr: str, text: str) -> str:
    if not text:
        return "null"
    told = number(vr, text)
    return encode_basestring(told) if isinstance(told, str) else repr(told)


def _numbers(vr: str, raw: bytes) -> str:
    form = _NUMBERS[vr]
    whole = [one for (one,) in form.iter_unpack(raw[: len(raw) // form.size * form.size])]
    if vr in ("FD", "FL"):
        return ",".join([repr(one) if isfinite(one) else _NOT_FINITE[repr(one)] for one in whole])
    if vr in ("SV", "UV"):
        return ",".join([str(one) if -_EXACT <= one <= _EXACT else f'"{one}"' for one in whole])
    return ",".join(map(str, whole))


_NOT_FINITE: Final = {"inf": '"Infinity"', "-inf": '"-Infinity"', "nan": '"NaN"'}


def _prefix(tag: int, vr: str) -> str:
    return f'"{tag:08X}":{{"vr":"{vr}"'


# What tags and VRs mean -----------------------------------------------------------------------------------

_ITEM_END: Final = b"\xfe\xff\x0d\xe0\0\0\0\0"
_ENDS: Final = _Kind(0xFFFEE00D, _END, "", "", False)
_MOST_KINDS: Final = 20_000
_EXPLICIT: Final[dict[bytes, _Kind]] = {_ITEM_END[:6]: _ENDS}
_IMPLICIT: Final[dict[bytes, _Kind]] = {_ITEM_END[:4]: _ENDS}
"""By the first bytes of a header: tag and VR, or the tag."""


def _learnt(head: bytes, explicit: bool) -> _Kind:
    """What an element with such a header is. Raises `_Odd` for what is none."""
    if len(head) < (6 if explicit else 4):
        raise _Short
    group, element = struct.unpack_from("<HH", head)
    tag = group << 16 | element
    if not tag or group in (0x0002, encodings.DELIMITERS) or (explicit and head[4:] not in encodings.VRS):
        raise _Odd
    vr = head[4:].decode("ascii") if explicit else vr_of(tag, False, {})
    # What a private element is depends on its creator, and some others on the sign of the pixels.
    unsure = vr == "UN" if explicit else group & 1 == 1 or vr != vr_of(tag, True, {})
    made = _Kind(tag, _kind(tag, vr, unsure), vr, _prefix(tag, vr), head[4:] in encodings.LONG_VRS)
    table = _EXPLICIT if explicit else _IMPLICIT
    if len(table) < _MOST_KINDS:
        table[head] = made
    return made


def _kind(tag: int, vr: str, unsure: bool) -> int:
    if not tag & 0xFFFF:
        return _LEFT_OUT  # a group length says nothing where there are no bytes
    if tag in _PIXEL_DATA:
        return _PIXELS
    if tag == SPECIFIC_CHARACTER_SET:
        return _CHARACTER_SET
    if tag == _PIXEL_REPRESENTATION:
        return _SIGN
    if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
        return _CREATOR
    if unsure:
        return _UNKNOWN
    return _SEQUENCE if vr == "SQ" else _PLAIN


def _is_elsewhere(kind: _Kind, length: int, top: bool) -> bool:
    """Whether a value of this length is told by where it is to be had."""
    if length <= INLINE_BYTES:
        return kind.kind == _PIXELS and top and length > 0
    return kind.vr in _BINARY or (length > _LONGEST_VALUE and kind.vr in _MAY_BE_BULK)


# Bytes ----------------------------------------------------------------------------------------------------


def _reader(data: bytes) -> Read:
    return lambda position, size: data[position : position + size]


def _blocks(read: Read, length: int) -> Iterator[bytes]:
    position = 0
    while position < length:
        block = read(position, min(BLOCK_BYTES, length - position))
        if not block:
            raise Unreadable("The file is shorter than its dataset.")
        position += len(block)
        yield block


def _behind_fragments(read: Read, position: int, length: int) -> int:
    """Where the fragments that begin here end (PS3.5 §A.4)."""
    while position + 8 <= length:
        head = read(position, 8)
        (size,) = _long(head, 4)
        position += 8
        if head[:4] == _SEQUENCE_END:
            return position
        if head[:4] != _ITEM or size == UNDEFINED:
            raise _Odd
        position += size
    raise _Short
