"""The header of a DICOM file: preamble, prefix and file meta information, read and written (PS3.10 §7.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

from hozi.core.dicom.inflate import Buffer

PreambleKind = Literal["empty", "tiff", "executable", "other"]


@dataclass(frozen=True)
class FileHeader:
    preamble: bytes
    meta: dict[int, bytes]
    transfer_syntax: str
    dataset_offset: int
    guessed: bool = False


def read_header(source: Buffer | BinaryIO) -> FileHeader:
    raise NotImplementedError


def preamble_kind(preamble: bytes) -> PreambleKind:
    raise NotImplementedError


def write_header(
    sop_class: str, sop_instance: str, transfer_syntax: str, source_ae: str = "", private_information: bytes = b""
) -> bytes:
    raise NotImplementedError
