"""Files are brought in: folders, single files, ZIP archives, and what a DICOMDIR names (`hozi import`).

Every file that is seen has one fate: stored, duplicate, quarantined or refused with a reason. An import that was cut
off goes on where it stopped: a journal beside the database knows what was done.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, Final

from hozi.archive import media
from hozi.archive.arrived import Announced, Origin
from hozi.archive.facts import SOP_CLASS_UID, SOP_INSTANCE_UID
from hozi.archive.media import Found
from hozi.archive.receive import Check, NoRoom, Receipt, Receiver
from hozi.core.dicom import part10, scan, syntaxes, uids
from hozi.core.errors import HoziError, Refused, Unreadable

FATES: Final = ("stored", "duplicate", "quarantined", "refused")


@dataclass(frozen=True, slots=True)
class Seen:
    """One file and its fate; ``reason`` says why it was not simply stored. ``receipt``: of what came in just now."""

    name: str
    fate: str
    reason: str = ""
    receipt: Receipt | None = field(default=None, compare=False)


@dataclass
class Summary:
    """What became of everything that was seen: the four fates add up to ``seen``.

    ``resumed``: how many of them an earlier run had done that was cut off.
    """

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
            for found in media.files(path):
                known = journal.fate(found)
                if known is None:
                    seen = take_one(found, receiver, origin)
                    journal.add(found, seen)
                else:
                    seen = known
                    summary.resumed += 1
                summary.files.append(seen)
                progress(seen)
    return summary


def take_one(found: Found, receiver: Receiver, origin: Origin, check: Check | None = None) -> Seen:
    """Takes in one file, if ``check`` lets it, and says what became of it. Raises `NoRoom`."""
    if found.open is None:
        return Seen(found.name, "refused", found.refusal)
    try:
        with found.open() as file:
            return _receive(found.name, file, receiver, origin, check)
    except (Refused, Unreadable) as error:
        return Seen(found.name, "refused", str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoom("the disk is full") from None
        return Seen(found.name, "refused", f"cannot be read: {error.strerror or 'input error'}")
    except media.DAMAGED:
        return Seen(found.name, "refused", media.DAMAGED_ZIP)


def _receive(name: str, file: BinaryIO, receiver: Receiver, origin: Origin, check: Check | None) -> Seen:
    header = media.header_of(file)
    announced = _announced(file, header)
    file.seek(header.dataset_offset)
    kind = part10.preamble_kind(header.preamble)
    receipt = receiver.receive(announced, origin, media.pieces(file), preamble=kind, check=check)
    reason = "" if receipt.reason is None else f"{receipt.reason.value}: {receipt.explanation}"
    return Seen(name, receipt.result.value, reason, receipt)


def _announced(file: BinaryIO, header: part10.FileHeader) -> Announced:
    """What the dataset says of itself; of one that cannot be read, what the file header says."""
    with (
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
        view[header.dataset_offset :] as dataset,
    ):
        try:
            found = scan.scan(dataset, syntaxes.for_unknown(header.transfer_syntax))
        except Unreadable:
            return Announced(header.sop_class, header.sop_instance, header.transfer_syntax)
    sop_class, sop_instance = (uids.clean(found.values.get(tag, b"")) for tag in (SOP_CLASS_UID, SOP_INSTANCE_UID))
    return Announced(sop_class, sop_instance, header.transfer_syntax)


# Going on after an interruption ------------------------------------------------------------------------


class _Journal:
    """What an unfinished import has done: a line for each file. It goes away when the import is through."""

    def __init__(self, folder: Path, paths: list[Path], origin: Origin) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        told = json.dumps([[str(path.resolve()) for path in paths], origin.facility])
        self._path = folder / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.journal"
        self._done: dict[tuple[str, str], Seen] = {}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _Journal:
        known = self._path.read_bytes() if self._path.exists() else b""
        whole = known[: known.rfind(b"\n") + 1]  # without the line that was being written when the power failed
        for line in whole.splitlines():
            try:
                name, stamp, fate, reason = json.loads(line)
            except ValueError:
                continue  # not flushed before a power cut: the file is done once more, and is a duplicate
            self._done[name, stamp] = Seen(name, fate, reason)
        self._file = self._path.open("ab", buffering=0)
        self._file.truncate(len(whole))
        return self

    def fate(self, found: Found) -> Seen | None:
        """The fate of a file that was done before, if it has not changed since."""
        return self._done.get((found.name, found.stamp)) if found.open is not None else None

    def add(self, found: Found, seen: Seen) -> None:
        """The file is done."""
        if self._file is None:
            raise HoziError("the journal is not open")
        line = json.dumps([seen.name, found.stamp, seen.fate, seen.reason])
        self._file.write(f"{line}\n".encode("ascii"))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._file is not None:
            self._file.close()
        if error is None:
            self._path.unlink(missing_ok=True)
