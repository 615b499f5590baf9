"""What there is to bring in: the files of folders, ZIP archives and DICOMDIRs.

Whoever made these is not trusted. Nothing outside of what was named is read, nothing is unpacked under a name that a
ZIP archive gives it, and what is unpacked is bounded. Every file that is not offered is told with the reason.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

from hozi.archive.place import scratch
from hozi.core.dicom import directory, part10
from hozi.core.errors import Refused, Unreadable
from hozi.settings import HOZI

PIECE: Final = 1 << 18
_LOOK: Final = 1 << 16
"""So much of a ZIP entry is looked at before the rest of it is unpacked."""

_MOST_ENTRIES: Final = 100_000
_MOST_LISTING: Final = 16 << 20
"""Entries of a ZIP archive, and bytes of their list: Python reads all of it at once, at some 50 times its size."""
_TOO_MANY: Final = f"more than {_MOST_ENTRIES} entries: unpack it, and import the folder"
_MOST_GROWTH: Final = 200
_FREE_GROWTH: Final = 1 << 30
"""A ZIP archive may unpack to so many times its size, and a GiB: images shrink to a quarter, seldom to less."""

_LONGEST_COMMENT: Final = (1 << 16) + 22
_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")

_DEVICES: Final = re.compile(r"(?:CON|PRN|AUX|NUL|CLOCK\$|COM\d|LPT\d)(?:\..*)?", re.IGNORECASE)

DAMAGED: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error)
"""What reading a ZIP archive raises that is damaged, or packed in a way that is not known."""
OWN: Final = "belongs to this archive itself (HOZI_HOME)"
DAMAGED_ZIP: Final = "damaged in its ZIP archive, or packed in a way that is not known"


class NotAnImage(Refused):
    """A file that does not belong into an archive of images; the text says what it is instead."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file: how to open it, or why it is refused unread. ``stamp`` changes when the file does."""

    name: str
    stamp: str
    open: Callable[[], AbstractContextManager[BinaryIO]] | None
    refusal: str = ""


def files(path: Path) -> Iterator[Found]:
    """Every file below a path: of a folder, a ZIP archive, a DICOMDIR, or the file itself. Use each before the next."""
    if is_own(path):
        yield Found(str(path), "", None, OWN)
    elif path.is_dir():
        yield from _in_folder(path)
    elif not path.is_file():
        yield Found(str(path), "", None, "no regular file")
    elif not _begins_as_dicom(path) and zipfile.is_zipfile(path):
        yield from _in_zip(path)
    elif _is_directory(path):
        yield from _named_by(path)
    else:
        yield _on_disk(path, str(path))


def handed_in(path: Path) -> Iterator[Found]:
    """A file that was handed in and lies in the archive's own folder: itself, or the files of a ZIP archive."""
    if not _begins_as_dicom(path) and zipfile.is_zipfile(path):
        yield from _in_zip(path)
    else:
        yield _on_disk(path, path.name)


def is_own(path: Path) -> bool:
    """Whether it belongs to this archive itself: its home, its images, its database (also under another name).

    Such a file must not even be opened: when this process closes it, SQLite's locks on its database are gone, and with
    them what keeps several processes from writing over one another.
    """
    resolved = path.resolve()
    if any(resolved == own or resolved.is_relative_to(own) for own in _own_folders()):
        return True
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_nlink > 1 and (status.st_dev, status.st_ino) in set(_own_files())


@cache
def _own_folders() -> tuple[Path, ...]:
    return tuple({HOZI.home.resolve(), HOZI.storage.resolve(), *(path.resolve() for path in _database_files())})


def _database_files() -> tuple[Path, ...]:
    database = HOZI.database()
    if not database["ENGINE"].endswith("sqlite3"):
        return ()
    return tuple(Path(f"{database['NAME']}{suffix}") for suffix in ("", "-wal", "-shm", "-journal"))


def _own_files() -> Iterator[tuple[int, int]]:
    for path in _database_files():
        try:
            status = path.stat()
        except OSError:
            continue
        yield status.st_dev, status.st_ino


def header_of(file: BinaryIO) -> part10.FileHeader:
    """The header of a file that may be an image. Raises `NotAnImage`."""
    if not file.seek(0, os.SEEK_END):
        raise NotAnImage("empty file")
    file.seek(0)
    try:
        header = part10.read_header(file)
    except Unreadable:
        raise NotAnImage("not DICOM") from None
    if header.is_directory:
        raise NotAnImage("media directory, not an image")
    return header


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The rest of a file."""
    while piece := file.read(PIECE):
        yield piece


def _begins_as_dicom(path: Path) -> bool:
    """Whether the file says that it is DICOM. It may be a ZIP archive as well: these have their list at the end."""
    try:
        with path.open("rb") as file:
            start = file.read(part10.PREAMBLE_LENGTH + len(part10.PREFIX))
    except OSError:
        return False
    return start.endswith(part10.PREFIX) and len(start) > part10.PREAMBLE_LENGTH


def _on_disk(path: Path, name: str) -> Found:
    try:
        status = path.stat()
    except OSError as error:
        return Found(name, "", None, f"cannot be read: {error.strerror or 'input error'}")
    return Found(name, f"{status.st_size}.{status.st_mtime_ns}", lambda: path.open("rb"))


# Folders ----------------------------------------------------------------------------------------------


def _in_folder(root: Path) -> Iterator[Found]:
    """All files, in the order of their names. ZIP archives among them are opened; links may not lead out."""
    inside = root.resolve()
    unread: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unread.append):
        yield from _unread(unread)
        folders.sort()
        for name in [name for name in folders if is_own(Path(folder, name))]:
            folders.remove(name)
            yield Found(str(Path(folder, name)), "", None, OWN)
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in sorted([*names, *links]):
            path = Path(folder, name)
            if is_own(path):
                yield Found(str(path), "", None, OWN)
            elif path.is_symlink() and not path.resolve().is_relative_to(inside):
                yield Found(str(path), "", None, "a link that leads out of the folder")
            elif path.is_dir():
                continue  # a link to a folder in here, whose files are seen there
            elif not path.is_file():
                yield Found(str(path), "", None, "no regular file")
            elif path.suffix.lower() == ".zip" and not _begins_as_dicom(path) and zipfile.is_zipfile(path):
                yield from _in_zip(path)
            else:
                yield _on_disk(path, str(path))
    yield from _unread(unread)


def _unread(errors: list[OSError]) -> Iterator[Found]:
    while errors:
        error = errors.pop()
        yield Found(str(error.filename), "", None, f"cannot be read: {error.strerror or 'input error'}")


# ZIP archives -----------------------------------------------------------------------------------------


def _in_zip(path: Path) -> Iterator[Found]:
    try:
        with path.open("rb") as file:
            _check_listing(file)
            with zipfile.ZipFile(file) as archive:
                yield from _entries(path, archive)
    except Refused as refused:
        yield Found(str(path), "", None, str(refused))
    except DAMAGED:
        yield Found(str(path), "", None, "damaged ZIP archive")
    except OSError as error:
        yield Found(str(path), "", None, f"cannot be read: {error.strerror or 'input error'}")


def _check_listing(file: BinaryIO) -> None:
    """Raises `Refused` when the list of entries is too long to be read, by what the end of the archive says of it."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(length - _LONGEST_COMMENT - _LOCATOR.size - _END_64.size, 0))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        raise zipfile.BadZipFile
    *_, count, size, _, _ = _END.unpack_from(tail, end)
    told = [(count, size)]
    if tail[max(end - _LOCATOR.size, 0) :].startswith(b"PK\x06\x07"):
        *_, place, _ = _LOCATOR.unpack_from(tail, end - _LOCATOR.size)
        # Versions of Python look for this record right in front of the locator, or where the locator points to.
        for start in (length - len(tail) + end - _LOCATOR.size - _END_64.size, place):
            file.seek(min(max(start, 0), length))
            if (record := file.read(_END_64.size)).startswith(b"PK\x06\x06"):
                *_, count, size, _ = _END_64.unpack(record)
                told.append((count, size))
    file.seek(0)
    # What reaches beyond the file (as 0xFFFFFFFF does, which stands for "see the other record") Python refuses itself.
    if any(count > _MOST_ENTRIES or _MOST_LISTING < size <= length for count, size in told):
        raise Refused(_TOO_MANY)


def _entries(path: Path, archive: zipfile.ZipFile) -> Iterator[Found]:
    status = path.stat()
    entries = [info for info in archive.infolist() if not info.is_dir()]
    if len(entries) > _MOST_ENTRIES:
        raise Refused(_TOO_MANY)
    if sum(info.compress_size for info in entries) > status.st_size:
        raise Refused("its entries lie over one another")
    total = sum(info.file_size for info in entries)
    if total > status.st_size * _MOST_GROWTH + _FREE_GROWTH:
        raise Refused(f"it would unpack to {total >> 20} MiB, far more than images do")
    for number, info in enumerate(entries):
        name = f"{path}!{info.filename}"
        stamp = f"{status.st_size}.{status.st_mtime_ns}.{number}"
        if info.flag_bits & 0x41:
            yield Found(name, stamp, None, "encrypted")
        elif stat.S_ISLNK(info.external_attr >> 16):
            yield Found(name, stamp, None, "a link")
        elif info.file_size > HOZI.max_object_bytes:
            yield Found(name, stamp, None, "larger than this archive takes in")
        else:
            yield Found(name, stamp, lambda info=info: _unpacked(archive, info))  # type: ignore[misc]


@contextmanager
def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[BinaryIO]:
    """A nameless file with an entry's bytes; only its beginning is unpacked when that is not DICOM."""
    with tempfile.TemporaryFile(dir=scratch()) as copy, archive.open(info) as entry:
        start = entry.read(_LOOK)
        copy.write(start)
        is_dicom = start[part10.PREAMBLE_LENGTH :].startswith(part10.PREFIX)
        if start.startswith(b"PK\x03\x04") and not is_dicom:
            raise NotAnImage("a ZIP archive inside a ZIP archive")
        header_of(copy)
        copy.seek(0, os.SEEK_END)
        for piece in pieces(entry):  # type: ignore[arg-type]  # has `read`, which is all that is needed
            copy.write(piece)
        if copy.tell() != info.file_size:
            raise zipfile.BadZipFile
        copy.flush()
        copy.seek(0)
        yield copy


# DICOMDIR ---------------------------------------------------------------------------------------------


def _is_directory(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return part10.read_header(file).is_directory
    except (Unreadable, OSError):
        return False


def _named_by(listing: Path) -> Iterator[Found]:
    """The files that a DICOMDIR names (PS3.3 §F.3.2.2, Referenced File ID), if they lie beside or below it."""
    try:
        with listing.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            named = list(directory.referenced_files(mapped))
    except Unreadable as error:
        yield Found(str(listing), "", None, f"damaged DICOMDIR: {error}")
        return
    inside = listing.parent.resolve()
    shelves = _Shelves()
    for parts in named:
        name = f"{listing}!{'/'.join(parts)}"
        if not all(_is_plain(part) for part in parts):
            yield Found(name, "", None, "the DICOMDIR names a file outside of its folder")
            continue
        path = shelves.find(listing.parent, parts)
        if path is None or not path.is_file():
            yield Found(name, "", None, "the DICOMDIR names it, but it is not there")
        elif is_own(path):
            yield Found(name, "", None, OWN)
        elif not path.resolve().is_relative_to(inside):
            yield Found(name, "", None, "the DICOMDIR names a file outside of its folder")
        else:
            yield _on_disk(path, name)


def _is_plain(part: str) -> bool:
    """Whether a component of a File ID is the name of a file or folder and nothing else, on any system."""
    return bool(part.strip(". ")) and not set(part) & set("/\\:\0") and not _DEVICES.fullmatch(part)


class _Shelves:
    """Finds files by their names on the medium, which systems show in lower case, or with a version number (`;1`)."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[str, str]] = {}

    def find(self, folder: Path, parts: tuple[str, ...]) -> Path | None:
        """The path below ``folder``, or None."""
        path = folder
        for part in parts:
            if path not in self._known:
                try:
                    names = [entry.name for entry in path.iterdir()]
                except OSError:
                    names = []
                self._known[path] = {_plain_name(name): name for name in sorted(names)} | {name: name for name in names}
            name = self._known[path].get(part) or self._known[path].get(_plain_name(part))
            if name is None:
                return None
            path = path / name
        return path


def _plain_name(name: str) -> str:
    return name.partition(";")[0].rstrip(".").casefold()
