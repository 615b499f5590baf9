"""Pictures and samples of objects: what the pixels say, made once, kept within a bound, never twice at a time."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from hozi.archive import correct, kept, pictures
from hozi.archive.fetch import Holding, holding
from hozi.archive.pictures import Look, NoPicture
from hozi.core.errors import NotThere
from hozi.core.pixels import samples
from hozi.core.pixels.decode import decode
from hozi.settings import HOZI
from tests.archive.conftest import Counter
from tests.core.pixels.test_draw import RAMP, grey
from tests.core.pixels.test_render import items
from tests.dicom_files import file_bytes
from tests.doors.dimse.images import encoded, image

UID = "1.2.826.90.2.1"
PICTURE = NDArray[np.uint8]


def bring(counter: Counter, folder: Path, **told: Any) -> Holding:
    (folder / "one.dcm").write_bytes(file_bytes(grey(SOPInstanceUID=UID, **told)))
    counter.bring(folder)
    return holding(UID)


@pytest.fixture
def ramp(counter: Counter, tmp_path: Path) -> Holding:
    return bring(counter, tmp_path, WindowCenter="2000", WindowWidth="4001")


def unpacked(data: bytes) -> NDArray[Any]:
    """What a browser makes of HZV1."""
    raw = gzip.decompress(data)
    magic, rows, columns, samples, bits, signed, _ = struct.unpack("<4sHHBBBB12x", raw[:24])
    assert magic == b"HZV1"
    body = np.frombuffer(raw, np.uint8, offset=24)
    if bits == 8:
        values = np.cumsum(body.reshape(rows, columns, samples), axis=1, dtype=np.uint8)
        return values[..., 0] if samples == 1 else values
    half = len(body) // 2
    words = (body[:half] | body[half:].astype(np.uint16) << 8).reshape(rows, columns)
    return np.cumsum(words, axis=1, dtype=np.uint16).view(np.int16 if signed else np.uint16)


def test_samples_come_at_full_depth_and_small(ramp: Holding) -> None:
    found = pictures.values(ramp, 1)
    assert np.array_equal(unpacked(found.data), RAMP)
    assert len(found.data) < RAMP.size / 4


def test_negative_values_stay_so(counter: Counter, tmp_path: Path) -> None:
    signed = RAMP - 2000
    ramp = bring(
        counter, tmp_path, PixelRepresentation=1, BitsStored=16, HighBit=15, PixelData=signed.astype("<i2").tobytes()
    )
    assert np.array_equal(unpacked(pictures.values(ramp, 1).data), signed)


def test_a_picture_is_what_the_window_says_in_each_kind(ramp: Holding) -> None:
    expected = np.clip(RAMP / 4000 * 255, 0, 255)
    png = imagecodecs.png_decode(pictures.picture(ramp, Look(kind="png")).data)
    assert np.abs(png - expected).max() <= 1
    for kind, decoder in (("jpeg", imagecodecs.jpeg8_decode), ("webp", imagecodecs.webp_decode)):
        picture = pictures.picture(ramp, Look(kind=kind, quality=95))  # type: ignore[arg-type]
        shown = decoder(picture.data)
        assert np.abs((shown if shown.ndim == 2 else shown[..., 0]) - expected).max() < 12, kind
        assert (picture.content_type, picture.lossy) == (f"image/{kind}", True)
    narrow = imagecodecs.png_decode(pictures.picture(ramp, Look(kind="png", window=(1000, 2, "LINEAR"))).data)
    assert set(np.unique(narrow)) <= {0, 255} and narrow[0, 10] == 0 and narrow[0, 20] == 255
    small = imagecodecs.png_decode(pictures.picture(ramp, Look(kind="png", width=16)).data)
    assert small.shape == (16, 16)
    assert np.abs(small[0] - expected[0].reshape(16, 4).mean(axis=1)).max() <= 1


def test_a_frame_without_loss_in_the_syntaxes_of_the_wire(ramp: Holding) -> None:
    assert pictures.frame(ramp, 1, "1.2.840.10008.1.2.1") == RAMP.astype("<u2").tobytes()
    with_loss = pictures.frame(ramp, 1, "1.2.840.10008.1.2.4.202")
    from hozi.core.pixels.decode import Layout

    layout = Layout(64, 64, bits_allocated=16, bits_stored=12)
    assert np.array_equal(decode("1.2.840.10008.1.2.4.202", with_loss, layout), RAMP)


def test_what_cannot_be_shown_says_why_and_is_tried_once(counter: Counter, tmp_path: Path) -> None:
    broken = bring(counter, tmp_path, Rows=4000, Columns=4000)
    for _ in range(2):
        with pytest.raises(NoPicture, match="shorter"):
            pictures.picture(broken, Look())
    with pytest.raises(NotThere, match="frames"):
        pictures.values(broken, 7)


def test_a_picture_is_made_once_by_all_who_ask_at_the_same_time(ramp: Holding) -> None:
    made: list[int] = []
    go = threading.Event()

    def make() -> bytes:
        made.append(1)
        go.wait(5)
        return b"made"

    results: list[bytes] = []
    name = f"{'ab' * 20}.jpeg"
    (kept.path_of(name)).unlink(missing_ok=True)
    threads = [threading.Thread(target=lambda: results.append(kept.once(name, make))) for _ in range(6)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert (results, made) == ([b"made"] * 6, [1])
    kept.path_of(name).unlink()


ASKING = """
import sys, time
from hozi.archive import kept
def make():
    print("making", flush=True)
    sys.stdin.read()
    return b"theirs"
kept.once(sys.argv[1], make)
"""


def test_a_picture_that_another_process_is_making_is_waited_for(counter: Counter) -> None:
    name = f"{'cd' * 20}.jpeg"
    kept.path_of(name).unlink(missing_ok=True)
    told = {**os.environ, "HOZI_HOME": str(HOZI.home), "PYTHONPATH": str(Path(kept.__file__).parents[2])}
    command = [sys.executable, "-c", ASKING, name]
    with subprocess.Popen(command, env=told, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == b"making\n"
        results: list[bytes] = []
        thread = threading.Thread(target=lambda: results.append(kept.once(name, lambda: b"ours")))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and not results
        other.stdin.close()
        thread.join()
    assert results == [b"theirs"]
    kept.path_of(name).unlink()


def test_the_frames_of_a_long_loop_are_found_without_reading_all_that_it_says_again(tmp_path: Path) -> None:
    groups = [items(FrameVOILUTSequence=[items(WindowCenter="40", WindowWidth="400")]) for _ in range(3000)]
    loop = image(NumberOfFrames=3000, PixelData=bytes(64) * 3000, PerFrameFunctionalGroupsSequence=groups)
    (tmp_path / "loop").write_bytes(encoded(loop))

    def seconds(number: int) -> float:
        begun = time.process_time()
        with samples.opened(tmp_path / "loop", 0, "1.2.840.10008.1.2.1") as opened:
            opened.frame(number)
        return time.process_time() - begun

    first = seconds(0)
    assert min(seconds(number) for number in (1, 1000, 2999)) < first / 5


def test_the_room_for_what_is_kept_is_bounded(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "HOZI", HOZI.model_copy(update={"picture_cache_bytes": 40 * 4096}))
    kept.clear(0)
    monkeypatch.setattr(kept, "_LOOK_ROUND", 20)
    for number in range(600):
        kept.keep(f"{number * 7919 % 256:02x}{number:038x}.jpeg", b"x")
    assert 20 < len(list(kept.folder().rglob("*.jpeg"))) < 400
    monkeypatch.setattr(kept, "HOZI", HOZI.model_copy(update={"picture_cache_bytes": 0}))
    kept.keep(f"{'ef' * 20}.jpeg", b"x")
    assert kept.once(f"{'ef' * 20}.jpeg", lambda: b"made") == b"made"
    assert not kept.path_of(f"{'ef' * 20}.jpeg").exists()
    kept.clear(0)


def test_a_corrected_window_is_another_picture(ramp: Holding) -> None:
    before = pictures.picture(ramp, Look(kind="png"))
    kept_before = kept.path_of(f"{before.etag}.png")
    assert kept_before.exists()
    correct.edit("IMAGE", UID, {0x00281050: [4000], 0x00281051: [2]}, reason="wrong window", actor="pacs")
    after = pictures.picture(holding(UID), Look(kind="png"))
    assert after.etag != before.etag
    assert int(imagecodecs.png_decode(after.data)[0, 32]) == 0 < int(imagecodecs.png_decode(before.data)[0, 32])
