"""What every `Volume` promises. A new kind of volume is added to `VOLUMES` and held to all of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hozi.core.storage import FolderVolume, Volume
from hozi.core.storage.volume import Missing

VOLUMES: dict[str, Callable[[Path], Volume]] = {"folder": lambda home: FolderVolume(home / "objects")}
KEY = "ab/cd/abcdef.dcm"


@pytest.fixture(params=VOLUMES)
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Volume:
    return VOLUMES[request.param](tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "arrived"
    path.write_bytes(b"the bytes of an image")
    return path


def test_it_gives_back_what_was_put(volume: Volume, source: Path) -> None:
    volume.put(source, KEY)
    with volume.open(KEY) as file:
        assert file.read() == b"the bytes of an image"
    with volume.local(KEY) as path:
        assert path.read_bytes() == b"the bytes of an image"
    assert volume.size(KEY) == 21
    assert list(volume.keys()) == [KEY]


def test_it_takes_the_source_away_only_when_the_object_is_there(volume: Volume, source: Path) -> None:
    volume.put(source, KEY)
    assert not source.exists()
    assert volume.size(KEY) == 21


def test_putting_a_key_again_replaces_the_object(volume: Volume, source: Path, tmp_path: Path) -> None:
    volume.put(source, KEY)
    other = tmp_path / "other"
    other.write_bytes(b"whole again")
    volume.put(other, KEY)
    with volume.open(KEY) as file:
        assert file.read() == b"whole again"


def test_a_source_that_is_not_there_changes_nothing(volume: Volume, source: Path, tmp_path: Path) -> None:
    volume.put(source, KEY)
    with pytest.raises(FileNotFoundError):
        volume.put(tmp_path / "nowhere", KEY)
    assert volume.size(KEY) == 21


def test_it_says_so_when_an_object_is_missing(volume: Volume) -> None:
    assert volume.size(KEY) is None
    with pytest.raises(Missing):
        volume.open(KEY)
    with pytest.raises(Missing), volume.local(KEY):
        pass


@pytest.mark.parametrize("key", ["../out.dcm", "/etc/passwd", "ab/../../out", "ab//cd", "", "AB", "ab/.hidden", "a\0b"])
def test_no_key_leads_out_of_the_volume(volume: Volume, source: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        volume.put(source, key)
    assert source.exists()


def test_it_tells_how_much_room_is_left(volume: Volume) -> None:
    free = volume.free_bytes()
    assert free is None or free > 0


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="not meant for systems without a second file system")
def test_it_copies_from_another_file_system(volume: Volume, tmp_path: Path) -> None:
    shared = Path("/dev/shm") / f"hozi-test-{os.getpid()}"
    shared.write_bytes(b"from far away")
    try:
        volume.put(shared, KEY)
        with volume.open(KEY) as file:
            assert file.read() == b"from far away"
        assert not shared.exists()
        assert list(volume.keys()) == [KEY]
    finally:
        shared.unlink(missing_ok=True)
