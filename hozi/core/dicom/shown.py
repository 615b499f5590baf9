"""What an image says about how it is shown and measured: sizes, places, windows, units. Short names, for a browser.

`of_dataset` reads one object; what its frames have of their own stands in ``frames`` (PS3.3 §C.7.6.16). Numbers that
are none are left out, and so is what would only repeat what a viewer takes for granted. Holds no names of anybody.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset

from hozi.core.dicom import charset, scan
from hozi.core.dicom.inflate import Buffer
from hozi.core.dicom.keys import tag_of
from hozi.core.dicom.limits import Limits
from hozi.core.dicom.syntaxes import TransferSyntax

Shown = dict[str, Any]

MOST_FRAMES: Final = 20_000
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_LIMITS: Final = Limits(value_bytes=64 << 10)
_FRAMED_BYTES: Final = 24 << 20
"""So much of a dataset is read in which the frames may say things of their own."""

_UNSIGNED: Final = {
    "Rows": "rows",
    "Columns": "columns",
    "SamplesPerPixel": "samples",
    "BitsStored": "bits",
    "PixelRepresentation": "signed",
    "BitsAllocated": "allocated",
}
_TEXTS: Final = {
    "PhotometricInterpretation": "photometric",
    "VOILUTFunction": "function",
    "PresentationLUTShape": "shape",
    "RescaleType": "unit",
    "Units": "units",
    "FrameOfReferenceUID": "space",
    "ImageLaterality": "side",
    "Laterality": "laterality",
    "ViewPosition": "view",
    "BodyPartExamined": "part",
    "PatientPosition": "lying",
    "ConvolutionKernel": "kernel",
    "SequenceName": "sequence",
    "AcquisitionTime": "time",
    "ContentTime": "made",
    "LossyImageCompression": "lossy",
    "LossyImageCompressionRatio": "ratio",
    "BurnedInAnnotation": "burned",
    "ImageComments": "comment",
    "PatientOrientation": "towards",
    "PixelSpacingCalibrationType": "calibration",
}
_NUMBERS: Final = {
    "ImagePositionPatient": ("position", 3),
    "ImageOrientationPatient": ("orientation", 6),
    "PixelSpacing": ("spacing", 2),
    "ImagerPixelSpacing": ("imager", 2),
    "NominalScannedPixelSpacing": ("nominal", 2),
    "PixelAspectRatio": ("aspect", 2),
    "EstimatedRadiographicMagnificationFactor": ("magnified", 1),
    "RescaleSlope": ("slope", 1),
    "RescaleIntercept": ("intercept", 1),
    "SliceThickness": ("thick", 1),
    "SliceLocation": ("location", 1),
    "KVP": ("kv", 1),
    "XRayTubeCurrent": ("ma", 1),
    "Exposure": ("mas", 1),
    "EchoTime": ("te", 1),
    "RepetitionTime": ("tr", 1),
    "FlipAngle": ("flip", 1),
    "FrameTime": ("frame_time", 1),
    "CineRate": ("cine", 1),
    "RecommendedDisplayFrameRate": ("rate", 1),
    "HeartRate": ("heart", 1),
    "TemporalPositionIdentifier": ("temporal", 1),
}
_SPECIAL: Final = (
    *("SpecificCharacterSet", "NumberOfFrames", "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation"),
    *("SegmentationType", "MaximumFractionalValue", "DoseGridScaling", "DoseUnits", "ShutterShape"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "SmallestImagePixelValue", "LargestImagePixelValue"),
)
_OVERLAYS: Final = {group << 16 | element for group in range(0x6000, 0x6020, 2) for element in (0x0010, 0x3000)}
_WANTED: Final = frozenset(tag_of(name) for name in (*_UNSIGNED, *_TEXTS, *_NUMBERS, *_SPECIAL)) | _OVERLAYS
_REGIONS: Final = tag_of("SequenceOfUltrasoundRegions")
_REGION_FIELDS: Final = {
    "RegionSpatialFormat": "H",
    "RegionLocationMinX0": "L",
    "RegionLocationMinY0": "L",
    "RegionLocationMaxX1": "L",
    "RegionLocationMaxY1": "L",
    "PhysicalUnitsXDirection": "H",
    "PhysicalUnitsYDirection": "H",
    "PhysicalDeltaX": "d",
    "PhysicalDeltaY": "d",
}
_CENTIMETRES: Final = 3
_MODALITY_LUT, _VOI_LUT = tag_of("ModalityLUTSequence"), tag_of("VOILUTSequence")
_SHARED, _PER_FRAME = tag_of("SharedFunctionalGroupsSequence"), tag_of("PerFrameFunctionalGroupsSequence")
_SEQUENCES: Final = {
    _REGIONS: frozenset(tag_of(name) for name in _REGION_FIELDS),
    _MODALITY_LUT: frozenset({tag_of("LUTDescriptor")}),
    _VOI_LUT: frozenset({tag_of("LUTDescriptor")}),
    _SHARED: frozenset[int](),
    _PER_FRAME: frozenset[int](),
}


def of_dataset(
    buffer: Buffer, syntax: TransferSyntax, changes: Mapping[int, Any] | None = None, default_charset: str = ""
) -> Shown:
    """What the dataset in ``buffer`` (no file header) says, with ``changes`` (JSON values by tag) laid over it.

    Raises `Unreadable` when the dataset cannot be walked.
    """
    found = scan.scan(buffer, syntax, _LIMITS, _WANTED, _SEQUENCES)
    reading = _Reading(found, changes or {}, default_charset)
    shown: Shown = {}
    for name, key in _UNSIGNED.items():
        _set(shown, key, found.unsigned(tag_of(name)))
    for name, key in _TEXTS.items():
        _set(shown, key, reading.text(name)[:200])
    for name, (key, count) in _NUMBERS.items():
        _set(shown, key, _one_or_all(reading.numbers(name), count))
    _set(shown, "windows", _windows(reading.numbers, reading.texts("WindowCenterWidthExplanation"), shown))
    _padding(shown, found)
    frames = reading.numbers("NumberOfFrames")
    if frames and 1 < frames[0] <= MOST_FRAMES:
        shown["frames"] = int(frames[0])
    _set(shown, "regions", list(_regions(found)))
    _dose(shown, reading)
    _whole(shown, found, reading)
    if _OVERLAYS & found.values.keys() or reading.text("ShutterShape"):
        shown["over"] = True
    if shown.get("bits", 99) > 16:
        shown["lut"] = "deep"  # of which a browser gets steps only, without what they mean
    elif found.sequences.get(_MODALITY_LUT):
        shown["lut"] = "modality"
    elif found.sequences.get(_VOI_LUT) and "windows" not in shown:
        shown["lut"] = "voi"
    if found.sequences.get(_SHARED) or found.sequences.get(_PER_FRAME):
        _by_frame(shown, buffer, syntax)
    return shown


def _set(shown: Shown, key: str, value: Any) -> None:
    if value is not None and value not in ("", []):
        shown[key] = value


def _one_or_all(numbers: list[float], count: int) -> Any:
    if len(numbers) < count:
        return None
    return numbers[0] if count == 1 else numbers[:count]


class _Reading:
    """Texts and numbers of a scanned dataset, corrections laid over them."""

    def __init__(self, found: scan.Scan, changes: Mapping[int, Any], default_charset: str) -> None:
        self._found = found
        self._changes = changes
        self._default = default_charset
        self._charset = found.values.get(tag_of("SpecificCharacterSet"), b"").decode("ascii", "replace").strip("\0 ")

    def text(self, name: str) -> str:
        """The element's value; several are parted by backslashes."""
        tag = tag_of(name)
        if tag in self._changes:
            values = self._changes[tag]
            return "\\".join(str(value) for value in values) if isinstance(values, list) else ""
        raw = self._found.values.get(tag, b"")
        if raw.isascii():
            return raw.decode("ascii").replace("\0", "").strip()
        return charset.decode(raw, "LO", self._charset, self._default).replace("\0", "").strip()

    def texts(self, name: str) -> list[str]:
        """The element's values."""
        text = self.text(name)
        return [part.strip() for part in text.split("\\")] if text else []

    def numbers(self, name: str) -> list[float]:
        """The element's values; none when one of them is no number."""
        return _plain(self.texts(name))


def _plain(parts: list[str]) -> list[float]:
    numbers = [float(part) for part in parts if _NUMBER.fullmatch(part)]
    return [_short(number) for number in numbers] if len(numbers) == len(parts) and _finite(numbers) else []


def _finite(numbers: list[float]) -> bool:
    return all(map(math.isfinite, numbers))


def _short(number: float) -> float:
    """Whole numbers as such, others to nine digits: what a browser gets is small."""
    return int(number) if number.is_integer() and abs(number) < 1e15 else float(f"{number:.9g}")


def _windows(numbers: Callable[[str], list[float]], names: list[str], shown: Shown) -> list[list[Any]] | None:
    """Centre, width and name of each window that can be used (PS3.3 §C.11.2)."""
    centers, widths = numbers("WindowCenter"), numbers("WindowWidth")
    found = [
        [center, width, names[index][:64] if index < len(names) else ""]
        for index, (center, width) in enumerate(zip(centers, widths, strict=False))
        if width >= 1 or (width > 0 and shown.get("function") in ("LINEAR_EXACT", "SIGMOID"))
    ]
    return found[:8] or None


def _dose(shown: Shown, reading: _Reading) -> None:
    """What the values of a dose are worth (PS3.3 §C.8.8.3)."""
    scaling = reading.numbers("DoseGridScaling")
    if scaling and scaling[0] and "slope" not in shown:
        shown["slope"] = scaling[0]
        shown["unit"] = "Gy" if reading.text("DoseUnits") == "GY" else "%"


def _whole(shown: Shown, found: scan.Scan, reading: _Reading) -> None:
    """The range of values that are shown as they are meant, where no window is offered (as `pixels.told` does)."""
    units = (shown.get("slope", 1) or 1, shown.get("intercept", 0))
    if shown.get("allocated") == 1:
        shown.pop("windows", None)
        shown["range"] = [0, 1]
    elif reading.text("SegmentationType") == "FRACTIONAL":
        shown.pop("windows", None)
        shown["range"] = [0, found.unsigned(tag_of("MaximumFractionalValue")) or 255]
    elif "windows" not in shown and shown.get("bits", 16) <= 8 and not shown.get("signed") and units == (1, 0):
        shown["range"] = [0, (1 << shown["bits"]) - 1]


def _padding(shown: Shown, found: scan.Scan) -> None:
    """The values that stand for no picture (PS3.3 §C.7.5.1.1.2), from the lesser to the greater."""
    ends = []
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        number = found.unsigned(tag_of(name))
        if number is not None:
            ends.append(number - 0x10000 if shown.get("signed") == 1 and 0x7FFF < number <= 0xFFFF else number)
    if ends and found.unsigned(tag_of("PixelPaddingValue")) is not None:
        shown["padding"] = [min(ends), max(ends)]


def _regions(found: scan.Scan) -> Iterator[list[float]]:
    """Calibrated parts of an ultrasound image: left, top, right, bottom, mm of a pixel across and down (C.8.5.5)."""
    order = "<" if found.little_endian else ">"
    for item in found.sequences.get(_REGIONS, ())[:16]:
        values = {}
        for name, kind in _REGION_FIELDS.items():
            raw = item.get(tag_of(name), b"")
            if len(raw) == struct.calcsize(order + kind):
                values[name] = struct.unpack(order + kind, raw)[0]
        if len(values) < len(_REGION_FIELDS):
            continue
        two_dimensional = values["RegionSpatialFormat"] == 1
        units = (values["PhysicalUnitsXDirection"], values["PhysicalUnitsYDirection"])
        across, down = abs(values["PhysicalDeltaX"]) * 10, abs(values["PhysicalDeltaY"]) * 10
        if two_dimensional and units == (_CENTIMETRES, _CENTIMETRES) and _finite([across, down]) and across * down > 0:
            box = [values[f"RegionLocation{end}"] for end in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
            yield [*box, _short(across), _short(down)]


# What frames have of their own ----------------------------------------------------------------------


_GROUPS: Final = (
    ("PlanePositionSequence", "ImagePositionPatient", "position", 3),
    ("PlaneOrientationSequence", "ImageOrientationPatient", "orientation", 6),
    ("PixelMeasuresSequence", "PixelSpacing", "spacing", 2),
    ("PixelMeasuresSequence", "SliceThickness", "thick", 1),
    ("PixelValueTransformationSequence", "RescaleSlope", "slope", 1),
    ("PixelValueTransformationSequence", "RescaleIntercept", "intercept", 1),
)


_BROKEN: Final = (
    *(AttributeError, EOFError, KeyError, IndexError, NotImplementedError, OverflowError, RecursionError),
    *(TypeError, ValueError, struct.error, BytesLengthException, InvalidDicomError, UnicodeError),
)
"""What pydicom makes of broken groups."""


def _by_frame(shown: Shown, buffer: Buffer, syntax: TransferSyntax) -> None:
    """Lays what all frames share over the image, and lists what each has of its own."""
    if syntax.deflated:
        return  # nobody makes them so; the picture is shown without its place
    data = bytes(memoryview(buffer)[:_FRAMED_BYTES])
    try:
        dataset = read_dataset(
            io.BytesIO(data),
            is_implicit_VR=not syntax.explicit,
            is_little_endian=syntax.little_endian,
            stop_when=lambda tag, vr, length: tag > _PER_FRAME,
            specific_tags=[_SHARED, _PER_FRAME],
        )
        shared = dataset.get("SharedFunctionalGroupsSequence")
        if shared:
            shown.update(_of_groups(shared[0]))
        items = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])[:MOST_FRAMES]
        own = [_of_groups(item) for item in items]
    except _BROKEN:  # the picture is shown without what its frames say
        return
    common = {key: value for key, value in own[0].items() if all(one.get(key) == value for one in own)} if own else {}
    shown.update(common)
    rest = [{key: value for key, value in one.items() if key not in common} for one in own]
    if any(rest):
        shown["each"] = rest


def _of_groups(groups: Dataset) -> Shown:
    """What the functional groups of a frame, or of all, say."""
    shown: Shown = {}
    for sequence, name, key, count in _GROUPS:
        items = groups.get(sequence)
        if items:
            _set(shown, key, _one_or_all(_values(items[0], name), count))
    voi = groups.get("FrameVOILUTSequence")
    if voi:
        item = voi[0]
        told = item.get("WindowCenterWidthExplanation") or ""
        names = [told] if isinstance(told, str) else list(map(str, told))
        _set(shown, "function", str(item.get("VOILUTFunction") or ""))
        _set(shown, "windows", _windows(lambda name: _values(item, name), names, shown))
    return shown


def _values(item: Dataset, name: str) -> list[float]:
    value = item.get(name)
    if value is None or value == "":
        return []
    many = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    return _plain([str(one) for one in many])
