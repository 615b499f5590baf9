"""How elements are written as bytes: value representations and the three encodings (PS3.5 §7)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from hozi.core.dicom.inflate import Buffer
from hozi.core.dicom.syntaxes import TransferSyntax

Unpack = Callable[[Buffer, int], tuple[Any, ...]]

UNDEFINED: Final = 0xFFFFFFFF
"""The length of a value that a delimiter ends (PS3.5 §7.1.1)."""

DELIMITERS: Final = 0xFFFE
"""The group of what is no element: items and delimiters (PS3.5 §7.5)."""
ITEM: Final = 0xE000
ITEM_END: Final = 0xE00D
SEQUENCE_END: Final = 0xE0DD

SHORT_VRS: Final = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS")
    + (b"ST", b"TM", b"UI", b"UL", b"US")
)
"""Value representations whose length has 16 bits in explicit VR (PS3.5 table 7.1-2)."""

LONG_VRS: Final = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
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
