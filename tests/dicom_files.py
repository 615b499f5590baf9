"""DICOM files and media for tests: valid, unless a test spoils them."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage, generate_uid

from tests.doors.dimse.images import EXPLICIT, encoded, image


def file_bytes(dataset: Dataset, syntax: str = EXPLICIT, preamble: bytes = bytes(128)) -> bytes:
    """A file of PS3.10 with this dataset, written by hand: the dataset's bytes are those of `encoded`."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "1.2")
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2")
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = "1.2.3.4"
    head = BytesIO()
    empty = Dataset()
    empty.file_meta = meta
    dcmwrite(head, empty, enforce_file_format=True)
    return preamble.ljust(128, b"\0") + head.getvalue()[128:] + encoded(dataset, syntax)


def write(path: Path, **elements: Any) -> Dataset:
    """Writes a CT slice of Rutendo Chikomba as a file; returns its dataset."""
    dataset = image(**elements)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_bytes(dataset))
    return dataset


def write_dicomdir(path: Path, names: Sequence[Sequence[str]]) -> None:
    """Writes a DICOMDIR that names these files, whatever they are, one record each."""
    listing = Dataset()
    listing.FileSetID = "TEST"
    listing.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    listing.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    listing.FileSetConsistencyFlag = 0
    listing.DirectoryRecordSequence = []
    for parts in names:
        record = Dataset()
        record.OffsetOfTheNextDirectoryRecord = 0
        record.RecordInUseFlag = 0xFFFF
        record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
        record.DirectoryRecordType = "IMAGE"
        if parts:
            record.add_new(0x00041500, "LO", "\\".join(parts))
            record["ReferencedFileID"].VR = "CS"
        listing.DirectoryRecordSequence.append(record)
    listing.file_meta = FileMetaDataset()
    listing.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    listing.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    listing.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, listing, enforce_file_format=True)
