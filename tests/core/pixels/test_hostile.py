"""Files made to do harm: each costs one worker at most, for a bounded time; others are served meanwhile."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from hozi.core.pixels.pool import TranscodeFailed, Workers
from tests.core.dicom.encoded import explicit
from tests.core.pixels.test_draw import grey
from tests.core.pixels.test_render import items, state
from tests.core.pixels.test_worker import HTJ2K, compressed, others, workers  # noqa: F401 - a fixture
from tests.corpus import CORPUS
from tests.doors.dimse.images import EXPLICIT, encoded, image

JPEG, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(workers=2, seconds=6, memory_bytes=1 << 30, folder=tmp_path)
    yield made
    made.close()


def asked(path: Path, syntax: str = EXPLICIT, **more: Any) -> dict[str, Any]:
    return {"source": str(path), "offset": 0, "from": syntax, **(more or {"look": {}})}


def sound(folder: Path) -> dict[str, Any]:
    path = folder / "sound"
    path.write_bytes(encoded(image()))
    return asked(path)


def test_others_are_served_while_one_file_hangs_its_decoder(two: Workers, tmp_path: Path) -> None:
    stream = (CORPUS.parent / "hostile" / "hangs-htj2k-decoder.j2c").read_bytes()
    fitting = stream[:8] + (512).to_bytes(4, "big") * 2 + bytes(8) + stream[24:]
    good, bad = sound(tmp_path), asked(compressed(tmp_path, fitting, 512, 512), HTJ2K)
    first = two.fetch(good)
    (stopped,) = workers()  # with the next request in its hands it does not move, whatever the stream does to it
    stopped.send_signal(signal.SIGSTOP)
    failed: list[str] = []

    def ask_for_the_bad_one() -> None:
        try:
            two.fetch(bad)
        except TranscodeFailed as error:
            failed.append(str(error))

    hanging = threading.Thread(target=ask_for_the_bad_one)
    hanging.start()
    served = 0
    while hanging.is_alive():
        assert two.fetch(good) == first
        served += 1
        time.sleep(0.02)
    hanging.join()
    assert failed == ["Decoding took too long and was stopped."] and served > 10
    assert not stopped.is_running()
    with contextlib.suppress(TranscodeFailed):
        two.fetch(bad)
    assert two.fetch(good) == first


def lies() -> Iterator[tuple[str, Dataset | bytes, str]]:
    """What datasets say that is not so, or that would take all memory or time to follow."""
    yield "65535 rows and columns", image(Rows=65535, Columns=65535), EXPLICIT
    yield "two thousand million frames", image(NumberOfFrames=2147483647), EXPLICIT
    yield "255 bits", image(BitsAllocated=255), EXPLICIT
    yield "more bits than there is room for", image(BitsStored=16, HighBit=15), EXPLICIT
    yield "no rows", image(Rows=0), EXPLICIT
    palette = {f"{c}PaletteColorLookupTableDescriptor": [0, 0, 16] for c in ("Red", "Green", "Blue")}
    palette |= {f"{c}PaletteColorLookupTableData": b"\1\2" for c in ("Red", "Green", "Blue")}  # type: ignore[misc]
    yield "a palette that is not there", image(PhotometricInterpretation="PALETTE COLOR", **palette), EXPLICIT
    loop = {f"{c}PaletteColorLookupTableDescriptor": [0, 0, 16] for c in ("Red", "Green", "Blue")}
    segments = b"\2\0\xff\xff\0\0\0\0" * 1000  # indirect ones that mean themselves
    loop |= {f"Segmented{c}PaletteColorLookupTableData": segments for c in ("Red", "Green", "Blue")}  # type: ignore[misc]
    yield "a palette that means itself", image(PhotometricInterpretation="PALETTE COLOR", **loop), EXPLICIT
    nested = explicit(0x00081140, b"SQ", b"", length=0xFFFFFFFF) + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    yield "two thousand sequences in one another", nested * 2000 + encoded(image()), EXPLICIT
    yield "a picture of one thousand million pixels", _jpeg_header(40000, 40000), JPEG
    yield "an RLE header that points beside its segments", _rle(), RLE


def _jpeg_header(rows: int, columns: int) -> bytes:
    frame = b"\xff\xc0\0\x0b\x08" + rows.to_bytes(2, "big") + columns.to_bytes(2, "big") + b"\1\1\x11\0"
    return _compressed(b"\xff\xd8" + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(64) + b"\xff\xd9", rows, columns)


def _rle() -> bytes:
    return _compressed((1).to_bytes(4, "little") + (0x7FFFFFFF).to_bytes(4, "little") + bytes(56), 64, 64)


def _compressed(stream: bytes, rows: int, columns: int) -> bytes:
    head = encoded(image(Rows=rows, Columns=columns, PixelData=None))
    item = b"\xfe\xff\0\xe0" + len(stream).to_bytes(4, "little") + stream
    return head + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"


def test_what_a_file_says_of_itself_is_not_believed_a17_a19_a20_a21(two: Workers, tmp_path: Path) -> None:
    good = sound(tmp_path)
    first = two.fetch(good)
    path = tmp_path / "liar"
    for what, dataset, syntax in lies():
        path.write_bytes(dataset if isinstance(dataset, bytes) else encoded(dataset))
        for request in ({"look": {}}, {"look": {"kind": "gif", "frame": 0}}, {"values": 1}, {"size": 144}):
            begun = time.monotonic()
            with pytest.raises(TranscodeFailed) as failed:
                two.fetch(asked(path, syntax, **request))
            assert "crashed" not in str(failed.value) and "too long" not in str(failed.value), what
            assert time.monotonic() - begun < 5, what
    assert two.fetch(good) == first
    assert len(workers()) <= 2


def test_whatever_bytes_come_the_worker_lives(two: Workers, tmp_path: Path) -> None:
    """Damaged images and presentation states, with all that a picture depends on in them."""
    chance = random.Random(11)
    table = items(LUTDescriptor=[4096, 0, 8], LUTData=bytes(4096))
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    voi = items(WindowCenter="40", WindowWidth="400")
    subject = grey(
        VOILUTSequence=[table],
        PixelPaddingValue=3,
        ShutterShape="POLYGONAL",
        VerticesOfThePolygonalShutter=["1", "1", "9", "9", "4", "60"],
        PerFrameFunctionalGroupsSequence=[items(FrameVOILUTSequence=[voi])],
    )
    for tag, vr, value in ((0x60000010, "US", 64), (0x60000011, "US", 64), (0x60003000, "OB", bytes(512))):
        subject.add_new(tag, vr, value)
    line = items(GraphicAnnotationUnits="PIXEL", GraphicData=[1.0, 2.0, 30.0, 40.0], GraphicType="POLYLINE")
    area = items(DisplayedAreaTopLeftHandCorner=[1, 1], DisplayedAreaBottomRightHandCorner=[64, 64])
    about = state(
        subject,
        SoftcopyVOILUTSequence=[voi],
        GraphicAnnotationSequence=[items(GraphicObjectSequence=[line])],
        DisplayedAreaSelectionSequence=[area],
        ImageRotation=90,
    )
    whole = {"image": encoded(subject), "state": encoded(about)}
    before = len(whole["image"]) - 64 * 64 * 2
    shown = 0
    for _ in range(250):
        for name, data in whole.items():
            spoilt = bytearray(data)
            for _ in range(chance.randrange(0, 6)):
                spoilt[chance.randrange(before if name == "image" else len(data))] = chance.randrange(256)
            (tmp_path / name).write_bytes(spoilt)
        told = asked(tmp_path / "state")
        request = chance.choice(
            (
                {"look": {"kind": "png"}, "presentation": told},
                {"look": {"width": 20, "window": [40, 400, "SIGMOID"]}},
                {"values": 1},
                {"frame": 1, "to": HTJ2K},
                {"look": {"frame": 0, "kind": "gif"}},
            )
        )
        try:
            shown += bool(two.fetch(asked(tmp_path / "image", **request)))
        except TranscodeFailed as error:
            assert "crashed" not in str(error) and "too long" not in str(error), error
    assert shown > 50
