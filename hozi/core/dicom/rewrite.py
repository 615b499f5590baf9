"""Changes elements of a dataset on its way out, and nothing else.

The dataset flows through: no more than a block and one text of it are in memory, pixel data never is. What is not
changed goes out byte for byte as it came in, with one exception: where a new text does not fit into the dataset's
character set, all its texts are written in UTF-8 (ISO_IR 192), and sequences with undefined lengths, since the texts
in them change theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final

from hozi.core.dicom import charset, values
from hozi.core.dicom.elements import BLOCK_BYTES, Encoding, Source, blocks, deflated, inflated
from hozi.core.dicom.recode import SPECIFIC_CHARACTER_SET, Recoding
from hozi.core.dicom.syntaxes import TransferSyntax
from hozi.core.errors import Refused, Unreadable

#: Groups that nobody changes here: command, file meta information, pixel data, delimiters.
_CLOSED_GROUPS: Final = frozenset({0x0000, 0x0002, 0x7FE0, 0xFFFE})


def rewrite(
    source: BinaryIO,
    syntax: TransferSyntax,
    length: int,
    changes: Mapping[int, Sequence[Any] | None],
    *,
    default_character_set: str = "",
    inflated_bytes: int = 1 << 30,
) -> Iterator[bytes]:
    """The dataset in ``source`` with ``changes`` made to its top level, in pieces, in the same transfer syntax.

    ``source`` stands at the dataset's first byte; ``length`` bytes belong to it. ``changes`` are by tag: a list of
    values as in the DICOM JSON model (PS3.18 §F.2; `[]` empties the element) or None to leave the element out.
    Elements that are not there are added at their place. Group lengths of changed groups are left out (PS3.5 §7.2).
    ``default_character_set`` is how texts are read, if need be, of a dataset that names no character set.

    Raises `Refused` at once for elements that cannot be changed so: pixel data, the character set, file meta
    information, private ones; and for values that they cannot hold. While reading: `Unreadable` for a damaged dataset,
    and for a deflated one that inflates to more than ``inflated_bytes``.
    """
    for tag, new in changes.items():
        if tag == SPECIFIC_CHARACTER_SET or tag >> 16 in _CLOSED_GROUPS or not tag & 0xFFFF:
            raise Refused(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) cannot be changed.")
        values.element(tag, values.vr_for(tag, new or ()), new or (), Encoding.of(syntax), charset.UTF8)
    dataset = blocks(source, length)
    if syntax.deflated:
        dataset = inflated(dataset, inflated_bytes)
    rewritten = _changed(Source(dataset), Encoding.of(syntax), changes, default_character_set)
    return deflated(rewritten) if syntax.deflated else rewritten


def _changed(
    source: Source, encoding: Encoding, changes: Mapping[int, Sequence[Any] | None], default_character_set: str
) -> Iterator[bytes]:
    """Chooses the character set, writes the new elements, and lets the dataset flow past them."""
    meta, encoding = source.begin(encoding)
    yield meta
    character_set = _character_set(source, encoding)
    vrs = {tag: values.vr_for(tag, new or ()) for tag, new in changes.items()}
    new_texts = [found for tag, new in changes.items() for found in values.texts(vrs[tag], new or ())]
    utf8 = any(charset.encode(text, vr, character_set) is None for text, vr in new_texts)
    if utf8:
        changes = {**changes, SPECIFIC_CHARACTER_SET: [charset.UTF8]}
        vrs[SPECIFIC_CHARACTER_SET] = "CS"
    elements = {
        tag: None
        if new is None
        else values.element(tag, vrs[tag], new, encoding, charset.UTF8 if utf8 else character_set)
        for tag, new in changes.items()
    }
    recoding = Recoding(source, encoding, encoding, elements, utf8=utf8, default_character_set=default_character_set)
    yield from recoding.dataset(character_set)


def _character_set(source: Source, encoding: Encoding) -> str:
    """The Specific Character Set at the beginning of the dataset, without taking anything of it."""
    ahead = Source(iter([source.peek(BLOCK_BYTES)]))
    try:
        while (found := ahead.header(encoding)) and found.tag <= SPECIFIC_CHARACTER_SET and not found.undefined:
            value = ahead.take(found.length)
            if found.tag == SPECIFIC_CHARACTER_SET:
                return value.decode("latin_1").strip(" \0")
    except Unreadable:
        pass  # whatever stands there will be met again when the dataset is read
    return ""
