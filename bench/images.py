"""Images as in a hospital, made here: valid DICOM, other UIDs for every run, the same again from the same seed.

pydicom writes each kind once, with placeholders of fixed lengths; then only bytes are replaced. So a series of a
hundred megabytes is there in a tenth of a second, and one of a gigabyte never lies in memory.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

EXPLICIT: Final = "1.2.840.10008.1.2.1"
_PROGRAM: Final = "2.25.310046105480215743380104205071318275073"
_PATIENT_NAME, _PATIENT_ID, _ACCESSION = "Placehol^Holding", "PLACE-ID-000", "PLACE-ACC-00"
_DATE, _NUMBER = "18010203", "918273"


def uid(*parts: object) -> str:
    """A UID of 44 characters that follows from the parts: the same parts, the same UID (PS3.5 §B.2 form)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{10**38 + int.from_bytes(digest, 'big') % 10**38}"


_STUDY, _SERIES, _INSTANCE = uid("study"), uid("series"), uid("instance")


@dataclass(frozen=True)
class Identity:
    """What tells one image from another."""

    study: str
    series: str
    instance: str
    number: int = 1
    patient_id: str = "B00000000001"
    patient_name: str = "Benhura^Rutendo"
    date: str = "20260302"
    accession: str = "A00000000001"

    def replaced(self, raw: bytes) -> bytes:
        """The bytes with the placeholders replaced."""
        for placeholder, value in (
            (_NUMBER, str(self.number)),
            (_DATE, self.date),
            (_PATIENT_ID, self.patient_id),
            (_PATIENT_NAME, self.patient_name),
            (_ACCESSION, self.accession),
            # UIDs last: their digits could look like a short placeholder.
            (_STUDY, self.study),
            (_SERIES, self.series),
            (_INSTANCE, self.instance),
        ):
            if len(value) > len(placeholder):
                raise ValueError("longer than its place")
            raw = raw.replace(placeholder.encode(), value.ljust(len(placeholder)).encode())
        return raw


@dataclass(frozen=True)
class Template:
    """One kind of image: file header, dataset up to the pixel data, and the pixel data as a block that repeats."""

    sop_class: str
    meta: bytes = field(repr=False)
    header: bytes = field(repr=False)
    pixel_header: bytes = field(repr=False)
    block: bytes = field(repr=False)
    blocks: int

    @property
    def length(self) -> int:
        """Bytes of a whole file."""
        return len(self.meta) + len(self.header) + len(self.pixel_header) + len(self.block) * self.blocks

    def dataset(self, identity: Identity) -> Iterator[bytes]:
        """The dataset of one image (explicit VR little endian), a block at a time."""
        yield identity.replaced(self.header) + self.pixel_header
        for _ in range(self.blocks):
            yield self.block

    def write(self, path: Path, identity: Identity) -> None:
        """Writes one image as a file."""
        with path.open("wb", buffering=0) as file:
            file.write(identity.replaced(self.meta))
            for chunk in self.dataset(identity):
                file.write(chunk)


@dataclass(frozen=True)
class Series:
    """A series that lies in a folder."""

    folder: Path
    count: int
    study: str
    series: str
    first: str

    def instance(self, number: int) -> str:
        """The SOP Instance UID of the image with this number, the first one being 1."""
        return f"{self.first[:-6]}{number:06d}"


def write_series(folder: Path, template: Template, count: int, *key: object) -> Series:
    """Writes ``count`` images of one series into a new folder; the UIDs follow from ``key``.

    As devices make them: the UIDs of a series begin alike, and end with a number.
    """
    folder.mkdir()
    study, series, first = uid(*key, "study"), uid(*key, "series"), uid(*key, "instances")
    written = Series(folder, count, study, series, first)
    patient = f"B{int(study[-11:]):011d}"
    for number in range(1, count + 1):
        one = Identity(study, series, written.instance(number), number, patient_id=patient, accession="A" + patient[1:])
        template.write(folder / f"{number:05d}.dcm", one)
    return written


@cache
def ct(seed: int) -> Template:
    """A CT slice: 512 by 512, 16 bits, 525 kB."""
    dataset = _image("1.2.840.10008.5.1.4.1.1.2", "CT", 512, 512)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.BodyPartExamined = "CHEST"
    dataset.ProtocolName = "Chest routine"
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = uid("frame of reference")
    dataset.ImagePositionPatient = [-180.0, -175.5, 42.25]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SliceLocation = "42.25"
    dataset.SliceThickness = "1.25"
    dataset.PixelSpacing = [0.703125, 0.703125]
    dataset.KVP = "120"
    dataset.XRayTubeCurrent = "210"
    dataset.ExposureTime = "500"
    dataset.ConvolutionKernel = "B31f"
    dataset.GantryDetectorTilt = "0"
    dataset.TableHeight = "151.5"
    dataset.RotationDirection = "CW"
    dataset.AcquisitionNumber = "2"
    dataset.WindowCenter = [40, -600]
    dataset.WindowWidth = [400, 1200]
    dataset.RescaleIntercept = "-1024"
    dataset.RescaleSlope = "1"
    dataset.RequestAttributesSequence = Sequence([_requested()])
    dataset.ProcedureCodeSequence = Sequence([_code("CTCHEST", "99LOCAL", "CT chest")])
    private = dataset.private_block(0x0029, "INVENTED MAKER", create=True)
    private.add_new(0x10, "LO", "REV 4")
    private.add_new(0x11, "OB", numpy.random.default_rng(seed).bytes(2048))
    return _template(dataset, _noise(seed, 512 * 512 * 2), 1)


@cache
def cr(seed: int) -> Template:
    """A chest radiograph: 2,500 by 2,000, 16 bits, 10 MB."""
    dataset = _image("1.2.840.10008.5.1.4.1.1.1", "CR", 2500, 2000)
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "PA"
    return _template(dataset, _noise(seed, 2500 * 2000 * 2), 1)


@cache
def us(seed: int, frames: int = 60) -> Template:
    """An ultrasound loop: 480 by 640, three colours of 8 bits, 60 frames, 55 MB."""
    dataset = _image("1.2.840.10008.5.1.4.1.1.3.1", "US", 480, 640)
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.NumberOfFrames = frames
    dataset.FrameTime = "33.3"
    dataset.FrameIncrementPointer = 0x00181063
    return _template(dataset, numpy.random.default_rng(seed).bytes(480 * 640 * 3), frames)


@cache
def large(seed: int, length: int) -> Template:
    """A tomosynthesis of about ``length`` bytes: frames of 2,048 by 2,048, 16 bits, 8 MiB each."""
    frame = 2048 * 2048 * 2
    dataset = _image("1.2.840.10008.5.1.4.1.1.13.1.3", "MG", 2048, 2048)
    dataset.NumberOfFrames = frames = max(1, length // frame)
    return _template(dataset, _noise(seed, 1 << 20), frames * (frame >> 20))


def _image(sop_class: str, modality: str, rows: int, columns: int) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _INSTANCE, _STUDY, _SERIES
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = _DATE
    dataset.StudyTime, dataset.SeriesTime, dataset.AcquisitionTime = "083112", "083204.125", "083205.500"
    dataset.ContentTime = "083206.750"
    dataset.AccessionNumber = _ACCESSION
    dataset.Modality = modality
    dataset.Manufacturer = "Invented"
    dataset.ManufacturerModelName = "Model 7"
    dataset.StationName = f"{modality}1"
    dataset.SoftwareVersions = "7.1"
    dataset.InstitutionName = "Hospital of the benchmarks"
    dataset.ReferringPhysicianName = "Moyo^Chipo"
    dataset.OperatorsName = "Dube^Sipho"
    dataset.StudyDescription = "Chest"
    dataset.SeriesDescription = "Routine"
    dataset.PatientName, dataset.PatientID = _PATIENT_NAME, _PATIENT_ID
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "19710915", "F", "054Y"
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", "2", _NUMBER
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    return dataset


def _requested() -> Dataset:
    item = Dataset()
    item.RequestedProcedureID = "RP1"
    item.ScheduledProcedureStepID = "SPS1"
    item.ScheduledProcedureStepDescription = "CT chest"
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _noise(seed: int, length: int) -> bytes:
    return numpy.random.default_rng(seed).integers(0, 4096, length // 2, dtype="<u2").tobytes()


def _template(dataset: Dataset, block: bytes, blocks: int) -> Template:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = UID(_INSTANCE)
    meta.TransferSyntaxUID = UID(EXPLICIT)
    meta.ImplementationClassUID = UID(_PROGRAM)
    head = BytesIO()
    empty = Dataset()
    empty.file_meta = meta
    dcmwrite(head, empty, enforce_file_format=True)
    body = DicomBytesIO()
    body.is_little_endian, body.is_implicit_VR = True, False
    write_dataset(body, dataset)
    vr = b"OW" if dataset.BitsAllocated > 8 else b"OB"
    pixel_header = struct.pack("<HH2sHL", 0x7FE0, 0x0010, vr, 0, len(block) * blocks)
    return Template(str(dataset.SOPClassUID), head.getvalue(), body.getvalue(), pixel_header, block, blocks)
