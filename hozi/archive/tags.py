"""The elements of one stored object, for people who want to know what it really says."""

from __future__ import annotations

from dataclasses import dataclass

from hozi.accounts.authorise import Who
from hozi.archive.fetch import holding
from hozi.archive.looks import accessed
from hozi.archive.study_page import LOOK, instance_of
from hozi.audit.record import record
from hozi.core.dicom import syntaxes
from hozi.core.dicom.listing import Listing, listing
from hozi.settings import HOZI


@dataclass(frozen=True, slots=True)
class Tags:
    """An object's elements. ``corrected``: there are corrections of it in force, whichever way it was read."""

    uid: str
    sop_class: str
    transfer_syntax: str
    sha256: str
    bytes: int
    corrected: bool
    listing: Listing


def tags_of(
    who: Who, instance: int, *, stored: bool = False, wanted: str = "", first: int = 0, most: int = 200
) -> Tags:
    """The elements of an object as it is given out, corrections applied; with ``stored``, as its bytes have them.

    ``wanted``, ``first`` and ``most`` as `listing` has them. The audit says who has looked. Raises `NotThere` when the
    object is not there or out of reach, and `Missing` when its file is gone.
    """
    row = instance_of(who, LOOK, instance)
    held = holding(row.uid)
    with held.stored() as file:
        found = listing(
            file,
            syntaxes.for_unknown(held.transfer_syntax),
            held.length,
            changes={} if stored else held.changes,
            default_character_set=HOZI.default_charset,
            wanted=wanted,
            first=first,
            most=most,
        )
    record(accessed(who, row.series.study, {"opened": "elements"}, row.uid))
    return Tags(
        row.uid, held.sop_class, held.transfer_syntax, held.sha256, held.length, bool(held.changes), listing=found
    )
