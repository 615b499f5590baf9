"""A small picture of a series, by which people recognise it: of its middle image, a few kilobytes, made once.

Pictures are kept by `kept`, under the name of the object's content and of how they are drawn: they can be removed at
any time, and are made again. Images that cannot be decoded cost one try an hour, not one a request.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from hozi.accounts.authorise import Who, reach
from hozi.archive import kept
from hozi.archive import reach as reaching
from hozi.archive.fetch import Holding
from hozi.archive.looks import note
from hozi.archive.models import Instance, Series, StoredObject
from hozi.archive.pictures import workers
from hozi.archive.place import volume
from hozi.archive.study_page import LOOK, instance_of, series_of, study_of
from hozi.core.dicom import directory, syntaxes
from hozi.core.pixels.pool import TranscodeFailed

SIZE: Final = 144
"""Pixels, the longer side."""
TINY: Final = 64
"""Pixels of a picture in a list: a kilobyte."""
_NO_PICTURES: Final = ("SR", "KO", "PR", "DOC", "ECG")
_VERSION: Final = 2
"""Another number for another way of drawing: pictures that were kept are not used any more."""

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


def of_listed(who: Who, study: int) -> Thumbnail:
    """A tiny picture of a study in a list, of its largest series. Raises `NotThere` when it is out of reach.

    Whoever asks has been shown the list: `browse` has told the audit whose pictures stand in it.
    """
    row = study_of(who, LOOK, study)
    reached = Series.objects.filter(reaching.series(reach(who, LOOK)), study=row)
    largest = reached.exclude(modality__in=_NO_PICTURES).order_by("-instance_count", "pk").first() or reached.first()
    middle = _middle(largest) if largest is not None else None
    return Thumbnail("other", "nothing") if middle is None else _of(middle, TINY)


def of_holding(holding: Holding) -> Thumbnail:
    """The picture of an object that may be shown. Raises as `of_file` does."""
    return of_file(*holding.place, holding.transfer_syntax, holding.sop_class)


def of_file(key: str, offset: int, transfer_syntax: str, sop_class: str, size: int = SIZE) -> Thumbnail:
    """The picture of an object whose file lies in the volume. Whoever calls has asked whether it may be shown.

    Raises `Unavailable` when too many are being drawn, and `Missing` when the file is gone.
    """
    what = kind(sop_class, transfer_syntax)
    name = hashlib.sha256(f"{key} {offset} {transfer_syntax} {size} {_VERSION}".encode()).hexdigest()
    if what not in ("image", "other"):
        return Thumbnail(what, name)
    picture = kept.once(f"{name}.jpg", lambda: _drawn(key, offset, transfer_syntax, size))
    if picture:
        return Thumbnail("image", name, picture)
    return Thumbnail("damaged" if what == "image" else what, name)


def _of(stored: StoredObject, size: int = SIZE) -> Thumbnail:
    return of_file(stored.key, stored.dataset_offset, stored.transfer_syntax, stored.instance.sop_class, size)


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


def _drawn(key: str, offset: int, transfer_syntax: str, size: int) -> bytes:
    """The picture; empty when there is none to be had."""
    with volume().local(key) as path:
        request = {"source": str(path.absolute()), "offset": offset, "from": transfer_syntax, "size": size}
        try:
            return workers().fetch(request)
        except TranscodeFailed:
            return b""
