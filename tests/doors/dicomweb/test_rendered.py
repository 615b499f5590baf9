"""Rendered pictures and thumbnails over DICOMweb: what was asked for, in what was asked for, to whom may see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from hozi.archive import give
from hozi.archive.models import Instance
from hozi.audit.models import Event
from tests import corpus
from tests.archive.conftest import Counter
from tests.archive.conftest import counter as counter
from tests.core.pixels.test_draw import RAMP, grey
from tests.core.pixels.test_render import STATE, items
from tests.dicom_files import file_bytes
from tests.doors.dicomweb.conftest import Answer, Call, Caller
from tests.doors.dicomweb.test_wado import address, brought, find, parts_of
from tests.doors.dimse.images import image

pytestmark = pytest.mark.django_db(transaction=True)

STUDY, SERIES, ONE, LOOP, STATE_UID = (f"1.2.826.91.{number}" for number in range(1, 6))
SERIES_OF_STATE = "1.2.826.91.9"
HERE = f"/studies/{STUDY}/series/{SERIES}/instances/"
SHOWN = np.rint(np.clip((RAMP - 1999.5) / 3999 + 0.5, 0, 1) * 255)


@pytest.fixture
def caller(counter: Counter, calls: Call, tmp_path: Path) -> Caller:
    """Somebody who may look at a ramp, a loop of three frames and a presentation state."""
    give.NOTED.forget()
    told: dict[str, Any] = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}
    ramp = grey(**told, SOPInstanceUID=ONE, WindowCenter="2000", WindowWidth="4000", InstanceNumber=2)
    pixels = b"".join(bytes([value]) * 64 for value in (0, 100, 255))
    loop = image(**told, SOPInstanceUID=LOOP, NumberOfFrames=3, PixelData=pixels, InstanceNumber=1)
    about = items(ReferencedSOPClassUID=ramp.SOPClassUID, ReferencedSOPInstanceUID=ONE)
    state = image(
        StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES_OF_STATE, SOPInstanceUID=STATE_UID, Rows=None, PixelData=None
    )
    state.SOPClassUID, state.PresentationLUTShape, state.ImageRotation = STATE, "INVERSE", 180
    state.ReferencedSeriesSequence = [items(SeriesInstanceUID=SERIES, ReferencedImageSequence=[about])]
    state.SoftcopyVOILUTSequence = [items(WindowCenter="2000", WindowWidth="4000")]
    (tmp_path / "in").mkdir()
    for number, dataset in enumerate((ramp, loop, state)):
        (tmp_path / "in" / f"{number}.dcm").write_bytes(file_bytes(dataset))
    counter.bring(tmp_path / "in")
    found: Caller = calls("radiologist")
    return found


def pixels(data: bytes) -> NDArray[Any]:
    decode = {b"\xff\xd8": imagecodecs.jpeg8_decode, b"\x89P": imagecodecs.png_decode, b"GI": imagecodecs.gif_decode}
    return np.asarray(decode.get(data[:2], imagecodecs.webp_decode)(data)).astype(int)


def test_a_picture_comes_as_jpeg_or_as_what_is_liked_best(caller: Caller) -> None:
    plain = caller.get(f"{HERE}{ONE}/rendered")
    assert (plain.status, plain.headers["content-type"]) == (200, "image/jpeg")
    assert np.abs(pixels(plain.body) - SHOWN).max() < 8
    exact = caller.get(f"{HERE}{ONE}/rendered", accept="image/webp;q=0.5, image/png")
    assert exact.headers["content-type"] == "image/png" and np.array_equal(pixels(exact.body), SHOWN)
    assert caller.get(f"{HERE}{ONE}/rendered", accept="image/webp").headers["content-type"] == "image/webp"
    assert caller.get(f"{HERE}{ONE}/rendered", "accept=image/gif").body.startswith(b"GIF89a")
    [(told, part)] = parts_of(caller.get(f"{HERE}{ONE}/rendered", accept='multipart/related; type="image/png"'))
    assert told["Content-Type"] == "image/png" and part == exact.body
    refused = caller.get(f"{HERE}{ONE}/rendered", accept="image/bmp")
    assert refused.status == 406 and "image/jpeg" in refused.json()["detail"]


def test_who_has_it_already_is_told_so_and_looks_are_in_the_audit(caller: Caller) -> None:
    first = caller.get(f"{HERE}{ONE}/rendered")
    again = caller.get(f"{HERE}{ONE}/rendered", if_none_match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert caller.get(f"{HERE}{ONE}/rendered", "quality=5").headers["etag"] != first.headers["etag"]
    assert Event.objects.filter(code="110103", study_uid=STUDY).count() == 1


PARAMETERS: list[tuple[str, Any]] = [
    ("window=1000,2,linear", np.where(RAMP > 999.5, 255, 0)),
    ("window=2000,100,sigmoid", np.rint(255 / (1 + np.exp(np.clip(-4 * (RAMP - 2000) / 100, -50, 50))))),
    ("window=2000,4000,linear-exact", np.rint(np.clip((RAMP - 2000) / 4000 + 0.5, 0, 1) * 255)),
    ("viewport=32,32", SHOWN.reshape(32, 2, 32, 2).mean(axis=(1, 3))),
    ("viewport=8,8,10,20,8,8", SHOWN[20:28, 10:18]),
    ("viewport=8,8,10,20,-8,8", SHOWN[20:28, 10:18][:, ::-1]),
    ("viewport=64,64,,,64,64", SHOWN),
    ("iccprofile=no&annotation=", SHOWN),
]


def test_parameters_are_followed(caller: Caller) -> None:
    for query, expected in PARAMETERS:
        answer = caller.get(f"{HERE}{ONE}/rendered", query, accept="image/png")
        assert answer.status == 200, answer.body
        assert np.abs(pixels(answer.body) - expected).max() <= 1, query


WRONG = [
    ("window=1000", "window"),
    ("window=a,b,linear", "window"),
    ("window=1,1,cubic", "window"),
    ("window=nan,1,linear", "window"),
    ("window=1,0,linear", "window"),
    ("viewport=0,10", "viewport"),
    ("viewport=1000000,10", "viewport"),
    ("viewport=1,2,3", "viewport"),
    ("viewport=1,1,0,0,0,0", "viewport"),
    ("quality=0", "quality"),
    ("quality=101", "quality"),
    ("quality=9.5", "quality"),
    ("annotation=patient", "annotation"),
    ("iccprofile=srgb", "iccprofile"),
]


def test_parameters_that_cannot_be_followed_are_named(caller: Caller) -> None:
    for query, named in WRONG:
        answer = caller.get(f"{HERE}{ONE}/rendered", query)
        assert (answer.status, answer.json()["field"]) == (400, named)
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_loop_is_its_first_frame_or_all_of_them(caller: Caller) -> None:
    assert pixels(caller.get(f"{HERE}{LOOP}/rendered").body).max() < 3
    loop = pixels(caller.get(f"{HERE}{LOOP}/rendered", accept="image/gif").body)
    assert [int(frame.mean()) for frame in loop] == [0, 100, 255]
    second = caller.get(f"{HERE}{LOOP}/frames/2/rendered", accept="image/png")
    assert (pixels(second.body) == 100).all()
    both = parts_of(caller.get(f"{HERE}{LOOP}/frames/3,2/rendered", accept='multipart/related; type="image/png"'))
    assert [int(pixels(part).mean()) for _, part in both] == [255, 100]
    assert caller.get(f"{HERE}{LOOP}/frames/3,2/rendered", accept="image/png").status == 406
    assert caller.get(f"{HERE}{LOOP}/frames/4/rendered").status == 404


def test_a_presentation_state_shows_its_image_as_it_says(caller: Caller) -> None:
    where = f"/studies/{STUDY}/series/{SERIES_OF_STATE}/instances/{STATE_UID}/rendered"
    answer = caller.get(where, accept="image/png")
    assert np.array_equal(pixels(answer.body), 255 - SHOWN[::-1, ::-1])


def test_series_and_studies_have_one_picture_that_stands_for_them_or_all_in_parts(caller: Caller) -> None:
    for level in (f"/studies/{STUDY}", f"/studies/{STUDY}/series/{SERIES}"):
        assert np.abs(pixels(caller.get(f"{level}/rendered").body) - SHOWN).max() < 8
        several = caller.get(f"{level}/rendered", accept='multipart/related; type="image/jpeg"')
        assert len(parts_of(several)) == 2
        small = caller.get(f"{level}/thumbnail")
        assert small.headers["content-type"] == "image/jpeg" and len(small.body) < 7000


def test_thumbnails_are_small_jpegs(caller: Caller) -> None:
    whole = caller.get(f"{HERE}{ONE}/thumbnail")
    assert (whole.status, pixels(whole.body).shape) == (200, (64, 64))
    assert caller.get(f"{HERE}{ONE}/thumbnail", if_none_match=whole.headers["etag"]).status == 304
    assert pixels(caller.get(f"{HERE}{ONE}/thumbnail", "viewport=20,10").body).shape == (10, 10)
    frame = caller.get(f"{HERE}{LOOP}/frames/2/thumbnail")
    assert np.abs(pixels(frame.body) - 100).max() < 3
    assert caller.get(f"{HERE}{ONE}/thumbnail", accept="image/png").status == 406


def test_what_has_no_picture_says_why(counter: Counter, calls: Call, tmp_path: Path) -> None:
    broken = grey(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID=ONE, Rows=4000, Columns=4000)
    (tmp_path / "broken.dcm").write_bytes(file_bytes(broken))
    counter.bring(tmp_path / "broken.dcm")
    answer = calls("radiologist").get(f"{HERE}{ONE}/rendered")
    assert answer.status == 422 and "shorter" in answer.json()["detail"]
    assert calls("radiologist").get(f"{HERE}{ONE}/thumbnail").status == 422


def test_nobody_gets_a_picture_that_is_not_theirs_even_when_it_was_made_already(
    caller: Caller, calls: Call, hospitals: None
) -> None:
    paths = [f"{HERE}{ONE}/rendered", f"{HERE}{ONE}/thumbnail", f"{HERE}{LOOP}/frames/1/rendered"]
    paths += [
        f"/studies/{STUDY}/rendered",
        f"/studies/{STUDY}/series/{SERIES}/thumbnail",
        f"/studies/{STUDY}/thumbnail",
    ]
    other = calls("radiologist", "ELSEWHERE", username="nyasha")
    bodies = set()
    for path in paths:
        first = caller.get(path)
        assert first.status == 200, path
        theirs = other.get(path, if_none_match=first.headers["etag"])
        assert theirs.status == 404, path
        bodies.add(theirs.body)
    bodies.add(other.get("/studies/1.2.3/rendered").body)
    assert len(bodies) == 1


@pytest.mark.skipif(not corpus.rows(), reason="left out without the corpus")
def test_a_video_is_played_as_it_is_in_whole_or_in_part(counter: Counter, calls: Call) -> None:
    found: list[Instance] = brought(counter, *find("mpeg4-hp41.dcm", "mpeg2-mp-ml.dcm"))
    caller = calls("pacs_admin")
    whole: Answer = caller.get(f"{address(found[0])}/rendered")
    assert whole.status == 200 and whole.headers["content-type"] in ("video/mp4", "video/mpeg")
    part = caller.get(f"{address(found[0])}/rendered", range="bytes=10-19")
    assert (part.status, part.body) == (206, whole.body[10:20])
    assert caller.get(f"{address(found[1])}/rendered").headers["content-type"] == "video/mpeg"
    assert caller.get(f"{address(found[0])}/rendered", accept="image/jpeg").status == 406
    assert caller.get(f"{address(found[0])}/thumbnail").status == 422


def test_frames_come_in_high_throughput_jpeg_2000_for_who_asks_for_it(caller: Caller) -> None:
    asked = 'multipart/related; type="image/jphc"; transfer-syntax=1.2.840.10008.1.2.4.202'
    answer = caller.get(f"{HERE}{ONE}/frames/1", accept=asked)
    [(told, part)] = parts_of(answer)
    assert told["Content-Type"] == "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202"
    assert np.array_equal(imagecodecs.jpeg2k_decode(part), RAMP)
    alone = caller.get(f"{HERE}{LOOP}/frames/2", accept="image/jphc;transfer-syntax=1.2.840.10008.1.2.4.201")
    assert (imagecodecs.jpeg2k_decode(alone.body) == 100).all()
    assert caller.get(f"{HERE}{ONE}/frames/2", accept=asked).status in (404, 406)
    plain = caller.get(f"{HERE}{ONE}/frames/1", accept="multipart/related; type=application/octet-stream")
    assert parts_of(plain)[0][1] == RAMP.astype("<u2").tobytes()
