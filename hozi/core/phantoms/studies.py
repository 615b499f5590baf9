"""The invented images as complete DICOM objects: three patients, a study of each."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite

from hozi.core.dicom import syntaxes
from hozi.core.phantoms import body, chest, ultrasound

ISSUER: Final = "HOZI-DEMO"
"""Who numbers the invented patients: nobody else does, so that they never mix with real ones."""

CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"
CR_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.1"
US_CINE: Final = "1.2.840.10008.5.1.4.1.1.3.1"
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"

_NAMES: Final = uuid.UUID("6b1d7f6e-0f6c-4a0e-9c55-6d2b8b0f3a11")
_HOUNSFIELD_ZERO: Final = 1024
_JPEG_QUALITY: Final = 88


@dataclass(frozen=True, slots=True)
class Image:
    """One object: its dataset, encoded in ``transfer_syntax``, and what a message that brings it has to say."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    dataset: bytes


@dataclass(frozen=True, slots=True)
class Study:
    """A study of ``count`` objects; ``images`` computes them, the same ones every time."""

    name: str
    uid: str
    count: int
    images: Callable[[], Iterator[Image]]


def _uid(name: str) -> str:
    """A UID that is always the same for a name (PS3.5 §B.2)."""
    return f"2.25.{uuid.uuid5(_NAMES, name).int}"


def _patient(number: int, name: str, born: str, sex: str, charset: str = "") -> Dataset:
    dataset = Dataset()
    if charset:
        dataset.SpecificCharacterSet = charset
    dataset.PatientName = name
    dataset.PatientID = f"DEMO-{number:04d}"
    dataset.IssuerOfPatientID = ISSUER
    dataset.PatientBirthDate = born
    dataset.PatientSex = sex
    return dataset


def _study(dataset: Dataset, number: int, modality: str, at: str, study: str, series: str) -> None:
    """Study, series and equipment (PS3.3 §C.7.2, C.7.3, C.7.5)."""
    dataset.StudyInstanceUID = _uid(f"study {number}")
    dataset.StudyID = f"D{number}"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20261102"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = at
    dataset.AccessionNumber = f"DEMO{number:05d}"
    dataset.StudyDescription = study
    dataset.ReferringPhysicianName = "Invented^Doctor"
    dataset.Modality = modality
    dataset.SeriesInstanceUID = _uid(f"series {number}")
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = series
    dataset.Manufacturer = "Hozi"
    dataset.ManufacturerModelName = "Phantom generator"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = "1"
    dataset.StationName = "DEMO"
    dataset.InstitutionName = "Nowhere"


def _pixels(dataset: Dataset, rows: int, columns: int, bits: int, photometric: str) -> None:
    """Image Pixel without the pixels (PS3.3 §C.7.6.3)."""
    colour = not photometric.startswith("MONOCHROME")
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = photometric
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = 8 if bits <= 8 else 16
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = 0


def _image(dataset: Dataset, sop_class: str, number: int, instance: int, syntax: str) -> Image:
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = _uid(f"image {number} {instance}")
    dataset.InstanceNumber = instance
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True)
    return Image(sop_class, dataset.SOPInstanceUID, syntax, buffer.getvalue())


def _ct() -> Iterator[Image]:
    for number, picture in enumerate(body.slices()):
        dataset = _patient(1, "Muenzaniso^Tariro", "19790412", "F")
        _study(dataset, 1, "CT", "083100", "Chest, phantom", "Axial 5 mm, soft tissue")
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.AcquisitionNumber = 1
        dataset.BodyPartExamined = "CHEST"
        dataset.PatientPosition = "HFS"
        dataset.KVP = 120
        dataset.SliceThickness = body.THICKNESS
        dataset.ConvolutionKernel = "STANDARD"
        dataset.FrameOfReferenceUID = _uid("frame of reference 1")
        dataset.PositionReferenceIndicator = ""
        corner = -(body.SIZE - 1) / 2 * body.SPACING
        height = -number * body.THICKNESS  # patient coordinates grow towards the head
        dataset.ImagePositionPatient = [corner, corner, height]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.SliceLocation = height
        dataset.PixelSpacing = [body.SPACING, body.SPACING]
        _pixels(dataset, body.SIZE, body.SIZE, 12, "MONOCHROME2")
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -_HOUNSFIELD_ZERO, 1, "HU"
        dataset.WindowCenter, dataset.WindowWidth = [40, -500], [400, 1500]
        dataset.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
        values = np.clip(np.rint(picture) + _HOUNSFIELD_ZERO, 0, 4095)
        dataset.PixelData = values.astype("<u2").tobytes()
        yield _image(dataset, CT_IMAGE, 1, number + 1, syntaxes.EXPLICIT_LITTLE)


def _cr() -> Iterator[Image]:
    dataset = _patient(2, "Mihon^Hanako=見本^花子=みほん^はなこ", "19640229", "F", "ISO_IR 192")
    _study(dataset, 2, "CR", "101500", "Chest PA, phantom", "PA")
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "PA"
    dataset.PatientOrientation = ["L", "F"]
    dataset.KVP = 125
    dataset.ImagerPixelSpacing = [chest.SPACING, chest.SPACING]
    dataset.BurnedInAnnotation = "NO"
    _pixels(dataset, chest.ROWS, chest.COLUMNS, chest.BITS, "MONOCHROME1")
    dataset.WindowCenter, dataset.WindowWidth = chest.WINDOW
    dataset.PixelData = chest.radiograph().astype("<u2").tobytes()
    yield _image(dataset, CR_IMAGE, 2, 1, syntaxes.EXPLICIT_LITTLE)


def _us() -> Iterator[Image]:
    dataset = _patient(3, "Exemple^Zoé", "19901130", "F", "ISO_IR 100")
    _study(dataset, 3, "US", "143000", "Echocardiography, phantom", "Apical four chamber, colour flow")
    native = ultrasound.ROWS * ultrasound.COLUMNS * 3 * ultrasound.FRAMES
    encoded = [
        imagecodecs.jpeg8_encode(frame, level=_JPEG_QUALITY, colorspace="RGB", outcolorspace="YCBCR", subsampling="422")
        for frame in ultrasound.frames()
    ]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "TTE", "0011"]
    dataset.BodyPartExamined = "HEART"
    dataset.PatientOrientation = ""
    dataset.NumberOfFrames = ultrasound.FRAMES
    dataset.FrameIncrementPointer = 0x00181063
    dataset.FrameTime = ultrasound.FRAME_MILLISECONDS
    dataset.CineRate = dataset.RecommendedDisplayFrameRate = round(1000 / ultrasound.FRAME_MILLISECONDS)
    dataset.HeartRate = round(60_000 / (ultrasound.FRAMES * ultrasound.FRAME_MILLISECONDS))
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = round(native / sum(map(len, encoded)), 2)
    dataset.LossyImageCompressionMethod = "ISO_10918_1"
    dataset.BurnedInAnnotation = "NO"
    dataset.SequenceOfUltrasoundRegions = [_region()]
    _pixels(dataset, ultrasound.ROWS, ultrasound.COLUMNS, 8, "YBR_FULL_422")
    dataset.PixelData = encapsulate([bytes(frame) for frame in encoded])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    yield _image(dataset, US_CINE, 3, 1, JPEG_BASELINE)


def _region() -> Dataset:
    """How large a pixel of the sector is, in centimetres (PS3.3 §C.8.5.5)."""
    region = Dataset()
    region.RegionSpatialFormat = 1
    region.RegionDataType = 2
    region.RegionFlags = 0
    left, top, right, bottom = ultrasound.SECTOR
    region.RegionLocationMinX0, region.RegionLocationMinY0 = left, top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = right, bottom
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = ultrasound.SPACING / 10
    return region


STUDIES: Final = (
    Study("CT of a chest", _uid("study 1"), body.SLICES, _ct),
    Study("chest radiograph", _uid("study 2"), 1, _cr),
    Study("echocardiography loop", _uid("study 3"), 1, _us),
)
"""What there is to show."""
