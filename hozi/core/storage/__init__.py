"""Where bytes are kept: `Volume` for objects that stay, `Incoming` for those that are arriving."""

from hozi.core.storage.incoming import Arrival, Incoming
from hozi.core.storage.volume import FolderVolume, Volume

__all__ = ["Arrival", "FolderVolume", "Incoming", "Volume"]
