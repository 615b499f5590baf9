"""Decompressing: right as an independent reader sees it, and harmless whatever the bytes are."""

from __future__ import annotations

import io
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from hozi.core.dicom import part10
from hozi.core.pixels.transcode import TranscodeFailed, Transcoder
from tests.corpus import CORPUS, Row, rows
from tests.peers import program

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
NATIVE = {EXPLICIT, IMPLICIT, BIG, DEFLATED}
HTJ2K = "1.2.840.10008.1.2.4.201"

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(scope="module")
def transcoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transcoder]:
    made = Transcoder(seconds=30, folder=tmp_path_factory.mktemp("scratch"))
    yield made
    made.close()


def transcoded(transcoder: Transcoder, path: Path, to: str) -> Dataset:
    """The file's dataset in another transfer syntax, as pydicom reads it."""
    header = part10.read_header(path.read_bytes())
    result = transcoder.transcode(path, header.dataset_offset, header.transfer_syntax, to)
    data = result.read_bytes()
    result.unlink()
    front = part10.write_header(header.sop_class or "1.2", header.sop_instance or "1.2", to)
    return dcmread(io.BytesIO(front + data))


def compressed(*syntaxes: str) -> list[Row]:
    return [row for row in rows() if row.transfer_syntax in {f"1.2.840.10008.1.2.{one}" for one in syntaxes}]


def name(row: Row) -> str:
    return row.name


@pytest.mark.dcmtk
@pytest.mark.parametrize("row", compressed("4.57", "4.70", "4.80", "5"), ids=name)
def test_lossless_pixels_are_those_that_dcmtk_decodes(row: Row, transcoder: Transcoder, tmp_path: Path) -> None:
    tool = {"5": "dcmdrle", "80": "dcmdjpls"}.get(row.transfer_syntax.rpartition(".")[2], "dcmdjpeg")
    reference = tmp_path / "reference.dcm"
    done = subprocess.run([tool, *(["+px"] if tool == "dcmdjpeg" else []), row.path, reference], capture_output=True)
    try:
        ours = transcoded(transcoder, row.path, EXPLICIT)
    except TranscodeFailed:
        assert row.readable != "yes" or "malformed" in row.name or done.returncode != 0
        return
    if "PixelData" not in ours:
        return
    if done.returncode == 0:
        theirs = dcmread(reference, force=True)
        if theirs.get("PlanarConfiguration", 0) == ours.get("PlanarConfiguration", 0):
            assert significant(ours) == significant(theirs)
    assert len(ours.PixelData) % 2 == 0
    assert "compressed" not in ours.get("PhotometricInterpretation", "")


def significant(dataset: Dataset) -> bytes:
    """The pixels without the bits above those that are stored: DCMTK leaves them 0, we put the sign there."""
    if dataset.BitsAllocated != 16:
        return bytes(dataset.PixelData)
    return bytes((np.frombuffer(dataset.PixelData, "<u2") & ((1 << dataset.BitsStored) - 1)).tobytes())


@pytest.mark.parametrize(
    "row", compressed("4.50", "4.51", "4.90", "4.91", "4.201", "4.202", "4.203", "4.81", "4.110", "5"), ids=name
)
def test_every_compressed_file_becomes_native_with_a_header_that_fits(row: Row, transcoder: Transcoder) -> None:
    try:
        ours = transcoded(transcoder, row.path, EXPLICIT)
    except TranscodeFailed as error:
        assert row.note or "malformed" in row.name, f"{row.name}: {error}"
        return
    if "PixelData" not in ours:
        return
    frames = int(ours.get("NumberOfFrames", 1) or 1)
    bits = ours.Rows * ours.Columns * ours.SamplesPerPixel * ours.BitsAllocated * frames
    assert len(ours.PixelData) == (bits + 7) // 8 + (bits + 7) // 8 % 2
    assert ours.pixel_array is not None
    original = dcmread(row.path)
    changed = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration", "LossyImageCompression"}
    changed |= {"ExtendedOffsetTable", "ExtendedOffsetTableLengths"}
    for element in original:
        if element.keyword not in changed and element.tag.group != 2 and element.tag.element and element.VR != "SQ":
            assert ours[element.tag].value == element.value


@pytest.mark.dcmtk
@pytest.mark.parametrize("to", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_native_datasets_change_their_encoding_as_dcmconv_does(to: str, transcoder: Transcoder, tmp_path: Path) -> None:
    option = {IMPLICIT: "+ti", EXPLICIT: "+te", BIG: "+tb", DEFLATED: "+td"}[to]
    compared = 0
    for row in rows():
        header_syntax = row.transfer_syntax
        if header_syntax not in NATIVE or header_syntax == to or "malformed" in row.name or row.readable != "yes":
            continue
        if row.path.stat().st_size > 300_000 or "DICOMDIR" in row.name:
            continue
        if compared >= 25:
            break
        reference = tmp_path / "reference.dcm"
        done = subprocess.run([program_or("dcmconv"), option, row.path, reference], capture_output=True)
        if done.returncode:
            continue
        ours = transcoded(transcoder, row.path, to)
        theirs = dcmread(reference)
        compared += 1
        assert ours.get("PixelData") == theirs.get("PixelData"), row.name
        assert {e.tag for e in ours} >= {e.tag for e in theirs if e.tag.element and e.tag.group != 0xFFFC}, row.name
    assert compared >= 8


def program_or(tool: str) -> str:
    return str(Path(program("storescu")).with_name(tool))


def native(rows_: int = 16, columns: int = 16, frames: int = 1, **elements: object) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows_, columns, frames
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 8, 8, 7
    dataset.PixelRepresentation, dataset.PhotometricInterpretation = 0, "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def written(folder: Path, dataset: Dataset, syntax: str) -> Path:
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True)
    path = folder / "object"
    path.write_bytes(part10.write_header("1.2", "1.2", syntax) + buffer.getvalue())
    return path


def offset_of(path: Path) -> int:
    return part10.read_header(path.read_bytes()).dataset_offset


def encapsulated(frames: list[bytes], **more: object) -> Dataset:
    dataset = native(frames=len(frames), **more)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def test_a_decoder_that_hangs_costs_its_worker_and_the_next_image_is_served(tmp_path: Path) -> None:
    stream = (CORPUS.parent / "hostile" / "hangs-htj2k-decoder.j2c").read_bytes()
    columns, lines = int.from_bytes(stream[8:12], "big"), int.from_bytes(stream[12:16], "big")
    dataset = encapsulated([stream], Rows=lines, Columns=columns, BitsAllocated=16, BitsStored=16, HighBit=15)
    path = written(tmp_path, dataset, HTJ2K)
    transcoder = Transcoder(seconds=5, folder=tmp_path)
    try:
        with pytest.raises(TranscodeFailed):
            transcoder.transcode(path, offset_of(path), HTJ2K, EXPLICIT)
        good = next(row for row in compressed("5") if row.readable == "yes")
        assert transcoded(transcoder, good.path, EXPLICIT).PixelData
        assert not list(tmp_path.glob("transcoded-*"))
    finally:
        transcoder.close()


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    transcoder = Transcoder(seconds=30, folder=tmp_path)
    good = next(row for row in compressed("5") if row.readable == "yes")
    try:
        assert transcoded(transcoder, good.path, EXPLICIT).PixelData
        worker = transcoder._places.get()
        assert worker is not None
        worker._process.kill()
        worker._process.wait()
        transcoder._places.put(worker)
        assert transcoded(transcoder, good.path, EXPLICIT).PixelData
    finally:
        transcoder.close()


def test_an_image_that_needs_more_memory_than_allowed_is_refused(tmp_path: Path) -> None:
    dataset = encapsulated([b"\x00" * 64], Rows=65535, Columns=65535)
    path = written(tmp_path, dataset, "1.2.840.10008.1.2.5")
    transcoder = Transcoder(seconds=30, memory_bytes=1 << 30, folder=tmp_path)
    try:
        with pytest.raises(TranscodeFailed):
            transcoder.transcode(path, offset_of(path), "1.2.840.10008.1.2.5", EXPLICIT)
    finally:
        transcoder.close()


def test_video_is_not_converted(transcoder: Transcoder, tmp_path: Path) -> None:
    assert not transcoder.can_transcode("1.2.840.10008.1.2.4.102", EXPLICIT)
    with pytest.raises(TranscodeFailed, match="cannot be converted"):
        transcoder.transcode(tmp_path / "video", 0, "1.2.840.10008.1.2.4.102", EXPLICIT)


def test_many_threads_share_the_workers(tmp_path: Path) -> None:
    transcoder = Transcoder(workers=2, seconds=60, folder=tmp_path)
    good = [row for row in compressed("5", "4.70", "4.80") if row.readable == "yes" and not row.note][:6]
    results: list[object] = []

    def work(row: Row) -> None:
        results.append(len(transcoded(transcoder, row.path, EXPLICIT).PixelData))

    threads = [threading.Thread(target=work, args=(row,)) for row in good]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == len(good)
    finally:
        transcoder.close()


def test_fragmented_frames_without_an_offset_table_are_told_apart(transcoder: Transcoder, tmp_path: Path) -> None:
    import imagecodecs

    pictures = [np.full((16, 16), shade, np.uint8) for shade in (10, 200)]
    streams = [imagecodecs.jpegls_encode(picture) for picture in pictures]
    streams = [stream + b"\0" * (len(stream) % 2) for stream in streams]
    parts = [piece for stream in streams for piece in (stream[:20], stream[20:])]
    dataset = native(frames=2)
    dataset.PixelData = encapsulate(parts, has_bot=False)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    path = written(tmp_path, dataset, "1.2.840.10008.1.2.4.80")
    ours = transcoded(transcoder, path, EXPLICIT)
    assert ours.PixelData == b"".join(picture.tobytes() for picture in pictures)


def test_no_worker_outlives_its_transcoder(tmp_path: Path) -> None:
    transcoder = Transcoder(folder=tmp_path)
    good = next(row for row in compressed("5") if row.readable == "yes")
    transcoded(transcoder, good.path, EXPLICIT)
    worker = transcoder._places.get()
    assert worker is not None
    transcoder._places.put(worker)
    transcoder.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker._process.pid, 0)
