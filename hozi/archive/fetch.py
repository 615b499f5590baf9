"""Objects go out. This is the only way; every door that gives images calls it.

A `Holding` is an object that may be given; `Holding.send_as` opens it as a stream of dataset bytes in a transfer
syntax that the receiver takes: the stored bytes when it takes those, else a transcoded copy. Corrections are applied
on the way. No object is ever whole in memory.
"""

from __future__ import annotations

import atexit
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, BinaryIO

from django.db.models import Q, QuerySet

from hozi.archive.models import Correction, StoredObject
from hozi.archive.place import volume
from hozi.core.dicom import rewrite, syntaxes
from hozi.core.errors import HoziError, Refused
from hozi.core.pixels.transcode import Transcoder
from hozi.settings import HOZI

_PIECE = 1 << 18
_PAGE = 500

PATIENT_ID = 0x00100020
ISSUER_OF_PATIENT_ID = 0x00100021
ACCESSION_NUMBER = 0x00080050
STUDY_INSTANCE_UID = 0x0020000D
SERIES_INSTANCE_UID = 0x0020000E
SOP_INSTANCE_UID = 0x00080018

_FIELDS = {
    PATIENT_ID: "instance__series__study__patient__patient_id",
    ISSUER_OF_PATIENT_ID: "instance__series__study__patient__issuer",
    ACCESSION_NUMBER: "instance__series__study__accession_number",
    STUDY_INSTANCE_UID: "instance__series__study__uid",
    SERIES_INSTANCE_UID: "instance__series__uid",
    SOP_INSTANCE_UID: "instance__uid",
}


class NothingNamed(Refused):
    """A retrieve that names no patient, study, series or object: it would mean everything."""


class NoCommonSyntax(HoziError):
    """The receiver takes the object in no transfer syntax in which the archive can give it."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One object that the archive holds, and how to open it."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    study: str
    issuer: str
    patient_id: str
    _key: str
    _offset: int
    _length: int
    _changes: dict[int, Any] = field(default_factory=dict)

    def syntaxes(self, accepted: Iterable[str]) -> list[str]:
        """Those of ``accepted`` in which the object can be given, the best one first: the stored one."""
        taken = set(accepted)
        others = (s for s in _UNCOMPRESSED if s in taken and s != self.transfer_syntax)
        usable = [s for s in others if transcoder().can_transcode(self.transfer_syntax, s)]
        return [self.transfer_syntax, *usable] if self.transfer_syntax in taken else usable

    def send_as(self, syntax: str) -> Iterator[bytes | memoryview]:
        """The dataset's bytes in ``syntax``, in pieces. Raises `Missing` or `TranscodeFailed` before the first one."""
        if syntax == self.transfer_syntax:
            return self._corrected(volume().open(self._key), self._offset, self._length, syntax)
        with volume().local(self._key) as source:
            copy = transcoder().transcode(source, self._offset, self.transfer_syntax, syntax)
        file = copy.open("rb", buffering=0)
        copy.unlink()  # the open file keeps the bytes; nothing is left behind whatever happens to the stream
        length = file.seek(0, 2)
        return self._corrected(file, 0, length, syntax)

    def _corrected(self, file: BinaryIO, offset: int, length: int, syntax: str) -> Iterator[bytes | memoryview]:
        file.seek(offset)
        if self._changes:
            found = syntaxes.for_unknown(syntax)
            corrected = rewrite.rewrite(file, found, length, self._changes, default_character_set=HOZI.default_charset)
            return _closing(file, corrected)
        return _closing(file, _pieces(file, length))


_UNCOMPRESSED = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)


def _pieces(file: BinaryIO, length: int) -> Iterator[memoryview]:
    """``length`` bytes from the file's position, through one buffer: use a piece before you ask for the next."""
    buffer = bytearray(_PIECE)
    view = memoryview(buffer)
    left = length
    while left:
        count = file.readinto(view[: min(_PIECE, left)])  # type: ignore[attr-defined]  # an unbuffered file has it
        if not count:
            raise HoziError("a stored file is shorter than the index says; run `hozi verify`")
        left -= count
        yield view[:count]


def _closing(file: BinaryIO, pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    with file:
        yield from pieces


@cache
def transcoder() -> Transcoder:
    """This process's workers for decompressing; started when the first object needs it."""
    made = Transcoder(
        workers=HOZI.transcode_workers,
        seconds=HOZI.transcode_seconds,
        memory_bytes=HOZI.transcode_memory_bytes,
        folder=HOZI.storage / "scratch",
    )
    atexit.register(made.close)
    return made


class Selection:
    """The objects that a retrieve names: counted first, then streamed in pages."""

    def __init__(self, names: dict[int, list[str]], facilities: Collection[str] | None) -> None:
        """``names``: values by tag (patient ID, accession number, study, series, SOP instance UIDs), all of which
        must hold; ``facilities``: whose studies the receiver may see (None: all). Raises `NothingNamed`."""
        named = {tag: values for tag, values in names.items() if tag in _FIELDS and any(values)}
        if not named.keys() - {ISSUER_OF_PATIENT_ID}:
            raise NothingNamed("name a patient, an accession number, a study, a series or an object")
        condition = Q()
        for tag, values in named.items():
            condition &= Q(**{f"{_FIELDS[tag]}__in": [value for value in values if value]})
        if facilities is not None:
            condition &= Q(instance__series__study__facility__in=list(facilities))
        self._rows: QuerySet[StoredObject] = StoredObject.objects.filter(condition)

    def count(self) -> int:
        """How many objects there are."""
        return self._rows.count()

    def needs(self) -> list[tuple[str, str]]:
        """The distinct pairs of SOP class and stored transfer syntax, sorted."""
        return sorted(set(self._rows.values_list("instance__sop_class", "transfer_syntax").distinct()))

    def of_classes(self, sop_classes: Collection[str]) -> Iterator[Holding]:
        """Those objects of the selection whose SOP class is one of these."""
        return self._stream(self._rows.filter(instance__sop_class__in=list(sop_classes)))

    def __iter__(self) -> Iterator[Holding]:
        return self._stream(self._rows)

    def _stream(self, rows: QuerySet[StoredObject]) -> Iterator[Holding]:
        last = 0
        while True:
            page = list(
                rows.filter(pk__gt=last).select_related("instance__series__study__patient").order_by("pk")[:_PAGE]
            )
            if not page:
                return
            corrections = _corrections(page)
            for row in page:
                yield _holding(row, corrections)
            last = page[-1].pk


def _holding(row: StoredObject, corrections: dict[tuple[str, str], dict[int, Any]]) -> Holding:
    instance = row.instance
    series = instance.series
    study = series.study
    patient = study.patient
    changes: dict[int, Any] = {}
    for level, uid in _owners(row):
        changes.update(corrections.get((level, uid), {}))
    return Holding(
        sop_class=instance.sop_class,
        sop_instance=instance.uid,
        transfer_syntax=row.transfer_syntax,
        study=study.uid,
        issuer=patient.issuer,
        patient_id=patient.patient_id,
        _key=row.key,
        _offset=row.dataset_offset,
        _length=row.length,
        _changes=changes,
    )


def _owners(row: StoredObject) -> tuple[tuple[str, str], ...]:
    """What corrections may be attached to, from the widest to the narrowest: the narrowest wins."""
    series = row.instance.series
    return (
        ("PATIENT", str(series.study.patient_id)),
        ("STUDY", series.study.uid),
        ("SERIES", series.uid),
        ("IMAGE", row.instance.uid),
    )


def _corrections(page: list[StoredObject]) -> dict[tuple[str, str], dict[int, Any]]:
    """The corrections in force for a page of objects, by level and UID; later ones go before earlier ones."""
    uids = {uid for row in page for _, uid in _owners(row)}
    found: dict[tuple[str, str], dict[int, Any]] = {}
    for made in Correction.objects.filter(uid__in=uids, undone_at=None).order_by("pk"):
        changes = {int(tag, 16): value for tag, value in made.changes.items()}
        found.setdefault((made.level, made.uid), {}).update(changes)
    return found
