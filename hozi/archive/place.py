"""Where this process keeps the archive's bytes, as the settings say."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from hozi.core.storage import FolderVolume, Incoming, Volume
from hozi.core.storage.incoming import abandoned
from hozi.settings import HOZI

#: Nothing in the scratch folder is needed for longer.
_SCRATCH_SECONDS = 86_400.0


@cache
def volume() -> Volume:
    """The volume that holds the archive's objects."""
    return FolderVolume(HOZI.storage / "objects")


def incoming() -> Incoming:
    """A new folder of this process in the incoming area. On the volume's own disk, so that nothing is copied."""
    return Incoming(HOZI.storage / "incoming")


def left_behind() -> list[Path]:
    """The files in the incoming area that stopped processes left, and that nobody has taken in yet."""
    return abandoned(HOZI.storage / "incoming")


def scratch() -> Path:
    """The folder for what is only needed while something is done."""
    folder = HOZI.storage / "scratch"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def clear_scratch() -> None:
    """Removes what processes that were killed left in the scratch folder."""
    for path in scratch().iterdir():
        with suppress(OSError):  # somebody else removes it
            if time.time() - path.stat().st_mtime > _SCRATCH_SECONDS:
                path.unlink()
