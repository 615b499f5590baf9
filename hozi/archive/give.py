"""One object for who asks over the web, quickly: found by its UIDs and within reach in one statement, and its frames.

What a reach means in SQL is said by `reach.py` and by nobody else; here the statement is made once for each reach and
run past Django's own way (decision record 12). Where the frames of a stored file are is remembered: it never changes.
"""

from __future__ import annotations

import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, BinaryIO, Final

from django.db import connection
from django.db.models import CharField, Exists, OuterRef
from django.db.models.functions import Cast

from hozi.accounts.authorise import Reach, Who
from hozi.archive import reach as reaching
from hozi.archive.fetch import COLUMNS, Holding, Row, corrections_of
from hozi.archive.looks import once
from hozi.archive.models import Correction, StoredObject
from hozi.audit.record import Code, Entry
from hozi.core.dicom import encodings, pixel_data, syntaxes, window
from hozi.core.dicom.pixel_data import PixelData
from hozi.core.errors import NotThere
from hozi.rows import fetch

_MARK: Final = "\x00the instance\x00"
_MOST_BYTES: Final = 16 << 20
_LATELY: Final = 60.0
_MOST_NOTED: Final = 10_000
MOST_FRAMES: Final = pixel_data.MOST_FRAMES


def one(reach: Reach, study: str, series: str, instance: str) -> Holding:
    """The object with that SOP Instance UID, in that series (where one is named) of that study, within reach.

    Raises `NotThere`.
    """
    statement, values, place = _statement(reach)
    with connection.cursor() as cursor:
        found = fetch(cursor, statement, [*values[:place], instance, *values[place + 1 :]])
    for *columns, corrected in found:
        row = Row(*columns)
        if row.study == study and series in ("", row.series):
            return row.holding(corrections_of([row]) if corrected else {})
    raise NotThere("There is no such object, or it is not yours to see.")


@lru_cache(maxsize=256)
def _statement(reach: Reach) -> tuple[str, tuple[Any, ...], int]:
    """The statement that finds one object within a reach, its values, and which of them the UID is."""
    named = (OuterRef(f"instance__{way}uid") for way in ("", "series__", "series__study__"))
    patient = Cast(OuterRef("instance__series__study__patient_id"), CharField())
    in_force = Correction.objects.filter(uid__in=[*named, patient], undone_at=None)
    rows = StoredObject.objects.filter(reaching.series(reach, "instance__series__"), instance__uid=_MARK)
    statement, values = (
        rows.annotate(corrected=Exists(in_force)).values_list(*COLUMNS, "corrected").query.sql_with_params()
    )
    return statement, tuple(values), list(values).index(_MARK)


class Noted:
    """Whose looks at which studies stand in the audit since a moment ago, so that nobody looks for them again."""

    def __init__(self) -> None:
        self._when: dict[tuple[str, ...], float] = {}

    def is_new(self, key: tuple[str, ...]) -> bool:
        """Whether that look was not noted a moment ago."""
        return time.monotonic() - self._when.get(key, -_LATELY) >= _LATELY

    def add(self, key: tuple[str, ...]) -> None:
        """It was noted now."""
        if len(self._when) >= _MOST_NOTED:
            self._when.clear()
        self._when[key] = time.monotonic()

    def forget(self) -> None:
        """Looks again."""
        self._when.clear()


NOTED: Final = Noted()


def note(who: Who, holding: Holding) -> None:
    """A row in the audit that says who looks at the object's study; one for half an hour, as the console does."""
    key = (who.actor, who.address, holding.study, holding.issuer, holding.patient_id, holding.facility)
    if NOTED.is_new(key):
        once(
            Entry(
                code=Code.INSTANCES_ACCESSED,
                action="R",
                actor=who.actor,
                address=who.address,
                issuer=holding.issuer,
                patient_id=holding.patient_id,
                study_uid=holding.study,
                facility=holding.facility,
                detail={"opened": "pictures"},
            )
        )
        NOTED.add(key)


# Frames -----------------------------------------------------------------------------------------------


class Frames:
    """The frames of one object, in a file that is open until `close`. ``syntax``: how they are written there."""

    def __init__(self, file: BinaryIO, offset: int, place: PixelData, syntax: str) -> None:
        self.file = file
        self.offset = offset
        self.place = place
        self.syntax = syntax

    @property
    def count(self) -> int:
        """How many there are."""
        return self.place.count

    def read(self, number: int) -> bytes:
        """The bytes of one, the first being 1. Raises `NotThere` and `Unreadable`."""
        return self.place.read(self.file, self.offset, number)

    def length(self, number: int) -> int:
        """How many bytes one has. Raises as `read` does."""
        if not self.place.encapsulated and self.place.frame_bits % 8:
            return len(self.read(number))
        return sum(length for _, length in self.fragments(number))

    def fragments(self, number: int) -> list[tuple[int, int]]:
        """Where in the dataset its bytes are. Raises as `read` does."""
        return self.place.frame(self.file, self.offset, number)

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def frames(holding: Holding, syntax: str) -> Frames:
    """The frames of the object in ``syntax``: that of its storage, or one into which the whole is decoded first.

    Raises `NotThere` when it has none, and what `Holding.open_as` raises.
    """
    known = syntaxes.for_unknown(syntax)
    file, offset, length = holding.open_as(syntax)
    try:
        if syntax != holding.transfer_syntax:
            place = pixel_data.find(file, offset, length, known)
        else:
            place = _PLACES.get(holding.sha256)
            if place is None:
                place = pixel_data.find(file, offset, length, known)
                if place is not None:
                    _PLACES.add(holding.sha256, place)
        if place is None:
            raise NotThere("The object has no pixel data.")
    except BaseException:
        file.close()
        raise
    return Frames(file, offset, place, syntax)


class _Places:
    """Where the pixel data of stored datasets is, by their SHA-256: of those that were asked for lately, bounded."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, PixelData] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, sha256: str) -> PixelData | None:
        with self._lock:
            found = self._found.get(sha256)
            if found is not None:
                self._found.move_to_end(sha256)
            return found

    def add(self, sha256: str, place: PixelData) -> None:
        with self._lock:
            if sha256 in self._found:
                return
            self._found[sha256] = place
            self._bytes += place.weight
            while self._bytes > _MOST_BYTES and len(self._found) > 1:
                self._bytes -= self._found.popitem(last=False)[1].weight


_PLACES: Final = _Places()


# Other values ------------------------------------------------------------------------------------------


def value(holding: Holding, path: Sequence[tuple[int, int]], tag: int) -> tuple[BinaryIO, int, int]:
    """Where an element's value is: a file, which the caller closes, where in it, and its length. In little endian.

    ``path``: the sequences on the way to it, each with the number of the item (the first being 1). Raises `NotThere`,
    and what `Holding.open_as` raises.
    """
    known = syntaxes.for_unknown(holding.transfer_syntax)
    plain = known.little_endian and not known.deflated
    for syntax in (holding.transfer_syntax, syntaxes.EXPLICIT_LITTLE) if plain else (syntaxes.EXPLICIT_LITTLE,):
        file, offset, length = holding.open_as(syntax)
        try:
            encoding = encodings.of(syntaxes.for_unknown(syntax))
            found = window.find_value(window.Window(file, offset, length), encoding, path, tag)
            if found is not None and found[0] + found[1] <= length:
                return file, offset + found[0], found[1]
            file.close()
            break
        except (window.Odd, struct.error):
            file.close()
        except BaseException:
            file.close()
            raise
    raise NotThere("There is no such element.")
