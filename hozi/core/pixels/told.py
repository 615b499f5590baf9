"""What a dataset says about how a frame of it is to be shown: for the whole, for all frames, or for one of them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hozi.core.dicom.keys import tag_of
from hozi.core.pixels import samples, tables
from hozi.core.pixels.decode import Layout
from hozi.core.pixels.grey import FUNCTIONS, Grey, Window
from hozi.core.pixels.samples import Image
from hozi.core.pixels.tables import Lut
from hozi.core.pixels.tree import Tree

Array = NDArray[Any]

_CENTER: Final = tag_of("WindowCenter")
_WIDTH: Final = tag_of("WindowWidth")
_FUNCTION: Final = tag_of("VOILUTFunction")
_SLOPE: Final = tag_of("RescaleSlope")
_INTERCEPT: Final = tag_of("RescaleIntercept")
_PADDING: Final = tag_of("PixelPaddingValue")
_PADDING_LIMIT: Final = tag_of("PixelPaddingRangeLimit")
_SHAPE: Final = tag_of("PresentationLUTShape")
_ASPECT: Final = tag_of("PixelAspectRatio")
_SPACINGS: Final = (tag_of("PixelSpacing"), tag_of("ImagerPixelSpacing"), tag_of("NominalScannedPixelSpacing"))
_MODALITY_LUT: Final = tag_of("ModalityLUTSequence")
_VOI_LUT: Final = tag_of("VOILUTSequence")
_SHARED: Final = tag_of("SharedFunctionalGroupsSequence")
_PER_FRAME: Final = tag_of("PerFrameFunctionalGroupsSequence")
_TRANSFORMATION: Final = tag_of("PixelValueTransformationSequence")
_FRAME_VOI: Final = tag_of("FrameVOILUTSequence")
_PIXEL_PRESENTATION: Final = tag_of("PixelPresentation")
_FRAME_TYPES: Final = (tag_of("CTImageFrameTypeSequence"), tag_of("MRImageFrameTypeSequence"))
_MEASURES: Final = tag_of("PixelMeasuresSequence")
_DOSE_SCALING: Final = tag_of("DoseGridScaling")
_SEGMENTATION: Final = tag_of("SegmentationType")
_MAXIMUM_FRACTION: Final = tag_of("MaximumFractionalValue")


def group(head: Tree, index: int, macro: int) -> Tree | None:
    """The item of a functional group macro that counts for a frame: its own, else that of all (PS3.3 §C.7.6.16)."""
    frames = head.items.get(_PER_FRAME, [])
    if index < len(frames) and (own := frames[index].first(macro)) is not None:
        return own
    shared = head.first(_SHARED)
    return shared.first(macro) if shared is not None else None


def windows(head: Tree, index: int) -> list[Window]:
    """The windows that the dataset offers for a frame (counted from 0), in its order."""
    about = group(head, index, _FRAME_VOI) or head
    centers, widths = about.decimals(_CENTER), about.decimals(_WIDTH)
    function = about.text(_FUNCTION)
    function = function if function in FUNCTIONS else FUNCTIONS[0]
    return [
        (c, w, function)
        for c, w in zip(centers, widths, strict=False)
        if w >= 1 or (w > 0 and function != FUNCTIONS[0])
    ]


def modality(head: Tree, layout: Layout, index: int) -> tuple[float, float] | Lut:
    """Slope and intercept, or the table, that make numbers with a meaning of stored values."""
    about = group(head, index, _TRANSFORMATION)
    if about is None:
        lut = tables.lut(head.first(_MODALITY_LUT), signed=layout.signed)
        if lut is not None:
            return lut
        about = head
    slope, intercept = (about.decimals(tag)[:1] for tag in (_SLOPE, _INTERCEPT))
    if not slope and about is head and (dose := head.decimals(_DOSE_SCALING)):
        return dose[0] or 1.0, 0.0
    return (slope[0] if slope and slope[0] else 1.0), (intercept[0] if intercept else 0.0)


def padding(head: Tree, layout: Layout) -> tuple[int, int] | None:
    """The range of stored values that are no image (PS3.3 §C.7.5.1.1.2)."""
    first = _signed(head, _PADDING, layout)
    if first is None:
        return None
    last = _signed(head, _PADDING_LIMIT, layout)
    return first, first if last is None else last


def grey(image: Image, index: int, photometric: str, window: Window | None = None) -> Grey:
    """How a grey frame is to be shown, with another window than its own if one is given."""
    head, layout = image.head, image.layout
    if layout.bits_allocated == 1:
        return Grey(range=(0.0, 1.0), voi=window, inverse=photometric == "MONOCHROME1")
    if head.text(_SEGMENTATION) == "FRACTIONAL":
        return Grey(range=(0.0, float(head.number(_MAXIMUM_FRACTION) or 255)), voi=window)
    shape = head.text(_SHAPE)
    units = modality(head, layout, index)
    voi: Window | Lut | None = window
    if voi is None:
        offered = windows(head, index)
        voi = offered[0] if offered else tables.lut(head.first(_VOI_LUT), signed=_signed_output(units, layout))
    whole = None
    if voi is None and layout.bits_stored <= 8 and not layout.signed and not image.is_float and units == (1.0, 0.0):
        whole = (0.0, float((1 << layout.bits_stored) - 1))  # values that somebody meant to be seen as they are
    return Grey(
        modality=units,
        voi=voi,
        range=whole,
        inverse=shape == "INVERSE" or (photometric == "MONOCHROME1" and shape != "IDENTITY"),
        padding=None if image.is_float else padding(head, layout),
    )


def coloured(image: Image, index: int, pixels: Array, grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The grey picture, in colour where a supplemental palette says so: from its first value on (PS3.3 §C.7.6.19)."""
    head = image.head
    if head.text(_PIXEL_PRESENTATION) not in ("COLOR", "MIXED") or not tables.has_palette(head) or image.is_float:
        return grey
    kinds = [item for macro in _FRAME_TYPES if (item := group(head, index, macro)) is not None]
    if any(item.text(_PIXEL_PRESENTATION) == "MONOCHROME" for item in kinds):
        return grey
    first, colours = tables.palette(head, signed=image.layout.signed)
    stored = samples.stored(pixels, image.layout)
    picture = np.repeat(grey[..., None], 3, axis=2)
    there = stored >= first
    picture[there] = colours[np.minimum(stored[there].astype(np.int64) - first, len(colours) - 1)]
    return picture


def aspect(head: Tree, index: int = 0) -> float:
    """How much taller than wide a pixel is (vertical by horizontal: PS3.3 §C.7.6.3.1.7)."""
    measures = group(head, index, _MEASURES)
    for about, tag in ((head, _ASPECT), *((measures or head, spacing) for spacing in _SPACINGS)):
        pair = about.decimals(tag)
        if len(pair) >= 2 and min(pair[:2]) > 0 and 0.1 <= pair[0] / pair[1] <= 10:
            return pair[0] / pair[1]
    return 1.0


def _signed_output(units: tuple[float, float] | Lut, layout: Layout) -> bool:
    """Whether what a VOI table is for can be negative: then its first value is to be read so (PS3.3 §C.11.2.1.1)."""
    return layout.signed if isinstance(units, Lut) or units == (1.0, 0.0) else layout.signed or units[1] < 0


def _signed(head: Tree, tag: int, layout: Layout) -> int | None:
    number = head.number(tag)
    if number is not None and layout.signed and number > 0x7FFF and len(head.values[tag]) == 2:
        number -= 0x10000
    return number
