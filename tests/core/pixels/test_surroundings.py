"""What is around a transcoder must not matter, and what a dataset leaves out must not be guessed in silence."""

from __future__ import annotations

import io
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pytest
from pydicom import Dataset, dcmread

from hozi.core.dicom import part10, syntaxes
from hozi.core.pixels.transcode import TranscodeFailed, Transcoder
from tests.core.dicom.encoded import explicit, fragments

EXPLICIT = syntaxes.EXPLICIT_LITTLE
JPEG_LS, J2K = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.91"
GREY = [np.full((16, 16), shade, np.uint8) for shade in (10, 200)]


@pytest.fixture
def transcoder(tmp_path: Path) -> Iterator[Transcoder]:
    made = Transcoder(seconds=60, folder=tmp_path)
    yield made
    made.close()


def image(folder: Path, *streams: bytes, frames: bytes | None = None, lossy: bytes | None = None) -> Path:
    header = [explicit(0x00280002, b"US", b"\1\0")]
    header += [explicit(0x00280008, b"IS", frames)] if frames is not None else []
    for tag, value in ((0x00280010, 16), (0x00280011, 16), (0x00280100, 8), (0x00280101, 8)):
        header.append(explicit(tag, b"US", value.to_bytes(2, "little")))
    header += [explicit(0x00282110, b"CS", lossy)] if lossy is not None else []
    path = folder / "image"
    path.write_bytes(b"".join(header) + fragments(b"", *(one + b"\0" * (len(one) % 2) for one in streams)))
    return path


def converted(transcoder: Transcoder, path: Path, syntax: str) -> Dataset:
    result = transcoder.transcode(path, 0, syntax, EXPLICIT)
    data = part10.write_header("1.2", "1.2", EXPLICIT) + result.read_bytes()
    result.unlink()
    return dcmread(io.BytesIO(data))


def test_a_server_with_thousands_of_open_files_still_converts(transcoder: Transcoder, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        path = image(tmp_path, imagecodecs.jpegls_encode(GREY[0]))
        assert converted(transcoder, path, JPEG_LS).PixelData == GREY[0].tobytes()
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_files_in_the_current_folder_are_not_run(
    transcoder: Transcoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "imagecodecs", "pydicom", "rle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    path = image(tmp_path, imagecodecs.jpegls_encode(GREY[0]))
    assert converted(transcoder, path, JPEG_LS).PixelData == GREY[0].tobytes()


def test_a_worker_does_not_see_the_server_s_passwords(
    transcoder: Transcoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOZI_DATABASE_URL", "postgresql://hozi:secret@127.0.0.1/hozi")
    others = set(psutil.Process().children())
    converted(transcoder, image(tmp_path, imagecodecs.jpegls_encode(GREY[0])), JPEG_LS)
    (worker,) = set(psutil.Process().children()) - others
    assert "HOZI_DATABASE_URL" not in worker.environ()


@pytest.mark.parametrize("frames", [None, b"1 ", b"2.0 ", b"x ", b"-2"])
def test_no_frame_is_dropped_in_silence(frames: bytes | None, transcoder: Transcoder, tmp_path: Path) -> None:
    path = image(tmp_path, *map(imagecodecs.jpegls_encode, GREY), frames=frames)
    with pytest.raises(TranscodeFailed, match="frames"):
        transcoder.transcode(path, 0, JPEG_LS, EXPLICIT)


@pytest.mark.parametrize("frames", [b"2 ", b"+2", b"02"])
def test_the_number_of_frames_may_be_written_as_any_integer_string(
    frames: bytes, transcoder: Transcoder, tmp_path: Path
) -> None:
    path = image(tmp_path, *map(imagecodecs.jpegls_encode, GREY), frames=frames)
    assert converted(transcoder, path, JPEG_LS).PixelData == b"".join(one.tobytes() for one in GREY)


@pytest.mark.parametrize(("told", "after"), [(None, "01"), (b"", "01"), (b"00", "00"), (b"01", "01")])
def test_where_nothing_tells_whether_pixels_were_changed_the_reader_is_warned(
    told: bytes | None, after: str, transcoder: Transcoder, tmp_path: Path
) -> None:
    stream = imagecodecs.jpeg2k_encode(GREY[0], reversible=True, level=0)
    path = image(tmp_path, stream[stream.find(b"\xff\x4f\xff\x51") :], lossy=told)
    assert converted(transcoder, path, J2K).LossyImageCompression == after
