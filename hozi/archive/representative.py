"""Which object stands for a series or a study, and which images a presentation state is about."""

from __future__ import annotations

from typing import Final

from hozi.accounts.authorise import Reach
from hozi.archive import give
from hozi.archive import reach as reaching
from hozi.archive.fetch import Holding
from hozi.archive.models import Instance, Series
from hozi.core.dicom import directory, syntaxes
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import NotThere, Unreadable
from hozi.core.pixels import tree

_STATES: Final = "1.2.840.10008.5.1.4.1.1.11."
_SERIES: Final = tag_of("ReferencedSeriesSequence")
_IMAGES: Final = tag_of("ReferencedImageSequence")
_UID: Final = tag_of("ReferencedSOPInstanceUID")
_MOST_SERIES: Final = 20
_MOST_IMAGES: Final = 20


def of(reach: Reach, study: str, series: str = "") -> Holding:
    """The object in the middle of a series; of a study, of the longest series with images. Raises `NotThere`."""
    rows = Series.objects.filter(reaching.series(reach, ""), study__uid=study).order_by("-instance_count", "pk")
    if series:
        rows = rows.filter(uid=series)
    best: tuple[str, str] | None = None
    for row in rows.values("pk", "uid", "instance_count")[:_MOST_SERIES]:
        objects = Instance.objects.filter(series=row["pk"], stored__isnull=False).order_by("number", "pk")
        names = objects.values_list("uid", "sop_class")
        middle = names[row["instance_count"] // 2 :].first() or names.first()
        if middle is None:
            continue
        if directory.record_type(middle[1]) in ("IMAGE", "RT DOSE"):
            best = row["uid"], middle[0]
            break
        best = best or (row["uid"], middle[0])
    if best is None:
        raise NotThere("There is no such study or series, or it is not yours to see.")
    return give.one(reach, study, *best)


def is_presentation(holding: Holding) -> bool:
    """Whether the object is a grayscale, colour or pseudo-colour softcopy presentation state."""
    return holding.sop_class.startswith(_STATES) and holding.sop_class[len(_STATES) :] in ("1", "2", "3")


def shown_by(state: Holding) -> list[str]:
    """The UIDs of the images that a presentation state names, the first ones. Raises `Missing`."""
    with state.local() as (path, offset), path.open("rb") as file:
        syntax = syntaxes.for_unknown(state.transfer_syntax)
        try:
            head = tree.read(file, offset, path.stat().st_size - offset, syntax)
        except Unreadable:
            return []
    named = [one.text(_UID) for item in head.items.get(_SERIES, []) for one in item.items.get(_IMAGES, [])]
    return named[:_MOST_IMAGES]
