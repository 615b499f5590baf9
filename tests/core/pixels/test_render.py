"""Pictures have the values that the standard says: windows, colours, overlays, shutters, presentation states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hozi.core.errors import Unreadable
from hozi.core.pixels.decode import Layout
from hozi.core.pixels.grey import Grey
from hozi.core.pixels.render import Stored, Wish, picture
from tests.core.pixels.test_draw import RAMP, grey
from tests.doors.dimse.images import EXPLICIT, encoded, image

Array = NDArray[Any]
STATE = "1.2.840.10008.5.1.4.1.1.11.1"


@pytest.fixture
def show(tmp_path: Path) -> Any:
    """What a dataset looks like."""

    def stored(dataset: Dataset, name: str) -> Stored:
        path = tmp_path / name
        path.write_bytes(encoded(dataset))
        return Stored(path, 0, EXPLICIT)

    def shown(dataset: Dataset, state: Dataset | None = None, **wish: Any) -> Array:
        told = stored(state, "state") if state is not None else None
        data = picture(stored(dataset, "image"), Wish(**{"kind": "png", **wish}), told)
        decode = imagecodecs.gif_decode if data.startswith(b"GIF") else imagecodecs.png_decode
        return np.asarray(decode(data)).astype(int)

    return shown


def items(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def plain(value: int = 0, **more: Any) -> Dataset:
    """64 pixels of one grey, as they are."""
    return image(**{"PixelData": bytes([value]) * 64, **more})


# Grey values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR", lambda x: (x - (1000 - 0.5)) / (501 - 1) + 0.5),
        ("LINEAR_EXACT", lambda x: (x - 1000) / 501 + 0.5),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 1000) / 501))),
    ],
)
def test_windows_are_as_the_standard_defines_them(function: str, expected: Any, show: Any) -> None:
    told = {"WindowCenter": "1000", "WindowWidth": "501", "VOILUTFunction": function}
    wanted = np.rint(np.clip(expected(RAMP.astype(float) * 2 - 1024), 0, 1) * 255)
    assert np.array_equal(show(grey(**told, RescaleSlope="2", RescaleIntercept="-1024")), wanted)
    other = show(grey(RescaleSlope="2", RescaleIntercept="-1024"), window=(1000, 501, function))
    assert np.array_equal(other, wanted)


def test_the_first_of_several_windows_counts_and_a_table_where_there_is_none(show: Any) -> None:
    first = show(grey(WindowCenter=["100", "2000"], WindowWidth=["50", "4000"]))
    assert np.array_equal(first, show(grey(), window=(100, 50, "LINEAR")))
    table = items(LUTDescriptor=[4096, 0, 12], LUTData=np.arange(4095, -1, -1, dtype=np.uint16).tobytes())
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    assert np.array_equal(show(grey(VOILUTSequence=[table])), np.rint((4095 - RAMP) / 4095 * 255))


def test_a_modality_table_comes_before_the_window(show: Any) -> None:
    table = items(LUTDescriptor=[4096, 0, 16], LUTData=(np.arange(4096, dtype=np.uint16) * 16).tobytes())
    table["LUTDescriptor"].VR, table["LUTData"].VR, table.ModalityLUTType = "US", "OW", "US"
    shown = show(grey(ModalityLUTSequence=[table], WindowCenter="32768", WindowWidth="65536"))
    assert np.abs(shown - RAMP * 16 / 65535 * 255).max() <= 1


def test_eight_bits_without_a_window_are_shown_as_they_are(show: Any) -> None:
    assert np.array_equal(show(image()), np.arange(64).reshape(8, 8))
    inverse = show(image(PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(inverse, 255 - np.arange(64).reshape(8, 8))
    assert np.array_equal(show(image(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")), inverse)


def test_twelve_bits_without_a_window_show_nearly_all_that_there_is(show: Any) -> None:
    wide = RAMP.copy()
    wide[0, :5] = 4095
    low, high = np.percentile(wide, (0.5, 99.5))
    assert np.abs(show(grey(wide)) - np.clip((wide - low) / (high - low), 0, 1) * 255).max() <= 4


def test_padding_is_black_and_a_range_of_it_too(show: Any) -> None:
    padded = RAMP.copy()
    padded[:8], padded[8:16] = 4000, 4001
    told = {"WindowCenter": "2000", "WindowWidth": "4001", "PhotometricInterpretation": "MONOCHROME1"}
    one = show(grey(padded, **told, PixelPaddingValue=4001))
    assert (one[8:16] == 0).all() and (one[20, :3] > 240).all()
    both = show(grey(padded, **told, PixelPaddingValue=4001, PixelPaddingRangeLimit=4000))
    assert (both[:16] == 0).all()


def test_each_frame_has_its_own_window_and_rescaling(show: Any) -> None:
    frames = []
    for slope, center in ((1, 100), (10, 300)):
        frames.append(
            items(
                PixelValueTransformationSequence=[
                    items(RescaleSlope=str(slope), RescaleIntercept="0", RescaleType="US")
                ],
                FrameVOILUTSequence=[items(WindowCenter=str(center), WindowWidth="201")],
            )
        )
    both = image(NumberOfFrames=2, PixelData=bytes(range(64)) * 2, PerFrameFunctionalGroupsSequence=frames)
    values = np.arange(64).reshape(8, 8)
    for frame, (slope, center) in enumerate(((1, 100), (10, 300)), 1):
        wanted = np.clip((values * slope - (center - 0.5)) / 200 + 0.5, 0, 1) * 255
        assert np.array_equal(show(both, frame=frame), np.rint(wanted))
    with pytest.raises(Unreadable, match="2 frames"):
        show(both, frame=3)


def test_fractions_and_long_numbers_are_shown_between_their_ends(show: Any) -> None:
    dose = np.linspace(0, 4e9, 64, dtype=np.uint32)
    told = {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "DoseGridScaling": "1e-9"}
    shown = show(image(**told, PixelData=dose.tobytes()))
    assert shown[0, 0] == 0 and shown[-1, -1] == 255 and (np.diff(shown.reshape(-1)) >= 0).all()
    window = show(image(**told, PixelData=dose.tobytes()), window=(2, 2, "LINEAR_EXACT"))
    assert np.abs(window.reshape(-1) - np.clip(dose * 1e-9 / 2 - 0.5 + 0.0, 0, 1) * 255).max() <= 1


def test_a_fractional_segmentation_is_grey_by_its_share_and_a_binary_one_black_and_white(show: Any) -> None:
    shares = show(image(SegmentationType="FRACTIONAL", MaximumFractionalValue=63))
    assert np.array_equal(shares, np.rint(np.arange(64).reshape(8, 8) / 63 * 255))
    bits = show(image(BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=b"\x0f\xf0" * 4))
    assert np.array_equal(bits[:2], [[255] * 4 + [0] * 4, [0] * 4 + [255] * 4])


# Colours ----------------------------------------------------------------------------------------------


def test_colours_of_every_notation_are_the_same(show: Any) -> None:
    rgb = np.array([200, 100, 50])
    module = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
    luminance = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    blue, red = (50 - luminance) * 0.564 + 128, (200 - luminance) * 0.713 + 128
    full = np.rint([luminance, blue, red])
    partial = np.rint([luminance * 219 / 255 + 16, (blue - 128) * 224 / 255 + 128, (red - 128) * 224 / 255 + 128])
    pixels = {
        "RGB": rgb,
        "YBR_FULL": full,
        "YBR_PARTIAL_422": np.array([partial[0], partial[0], partial[1], partial[2]]),
        "YBR_FULL_422": np.array([full[0], full[0], full[1], full[2]]),
    }
    for notation, values in pixels.items():
        data = np.tile(values, 64 * 3 // len(values) if len(values) == 3 else 32).astype(np.uint8).tobytes()
        shown = show(image(**module, PhotometricInterpretation=notation, PixelData=data))
        assert np.abs(shown - rgb).max() <= 2, notation


def test_segmented_palettes_are_written_out(show: Any) -> None:
    told = {"PhotometricInterpretation": "PALETTE COLOR"}
    # 32 entries from 0 to 31 * 2048 in a line, then the same 32 times its last value (PS3.3 §C.7.9.2).
    segments = np.array([0, 1, 0, 1, 31, 31 * 2048, 0, 2, 65535, 65535, 1, 30, 65535], np.uint16).tobytes()
    for colour in ("Red", "Green", "Blue"):
        told[f"{colour}PaletteColorLookupTableDescriptor"] = [64, 0, 16]  # type: ignore[assignment]
        told[f"Segmented{colour}PaletteColorLookupTableData"] = segments  # type: ignore[assignment]
    dataset = image(**told)
    shown = show(dataset)[..., 0].reshape(-1)
    assert np.array_equal(shown[:32], np.arange(32) * 8) and (shown[32:] == 255).all()


def test_a_supplemental_palette_colours_the_values_from_its_first_one_on(show: Any) -> None:
    told: dict[str, Any] = {"PixelPresentation": "COLOR"}
    for place, colour in enumerate(("Red", "Green", "Blue")):
        told[f"{colour}PaletteColorLookupTableDescriptor"] = [2, 60, 16]
        told[f"{colour}PaletteColorLookupTableData"] = np.array([10 + place, 200 + place], "<u2").tobytes()
        told[f"{colour}PaletteColorLookupTableData"] = (np.array([10 + place, 200 + place], "<u2") * 256).tobytes()
    shown = show(image(**told)).reshape(-1, 3)
    assert np.array_equal(shown[:60], np.arange(60)[:, None].repeat(3, axis=1))
    assert shown[60:].tolist() == [[10, 11, 12], [200, 201, 202], [200, 201, 202], [200, 201, 202]]


# What lies over it ------------------------------------------------------------------------------------


def test_overlays_are_white_and_can_be_left_out(show: Any) -> None:
    dataset = plain()
    for tag, vr, value in (
        (0x60000010, "US", 2),
        (0x60000011, "US", 3),
        (0x60000040, "CS", "G"),
        (0x60000050, "SS", [4, 8]),
        (0x60000100, "US", 1),
        (0x60000102, "US", 0),
        (0x60003000, "OB", b"\x3f\0"),
    ):
        dataset.add_new(tag, vr, value)
    shown = show(dataset)
    assert np.argwhere(shown == 255).tolist() == [[3, 7], [4, 7]] and shown.sum() == 510
    assert not show(dataset, overlays=False).any()


def test_overlays_in_the_bits_above_the_pixels_are_seen(show: Any) -> None:
    values = RAMP.copy() & 0x0FFF
    values[5, 6] |= 0x1000
    dataset = grey(values, WindowCenter="4095", WindowWidth="8190")
    for tag, vr, value in (
        (0x60000010, "US", 64),
        (0x60000011, "US", 64),
        (0x60000040, "CS", "G"),
        (0x60000050, "SS", [1, 1]),
        (0x60000100, "US", 16),
        (0x60000102, "US", 12),
    ):
        dataset.add_new(tag, vr, value)
    shown = show(dataset)
    assert np.argwhere(shown == 255).tolist() == [[5, 6]]


def test_shutters_cover_what_lies_outside(show: Any) -> None:
    rectangle = {
        "ShutterLeftVerticalEdge": "2",
        "ShutterRightVerticalEdge": "7",
        "ShutterUpperHorizontalEdge": "1",
        "ShutterLowerHorizontalEdge": "5",
    }
    shown = show(plain(200, ShutterShape="RECTANGULAR", **rectangle))
    wanted = np.zeros((8, 8))
    wanted[1:4, 2:6] = 200
    assert np.array_equal(shown, wanted)
    circle = show(plain(200, ShutterShape="CIRCULAR", CenterOfCircularShutter=["4", "5"], RadiusOfCircularShutter="2"))
    assert circle[3, 2] == circle[3, 6] == circle[1, 4] == 200 and circle[3, 1] == circle[1, 3] == 0
    corners = ["1", "1", "1", "8", "8", "1"]
    triangle = show(plain(200, ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=corners))
    assert triangle[1, 1] == 200 and triangle[6, 6] == 0


# Presentation states ----------------------------------------------------------------------------------


def state(dataset: Dataset, **more: Any) -> Dataset:
    about = items(ReferencedSOPClassUID=dataset.SOPClassUID, ReferencedSOPInstanceUID=dataset.SOPInstanceUID)
    series = items(SeriesInstanceUID=dataset.SeriesInstanceUID, ReferencedImageSequence=[about])
    return items(
        SOPClassUID=STATE,
        SOPInstanceUID="1.2.3",
        ReferencedSeriesSequence=[series],
        PresentationLUTShape="IDENTITY",
        **more,
    )


def test_a_state_brings_its_own_window_instead_of_the_images(show: Any) -> None:
    dataset = grey(WindowCenter="1", WindowWidth="2", RescaleSlope="2", RescaleIntercept="7")
    window = items(WindowCenter="1000", WindowWidth="500")
    shown = show(dataset, state(dataset, SoftcopyVOILUTSequence=[window]))
    assert np.array_equal(shown, np.rint(np.clip((RAMP - 999.5) / 499 + 0.5, 0, 1) * 255))
    dark = state(dataset, SoftcopyVOILUTSequence=[window])
    dark.PresentationLUTShape = "INVERSE"
    assert np.array_equal(show(dataset, dark), 255 - shown)
    without = show(dataset, state(dataset))
    assert np.array_equal(without, np.rint(RAMP / 4095 * 255))


def test_a_state_turns_flips_and_cuts(show: Any) -> None:
    dataset = image()
    values = np.arange(64).reshape(8, 8)
    turned = state(dataset, ImageRotation=90, ImageHorizontalFlip="N")
    assert np.array_equal(show(dataset, turned), np.rot90(values, -1))
    flipped = state(dataset, ImageRotation=90, ImageHorizontalFlip="Y")
    assert np.array_equal(show(dataset, flipped), np.rot90(values, -1)[:, ::-1])
    area = items(DisplayedAreaTopLeftHandCorner=[2, 3], DisplayedAreaBottomRightHandCorner=[9, 4])
    cut = show(dataset, state(dataset, DisplayedAreaSelectionSequence=[area]))
    assert np.array_equal(cut, np.pad(values[2:4, 1:], ((0, 0), (0, 1))))


def test_a_state_draws_figures_and_overlays_of_its_own(show: Any) -> None:
    dataset = plain()
    line = items(
        GraphicAnnotationUnits="PIXEL",
        GraphicDimensions=2,
        NumberOfGraphicPoints=2,
        GraphicData=[1.5, 2.5, 5.5, 2.5],
        GraphicType="POLYLINE",
        GraphicFilled="N",
    )
    square = items(
        GraphicAnnotationUnits="DISPLAY",
        GraphicDimensions=2,
        NumberOfGraphicPoints=2,
        GraphicData=[0.9, 0.9],
        GraphicType="POINT",
    )
    drawn = state(dataset, GraphicAnnotationSequence=[items(GraphicLayer="A", GraphicObjectSequence=[line, square])])
    shown = show(dataset, drawn)
    assert (shown[2, 1:6] == 255).all() and shown[2, 0] == shown[2, 6] == 0
    assert shown[7, 7] == 255


def test_a_state_about_another_image_is_refused(show: Any) -> None:
    with pytest.raises(Unreadable, match="not about"):
        show(plain(), state(plain(1)))


# Sizes and loops --------------------------------------------------------------------------------------


def test_parts_and_sizes(show: Any) -> None:
    values = np.arange(64).reshape(8, 8)
    assert np.array_equal(show(image(), region=(2, 1, 3, 4)), values[1:5, 2:5])
    assert np.array_equal(show(image(), region=(2, 1, -3, 4)), values[1:5, 2:5][:, ::-1])
    assert np.abs(show(image(), width=4) - values.reshape(4, 2, 4, 2).mean(axis=(1, 3))).max() <= 0.5
    assert show(image(), width=100).shape == (8, 8)
    assert show(image(), width=100, enlarge=True).shape == (100, 100)
    tall = show(image(PixelSpacing=["1", "0.5"]))
    assert tall.shape == (16, 8)
    with pytest.raises(Unreadable, match="beside"):
        show(image(), region=(100, 0, 5, 5))


def test_a_loop_has_all_frames_at_their_own_speed(show: Any, tmp_path: Path) -> None:
    loop = image(NumberOfFrames=3, PixelData=bytes([0]) * 64 + bytes([100]) * 64 + bytes([255]) * 64, FrameTime="40")
    shown = show(loop, kind="gif", frame=0)
    assert [int(frame.mean()) for frame in shown] == [0, 100, 255]
    data = picture(Stored(tmp_path / "image", 0, EXPLICIT), Wish(kind="gif", frame=0))
    assert data.count(b"\x21\xf9\x04\x04\x04\x00\x00\x00") == 3 and b"NETSCAPE2.0" in data


def test_the_quick_way_to_a_table_gives_the_same_as_the_standards_formula() -> None:
    chance = np.random.default_rng(3)
    for number in range(200):
        bits, signed = int(chance.choice((8, 12, 16))), bool(number % 2)
        slope, intercept = float(chance.choice((1, 0.5, 2.37, -1))), float(chance.choice((0, -1024, 3.3)))
        center, width = float(chance.normal(0, 3000)), float(abs(chance.normal(0, 3000)) + 1)
        function = str(chance.choice(("LINEAR", "LINEAR_EXACT")))
        grey_ = Grey((slope, intercept), (center, width, function), inverse=number % 3 == 0)
        raw = np.arange(1 << bits) - (1 << bits - 1 if signed else 0)
        values = raw * slope + intercept
        less = 1 if function == "LINEAR" else 0
        shown = np.rint(np.clip((values - (center - less / 2)) / max(width - less, 1e-9) + 0.5, 0, 1) * 255)
        pixels = raw.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}").reshape(1, -1)
        found = grey_.shown(
            pixels, Layout(1, 1 << bits, bits_allocated=8 if bits == 8 else 16, bits_stored=bits, signed=signed)
        )
        wanted = 255 - shown if grey_.inverse else shown
        assert np.abs(found[0].astype(int) - wanted).max() <= (1 if grey_.inverse else 0), (number, bits, signed)
