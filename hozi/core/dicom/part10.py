"""The header of a DICOM file: preamble, prefix and file meta information, read and written (PS3.10 §7.1)."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from hozi.core.dicom import encodings, sop_classes, syntaxes, uids
from hozi.core.dicom.inflate import Buffer
from hozi.core.errors import Unreadable

PREAMBLE_LENGTH: Final = 128
PREFIX: Final = b"DICM"

MEDIA_STORAGE_SOP_CLASS_UID: Final = 0x00020002
MEDIA_STORAGE_SOP_INSTANCE_UID: Final = 0x00020003
TRANSFER_SYNTAX_UID: Final = 0x00020010

_META: Final = 0x0002
_MOST_ELEMENTS: Final = 256
_MOST_BYTES: Final = 1 << 20
_FIRST_READ: Final = 16 << 10

PreambleKind = Literal["empty", "tiff", "executable", "other"]

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PROGRAMS: Final = (
    *(b"MZ", b"ZM", b"\x7fELF", b"\0asm", b"dex\n", b"L\0\0\0\x01\x14\x02\0", b"!<arch>"),
    *(b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xfe\xed\xfa\xce"),
    *(b"PK\3\4", b"PK\5\6", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b", b"MSCF", b"ITSF", b"\xd0\xcf\x11\xe0", b"{\\rtf"),
)
"""How files begin that a computer runs, unpacks or interprets when somebody opens them."""


@dataclass(frozen=True)
class FileHeader:
    """What stands in front of the dataset of a file.

    ``preamble``: its 128 bytes, or empty where there is none. ``meta``: the bytes of the elements of group 0002,
    padding and all. ``transfer_syntax``: the UID by which the dataset has to be read; ``guessed`` when the header does
    not tell it. ``dataset_offset``: where the dataset begins, in bytes from the file's first.
    """

    preamble: bytes
    meta: dict[int, bytes]
    transfer_syntax: str
    dataset_offset: int
    guessed: bool = False

    @property
    def sop_class(self) -> str:
        """Media Storage SOP Class UID without padding, or an empty text."""
        return uids.clean(self.meta.get(MEDIA_STORAGE_SOP_CLASS_UID, b""))

    @property
    def sop_instance(self) -> str:
        """Media Storage SOP Instance UID without padding, or an empty text."""
        return uids.clean(self.meta.get(MEDIA_STORAGE_SOP_INSTANCE_UID, b""))

    @property
    def is_directory(self) -> bool:
        """Whether this is a DICOMDIR, which lists files and is no object to store."""
        return self.sop_class == sop_classes.MEDIA_STORAGE_DIRECTORY


def read_header(source: Buffer | BinaryIO) -> FileHeader:
    """Reads the header of a file, as forgivingly as the files of old devices need.

    Missing are allowed: preamble, prefix, group length, the transfer syntax and the whole header. The transfer syntax
    is then guessed from the first elements: which of the three plain encodings it is can be seen, but not how pixel
    data is compressed.

    ``source`` is a buffer of the whole file, or a file that can seek, read from where it stands and left there. At most
    1 MiB is read. Raises `Unreadable` when this is no DICOM file, or its header is damaged or larger than that.
    """
    if isinstance(source, Buffer):
        return _read(source, len(source))
    begin = source.tell()
    try:
        length = source.seek(0, io.SEEK_END) - begin
        source.seek(begin)
        start = source.read(_FIRST_READ)
        try:
            return _read(start, length)
        except Unreadable:
            if length <= len(start):
                raise
        return _read(start + source.read(_MOST_BYTES - len(start)), length)
    finally:
        source.seek(begin)


def _read(buffer: Buffer, length: int) -> FileHeader:
    """The header in ``buffer``, which holds the beginning of a file of ``length`` bytes."""
    preamble = b""
    begin = 0
    if bytes(buffer[PREAMBLE_LENGTH : PREAMBLE_LENGTH + len(PREFIX)]) == PREFIX:
        preamble = bytes(buffer[:PREAMBLE_LENGTH])
        begin = PREAMBLE_LENGTH + len(PREFIX)
    elif bytes(buffer[: len(PREFIX)]) == PREFIX:
        begin = len(PREFIX)
    meta, offset = read_meta(buffer, begin)
    syntax = uids.clean(meta.get(TRANSFER_SYNTAX_UID, b""))
    if syntax and uids.is_valid(syntax):
        return FileHeader(preamble, meta, syntax, offset)
    guess = _guess(buffer, offset, length)
    if guess is None:
        raise Unreadable("This is not a DICOM file, or its header does not say how to read it.")
    return FileHeader(preamble, meta, guess, offset, guessed=True)


def read_meta(buffer: Buffer, begin: int) -> tuple[dict[int, bytes], int]:
    """The elements of group 0002 from byte ``begin`` on, and where they end (at once, if there are none).

    They are explicit VR little endian (PS3.10 §7.1), implicit in some old files. The group length is not relied upon.
    Raises `Unreadable` when one reaches beyond the buffer, or there are absurdly many.
    """
    meta: dict[int, bytes] = {}
    offset = begin
    explicit, implicit = encodings.EXPLICIT_LITTLE, encodings.IMPLICIT_LITTLE
    try:
        for _ in range(_MOST_ELEMENTS):
            if offset + 8 > len(buffer):
                return meta, offset
            group, element, vr, length = explicit.header(buffer, offset)
            if group != _META:
                return meta, offset
            start = offset + 8
            if vr in encodings.LONG_VRS:
                (length,) = explicit.long(buffer, start)
                start += 4
            elif vr not in encodings.SHORT_VRS:
                _, _, length = implicit.header(buffer, offset)
            offset = start + length
            if offset > min(len(buffer), begin + _MOST_BYTES):
                raise Unreadable("The file header is cut short or too large.")
            meta[group << 16 | element] = bytes(buffer[start:offset])
    except struct.error:
        raise Unreadable("The file header is cut short.") from None
    raise Unreadable("The file header has too many elements.")


def _guess(buffer: Buffer, offset: int, length: int) -> str | None:
    """The transfer syntax of the dataset that seems to begin at ``offset``; None where no dataset does."""
    for uid, encoding in (
        (syntaxes.EXPLICIT_LITTLE, encodings.EXPLICIT_LITTLE),
        (syntaxes.EXPLICIT_BIG, encodings.EXPLICIT_BIG),
        (syntaxes.IMPLICIT_LITTLE, encodings.IMPLICIT_LITTLE),
    ):
        if _reads_as(encoding, buffer, offset, length):
            return uid
    return None


def _reads_as(encoding: encodings.Encoding, buffer: Buffer, offset: int, length: int) -> bool:
    """Whether the first elements make sense in this encoding: early group, rising tags, values within the file."""
    previous = 0
    for _ in range(8):
        if offset + 8 > len(buffer):
            break
        header = encoding.header(buffer, offset)
        tag = header[0] << 16 | header[1]
        if tag <= previous or (previous == 0 and header[0] > 0x0020):
            return False
        size, start = header[-1], offset + 8
        if encoding.explicit:
            if header[2] in encodings.LONG_VRS:
                if offset + 12 > len(buffer):
                    return False
                (size,) = encoding.long(buffer, start)
                start += 4
            elif header[2] not in encodings.SHORT_VRS:
                return False
        if size == encodings.UNDEFINED:
            return True
        if start + size > length:
            return False
        previous, offset = tag, start + size
    return previous != 0


def preamble_kind(preamble: bytes) -> PreambleKind:
    """What a preamble is used for (PS3.10 §7.1 leaves it to applications, and so to attackers).

    ``empty``: not used. ``tiff``: makes the file readable as a picture too, which PS3.10 names as the purpose.
    ``executable``: makes it something that a computer runs or interprets: programs, scripts, archives, documents.
    """
    if not preamble.strip(b"\0"):
        return "empty"
    if preamble.startswith(_TIFF):
        return "tiff"
    text = preamble.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if preamble.startswith(_PROGRAMS) or text.startswith((b"<", b"#!", b"@echo", b"%!ps", b"mime-version:")):
        return "executable"
    # Readers of these look for their mark anywhere near the beginning.
    if any(mark in text for mark in (b"%pdf-", b"<script", b"<html", b"<svg", b"<?php", b"<!doctype", b"pk\x03\x04")):
        return "executable"
    return "other"


def write_header(
    sop_class: str, sop_instance: str, transfer_syntax: str, source_ae: str = "", private_information: bytes = b""
) -> bytes:
    """The header of a file: zero preamble, prefix, file meta information. The same arguments give the same bytes.

    Takes UIDs as they are, wrong ones too: objects in quarantine get a header like all others. Raises `Unreadable`
    only when one is too long to be written at all.
    """
    elements = [
        _element(0x0001, b"OB", b"\0\1"),
        _element(0x0002, b"UI", _text(sop_class)),
        _element(0x0003, b"UI", _text(sop_instance)),
        _element(0x0010, b"UI", _text(transfer_syntax)),
        _element(0x0012, b"UI", _text(uids.IMPLEMENTATION_CLASS_UID)),
        _element(0x0013, b"SH", _text(uids.IMPLEMENTATION_VERSION_NAME)),
    ]
    if source_ae:
        elements.append(_element(0x0016, b"AE", _text(source_ae)))
    if private_information:
        elements.append(_element(0x0100, b"UI", _text(uids.PRIVATE_INFORMATION_CREATOR_UID)))
        elements.append(_element(0x0102, b"OB", private_information))
    meta = b"".join(elements)
    return bytes(PREAMBLE_LENGTH) + PREFIX + _element(0x0000, b"UL", struct.pack("<L", len(meta))) + meta


def _text(value: str) -> bytes:
    return value.encode("ascii", "replace")


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB") else b" "
    if vr in encodings.LONG_VRS:
        return struct.pack("<HH2sHL", _META, element, vr, 0, len(value)) + value
    if len(value) > 0xFFFE:
        raise Unreadable("A UID or AE title is too long for a file header.")
    return struct.pack("<HH2sH", _META, element, vr, len(value)) + value
