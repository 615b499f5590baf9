"""A small picture of a series, by which people recognise it: of its middle image, a few kilobytes, made once.

Pictures are kept below the home folder, under the name of the object's content and of how they are drawn: they can be
removed at any time, and are made again. Images that cannot be decoded cost one try an hour, not one a request.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from hozi.accounts.authorise import Who
from hozi.archive.looks import note
from hozi.archive.models import Instance, Series, StoredObject
from hozi.archive.place import scratch, volume
from hozi.archive.study_page import LOOK, instance_of, series_of
from hozi.core.dicom import directory, syntaxes
from hozi.core.pixels.pool import TranscodeFailed, Workers
from hozi.settings import HOZI

SIZE: Final = 144
"""Pixels, the longer side."""
_VERSION: Final = 1
"""Another number for another way of drawing: pictures that were kept are not used any more."""

_SECONDS: Final = 20.0
_PATIENCE_SECONDS: Final = 25.0
_MEMORY_BYTES: Final = 1 << 30
_MOST_KEPT_BYTES: Final = 256 << 20
_LOOK_ROUND: Final = 200
"""One in so many new pictures looks whether there are too many."""
_AGAIN_SECONDS: Final = 3600.0

Kind = Literal["image", "damaged", "video", "report", "document", "waveform", "other"]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture of a series or an object, as JPEG; or, without ``picture``, what there is in the place of one.

    ``name`` changes when the picture does. ``damaged``: there are pixels, but they cannot be shown.
    """

    kind: Kind
    name: str
    picture: bytes = b""


def of_series(who: Who, series: int) -> Thumbnail:
    """The picture of a series. Raises `NotThere` when it is out of reach."""
    row = series_of(who, LOOK, series)
    note(who, row.study, "pictures")
    middle = _middle(row)
    return Thumbnail("other", "nothing") if middle is None else _of(middle)


def of_instance(who: Who, instance: int) -> Thumbnail:
    """The picture of one object. Raises `NotThere` when it is out of reach."""
    row = instance_of(who, LOOK, instance)
    note(who, row.series.study, "pictures")
    return _of(row.stored)


def of_file(key: str, offset: int, transfer_syntax: str, sop_class: str) -> Thumbnail:
    """The picture of an object whose file lies in the volume. Whoever calls has asked whether it may be shown.

    Raises `Unavailable` when too many are being drawn, and `Missing` when the file is gone.
    """
    what = kind(sop_class, transfer_syntax)
    name = hashlib.sha256(f"{key} {offset} {transfer_syntax} {SIZE} {_VERSION}".encode()).hexdigest()
    if what not in ("image", "other"):
        return Thumbnail(what, name)
    kept = _kept(name)
    if kept is None:
        kept = _drawn(key, offset, transfer_syntax)
        _keep(name, kept)
    if kept:
        return Thumbnail("image", name, kept)
    return Thumbnail("damaged" if what == "image" else what, name)


def _of(stored: StoredObject) -> Thumbnail:
    return of_file(stored.key, stored.dataset_offset, stored.transfer_syntax, stored.instance.sop_class)


def _middle(series: Series) -> StoredObject | None:
    """The object in the middle of a series, by number."""
    rows = Instance.objects.filter(series=series).order_by("number", "pk")
    middle = rows.values_list("pk", flat=True)[series.instance_count // 2 :].first()
    if middle is None:  # what is counted may be more than there is
        middle = rows.values_list("pk", flat=True).first()
    return StoredObject.objects.filter(instance=middle).select_related("instance").first()


def kind(sop_class: str, transfer_syntax: str) -> Kind:
    """What there is to show of objects of this kind, judged by its directory record (PS3.3 §F.5)."""
    syntax = syntaxes.get(transfer_syntax)
    if syntax is not None and syntax.video:
        return "video"
    record_type = directory.record_type(sop_class)
    if record_type in ("IMAGE", "RT DOSE"):
        return "image"
    if record_type in ("SR DOCUMENT", "KEY OBJECT DOC"):
        return "report"
    return {"ENCAP DOC": "document", "WAVEFORM": "waveform"}.get(record_type, "other")  # type: ignore[return-value]


# Drawing ----------------------------------------------------------------------------------------------


@cache
def workers() -> Workers:
    """This process's worker for pictures, apart from the one that transcodes: a small picture waits for no cine."""
    made = Workers(
        workers=1, seconds=_SECONDS, memory_bytes=_MEMORY_BYTES, folder=scratch(), patience=_PATIENCE_SECONDS
    )
    atexit.register(made.close)
    return made


def _drawn(key: str, offset: int, transfer_syntax: str) -> bytes:
    """The picture; empty when there is none to be had."""
    with volume().local(key) as path:
        request = {"source": str(path.absolute()), "offset": offset, "from": transfer_syntax, "size": SIZE}
        try:
            picture = workers().ask(request, "picture")
        except TranscodeFailed:
            return b""
    try:
        return picture.read_bytes()
    finally:
        picture.unlink()


# Keeping ----------------------------------------------------------------------------------------------


def _folder() -> Path:
    return HOZI.home / "cache" / "pictures"


def _path(name: str) -> Path:
    return _folder() / name[:2] / f"{name}.jpg"


def _kept(name: str) -> bytes | None:
    """The picture that was made before; empty when none could be made lately, None when it is to be made."""
    path = _path(name)
    try:
        data = path.read_bytes()
        if not data and time.time() - path.stat().st_mtime > _AGAIN_SECONDS:
            return None
        if data:
            os.utime(path)  # those that nobody asks for go first
    except OSError:
        return None
    return data


def _keep(name: str, picture: bytes) -> None:
    """Keeps the picture if that is possible: without, it is only slower."""
    path = _path(name)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as file:
            file.write(picture)
        Path(temporary).replace(path)
        if random.randrange(_LOOK_ROUND) == 0:  # noqa: S311 - nobody gains by guessing it
            clear(_MOST_KEPT_BYTES)
    except OSError:
        pass


def clear(most_bytes: int) -> int:
    """Removes the pictures that were not asked for for the longest time, until at most so many bytes are left.

    Returns how many were removed. Each counts with the block of the disk that it takes.
    """
    found = sorted(_pictures())
    total = sum(size for _, size, _ in found)
    removed = 0
    for _, size, path in found:
        if total <= most_bytes:
            break
        with suppress(OSError):  # somebody else removes it
            path.unlink()
        total -= size
        removed += 1
    return removed


def _pictures() -> Iterator[tuple[float, int, Path]]:
    for folder, _, names in os.walk(_folder()):
        for name in names:
            path = Path(folder) / name
            with suppress(OSError):
                status = path.stat()
                yield status.st_mtime, max(status.st_blocks * 512, status.st_size), path
