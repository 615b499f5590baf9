"""Small pictures: what people recognise a series by, in grey and colour, a few kilobytes, whatever comes."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from hozi.core.dicom import syntaxes
from hozi.core.errors import Unreadable
from hozi.core.pixels.draw import MOST_BYTES, draw
from hozi.core.pixels.pool import TranscodeFailed, Workers
from tests.corpus import rows
from tests.doors.dimse.images import BIG, EXPLICIT, IMPLICIT, encoded, image

JPEG, JPEG_2000, DEFLATED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1.99"
Picture = NDArray[np.uint8]

#: Dark on the left, bright on the right.
RAMP = np.tile(np.linspace(0, 4000, 64).astype(np.int64), (64, 1))
_MODULE = {"Rows": 64, "Columns": 64, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}


def grey(values: NDArray[Any] = RAMP, **more: Any) -> Dataset:
    signed = more.get("PixelRepresentation", 0)
    return image(**{**_MODULE, "PixelData": values.astype("<i2" if signed else "<u2").tobytes(), **more})


def drawn(dataset: Dataset | bytes, tmp_path: Path, syntax: str = EXPLICIT, size: int = 160) -> Picture:
    path = tmp_path / "object"
    path.write_bytes(dataset if isinstance(dataset, bytes) else encoded(dataset, syntax))
    data = draw(path, 0, syntaxes.for_unknown(syntax), size)
    assert len(data) <= MOST_BYTES
    return np.asarray(imagecodecs.jpeg8_decode(data))


def corners(picture: Picture) -> tuple[int, int]:
    """The grey of the left and the right edge."""
    return int(picture[:, 1].mean()), int(picture[:, -2].mean())


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_without_a_window_the_values_choose(syntax: str, tmp_path: Path) -> None:
    left, right = corners(drawn(grey(), tmp_path, syntax))
    assert left < 20 and right > 235


def test_pixels_in_big_endian_and_deflated_ones_look_the_same(tmp_path: Path) -> None:
    plain = drawn(grey(), tmp_path)
    swapped = grey(PixelData=RAMP.astype(">u2").tobytes())
    assert np.array_equal(drawn(swapped, tmp_path, BIG), plain)
    bytes_in_words = image(**{**_MODULE, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7})
    eight = (RAMP >> 4).astype(np.uint8)
    bytes_in_words.PixelData = eight.reshape(-1, 2)[:, ::-1].tobytes()
    data = bytearray(encoded(bytes_in_words, BIG))
    at = data.index(b"\x7f\xe0\x00\x10OB")
    data[at + 4 : at + 6] = b"OW"
    assert np.abs(drawn(bytes(data), tmp_path, BIG).astype(int) - plain).max() < 12
    deflate = zlib.compressobj(wbits=-15)
    assert np.array_equal(drawn(deflate.compress(encoded(grey())) + deflate.flush(), tmp_path, DEFLATED), plain)


def test_the_window_of_the_object_is_used_on_rescaled_values(tmp_path: Path) -> None:
    told = {"RescaleSlope": "2", "RescaleIntercept": "-4000", "WindowCenter": ["0", "9"], "WindowWidth": ["400", "9"]}
    picture = drawn(grey(**told), tmp_path)
    left, right = corners(picture)
    assert left < 5 and right > 250
    columns = picture[32].astype(int)
    assert columns[28] < 20 and columns[36] > 235  # 400 of 8000 values: three columns from black to white
    soft = drawn(grey(**told, VOILUTFunction="SIGMOID"), tmp_path)[32].astype(int)
    assert 0 < soft[30] < columns[33] and soft[33] < 255


def test_a_window_that_shows_nothing_is_not_used(tmp_path: Path) -> None:
    for center, width in (("99999", "1"), ("0", "0"), ("x", "1"), ("", ""), ("1e400", "5")):
        dataset = grey()
        dataset.add_new(0x00281050, "LO", center)  # DS would not be let be wrong
        dataset.add_new(0x00281051, "LO", width)
        left, right = corners(drawn(dataset, tmp_path))
        assert left < 20 and right > 235


def test_monochrome1_and_inverse_presentation_are_dark_where_values_are_high(tmp_path: Path) -> None:
    for told in ({"PhotometricInterpretation": "MONOCHROME1"}, {"PresentationLUTShape": "INVERSE"}):
        left, right = corners(drawn(grey(**told), tmp_path))
        assert left > 235 and right < 20


def test_negative_values_are_darker_than_positive_ones(tmp_path: Path) -> None:
    signed = np.tile(np.linspace(-2000, 2000, 64).astype(np.int64), (64, 1))
    left, right = corners(drawn(grey(signed & 0xFFF, PixelRepresentation=1), tmp_path))
    assert left < 20 and right > 235


def test_what_stands_above_the_stored_bits_is_not_seen(tmp_path: Path) -> None:
    left, right = corners(drawn(grey(RAMP | 0xF000), tmp_path))
    assert left < 20 and right > 235


def test_padding_does_not_take_the_contrast(tmp_path: Path) -> None:
    padded = 100 + RAMP // 100
    padded[:20] = 4095
    picture = drawn(grey(padded, PixelPaddingValue=4095), tmp_path)
    assert picture[40, 1] < 30 and picture[40, -2] > 225


def test_lookup_tables_are_used(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 8]
    table.LUTData = np.repeat(np.array([255, 0], np.uint16), 2048).tobytes()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    left, right = corners(drawn(grey(VOILUTSequence=[table]), tmp_path))
    assert left > 235 and right < 20


def test_colours_come_out_right(tmp_path: Path) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    module = {"Rows": 64, "Columns": 64, "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    plain = {**module, "PhotometricInterpretation": "RGB", "PixelData": red.tobytes()}
    planar = {**plain, "PlanarConfiguration": 1, "PixelData": red.transpose(2, 0, 1).tobytes()}
    ycc = np.tile(np.array([76, 85, 255], np.uint8), (64, 64, 1))
    full = {**plain, "PhotometricInterpretation": "YBR_FULL", "PixelData": ycc.tobytes()}
    shared = np.tile(np.array([76, 76, 85, 255], np.uint8), (64, 32, 1))
    half = {**plain, "PhotometricInterpretation": "YBR_FULL_422", "PixelData": shared.tobytes()}
    palette = {
        **{"Rows": 64, "Columns": 64, "PhotometricInterpretation": "PALETTE COLOR", "PixelData": bytes([1]) * 4096},
        "RedPaletteColorLookupTableDescriptor": [2, 0, 16],
        "GreenPaletteColorLookupTableDescriptor": [2, 0, 16],
        "BluePaletteColorLookupTableDescriptor": [2, 0, 16],
        "RedPaletteColorLookupTableData": b"\0\0\xff\xff",
        "GreenPaletteColorLookupTableData": bytes(4),
        "BluePaletteColorLookupTableData": bytes(4),
    }
    for told in (plain, planar, full, half, palette):
        dataset = image(**told)
        for element in dataset:
            if "Descriptor" in element.keyword:
                element.VR = "US"
        picture = drawn(dataset, tmp_path)
        assert picture.shape == (64, 64, 3)
        colour = picture.reshape(-1, 3).mean(axis=0)
        assert colour[0] > 240 and colour[1] < 15 and colour[2] < 15, told["PhotometricInterpretation"]


def test_of_many_frames_the_middle_one_is_drawn(tmp_path: Path) -> None:
    frames = np.zeros((5, 64, 64), np.int64)
    frames[2] = RAMP
    left, right = corners(drawn(grey(frames, NumberOfFrames=5), tmp_path))
    assert left < 20 and right > 235
    bits = np.zeros((3, 64, 64), np.uint8)
    bits[1, :, 32:] = 1
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    told = {"Rows": 64, "Columns": 64, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "NumberOfFrames": 3}
    left, right = corners(drawn(image(**told, PixelData=packed), tmp_path))
    assert left < 5 and right > 250


def test_compressed_frames_are_decoded(tmp_path: Path) -> None:
    eight = (RAMP >> 4).astype(np.uint8)
    streams = {JPEG: imagecodecs.jpeg8_encode(eight), JPEG_2000: imagecodecs.jpeg2k_encode(eight, reversible=True)}
    for syntax, stream in streams.items():
        head = encoded(image(Rows=64, Columns=64, PixelData=None))
        pixels = encapsulate([stream])
        data = head + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + pixels + b"\xfe\xff\xdd\xe0\0\0\0\0"
        left, right = corners(drawn(data, tmp_path, syntax))
        assert left < 20 and right > 235


def test_a_large_image_is_reduced_in_its_proportions(tmp_path: Path) -> None:
    values = np.tile(np.linspace(0, 4000, 2000).astype(np.int64), (3000, 1))
    assert drawn(grey(values, Rows=3000, Columns=2000), tmp_path).shape == (160, 107)
    assert drawn(grey(values, Rows=3000, Columns=2000, PixelSpacing=["0.1", "0.3"]), tmp_path).shape == (80, 160)
    noise = np.random.default_rng(1).integers(0, 4000, (1000, 1000))
    assert drawn(grey(noise, Rows=1000, Columns=1000), tmp_path).shape == (160, 160)


@pytest.mark.parametrize(
    "wrong",
    [
        {"PixelData": None},
        {"Rows": 0},
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": 2000000000},
        {"SamplesPerPixel": 4},
        {"BitsAllocated": 24},
        {"PhotometricInterpretation": "PALETTE COLOR"},
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        drawn(grey(**wrong), tmp_path)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    found = Workers(seconds=20, memory_bytes=1 << 30, folder=tmp_path_factory.mktemp("drawn"))
    yield found
    found.close()


def test_a_worker_draws_and_refuses_whatever_bytes_it_is_given(workers: Workers, tmp_path: Path) -> None:
    chance = random.Random(7)
    sound = encoded(grey(WindowCenter="2000", WindowWidth="100"))
    drawn_at_all = 0
    for _ in range(60):
        data = bytearray(sound)
        for _ in range(chance.randrange(1, 8)):
            data[chance.randrange(600)] = chance.randrange(256)
        path = tmp_path / "object"
        path.write_bytes(data)
        try:
            picture = workers.ask({"source": str(path), "offset": 0, "from": EXPLICIT, "size": 160}, "picture")
        except TranscodeFailed as error:
            assert "crashed" not in str(error)
        else:
            drawn_at_all += 1
            assert picture.read_bytes().startswith(b"\xff\xd8")
            picture.unlink()
    assert drawn_at_all > 10


def test_a_loop_of_four_gigabytes_is_drawn_within_the_memory_of_a_worker(workers: Workers, tmp_path: Path) -> None:
    frame = (RAMP >> 4).astype(np.uint8)
    count = (4 << 30) // frame.size - 1
    head = encoded(image(Rows=64, Columns=64, NumberOfFrames=count, PixelData=None))
    path = tmp_path / "loop"
    with path.open("wb") as file:  # with a hole in it: nothing of it takes room on the disk
        file.write(head + b"\xe0\x7f\x10\x00OW\0\0" + (frame.size * count).to_bytes(4, "little"))
        file.seek(len(head) + 12 + frame.size * (count // 2))
        file.write(frame.tobytes())
        file.truncate(len(head) + 12 + frame.size * count)
    picture = workers.ask({"source": str(path), "offset": 0, "from": EXPLICIT, "size": 160}, "picture")
    left, right = corners(np.asarray(imagecodecs.jpeg8_decode(picture.read_bytes())))
    assert left < 20 and right > 235


CORPUS = [row for row in rows() if row.path.name in ("US1_J2KR.dcm", "color-pl.dcm", "SC_rgb_rle.dcm", "CT_small.dcm")]


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: row.path.name)
def test_real_images_are_drawn_quickly(row: Any, workers: Workers) -> None:
    from hozi.core.dicom import part10

    with row.path.open("rb") as file:
        header = part10.read_header(file)
    request = {
        "source": str(row.path),
        "offset": header.dataset_offset,
        "from": header.transfer_syntax,
        "size": 160,
    }
    workers.ask(request, "warm").unlink()
    begun = time.monotonic()
    picture = workers.ask(request, "picture")
    assert time.monotonic() - begun < 2
    assert 300 < picture.stat().st_size <= MOST_BYTES
