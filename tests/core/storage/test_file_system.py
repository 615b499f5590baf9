"""Which file system a folder lies on, and whether that one keeps a journal: what kernels say, and real disks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hozi.core.storage.file_system import Keeping, keeping, mount_of, mounts, under

#: A server with LVM: root, a disk of its own for the images, a folder of a NAS with a space in its name.
SERVER = r"""
24 1 253:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
25 24 0:22 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw,inode64
26 24 0:5 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
98 24 8:17 / /srv rw,noatime shared:50 master:2 propagate_from:3 - xfs /dev/sdb1 rw,attr2,inode64,logbufs=8,noquota
99 98 0:51 / /srv/from\040the\040NAS rw,relatime shared:51 - nfs4 nas:/export rw,vers=4.2,hard,proto=tcp
"""

#: A container: its own layer, a volume for the home, and what is mounted over something that was mounted before.
CONTAINER = """
612 500 0:48 / / rw,relatime master:151 - overlay overlay rw,lowerdir=/var/l/ABC,upperdir=/var/l/DEF/diff,workdir=/w
613 612 0:53 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
620 612 0:33 /@data/volumes/hozi/_data /home/hozi/var rw,relatime - btrfs /dev/sda2 rw,ssd,subvol=/@data
621 612 0:60 / /mnt rw - tmpfs tmpfs rw
622 612 8:33 / /mnt rw,relatime - vfat /dev/sdc1 rw,fmask=0022
"""


@pytest.mark.parametrize(
    ("text", "folder", "kind", "device"),
    [
        (SERVER, "/var/lib/hozi", "ext4", "253:1"),
        (SERVER, "/srv", "xfs", "8:17"),
        (SERVER, "/srv/images/objects", "xfs", "8:17"),
        (SERVER, "/srv/from the NAS/images", "nfs4", "0:51"),
        (SERVER, "/srv2", "ext4", "253:1"),
        (CONTAINER, "/home/hozi", "overlay", "0:48"),
        (CONTAINER, "/home/hozi/var/objects", "btrfs", "0:33"),
        (CONTAINER, "/mnt/stick", "vfat", "8:33"),
    ],
)
def test_the_nearest_mount_above_a_folder_is_its_own(text: str, folder: str, kind: str, device: str) -> None:
    mount = mount_of(Path(folder), mounts(text))
    assert mount is not None
    assert (mount.kind, mount.device) == (kind, device)


def test_what_is_no_line_of_mounts_is_nothing() -> None:
    assert mounts("") == mounts("24 1 253:1 / /\n\nrootfs / rootfs rw 0 0\n") == []
    assert mount_of(Path("/srv"), []) is None


WITH_JOURNAL = "rw\nbsddf\ndelalloc\nnojournal_checksum\nbarrier\ncommit=5\ndata=ordered\n"
WITHOUT = "rw\nbsddf\ndelalloc\nnojournal_checksum\nbarrier\ncommit=5\n"


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("ext4", WITH_JOURNAL, Keeping.JOURNAL),
        ("ext4", WITHOUT, Keeping.NOTHING),
        ("ext4", None, Keeping.UNKNOWN),
        ("ext3", WITH_JOURNAL.replace("ordered", "writeback"), Keeping.JOURNAL),
        ("ext2", WITHOUT, Keeping.NOTHING),
        ("xfs", None, Keeping.JOURNAL),
        *((kind, None, Keeping.COPY_ON_WRITE) for kind in ("btrfs", "zfs", "f2fs")),
        *((kind, None, Keeping.NOTHING) for kind in ("vfat", "exfat")),
        *((kind, None, Keeping.SERVER) for kind in ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs")),
        ("tmpfs", None, Keeping.MEMORY),
        ("overlay", None, Keeping.LAYER),
        ("fuseblk", None, Keeping.UNKNOWN),
        ("", None, Keeping.UNKNOWN),
    ],
)
def test_it_knows_which_file_systems_keep_names_whole(kind: str, options: str | None, expected: Keeping) -> None:
    assert keeping(kind, options) is expected


def test_it_looks_at_this_machine(tmp_path: Path) -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("not meant for systems without /proc/self/mountinfo")
    assert under(Path("/proc/1/nowhere")).kind == "proc"
    assert under(tmp_path / "there" / "is none") == under(tmp_path)
    link = tmp_path / "link"
    link.symlink_to("/proc/1")
    assert under(link).kind == "proc"


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small ext4 made with these options, mounted. Takes root and a kernel that lets a file be a disk."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", *request.param, image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not meant for machines on which this user cannot mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("disk", "told"),
    [([], "ext4 (with a journal)"), (["-O", "^has_journal"], "ext4 (without a journal)")],
    indirect=["disk"],
    ids=["as it is made", "without"],
)
def test_it_sees_whether_a_real_disk_has_a_journal(disk: Path, told: str) -> None:
    assert str(under(disk)) == told
    os.mkdir(disk / "images")
    assert str(under(disk / "images" / "2026")) == told
