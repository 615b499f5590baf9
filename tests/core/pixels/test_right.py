"""Every readable file of the corpus is shown as other people's software shows it, to one step of 255 (two for colour
that was compressed with loss); what is not shown, is not for a reason that docs/use/pictures.md tells.

pydicom (with Pillow for JPEG and JPEG 2000) decodes and applies modality and window; DCMTK what pydicom cannot decode.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

from hozi.core.dicom import part10
from hozi.core.errors import Unreadable
from hozi.core.pixels import render, samples, told
from tests.corpus import Row, rows
from tests.peers import program

Array = NDArray[Any]
DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "use" / "pictures.md"

ELSEWHERE: Final = {
    # Neither of the two decodes these; what they are compared with instead.
    "HTJ2KLossless_08_RGB.dcm": "test_transcode: as the same image in another syntax",
    "HTJ2K_08_RGB.dcm": "test_transcode: as the same image in another syntax",
    "liver_deflate.dcm": "liver_j2k.dcm",
    "liver_nonbyte_aligned_deflate.dcm": "liver_nonbyte_aligned_rle.dcm",
    "liver_nonbyte_aligned_rle.dcm": "liver_nonbyte_aligned_deflate.dcm",
    "GDCMJ2K_TextGBR.dcm": "test_decode",
    # DCMTK takes its values for unsigned ones, against the dataset.
    "CTImage.dcm_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm": (
        "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm (lossy)"
    ),
}

pytestmark = [pytest.mark.dcmtk, pytest.mark.skipif(not rows(), reason="left out without the corpus")]


@cache
def shown(row: Row) -> tuple[samples.Image, int, samples.Samples] | str:
    """A file's middle frame, or why there is none."""
    with row.path.open("rb") as file:
        try:
            header = part10.read_header(file)
            with samples.opened(row.path, header.dataset_offset, header.transfer_syntax) as image:
                index = image.count // 2
                return image, index, image.frame(index)
        except Unreadable as error:
            return str(error)


def picture(row: Row, window: tuple[float, float, str] | None = None) -> Array:
    found = shown(row)
    assert not isinstance(found, str)
    image, index, frame = found
    return render.shown(image, index, frame, window).astype(int)


def by_pydicom(row: Row) -> Array:
    """Grey or colour from 0 to 255, as pydicom has it. Raises what pydicom raises."""
    found = shown(row)
    assert not isinstance(found, str)
    image, index, _ = found
    dataset = pydicom.dcmread(row.path, force=True)
    pixels = dataset.pixel_array if image.is_float else pixel_array(dataset, index=index)
    if image.layout.samples == 3:
        return np.asarray(pixels >> max(dataset.BitsStored - 8, 0)).astype(int)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(pixels, dataset)
        return (colours >> 8 if colours.dtype.itemsize > 1 else colours).astype(int)
    grey = _grey(pixels, _about(dataset, index), whole=image.layout.bits_allocated == 1)
    if dataset.get("PixelPresentation") == "COLOR" and "RedPaletteColorLookupTableDescriptor" in dataset:
        where = pixels >= dataset.RedPaletteColorLookupTableDescriptor[1]
        grey = np.repeat(grey[..., None], 3, axis=2)
        palette = Dataset()
        palette.update({element.tag: element for element in dataset if 0x00281100 <= element.tag < 0x00281300})
        grey[where] = apply_color_lut(pixels, palette)[where] >> 8
    return grey


def _about(dataset: Dataset, index: int) -> Dataset:
    """What counts for a frame, its functional groups among it."""
    about = Dataset()
    for element in dataset:
        if element.tag.group == 0x28 or element.keyword in ("PresentationLUTShape", "DoseGridScaling"):
            about[element.tag] = element
    groups = list(dataset.get("SharedFunctionalGroupsSequence", [])[:1])
    groups += dataset.get("PerFrameFunctionalGroupsSequence", [])[index : index + 1]
    for group in groups:
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(name, [])[:1]:
                about.update(item)
    if "SegmentationType" in dataset:
        about.MaximumFractionalValue = dataset.get("MaximumFractionalValue", 255)
        about.SegmentationType = dataset.SegmentationType
    return about


def _grey(pixels: Array, about: Dataset, *, whole: bool) -> Array:
    if whole:
        return pixels.astype(int) * 255
    if about.get("SegmentationType") == "FRACTIONAL":
        return np.asarray(np.rint(pixels / about.MaximumFractionalValue * 255)).astype(int)
    values = apply_modality_lut(pixels, about)
    if "DoseGridScaling" in about:
        values = values * float(about.DoseGridScaling)
    inverse = about.PhotometricInterpretation == "MONOCHROME1" and about.get("PresentationLUTShape") != "IDENTITY"
    padding = about.get("PixelPaddingValue")
    if "WindowWidth" in about and pixels.dtype.kind != "f":
        # Windows go before tables here; out of its ends pydicom makes the least and the greatest value of its range.
        ends = apply_voi_lut(np.array([[-1e9, 1e9]]), about, prefer_lut=False)
        grey = (apply_voi_lut(values, about, prefer_lut=False) - ends[0, 0]) / (ends[0, 1] - ends[0, 0])
    elif "WindowWidth" in about:
        grey = (values - (float(about.WindowCenter) - 0.5)) / max(float(about.WindowWidth) - 1, 1e-12) + 0.5
        if float(about.WindowWidth) <= 1:
            grey = (values > float(about.WindowCenter) - 0.5).astype(float)
    elif "VOILUTSequence" in about:
        bits = about.VOILUTSequence[0].LUTDescriptor[2]
        grey = apply_voi_lut(values, about) / ((1 << bits) - 1)
    elif about.BitsStored <= 8 and about.PixelRepresentation == 0 and np.array_equal(values, pixels):
        grey = pixels / ((1 << about.BitsStored) - 1)
    else:
        grey = _stretched(values, pixels, padding)
    grey = np.clip(grey, 0, 1)
    grey = np.rint((1 - grey if inverse else grey) * 255).astype(int)
    if padding is not None and pixels.dtype.kind != "f":
        grey[pixels == padding] = 0
    return np.asarray(grey)


def _stretched(values: Array, pixels: Array, padding: int | None) -> Array:
    seen = np.sort(values[pixels != padding].reshape(-1)).astype(float)
    low, high = (seen[min(int(np.ceil(len(seen) * part)) - 1, len(seen) - 1)] for part in (0.005, 0.995))
    if high <= low:
        low, high = seen[0], seen[-1]
    return (
        np.where(values < low, 0.0, np.where(values > low, 1.0, 0.5)) if high <= low else (values - low) / (high - low)
    )


def by_dcmtk(row: Row, window: tuple[float, float, str] | None) -> Array:
    """The same as DCMTK has it. Raises ValueError when it cannot."""
    found = shown(row)
    assert not isinstance(found, str)
    tool = "dcml2pnm" if ".4.8" in row.transfer_syntax else "dcmj2pnm"
    ask = [Path(program("dcmdump")).with_name(tool), "+op", "+F", str(found[1] + 1)]
    if window is not None:
        ask += ["+Ww", str(window[0]), str(window[1]), *(["+Wfs"] if window[2] == "SIGMOID" else [])]
    out = subprocess.run([*ask, row.path], capture_output=True, check=False).stdout
    if not out and found[0].head.encapsulated:
        # It wants an offset table where a frame has several fragments.
        dataset = pydicom.dcmread(row.path, force=True)
        streams = list(generate_frames(dataset.PixelData, number_of_frames=found[0].count))
        dataset.PixelData = encapsulate(streams)
        with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
            dataset.save_as(file)
            file.flush()
            out = subprocess.run([*ask, file.name], capture_output=True, check=False).stdout
    head = re.match(rb"P([56])\s(?:#[^\n]*\n)?(\d+)\s(\d+)\s255\s", out)
    if not head:
        raise ValueError("DCMTK does not show this")
    kind, width, height = (int(number) for number in head.groups())
    shape = (height, width, 3)[: 2 if kind == 5 else 3]
    return np.frombuffer(out, np.uint8, offset=head.end()).reshape(shape).astype(int)


def difference(row: Row) -> str:
    """How far a file is from what others make of it, in words; empty where it is near enough."""
    found = shown(row)
    if isinstance(found, str):
        return ""
    image, index, frame = found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs, ours = by_pydicom(row), picture(row)
    except (RuntimeError, NotImplementedError, AttributeError):
        window = None
        if image.layout.samples == 1 and image.layout.bits_stored > 8:
            numbers = told.modality(image.head, image.layout, index)
            assert isinstance(numbers, tuple)
            values = samples.stored(frame.pixels, image.layout).astype(float) * numbers[0] + numbers[1]
            window = next(iter(told.windows(image.head, index)), None) or (values.mean(), np.ptp(values), "LINEAR")
        try:
            theirs, ours = by_dcmtk(row, window), picture(row, window)
            if ours.ndim > theirs.ndim:  # it does not know supplemental palettes
                ours = told.grey(image, index, frame.photometric, window).shown(frame.pixels, image.layout).astype(int)
        except ValueError:
            return "nobody else shows it"
    if theirs.ndim == 3 and ours.ndim == 2:
        theirs = theirs[..., 0]
    most = 2 if image.layout.samples == 3 and image.syntax.lossy is not False else 1
    furthest = int(np.abs(theirs - ours).max()) if theirs.shape == ours.shape else 999
    return "" if furthest <= most else f"differs by {furthest}"


def test_every_file_is_shown_as_others_show_it() -> None:
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip((row.path.name for row in rows()), pool.map(difference, rows()), strict=True))
    wrong = {name: how for name, how in found.items() if how and name not in ELSEWHERE}
    assert not wrong
    assert sum(not isinstance(shown(row), str) for row in rows()) > 235
    assert {name for name in ELSEWHERE if not found[name]} == set(), "these can be compared now"


def test_what_nobody_else_shows_is_as_the_same_image_in_another_syntax() -> None:
    named: dict[str, Row] = {row.path.name: row for row in rows()}
    for name, other in ELSEWHERE.items():
        same, _, lossy = other.partition(" (")
        if not same.endswith(".dcm"):
            continue
        furthest = np.abs(picture(named[name]) - picture(named[same])).max()
        assert furthest <= (40 if lossy else 0), (name, furthest)


def test_what_is_not_shown_is_told_with_its_reason() -> None:
    reasons: dict[str, list[str]] = {}
    for row in rows():
        found = shown(row)
        if isinstance(found, str):
            reasons.setdefault(found, []).append(row.path.name)
    document = DOCUMENT.read_text(encoding="utf-8")
    told_there = set(re.findall(r"^\| \*(.+?)\* \|", document, re.MULTILINE))
    assert set(reasons) <= told_there, sorted(set(reasons) - told_there)
