"""Single frames: a damaged one is an error and never half a picture, the others are what was encoded."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames

from hozi.core.errors import Unreadable
from hozi.core.pixels import decode
from hozi.core.pixels.decode import Layout
from tests.corpus import CORPUS, rows

UID = "1.2.840.10008.1.2."
BASELINE, LOSSLESS = f"{UID}4.50", f"{UID}4.70"
JPEG_LS, J2K, HTJ2K, JPEG_XL, RLE = f"{UID}4.80", f"{UID}4.90", f"{UID}4.201", f"{UID}4.110", f"{UID}5"

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    pytest.mark.skipif(not rows(), reason="needs the corpus"),
]


def first_frame(path: Path) -> tuple[bytes, Layout]:
    dataset = dcmread(path)
    frames = int(dataset.get("NumberOfFrames") or 1)
    layout = Layout(
        *(dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, 1, dataset.BitsAllocated, dataset.BitsStored),
        signed=dataset.PixelRepresentation == 1,
        photometric=dataset.PhotometricInterpretation,
    )
    return next(generate_frames(dataset.PixelData, number_of_frames=frames)), layout


SYNTAXES = [*(f"4.{one}" for one in (50, 51, 53, 55, 57, 70, 80, 81, 90, 91, 201, 203)), "5", "8.1"]


def one_of_each() -> list[Path]:
    """A sound file of every compressed transfer syntax that the corpus has."""
    paths = {row.transfer_syntax: row.path for row in rows() if row.readable == "yes" and not row.note}
    return [paths[UID + syntax] for syntax in SYNTAXES] if paths else []


@pytest.mark.parametrize("path", one_of_each(), ids=lambda path: path.name[-40:])
def test_a_frame_that_is_cut_short_is_an_error_and_not_half_a_picture(path: Path) -> None:
    stream, layout = first_frame(path)
    uid = dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    assert decode.decode(uid, stream, layout).shape[:2] == (layout.rows, layout.columns)
    for size in (0, 1, 10, len(stream) // 4, len(stream) // 2, len(stream) * 9 // 10):
        with pytest.raises(Unreadable):
            decode.decode(uid, stream[:size], layout)


@pytest.mark.parametrize("path", one_of_each(), ids=lambda path: path.name[-40:])
def test_a_frame_of_another_size_than_the_dataset_says_is_an_error(path: Path) -> None:
    stream, layout = first_frame(path)
    uid = dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    larger = Layout(layout.rows + 8, layout.columns, layout.samples, 1, layout.bits_allocated, layout.bits_stored)
    with pytest.raises(Unreadable):
        decode.decode(uid, stream, larger)


@pytest.mark.parametrize(
    ("count", "offsets"),
    [(1, (0xFFFFFFF0,)), (2, (64, 0x7FFFFFFF)), (2, (66, 64)), (1, (0,)), (0, ()), (15, (64,) * 15)],
)
def test_an_rle_header_that_points_elsewhere_is_an_error(count: int, offsets: tuple[int, ...]) -> None:
    header = struct.pack("<16I", count, *offsets, *[0] * (15 - len(offsets)))
    with pytest.raises(Unreadable):
        decode.decode(RLE, header + b"\x81\0" * 4, Layout(4, 4, bits_allocated=16 if count == 2 else 8))


def picture(bits: int, *, signed: bool = False, colour: bool = False) -> np.ndarray:
    rng = np.random.default_rng(bits)
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    kind = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    return rng.integers(low, high, (37, 41, 3) if colour else (37, 41)).astype(kind)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_htj2k_of_an_independent_encoder_comes_out_bit_by_bit(bits: int, signed: bool, colour: bool) -> None:
    pixels = picture(bits, signed=signed, colour=colour)
    stream = imagecodecs.htj2k_encode(pixels)  # OpenJPH; Hozi decodes with OpenJPEG
    layout = Layout(37, 41, 3 if colour else 1, 1, 8 if bits == 8 else 16, bits, signed)
    assert np.array_equal(decode.decode(HTJ2K, stream, layout), pixels)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_xl_comes_out_bit_by_bit(bits: int, colour: bool) -> None:
    pixels = picture(bits, colour=colour)
    stream = imagecodecs.jpegxl_encode(pixels, lossless=True)
    layout = Layout(37, 41, 3 if colour else 1, 1, bits, bits, photometric="RGB" if colour else "MONOCHROME2")
    assert np.array_equal(decode.decode(JPEG_XL, stream, layout), pixels)
    assert decode.lossy(JPEG_XL, stream) is False


def test_an_unsigned_stream_of_signed_pixels_gets_its_sign_back() -> None:
    pixels = picture(13, signed=True)
    stream = imagecodecs.jpeg2k_encode((pixels & 0x1FFF).astype(np.uint16), level=0, bitspersample=13)
    layout = Layout(37, 41, 1, 1, 16, 13, signed=True)
    assert np.array_equal(decode.decode(J2K, stream, layout), pixels)


def test_colour_is_what_the_jpeg_stream_says_and_else_what_the_dataset_says() -> None:
    """A JFIF mark means luminance and chrominance, whatever the dataset says; without a mark the dataset counts."""
    jfif = CORPUS / "modalities" / "GoogleCloudPlatform__healthcare-dicom-dicomweb-adapter" / "example-mg.dcm"
    plain = CORPUS / "malformed" / "pydicom__pydicom" / "SC_rgb_jpeg.dcm"
    for path in (jfif, plain):  # both show nearly grey paper, and say RGB
        stream, layout = first_frame(path)
        assert layout.photometric == "RGB"
        frame = decode.decode(BASELINE, stream, layout).astype(int)
        assert abs(frame[..., 0] - frame[..., 1]).mean() < 4
        assert decode.photometric(BASELINE, stream, layout) == "RGB"


def test_lossless_colour_is_not_converted() -> None:
    pixels = picture(8, colour=True)
    layout = Layout(37, 41, 3, photometric="YBR_FULL")
    stream = imagecodecs.jpegls_encode(pixels)
    assert np.array_equal(decode.decode(JPEG_LS, stream, layout), pixels)
    assert decode.photometric(JPEG_LS, stream, layout) == "YBR_FULL"
    assert decode.photometric(RLE, b"", Layout(4, 4, 3, photometric="YBR_FULL_422")) == "YBR_FULL"
    assert decode.photometric(J2K, b"", Layout(4, 4, 3, photometric="YBR_RCT")) == "RGB"


def test_a_lossy_stream_in_a_lossless_transfer_syntax_is_found_out() -> None:
    stream, layout = first_frame(CORPUS / "modalities" / "dcmjs-org__dcmjs" / "sample-op.dcm")
    assert decode.decode(LOSSLESS, stream, layout).shape == (1536, 1536)
    assert decode.lossy(LOSSLESS, stream) is True


@pytest.mark.parametrize("uid", [f"{UID}4.102", f"{UID}4.52", f"{UID}4.66", f"{UID}4.94", f"{UID}1", "1.2.3"])
def test_there_is_no_decoder_for_video_and_the_unknown(uid: str) -> None:
    assert not decode.can_decode(uid)
    with pytest.raises(Unreadable, match="no decoder"):
        decode.decode(uid, b"", Layout(1, 1))
