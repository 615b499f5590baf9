"""Objects leave the archive as files: a folder or a ZIP archive with a DICOMDIR, for a CD, a stick, another PACS.

File names and directory follow PS3.10 §8. What is being written has a temporary name; the target appears when it is
complete, or not at all. Datasets are those that the network would give: as they were stored, corrections applied.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from hozi.accounts.authorise import Reach
from hozi.archive import reach as reaching
from hozi.archive.fetch import (
    ACCESSION_NUMBER,
    ISSUER_OF_PATIENT_ID,
    PATIENT_ID,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    Holding,
    Selection,
)
from hozi.archive.models import Series, StoredObject
from hozi.archive.place import scratch
from hozi.audit.record import Code, Entry, Outcome, record
from hozi.core.dicom import directory, part10, scan, syntaxes
from hozi.core.errors import HoziError, Refused
from hozi.core.storage.volume import sync_folder
from hozi.settings import HOZI

_FILES: Final = "DICOM"
_MOST: Final = 999_999
"""So many siblings can be numbered within the eight characters of a name (PS3.10 §8.5)."""

_PREFIXES: Final = ("PT", "ST", "SE", "IM")
_PAGE: Final = 500
_FIELDS: Final = {
    PATIENT_ID: "study__patient__patient_id",
    ISSUER_OF_PATIENT_ID: "study__patient__issuer",
    ACCESSION_NUMBER: "study__accession_number",
    STUDY_INSTANCE_UID: "study__uid",
    SERIES_INSTANCE_UID: "uid",
    SOP_INSTANCE_UID: "instances__uid",
}

Names = dict[int, list[str]]
"""What is to be exported, as `Selection` has it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that could not be exported, and why."""

    sop_instance: str
    reason: str


@dataclass
class Exported:
    """What was written, and what was not."""

    patients: int = 0
    studies: int = 0
    series: int = 0
    objects: int = 0
    bytes: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether everything that was asked for was written."""
        return not self.failures


def export(
    names: Names | None,
    target: Path,
    *,
    actor: str,
    reach: Reach,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Exported:
    """Writes the objects that ``names`` names (None: all) to ``target``, and records it for each study.

    ``target`` is a ZIP archive when its name ends so, else a folder: a new one, or one in which no DICOM medium is
    yet. ``reach``: what whoever asks may export; nothing else is there. ``progress`` is told how many objects are done,
    of how many. A damaged object does not stop the others: see `Exported.failures`. When nothing can be written at all,
    there is no target afterwards.

    Raises `Refused` when the target exists or cannot be made, nothing matches, or a patient number alone does not
    tell who is meant; `OSError` when the medium is full or broken.
    """
    total = total_of(names, reach)
    if not total:
        raise Refused("the archive holds nothing of that")
    with _medium(target) as medium, tempfile.TemporaryFile(dir=scratch()) as listing:
        run = Run(medium, directory.Writer(listing, "HOZI"), str(target), actor)
        for place in places(names, reach):
            selection = Selection({**(names or {}), SERIES_INSTANCE_UID: [place.series]}, reach)
            for holding in selection:
                run.take(place, holding)
                progress(run.done.objects + len(run.done.failures), total)
        run.finish()
        if run.done.objects:
            run.directory.finish()
            medium.complete(listing)
    return run.done


def total_of(names: Names | None, reach: Reach) -> int:
    """How many objects there are to export."""
    if names is not None:
        return Selection(names, reach).count
    return StoredObject.objects.filter(reaching.series(reach, "instance__series__")).count()


# What there is to write -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A series, and whose it is: in an order that keeps patients and studies together."""

    patient: int
    study: int
    row: int
    series: str


def _condition(names: Names | None, reach: Reach) -> Q:
    condition = reaching.series(reach)
    for tag, values in (names or {}).items():
        if wanted := [value for value in values if value]:
            condition &= Q(**{f"{_FIELDS[tag]}__in": wanted})
    return condition


def places(names: Names | None, reach: Reach) -> Iterator[Place]:
    """The series of the selection, page by page."""
    rows = Series.objects.filter(_condition(names, reach)).distinct()
    order = ("study__patient_id", "study_id", "pk")
    last = Q()
    while True:
        page = [Place(*row) for row in rows.filter(last).order_by(*order).values_list(*order, "uid")[:_PAGE]]
        yield from page
        if len(page) < _PAGE:
            return
        end = page[-1]
        last = (
            Q(study__patient_id__gt=end.patient)
            | Q(study__patient_id=end.patient, study_id__gt=end.study)
            | Q(study__patient_id=end.patient, study_id=end.study, pk__gt=end.row)
        )


class Run:
    """One export: counts, names files, writes records of the directory and of the audit."""

    def __init__(
        self,
        medium: Medium,
        writer: directory.Writer,
        target: str,
        actor: str,
        address: str = "",
        facility: str = "",
    ) -> None:
        self.done = Exported()
        self.directory = writer
        self._medium = medium
        self._target = target
        self._actor = actor
        self._address = address
        self._facility = facility
        self._path: list[object] = []
        self._numbers = [0, 0, 0, 0]
        self._study: Holding | None = None
        self._written = 0
        self._failed = 0

    def take(self, place: Place, holding: Holding) -> None:
        """Writes one object; what is damaged becomes a failure."""
        if self._study is None or self._study.study != holding.study:
            self.finish()
            self._study = holding
        with self._medium.begin() as file:
            try:
                length = _write(holding, file)
                found = _scanned(file, holding.transfer_syntax)
            except HoziError as error:
                self.done.failures.append(Failure(holding.sop_instance, str(error)))
                self._failed += 1
                return
            file_id = self._enter(place, holding, found)
            self._medium.keep(file, file_id, compress=not syntaxes.for_unknown(holding.transfer_syntax).encapsulated)
        self._written += 1
        self.done.objects += 1
        self.done.bytes += length

    def _enter(self, place: Place, holding: Holding, found: scan.Scan) -> tuple[str, ...]:
        """Adds the object's records, and those above it that are new. Returns the object's File ID."""
        path = [place.patient, place.study, place.series]
        same = next((level for level in range(3) if self._path[level : level + 1] != path[level : level + 1]), 3)
        self._path = list(path)
        for level in range(same, 4):
            self._numbers[level] += 1
            self._numbers[level + 1 :] = [0] * (3 - level)
            if self._numbers[level] > _MOST:
                raise Refused(f"more than {_MOST} patients, studies, series or objects in one place: export in parts")
            if level < 3:
                self.directory.add(level, directory.LEVELS[level], found, self._numbers[level])
        self.done.patients += same < 1
        self.done.studies += same < 2
        self.done.series += same < 3
        names = (f"{prefix}{number:06d}" for prefix, number in zip(_PREFIXES, self._numbers, strict=True))
        file_id = (_FILES, *names)
        reference = directory.Reference(file_id, holding.sop_class, holding.sop_instance, holding.transfer_syntax)
        self.directory.add(3, directory.record_type(holding.sop_class), found, self._numbers[3], reference)
        return file_id

    def finish(self, *, interrupted: bool = False) -> None:
        """The study is through: who took it, where to, goes into the audit before anybody can have it.

        ``interrupted``: whoever took it did not get all.
        """
        if self._study is None:
            return
        detail: dict[str, Any] = {"target": self._target, "objects": self._written, "failed": self._failed}
        with transaction.atomic():
            record(
                Entry(
                    code=Code.EXPORT,
                    action="R",
                    actor=self._actor,
                    outcome=Outcome.MINOR_FAILURE if self._failed or interrupted else Outcome.SUCCESS,
                    address=self._address,
                    issuer=self._study.issuer,
                    patient_id=self._study.patient_id,
                    study_uid=self._study.study,
                    facility=self._facility,
                    detail=detail | ({"interrupted": True} if interrupted else {}),
                )
            )
        self._study = None
        self._written = self._failed = 0


def _write(holding: Holding, file: BinaryIO) -> int:
    """The object as a file of PS3.10 §7, with a header of its own; returns its length. Raises `Damaged`."""
    header = part10.write_header(
        holding.sop_class, holding.sop_instance, holding.transfer_syntax, source_ae=HOZI.ae_title
    )
    length = file.write(header)
    dataset = holding.send_as(holding.transfer_syntax)
    holding.check()
    for piece in dataset:
        length += file.write(piece)
    file.flush()
    return length


def _scanned(file: BinaryIO, syntax: str) -> scan.Scan:
    """What the directory says of the object, from the very bytes that were written. Raises `Unreadable`."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        offset = part10.read_header(view).dataset_offset
        with view[offset:] as dataset:
            return scan.scan(
                dataset, syntaxes.for_unknown(syntax), wanted=directory.WANTED, sequences=directory.SEQUENCES
            )


# Where it is written to -----------------------------------------------------------------------------------


class Medium(Protocol):
    """A target that is being written."""

    def begin(self) -> AbstractContextManager[BinaryIO]:
        """An empty file for the next object; without `keep`, it is thrown away."""

    def keep(self, file: BinaryIO, file_id: tuple[str, ...], *, compress: bool) -> None:
        """Puts the file that was begun under its name; ``compress``: it is worth trying."""

    def complete(self, listing: BinaryIO) -> None:
        """Adds the directory and gives the target its name."""


@contextmanager
def _medium(target: Path) -> Iterator[Medium]:
    """The target under a temporary name, which is gone at the end, however that comes."""
    is_zip = target.suffix.lower() == ".zip"
    if target.is_dir() and not is_zip:
        if any(entry.name.upper() in (_FILES, directory.NAME) for entry in target.iterdir()):
            raise Refused(f"{target} holds a DICOM medium already")
    elif target.exists() or target.is_symlink():
        raise Refused(f"{target} exists already")
    beside = target if target.is_dir() else target.absolute().parent
    if not beside.is_dir():
        raise Refused(f"{beside} is no folder")
    stage = beside / f".hozi-export-{secrets.token_hex(4)}"
    try:
        if is_zip:
            with stage.open("xb") as file, zipfile.ZipFile(file, "w") as archive:
                yield _Zip(archive, file, stage, target)
        else:
            stage.mkdir()
            yield _Folder(stage, target)
    finally:
        if stage.is_dir():
            shutil.rmtree(stage)
        else:
            stage.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Makes the names in a folder durable, where its file system can do that (those of other systems cannot always)."""
    try:
        sync_folder(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise


class _Folder:
    """A `Medium` that is a folder. Each file is flushed: sticks are pulled out early."""

    def __init__(self, stage: Path, target: Path) -> None:
        self._stage = stage
        self._target = target
        self._part = stage / "PART"

    @contextmanager
    def begin(self) -> Iterator[BinaryIO]:
        try:
            with self._part.open("xb+") as file:
                yield file
        finally:
            self._part.unlink(missing_ok=True)

    def keep(self, file: BinaryIO, file_id: tuple[str, ...], *, compress: bool) -> None:
        os.fsync(file.fileno())
        path = self._stage.joinpath(*file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._part.rename(path)

    def complete(self, listing: BinaryIO) -> None:
        with (self._stage / directory.NAME).open("xb") as file:
            listing.seek(0)
            shutil.copyfileobj(listing, file)
            file.flush()
            os.fsync(file.fileno())
        for folder, _, _ in os.walk(self._stage):
            _sync(Path(folder))
        try:
            if self._target.is_dir():
                for name in (_FILES, directory.NAME):  # the directory last: with it, the medium is there
                    if (self._target / name).exists():
                        raise Refused(f"{self._target} holds a DICOM medium already")
                    (self._stage / name).rename(self._target / name)
                _sync(self._target)
            else:
                self._stage.rename(self._target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise Refused(f"{self._target} exists already") from None
            raise
        _sync(self._target.absolute().parent)


class _Zip:
    """A `Medium` that is a ZIP archive."""

    def __init__(self, archive: zipfile.ZipFile, file: BinaryIO, stage: Path, target: Path) -> None:
        self._archive = archive
        self._file = file
        self._stage = stage
        self._target = target

    def begin(self) -> AbstractContextManager[BinaryIO]:
        return tempfile.TemporaryFile(dir=scratch())

    def keep(self, file: BinaryIO, file_id: tuple[str, ...], *, compress: bool) -> None:
        self._add(file, "/".join(file_id), compress=compress)

    def _add(self, file: BinaryIO, name: str, *, compress: bool) -> None:
        info = zipfile.ZipInfo(name, timezone.localtime().timetuple()[:6])
        info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        info.file_size = file.seek(0, os.SEEK_END)
        info.external_attr = 0o644 << 16
        file.seek(0)
        with self._archive.open(info, "w") as entry:
            shutil.copyfileobj(file, entry, 1 << 20)

    def complete(self, listing: BinaryIO) -> None:
        self._add(listing, directory.NAME, compress=True)
        self._archive.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        try:
            self._target.open("xb").close()  # nobody else's file of that name is replaced
        except FileExistsError:
            raise Refused(f"{self._target} exists already") from None
        self._stage.replace(self._target)
        _sync(self._target.absolute().parent)
