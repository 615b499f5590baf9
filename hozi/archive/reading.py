"""One stored object is read whole, as it is given out: what reports, waveforms and documents are shown from.

For objects that are texts and numbers, not pixels: how much is read is bounded, and one value (a document that is
packed in an object) may be led past into a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from pydicom.dataset import Dataset

from hozi.archive.fetch import Holding
from hozi.core.dicom import identifier, syntaxes
from hozi.core.dicom.elements import EXPLICIT, Encoding, Header, Source, inflated
from hozi.core.dicom.limits import Limits
from hozi.core.dicom.recode import Recoding
from hozi.core.errors import Unreadable
from hozi.settings import HOZI

MOST: Final = 32 << 20
"""Bytes of a report or waveform that are read: some hours of twelve leads, or a very long report."""

_EXPLICIT: Final = "1.2.840.10008.1.2.1"
_INFLATED: Final = 1 << 30
_LIMITS: Final = Limits(depth=64, elements=1_000_000, inflated_bytes=MOST, value_bytes=0, items=300_000)


def read(held: Holding, *, most: int = MOST, beside: tuple[int, BinaryIO] | None = None) -> Dataset:
    """The object with its corrections, in plain values (`identifier.read`); numbers in little endian.

    ``beside``: the tag of an element of the top level and a file into which its value goes; the dataset is without it.
    Raises `Unreadable` when there is more than ``most``, or it is damaged; `Missing` when its file is gone.
    """
    syntax = syntaxes.for_unknown(held.transfer_syntax)
    pieces = (bytes(piece) for piece in held.send_as(held.transfer_syntax))
    source = Source(inflated(pieces, _INFLATED) if syntax.deflated else pieces)
    _, encoding = source.begin(Encoding.of(syntax))
    recoding = Recoding(
        source,
        encoding,
        EXPLICIT,
        {},
        utf8=True,
        restructure=True,
        default_character_set=HOZI.default_charset,
        instead={} if beside is None else {beside[0]: lambda found: _led_past(found, source, beside[1])},
    )
    return identifier.read(_bounded(recoding.dataset(), most), _EXPLICIT, "ISO_IR 192", limits=_LIMITS)


def _led_past(found: Header, source: Source, target: BinaryIO) -> Iterator[bytes]:
    """Writes the value into the file, and nothing into the dataset."""
    if found.undefined:
        raise Unreadable("The document in this object has no length.")
    for piece in source.pieces(found.length):
        target.write(piece)
    yield b""


def _bounded(pieces: Iterator[bytes], most: int) -> bytes:
    read = bytearray()
    for piece in pieces:
        read += piece
        if len(read) > most:
            raise Unreadable(f"The object is too large to be shown here (more than {most >> 20} MiB): download it.")
    return bytes(read)
