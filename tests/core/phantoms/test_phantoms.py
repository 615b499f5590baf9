"""The invented images are the same every time, have the values that such images have, and move."""

from __future__ import annotations

from itertools import islice

import numpy as np

from hozi.core.dicom import uids
from hozi.core.phantoms import body, chest, ultrasound
from hozi.core.phantoms.studies import STUDIES


def test_a_slice_is_the_same_every_time_and_in_hounsfield_units() -> None:
    first, second = (next(body.slices()) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == (body.SIZE, body.SIZE)
    assert abs(first[:20, :20].mean() + 1000) < 5  # air in the corner
    muscle = first[body.SIZE // 2 - 5 : body.SIZE // 2 + 5, 80:90]
    assert 30 < muscle.mean() < 60
    assert 300 < first.max() < 2000  # bone


def test_slices_differ_from_one_another() -> None:
    first, second = islice(body.slices(), 2)
    assert np.abs(first - second).max() > 100


def test_the_radiograph_is_bright_where_rays_came_through() -> None:
    picture = chest.radiograph()
    assert picture.shape == (chest.ROWS, chest.COLUMNS)
    assert picture.dtype == np.uint16
    assert picture.max() < 1 << chest.BITS
    middle = chest.COLUMNS // 2
    air, lung, spine = picture[5:50, 5:50], picture[1300:1400, 450:650], picture[1900:2000, middle - 40 : middle + 40]
    assert air.mean() > lung.mean() > spine.mean() + 500
    assert picture[60:140, 1910].min() < 1500  # the letter of lead


def test_the_heart_beats_and_its_blood_has_colours() -> None:
    frames = list(ultrasound.frames())
    assert len(frames) == ultrasound.FRAMES
    assert {(frame.shape, frame.dtype) for frame in frames} == {
        ((ultrasound.ROWS, ultrasound.COLUMNS, 3), np.dtype(np.uint8))
    }
    left, top, right, bottom = ultrasound.SECTOR
    red, blue = (
        [int(((frame[..., one] > 120) & (frame[..., other] < 60)).sum()) for frame in frames]
        for one, other in ((0, 2), (2, 0))
    )
    assert max(red[18:]) > 2000  # the ventricle fills: towards the probe
    assert max(blue[:16]) > 1000  # and empties
    sector = [frame[top:bottom, left:right].astype(float) for frame in frames]
    assert np.abs(sector[0] - sector[8]).mean() > 3


def test_identifiers_are_valid_and_the_same_every_time() -> None:
    assert len({study.uid for study in STUDIES}) == len(STUDIES)
    assert all(uids.is_canonical(study.uid) for study in STUDIES)
    first, second = (next(STUDIES[0].images()) for _ in range(2))
    assert first == second
    assert uids.is_canonical(first.sop_instance)
