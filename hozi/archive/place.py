"""Where this process keeps the archive's bytes, as the settings say."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hozi.core.storage import FolderVolume, Incoming, Volume
from hozi.settings import HOZI


@cache
def volume() -> Volume:
    """The volume that holds the archive's objects."""
    return FolderVolume(HOZI.storage / "objects")


def incoming() -> Incoming:
    """A new folder of this process in the incoming area. On the volume's own disk, so that nothing is copied."""
    return Incoming(HOZI.storage / "incoming")


def scratch() -> Path:
    """The folder for what is only needed while something is done."""
    folder = HOZI.storage / "scratch"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
