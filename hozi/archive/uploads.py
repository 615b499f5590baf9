"""Files that people bring with a browser, over links that break: what came is kept, and the next attempt goes on.

A file is known by who brings it, its length and a key that the browser makes of its name and date (the name itself
stays there). What came of it lies in a folder beside the archive's objects until all is there; then it is received
like any other, and what became of it is remembered for some days: chosen again, it is not sent again.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Final

from django.utils import timezone

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.archive import bring, bringing, media
from hozi.archive.arrived import Origin
from hozi.archive.bring import Seen
from hozi.archive.models import ExceptionCase, Study, Upload
from hozi.archive.place import volume
from hozi.archive.receive import Check, NoRoom, Receipt, Result
from hozi.core.errors import Changed, Refused, Unavailable
from hozi.core.storage.volume import sync_folder
from hozi.settings import HOZI

DAYS: Final = 7
"""So long is an unfinished file kept, and what became of a finished one remembered."""

MOST_FILES: Final = 64
MOST_BYTES: Final = 64 << 30
"""Unfinished files of one person, in number and in bytes that they will have."""

MOST_ASKED: Final = 500
_MOST_REASONS: Final = 20
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_NAME: Final = re.compile(r"(\d+)-([0-9a-f]{32})-(\d+)\.part")


class Busy(Unavailable):
    """The same file is being sent already: by another window, or by a connection that is not known to be dead yet."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why something of a file is not simply stored: the kind of exception and its number, or a text alone."""

    text: str
    reason: str = ""
    case: int | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a file: how many objects of it had which fate (`bring.FATES`), and in which studies they are."""

    counts: dict[str, int]
    whys: list[Why] = field(default_factory=list)
    studies: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a file has come: ``offset`` bytes of it are here; with a ``fate``, it is done."""

    offset: int
    fate: Fate | None = None


def standing(who: Who, files: Iterable[tuple[str, int]]) -> list[Standing]:
    """How far each of these files (key and length) has come, in their order."""
    person = _person(who)
    asked = [_checked(key, length) for key, length in files]
    if len(asked) > MOST_ASKED:
        raise Refused(f"Ask for {MOST_ASKED} files at most")
    rows = Upload.objects.filter(person=person, key__in=[key for key, _ in asked])
    done = {(row.key, row.length): _fate(row) for row in rows}
    return [_standing(_path(person, key, length), length, done.get((key, length))) for key, length in asked]


def take(who: Who, key: str, length: int, offset: int, pieces: Iterable[bytes], *, facility: str = "") -> Standing:
    """Takes in what comes of a file from byte ``offset`` on; with its last byte, the file is received.

    What came stays, whatever ``pieces`` raises. Raises Changed when another byte is the next one, Busy, Refused
    (too large, too many at once), NoRoom.
    """
    person = _person(who)
    key, length = _checked(key, length)
    origin = bringing.origin(who, facility, source="upload")
    path = _path(person, key, length)
    if (fate := _done(person, key, length)) is not None:
        return Standing(length, fate)
    _need_room(person, path, length)
    with _part(path) as file:
        # Whoever held it before may have finished it.
        if (fate := _done(person, key, length)) is not None:
            path.unlink(missing_ok=True)
            return Standing(length, fate)
        here = file.seek(0, os.SEEK_END)
        if here != offset:
            raise Changed(f"The next byte of that file is {here}", field="offset")
        here = _append(file, here, length, pieces)
        if here < length:
            return Standing(here)
        fate = _receive(path, origin, bringing.check_of(who, origin.facility))
        Upload.objects.update_or_create(
            person=person,
            key=key,
            length=length,
            defaults={
                "counts": fate.counts,
                "whys": [[why.text, why.reason, why.case] for why in fate.whys],
                "studies": fate.studies,
                "done_at": timezone.now(),
            },
        )
        path.unlink(missing_ok=True)
    return Standing(length, fate)


def give_up(who: Who, key: str, length: int) -> None:
    """Forgets what came of a file, so that nothing of it lies about."""
    key, length = _checked(key, length)
    _path(_person(who), key, length).unlink(missing_ok=True)


def sweep() -> int:
    """Regular work: removes what nobody went on with for days, and what is remembered of old ones; returns how many."""
    before = time.time() - DAYS * 86_400
    removed = 0
    for path in _folder().iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    gone, _ = Upload.objects.filter(done_at__lt=timezone.now() - timedelta(days=DAYS)).delete()
    return removed + gone


# The parts ---------------------------------------------------------------------------------------------


def _person(who: Who) -> int:
    authorise.check(who, bringing.PERMISSION)
    if who.person is None:
        raise Refused("Files are uploaded by people; programs use STOW-RS")
    return who.person


def _checked(key: str, length: int) -> tuple[str, int]:
    if not _KEY.fullmatch(key):
        raise Refused("That is no key of a file", field="key")
    if not 0 < length <= HOZI.max_object_bytes:
        told = (
            "is empty" if length <= 0 else f"is larger than {HOZI.max_object_bytes >> 20} MiB, the most that is taken"
        )
        raise Refused(f"The file {told}", field="length")
    return key, length


def _folder() -> Path:
    folder = HOZI.storage / "uploads"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _path(person: int, key: str, length: int) -> Path:
    return _folder() / f"{person}-{key}-{length}.part"


def _standing(path: Path, length: int, fate: Fate | None) -> Standing:
    if fate is not None:
        return Standing(length, fate)
    try:
        return Standing(path.stat().st_size)
    except OSError:
        return Standing(0)


def _need_room(person: int, path: Path, length: int) -> None:
    free = volume().free_bytes()
    # It is here twice for a moment: as it came, and in its place.
    if free is not None and free - 2 * length < HOZI.min_free_bytes:
        raise NoRoom("there is not enough room on the disk")
    if path.exists():
        return
    named = [found for one in _folder().iterdir() if (found := _NAME.fullmatch(one.name)) and int(found[1]) == person]
    if len(named) >= MOST_FILES or sum(int(found[3]) for found in named) + length > MOST_BYTES:
        raise Refused("You have too many unfinished files: finish these, or wait until they are removed")


@contextmanager
def _part(path: Path) -> Iterator[BinaryIO]:
    """The file with what has come, for nobody else at the same time."""
    new = not path.exists()
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy("That file is being sent already") from None
        if new:
            sync_folder(path.parent)
        yield file


def _append(file: BinaryIO, here: int, length: int, pieces: Iterable[bytes]) -> int:
    """Writes what comes behind what is there; returns where it ends. What came is on the disk, also when it raises."""
    try:
        for piece in pieces:
            if here + len(piece) > length:
                raise Refused("More came than the file was said to have", field="length")
            file.write(piece)
            here += len(piece)
    finally:
        file.flush()
        os.fdatasync(file.fileno())
    return here


# What became of it -------------------------------------------------------------------------------------


def _receive(path: Path, origin: Origin, check: Check | None) -> Fate:
    counts = dict.fromkeys(bring.FATES, 0)
    whys: list[Why] = []
    studies: dict[str, None] = {}
    for found in media.handed_in(path):
        seen = bring.take_one(found, bringing.receiver(), origin, check)
        counts[seen.fate] += 1
        if seen.receipt is not None and seen.receipt.result is not Result.QUARANTINED:
            studies[seen.receipt.study] = None
        elif len(whys) < _MOST_REASONS:
            whys.append(_why(seen, origin))
    return Fate(counts, whys, list(Study.objects.filter(uid__in=studies).order_by("pk").values_list("pk", flat=True)))


def _why(seen: Seen, origin: Origin) -> Why:
    receipt: Receipt | None = seen.receipt
    if receipt is None or receipt.reason is None:
        return Why(seen.reason)
    cases = ExceptionCase.objects.filter(reason=receipt.reason, actor=origin.actor, sop_instance_uid=receipt.instance)
    return Why(receipt.explanation, receipt.reason.value, cases.order_by("-pk").values_list("pk", flat=True).first())


def _done(person: int, key: str, length: int) -> Fate | None:
    row = Upload.objects.filter(person=person, key=key, length=length).first()
    return None if row is None else _fate(row)


def _fate(row: Upload) -> Fate:
    return Fate(dict(row.counts), [Why(*why) for why in row.whys], list(row.studies))
