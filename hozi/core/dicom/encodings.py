"""How elements are written as bytes: value representations and the three encodings (PS3.5 §7)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from hozi.core.dicom.inflate import Buffer, Whole
from hozi.core.dicom.syntaxes import TransferSyntax

Unpack = Callable[[Buffer, int], tuple[Any, ...]]

UNDEFINED: Final = 0xFFFFFFFF
"""The length of a value that a delimiter ends (PS3.5 §7.1.1)."""

DELIMITERS: Final = 0xFFFE
"""The group of what is no element: items and delimiters (PS3.5 §7.5)."""
ITEM: Final = 0xE000
ITEM_END: Final = 0xE00D
SEQUENCE_END: Final = 0xE0DD
ITEM_TAGS: Final = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
SEQUENCE_END_TAGS: Final = (b"\xfe\xff\xdd\xe0", b"\xff\xfe\xe0\xdd")
"""Their bytes in little and in big endian."""

SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Value representations whose length has 16 bits in explicit VR (PS3.5 table 7.1-2)."""

LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations whose length has 32 bits in explicit VR (PS3.5 table 7.1-1)."""

VRS: Final = SHORT_VRS | LONG_VRS


class Encoding(NamedTuple):
    """Readers of one encoding. ``mixed``: each item may have chosen between explicit and implicit for itself.

    ``header`` gives group, element, VR and 16-bit length of an explicit element, or group, element and 32-bit length of
    an implicit one; ``item`` the latter in any encoding; ``long`` one 32-bit number.
    """

    explicit: bool
    mixed: bool
    header: Unpack
    item: Unpack
    long: Unpack


def _encoding(order: str, *, explicit: bool, mixed: bool = False) -> Encoding:
    item = struct.Struct(order + "HHL").unpack_from
    header = struct.Struct(order + "HH2sH").unpack_from if explicit else item
    return Encoding(explicit, mixed, header, item, struct.Struct(order + "L").unpack_from)


EXPLICIT_LITTLE: Final = _encoding("<", explicit=True)
EXPLICIT_BIG: Final = _encoding(">", explicit=True)
IMPLICIT_LITTLE: Final = _encoding("<", explicit=False)
UNKNOWN: Final = _encoding("<", explicit=False, mixed=True)
"""Inside a value of VR UN: implicit VR little endian by PS3.5 §6.2.2, explicit as some devices write it."""


def of(syntax: TransferSyntax) -> Encoding:
    """The encoding that a transfer syntax gives to the elements of a dataset."""
    if not syntax.explicit:
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE if syntax.little_endian else EXPLICIT_BIG


def is_vr_like(vr: bytes) -> bool:
    """Whether these bytes are two capital letters, as every VR is (PS3.5 §7.1.2), also one that is not known yet."""
    return len(vr) == 2 and vr.isalpha() and vr.isupper()


def read_unknown(source: Whole, encoding: Encoding, position: int, end: int) -> tuple[int, int, bool]:
    """Makes out an explicit element whose VR is not a known one: where its value begins, its length, is it implicit.

    New value representations are to have the long form (PS3.5 §6.2). What is no VR at all is mostly part of the length
    of an element in implicit VR. That form counts behind which something else makes sense.
    """
    source.load(position, 24)
    offset = position - source.base
    group, element, vr, short = encoding.header(source.buffer, offset)
    (implicit,) = encoding.item(source.buffer, offset)[2:]
    tag, start = group << 16 | element, position + 8
    forms = [(start, short, False)]
    if short == 0 and start + 4 <= source.loaded:
        forms.insert(0, (start + 4, encoding.long(source.buffer, offset + 8)[0], False))
    forms.insert(len(forms) if is_vr_like(vr) else 0, (start, implicit, True))
    for form in forms:
        if _makes_sense(source, encoding, *form[:2], end, tag):
            return form
    return next((form for form in forms if form[0] + form[1] <= end), forms[0])


def _makes_sense(source: Whole, encoding: Encoding, start: int, length: int, end: int, tag: int) -> bool:
    """Whether a value of this length would be followed by the end, or by a later element as far as can be seen."""
    if length == UNDEFINED:
        return source.read(start, 4) in (*ITEM_TAGS, *SEQUENCE_END_TAGS)
    after = start + length
    if after == end:
        return True
    if after + 8 > min(end, source.loaded):
        return False
    group, element = encoding.item(source.buffer, after - source.base)[:2]
    return bool(group << 16 | element > tag)
