"""Which file system a folder lies on, and what that one does for the names of files when the power fails.

A rename that was not flushed must leave the old name or the new one (`hozi.core.storage.volume.FolderVolume.put`).
A journal promises that, and so does a file system that writes to free places only (copy on write, logs).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
_DEVICES: Final = Path("/sys/dev/block")
_EXT: Final = Path("/proc/fs/ext4")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
UNKNOWN: Final = "unknown"


class Keeping(Enum):
    """What keeps the names of files whole, if anything does; the values are for people."""

    JOURNAL = "with a journal"
    COPY_ON_WRITE = "copies on write"
    NOTHING = "without a journal"
    SERVER = "another machine's"
    MEMORY = "in memory"
    LAYER = "a container's own layer"
    UNKNOWN = "not known whether with a journal"


_KINDS: Final = {
    kind: keeping
    for keeping, kinds in {
        Keeping.JOURNAL: "gfs2 jfs ocfs2 reiserfs xfs",
        Keeping.COPY_ON_WRITE: "bcachefs btrfs f2fs nilfs2 zfs",
        Keeping.NOTHING: "exfat ext2 hfs minix msdos udf ufs vfat",
        Keeping.SERVER: "9p afs beegfs ceph cifs glusterfs lustre nfs nfs4 prl_fs smb3 smbfs vboxsf"
        " fuse.ceph fuse.glusterfs fuse.s3fs fuse.sshfs",
        Keeping.MEMORY: "ramfs rootfs tmpfs",
        Keeping.LAYER: "aufs fuse.fuse-overlayfs overlay",
    }.items()
    for kind in kinds.split()
}
_WITH_OR_WITHOUT: Final = ("ext3", "ext4")


@dataclass(frozen=True, slots=True)
class FileSystem:
    """``kind`` is the kernel's word (ext4, tmpfs ...), or ``unknown``. As text: `ext4 (with a journal)`."""

    kind: str
    keeping: Keeping

    def __str__(self) -> str:
        return f"{self.kind} ({self.keeping.value})"


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of `mountinfo`; ``device`` is its number as ``major:minor``."""

    kind: str
    point: Path
    device: str


def mounts(text: str) -> list[Mount]:
    """What `/proc/self/mountinfo` says (proc(5)), in its order; lines of another form are left out."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.partition(" ")[0]
        if len(fields) >= 6 and kind:
            found.append(Mount(kind, Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields[4])), fields[2]))
    return found


def mount_of(folder: Path, mounted: list[Mount]) -> Mount | None:
    """The mount that an absolute path without links lies on; of two at one place, the later one hides the other."""
    points = {mount.point: mount for mount in mounted}
    return next((points[parent] for parent in (folder, *folder.parents) if parent in points), None)


def keeping(kind: str, ext_options: str | None = None) -> Keeping:
    """What a kind of file system does. Of ext3 and ext4 the kernel's ``options`` of the mounted one tell: only with
    a journal do they say how data relates to it (`data=ordered` ...)."""
    if kind not in _WITH_OR_WITHOUT:
        return _KINDS.get(kind, Keeping.UNKNOWN)
    if ext_options is None:
        return Keeping.UNKNOWN
    has_journal = any(option.startswith("data=") for option in ext_options.split())
    return Keeping.JOURNAL if has_journal else Keeping.NOTHING


def under(folder: Path) -> FileSystem:
    """The file system on which the folder lies; where there is none yet, on which it would."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()).resolve()
    mount = mount_of(place, mounts(_read(_MOUNTS) or ""))
    if mount is None:
        return FileSystem(UNKNOWN, Keeping.UNKNOWN)
    return FileSystem(mount.kind, keeping(mount.kind, _ext_options(mount.device)))


def _ext_options(device: str) -> str | None:
    """What the kernel says of a mounted ext3 or ext4: a line for each option in force. None: nothing."""
    try:
        name = (_DEVICES / device).readlink().name  # mountinfo may call it otherwise (/dev/mapper/...)
    except OSError:
        return None
    return _read(_EXT / name / "options")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
