"""Decoders hang, crash and swallow memory: that costs a worker process, and nothing else."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hozi.core.dicom import part10, syntaxes
from hozi.core.pixels import worker
from hozi.core.pixels.transcode import TranscodeFailed, Transcoder
from tests.core.dicom.encoded import explicit, fragments
from tests.corpus import CORPUS

EXPLICIT, IMPLICIT, DEFLATED = syntaxes.EXPLICIT_LITTLE, syntaxes.IMPLICIT_LITTLE, syntaxes.DEFLATED
HTJ2K, RLE = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.5"
CT = explicit(0x00080060, b"CS", b"CT")
CT_IMPLICIT = b"\x08\0\x60\0\x02\0\0\0CT"


@contextlib.contextmanager
def transcoding(folder: Path, **limits: float) -> Iterator[Transcoder]:
    made = Transcoder(folder=folder, **limits)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    path.write_bytes(CT)
    return path


def converts(transcoder: Transcoder, path: Path) -> bool:
    result = transcoder.transcode(path, 0, EXPLICIT, IMPLICIT)
    data = result.read_bytes()
    result.unlink()
    return data == CT_IMPLICIT


OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    """Workers that tests before these have started, in the same process, do not count."""
    OTHERS.clear()
    OTHERS.update(one.pid for one in workers())


def workers() -> list[psutil.Process]:
    """The worker processes of this process."""
    children = psutil.Process().children()
    return [one for one in children if one.pid not in OTHERS and "hozi.core.pixels.worker" in one.cmdline()]


def compressed(folder: Path, stream: bytes, rows: int, columns: int, bits: int = 16) -> Path:
    layout = ((0x00280002, 1), (0x00280010, rows), (0x00280011, columns), (0x00280100, bits), (0x00280101, bits))
    path = folder / "compressed"
    header = b"".join(explicit(tag, b"US", value.to_bytes(2, "little")) for tag, value in layout)
    path.write_bytes(CT + header + fragments(b"", stream))
    return path


def test_no_worker_is_started_before_it_is_needed_and_one_serves_many(tmp_path: Path, small: Path) -> None:
    with transcoding(tmp_path) as transcoder:
        assert transcoder.can_transcode(EXPLICIT, IMPLICIT)
        assert workers() == []
        pids = set()
        for _ in range(3):
            assert converts(transcoder, small)
            pids |= {one.pid for one in workers()}
        assert len(pids) == 1
    assert workers() == []


def test_a_worker_that_hangs_is_killed_in_time_and_the_next_image_is_served(tmp_path: Path, small: Path) -> None:
    with transcoding(tmp_path, seconds=8) as transcoder:
        assert converts(transcoder, small)
        (hanging,) = workers()
        hanging.send_signal(signal.SIGSTOP)
        with pytest.raises(TranscodeFailed, match="too long"):
            converts(transcoder, small)
        assert not hanging.is_running()
        assert not list(tmp_path.glob("transcoded-*"))
        assert converts(transcoder, small)
        assert hanging.pid not in {one.pid for one in workers()}


def test_a_worker_that_crashes_is_replaced(tmp_path: Path, small: Path) -> None:
    with transcoding(tmp_path) as transcoder:
        assert converts(transcoder, small)
        (first,) = workers()
        first.kill()
        first.wait()
        assert converts(transcoder, small)
        (second,) = workers()
        second.send_signal(signal.SIGSTOP)  # so that it crashes with the request in its hands
        threading.Timer(0.2, second.kill).start()
        with pytest.raises(TranscodeFailed, match="crashed"):
            converts(transcoder, small)
        assert converts(transcoder, small)


def test_a_stream_that_hangs_decoders_does_no_harm(tmp_path: Path, small: Path) -> None:
    stream = (CORPUS.parent / "hostile" / "hangs-htj2k-decoder.j2c").read_bytes()
    with transcoding(tmp_path, seconds=20) as transcoder:
        for rows, columns in ((512, 512), (int.from_bytes(stream[12:16], "big") & 0xFFFF, 0x0200)):
            with pytest.raises(TranscodeFailed):
                transcoder.transcode(compressed(tmp_path, stream, rows, columns), 0, HTJ2K, EXPLICIT)
        # The same with a size in its header that fits, so that the decoder itself gets to see it.
        fitting = stream[:8] + (512).to_bytes(4, "big") * 2 + bytes(8) + stream[24:]
        with contextlib.suppress(TranscodeFailed):
            transcoder.transcode(compressed(tmp_path, fitting, 512, 512), 0, HTJ2K, EXPLICIT).unlink()
        assert converts(transcoder, small)


def test_an_image_that_takes_more_memory_than_allowed_is_refused(tmp_path: Path, small: Path) -> None:
    size = 40_000
    header = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    segment = b"\x81\0" * (size * size // 128 + 1)
    path = compressed(tmp_path, header + segment, size, size, bits=8)
    with transcoding(tmp_path, memory_bytes=1 << 30) as transcoder:
        with pytest.raises(TranscodeFailed, match=r"memory|crashed"):
            transcoder.transcode(path, 0, RLE, EXPLICIT)
        assert converts(transcoder, small)
        assert not list(tmp_path.glob("transcoded-*"))


def test_a_file_that_is_gone_is_an_error_and_no_more(tmp_path: Path, small: Path) -> None:
    with transcoding(tmp_path) as transcoder:
        with pytest.raises(TranscodeFailed, match="file"):
            transcoder.transcode(tmp_path / "gone", 0, EXPLICIT, IMPLICIT)
        assert converts(transcoder, small)


def test_many_threads_share_the_workers(tmp_path: Path, small: Path) -> None:
    with transcoding(tmp_path, workers=2) as transcoder:
        results: list[bool] = []
        threads = [threading.Thread(target=lambda: results.append(converts(transcoder, small))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 12
        assert 1 <= len(workers()) <= 2


def test_a_worker_outlives_the_thread_that_started_it(tmp_path: Path, small: Path) -> None:
    with transcoding(tmp_path) as transcoder:
        thread = threading.Thread(target=converts, args=(transcoder, small))
        thread.start()
        thread.join()
        before = {one.pid for one in workers()}
        assert converts(transcoder, small)
        assert {one.pid for one in workers()} == before


ASKING = """
import sys
from pathlib import Path
from hozi.core.pixels.transcode import Transcoder
source, folder = map(Path, sys.argv[1:])
Transcoder(seconds=600, folder=folder).transcode(source, 0, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
"""


def test_no_worker_outlives_who_asked_it_even_in_the_middle_of_its_work(tmp_path: Path) -> None:
    source, size = tmp_path / "large", 4 << 30
    front = CT + explicit(0x7FE00010, b"OW", b"", length=size - 2)
    with source.open("wb") as file:
        file.write(front)
        file.truncate(len(front) + size - 2)  # takes no room, and long to deflate
    asking = subprocess.Popen([sys.executable, "-c", ASKING, source, tmp_path], cwd=Path(worker.__file__).parents[3])
    try:
        target = waiting_for(lambda: next((one for one in tmp_path.glob("transcoded-*") if one.stat().st_size), None))
        (busy,) = psutil.Process(asking.pid).children()
    finally:
        asking.kill()
        asking.wait()
    gone, _ = psutil.wait_procs([busy], timeout=60)
    assert gone == [busy]
    inflate = zlib.decompressobj(wbits=-15)
    assert len(inflate.decompress(target.read_bytes(), 1 << 20)) > 0
    assert target.stat().st_size < size // 2000, "it finished its work before it ended"


def waiting_for(find: object) -> Path:
    while True:
        if found := find():  # type: ignore[operator]
            return Path(found)
        time.sleep(0.01)


def test_an_idle_worker_ends_with_its_input() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hozi.core.pixels.worker", str(1 << 30), "10"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(worker.__file__).parents[3],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == (b"", 0)


def test_messages_come_back_as_they_were_sent_and_a_broken_one_is_the_end() -> None:
    stream = io.BytesIO()
    worker.send(stream, {"source": "ä/b", "offset": 1 << 40})
    data = stream.getvalue()
    assert worker.receive(io.BytesIO(data)) == {"source": "ä/b", "offset": 1 << 40}
    for cut in (0, 2):
        assert worker.receive(io.BytesIO(data[:cut])) is None


def test_the_offset_of_the_dataset_counts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(part10.write_header("1.2", "1.2", EXPLICIT) + CT)
    offset = part10.read_header(path.read_bytes()).dataset_offset
    with transcoding(tmp_path) as transcoder:
        result = transcoder.transcode(path, offset, EXPLICIT, IMPLICIT)
        assert result.read_bytes() == CT_IMPLICIT
        assert result.parent == tmp_path
