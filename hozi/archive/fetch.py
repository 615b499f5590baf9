"""Objects go out. This is the only way; every door that gives images calls it.

A `Holding` is an object that may be given; `Holding.send_as` opens it as a stream of dataset bytes in a transfer
syntax that the receiver takes: the stored bytes when it takes those, else a transcoded copy. Corrections are applied
on the way. No object is ever whole in memory.
"""

from __future__ import annotations

import atexit
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from django.db.models import Count, Max, Q, QuerySet

from hozi.accounts.authorise import EVERYTHING, Reach
from hozi.archive import reach as reaching
from hozi.archive.models import Correction, StoredObject
from hozi.archive.place import volume
from hozi.core.dicom import rewrite, syntaxes
from hozi.core.errors import HoziError, NotThere, Refused
from hozi.core.pixels.transcode import Transcoder
from hozi.settings import HOZI

_PIECE = 1 << 20
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


class SeveralPatients(Refused):
    """A retrieve that names a number which several people have: what it means is not clear."""


class Damaged(HoziError):
    """A stored file is not what the index says of it."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One object that the archive holds, and how to open it."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    study: str
    series: str
    issuer: str
    patient_id: str
    facility: str
    _key: str
    _offset: int
    _length: int
    sha256: str
    _changes: dict[int, Any] = field(default_factory=dict)

    @property
    def changes(self) -> Mapping[int, Any]:
        """What corrections say, by tag."""
        return self._changes

    @contextmanager
    def stored(self) -> Iterator[BinaryIO]:
        """The stored dataset: a file that stands at its first byte. Raises `Missing`."""
        with volume().open(self._key) as file:
            file.seek(self._offset)
            yield file

    @contextmanager
    def local(self) -> Iterator[tuple[Path, int]]:
        """A file that holds the stored dataset, for as long as the context lasts, and where in it the dataset begins.
        Raises `Missing`.
        """
        with volume().local(self._key) as path:
            yield path.absolute(), self._offset

    @property
    def place(self) -> tuple[str, int]:
        """The key of the file in the volume, and where in it the stored dataset begins."""
        return self._key, self._offset

    @property
    def length(self) -> int:
        """How many bytes the stored dataset has."""
        return self._length

    def syntaxes(self, accepted: Iterable[str]) -> list[str]:
        """Those of ``accepted`` in which the object can be given, the best one first: the stored one."""
        taken = set(accepted)
        others = (s for s in _UNCOMPRESSED if s in taken and s != self.transfer_syntax)
        usable = [s for s in others if transcoder().can_transcode(self.transfer_syntax, s)]
        return [self.transfer_syntax, *usable] if self.transfer_syntax in taken else usable

    def send_as(self, syntax: str) -> Iterator[bytes | memoryview]:
        """The dataset's bytes in ``syntax``, in pieces, of which the first has been read.

        Raises `Missing`, `Damaged`, `TranscodeFailed` or `Unreadable` when the object cannot be given so. After that
        only a disk that fails in the middle raises.
        """
        return self._corrected(*self.open_as(syntax), syntax)

    def open_as(self, syntax: str) -> tuple[BinaryIO, int, int]:
        """A file with the dataset in ``syntax``, where in it that begins, and its length; the caller closes it.

        Without corrections. Raises as `send_as` does.
        """
        if syntax == self.transfer_syntax:
            file = volume().open(self._key)
            if os.fstat(file.fileno()).st_size < self._offset + self._length:
                file.close()
                raise Damaged("a stored file is shorter than the index says; run `hozi verify`")
            return file, self._offset, self._length
        with volume().local(self._key) as source:
            copy = transcoder().transcode(source, self._offset, self.transfer_syntax, syntax)
        file = copy.open("rb", buffering=0)
        copy.unlink()  # the open file keeps the bytes; nothing is left behind whatever happens to the stream
        return file, 0, file.seek(0, 2)

    def check(self) -> None:
        """Reads all of the stored dataset. Raises `Missing`, or `Damaged` when it is not what was received."""
        with volume().local(self._key) as path, path.open("rb") as file:
            file.seek(self._offset)
            if hashlib.file_digest(file, "sha256").hexdigest() != self.sha256:
                raise Damaged("a stored file is not what was received; run `hozi verify`")

    def _corrected(self, file: BinaryIO, offset: int, length: int, syntax: str) -> Iterator[bytes | memoryview]:
        file.seek(offset)
        if self._changes:
            found = syntaxes.for_unknown(syntax)
            corrected = rewrite.rewrite(file, found, length, self._changes, default_character_set=HOZI.default_charset)
            return _begun(_closing(file, corrected))
        return _begun(_closing(file, _pieces(file, length)), enough=1)


_UNCOMPRESSED = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)


def _pieces(file: BinaryIO, length: int) -> Iterator[bytes]:
    """``length`` bytes from the file's position."""
    left = length
    while left:
        piece = file.read(min(_PIECE, left))
        if not piece:
            raise Damaged("a stored file is shorter than the index says; run `hozi verify`")
        left -= len(piece)
        yield piece


def _begun(pieces: Iterator[bytes | memoryview], enough: int = _PIECE) -> Iterator[bytes | memoryview]:
    """The same pieces, of which the first ones are there already: what goes wrong in them, goes wrong here."""
    first: list[bytes] = []
    size = 0
    for piece in pieces:
        first.append(bytes(piece))
        size += len(piece)
        if size >= enough:
            break
    return chain(first, pieces)


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

    def __init__(self, names: dict[int, list[str]], reach: Reach) -> None:
        """``names``: values by tag (patient ID, accession number, study, series, SOP instance UIDs), all of which
        must hold; ``reach``: what the asker may open, as nothing else is there. Raises `NothingNamed`, and
        `SeveralPatients` when nothing but a patient ID is named that two issuers have given."""
        named = {tag: values for tag, values in names.items() if tag in _FIELDS and any(values)}
        if not named.keys() - {ISSUER_OF_PATIENT_ID}:
            raise NothingNamed("name a patient, an accession number, a study, a series or an object")
        condition = Q()
        for tag, values in named.items():
            condition &= Q(**{f"{_FIELDS[tag]}__in": [value for value in values if value]})
        self._everywhere = condition & Q(instance__series__study__rejected=False)
        condition &= reaching.series(reach, "instance__series__")
        rows: QuerySet[StoredObject] = StoredObject.objects.filter(condition)
        told = rows.aggregate(count=Count("pk"), last=Max("pk"))
        self.count: int = told["count"]
        """How many objects there are. What arrives later is not among them."""
        self._rows = rows.filter(pk__lte=told["last"] or 0)
        if self.count and named.keys() <= {PATIENT_ID}:
            self._check_one_patient()

    def _check_one_patient(self) -> None:
        issuers = sorted(set(self._rows.values_list("instance__series__study__patient__issuer", flat=True).distinct()))
        if len(issuers) > 1:
            raise SeveralPatients(f"several people have that number: say who issued it ({', '.join(issuers)})")

    def withheld(self) -> int:
        """How many objects the names mean that are out of reach."""
        return StoredObject.objects.filter(self._everywhere).count() - self.count

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
            page = [Row(*row) for row in rows.filter(pk__gt=last).order_by("pk").values_list(*COLUMNS)[:_PAGE]]
            if not page:
                return
            corrections = corrections_of(page)
            for row in page:
                yield row.holding(corrections)
            last = page[-1].pk


def holding(sop_instance: str) -> Holding:
    """The object with this SOP Instance UID, which the caller may give. Raises `NotThere`."""
    for found in Selection({SOP_INSTANCE_UID: [sop_instance]}, EVERYTHING):
        return found
    raise NotThere("There is no such object.")


class Row(NamedTuple):
    """What the index says of one object that is to be given."""

    pk: int
    key: str
    offset: int
    length: int
    sha256: str
    transfer_syntax: str
    sop_class: str
    sop_instance: str
    series: str
    study: str
    patient: int
    issuer: str
    patient_id: str
    facility: str

    @property
    def owners(self) -> tuple[tuple[str, str], ...]:
        """What corrections may be attached to, from the widest to the narrowest: the narrowest wins."""
        return (
            ("TAKEN", self.sop_instance),
            ("PATIENT", str(self.patient)),
            ("STUDY", self.study),
            ("SERIES", self.series),
            ("IMAGE", self.sop_instance),
        )

    def holding(self, corrections: dict[tuple[str, str], dict[int, Any]]) -> Holding:
        """The object with its corrections."""
        changes: dict[int, Any] = {}
        if corrections:
            for owner in self.owners:
                changes.update(corrections.get(owner, {}))
        return Holding(
            sop_class=self.sop_class,
            sop_instance=self.sop_instance,
            transfer_syntax=self.transfer_syntax,
            study=self.study,
            series=self.series,
            issuer=self.issuer,
            patient_id=self.patient_id,
            facility=self.facility,
            _key=self.key,
            _offset=self.offset,
            _length=self.length,
            sha256=self.sha256,
            _changes=changes,
        )


#: Where the fields of a `Row` are.
COLUMNS: Final = (
    "pk",
    "key",
    "dataset_offset",
    "length",
    "sha256",
    "transfer_syntax",
    "instance__sop_class",
    "instance__uid",
    "instance__series__uid",
    "instance__series__study__uid",
    "instance__series__study__patient_id",
    "instance__series__study__patient__issuer",
    "instance__series__study__patient__patient_id",
    "instance__series__study__facility",
)


def corrections_of(page: list[Row]) -> dict[tuple[str, str], dict[int, Any]]:
    """The corrections in force for a page of objects, by level and UID; later ones go before earlier ones."""
    uids = {uid for row in page for _, uid in row.owners}
    found: dict[tuple[str, str], dict[int, Any]] = {}
    for made in Correction.objects.filter(uid__in=uids, undone_at=None).order_by("pk"):
        changes = {int(tag, 16): value for tag, value in made.changes.items()}
        found.setdefault((made.level, made.uid), {}).update(changes)
    return found
