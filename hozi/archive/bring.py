"""Files are brought in: folders, single files, ZIP archives, and what a DICOMDIR names (`hozi import`).

Every file that is seen has one fate: stored, duplicate, quarantined or refused with a reason. An import that was cut
off goes on where it stopped: a journal beside the database knows what was done.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Final

from hozi.archive.facts import SOP_CLASS_UID, SOP_INSTANCE_UID
from hozi.archive.receive import Announced, NoRoom, Origin, Receiver
from hozi.core.dicom import identifier, part10, scan, sop_classes, syntaxes, uids
from hozi.core.errors import HoziError, Refused, Unreadable
from hozi.settings import HOZI

_PIECE: Final = 1 << 18
_LOOK: Final = 1 << 16
"""So much of a ZIP entry is looked at before the rest of it is unpacked."""

_MOST_ENTRIES: Final = 200_000
_MOST_GROWTH: Final = 200
"""A ZIP archive may unpack to so many times its size, and a GiB: images shrink to a quarter, seldom to less."""

FATES: Final = ("stored", "duplicate", "quarantined", "refused")


@dataclass(frozen=True, slots=True)
class Seen:
    """One file and its fate; ``reason`` says why it was not simply stored."""

    name: str
    fate: str
    reason: str = ""


@dataclass
class Summary:
    """What became of everything that was seen: the four fates add up to ``seen``."""

    files: list[Seen] = field(default_factory=list)
    resumed: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """How many files had which fate, and ``seen``, how many there were."""
        by_fate = Counter(file.fate for file in self.files)
        return {"seen": len(self.files), **{fate: by_fate[fate] for fate in FATES}}

    @property
    def clean(self) -> bool:
        """Whether every file is in the archive."""
        return all(file.fate in ("stored", "duplicate") for file in self.files)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file that was found: how to get at it locally, or why it is refused unread. ``stamp`` tells if it changed."""

    name: str
    stamp: str
    open: Callable[[], AbstractContextManager[Path]] | None
    refusal: str = ""


class NotAnImage(Refused):
    """A file that does not belong into an archive of images; the text says what it is instead."""


def bring(
    paths: list[Path],
    receiver: Receiver,
    origin: Origin,
    *,
    journals: Path,
    progress: Callable[[Seen], None] = lambda seen: None,
) -> Summary:
    """Takes in every file below ``paths`` and says what became of each.

    ``journals`` is a folder in which the state of unfinished imports is kept. Raises `Refused` for a path that does
    not exist, and `NoRoom` when the disk is full: what was done until then stays done, and the same call goes on.
    """
    for path in paths:
        if not path.exists():
            raise Refused(f"{path} does not exist")
    summary = Summary()
    with _Journal(journals, paths, origin) as journal:
        for path in paths:
            for entry in _entries(path):
                known = journal.fate(entry)
                if known is None:
                    seen = _take(entry, receiver, origin)
                    journal.add(entry, seen)
                else:
                    seen = known
                    summary.resumed += 1
                summary.files.append(seen)
                progress(seen)
    return summary


def _take(entry: _Entry, receiver: Receiver, origin: Origin) -> Seen:
    if entry.open is None:
        return Seen(entry.name, "refused", entry.refusal)
    try:
        with entry.open() as path:
            return _receive(entry.name, path, receiver, origin)
    except (NotAnImage, Unreadable) as error:
        return Seen(entry.name, "refused", str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoom("the disk is full") from None
        return Seen(entry.name, "refused", f"cannot be read: {error.strerror or 'input error'}")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        return Seen(entry.name, "refused", "damaged in its ZIP archive, or packed in a way that is not known")


def _receive(name: str, path: Path, receiver: Receiver, origin: Origin) -> Seen:
    with path.open("rb") as file:
        header = _header(file)
        announced = _announced(file, header)
        file.seek(header.dataset_offset)
        receipt = receiver.receive(announced, origin, _pieces(file), preamble=part10.preamble_kind(header.preamble))
    reason = "" if receipt.reason is None else f"{receipt.reason.value}: {receipt.explanation}"
    return Seen(name, receipt.result.value, reason)


def _header(file: IO[bytes]) -> part10.FileHeader:
    """The file's header. Raises `NotAnImage`."""
    if not file.seek(0, os.SEEK_END):
        raise NotAnImage("empty file")
    file.seek(0)
    try:
        header = part10.read_header(file)  # type: ignore[arg-type]
    except Unreadable:
        raise NotAnImage("not DICOM") from None
    if header.sop_class == sop_classes.MEDIA_STORAGE_DIRECTORY:
        raise NotAnImage("media directory (DICOMDIR), not an image")
    return header


def _announced(file: IO[bytes], header: part10.FileHeader) -> Announced:
    """What the dataset says of itself; of one that cannot be read, what the file header says."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        dataset = view[header.dataset_offset :]
        try:
            found = scan.scan(dataset, syntaxes.for_unknown(header.transfer_syntax))
            told = tuple(uids.clean(found.values.get(tag, b"")) for tag in (SOP_CLASS_UID, SOP_INSTANCE_UID))
        except Unreadable:
            told = (header.sop_class, header.sop_instance)
        finally:
            dataset.release()
            view.release()
    return Announced(told[0], told[1], header.transfer_syntax)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


# What there is to bring --------------------------------------------------------------------------------


def _entries(path: Path) -> Iterator[_Entry]:
    """Every file below a path: of a folder, a ZIP archive, a DICOMDIR, or the file itself."""
    if path.is_dir():
        yield from _in_folder(path)
    elif zipfile.is_zipfile(path):
        yield from _in_zip(path)
    elif _is_directory_file(path):
        yield from _named_by(path)
    else:
        yield _on_disk(path, str(path))


def _in_folder(root: Path) -> Iterator[_Entry]:
    """All files, in the order of their names. ZIP archives in it are opened; links may not lead out of it."""
    inside = root.resolve()
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                yield _Entry(str(path), "", None, "a link that leads out of the folder")
            elif not path.is_file():
                yield _Entry(str(path), "", None, "no regular file")
            elif path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
                yield from _in_zip(path)
            else:
                yield _on_disk(path, str(path))


def _on_disk(path: Path, name: str) -> _Entry:
    status = path.stat()
    return _Entry(name, f"{status.st_size}.{status.st_mtime_ns}", lambda: nullcontext(path))


def _in_zip(path: Path) -> Iterator[_Entry]:
    """The entries of a ZIP archive. Nothing is unpacked under the name that it has in there."""
    status = path.stat()
    with zipfile.ZipFile(path) as archive:
        entries = [info for info in archive.infolist() if not info.is_dir()]
        total = sum(info.file_size for info in entries)
        if len(entries) > _MOST_ENTRIES:
            yield _Entry(str(path), "", None, f"more than {_MOST_ENTRIES} entries")
            return
        if total > status.st_size * _MOST_GROWTH + (1 << 30):
            yield _Entry(str(path), "", None, f"it would unpack to {total >> 20} MiB, far more than images do")
            return
        for number, info in enumerate(entries):
            name = f"{path}!{info.filename}"
            stamp = f"{status.st_size}.{status.st_mtime_ns}.{number}"
            if info.flag_bits & 0x1:
                yield _Entry(name, stamp, None, "encrypted")
            elif info.file_size > HOZI.max_object_bytes:
                yield _Entry(name, stamp, None, "larger than this archive takes in")
            else:
                yield _Entry(name, stamp, lambda info=info: _unpacked(archive, info))  # type: ignore[misc]


@contextmanager
def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[Path]:
    """A temporary file with an entry's bytes; only its beginning is unpacked when that is not DICOM."""
    folder = HOZI.storage / "scratch"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=folder) as copy, archive.open(info) as entry:
        copy.write(entry.read(_LOOK))
        if zipfile.is_zipfile(copy):
            raise NotAnImage("a ZIP archive inside a ZIP archive")
        _header(copy)
        copy.seek(0, os.SEEK_END)
        for piece in _pieces(entry):
            copy.write(piece)
        copy.flush()
        yield Path(copy.name)


def _is_directory_file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            header = part10.read_header(file)
    except (Unreadable, OSError):
        return False
    return header.sop_class == sop_classes.MEDIA_STORAGE_DIRECTORY


def _named_by(directory: Path) -> Iterator[_Entry]:
    """The files that a DICOMDIR names (PS3.3 F.3.2.2, Referenced File ID), if they lie beside or below it."""
    data = directory.read_bytes()
    header = part10.read_header(data)
    dataset = identifier.read(data[header.dataset_offset :], header.transfer_syntax)
    inside = directory.parent.resolve()
    for record in dataset.get("DirectoryRecordSequence", None) or ():
        named = record.get("ReferencedFileID", None)
        if not named:
            continue
        parts = [named] if isinstance(named, str) else [str(part) for part in named]
        name = f"{directory}!{'/'.join(parts)}"
        path = directory.parent.joinpath(*parts)
        if not all(_is_plain(part) for part in parts) or not path.resolve().is_relative_to(inside):
            yield _Entry(name, "", None, "the DICOMDIR names a file outside of its folder")
        elif not path.is_file():
            yield _Entry(name, "", None, "the DICOMDIR names it, but it is not there")
        else:
            yield _on_disk(path, name)


def _is_plain(part: str) -> bool:
    """Whether a component of a file ID is the name of a file or folder and nothing else."""
    return bool(part) and part not in (".", "..") and PurePosixPath(part).name == part and not set(part) & set("\\:\0")


# Going on after an interruption ------------------------------------------------------------------------


class _Journal:
    """What an unfinished import has done: a line for each file. It goes away when the import is through."""

    def __init__(self, folder: Path, paths: list[Path], origin: Origin) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        told = json.dumps([[str(path.resolve()) for path in paths], origin.facility])
        self._path = folder / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.journal"
        self._done: dict[tuple[str, str], Seen] = {}
        self._file: IO[str] | None = None

    def __enter__(self) -> _Journal:
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    name, stamp, fate, reason = json.loads(line)
                except ValueError:
                    break  # the line that was being written when the power failed
                self._done[name, stamp] = Seen(name, fate, reason)
        self._file = self._path.open("a", encoding="utf-8", buffering=1)
        return self

    def fate(self, entry: _Entry) -> Seen | None:
        """The fate of a file that was done before, if it has not changed since."""
        return self._done.get((entry.name, entry.stamp)) if entry.open is not None else None

    def add(self, entry: _Entry, seen: Seen) -> None:
        """The file is done."""
        if self._file is None:
            raise HoziError("the journal is not open")
        print(json.dumps([seen.name, entry.stamp, seen.fate, seen.reason]), file=self._file)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._file is not None:
            self._file.close()
        if error is None:
            self._path.unlink(missing_ok=True)
