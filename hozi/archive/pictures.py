"""Pictures of objects, and their samples at full depth: what browsers show. Made in worker processes, kept on disk.

Whoever calls has found the `Holding` within its reach: nothing here asks again. A picture that cannot be made raises
`NoPicture`, which says why; one try an hour is made then, not one a request.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from hozi.archive import kept
from hozi.archive.fetch import Holding
from hozi.archive.place import scratch
from hozi.core.errors import HoziError, NotThere, Refused
from hozi.core.pixels.pool import FrameMissing, TranscodeFailed, Workers
from hozi.settings import HOZI

_VERSION: Final = 1
"""Another number for another way of drawing: what was kept is not used any more."""
_PATIENCE_SECONDS: Final = 25.0

Kind = Literal["jpeg", "png", "webp", "gif"]

_SHOWING: Final = frozenset({0x0018, 0x0028, 0x0062, 0x0070, 0x2050, 0x3004, 0x5200})
"""Groups of elements whose corrections change a picture."""
WIRE: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202")
"""What `frame` makes of any frame that can be decoded: plain little endian, and HTJ2K without loss."""


class NoPicture(HoziError):
    """There is no picture of this object, or none can be made; the text says why. The original is there."""


@dataclass(frozen=True, slots=True)
class Look:
    """How an object is to be seen.

    ``frame`` counts from 1; 0 with ``kind`` gif: all frames as a loop. ``window``: center, width, function, in the
    units of the modality, instead of the object's own. ``width`` and ``height``: the room for the picture, whose
    proportions stay; it is made larger than it is only to ``enlarge``. ``region``: left, top, width, height in pixels
    of the frame, flipped where negative. ``overlays``: whether overlay planes are drawn.
    """

    frame: int = 1
    window: tuple[float, float, str] | None = None
    width: int | None = None
    height: int | None = None
    quality: int = 80
    kind: Kind = "jpeg"
    overlays: bool = True
    enlarge: bool = False
    region: tuple[float, float, float, float] | None = None

    def told(self) -> dict[str, Any]:
        """The look as a worker takes it: what is as usual is left out."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) != _USUAL[name]}


_USUAL: Final[dict[str, Any]] = {name: getattr(Look(), name) for name in Look.__slots__}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a file. ``etag`` changes when the picture does."""

    data: bytes
    content_type: str
    lossy: bool
    etag: str


@dataclass(frozen=True, slots=True)
class Values:
    """Samples as HZV1 (`core.pixels.wire`), gzip-compressed. ``etag`` changes when they do."""

    data: bytes
    etag: str


def picture(holding: Holding, look: Look, presentation: Holding | None = None) -> Picture:
    """A picture of an object, as a presentation state wants it if one is given.

    Raises `NoPicture`, `NotThere` when there is no such frame, `Unavailable` when too many are being made, `Missing`.
    """
    name = etag(holding, look, presentation)
    data = _once(holding, f"{name}.{look.kind}", {"look": look.told()}, presentation)
    return Picture(data, f"image/{look.kind}", look.kind != "png", name)


def etag(holding: Holding, look: Look, presentation: Holding | None = None) -> str:
    """The etag that the picture has or would have."""
    return _name(holding, "look", look.told(), presentation)


def values(holding: Holding, frame: int) -> Values:
    """The samples of one frame, counted from 1, at full depth. Raises as `picture` does."""
    name = _name(holding, "values", frame)
    return Values(_once(holding, f"{name}.hzv", {"values": frame}), name)


def frame(holding: Holding, frame: int, syntax: str) -> bytes:
    """One frame, counted from 1, in one of the syntaxes of `WIRE`. Raises as `picture` does.

    Colours that were compressed with loss as luminance and chrominance come out as red, green and blue.
    """
    if syntax not in WIRE:
        raise Refused("Frames cannot be given in that transfer syntax.", field="transfer-syntax")
    request = {"frame": frame, "to": syntax}
    if syntax == WIRE[0]:  # large, and quickly made: not kept
        return _made(holding, request)
    return _once(holding, f"{_name(holding, 'frame', request)}.j2c", request)


@cache
def workers() -> Workers:
    """This process's workers for pictures, apart from those that transcode: a small picture waits for no cine."""
    made = Workers(
        workers=HOZI.picture_workers,
        seconds=HOZI.picture_seconds,
        memory_bytes=HOZI.picture_memory_bytes,
        folder=scratch(),
        patience=_PATIENCE_SECONDS,
    )
    atexit.register(made.close)
    return made


def _name(holding: Holding, what: str, how: Any, presentation: Holding | None = None) -> str:
    """A name for what is made: of the object's content, of what is corrected about it, and of how it is made."""
    objects = [
        [one.sha256, one.transfer_syntax, {f"{tag:08X}": value for tag, value in sorted(_changes(one).items())}]
        for one in (holding, presentation)
        if one is not None
    ]
    told = json.dumps([_VERSION, what, how, objects], default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:40]


def _changes(holding: Holding) -> dict[int, Any]:
    changes = holding.changes
    return {tag: changes[tag] for tag in changes if tag >> 16 in _SHOWING or tag >> 24 == 0x60} if changes else {}


def _once(holding: Holding, name: str, request: dict[str, Any], presentation: Holding | None = None) -> bytes:
    def make() -> bytes:
        try:
            return _made(holding, request, presentation)
        except NoPicture as error:
            kept.keep(f"{name}.failed", str(error).encode())
            return b""

    data = kept.once(name, make)
    if not data:
        reason = kept.get(f"{name}.failed")
        raise NoPicture((reason or b"The image cannot be shown.").decode())
    return data


def _made(holding: Holding, request: dict[str, Any], presentation: Holding | None = None) -> bytes:
    with _source(holding) as asked, _source(presentation) if presentation else nullcontext() as about:
        asked |= request
        if about is not None:
            asked["presentation"] = about
        try:
            return workers().fetch(asked)
        except FrameMissing as error:
            raise NotThere(str(error)) from None
        except TranscodeFailed as error:
            raise NoPicture(str(error)) from None


@contextmanager
def _source(holding: Holding) -> Iterator[dict[str, Any]]:
    """A file with the dataset as a worker takes it: the stored one, or one in which corrections are made."""
    if not _changes(holding):
        with holding.local() as (path, offset):
            yield {"source": str(path), "offset": offset, "from": holding.transfer_syntax}
        return
    handle, name = tempfile.mkstemp(dir=scratch(), prefix="corrected-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(holding.send_as(holding.transfer_syntax))
        yield {"source": name, "offset": 0, "from": holding.transfer_syntax}
    finally:
        Path(name).unlink()
