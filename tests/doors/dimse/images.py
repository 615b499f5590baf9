"""Small objects made for a test: valid, unless a test spoils them."""

from __future__ import annotations

import io
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
SC = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"


def image(**elements: Any) -> Dataset:
    """A CT slice of 8 x 8 pixels of Rutendo Chikomba; ``elements`` by keyword replace, None leaves one out."""
    study = elements.get("StudyInstanceUID") or generate_uid()
    dataset = Dataset()
    told: dict[str, Any] = {
        "SOPClassUID": CT,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": study,
        "SeriesInstanceUID": generate_uid(),
        "PatientID": "E-0001",
        "PatientName": "Chikomba^Rutendo",
        "PatientBirthDate": "19791112",
        "PatientSex": "F",
        "StudyDate": "20260105",
        "StudyTime": "081500",
        "StudyID": "S1",
        "AccessionNumber": "A-77",
        "Modality": "CT",
        "SeriesNumber": 3,
        "InstanceNumber": 7,
        "Rows": 8,
        "Columns": 8,
        "SamplesPerPixel": 1,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": bytes(range(64)),
        **elements,
    }
    for keyword, value in told.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def encoded(dataset: Dataset, syntax: str = EXPLICIT) -> bytes:
    """The dataset's bytes, without a file header."""
    buffer = io.BytesIO()
    uid = UID(syntax)
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OW" if uid.is_implicit_VR else "OB"
    dcmwrite(buffer, dataset, implicit_vr=uid.is_implicit_VR, little_endian=uid.is_little_endian)
    return buffer.getvalue()
